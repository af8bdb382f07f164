"""Undo: named steps, bounded by bytes, one stack per workspace."""

from __future__ import annotations

from typing import Protocol

from psygnal import Signal

from medviewer.core.record import StepRecord


class UndoStep(Protocol):
    """One step of work that can be taken back and done again."""

    @property
    def label(self) -> str:
        """What the menu shows behind "Undo"."""

    @property
    def nbytes(self) -> int:
        """Memory it holds."""

    def undo(self) -> None:
        """Take it back."""

    def redo(self) -> None:
        """Do it again."""

    def record(self) -> StepRecord:
        """Return it as plain data for the journal."""


class UndoStack:
    """What was done, newest last, and what was undone.

    Parameters
    ----------
    max_bytes : int
        Oldest steps are dropped above this, but never below `min_steps`.
    min_steps : int

    Signals
    -------
    changed()
        The menu texts changed.
    pushed(UndoStep), undone(UndoStep), redone(UndoStep)
        For the journal: emitted after the change is in the model.
    """

    changed = Signal()
    pushed = Signal(object)
    undone = Signal(object)
    redone = Signal(object)

    def __init__(self, max_bytes: int = 512 << 20, min_steps: int = 20) -> None:
        self._max_bytes = max_bytes
        self._min_steps = min_steps
        self._done: list[UndoStep] = []
        self._undone: list[UndoStep] = []

    @property
    def done(self) -> tuple[UndoStep, ...]:
        """Steps that can be undone, oldest first."""
        return tuple(self._done)

    @property
    def nbytes(self) -> int:
        """Memory all steps hold."""
        return sum(step.nbytes for step in (*self._done, *self._undone))

    @property
    def can_undo(self) -> bool:
        """Whether there is something to take back."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is something to do again."""
        return bool(self._undone)

    @property
    def undo_label(self) -> str:
        """Name of the step that `undo` takes back; empty if none."""
        return self._done[-1].label if self._done else ""

    @property
    def redo_label(self) -> str:
        """Name of the step that `redo` does again; empty if none."""
        return self._undone[-1].label if self._undone else ""

    def do(self, step: UndoStep) -> None:
        """Carry a step out and remember it."""
        step.redo()
        self.push(step)

    def push(self, step: UndoStep) -> None:
        """Remember a step that is already carried out."""
        self._done.append(step)
        self._undone.clear()
        while len(self._done) > self._min_steps and sum(s.nbytes for s in self._done) > self._max_bytes:
            self._done.pop(0)
        self.pushed.emit(step)
        self.changed.emit()

    def adopt(self, step: UndoStep) -> None:
        """Remember a step that was carried out before everything known, so that it can be undone (recovery)."""
        self._done.insert(0, step)

    def undo(self) -> str:
        """Take the newest step back and return its name; empty if there is none."""
        if not self._done:
            return ""
        step = self._done.pop()
        step.undo()
        self._undone.append(step)
        self.undone.emit(step)
        self.changed.emit()
        return step.label

    def redo(self) -> str:
        """Do the newest undone step again and return its name; empty if there is none."""
        if not self._undone:
            return ""
        step = self._undone.pop()
        step.redo()
        self._done.append(step)
        self.redone.emit(step)
        self.changed.emit()
        return step.label

    def clear(self) -> None:
        """Forget everything."""
        self._done.clear()
        self._undone.clear()
        self.changed.emit()
