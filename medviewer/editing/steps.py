"""The undo steps. Each knows its record, so that the journal can replay it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.core.annotation import Box3D
from medviewer.core.contours import Contours
from medviewer.core.errors import WorkspaceError
from medviewer.core.finding import Assessment
from medviewer.core.record import StepRecord
from medviewer.core.region import Region
from medviewer.core.segmentation import Group, LabelArray, Segment
from medviewer.core.serial import (
    assessment_from_json,
    assessment_to_json,
    box_from_json,
    box_to_json,
    registration_from_json,
    registration_to_json,
    segment_from_json,
    segment_to_json,
)
from medviewer.core.transform import DisplacementField
from medviewer.core.workspace import Registration, Workspace
from medviewer.editing.history import UndoStep
from medviewer.editing.patch import LabelPatch


@dataclass(frozen=True, slots=True, eq=False)
class VoxelStep:
    """A stroke."""

    workspace: Workspace
    volume_id: str
    group_id: int
    label: str
    patches: tuple[LabelPatch, ...]

    @property
    def nbytes(self) -> int:
        """Memory it holds."""
        return sum(patch.nbytes for patch in self.patches)

    def _apply(self, patches: Sequence[LabelPatch], write: Callable[[LabelPatch, Any], None]) -> None:
        segmentation = self.workspace.segmentation(self.volume_id)
        group = segmentation.group(self.group_id)
        box = patches[0].region
        for patch in patches:
            group.before_write(patch.region)
            write(patch, group.labels)
            box = box.union(patch.region)
        segmentation.labels_changed.emit(box, self.group_id)

    def undo(self) -> None:
        """Put the old voxels back."""
        self._apply(self.patches[::-1], LabelPatch.undo)

    def redo(self) -> None:
        """Write the new voxels again."""
        self._apply(self.patches, LabelPatch.redo)

    def record(self) -> StepRecord:
        """Return it as plain data."""
        meta = {
            "volume": self.volume_id,
            "group": self.group_id,
            "label": self.label,
            "patches": [[*p.region.lower, *p.region.upper, p.after] for p in self.patches],
        }
        arrays: dict[str, npt.NDArray[Any]] = {f"m{n}": p.packed for n, p in enumerate(self.patches)}
        arrays |= {f"b{n}": p.before for n, p in enumerate(self.patches)}
        return StepRecord("voxels", meta, arrays)


@dataclass(frozen=True, slots=True, eq=False)
class GroupStep:
    """A group added or, with `removed`, taken away, with its voxels.

    Attributes
    ----------
    box : Region or None
        Box that holds all its voxels at the time of the step; None when it was empty.
    copies : list of uint16 (k, j, i)
        The voxels of the box, copied where nobody waited for it; the first record takes them.
    """

    workspace: Workspace
    volume_id: str
    group: Group
    label: str = "Add group"
    box: Region | None = None
    copies: list[LabelArray] = field(default_factory=list)
    removed: bool = False

    @property
    def nbytes(self) -> int:
        """Memory it holds; the voxels of an added group belong to the segmentation while the step is done."""
        return self.group.labels.nbytes if self.removed else 1000

    def _set(self, there: bool) -> None:
        segmentation = self.workspace.segmentation(self.volume_id)
        if there:
            segmentation.put_group(self.group)
        else:
            segmentation.take_group(self.group.id)

    def undo(self) -> None:
        """Restore the old state."""
        self._set(self.removed)

    def redo(self) -> None:
        """Restore the new state."""
        self._set(not self.removed)

    def record(self) -> StepRecord:
        """Return it as plain data: the box that holds voxels, as a copy that later strokes leave alone."""
        meta: dict[str, Any] = {"volume": self.volume_id, "id": self.group.id, "name": self.group.name}
        if self.removed:
            meta["removed"] = True
        contours = self.group.contours
        arrays: dict[str, npt.NDArray[Any]] = {} if contours is None else {"contours": contours.array}
        if self.box is None:
            return StepRecord("group", meta, arrays)
        meta["box"] = [*self.box.lower, *self.box.upper]
        labels = self.copies.pop() if self.copies else self.group.labels[self.box.slices].copy()
        return StepRecord("group", meta, arrays | {"labels": labels})


@dataclass(frozen=True, slots=True, eq=False)
class SegmentStep:
    """A segment added (`before` None), removed (`after` None) or changed."""

    workspace: Workspace
    volume_id: str
    label: str
    before: Segment | None
    after: Segment | None
    position: int | None = None

    nbytes = 500

    def _set(self, old: Segment | None, new: Segment | None) -> None:
        segmentation = self.workspace.segmentation(self.volume_id)
        if new is not None:
            segmentation.put_segment(new, self.position if old is None else None)
        elif old is not None:
            segmentation.take_segment(old.value)

    def undo(self) -> None:
        """Restore the old state."""
        self._set(self.after, self.before)

    def redo(self) -> None:
        """Restore the new state."""
        self._set(self.before, self.after)

    def record(self) -> StepRecord:
        """Return it as plain data."""
        meta = {
            "volume": self.volume_id,
            "label": self.label,
            "before": segment_to_json(self.before) if self.before else None,
            "after": segment_to_json(self.after) if self.after else None,
            "position": self.position,
        }
        return StepRecord("segment", meta)


@dataclass(frozen=True, slots=True, eq=False)
class BoxesStep:
    """The findings of a volume replaced."""

    workspace: Workspace
    volume_id: str
    label: str
    before: tuple[Box3D, ...]
    after: tuple[Box3D, ...]

    @property
    def nbytes(self) -> int:
        """Memory it holds."""
        return 500 * (len(self.before) + len(self.after))

    def undo(self) -> None:
        """Restore the old findings."""
        self.workspace.set_boxes(self.volume_id, self.before)

    def redo(self) -> None:
        """Restore the new findings."""
        self.workspace.set_boxes(self.volume_id, self.after)

    def record(self) -> StepRecord:
        """Return it as plain data."""
        meta = {
            "volume": self.volume_id,
            "label": self.label,
            "before": [box_to_json(b) for b in self.before],
            "after": [box_to_json(b) for b in self.after],
        }
        return StepRecord("boxes", meta)


@dataclass(frozen=True, slots=True, eq=False)
class AssessmentsStep:
    """What models say of a volume replaced."""

    workspace: Workspace
    volume_id: str
    label: str
    before: tuple[Assessment, ...]
    after: tuple[Assessment, ...]

    @property
    def nbytes(self) -> int:
        """Memory it holds: every map once."""
        maps = {volume.id: volume.array.nbytes for a in (*self.before, *self.after) for volume in a.maps}
        return 500 + sum(maps.values())

    def undo(self) -> None:
        """Restore what was said before."""
        self.workspace.set_assessments(self.volume_id, self.before)

    def redo(self) -> None:
        """Restore what is said now."""
        self.workspace.set_assessments(self.volume_id, self.after)

    def record(self) -> StepRecord:
        """Return it as plain data."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        meta = {
            "volume": self.volume_id,
            "label": self.label,
            "before": [assessment_to_json(a, arrays) for a in self.before],
            "after": [assessment_to_json(a, arrays) for a in self.after],
        }
        return StepRecord("assessments", meta, arrays)


