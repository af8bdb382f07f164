"""The only writer of voxels. Rules, delta, signal and undo step happen here, so no tool can forget them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from medviewer.core.provenance import MANUAL
from medviewer.core.region import Region
from medviewer.core.segmentation import Segmentation
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.change import Change, SegmentMask
from medviewer.editing.history import UndoStack, UndoStep
from medviewer.editing.leaks import doubt
from medviewer.editing.rules import EditRules
from medviewer.editing.steps import CompoundStep, SegmentStep
from medviewer.editing.stroke import EditRefused, Stroke

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
        stroke = self._stroke(self.target.active if segment is None else segment)
        self._open = (stroke, label)
        return stroke

    def _stroke(self, value: int) -> Stroke:
        if self._open is not None:
            raise EditRefused("Another stroke is still open.", hint="Release the mouse first.")
        chosen = self.target.find(value)
        if chosen is None:
            raise EditRefused("There is no active segment.", hint="Add a segment or select one in the list.")
        if chosen.locked:
            raise EditRefused(f"“{chosen.name}” is locked.", hint="Unlock it in the segment list.")
        if self.rules.limits_area:
            area = self.target.find(self.rules.area_segment)
            if area is None:
                raise EditRefused("The segment that limits editing is gone.", hint="Choose another area in Limits.")
            if area.locked and self.rules.area == "inside one" and area != chosen:
                raise EditRefused(f"“{area.name}” is locked, and only inside it may be edited.", hint="Unlock it.")
        return Stroke(self._workspace, self.volume_id, chosen, self.rules)

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
            self._kept = self._push(label, [*steps, *self._mark_edited([stroke])])

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

    def apply(self, change: Change) -> Region | None:
        """Make a change as one undo step, all of it or nothing; the rules hold for every voxel.

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
        added, strokes = self._carry_out(change)
        question = ""
        if self._ask is not None:
            most = self.rules.ask_above and (math.inf if change.from_seeds else self.rules.ask_above)
            question = doubt(self.target, strokes, most, computed=True)
        if question and self._ask is not None:
            # Other work may land while the user thinks, so nothing is in the hand meanwhile.
            _take_back(added, strokes)
            if not self._ask(question):
                raise EditUnwanted("Not wanted.")
            added, strokes = self._carry_out(change)
        written = [stroke for stroke in strokes if stroke.patches]
        steps: list[UndoStep] = [*added, *(step for stroke in written for step in stroke.steps(change.label))]
        steps += self._mark_edited(written)
        if steps:
            self._push(change.label, steps)
        box: Region | None = None
        for stroke in written:
            assert stroke.changed is not None
            box = stroke.changed if box is None else box.union(stroke.changed)
        return box

    def _carry_out(self, change: Change) -> tuple[list[SegmentStep], list[Stroke]]:
        """Write a change, all of it or nothing; return the segments that were added, and what was written."""
        added: list[SegmentStep] = []
        strokes: list[Stroke] = []
        try:
            masks = [*change.masks, *self._add_new(change, added)]
            # Freed first, for what one segment leaves another may take.
            for erased in (True, False):
                for part in masks:
                    stroke = self._stroke(part.value)
                    strokes.append(stroke)
                    stroke.paint(part.region, ~part.mask if erased else part.mask, 0 if erased else None)
        except BaseException:
            _take_back(added, strokes)
            raise
        return added, strokes

    def _add_new(self, change: Change, added: list[SegmentStep]) -> list[SegmentMask]:
        """Add the new segments below the active one, in its group."""
        target = self.target
        active = target.find(target.active)
        masks: list[SegmentMask] = []
        for new in change.new:
            if active is None:
                raise EditRefused("There is no active segment.", hint="Add a segment or select one in the list.")
            if new.instance and not active.instance:
                first = replace(active, name=f"{active.name} 1", instance=1)
                self._put(SegmentStep(self._workspace, self.volume_id, "Number segment", active, first), added)
                active = first
            position = [s.value for s in target.segments].index(active.value) + 1 + len(masks)
            segment = replace(
                active, value=target.free_value(), name=new.name, color=target.free_color(), provenance=MANUAL,
                edited=False, flags=(), locked=False, visible=True, status="not started", instance=new.instance,
            )  # fmt: skip
            step = SegmentStep(self._workspace, self.volume_id, f"Add {new.name}", None, segment, position)
            self._put(step, added)
            masks.append(SegmentMask(segment.value, new.region, new.mask))
        return masks

    @staticmethod
    def _put(step: SegmentStep, done: list[SegmentStep]) -> None:
        step.redo()
        done.append(step)

    def _mark_edited(self, strokes: Sequence[Stroke]) -> list[UndoStep]:
        """Note on what a task or a file brought that a person has changed it."""
        touched = {stroke.segment.value for stroke in strokes}
        for patch in (patch for stroke in strokes for patch in stroke.patches):
            touched.update(int(value) for value in (*np.unique(patch.before), patch.after))
        steps: list[UndoStep] = []
        for value in sorted(touched - {0}):
            before = self.target.find(value)
            if before is not None and before.provenance.task != "manual" and not before.edited:
                step = SegmentStep(self._workspace, self.volume_id, "Edited", before, replace(before, edited=True))
                step.redo()
                steps.append(step)
        return steps

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


def _take_back(added: Sequence[SegmentStep], strokes: Sequence[Stroke]) -> None:
    for stroke in reversed(strokes):
        stroke.roll_back()
    for step in reversed(added):
        step.undo()
