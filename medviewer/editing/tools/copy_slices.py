"""Copy slices: what a segment is in the slice that is looked at, in the slices beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np

from medviewer.core.params import Doc, Range
from medviewer.core.region import Region
from medviewer.editing.change import Change, SegmentMask
from medviewer.editing.editor import EditRefused
from medviewer.editing.effect import Compute, EditScene
from medviewer.editing.shaping import shown_slab
from medviewer.editing.tool import BaseTool, tool
from medviewer.imaging.planes import Slab, mask_of


@dataclass(slots=True)
class CopySlicesOptions:
    """Options of the tool."""

    slices: Annotated[int, Range(1, 1000), Doc("How many; in a film they are frames")] = 1
    towards: Annotated[Literal["next", "previous", "both"], Doc("Next: the one with the higher number")] = "next"
    result: Annotated[Literal["replace", "add"], Doc("Whether what is there already stays")] = "replace"


@tool("copy_slices", "Copy to slices", shortcut="Shift+C", group="shape")
class CopySlices(BaseTool):
    """Copies the active segment from the slice under the crosshair, in the view that was used last; Enter does it."""

    #: Each press of Enter is about the slice that is looked at then.
    live: ClassVar[bool] = False
    stays: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.options = CopySlicesOptions()

    def plan(self, scene: EditScene) -> Compute | None:
        """Copy from the slice that is looked at now."""
        here = scene.geometry.voxel_at(scene.crosshair_lps)
        if here is None:
            raise EditRefused("The crosshair lies outside the image.", hint="Click the slice to copy from.")
        axis, options = 2 - scene.axis, replace(self.options)
        slab = shown_slab(scene)
        if slab is not None:
            return lambda _ctx: _copied_turned(scene, options, slab)
        return lambda _ctx: _copied(scene, options, axis, here[axis])


def _copied(scene: EditScene, options: CopySlicesOptions, axis: int, at: int) -> Change:
    """`axis` is the axis of the array (k, j, i) across which the slices lie."""
    box = scene.box()
    if box is None or not box.lower[axis] <= at < box.upper[axis]:
        raise EditRefused(f"There is nothing of “{scene.segment.name}” in this slice.", hint="Go to another slice.")
    source = np.take(scene.mask(region=box), [at - box.lower[axis]], axis=axis)
    if not source.any():
        raise EditRefused(f"There is nothing of “{scene.segment.name}” in this slice.", hint="Go to another slice.")
    count = scene.geometry.shape[axis]
    runs = []
    if options.towards in ("next", "both"):
        runs.append((at + 1, min(count, at + 1 + options.slices)))
    if options.towards in ("previous", "both"):
        runs.append((max(0, at - options.slices), at))
    masks = []
    for start, stop in runs:
        if start < stop:
            region = _across(box, axis, start, stop)
            mask = np.repeat(source, stop - start, axis=axis)
            if options.result == "add":
                mask |= scene.mask(region=region)
            masks.append(SegmentMask(scene.segment.value, region, mask))
    return Change("Copy to slices", tuple(masks))


def _copied_turned(scene: EditScene, options: CopySlicesOptions, slab: Slab) -> Change:
    """Copy along the normal of a turned view; what the slice itself passes through stays as it is."""
    box = scene.box() or Region((0, 0, 0), (0, 0, 0))
    there = slab.voxels(box)
    there = there[scene.labels[tuple(there[:, ::-1].T)] == scene.segment.value]
    if not len(there):
        raise EditRefused(f"There is nothing of “{scene.segment.name}” in this slice.", hint="Go to another slice.")
    far = options.slices * slab.tilted.spacing[slab.axis] + slab.half_mm
    after = far if options.towards in ("next", "both") else 0.0
    before = -far if options.towards in ("previous", "both") else 0.0
    places = scene.geometry.index_to_lps(slab.feet(there))
    region = box.union(slab.box(places, max(scene.geometry.spacing), (before, after)))
    voxels = slab.voxels(region, (before, after))
    voxels = voxels[np.abs(slab.distance(voxels)) > slab.half_mm]
    source = np.floor(slab.feet(voxels) + 0.5).astype(np.int64)
    inside = ((source >= 0) & (source < scene.geometry.size)).all(axis=1)
    taken = scene.labels[tuple(source[inside][:, ::-1].T)] == scene.segment.value
    mask = scene.mask(region=region).copy()
    if options.result == "replace":
        mask &= ~mask_of(region, voxels)
    mask |= mask_of(region, voxels[inside][taken])
    return Change("Copy to slices", (SegmentMask(scene.segment.value, region, mask),))


def _across(box: Region, axis: int, start: int, stop: int) -> Region:
    """Return a box with other ends along one axis of the array."""
    lower, upper = list(box.lower), list(box.upper)
    lower[axis], upper[axis] = start, stop
    return Region((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))
