"""Random walker: every voxel goes to the visible segment that a walker who shuns edges comes to first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from medviewer.core.params import Doc, Range, Unit
from medviewer.editing.change import Change
from medviewer.editing.effect import Compute, EditScene
from medviewer.editing.seeding import grown_from
from medviewer.editing.tool import BaseTool, tool


@dataclass(slots=True)
class WalkerOptions:
    """Options of the tool."""

    edges: Annotated[float, Range(1.0, 100000.0, 100.0), Doc("How much edges matter; less gives smoother borders")] = (
        1000.0
    )
    room: Annotated[float, Range(0.0, 200.0, 10.0), Unit("%"), Doc("How far beyond what was drawn they may grow")] = (
        10.0
    )


@tool("random_walker", "Random walker", group="grow")
class RandomWalker(BaseTool):
    """Closes weak edges: good for small structures in noise. A large box is walked with coarser steps."""

    live: ClassVar[bool] = False
    stays: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.options = WalkerOptions()

    def plan(self, scene: EditScene) -> Compute | None:
        """Walk from the visible segments."""
        options = replace(self.options)
        return lambda _ctx: _walked(scene, options)


def _walked(scene: EditScene, options: WalkerOptions) -> Change:
    from medviewer.imaging.markers import random_walk

    return grown_from(
        scene, "Random walker", options.room / 100,
        lambda image, seeds, spacing: random_walk(image, seeds, spacing, options.edges),
    )  # fmt: skip
