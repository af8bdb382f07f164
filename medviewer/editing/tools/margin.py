"""Margin: grow or shrink a segment by millimetres."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from medviewer.core.params import Doc, Range, Unit
from medviewer.editing.change import Change
from medviewer.editing.effect import Compute, EditScene
from medviewer.editing.shaping import flat_axis, reshaped
from medviewer.editing.tool import BaseTool, Modifier, tool
from medviewer.jobs.job import JobContext

_STEP_MM = 0.5
_MOST_MM = 50.0


@dataclass(slots=True)
class MarginOptions:
    """Options of the tool."""

    direction: Literal["grow", "shrink"] = "grow"
    distance_mm: Annotated[float, Range(0.1, _MOST_MM, _STEP_MM), Unit("mm"), Doc("In every direction of space")] = 3.0


@tool("margin", "Margin", shortcut="Shift+M", group="shape")
class Margin(BaseTool):
    """Grows or shrinks the active segment by a distance in mm; Shift+wheel changes the distance."""

    live: ClassVar[bool] = True
    stays: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.options = MarginOptions()

    def wheel(self, steps: int, modifiers: frozenset[Modifier]) -> bool:
        """Change the distance with Shift."""
        if "shift" not in modifiers:
            return False
        distance = self.options.distance_mm + steps * _STEP_MM
        self.options.distance_mm = min(max(distance, _STEP_MM), _MOST_MM)
        return True

    def plan(self, scene: EditScene) -> Compute | None:
        """Grow or shrink."""
        options = replace(self.options)
        return lambda ctx: _moved(scene, options, ctx)


def _moved(scene: EditScene, options: MarginOptions, ctx: JobContext) -> Change:
    from medviewer.imaging.morphology import dilate, erode, reach

    flat, distance = flat_axis(scene), options.distance_mm
    step = dilate if options.direction == "grow" else erode
    label = f"{options.direction.capitalize()} by {distance:g} {'mm' if scene.volume.in_mm else 'px'}"
    return reshaped(
        scene,
        label,
        reach(scene.geometry, distance, flat=flat),
        lambda mask: step(mask, scene.geometry, distance, flat=flat, check=ctx.check_cancelled),
    )
