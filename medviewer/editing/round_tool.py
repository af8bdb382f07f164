"""Tools with a round pointer: how big they are, by options, by the wheel, in a view, under a pen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from medviewer.core.params import Doc, Range, Unit
from medviewer.editing.stroke_tool import StrokeTool
from medviewer.editing.tool import CursorSpec, Modifier, PointerEvent

#: A step of the wheel makes a tool so much bigger.
_WHEEL_RATIO = 1.2
SIZES_MM = Range(0.5, 100.0, 0.5)
_SIZES_PERCENT = Range(0.2, 50.0, 0.5)
#: A pen that hardly touches draws with this part of the radius.
_LIGHTEST = 0.2


def resized(size: float, steps: int, allowed: Range) -> float:
    """Return a size after a turn of the wheel by some steps: a fifth more or less for each, inside what is allowed."""
    return round(min(max(size * _WHEEL_RATIO**steps, allowed.minimum), allowed.maximum), 2)


@dataclass(slots=True)
class BrushOptions:
    """Options of brush, eraser and smudge."""

    radius_mm: Annotated[float, SIZES_MM, Unit("mm")] = 5.0
    shape: Literal["disc", "sphere"] = "disc"
    size: Annotated[Literal["millimetres", "% of view"], Doc("What the radius is measured in")] = "millimetres"
    radius_percent: Annotated[float, _SIZES_PERCENT, Unit("%"), Doc("Of the shorter side of the view")] = 5.0
    pen_pressure: Annotated[bool, Doc("A pen draws thinner where it presses less")] = True
    on_surfaces: Annotated[
        bool, Doc("Brush and eraser also work in the 3D view, as a ball where something is seen; Shift turns")
    ] = False
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
        return CursorSpec("circle", self.radius_mm, in_3d=self.in_3d)

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
        options = self.options
        if options.size == "millimetres":
            options.radius_mm = resized(options.radius_mm, steps, SIZES_MM)
        else:
            options.radius_percent = resized(options.radius_percent, steps, _SIZES_PERCENT)
        return True
