"""What may be changed. Applied in one place, for every tool alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from medviewer.core.region import Region
from medviewer.core.segmentation import Mask, Segmentation
from medviewer.core.volume import Volume

Overwrite = Literal["all", "visible", "none", "overlap"]
Area = Literal[
    "everywhere", "inside all", "inside visible", "inside one", "outside all", "outside visible", "outside one"
]
AREAS: tuple[Area, ...] = get_args(Area)


@dataclass(frozen=True, slots=True)
class SliceRange:
    """Slices `first` to `last`, both included, along an index axis (0 = i, 1 = j, 2 = k)."""

    axis: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class EditRules:
    """Masking rules of the editor.

    Attributes
    ----------
    overwrite : "all", "visible", "none" or "overlap"
        Which other segments of the same group may be painted over. Locked ones never. With "overlap" none loses
        a voxel: a segment that runs into others goes to another group, where it may lie over them.
    area : str
        Where editing is allowed: inside or outside all segments, visible ones, or `area_segment`, of whatever group.
        The segment that is edited does not count as what it must stay outside of. Inside one segment, what is erased
        goes back to that segment.
    intensity : (lower, upper) or None
        Only voxels whose value (in the unit of the volume) lies in the closed range are changed.
    inverted : bool
        Only voxels outside of `intensity` instead.
    slices : SliceRange or None
        Only these slices are changed.
    ask_above : float
        A change that makes a segment more than this many times as large asks first; 0 never asks.
    """

    overwrite: Overwrite = "all"
    area: Area = "everywhere"
    area_segment: int = 0
    intensity: tuple[float, float] | None = None
    inverted: bool = False
    slices: SliceRange | None = None
    ask_above: float = 20.0

    @property
    def limits_area(self) -> bool:
        """Whether `area_segment` counts."""
        return self.area in ("inside one", "outside one")

    def protected_values(self, segmentation: Segmentation, group_id: int, active: int) -> list[int]:
        """Return the values of the group that an edit of segment `active` must leave alone."""
        protected = []
        for segment in segmentation.segments:
            if segment.group != group_id or segment.value == active:
                continue
            keeps = self.overwrite in ("none", "overlap") or (self.overwrite == "visible" and not segment.visible)
            if segment.locked or keeps:
                protected.append(segment.value)
        return protected

    def editable(self, region: Region, volume: Volume) -> Mask:
        """Return where slices and values allow a change, shape of the region."""
        mask = np.ones(region.shape, dtype=np.bool_)
        if self.slices is not None:
            low = region.lower[2 - self.slices.axis]
            inside = [slice(None)] * 3
            inside[2 - self.slices.axis] = slice(max(0, self.slices.first - low), max(0, self.slices.last + 1 - low))
            within = np.zeros_like(mask)
            within[tuple(inside)] = True
            mask &= within
        if self.intensity is not None:
            lower, upper = self.intensity
            image = volume.array[region.slices]
            mask &= ((image >= lower) & (image <= upper)) != self.inverted
        return mask

    def in_area(self, segmentation: Segmentation, region: Region, active: int) -> Mask | None:
        """Return where the area allows segment `active` to change, shape of the region; None for everywhere."""
        if self.area == "everywhere":
            return None
        side, _, which = self.area.partition(" ")
        counted = [
            segment
            for segment in segmentation.segments
            if not (side == "outside" and segment.value == active)
            and (which != "visible" or segment.visible)
            and (which != "one" or segment.value == self.area_segment)
        ]
        mask = np.zeros(region.shape, dtype=np.bool_)
        for group in segmentation.groups:
            values = [segment.value for segment in counted if segment.group == group.id]
            if values:
                mask |= np.isin(group.labels[region.slices], values)
        return mask if side == "inside" else ~mask
