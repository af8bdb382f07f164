"""The only writer of voxels. Rules, delta, signal and undo step happen here, so no tool can forget them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from medviewer.core.region import Region
from medviewer.core.segmentation import Segmentation
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.change import Change
from medviewer.editing.draft import Draft, draft
from medviewer.editing.history import UndoStack, UndoStep
from medviewer.editing.leaks import doubt
from medviewer.editing.rules import EditRules
from medviewer.editing.steps import CompoundStep
from medviewer.editing.stroke import EditRefused, Stroke, mark_edited, open_stroke

__all__ = ["EditRefused", "EditUnwanted", "LabelEditor", "Stroke"]


class EditUnwanted(EditRefused):
    """A change that the user, being asked, did not want."""


class LabelEditor:
    """Edits the segmentation of one volume.

    Parameters
    ----------
    workspace : Workspace
    history : UndoStack
    volume_id : str
        The volume whose segmentation is edited.
    rules : EditRules, optional
    ask : callable
        Asks whether a change that looks like a leak is wanted; without it, none is asked about.
    """

    def __init__(
        self,
        workspace: Workspace,
        history: UndoStack,
        volume_id: str,
        rules: EditRules | None = None,
        ask: Callable[[str], bool] | None = None,
    ) -> None:
        self._history = history
        self.volume_id = volume_id
        self._workspace = workspace
        self.rules = rules or EditRules()
        self._ask = ask
        self._open: tuple[Stroke, str] | None = None
        self._asking = False
        #: What was kept because it could not wait for the answer.
        self._kept: UndoStep | None = None

    @property
    def target(self) -> Segmentation:
        """The segmentation that is edited."""
        return self._workspace.segmentation(self.volume_id)

    @property
    def volume(self) -> Volume:
        """The volume whose segmentation is edited."""
        return self._workspace.volume(self.volume_id)

    @property
    def stroke_open(self) -> bool:
        """Whether a stroke is in the hand."""
        return self._open is not None

    def begin(self, label: str, segment: int | None = None) -> Stroke:
        """Open a stroke for a drag; `commit` or `cancel` ends it.

        Raises
        ------
        EditRefused
            When there is no active segment, it is locked, or a stroke is open.
        """
        self._refuse_second()
        value = self.target.active if segment is None else segment
        stroke = open_stroke(self._workspace, self.volume_id, value, self.rules)
        self._open = (stroke, label)
        return stroke

    def _refuse_second(self) -> None:
        if self._open is not None:
            raise EditRefused("Another stroke is still open.", hint="Release the mouse first.")

    def commit(self, *, computed: bool = False) -> None:
        """End the open stroke: one undo step, or none if nothing changed, or if the user does not want a leak.

        When something else must be done while the user is being asked, the stroke is kept: it came first.
        """
        if self._open is None:
            return
        stroke, label = self._open
        if not self._asking:
            wanted = self._wanted([stroke], computed)
            if self._in_hand() is not stroke:
                if not wanted and self._kept is not None and self._history.done[-1:] == (self._kept,):
                    self._history.undo()
                return
            if not wanted:
                self.cancel()
                return
        self._open = None
        steps = stroke.steps(label)
        if steps:
            self._kept = self._push(label, [*steps, *mark_edited(self._workspace, self.volume_id, [stroke])])

    def _in_hand(self) -> Stroke | None:
        return self._open[0] if self._open is not None else None

    def _wanted(self, strokes: Sequence[Stroke], computed: bool) -> bool:
        """Ask about what looks like a leak."""
        if self._ask is None:
            return True
        question = doubt(self.target, strokes, self.rules.ask_above, computed=computed)
        if not question:
            return True
        self._asking, self._kept = True, None
        try:
            return self._ask(question)
        finally:
            self._asking = False

    def _push(self, label: str, steps: Sequence[UndoStep]) -> UndoStep:
        step = CompoundStep(label, tuple(steps)) if len(steps) > 1 else steps[0]
        self._history.push(step)
        return step

    def draft(self, change: Change, check: Callable[[], None] = lambda: None) -> Draft:
        """Work a change out under the rules of now, in any thread; see `medviewer.editing.draft`."""
        return draft(self._workspace, self.volume_id, change, self.rules, check)

    def apply(self, change: Change | Draft) -> Region | None:
        """Make a change as one undo step, all of it or nothing; the rules hold for every voxel.

        Parameters
        ----------
        change : Change or Draft
            A draft is made in no time, unless something has changed since it was drafted.

        Returns
        -------
        Region or None
            The box that really changed.

        Raises
        ------
        EditRefused
            When one of its segments is locked or gone, or a stroke is open.
        EditUnwanted
            When the user, being asked, did not want it.
        """
        self._refuse_second()
        made = self._fitting(change if isinstance(change, Draft) else self.draft(change))
        if made.question and self._ask is not None:
            if not self._ask(made.question):
                raise EditUnwanted("Not wanted.")
            # Other work may have landed while the user thought.
            made = self._fitting(made)
        made.make(self.target)
        if made.steps:
            self._push(made.change.label, made.steps)
        return made.region

    def _fitting(self, made: Draft) -> Draft:
        return made if made.fits(self._workspace, self.volume_id, self.rules) else self.draft(made.change)

    def cancel(self) -> None:
        """Drop the open stroke and put the voxels back."""
        if self._open is not None:
            (stroke, _), self._open = self._open, None
            stroke.roll_back()

    @contextmanager
    def stroke(self, label: str, segment: int | None = None) -> Iterator[Stroke]:
        """Paint as one undo step; what was written is taken back if the block raises."""
        stroke = self.begin(label, segment)
        try:
            yield stroke
        except BaseException:
            self.cancel()
            raise
        self.commit(computed=True)
