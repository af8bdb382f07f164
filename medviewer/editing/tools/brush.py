"""Brush and eraser: a disc in the slice or a sphere, in millimetres or as a part of the view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from medviewer.core.geometry import Vec3
from medviewer.core.params import Doc, Range, Unit
from medviewer.core.region import Kji, Region
from medviewer.core.segmentation import Mask
from medviewer.editing.stencil import capsule
from medviewer.editing.stroke_tool import StrokeTool
from medviewer.editing.tool import CursorSpec, Modifier, PointerEvent, tool
from medviewer.imaging.adaptive import like_center

#: Shift and a turn of the wheel make the brush so much bigger.
_WHEEL_RATIO = 1.2
_SIZES_MM = Range(0.5, 100.0, 0.5)
_SIZES_PERCENT = Range(0.2, 50.0, 0.5)
#: A pen that hardly touches draws with this part of the radius.
_LIGHTEST = 0.2


@dataclass(slots=True)
class BrushOptions:
    """Options of brush, eraser and smudge."""

    radius_mm: Annotated[float, _SIZES_MM, Unit("mm")] = 5.0
    shape: Literal["disc", "sphere"] = "disc"
    size: Annotated[Literal["millimetres", "% of view"], Doc("What the radius is measured in")] = "millimetres"
    radius_percent: Annotated[float, _SIZES_PERCENT, Unit("%"), Doc("Of the shorter side of the view")] = 5.0
    pen_pressure: Annotated[bool, Doc("A pen draws thinner where it presses less")] = True
    adaptive: Annotated[bool, Doc("Stop at edges: paint what is like the middle of the brush and joined to it")] = False
    tolerance: Annotated[
        float,
        Range(0.0, 3000.0, 5.0),
        Doc("How far values may lie from that in the middle; 0 takes it from what is under the brush"),
    ] = 0.0


class RoundTool(StrokeTool):
    """A tool with a round pointer: brush, eraser, smudge."""

    #: One set of options: who makes the brush bigger wants the eraser bigger too.
    shared_options = BrushOptions()

    def __init__(self) -> None:
        super().__init__()
        self.options = self.shared_options
        #: Shorter side of the view that the pointer was in last.
        self._view_mm = 0.0
        self._pressure = 1.0

    @property
    def radius_mm(self) -> float:
        """Radius in the view that the pointer is in, as hard as the pen presses."""
        radius = self.options.radius_mm
        if self.options.size == "% of view" and self._view_mm > 0:
            radius = self.options.radius_percent / 100 * self._view_mm
        return radius * self._pressure

    @property
    def cursor(self) -> CursorSpec:
        """A circle as big as the brush."""
        return CursorSpec("circle", self.radius_mm)

    def look_at(self, event: PointerEvent) -> None:
        """Note what an event says of the view and the pen."""
        self._view_mm = event.view_mm
        if event.phase != "release":  # a pen that leaves presses no more
            part = _LIGHTEST + (1 - _LIGHTEST) * event.pressure
            self._pressure = part if self.options.pen_pressure and event.phase != "hover" else 1.0

    def wheel(self, steps: int, modifiers: frozenset[Modifier]) -> bool:
        """Shift makes the brush bigger or smaller by a fifth."""
        if modifiers != {"shift"}:
            return False
        options, factor = self.options, _WHEEL_RATIO**steps
        if options.size == "millimetres":
            options.radius_mm = _within(_SIZES_MM, options.radius_mm * factor)
        else:
            options.radius_percent = _within(_SIZES_PERCENT, options.radius_percent * factor)
        return True


def _within(allowed: Range, value: float) -> float:
    return round(min(max(value, allowed.minimum), allowed.maximum), 2)


class RoundBrush(RoundTool):
    """What brush and eraser share: a stroke from press to release, without gaps however fast the mouse moves."""

    erases = False

    def __init__(self) -> None:
        super().__init__()
        self._erasing = False

    def pointer(self, event: PointerEvent) -> bool:
        """Paint from press to release; Ctrl turns brush into eraser and back."""
        if self.ctx is None:
            return False
        self.look_at(event)
        if event.phase == "press":
            self._finish()
            self._erasing = self.erases != ("ctrl" in event.modifiers)
            self._stroke = self.ctx.editor.begin("Eraser" if self._erasing else "Brush")
            self._paint(event.lps, event)
            return True
        if self._stroke is None:
            return False
        if event.phase == "move":
            self._paint(self._last or event.lps, event)
            return True
        if event.phase == "release":
            self._paint(self._last or event.lps, event)
            self._finish()
            return True
        return False

    def _paint(self, start_lps: Vec3, event: PointerEvent) -> None:
        assert self.ctx is not None
        assert self._stroke is not None
        # Frames of a film are not neighbours in space: a sphere there is a disc.
        flat = self.options.shape == "disc" or self.ctx.editor.volume.stacking != "place"
        axis = event.axis if flat else None
        geometry = self.ctx.editor.target.geometry
        region, mask = capsule(geometry, start_lps, event.lps, self.radius_mm, axis, event.tilted)
        self._last = event.lps
        if self.options.adaptive and not region.is_empty:
            mask = self._like_middle(region, mask, geometry.voxel_at(event.lps))
        if not region.is_empty:
            self._stroke.paint(region, mask, value=0 if self._erasing else None)

    def _like_middle(self, region: Region, mask: Mask, middle: Kji | None) -> Mask:
        assert self.ctx is not None
        if middle is None or not region.contains(middle):
            return mask & False
        k, j, i = (m - low for m, low in zip(middle, region.lower, strict=True))
        values = self.ctx.editor.volume.array[region.slices]
        return like_center(values, mask, (k, j, i), self.options.tolerance or None)


@tool("brush", "Brush", shortcut="B")
class Brush(RoundBrush):
    """Adds to the active segment."""


@tool("eraser", "Eraser", shortcut="E")
class Eraser(RoundBrush):
    """Takes away from the active segment."""

    erases = True
