"""A change worked out before it is made: which voxels the rules let through, and what is to be written.

It takes time and writes nothing, so it may be done in any thread. What is shown of it is what it will do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from medviewer.core.provenance import MANUAL
from medviewer.core.region import Region, box_of_value
from medviewer.core.segmentation import Color, Group, LabelArray, Segmentation
from medviewer.core.view_state import PreviewMask
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.change import Change, SegmentMask
from medviewer.editing.history import UndoStep
from medviewer.editing.leaks import doubt
from medviewer.editing.patch import LabelPatch
from medviewer.editing.rules import EditRules
from medviewer.editing.steps import GroupStep, SegmentStep, VoxelStep
from medviewer.editing.stroke import OVERLAP_GROUP, EditRefused, Stroke, mark_edited, open_stroke

_NEW_COLOR: Color = (255, 255, 255)


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """What a box of a group becomes.

    Attributes
    ----------
    group_id : int
    region : Region
        Half-open box (k, j, i).
    labels : uint16, shape of the region
    """

    group_id: int
    region: Region
    labels: LabelArray


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """What a change will do to a segmentation as it was when this was made.

    Attributes
    ----------
    change : Change
    rules : EditRules
        Those it was made under.
    steps : tuple of UndoStep
        In order; not carried out.
    written : tuple of Written
    question : str
        What to ask before it is made; empty when there is no doubt.
    preview : tuple of PreviewMask
        Exactly the voxels that change.
    """

    change: Change
    rules: EditRules
    steps: tuple[UndoStep, ...]
    written: tuple[Written, ...]
    question: str
    preview: tuple[PreviewMask, ...]
    _seen: tuple[object, ...]

    @property
    def region(self) -> Region | None:
        """The box that changes; None when nothing does."""
        box: Region | None = None
        for part in self.written:
            box = part.region if box is None else box.union(part.region)
        return box

    def fits(self, workspace: Workspace, volume_id: str, rules: EditRules) -> bool:
        """Whether nothing that counts has changed since it was made."""
        return self.rules == rules and self._seen == _state(workspace, volume_id)

    def make(self, segmentation: Segmentation) -> None:
        """Write it. All that takes time has been done."""
        for step in self.steps:
            if not isinstance(step, VoxelStep):
                step.redo()
        for part in self.written:
            group = segmentation.group(part.group_id)
            group.before_write(part.region)
            group.labels[part.region.slices] = part.labels
            segmentation.labels_changed.emit(part.region, group.id)


def draft(
    workspace: Workspace, volume_id: str, change: Change, rules: EditRules, check: Callable[[], None] = lambda: None
) -> Draft:
    """Work a change out, on a copy of the box it lies in.

    Parameters
    ----------
    workspace : Workspace
        Read only.
    volume_id : str
    change : Change
    rules : EditRules
    check : callable
        Called now and then; may raise to end the work.

    Raises
    ------
    EditRefused
        When one of its segments is locked or gone.
    """
    seen = _state(workspace, volume_id)
    target = workspace.segmentation(volume_id)
    box = _box(target, change, rules)
    copy = _copied(target, workspace.volume(volume_id), box, change, rules)
    sketch = copy.segmentation(volume_id)
    added, strokes = _carried_out(copy, volume_id, change, _within(rules, box), box, check)
    check()
    most = rules.ask_above and (math.inf if change.from_seeds else rules.ask_above)
    question = doubt(
        sketch, strokes, most, computed=True, beyond=lambda value, limit: _count(target, value, box, limit)
    )
    strokes = [stroke for stroke in strokes if stroke.patches]
    steps: list[UndoStep] = [*added, *(step for stroke in strokes for step in stroke.steps(change.label))]
    steps += mark_edited(copy, volume_id, strokes)
    voxels = tuple(step for step in steps if isinstance(step, VoxelStep))
    written = tuple(_written(sketch, voxels, box))
    return Draft(
        change, rules, tuple(_moved(step, workspace, box) for step in steps), written, question,
        tuple(mask for part in written for mask in _shown(target, sketch, part, voxels, box)), seen,
    )  # fmt: skip


def _state(workspace: Workspace, volume_id: str) -> tuple[object, ...]:
    target = workspace.segmentation(volume_id)
    groups = tuple((id(group), group.writes) for group in target.groups)
    return (id(workspace.volume(volume_id)), id(target), target.active, target.segments, groups)


# ---- the copy


def _box(target: Segmentation, change: Change, rules: EditRules) -> Region:
    """Return the box that is copied: all that may change, and a voxel more to see what it hangs on."""
    box = Region((0, 0, 0), (0, 0, 0))
    for region in (*(part.region for part in change.masks), *(new.region for new in change.new)):
        box = box.union(region.clip(target.geometry.region))
    if rules.overwrite == "overlap":
        # What lies over others goes to another group, whole.
        for part in change.masks:
            if target.find(part.value) is not None:
                box = box.union(box_of_value(target.labels_of(part.value), part.value) or box)
    if box.is_empty:
        box = Region((0, 0, 0), (1, 1, 1))
    return box.grown(1).clip(target.geometry.region)


def _within(rules: EditRules, box: Region) -> EditRules:
    """Return the rules as they read in the box."""
    if rules.slices is None:
        return rules
    low, slices = box.lower[2 - rules.slices.axis], rules.slices
    return replace(rules, slices=replace(slices, first=slices.first - low, last=slices.last - low))


def _copied(target: Segmentation, volume: Volume, box: Region, change: Change, rules: EditRules) -> Workspace:
    """Return a workspace with the part of the image that lies in the box, and copies of what may be written there."""
    copy = Workspace()
    geometry = target.geometry.cropped(box)
    copy.add_volume(
        Volume(volume.array[box.slices], geometry, id=volume.id, modality=volume.modality, unit=volume.unit)
    )
    sketch = copy.segmentation(volume.id)
    values = {target.active, rules.area_segment, *(part.value for part in change.masks)}
    written = {segment.group for segment in target.segments if segment.value in values}
    for group in target.groups:
        part = group.labels[box.slices]
        if group.id in written or group.name == OVERLAP_GROUP:
            part = part.copy()
        else:
            part.flags.writeable = False
        sketch.put_group(Group(group.id, group.name, part))
    for segment in target.segments:
        sketch.put_segment(segment)
    sketch.active = target.active if target.find(target.active) is not None else 0
    return copy


def _count(target: Segmentation, value: int, box: Region, most: float) -> int:
    """Return how many voxels of a segment lie outside of the box, no further than to `most`."""
    segment = target.find(value)
    if segment is None:
        return 0
    labels, found = target.group(segment.group).labels, 0
    inner = box.slices[1:]
    for k, plane in enumerate(labels):
        found += int(np.count_nonzero(plane == value))
        if box.lower[0] <= k < box.upper[0]:
            found -= int(np.count_nonzero(plane[inner] == value))
        if found >= most:
            break
    return found


# ---- what is done in it


def _carried_out(
    copy: Workspace, volume_id: str, change: Change, rules: EditRules, box: Region, check: Callable[[], None]
) -> tuple[list[SegmentStep], list[Stroke]]:
    """Write the change into the copy; return the segments that were added, and what was written."""
    added: list[SegmentStep] = []
    strokes: list[Stroke] = []
    masks = [*change.masks, *_add_new(copy, volume_id, change, added)]
    # Freed first, for what one segment leaves another may take.
    for erased in (True, False):
        for part in masks:
            check()
            stroke = open_stroke(copy, volume_id, part.value, rules)
            strokes.append(stroke)
            stroke.paint(part.region.inside(box), ~part.mask if erased else part.mask, 0 if erased else None)
    return added, strokes


def _add_new(copy: Workspace, volume_id: str, change: Change, added: list[SegmentStep]) -> list[SegmentMask]:
    """Add the new segments below the active one, in its group."""
    sketch = copy.segmentation(volume_id)
    active = sketch.find(sketch.active)
    masks: list[SegmentMask] = []

    def put(step: SegmentStep) -> None:
        step.redo()
        added.append(step)

    for new in change.new:
        if active is None:
            raise EditRefused("There is no active segment.", hint="Add a segment or select one in the list.")
        if new.instance and not active.instance:
            first = replace(active, name=f"{active.name} 1", instance=1)
            put(SegmentStep(copy, volume_id, "Number segment", active, first))
            active = first
        position = [s.value for s in sketch.segments].index(active.value) + 1 + len(masks)
        segment = replace(
            active, value=sketch.free_value(), name=new.name, color=sketch.free_color(), provenance=MANUAL,
            edited=False, flags=(), locked=False, visible=True, status="not started", instance=new.instance,
        )  # fmt: skip
        put(SegmentStep(copy, volume_id, f"Add {new.name}", None, segment, position))
        masks.append(SegmentMask(segment.value, new.region, new.mask))
    return masks


# ---- and out of it again


def _written(sketch: Segmentation, steps: Sequence[VoxelStep], box: Region) -> Iterator[Written]:
    for group in sketch.groups:
        area = _area(patch for step in steps if step.group_id == group.id for patch in step.patches)
        if area is not None:
            yield Written(group.id, area.moved(box.lower), group.labels[area.slices].copy())


def _area(patches: Iterable[LabelPatch]) -> Region | None:
    area: Region | None = None
    for patch in patches:
        area = patch.region if area is None else area.union(patch.region)
    return area


def _shown(
    target: Segmentation, sketch: Segmentation, part: Written, steps: Sequence[VoxelStep], box: Region
) -> Iterator[PreviewMask]:
    """Yield what is taken away, and what every segment gets."""
    patches = [patch for step in steps if step.group_id == part.group_id for patch in step.patches]
    before = np.zeros(part.region.shape, np.uint16)
    if target.has_group(part.group_id):
        before = target.group(part.group_id).labels[part.region.slices]
    for value in sorted({patch.after for patch in patches}):
        area = _area(patch for patch in patches if patch.after == value)
        assert area is not None
        region = area.moved(box.lower)
        inner = region.inside(part.region).slices
        mask = (part.labels[inner] == value) & (before[inner] != value)
        segment = target.find(value)
        if segment is not None and segment.group != part.group_id:
            mask &= ~target.mask(value, region)  # moved to another group, where it lies over others
        for moved in (s.value for s in target.segments if not value and sketch.segment(s.value).group != s.group):
            mask &= ~sketch.mask(moved, area)
        tight = Region.of_mask(mask)
        if tight is not None:
            color = _NEW_COLOR if segment is None else segment.color
            yield PreviewMask(tight.moved(region.lower), np.ascontiguousarray(mask[tight.slices]), color, not value)


def _moved(step: UndoStep, workspace: Workspace, box: Region) -> UndoStep:
    """Return a step of the copy as one of the whole."""
    if isinstance(step, VoxelStep):
        patches = tuple(replace(patch, region=patch.region.moved(box.lower)) for patch in step.patches)
        return replace(step, workspace=workspace, patches=patches)
    if isinstance(step, GroupStep):
        shape = workspace.segmentation(step.volume_id).geometry.shape
        group = Group(step.group.id, step.group.name, np.zeros(shape, np.uint16))
        return GroupStep(workspace, step.volume_id, group, step.label)
    assert isinstance(step, SegmentStep)
    return replace(step, workspace=workspace)
