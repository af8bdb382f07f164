"""From a place on the screen to a point in the patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Geometry, Points, Vec3, vec3
from medviewer.core.segmentation import Segmentation
from medviewer.core.view_state import LabelLook, WindowLevel
from medviewer.core.volume import Volume
from medviewer.render.plane import PlaneFrame
from medviewer.render.presets import VolumePreset

if TYPE_CHECKING:
    from vtkmodules.vtkRenderingCore import vtkRenderer

#: Opacity gathered along a ray at which the eye says "there".
_SEEN = 0.5


def slice_point(frame: PlaneFrame, x: float, y: float) -> Vec3:
    """Return the point in LPS mm under a display coordinate of a slice view (device pixels from the top left)."""
    return frame.display_to_lps(x, y)


def view_ray(renderer: vtkRenderer, x: float, y: float) -> tuple[Vec3, Vec3]:
    """Return where the line of sight through a display coordinate enters and leaves what the camera sees, LPS mm.

    Parameters
    ----------
    renderer : vtkRenderer
        In a window that has a size.
    x : float
        Device pixels from the left.
    y : float
        Device pixels from the bottom, as VTK counts.
    """
    ends: list[Vec3] = []
    for depth in (0.0, 1.0):
        renderer.SetDisplayPoint(x, y, depth)
        renderer.DisplayToWorld()
        world = np.array(renderer.GetWorldPoint())
        ends.append(vec3(world[:3] / world[3]))
    return ends[0], ends[1]


def display_of(renderer: vtkRenderer, lps: Vec3, height: int) -> tuple[float, float]:
    """Return where a point in LPS mm is seen: device pixels from the top left of a window of `height` pixels."""
    renderer.SetWorldPoint(*lps, 1.0)
    renderer.WorldToDisplay()
    x, y, _ = renderer.GetDisplayPoint()
    return float(x), float(height - y)


def clip_ray(geometry: Geometry, start: Vec3, end: Vec3) -> tuple[Points, Points] | None:
    """Return the part of a line inside a grid as continuous indices (i, j, k), or None when it misses."""
    a, b = geometry.lps_to_index(start), geometry.lps_to_index(end)
    low, high = np.full(3, -0.499), np.array(geometry.size) - 0.501
    near, far = 0.0, 1.0
    for axis in range(3):
        step = b[axis] - a[axis]
        if abs(step) < 1e-12:
            if not low[axis] <= a[axis] <= high[axis]:
                return None
            continue
        t0, t1 = sorted(((low[axis] - a[axis]) / step, (high[axis] - a[axis]) / step))
        near, far = max(near, t0), min(far, t1)
    if near >= far:
        return None
    return a + (b - a) * near, a + (b - a) * far


def first_hit(
    start: Vec3,
    end: Vec3,
    segmentation: Segmentation | None = None,
    volume: Volume | None = None,
    look: tuple[VolumePreset, WindowLevel] | None = None,
    labels: LabelLook = LabelLook(),
) -> Vec3 | None:
    """Return the first visible point on a line, LPS mm.

    Parameters
    ----------
    start : (float, float, float)
        Eye's end of the line, LPS mm.
    end : (float, float, float)
        Far end, LPS mm.
    segmentation : Segmentation, optional
        Its segments that `labels` shows are opaque.
    volume : Volume, optional
        Rendered with `look`: seen where enough opacity has gathered; with MIP, at the largest value.
    look : (VolumePreset, WindowLevel), optional
        None: the volume is not shown.
    """
    grid = segmentation.geometry if segmentation is not None else volume.geometry if volume is not None else None
    clipped = clip_ray(grid, start, end) if grid is not None else None
    if grid is None or clipped is None:
        return None
    a, b = clipped
    # Two samples a voxel.
    count = max(2, int(2 * np.abs(b - a).max()) + 1)
    index = a + (b - a) * np.linspace(0.0, 1.0, count)[:, np.newaxis]
    i, j, k = np.clip(np.floor(index + 0.5).astype(int), 0, np.array(grid.size) - 1).T
    hits: list[int] = []
    if segmentation is not None:
        hits.extend(_label_hit(segmentation, labels, (k, j, i)))
    if volume is not None and look is not None:
        hits.extend(_volume_hit(volume.array[k, j, i].astype(np.float64), look))
    return vec3(grid.index_to_lps(index[min(hits)])) if hits else None


def _label_hit(segmentation: Segmentation, look: LabelLook, kji: tuple[npt.NDArray[np.int64], ...]) -> Sequence[int]:
    hits: list[int] = []
    for group in segmentation.groups:
        active = segmentation.active
        shown = [s.value for s in segmentation.segments if s.group == group.id and look.shows(s, active)]
        inside = np.flatnonzero(np.isin(group.labels[kji], shown)) if shown else np.array([], dtype=np.int64)
        hits.extend(int(n) for n in inside[:1])
    return hits


def _volume_hit(values: npt.NDArray[np.float64], look: tuple[VolumePreset, WindowLevel]) -> Sequence[int]:
    preset, window = look
    if preset.blend == "mip":
        return [int(np.argmax(values))]
    # Two samples a voxel, each with half of a voxel's opacity.
    through = np.cumprod(np.sqrt(1.0 - np.clip(preset.opacity_of(values, window), 0.0, 0.999)))
    seen = np.flatnonzero(through <= 1.0 - _SEEN)
    return [int(seen[0])] if seen.size else []
