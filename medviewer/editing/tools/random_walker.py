"""Random walker: every voxel goes to the visible segment that a walker who shuns edges comes to first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from medviewer.core.params import Doc, Range, Unit
from medviewer.editing.change import Change
from medviewer.editing.effect import Compute, EditScene
from medviewer.editing.seeding import TOO_FEW, grown, seeds_of
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

    seeds = seeds_of(scene, options.room / 100)
    if seeds is None:
        return Change("Random walker", note=TOO_FEW)
    part = scene.volume.array[seeds.region.slices]
    found = random_walk(part, seeds.labels, scene.geometry.spacing[::-1], options.edges)
    return grown(scene, "Random walker", seeds, found)
