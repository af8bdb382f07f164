"""Scissors: which voxels lie inside an outline as it is seen, in a slice or in 3D.

Only the voxels that are asked for are looked at. Drawing longer outside of them costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Geometry, Points, Vec3, vec3
from medviewer.core.region import Kji, Region
from medviewer.core.segmentation import Mask
from medviewer.imaging.outline import fill_outline
from medviewer.imaging.planes import Slab, in_plane_axes
from medviewer.imaging.polygon import fill_even_odd

ScreenPoint = tuple[float, float]


def behind_slice(
    geometry: Geometry, region: Region, outline_lps: Sequence[Vec3], axis: int, tilted: Geometry | None = None
) -> Mask:
    """Return the voxels of a region that are seen inside an outline when one goes through the slices.

    Parameters
    ----------
    geometry : Geometry
    region : Region
        (k, j, i).
    outline_lps : sequence of (float, float, float)
        LPS mm, closed, on a slice.
    axis : int
        Index axis normal to the slices.
    tilted : Geometry, optional
        Grid of a turned view, of which the slices are.

    Returns
    -------
    bool array of the region's shape
        Read only. The same in every slice: views move a point to another slice along the index axis.
    """
    if tilted is not None:
        return Slab(geometry, tilted, axis, outline_lps[0]).behind(region, outline_lps)
    drawn, inside = fill_outline(geometry, outline_lps, axis)
    flat = list(region.shape)
    flat[2 - axis] = 1
    mask = np.zeros(flat, dtype=np.bool_)
    there, here = [slice(None)] * 3, [slice(None)] * 3
    for n in range(3):
        if n != 2 - axis:
            low, up = max(region.lower[n], drawn.lower[n]), min(region.upper[n], drawn.upper[n])
            there[n] = slice(low - drawn.lower[n], max(low, up) - drawn.lower[n])
            here[n] = slice(low - region.lower[n], max(low, up) - region.lower[n])
    if not drawn.is_empty:
        mask[tuple(here)] = inside[tuple(there)]
    return np.broadcast_to(mask, region.shape)


def behind_screen(
    geometry: Geometry,
    region: Region,
    where: Mask,
    outline: Sequence[ScreenPoint],
    world_to_screen: Points,
) -> Mask:
    """Return the voxels of a mask that are seen inside an outline on the screen, however deep they lie.

    Parameters
    ----------
    geometry : Geometry
    region : Region
        (k, j, i), of the mask.
    where : bool array of the region's shape
        Voxels that are looked at.
    outline : sequence of (float, float)
        Closed, in pixels of the screen. Edges count to the pixel, as drawn.
    world_to_screen : float array (4, 4)
        From LPS mm (x, y, z, 1) to (x, y, depth, w) of the screen, before the division by w. A point with w of 0 or
        less lies behind the eye, and is not seen.
    """
    points = np.asarray(outline, dtype=np.float64).reshape(-1, 2)
    found = np.zeros(region.shape, dtype=np.bool_)
    if len(points) < 3 or not where.any():
        return found
    matrix = world_to_screen @ geometry.index_to_lps_matrix
    low, high = _seen_box(matrix, region)
    corner = np.maximum(np.floor(points.min(axis=0)), low)
    width, height = np.maximum(np.minimum(np.ceil(points.max(axis=0)), high) - corner, 0).astype(int) + 1
    drawn = fill_even_odd([points - corner], (int(height), int(width)))
    kji = np.nonzero(where)
    x, y, w = _seen_at(matrix, region.lower, kji)
    visible = w > 0
    column = np.floor(np.divide(x, w, out=np.full_like(x, -np.inf), where=visible) - corner[0] + 0.5)
    row = np.floor(np.divide(y, w, out=np.full_like(y, -np.inf), where=visible) - corner[1] + 0.5)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    inside[inside] = drawn[row[inside].astype(np.int64), column[inside].astype(np.int64)]
    found[tuple(axis[inside] for axis in kji)] = True
    return found


def seen_box(geometry: Geometry, outline: Sequence[ScreenPoint], world_to_screen: Points) -> Region:
    """Return the box of voxels (k, j, i) that holds all that can be seen inside an outline."""
    (left, top), (right, bottom) = np.min(outline, axis=0) - 1, np.max(outline, axis=0) + 1
    corners = [
        seen_point(world_to_screen, (x, y), depth) for x in (left, right) for y in (top, bottom) for depth in (0.0, 1.0)
    ]
    index = geometry.lps_to_index(corners)
    low, high = np.floor(index.min(axis=0)).astype(int)[::-1], np.ceil(index.max(axis=0)).astype(int)[::-1] + 1
    (k0, j0, i0), (k1, j1, i1) = (tuple(int(n) for n in corner) for corner in (low, high))
    return Region((k0, j0, i0), (k1, j1, i1)).clip(geometry.region)


def looking(world_to_screen: Points) -> Vec3:
    """Return the unit vector (LPS) from the eye into the screen."""
    # In perspective w grows along it, otherwise only depth does.
    along = world_to_screen[3, :3] if np.abs(world_to_screen[3, :3]).max() > 1e-12 else world_to_screen[2, :3]
    return vec3(along / np.linalg.norm(along))


def forward(geometry: Geometry, axis: int) -> Vec3:
    """Return the unit normal (LPS) of the slices along an index axis that points to the head, to anterior or left."""
    across, down = (geometry.direction_matrix[:, n] for n in in_plane_axes(axis))
    normal = np.cross(across, down)
    world = int(np.argmax(np.abs(normal)))
    wanted = -1.0 if world == 1 else 1.0
    return vec3(normal / np.linalg.norm(normal) * np.sign(normal[world]) * wanted)


def screen_points(world_to_screen: Points, points_lps: Sequence[Vec3]) -> tuple[ScreenPoint, ...]:
    """Return where points in LPS mm are seen on a screen."""
    x, y, _, w = world_to_screen @ np.c_[np.asarray(points_lps, dtype=np.float64), np.ones(len(points_lps))].T
    return tuple((float(a), float(b)) for a, b in zip(x / w, y / w, strict=True))


def seen_point(world_to_screen: Points, point: ScreenPoint, depth: float) -> Vec3:
    """Return the point in LPS mm at a place and a depth of a screen."""
    world = np.linalg.solve(world_to_screen, [*point, depth, 1.0])
    return vec3(world[:3] / world[3])


def screen_depth(world_to_screen: Points, lps: Vec3) -> float:
    """Return how deep a point in LPS mm lies in what is seen, 0 to 1; exactly 0 at the eye's end of it."""
    depth, w = (world_to_screen @ [*lps, 1.0])[2:]
    return float(np.round(depth / w, 9))


