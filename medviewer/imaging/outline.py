"""Outlines drawn on a slice: their shapes in millimetres, and the voxels inside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medviewer.core.geometry import Geometry, Vec3, vec3
from medviewer.core.region import Region
from medviewer.core.segmentation import Mask
from medviewer.imaging.planes import Slab, in_plane_axes, level_axes
from medviewer.imaging.polygon import fill_even_odd

#: Corners of the outline of an ellipse.
_ELLIPSE_CORNERS = 72


def fill_outline(
    geometry: Geometry, outline_lps: Sequence[Vec3], axis: int, tilted: Geometry | None = None
) -> tuple[Region, Mask]:
    """Return the voxels of a slice whose centres lie inside a closed outline.

    Parameters
    ----------
    geometry : Geometry
        Any grid: the outline is filled in indices, so a tilted or sheared slice is like any other.
    outline_lps : sequence of (float, float, float)
        LPS mm, on one slice; that of the first point is taken.
    axis : int
        Index axis normal to the slice.
    tilted : Geometry, optional
        Grid of a turned view of which `axis` is an axis: the voxels that its slice passes through are filled.

    Returns
    -------
    Region, bool array of its shape (k, j, i)
        One slice thick, or as thick as a turned slice needs; clipped to the grid; may be empty.
    """
    if tilted is not None and len(outline_lps):
        slab = Slab(geometry, tilted, axis, outline_lps[0])
        box = slab.box(outline_lps)
        return box, slab.behind(box, outline_lps) & slab.holds(box)
    across, down = in_plane_axes(axis)
    index = geometry.lps_to_index(np.asarray(outline_lps, dtype=np.float64).reshape(-1, 3))
    if not len(index):
        return Region((0, 0, 0), (0, 0, 0)), np.zeros((0, 0, 0), dtype=np.bool_)
    # Corners that are drawn on voxel centres stay there on the way through millimetres.
    index = np.round(index, 6)
    lower = np.floor(index.min(axis=0)).astype(int)
    upper = np.ceil(index.max(axis=0)).astype(int) + 1
    lower[axis] = int(np.floor(index[0, axis] + 0.5))
    upper[axis] = lower[axis] + 1
    (i0, j0, k0), (i1, j1, k1) = (tuple(int(n) for n in corner) for corner in (lower, upper))
    region = Region((k0, j0, i0), (k1, j1, i1)).clip(geometry.region)
    if region.is_empty:
        return region, np.zeros(region.shape, dtype=np.bool_)
    start, size = np.array(region.lower[::-1]), region.shape[::-1]
    flat = (index - start)[:, [across, down]]
    filled = fill_even_odd([flat], (size[down], size[across]))
    return region, np.expand_dims(filled, 2 - axis)


def rectangle(
    geometry: Geometry, corner_lps: Vec3, opposite_lps: Vec3, axis: int, tilted: Geometry | None = None
) -> tuple[Vec3, ...]:
    """Return the corners (LPS mm) of a rectangle in a slice; the two given ones are the first and the third.

    Its sides are along and across the lower index axis of the slice: right angles in mm, on a sheared grid too. In a
    turned view, they are as level as on the screen.
    """
    across = level_axes(geometry, axis, tilted)[:, 0]
    corner, opposite = np.array(corner_lps), np.array(opposite_lps)
    along = (opposite - corner) @ across / (across @ across) * across
    return (vec3(corner), vec3(corner + along), vec3(opposite), vec3(opposite - along))


def ellipse(
    geometry: Geometry, corner_lps: Vec3, opposite_lps: Vec3, axis: int, tilted: Geometry | None = None
) -> tuple[Vec3, ...]:
    """Return the outline (LPS mm) of the ellipse that touches the sides of a rectangle."""
    corners = np.array(rectangle(geometry, corner_lps, opposite_lps, axis, tilted))
    center = corners.mean(axis=0)
    half_wide, half_high = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angles = np.arange(_ELLIPSE_CORNERS) * (2 * np.pi / _ELLIPSE_CORNERS)
    ring = center + np.cos(angles)[:, np.newaxis] * half_wide + np.sin(angles)[:, np.newaxis] * half_high
    return tuple(vec3(point) for point in ring)


def circle(
    geometry: Geometry, center_lps: Vec3, rim_lps: Vec3, axis: int, tilted: Geometry | None = None
) -> tuple[Vec3, ...]:
    """Return the outline (LPS mm) of the circle in a slice around a point and through another."""
    across, down = level_axes(geometry, axis, tilted).T
    normal = np.cross(across, down)
    right = across / np.linalg.norm(across)
    half = (right + np.cross(normal / np.linalg.norm(normal), right)) * np.linalg.norm(np.subtract(rim_lps, center_lps))
    return ellipse(geometry, vec3(center_lps - half), vec3(center_lps + half), axis, tilted)


def thinned(outline_lps: Sequence[Vec3], tolerance_mm: float) -> tuple[Vec3, ...]:
    """Return the points of an open line that are needed to stay within a tolerance of it (Douglas and Peucker 1973).

    The two ends are always among them.
    """
    points = np.asarray(outline_lps, dtype=np.float64).reshape(-1, 3)
    if len(points) < 3:
        return tuple(vec3(point) for point in points)
    kept = np.zeros(len(points), dtype=np.bool_)
    kept[[0, -1]] = True
    open_parts = [(0, len(points) - 1)]
    while open_parts:
        first, last = open_parts.pop()
        if last - first < 2:
            continue
        chord = points[last] - points[first]
        length2 = float(chord @ chord)
        offsets = points[first + 1 : last] - points[first]
        along = np.clip(offsets @ chord / length2, 0.0, 1.0) if length2 > 0 else np.zeros(len(offsets))
        away = np.linalg.norm(offsets - along[:, np.newaxis] * chord, axis=1)
        farthest = int(np.argmax(away))
        if away[farthest] > tolerance_mm:
            middle = first + 1 + farthest
            kept[middle] = True
            open_parts += [(first, middle), (middle, last)]
    return tuple(vec3(point) for point in points[kept])
