"""What is written between press and release, or by one tool that computes: the rules hold for every voxel."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from medviewer.core.errors import MedViewerError
from medviewer.core.region import Region, box_of_value
from medviewer.core.segmentation import MAX_VALUE, Group, LabelArray, Mask, Segment
from medviewer.core.workspace import Workspace
from medviewer.editing.history import UndoStep
from medviewer.editing.patch import LabelPatch
from medviewer.editing.rules import EditRules
from medviewer.editing.steps import GroupStep, SegmentStep, VoxelStep

#: Group of segments that lie over others of the group they were drawn in.
OVERLAP_GROUP = "Over others"


class EditRefused(MedViewerError):
    """An edit that the rules do not allow."""

    code = "E_EDIT"


class Stroke:
    """Changes to a segment: shown at once, undone as one."""

    def __init__(self, workspace: Workspace, volume_id: str, segment: Segment, rules: EditRules) -> None:
        self._workspace = workspace
        self._volume_id = volume_id
        self._volume = workspace.volume(volume_id)
        self._segmentation = workspace.segmentation(volume_id)
        self._rules = rules
        self.segment = segment
        self._protected = rules.protected_values(self._segmentation, segment.group, segment.value)
        #: What came before the patches: a segment moved to another group, with the patches until then.
        self._moved: list[UndoStep] = []
        self._patches: list[tuple[int, LabelPatch]] = []
        #: Voxels that the segment gained.
        self.gained = 0
        #: Values of locked segments that lay where something was to be written.
        self.met_locked: set[int] = set()
        self._locked = [
            s.value for s in self._segmentation.segments if s.locked and s.group == segment.group and s != segment
        ]

    @property
    def group(self) -> Group:
        """The group that holds the segment."""
        return self._segmentation.group(self.segment.group)

    @property
    def patches(self) -> list[LabelPatch]:
        """What was written, oldest first."""
        moved = [patch for step in self._moved if isinstance(step, VoxelStep) for patch in step.patches]
        return [*moved, *(patch for _, patch in self._patches)]

    @property
    def changed(self) -> Region | None:
        """Box of everything changed so far, or None."""
        box: Region | None = None
        for patch in self.patches:
            box = patch.region if box is None else box.union(patch.region)
        return box

    def steps(self, label: str) -> list[UndoStep]:
        """Return what was done, in order; empty when nothing was."""
        steps: list[UndoStep] = list(self._moved)
        for group_id, patches in itertools.groupby(self._patches, key=lambda item: item[0]):
            written = tuple(patch for _, patch in patches)
            steps.append(VoxelStep(self._workspace, self._volume_id, group_id, label, written))
        return steps

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
        inside = mask[k : k + nk, j : j + nj, i : i + ni] & self._rules.editable(clipped, self._volume)
        if target == 0:
            return self._erase(clipped, inside)
        area = self._rules.in_area(self._segmentation, clipped, self.segment.value)
        if area is not None:
            inside &= area
        labels = self.group.labels[clipped.slices]
        if self._rules.overwrite == "overlap" and target == self.segment.value:
            if (inside & (labels != 0) & (labels != target)).any():
                self._move_over(clipped)
                labels = self.group.labels[clipped.slices]
        elif self._locked:
            self.met_locked |= {int(n) for n in np.unique(labels[inside]) if n in self._locked}
        if self._protected:
            inside &= ~np.isin(labels, self._protected)
        return self._write(self.group, clipped, inside, target)

    def _erase(self, region: Region, inside: Mask) -> Region | None:
        """Take voxels from the segment: to the background, or back to the one segment it may be edited inside of."""
        inside &= self.group.labels[region.slices] == self.segment.value
        if self._rules.area != "inside one" or self._rules.area_segment == self.segment.value:
            area = self._rules.in_area(self._segmentation, region, self.segment.value)
            return self._write(self.group, region, inside if area is None else inside & area, 0)
        other = self._segmentation.segment(self._rules.area_segment)
        if other.group == self.segment.group:
            return self._write(self.group, region, inside, other.value)
        beyond = self._segmentation.group(other.group)
        there = beyond.labels[region.slices]
        inside &= (there == 0) | (there == other.value)
        box = self._write(self.group, region, inside, 0)
        self._write(beyond, region, inside, other.value)
        return box

    def _write(self, group: Group, region: Region, mask: Mask, value: int) -> Region | None:
        group.before_write(region)
        patch = LabelPatch.write(group.labels, region, mask, value)
        if patch is None:
            return None
        self._patches.append((group.id, patch))
        if value == self.segment.value:
            self.gained += patch.voxels
        self._segmentation.labels_changed.emit(patch.region, group.id)
        return patch.region

    def _move_over(self, region: Region) -> None:
        """Put the segment into a group where nothing lies in its way, so that it can lie over the others."""
        self._moved = self.steps("Brush")
        self._patches.clear()
        old = self.group
        own = box_of_value(old.labels, self.segment.value)
        box = region if own is None else region.union(own)
        group = next(
            (g for g in self._segmentation.groups if g.name == OVERLAP_GROUP and not _taken(g.labels, box)), None
        )
        if group is None:
            group = self._segmentation.new_group(OVERLAP_GROUP)
            self._do(GroupStep(self._workspace, self._volume_id, group))
        mask = np.zeros((0, 0, 0), np.bool_) if own is None else old.labels[own.slices] == self.segment.value
        moved = replace(self.segment, group=group.id)
        if own is not None:
            self._write(old, own, mask, 0)
        self._moved = self.steps("Move")
        self._patches.clear()
        self._do(SegmentStep(self._workspace, self._volume_id, "Move segment", self.segment, moved))
        self.segment = moved
        gained = self.gained
        if own is not None:
            self._write(group, own, mask, moved.value)
        self.gained = gained
        self._protected = self._rules.protected_values(self._segmentation, group.id, moved.value)

    def _do(self, step: UndoStep) -> None:
        step.redo()
        self._moved.append(step)

    def _target(self, value: int | None) -> int:
        """Return the value to write: of the active segment, 0, or of another segment that may be changed."""
        if value is None or value == self.segment.value:
            return self.segment.value
        other = self._segmentation.find(value)
        if value and (other is None or other.group != self.segment.group or other.locked):
            raise EditRefused(f"Label value {value} cannot be painted here.", hint="Choose or unlock another segment.")
        return value

    def roll_back(self) -> None:
        """Take back what was written so far."""
        steps = self.steps("")
        self._moved = []
        self._patches.clear()
        self.gained = 0
        for step in reversed(steps):
            step.undo()


def open_stroke(workspace: Workspace, volume_id: str, value: int, rules: EditRules) -> Stroke:
    """Begin to write a segment.

    Raises
    ------
    EditRefused
        When there is no such segment, it is locked, or the area it may be edited in is gone or locked.
    """
    target = workspace.segmentation(volume_id)
    chosen = target.find(value)
    if chosen is None:
        raise EditRefused("There is no active segment.", hint="Add a segment or select one in the list.")
    if chosen.locked:
        raise EditRefused(f"“{chosen.name}” is locked.", hint="Unlock it in the segment list.")
    if rules.limits_area:
        area = target.find(rules.area_segment)
        if area is None:
            raise EditRefused("The segment that limits editing is gone.", hint="Choose another area in Limits.")
        if area.locked and rules.area == "inside one" and area != chosen:
            raise EditRefused(f"“{area.name}” is locked, and only inside it may be edited.", hint="Unlock it.")
    return Stroke(workspace, volume_id, chosen, rules)


def mark_edited(workspace: Workspace, volume_id: str, strokes: Sequence[Stroke]) -> list[UndoStep]:
    """Note on what a task or a file brought that a person has changed it; return the steps, carried out."""
    touched = np.zeros(MAX_VALUE + 1, np.bool_)
    for stroke in strokes:
        touched[stroke.segment.value] = True
        for patch in stroke.patches:
            touched[patch.before] = True
            touched[patch.after] = True
    steps: list[UndoStep] = []
    for value in np.flatnonzero(touched).tolist():
        before = workspace.segmentation(volume_id).find(value)
        if before is not None and before.provenance.task != "manual" and not before.edited:
            step = SegmentStep(workspace, volume_id, "Edited", before, replace(before, edited=True))
            step.redo()
            steps.append(step)
    return steps


def _taken(labels: LabelArray, box: Region) -> bool:
    return bool(labels[box.slices].any())
