"""Tracking: a vessel or an airway between points that are clicked along it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np

from medviewer.core.geometry import Vec3
from medviewer.core.params import Doc, Range, Unit
from medviewer.core.prompt import Prompt
from medviewer.core.region import Kji
from medviewer.editing.change import Change, SegmentMask
from medviewer.editing.effect import Compute, EditScene
from medviewer.editing.tool import BaseTool, CursorSpec, Key, PointerEvent, tool
from medviewer.imaging.tracking import Guide, track, tube
from medviewer.jobs.job import JobContext

#: Standard deviations of the values along the path that still are the vessel.
_SPREAD = 3.0


@dataclass(slots=True)
class TrackOptions:
    """Options of the tool."""

    follow: Annotated[Guide, Doc("What the path keeps to")] = "values at the points"
    radius_mm: Annotated[float, Range(0.5, 50.0, 0.5), Unit("mm"), Doc("Of the widest part")] = 6.0
    tolerance: Annotated[
        float, Range(0.0, 1e6, 5.0), Doc("How far values may differ from those on the path; 0 finds it")
    ] = 0.0
    margin_mm: Annotated[float, Range(1.0, 500.0, 5.0), Unit("mm"), Doc("How far a bend may lead away")] = 20.0


@tool("track", "Track vessel", group="grow")
class Track(BaseTool):
    """Adds the vessel or airway through the clicked points; Backspace takes the last point back."""

    live: ClassVar[bool] = True
    stays: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.options = TrackOptions()
        self._points: list[Vec3] = []

    @property
    def cursor(self) -> CursorSpec:
        """A cross and the points."""
        return CursorSpec(
            "cross", prompts=tuple(Prompt(kind="point", positive=True, points=(lps,)) for lps in self._points)
        )

    def deactivate(self) -> None:
        """Stop, and forget the points."""
        super().deactivate()
        self._points.clear()

    def pointer(self, event: PointerEvent) -> bool:
        """Set a point."""
        if self.ctx is None or event.phase != "press":
            return False
        if self.ctx.editor.target.geometry.voxel_at(event.lps) is not None:
            self._points.append(event.lps)
        return True

    def key(self, key: Key) -> bool:
        """Take back the last point with Backspace, and all with Esc."""
        if key == "apply" or not self._points:
            return False
        self._points = [] if key == "cancel" else self._points[:-1]
        return True

    def plan(self, scene: EditScene) -> Compute | None:
        """Find the path, and the tube around it."""
        options = replace(self.options)
        found = (scene.geometry.voxel_at(lps) for lps in self._points)
        places = [kji for kji in found if kji is not None]
        places = [kji for n, kji in enumerate(places) if n == 0 or kji != places[n - 1]]
        if len(places) < 2:
            return None
        return lambda ctx: _tracked(scene, options, places, ctx)


def _tracked(scene: EditScene, options: TrackOptions, places: list[Kji], ctx: JobContext) -> Change:
    array, geometry = scene.volume.array, scene.geometry
    path = track(
        array, geometry, places, guide=options.follow, radius_mm=options.radius_mm, margin_mm=options.margin_mm,
        check=ctx.check_cancelled,
    )  # fmt: skip
    ctx.check_cancelled()
    values = array[tuple(path.T)].astype(np.float64)
    tolerance = options.tolerance or _SPREAD * float(values.std())
    region, mask = tube(array, geometry, path, options.radius_mm, tolerance)
    length = float(np.linalg.norm(np.diff(geometry.index_to_lps(path[:, ::-1]), axis=0), axis=1).sum())
    note = f"{length:.0f} {'mm' if scene.volume.in_mm else 'px'} long"
    taken = mask | scene.mask(region=region)
    return Change("Track vessel", (SegmentMask(scene.segment.value, region, taken),), note=note)
