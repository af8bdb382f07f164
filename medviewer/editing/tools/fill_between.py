"""Fill between slices: draw a few slices of a structure, the skipped ones follow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from medviewer.core.params import Doc
from medviewer.core.region import Region
from medviewer.core.segmentation import Mask
from medviewer.editing.change import Change, SegmentMask
from medviewer.editing.effect import Compute, EditScene
from medviewer.editing.tool import BaseTool, tool
from medviewer.jobs.job import JobContext


@dataclass(slots=True)
class FillBetweenOptions:
    """Options of the tool."""

    segments: Annotated[Literal["active", "all visible"], Doc("All visible: none of them is filled over another")] = (
        "active"
    )


@tool("fill_between", "Fill between", shortcut="Shift+F", group="grow")
class FillBetween(BaseTool):
    """Fills skipped slices in the plane they were drawn in; drawn slices stay as they are."""

    live: ClassVar[bool] = True
    stays: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.options = FillBetweenOptions()

    def plan(self, scene: EditScene) -> Compute | None:
        """Blend the drawn slices."""
        options = replace(self.options)
        return lambda ctx: _filled(scene, options, ctx)


def _filled(scene: EditScene, options: FillBetweenOptions, ctx: JobContext) -> Change:
    together = options.segments == "all visible"
    values = [s.value for s in scene.visible if not s.locked] if together else [scene.segment.value]
    masks = (_of_one(scene, value, together, ctx) for value in values)
    made = tuple(mask for mask in masks if mask is not None)
    return Change("Fill between slices", made, note="" if made else "No slice was skipped.")


def _of_one(scene: EditScene, value: int, together: bool, ctx: JobContext) -> SegmentMask | None:
    from medviewer.imaging.fill_between import best_axis, fill_between, fill_between_turned, gaps, turned_gaps

    ctx.check_cancelled()
    box = scene.box(value)
    if box is None:
        return None
    mask = scene.mask(value, box)
    geometry, tilted = scene.geometry, scene.tilted
    axis = best_axis(mask, 2 - scene.axis)
    skipped = None if tilted is None else turned_gaps(box, mask, geometry, tilted, scene.axis)
    if skipped is not None and tilted is not None and skipped.planes:
        # Slices lie furthest apart in the grid that they were drawn in.
        own_mm = 0.0 if axis is None else gaps(mask, axis) * geometry.spacing[2 - axis]
        if skipped.length_mm >= own_mm:
            region, filled = fill_between_turned(box, mask, geometry, tilted, skipped, ctx.check_cancelled)
            return _beside(scene, value, region, filled, together)
    if axis is None:
        return None
    return _beside(scene, value, box, fill_between(mask, axis, geometry.spacing[::-1], ctx.check_cancelled), together)


def _beside(scene: EditScene, value: int, region: Region, filled: Mask, together: bool) -> SegmentMask:
    """Return what becomes of a segment; of several that are filled, none takes the place of another."""
    if together:
        labels = scene.segmentation.labels_of(value)[region.slices]
        filled &= (labels == value) | (labels == 0)
    return SegmentMask(value, region, filled)
