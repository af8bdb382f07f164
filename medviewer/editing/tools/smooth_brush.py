"""Smoothing brush: smooths the edge of a segment only where it passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from medviewer.core.geometry import Vec3
from medviewer.core.params import Doc, Range, Unit
from medviewer.core.region import Region
from medviewer.core.segmentation import Mask
from medviewer.editing.editor import Stroke
from medviewer.editing.round_tool import resized
from medviewer.editing.stencil import capsule
from medviewer.editing.stroke_tool import StrokeTool
from medviewer.editing.tool import CursorSpec, Modifier, PointerEvent, tool

_SIZES_MM = Range(1.0, 100.0, 0.5)
#: Standard deviations around the brush that joint smoothing looks at.
_JOINT_SD = 3.0


@dataclass(slots=True)
class SmoothBrushOptions:
    """Options of the tool."""

    radius_mm: Annotated[float, _SIZES_MM, Unit("mm"), Doc("Of the brush, a ball")] = 10.0
    method: Annotated[
        Literal["median", "opening", "closing", "gaussian", "joint"],
        Doc("As in Smooth. Joint: also moves the borders with other visible segments, without gaps"),
    ] = "median"
    size_mm: Annotated[
        float,
        Range(0.1, 50.0, 0.5),
        Unit("mm"),
        Doc("Width of the kernel; for Gaussian and joint the standard deviation"),
    ] = 3.0


@tool("smooth_brush", "Smoothing brush", group="shape")
class SmoothBrush(StrokeTool):
    """Smooths the edge of the active segment under the pointer; the longer it is rubbed the smoother."""

    def __init__(self) -> None:
        super().__init__()
        self.options = SmoothBrushOptions()

    @property
    def cursor(self) -> CursorSpec:
        """A circle as big as the brush."""
        return CursorSpec("circle", self.options.radius_mm)

    def pointer(self, event: PointerEvent) -> bool:
        """Smooth from press to release."""
        if self.ctx is None:
            return False
        if event.phase == "press":
            self._finish()
            self._stroke = self.ctx.editor.begin("Smoothing brush")
        if self._stroke is None or event.phase not in ("press", "move", "release"):
            return False
        self._smooth(self._stroke, self._last or event.lps, event)
        self._last = event.lps
        if event.phase == "release":
            self._finish()
        return True

    def wheel(self, steps: int, modifiers: frozenset[Modifier]) -> bool:
        """Shift makes the brush bigger or smaller by a fifth."""
        if "shift" not in modifiers:
            return False
        self.options.radius_mm = resized(self.options.radius_mm, steps, _SIZES_MM)
        return True

    def _smooth(self, stroke: Stroke, start_lps: Vec3, event: PointerEvent) -> None:
        assert self.ctx is not None
        geometry = self.ctx.editor.target.geometry
        flat = None if self.ctx.editor.volume.stacking == "place" else 2
        region, brush = capsule(geometry, start_lps, event.lps, self.options.radius_mm, flat)
        if region.is_empty:
            return
        if self.options.method == "joint":
            self._joint(stroke, region, brush, flat)
            return
        from medviewer.imaging.smooth import smooth, smooth_reach

        method, size = self.options.method, self.options.size_mm
        around = region.grown(smooth_reach(geometry, method, size, flat=flat)).clip(geometry.region)
        mask = stroke.group.labels[around.slices] == stroke.segment.value
        inner = region.inside(around).slices
        wanted = smooth(mask, geometry, method, size, flat=flat)[inner]
        stroke.paint(region, brush & wanted)
        stroke.paint(region, brush & ~wanted, 0)

    def _joint(self, stroke: Stroke, region: Region, brush: Mask, flat: int | None) -> None:
        """Move the borders of the active segment; those between others stay."""
        from medviewer.imaging.morphology import reach
        from medviewer.imaging.smooth import joint

        assert self.ctx is not None
        target, sd, active = self.ctx.editor.target, self.options.size_mm, stroke.segment.value
        # What lies further away changes little under the brush.
        room = reach(target.geometry, _JOINT_SD * sd, flat=flat)
        around = region.grown(room).clip(target.geometry.region)
        labels = stroke.group.labels[around.slices]
        there = [target.find(int(value)) for value in np.unique(labels) if value]
        values = [s.value for s in there if s is not None and s.visible and not s.locked]
        inner = region.inside(around).slices
        wanted = joint(labels, values, target.geometry, sd, flat=flat)[inner]
        own = brush & (labels[inner] == active)
        # Where segments may overlap, painting over one would end the border that is shared.
        free = (0,) if self.ctx.editor.rules.overwrite == "overlap" else (0, *values)
        gained = brush & (wanted == active) & np.isin(labels[inner], free)
        for value in values:
            if value != active:
                stroke.paint(region, own & (wanted == value), value)
        stroke.paint(region, own & (wanted == 0), 0)
        stroke.paint(region, gained)
