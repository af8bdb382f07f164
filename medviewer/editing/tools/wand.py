"""Magic wand: a click takes what is connected to it and alike; dragging up or down changes how alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np

from medviewer.core.geometry import Geometry, Vec3
from medviewer.core.params import Doc, Range, Unit
from medviewer.core.prompt import Prompt
from medviewer.core.region import Kji, Region
from medviewer.editing.change import Change, SegmentMask
from medviewer.editing.effect import Compute, EditScene
from medviewer.editing.shaping import flat_axis
from medviewer.editing.tool import BaseTool, CursorSpec, Key, Modifier, PointerEvent, tool
from medviewer.imaging.planes import Slab, in_plane_axes, level_axes
from medviewer.jobs.job import JobContext

#: Dragging so far up doubles the tolerance, so far down halves it.
_DOUBLES_MM = 15.0
_STEP = 1.1


@dataclass(slots=True)
class WandOptions:
    """Options of the tool."""

    grows: Annotated[Literal["in 3D", "in the slice"], Doc("Where it may go from the click")] = "in 3D"
    tolerance: Annotated[
        float, Range(0.0, 1e6, 5.0), Doc("How far values may differ from that at the click; drag up or down")
    ] = 50.0
    automatic: Annotated[bool, Doc("Begin with a tolerance from the noise around the click")] = True
    reach_mm: Annotated[float, Range(1.0, 1000.0, 10.0), Unit("mm"), Doc("No further from the click than this")] = 50.0


@dataclass(frozen=True, slots=True)
class _Click:
    lps: Vec3
    axis: int
    tilted: Geometry | None
    takes_away: bool


@tool("wand", "Magic wand", shortcut="Shift+W", group="grow")
class MagicWand(BaseTool):
    """Adds what is connected to the click within a tolerance; with Ctrl takes it away."""

    live: ClassVar[bool] = True
    stays: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.options = WandOptions()
        self._click: _Click | None = None
        self._start = 0.0
        self._held = False

    @property
    def cursor(self) -> CursorSpec:
        """A cross, and the click."""
        if self._click is None:
            return CursorSpec("cross")
        prompt = Prompt(kind="point", positive=not self._click.takes_away, points=(self._click.lps,))
        return CursorSpec("cross", prompts=(prompt,))

    def deactivate(self) -> None:
        """Stop, and forget the click."""
        super().deactivate()
        self._click, self._held = None, False

    def pointer(self, event: PointerEvent) -> bool:
        """Choose a seed; drag to change the tolerance."""
        if self.ctx is None or event.phase in ("hover", "double"):
            return False
        geometry = self.ctx.editor.target.geometry
        if event.phase == "press":
            self._begin(event, geometry)
        elif self._click is not None and self._held:
            if event.phase == "move":
                up = _up_mm(geometry, self._click.lps, event)
                self.options.tolerance = round(self._start * 2 ** (up / _DOUBLES_MM), 2)
            else:
                self._held = False
        return True

    def _begin(self, event: PointerEvent, geometry: Geometry) -> None:
        from medviewer.imaging.grow import tolerance_around

        assert self.ctx is not None
        kji = geometry.voxel_at(event.lps)
        self._click = None
        if kji is None:
            return
        if self.options.automatic:
            array = self.ctx.editor.volume.array
            self.options.tolerance = round(tolerance_around(array, kji), 2)
        self._click = _Click(event.lps, event.axis, event.tilted, "ctrl" in event.modifiers)
        # From nothing at all no drag would lead anywhere.
        self._start, self._held = self.options.tolerance or 1.0, True

    def wheel(self, steps: int, modifiers: frozenset[Modifier]) -> bool:
        """Change the tolerance with Shift."""
        if "shift" not in modifiers:
            return False
        self.options.tolerance = round((self.options.tolerance or 1.0) * _STEP**steps, 2)
        return True

    def key(self, key: Key) -> bool:
        """Forget the click with Esc or Backspace."""
        if key == "apply" or self._click is None:
            return False
        self._click = None
        return True

    def plan(self, scene: EditScene) -> Compute | None:
        """Grow from the click."""
        click, options = self._click, replace(self.options)
        kji = None if click is None else scene.geometry.voxel_at(click.lps)
        if click is None or kji is None:
            return None
        return lambda ctx: _grown(scene, options, click, kji, ctx)


def _up_mm(geometry: Geometry, start: Vec3, event: PointerEvent) -> float:
    """Return how far the pointer went up on the screen, in mm: towards the head, or to the front in axial slices."""
    down = level_axes(geometry, event.axis, event.tilted)[:, 1]
    towards = -down[1] if event.axis == 2 else down[2]
    if event.tilted is not None:
        away = float(np.subtract(event.lps, start) @ down)
    else:
        vertical = in_plane_axes(event.axis)[1]
        index = geometry.lps_to_index(event.lps) - geometry.lps_to_index(start)
        away = float(index[vertical] * geometry.spacing[vertical])
    return away * (1.0 if towards >= 0 else -1.0)


def _grown(scene: EditScene, options: WandOptions, click: _Click, kji: Kji, ctx: JobContext) -> Change:
    from medviewer.imaging.grow import Ball, grow_region

    array = scene.volume.array
    within = scene.geometry.region
    flat, slab = flat_axis(scene), None
    if options.grows == "in the slice" and click.tilted is not None:
        slab = Slab(scene.geometry, click.tilted, click.axis, click.lps)
    elif options.grows == "in the slice":
        flat = click.axis
    if flat is not None:
        lower, upper = list(within.lower), list(within.upper)
        lower[2 - flat], upper[2 - flat] = kji[2 - flat], kji[2 - flat] + 1
        within = Region((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))
    value = float(array[kji])
    low, high = value - options.tolerance, value + options.tolerance
    ball = Ball(scene.geometry, options.reach_mm, slab)
    region, mask = grow_region(array, kji, low, high, within=within, ball=ball, check=ctx.check_cancelled)
    note = f"{low:g} to {high:g}{f' {scene.volume.unit}' if scene.volume.unit else ''}"
    if region.is_empty:
        return Change("Magic wand", note=note)
    there = scene.mask(region=region)
    mask = there & ~mask if click.takes_away else there | mask
    return Change("Magic wand", (SegmentMask(scene.segment.value, region, mask),), note=note)
