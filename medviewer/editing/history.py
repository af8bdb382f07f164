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
        As many are kept as long as they hold no more than four times `max_bytes`; then at least 20.

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

    def __init__(self, max_bytes: int = 512 << 20, min_steps: int = 200) -> None:
        self._max_bytes = max_bytes
        self._min_steps = min_steps
        self._done: list[UndoStep] = []
        self._undone: list[UndoStep] = []
        #: Whether steps were dropped since the beginning.
        self.forgotten = False
        #: Of the done steps; kept, because a long history of long strokes is slow to add up at every stroke.
        self._done_bytes = 0

    @property
    def done(self) -> tuple[UndoStep, ...]:
        """Steps that can be undone, oldest first."""
        return tuple(self._done)

    @property
    def ahead(self) -> tuple[UndoStep, ...]:
        """Steps that can be done again, the one that comes next last."""
        return tuple(self._undone)

    @property
    def nbytes(self) -> int:
        """Memory all steps hold."""
        return self._done_bytes + sum(step.nbytes for step in self._undone)

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
        self._add(step)
        self._undone.clear()
        while self._too_long:
            self._done_bytes -= self._done.pop(0).nbytes
            self.forgotten = True
        self.pushed.emit(step)
        self.changed.emit()

    @property
    def _too_long(self) -> bool:
        fewest = self._min_steps if self._done_bytes <= 4 * self._max_bytes else min(20, self._min_steps)
        return len(self._done) > fewest and self._done_bytes > self._max_bytes

    def _add(self, step: UndoStep) -> None:
        self._done.append(step)
        self._done_bytes += step.nbytes

    def adopt(self, step: UndoStep) -> None:
        """Remember as the newest one a step that was carried out without this stack, so that it can be undone."""
        self._add(step)
        self.changed.emit()

    def undo(self) -> str:
        """Take the newest step back and return its name; empty if there is none."""
        if not self._done:
            return ""
        step = self._done[-1]
        step.undo()
        self._done_bytes -= self._done.pop().nbytes
        self._undone.append(step)
        self.undone.emit(step)
        self.changed.emit()
        return step.label

    def redo(self) -> str:
        """Do the newest undone step again and return its name; empty if there is none."""
        if not self._undone:
            return ""
        step = self._undone[-1]
        step.redo()
        self._add(self._undone.pop())
        self.redone.emit(step)
        self.changed.emit()
        return step.label

    def go_to(self, count: int) -> None:
        """Undo or redo until `count` steps are done, or as many as there are."""
        while len(self._done) > max(0, count):
            self.undo()
        while len(self._done) < count and self._undone:
            self.redo()

    def clear(self) -> None:
        """Forget everything."""
        self.forgotten = False
        self._done.clear()
        self._undone.clear()
        self._done_bytes = 0
        self.changed.emit()
