"""The only writer of voxels. Rules, delta, signal and undo step happen here, so no tool can forget them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from medviewer.core.errors import MedViewerError
from medviewer.core.provenance import MANUAL
from medviewer.core.region import Region
from medviewer.core.segmentation import Group, Mask, Segment, Segmentation
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.change import Change, SegmentMask
from medviewer.editing.history import UndoStack, UndoStep
from medviewer.editing.patch import LabelPatch
from medviewer.editing.rules import EditRules
from medviewer.editing.steps import CompoundStep, SegmentStep, VoxelStep


class EditRefused(MedViewerError):
    """An edit that the rules do not allow."""

    code = "E_EDIT"


class Stroke:
    """Changes to one group between press and release: shown at once, undone as one."""

    def __init__(
        self, segmentation: Segmentation, group: Group, segment: Segment, rules: EditRules, volume: Volume
    ) -> None:
        self._segmentation = segmentation
        self.group = group
        self.segment = segment
        self._rules = rules
        self._volume = volume
        self._protected = rules.protected_values(segmentation, group.id, segment.value)
        self.patches: list[LabelPatch] = []

    @property
    def changed(self) -> Region | None:
        """Box of everything changed so far, or None."""
        box: Region | None = None
        for patch in self.patches:
            box = patch.region if box is None else box.union(patch.region)
        return box

    def paint(self, region: Region, mask: Mask, value: int | None = None) -> Region | None:
        """Write inside a box.

        Parameters
        ----------
        region : Region
            Half-open box (k, j, i); what lies outside the grid is ignored.
        mask : bool array
            Of the region's shape.
        value : int, optional
            Label value; default is the active segment. 0 erases the active segment.

        Returns
        -------
        Region or None
            The box that really changed.

        Raises
        ------
        EditRefused
            When `value` is another segment that is locked, or not of this group.
        """
        target = self._target(value)
        clipped = region.clip(self._segmentation.geometry.region)
        if clipped.is_empty:
            return None
        k, j, i = (low - start for low, start in zip(clipped.lower, region.lower, strict=True))
        nk, nj, ni = clipped.shape
        inside = mask[k : k + nk, j : j + nj, i : i + ni]
        labels = self.group.labels[clipped.slices]
        image = self._volume.array[clipped.slices] if self._rules.intensity is not None else None
        allowed = inside & self._rules.allowed(labels, image, self._protected)
        if target == 0:
            allowed &= labels == self.segment.value
        self.group.before_write()
        patch = LabelPatch.write(self.group.labels, clipped, allowed, target)
        if patch is None:
            return None
        self.patches.append(patch)
        self._segmentation.labels_changed.emit(patch.region, self.group.id)
        return patch.region

    def _target(self, value: int | None) -> int:
        """Return the value to write: of the active segment, 0, or of another segment that may be changed."""
        if value is None or value == self.segment.value:
            return self.segment.value
        other = self._segmentation.find(value)
        if value and (other is None or other.group != self.group.id or other.locked):
            raise EditRefused(f"Label value {value} cannot be painted here.", hint="Choose or unlock another segment.")
        return value

    def roll_back(self) -> None:
        """Take back what was written so far."""
        changed = self.changed
        for patch in reversed(self.patches):
            patch.undo(self.group.labels)
        self.patches.clear()
        if changed is not None:
            self._segmentation.labels_changed.emit(changed, self.group.id)


class LabelEditor:
    """Edits the segmentation of one volume.

    Parameters
    ----------
    workspace : Workspace
    history : UndoStack
    volume_id : str
        The volume whose segmentation is edited.
    """

    def __init__(
        self, workspace: Workspace, history: UndoStack, volume_id: str, rules: EditRules | None = None
    ) -> None:
        self._history = history
        self.volume_id = volume_id
        self._workspace = workspace
        self.rules = rules or EditRules()
        self._open: tuple[Stroke, str] | None = None

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
        return Stroke(self.target, self.target.group(chosen.group), chosen, self.rules, self.volume)

    def commit(self) -> None:
        """End the open stroke: one undo step, or none if nothing changed."""
        if self._open is None:
            return
        (stroke, label), self._open = self._open, None
        if not stroke.patches:
            return
        voxels = VoxelStep(self._workspace, self.volume_id, stroke.group.id, label, tuple(stroke.patches))
        marks = self._mark_edited([stroke])
        self._history.push(CompoundStep(label, (voxels, *marks)) if marks else voxels)

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
        """
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
            for stroke in reversed(strokes):
                stroke.roll_back()
            for step in reversed(added):
                step.undo()
            raise
        written = [stroke for stroke in strokes if stroke.patches]
        steps: list[UndoStep] = [*added]
        steps += [
            VoxelStep(self._workspace, self.volume_id, s.group.id, change.label, tuple(s.patches)) for s in written
        ]
        steps += self._mark_edited(written)
        if steps:
            self._history.push(CompoundStep(change.label, tuple(steps)) if len(steps) > 1 else steps[0])
        box: Region | None = None
        for stroke in written:
            assert stroke.changed is not None
            box = stroke.changed if box is None else box.union(stroke.changed)
        return box

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
            touched.update(int(value) for value in np.unique(patch.before))
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
        self.commit()
