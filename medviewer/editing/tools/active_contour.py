"""Active contour: the border of a segment, or of bubbles, moves until edges or a range of values stop it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from medviewer.core.geometry import Vec3
from medviewer.core.params import Doc, Range, Unit
from medviewer.core.prompt import Prompt
from medviewer.core.region import Kji, Region
from medviewer.core.segmentation import Mask
from medviewer.core.volume import VoxelArray
from medviewer.editing.change import Change, SegmentMask
from medviewer.editing.editor import EditRefused
from medviewer.editing.effect import Compute, EditScene
from medviewer.editing.round_tool import resized
from medviewer.editing.stencil import capsule
from medviewer.editing.tool import BaseTool, CursorSpec, Key, Modifier, PointerEvent, tool
from medviewer.jobs.job import JobContext

if TYPE_CHECKING:
    from medviewer.imaging.contour import Motion

#: An edge is so many times steeper than what is usual inside the start.
_STEEPER = 3.0
#: Standard deviations of the values inside the start that still belong to it.
_SPREAD = 2.5
_BUBBLES_MM = Range(0.5, 50.0, 0.5)


@dataclass(slots=True)
class ContourOptions:
    """Options of the tool."""

    stops_at: Annotated[Literal["edges", "end of a range"], Doc("The range is that of the values inside the start")] = (
        "edges"
    )
    direction: Annotated[Literal["outwards", "inwards"], Doc("At edges: where it goes")] = "outwards"
    edge: Annotated[
        float, Range(0.0, 1e6, 5.0), Doc("Slope per mm that stops it; 0 finds it from the noise inside")
    ] = 0.0
    spread: Annotated[float, Range(0.5, 10.0, 0.5), Doc("Range: standard deviations around the mean inside")] = _SPREAD
    blur_mm: Annotated[float, Range(0.0, 10.0, 0.5), Unit("mm"), Doc("Finer edges than this are noise")] = 1.0
    smoothness: Annotated[float, Range(0.0, 3.0, 0.1), Doc("More keeps the border round")] = 0.3
    iterations: Annotated[int, Range(20, 2000, 20), Doc("More lets it go further")] = 200
    reach_mm: Annotated[float, Range(1.0, 200.0, 5.0), Unit("mm"), Doc("No further out than this")] = 30.0
    bubble_mm: Annotated[float, _BUBBLES_MM, Unit("mm"), Doc("Radius of a bubble that is clicked")] = 5.0


@tool("active_contour", "Active contour", group="grow")
class ActiveContour(BaseTool):
    """Starts from the active segment and from bubbles that are clicked; Shift+wheel changes their size."""

    live: ClassVar[bool] = False
    stays: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.options = ContourOptions()
        self._bubbles: list[Vec3] = []

    @property
    def cursor(self) -> CursorSpec:
        """A circle as big as a bubble, and the bubbles."""
        prompts = tuple(Prompt(kind="point", positive=True, points=(lps,)) for lps in self._bubbles)
        return CursorSpec("circle", self.options.bubble_mm, prompts=prompts)

    def deactivate(self) -> None:
        """Stop, and forget the bubbles."""
        super().deactivate()
        self._bubbles.clear()

    def pointer(self, event: PointerEvent) -> bool:
        """Set a bubble."""
        if self.ctx is None or event.phase != "press":
            return False
        if self.ctx.editor.target.geometry.voxel_at(event.lps) is not None:
            self._bubbles.append(event.lps)
        return True

    def wheel(self, steps: int, modifiers: frozenset[Modifier]) -> bool:
        """Shift makes bubbles bigger or smaller by a fifth."""
        if "shift" not in modifiers:
            return False
        self.options.bubble_mm = resized(self.options.bubble_mm, steps, _BUBBLES_MM)
        return True

    def key(self, key: Key) -> bool:
        """Take back the last bubble with Backspace, and all with Esc."""
        if key == "apply" or not self._bubbles:
            return False
        self._bubbles = [] if key == "cancel" else self._bubbles[:-1]
        return True

    def plan(self, scene: EditScene) -> Compute | None:
        """Move the border."""
        options, bubbles = replace(self.options), tuple(self._bubbles)
        if not bubbles and scene.box() is None:
            raise EditRefused("There is nothing to start from.", hint="Click a bubble, or draw in the segment first.")
        return lambda ctx: _moved(scene, options, bubbles, ctx)


def _moved(scene: EditScene, options: ContourOptions, bubbles: tuple[Vec3, ...], ctx: JobContext) -> Change:
    from medviewer.imaging.contour import Motion

    region, start = _start(scene, options, bubbles)
    part, spacing = scene.volume.array[region.slices], scene.geometry.spacing[::-1]
    motion = Motion(options.direction == "outwards", options.smoothness, iterations=options.iterations)
    move = _to_edges if options.stops_at == "edges" else _to_range
    mask = move(part, start, spacing, options, motion, ctx)
    return Change("Active contour", (SegmentMask(scene.segment.value, region, mask),))


def _start(scene: EditScene, options: ContourOptions, bubbles: tuple[Vec3, ...]) -> tuple[Region, Mask]:
    """Return segment and bubbles, in a box with room to grow."""
    balls = [capsule(scene.geometry, lps, lps, options.bubble_mm) for lps in bubbles]
    box = scene.box() or Region((0, 0, 0), (0, 0, 0))
    for ball, _ in balls:
        box = box.union(ball)
    per_axis = options.reach_mm * np.linalg.norm(scene.geometry.lps_to_index_matrix[:3, :3], axis=1)[::-1]
    reach: Kji = (int(per_axis[0]), int(per_axis[1]), int(per_axis[2]))
    region = box.grown(reach).clip(scene.geometry.region)
    start = scene.mask(region=region).copy()
    for ball, mask in balls:
        inner = tuple(slice(a - n, b - n) for a, b, n in zip(ball.lower, ball.upper, region.lower, strict=True))
        start[inner] |= mask
    return region, start


def _to_edges(
    part: VoxelArray, start: Mask, spacing: Vec3, options: ContourOptions, motion: Motion, ctx: JobContext
) -> Mask:
    from medviewer.imaging.contour import contour_to_edges, edge_speed, slope

    steep = slope(part, spacing, options.blur_mm)
    edge = options.edge or _STEEPER * float(np.median(steep[start])) or 1.0
    ctx.check_cancelled()
    speed = edge_speed(steep, edge)
    return contour_to_edges(speed, start, spacing, motion, lambda fraction: ctx.progress(fraction, "Moving the border"))


def _to_range(
    part: VoxelArray, start: Mask, spacing: Vec3, options: ContourOptions, motion: Motion, ctx: JobContext
) -> Mask:
    from medviewer.imaging.contour import contour_to_range

    values = part[start].astype(np.float64)
    middle, half = float(values.mean()), max(options.spread * float(values.std()), 1e-6)
    return contour_to_range(
        part, start, spacing, middle - half, middle + half, motion,
        lambda fraction: ctx.progress(fraction, "Moving the border"),
    )  # fmt: skip
