"""Watershed: what is drawn in all visible segments floods the slopes around it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from medviewer.core.params import Doc, Range, Unit
from medviewer.editing.change import Change
from medviewer.editing.effect import Compute, EditScene
from medviewer.editing.seeding import grown_from
from medviewer.editing.tool import BaseTool, tool


@dataclass(slots=True)
class WatershedOptions:
    """Options of the tool."""

    blur_mm: Annotated[float, Range(0.0, 10.0, 0.5), Unit("mm"), Doc("Finer edges than this are noise")] = 1.0
    room: Annotated[float, Range(0.0, 200.0, 10.0), Unit("%"), Doc("How far beyond what was drawn they may grow")] = (
        10.0
    )


@tool("watershed", "Watershed", group="grow")
class Watershed(BaseTool):
    """Parts what touches along the steepest slopes between the visible segments."""

    live: ClassVar[bool] = False
    stays: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.options = WatershedOptions()

    def plan(self, scene: EditScene) -> Compute | None:
        """Flood from the visible segments."""
        options = replace(self.options)
        return lambda _ctx: _flooded(scene, options)


def _flooded(scene: EditScene, options: WatershedOptions) -> Change:
    from medviewer.imaging.markers import watershed

    return grown_from(
        scene, "Watershed", options.room / 100,
        lambda image, seeds, spacing: watershed(image, seeds, spacing, options.blur_mm),
    )  # fmt: skip