def slice_to_screen(geometry: Geometry, axis: int) -> Points:
    """Return the matrix from LPS mm to a slice as a screen: x and y are the indices in it, depth that of the slice."""
    across, down = in_plane_axes(axis)
    matrix: Points = geometry.lps_to_index_matrix[[across, down, axis, 3]]
    return matrix


def plane_of_line(start: ScreenPoint, end: ScreenPoint, world_to_screen: Points) -> Points:
    """Return the plane that is seen as a line on the screen, as (a, b, c, d): ``a x + b y + c z + d = 0`` in LPS mm.

    For points before the eye the left side is above 0 on the side that is to the right of the line from `start` to
    `end` where y grows downwards.
    """
    line = np.cross([*start, 1.0], [*end, 1.0])
    plane: Points = line @ world_to_screen[[0, 1, 3]]
    return plane


def _seen_box(matrix: Points, region: Region) -> tuple[Points, Points]:
    """Return the corners, in whole pixels, of what a region can be seen in; without end when the eye is inside."""
    corners = np.array([[i, j, k, 1] for k in (0, 1) for j in (0, 1) for i in (0, 1)], dtype=np.float64)
    corners[:, :3] = np.array(region.lower[::-1]) + corners[:, :3] * (np.array(region.shape[::-1]) - 1)
    x, y, _, w = matrix @ corners.T
    if w.min() <= 0:
        return np.full(2, -np.inf), np.full(2, np.inf)
    seen = np.stack([x, y]) / w
    return np.floor(seen.min(axis=1)) - 1, np.ceil(seen.max(axis=1)) + 1


def _seen_at(matrix: Points, lower: Kji, kji: tuple[npt.NDArray[np.int64], ...]) -> tuple[Points, Points, Points]:
    """Return x, y and w on the screen of voxels; `matrix` is from (i, j, k, 1) to the screen."""
    k, j, i = (axis + low for axis, low in zip(kji, lower, strict=True))
    x, y, w = (matrix[n, 0] * i + matrix[n, 1] * j + (matrix[n, 2] * k + matrix[n, 3]) for n in (0, 1, 3))
    return x, y, w