@dataclass(frozen=True, slots=True, eq=False)
class RegistrationsStep:
    """The registrations replaced."""

    workspace: Workspace
    label: str
    before: tuple[Registration, ...]
    after: tuple[Registration, ...]

    @property
    def nbytes(self) -> int:
        """Memory it holds: every field once."""
        fields = {id(r): r.transform for r in (*self.before, *self.after)}
        return 2000 + sum(t.displacement_mm.nbytes for t in fields.values() if isinstance(t, DisplacementField))

    def undo(self) -> None:
        """Restore the old registrations."""
        self.workspace.set_registrations(self.before)

    def redo(self) -> None:
        """Restore the new registrations."""
        self.workspace.set_registrations(self.after)

    def record(self) -> StepRecord:
        """Return it as plain data."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        meta = {
            "label": self.label,
            "before": [registration_to_json(r, arrays) for r in self.before],
            "after": [registration_to_json(r, arrays) for r in self.after],
        }
        return StepRecord("registrations", meta, arrays)


@dataclass(frozen=True, slots=True, eq=False)
class CompoundStep:
    """Several steps under one name."""

    label: str
    steps: tuple[UndoStep, ...]

    @property
    def nbytes(self) -> int:
        """Memory it holds."""
        return sum(step.nbytes for step in self.steps)

    def undo(self) -> None:
        """Take all back, last first."""
        for step in reversed(self.steps):
            step.undo()

    def redo(self) -> None:
        """Do all again."""
        for step in self.steps:
            step.redo()

    def record(self) -> StepRecord:
        """Return it as plain data."""
        records = [step.record() for step in self.steps]
        meta = {"label": self.label, "steps": [{"kind": r.kind, "meta": dict(r.meta)} for r in records]}
        arrays = {f"{n}/{name}": array for n, r in enumerate(records) for name, array in r.arrays.items()}
        return StepRecord("compound", meta, arrays)


# ---- records back to steps


def _voxels(workspace: Workspace, record: StepRecord) -> UndoStep:
    patches = []
    for n, (k0, j0, i0, k1, j1, i1, after) in enumerate(record.meta["patches"]):
        region = Region((k0, j0, i0), (k1, j1, i1))
        packed = record.arrays[f"m{n}"].astype(np.uint8, copy=False)
        patches.append(LabelPatch(region, packed, record.arrays[f"b{n}"].astype(np.uint16, copy=False), after))
    meta = record.meta
    return VoxelStep(workspace, meta["volume"], meta["group"], meta["label"], tuple(patches))


def _group(workspace: Workspace, record: StepRecord) -> UndoStep:
    meta = record.meta
    shape = workspace.segmentation(meta["volume"]).geometry.shape
    labels = np.zeros(shape, dtype=np.uint16)
    box: Region | None = None
    if "box" in meta:
        k0, j0, i0, k1, j1, i1 = meta["box"]
        box = Region((k0, j0, i0), (k1, j1, i1))
        labels[box.slices] = record.arrays["labels"]
    contours = Contours(record.arrays["contours"]) if "contours" in record.arrays else None
    group = Group(meta["id"], meta["name"], labels, contours)
    return GroupStep(workspace, meta["volume"], group, box=box, removed=bool(meta.get("removed", False)))


def _segment(workspace: Workspace, record: StepRecord) -> UndoStep:
    meta = record.meta
    before = segment_from_json(meta["before"]) if meta["before"] else None
    after = segment_from_json(meta["after"]) if meta["after"] else None
    return SegmentStep(workspace, meta["volume"], meta["label"], before, after, meta["position"])


def _boxes(workspace: Workspace, record: StepRecord) -> UndoStep:
    meta = record.meta
    before = tuple(box_from_json(b) for b in meta["before"])
    after = tuple(box_from_json(b) for b in meta["after"])
    return BoxesStep(workspace, meta["volume"], meta["label"], before, after)


def _assessments(workspace: Workspace, record: StepRecord) -> UndoStep:
    meta = record.meta
    before = tuple(assessment_from_json(a, record.arrays) for a in meta["before"])
    after = tuple(assessment_from_json(a, record.arrays) for a in meta["after"])
    return AssessmentsStep(workspace, meta["volume"], meta["label"], before, after)


def _registrations(workspace: Workspace, record: StepRecord) -> UndoStep:
    before = tuple(registration_from_json(r, record.arrays) for r in record.meta["before"])
    after = tuple(registration_from_json(r, record.arrays) for r in record.meta["after"])
    return RegistrationsStep(workspace, record.meta["label"], before, after)


def _compound(workspace: Workspace, record: StepRecord) -> UndoStep:
    steps = []
    for n, inner in enumerate(record.meta["steps"]):
        prefix = f"{n}/"
        arrays = {k.removeprefix(prefix): v for k, v in record.arrays.items() if k.startswith(prefix)}
        steps.append(step_from_record(workspace, StepRecord(inner["kind"], inner["meta"], arrays)))
    return CompoundStep(record.meta["label"], tuple(steps))


_BUILDERS: Mapping[str, Callable[[Workspace, StepRecord], UndoStep]] = {
    "voxels": _voxels,
    "group": _group,
    "segment": _segment,
    "boxes": _boxes,
    "assessments": _assessments,
    "registrations": _registrations,
    "compound": _compound,
}


def step_from_record(workspace: Workspace, record: StepRecord) -> UndoStep:
    """Build the step again; it is not carried out yet.

    Raises
    ------
    WorkspaceError
        When the record is of a kind this version does not know, or is damaged.
    """
    build = _BUILDERS.get(record.kind)
    if build is None:
        raise WorkspaceError(
            f"The journal holds a step “{record.kind}” that this version does not know.",
            hint="Open it with a newer version of MedViewer.",
        )
    try:
        return build(workspace, record)
    except (KeyError, TypeError, ValueError) as error:
        raise WorkspaceError("A step of the journal is damaged.", hint="Work after it is lost.") from error
