"""Fill holes: what a segment encloses, in the plane or in space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from medviewer.core.params import Doc
from medviewer.editing.change import Change
from medviewer.editing.effect import Compute, EditScene
from medviewer.editing.shaping import flat_axis, reshaped
from medviewer.editing.tool import BaseTool, tool


@dataclass(slots=True)
class FillHolesOptions:
    """Options of the tool."""

    holes: Annotated[
        Literal["in space", "in the plane"],
        Doc("In space: enclosed on all sides. In the plane: enclosed in a slice of the view that was used last"),
    ] = "in space"


@tool("fill_holes", "Fill holes", shortcut="Shift+H", group="shape")
class FillHoles(BaseTool):
    """Fills what the active segment encloses."""

    live: ClassVar[bool] = True
    stays: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.options = FillHolesOptions()

    def plan(self, scene: EditScene) -> Compute | None:
        """Fill the holes."""
        flat = scene.axis if self.options.holes == "in the plane" else flat_axis(scene)
        return lambda _ctx: _filled(scene, flat)


def _filled(scene: EditScene, flat: int | None) -> Change:
    from medviewer.imaging.islands import fill_holes

    return reshaped(scene, "Fill holes", (0, 0, 0), lambda mask: fill_holes(mask, flat=flat))
