"""Grow from seeds: what is drawn in all visible segments grows until they meet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from medviewer.core.params import Doc, Range, Unit
from medviewer.editing.change import Change
from medviewer.editing.effect import Compute, EditScene
from medviewer.editing.seeding import grown_from
from medviewer.editing.tool import BaseTool, tool
from medviewer.jobs.job import JobContext


@dataclass(slots=True)
class GrowOptions:
    """Options of the tool."""

    locality: Annotated[float, Range(0.0, 1.0, 0.01), Doc("More keeps segments nearer to what was drawn")] = 0.01
    room: Annotated[float, Range(0.0, 200.0, 10.0), Unit("%"), Doc("How far beyond what was drawn they may grow")] = (
        10.0
    )


@tool("grow_from_seeds", "Grow from seeds", shortcut="Shift+G", group="grow")
class GrowFromSeeds(BaseTool):
    """Shows what the visible segments grow into; draw more where it is wrong, erase a seed and its growth is gone."""

    live: ClassVar[bool] = True
    stays: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.options = GrowOptions()

    def plan(self, scene: EditScene) -> Compute | None:
        """Let the segments compete."""
        if len(scene.visible) < 2:
            return None
        options = replace(self.options)
        return lambda ctx: _grown(scene, options, ctx)


def _grown(scene: EditScene, options: GrowOptions, ctx: JobContext) -> Change:
    from medviewer.imaging.seeds import compete

    return grown_from(
        scene, "Grow from seeds", options.room / 100,
        lambda image, seeds, spacing: compete(
            image, seeds, spacing, locality=options.locality, check=ctx.check_cancelled
        ),
    )  # fmt: skip
