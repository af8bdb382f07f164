"""Threshold: a range of values, chosen by hand or from the histogram."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np

from medviewer.core.params import Choice, Doc, Range
from medviewer.core.region import Region
from medviewer.core.segmentation import Mask
from medviewer.core.volume import VoxelArray
from medviewer.editing.change import Change, SegmentMask
from medviewer.editing.editor import EditRefused
from medviewer.editing.effect import Compute, EditScene, ValueRange
from medviewer.editing.shaping import shown_slab
from medviewer.editing.tool import BaseTool, ToolContext, tool
from medviewer.imaging.planes import Slab
from medviewer.imaging.thresholds import METHODS, automatic_threshold, sampled
from medviewer.jobs.job import JobContext

Area = Literal["whole image", "shown slice", "box of the segment"]
BY_HAND = "by hand"

#: Values that are looked at for the first range: enough for a start, and at once.
_GLANCE = 50_000


@dataclass(slots=True)
class ThresholdOptions:
    """Options of the tool."""

    method: Annotated[str, Choice((BY_HAND, *METHODS)), Doc("What parts dark from bright")] = BY_HAND
    keep: Annotated[Literal["bright", "dark"], Doc("Of an automatic method")] = "bright"
    lower: Annotated[float, Range(-1e6, 1e6, 10.0), Doc("By hand: lowest value that belongs to the segment")] = 0.0
    upper: Annotated[float, Range(-1e6, 1e6, 10.0), Doc("By hand: highest value that belongs to the segment")] = 0.0
    outside: Annotated[bool, Doc("Take what lies outside the range")] = False
    histogram_of: Annotated[Area, Doc("Where an automatic method looks")] = "whole image"
    fill: Annotated[Area, Doc("Where voxels are taken")] = "whole image"
    segment: Annotated[Literal["is replaced", "grows", "is narrowed"], Doc("What happens to what is there")] = (
        "is replaced"
    )


@tool("threshold", "Threshold", shortcut="Shift+T", group="grow")
class Threshold(BaseTool):
    """Takes all voxels whose value lies in a range, shown while it is chosen."""

    live: ClassVar[bool] = True
    stays: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.options = ThresholdOptions()
        self._volume_id = ""

    def activate(self, ctx: ToolContext) -> None:
        """Become the active tool; of an image it has not seen the brighter part is the first range."""
        super().activate(ctx)
        volume = ctx.editor.volume
        if volume.id != self._volume_id:
            self._volume_id = volume.id
            values = sampled(volume.array, _GLANCE)
            values = values[np.isfinite(values)]
            if values.size and values.min() < values.max():
                self.options.lower = float(np.round(automatic_threshold(values, "Otsu"), 2))
                self.options.upper = float(values.max())

    @property
    def value_range(self) -> ValueRange:
        """The range as the options say it."""
        options = self.options
        method = "" if options.method == BY_HAND else options.method
        return ValueRange(options.lower, options.upper, options.outside, method, options.keep == "bright")

    def take_range(self, lower: float, upper: float) -> None:
        """Take a range that was chosen by hand."""
        self.options.method, self.options.lower, self.options.upper = BY_HAND, lower, upper

    def looked_at(self, scene: EditScene) -> VoxelArray:
        """Return where automatic methods look."""
        return _values(scene, self.options.histogram_of)

    def plan(self, scene: EditScene) -> Compute | None:
        """Take the voxels."""
        options = replace(self.options)
        for area in (options.fill, options.histogram_of if options.method != BY_HAND else "whole image"):
            if area == "box of the segment" and not scene.mask().any():
                raise EditRefused("The segment is empty: it has no box.", hint="Choose another area, or draw first.")
        return lambda ctx: _change(scene, options, ctx)


def _change(scene: EditScene, options: ThresholdOptions, ctx: JobContext) -> Change:
    lower, upper, note = _range(scene, options)
    ctx.check_cancelled()
    region = _region(scene, options.fill)
    part = scene.volume.array[region.slices]
    taken: Mask = (part >= lower) & (part <= upper)
    if options.outside:
        taken = ~taken
    ctx.check_cancelled()
    if options.segment == "grows":
        taken |= scene.mask(region=region)
    elif options.segment == "is narrowed":
        taken &= scene.mask(region=region)
    slab = _slab(scene, options.fill)
    here = np.ones_like(taken) if slab is None else slab.holds(region)
    share = 100 * float(np.count_nonzero(taken & here)) / max(1, int(np.count_nonzero(here)))
    if slab is not None:
        taken = np.where(here, taken, scene.mask(region=region))
    masks = [SegmentMask(scene.segment.value, region, taken)]
    return Change("Threshold", tuple(masks), note=f"{note}, {share:.1f} % of the voxels")


def _range(scene: EditScene, options: ThresholdOptions) -> tuple[float, float, str]:
    """Return the closed range and how it is called."""
    unit = f" {scene.volume.unit}" if scene.volume.unit else ""
    if options.method == BY_HAND:
        lower, upper = sorted((options.lower, options.upper))
        return lower, upper, f"{lower:g} to {upper:g}{unit}"
    values = sampled(_values(scene, options.histogram_of))
    found = automatic_threshold(values, options.method)  # type: ignore[arg-type]  # one of `METHODS`
    note = f"{options.method}: {found:.4g}{unit}"
    above = float(np.nextafter(found, np.inf))
    return (above, np.inf, note) if options.keep == "bright" else (-np.inf, found, note)


def _values(scene: EditScene, area: str) -> VoxelArray:
    """Return where an automatic method looks: a box (k, j, i), or a line of the voxels of a turned slice."""
    slab, region = _slab(scene, area), _region(scene, area)
    array = scene.volume.array
    part: VoxelArray = array[region.slices] if slab is None else array[tuple(slab.voxels(region)[:, ::-1].T)]
    return part


def _slab(scene: EditScene, area: str) -> Slab | None:
    """Return the voxels that count where a box cannot say it: those of the slice of a turned view."""
    return shown_slab(scene) if area == "shown slice" else None


def _region(scene: EditScene, area: str) -> Region:
    whole = scene.geometry.region
    if area == "box of the segment":
        return scene.box() or whole
    if area == "shown slice" and scene.tilted is None:
        index = scene.geometry.lps_to_index(scene.crosshair_lps)[scene.axis]
        lower, upper = list(whole.lower), list(whole.upper)
        axis = 2 - scene.axis
        lower[axis] = int(np.clip(np.floor(index + 0.5), 0, whole.upper[axis] - 1))
        upper[axis] = lower[axis] + 1
        return Region((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))
    return whole
