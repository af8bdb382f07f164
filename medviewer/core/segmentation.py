"""A segmentation: groups of label maps under one flat list of segments.

Segments of one group exclude each other (one label map each); groups may overlap. Nothing but
`medviewer.editing.editor` writes voxels.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from medviewer.core.contours import Contours
from medviewer.core.finding import QualityFlag
from medviewer.core.geometry import Geometry
from medviewer.core.provenance import MANUAL, Provenance
from medviewer.core.region import Region
from medviewer.core.terminology import ANATOMICAL_STRUCTURE, TISSUE, CodedConcept

LabelArray = npt.NDArray[np.uint16]
Mask = npt.NDArray[np.bool_]
Color = tuple[int, int, int]
Status = Literal["not started", "in progress", "done", "flagged"]

#: Distinguishable on grey, in the order in which new segments get them.
PALETTE: tuple[Color, ...] = (
    (230, 75, 53), (77, 187, 213), (0, 160, 135), (255, 195, 77), (140, 120, 220), (243, 155, 127),
    (145, 209, 120), (220, 90, 160), (126, 197, 255), (190, 140, 90), (250, 240, 110), (120, 220, 190),
)  # fmt: skip

MAX_VALUE = 65535


@dataclass(frozen=True, slots=True)
class Segment:
    """One structure. DICOM SEG words (PS3.3 C.8.20.4).

    Attributes
    ----------
    value : int
        Label value, 1..65535, unique in its segmentation; it never changes by itself.
    name : str
        SegmentLabel.
    color : (int, int, int)
        sRGB 0..255.
    group : int
        Group of the label map that holds it.
    category, type : CodedConcept
        Segmented Property Category and Type: a lesion, a metastasis.
    type_modifier, region, region_modifier : CodedConcept or None
        Of the type, the anatomic region it lies in, and of that: left, liver, right.
    instance : int
        Number of several of one kind, metastasis 1 to n, which ends its name; 0 when it is not numbered.
    edited : bool
        A person has changed what a task or a file brought.
    flags : tuple of QualityFlag
        What the program found doubtful about it when it was made.
    """

    value: int
    name: str
    color: Color = PALETTE[0]
    group: int = 0
    visible: bool = True
    locked: bool = False
    opacity: float = 1.0
    status: Status = "not started"
    category: CodedConcept = TISSUE
    type: CodedConcept = ANATOMICAL_STRUCTURE
    type_modifier: CodedConcept | None = None
    region: CodedConcept | None = None
    region_modifier: CodedConcept | None = None
    instance: int = 0
    provenance: Provenance = MANUAL
    edited: bool = False
    flags: tuple[QualityFlag, ...] = ()

    @property
    def label(self) -> str:
        """Name of its kind: without the number of the instance."""
        return self.name.removesuffix(f" {self.instance}") if self.instance else self.name


#: Voxels (k, j, i) of the boxes in which label maps are copied.
_BOX = (8, 64, 64)


class LabelCopy:
    """The voxels of a group as they are now, copied box by box: when asked for, or just before a box changes.

    So a save or an export begins at once, whatever the size: its job makes the copy, and a stroke that comes before it
    waits for the boxes that it changes.
    """

    def __init__(self, labels: LabelArray, *, owned: bool = False) -> None:
        #: None where everything is copied, or nobody else writes it.
        self._source: LabelArray | None = None if owned else labels
        self._copy: LabelArray | None = labels if owned else None
        #: Which boxes are still to be copied.
        self._left = np.ones([-(-n // step) for n, step in zip(labels.shape, _BOX, strict=True)], np.bool_)
        self._lock = threading.Lock()
        self._in_a_hurry = False

    def get(self) -> LabelArray:
        """Return the copy; from any thread."""
        for k in range(len(self._left)):
            with self._lock:
                self._take(slice(k, k + 1))
            while self._in_a_hurry:
                time.sleep(0.0005)
        with self._lock:
            self._source = None
            assert self._copy is not None
            return self._copy

    def keep(self, region: Region) -> bool:
        """Copy the boxes that a region touches, before it is written to; return whether nothing is left to copy."""
        if self._source is None:
            return True
        k, j, i = (
            slice(low // step, -(-up // step)) for low, up, step in zip(region.lower, region.upper, _BOX, strict=True)
        )
        self._in_a_hurry = True
        try:
            with self._lock:
                self._take(k, j, i)
        finally:
            self._in_a_hurry = False
        return not self._left.any()

    def _take(self, k: slice, j: slice = slice(None), i: slice = slice(None)) -> None:
        """Copy what is left of some boxes."""
        if self._source is None:
            return
        if self._copy is None:
            self._copy = np.empty_like(self._source)
        for part in _boxes(self._left, k, j, i):
            self._copy[part] = self._source[part]
        self._left[k, j, i] = False


def _boxes(left: Mask, k: slice, j: slice, i: slice) -> Iterator[tuple[slice, ...]]:
    """Yield the voxels of the boxes that are left among some; whole slices at once where all of them are."""
    for n in range(*k.indices(len(left))):
        slices = slice(n * _BOX[0], (n + 1) * _BOX[0])
        if left[n, j, i].all() and left[n, j, i].size == left[n].size:
            yield (slices,)
            continue
        for row in range(*j.indices(left.shape[1])):
            for column in range(*i.indices(left.shape[2])):
                if left[n, row, column]:
                    starts = zip((row, column), _BOX[1:], strict=True)
                    yield (slices, *(slice(start * step, (start + 1) * step) for start, step in starts))


@dataclass(slots=True, eq=False)
class Group:
    """A label map whose segments exclude each other.

    Attributes
    ----------
    id : int
    labels : uint16, shape (k, j, i)
        Segment values; 0 is background. Written by `LabelEditor` only.
    contours : Contours or None
        What the label map was filled from; true for the segments that are not `edited`.
    writes : int
        How often it has been written to.
    """

    id: int
    name: str
    labels: LabelArray
    contours: Contours | None = None
    writes: int = field(default=0, init=False, repr=False)
    _copies: list[weakref.ref[LabelCopy]] = field(default_factory=list, init=False, repr=False)

    def copy_labels(self) -> LabelCopy:
        """Return the voxels as they are now, without copying them yet; call it on the main thread."""
        copy = LabelCopy(self.labels)
        self._copies.append(weakref.ref(copy))
        return copy

    def before_write(self, region: Region) -> None:
        """Copy a region for whoever still waits for its present voxels; every writer calls it first."""
        self.writes += 1
        copies = [(ref, ref()) for ref in self._copies]
        self._copies = [ref for ref, copy in copies if copy is not None and not copy.keep(region)]


class Segmentation:
    """The segments of one volume, on its grid.

    Signals
    -------
    labels_changed(Region, int)
        Voxels of a group changed inside the region (k, j, i).
    segments_changed()
        The list, or a segment's name, colour, visibility, lock or order changed.
    active_changed(int)
        Value of the active segment; 0 when there is none.
    """

    labels_changed = Signal(object, int)
    segments_changed = Signal()
    active_changed = Signal(int)

    def __init__(self, geometry: Geometry, volume_id: str = "") -> None:
        self.geometry = geometry
        self.volume_id = volume_id
        self._groups: dict[int, Group] = {}
        self._segments: dict[int, Segment] = {}
        self._active = 0

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All segments, in the order of the list."""
        return tuple(self._segments.values())

    @property
    def groups(self) -> tuple[Group, ...]:
        """All groups, lowest first."""
        return tuple(self._groups.values())

    @property
    def active(self) -> int:
        """Value of the active segment; 0 when there is none."""
        return self._active

    @active.setter
    def active(self, value: int) -> None:
        if value and value not in self._segments:
            raise KeyError(f"no segment has the value {value}")
        if value != self._active:
            self._active = value
            self.active_changed.emit(value)

    def segment(self, value: int) -> Segment:
        """Return the segment with `value`; raises KeyError."""
        return self._segments[value]

    def find(self, value: int) -> Segment | None:
        """Return the segment with `value`, or None."""
        return self._segments.get(value)

    def group(self, group_id: int) -> Group:
        """Return the group with `group_id`; raises KeyError."""
        return self._groups[group_id]

    def has_group(self, group_id: int) -> bool:
        """Whether a group exists."""
        return group_id in self._groups

    def labels_of(self, value: int) -> LabelArray:
        """Return a read-only view of the label map that holds a segment."""
        view = self._groups[self._segments[value].group].labels.view()
        view.flags.writeable = False
        return view

    def mask(self, value: int, region: Region | None = None) -> Mask:
        """Return the mask (k, j, i) of a segment, or of its part inside `region`."""
        labels = self.labels_of(value)
        part: Mask = (labels if region is None else labels[region.slices]) == value
        return part

    def free_value(self, taken: Iterable[int] = ()) -> int:
        """Return the lowest value that no segment has."""
        used = set(self._segments) | set(taken)
        value = 1
        while value in used:
            value += 1
        if value > MAX_VALUE:
            raise ValueError("no label value is left")
        return value

    def free_group(self) -> int:
        """Return the lowest id that no group has."""
        return next(n for n in range(len(self._groups) + 1) if n not in self._groups)

    def free_color(self) -> Color:
        """Return the palette colour that is used least."""
        used = [segment.color for segment in self._segments.values()]
        return min(PALETTE, key=used.count)

    def new_group(self, name: str = "", labels: LabelArray | None = None) -> Group:
        """Return a group that is not yet part of the segmentation; `labels` has the grid's shape (k, j, i)."""
        if labels is None:
            labels = np.zeros(self.geometry.shape, dtype=np.uint16)
        if labels.shape != self.geometry.shape or labels.dtype != np.uint16:
            raise ValueError(f"labels must be uint16 of shape {self.geometry.shape}")
        return Group(self.free_group(), name, labels)

    # What follows is called by undo steps and loaders; a person's change goes through `medviewer.editing`.

    def put_group(self, group: Group) -> None:
        """Add a group."""
        if group.id in self._groups:
            raise ValueError(f"group {group.id} exists")
        self._groups[group.id] = group
        self._groups = dict(sorted(self._groups.items()))
        self.labels_changed.emit(self.geometry.region, group.id)

    def take_group(self, group_id: int) -> Group:
        """Remove a group that has no segments left, and return it."""
        if any(segment.group == group_id for segment in self._segments.values()):
            raise ValueError(f"group {group_id} still has segments")
        group = self._groups.pop(group_id)
        self.labels_changed.emit(self.geometry.region, group_id)
        return group

    def put_segment(self, segment: Segment, position: int | None = None) -> None:
        """Add a segment, or replace the one with its value, in place or at `position`."""
        if not 1 <= segment.value <= MAX_VALUE:
            raise ValueError(f"label value {segment.value} is out of range")
        if segment.group not in self._groups:
            raise ValueError(f"group {segment.group} does not exist")
        items = [s for s in self._segments.values() if s.value != segment.value]
        if position is None:
            order = list(self._segments)
            position = order.index(segment.value) if segment.value in self._segments else len(items)
        items.insert(position, segment)
        self._segments = {s.value: s for s in items}
        self.segments_changed.emit()

    def take_segment(self, value: int) -> tuple[Segment, int]:
        """Remove a segment from the list (its voxels stay as they are); return it and its position."""
        position = list(self._segments).index(value)
        segment = self._segments.pop(value)
        if self._active == value:
            self._active = 0
            rest = list(self._segments)
            self.active = rest[min(position, len(rest) - 1)] if rest else 0
            if not rest:
                self.active_changed.emit(0)
        self.segments_changed.emit()
        return segment, position
