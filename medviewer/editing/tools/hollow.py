"""Hollow: leave of a segment a wall of some millimetres."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from medviewer.core.params import Doc, Range, Unit
from medviewer.editing.change import Change
from medviewer.editing.effect import Compute, EditScene
from medviewer.editing.shaping import flat_axis, reshaped
from medviewer.editing.tool import BaseTool, tool
from medviewer.jobs.job import JobContext


@dataclass(slots=True)
class HollowOptions:
    """Options of the tool."""

    wall: Annotated[
        Literal["inside", "medial", "outside"],
        Doc("Where the wall lies: inside the present surface, half on either side of it, or outside"),
    ] = "inside"
    thickness_mm: Annotated[float, Range(0.1, 50.0, 0.5), Unit("mm")] = 3.0


@tool("hollow", "Hollow", group="shape")
class Hollow(BaseTool):
    """Turns the active segment into a wall along its surface."""

    live: ClassVar[bool] = True
    stays: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.options = HollowOptions()

    def plan(self, scene: EditScene) -> Compute | None:
        """Make the wall."""
        options = replace(self.options)
        return lambda ctx: _hollowed(scene, options, ctx)


def _hollowed(scene: EditScene, options: HollowOptions, ctx: JobContext) -> Change:
    from medviewer.imaging.morphology import reach, shell

    flat, thickness = flat_axis(scene), options.thickness_mm
    return reshaped(
        scene,
        "Hollow",
        reach(scene.geometry, thickness, flat=flat),
        lambda mask: shell(mask, scene.geometry, thickness, options.wall, flat=flat, check=ctx.check_cancelled),
    )
