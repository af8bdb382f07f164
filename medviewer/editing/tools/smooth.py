"""Smooth: take the roughness off a segment, or off all visible ones together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from medviewer.core.params import Doc, Range, Unit
from medviewer.core.region import Kji, Region
from medviewer.editing.change import Change, SegmentMask
from medviewer.editing.effect import Compute, EditScene
from medviewer.editing.shaping import flat_axis, reshaped
from medviewer.editing.tool import BaseTool, tool
from medviewer.jobs.job import JobContext

if TYPE_CHECKING:
    from medviewer.imaging.smooth import Method

_RIM: Kji = (1, 1, 1)


@dataclass(slots=True)
class SmoothOptions:
    """Options of the tool."""

    method: Annotated[
        Literal["median", "opening", "closing", "gaussian", "joint"],
        Doc(
            "Median: without specks and notches. Opening: without thin parts. Closing: without thin gaps. "
            "Gaussian: rounder and a bit smaller. Joint: all visible segments together (Taubin), which keeps their "
            "size and leaves neither gap nor overlap between them"
        ),
    ] = "median"
    size_mm: Annotated[
        float,
        Range(0.1, 50.0, 0.5),
        Unit("mm"),
        Doc("Width of the kernel; for Gaussian and joint the standard deviation"),
    ] = 3.0


@tool("smooth", "Smooth", shortcut="Shift+S", group="shape")
class Smooth(BaseTool):
    """Smooths the active segment, or all visible ones together."""

    live: ClassVar[bool] = True
    stays: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.options = SmoothOptions()

    def plan(self, scene: EditScene) -> Compute | None:
        """Smooth one or all."""
        method, size_mm = self.options.method, self.options.size_mm
        if method == "joint":
            return lambda ctx: _smoothed_jointly(scene, size_mm, ctx)
        return lambda ctx: _smoothed(scene, method, size_mm, ctx)


def _smoothed(scene: EditScene, method: Method, size_mm: float, ctx: JobContext) -> Change:
    from medviewer.imaging.smooth import smooth, smooth_reach

    geometry, flat = scene.geometry, flat_axis(scene)
    # By vote or by blurring nothing grows out of its box, if there is a rim that shows that the mask ends.
    by_vote = method in ("median", "gaussian")
    room = _RIM if by_vote else smooth_reach(geometry, method, size_mm, flat=flat)
    return reshaped(
        scene,
        f"Smooth ({method})",
        room,
        lambda mask: smooth(mask, geometry, method, size_mm, flat=flat, check=ctx.check_cancelled),
    )


def _smoothed_jointly(scene: EditScene, sd_mm: float, ctx: JobContext) -> Change:
    from scipy import ndimage

    from medviewer.imaging.smooth import gaussian_reach, joint

    flat, bounds = flat_axis(scene), scene.geometry.region
    room = gaussian_reach(scene.geometry, sd_mm, flat=flat)
    values = [segment.value for segment in scene.visible if not segment.locked]
    found = ndimage.find_objects(scene.labels)
    boxes = {}
    for value in values:
        place = found[value - 1] if value <= len(found) else None
        if place is not None:
            k, j, i = place
            box = Region((k.start, j.start, i.start), (k.stop, j.stop, i.stop))
            boxes[value] = box.grown(room).clip(bounds)
    if not boxes:
        return Change("Smooth (joint)")
    whole = next(iter(boxes.values()))
    for box in boxes.values():
        whole = whole.union(box)
    labels = scene.labels[whole.slices]
    smooth = joint(labels, tuple(boxes), scene.geometry, sd_mm, flat=flat, progress=ctx.progress)
    # What is hidden or locked keeps its voxels.
    smooth[~np.isin(labels, (0, *boxes))] = 0
    masks = []
    for value, box in boxes.items():
        masks.append(SegmentMask(value, box, smooth[box.inside(whole).slices] == value))
    return Change("Smooth (joint)", tuple(masks))
