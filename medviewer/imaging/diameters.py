"""The longest distances in a mask: between its two farthest points, and within one of its slices.

References
----------
RECIST 1.1: Eisenhauer et al., Eur J Cancer 45, 2009. The perpendicular: WHO, Miller et al., Cancer 47, 1981. An end of
a distance is a vertex of the triangles of marching cubes, as in PyRadiomics: half a step beside a voxel of the rim.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Points

Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

#: Directions in which every slice is measured to find the few that may be the widest.
_DIRECTIONS = 24
#: Points whose distances are looked at all at once.
_FEW = 256


def rim_of(mask: Mask) -> Indices:
    """Return indices (n, 3), plane by plane, of all voxels that can be a corner of the convex hull of their plane."""
    found = []
    for n, plane in enumerate(mask):
        rows = np.flatnonzero(plane.any(axis=1))
        if not rows.size:
            continue
        part = plane[rows]
        first, last = part.argmax(axis=1), plane.shape[1] - 1 - part[:, ::-1].argmax(axis=1)
        points = np.concatenate([np.stack([rows, first], 1), np.stack([rows, last], 1)])
        top, bottom = plane.argmax(axis=0), plane.shape[0] - 1 - plane[::-1].argmax(axis=0)
        points = points[(points[:, 0] == top[points[:, 1]]) | (points[:, 0] == bottom[points[:, 1]])]
        found.append(np.concatenate([np.full((len(points), 1), n), points], axis=1))
    return np.concatenate(found)


def largest_distance(rim: Indices, steps: Points) -> float:
    """Return the largest distance between vertices of the surface: half a step beside the voxels of the rim."""
    return _diameter(rim @ steps.T, np.concatenate([steps.T, -steps.T]) / 2)[0]


def _diameter(points: Points, halves: Points) -> tuple[float, Points]:
    """Return the largest distance of two points, each moved by any of `halves`, and the vector between them.

    Parameters
    ----------
    points : float, shape (n, d)
        mm.
    halves : float, shape (m, d)
        Has the opposite of each of its vectors; mm.
    """
    moves = np.unique(np.round(halves[:, np.newaxis] - halves, 9).reshape(-1, halves.shape[1]), axis=0)
    reach = 2 * float(np.linalg.norm(halves, axis=1).max())
    points = _far_ones(points, reach)
    if len(points) > _FEW:
        points = _hull(points)
    squared = (points**2).sum(axis=1)
    # The squares of all distances from a point, less its own, as one product of matrices.
    with_one, to_all = np.column_stack((points, np.ones(len(points)))), np.vstack((-2 * points.T, squared))
    farthest = np.concatenate([(with_one[n : n + _FEW] @ to_all).max(axis=1) for n in range(0, len(points), _FEW)])
    farthest = np.sqrt((farthest + squared).clip(min=0.0))
    least = float(farthest.max()) - reach - 1e-6
    best, vector = -1.0, np.zeros(points.shape[1])
    for n in np.flatnonzero(farthest >= least):
        between = points[n] - points
        between = between[(between**2).sum(axis=1) >= max(0.0, least) ** 2, np.newaxis] + moves
        lengths = (between**2).sum(axis=2)
        if float(lengths.max()) > best:
            best = float(lengths.max())
            vector = between[np.unravel_index(int(lengths.argmax()), lengths.shape)]
    return float(np.sqrt(best)), vector


def _far_ones(points: Points, reach: float) -> Points:
    """Return the points that may be an end of the longest distance, which may be `reach` longer than between points."""
    one, two = points[0], points[0]
    for _ in range(4):
        one, two = two, points[((points - two) ** 2).sum(axis=1).argmax()]
    known = float(np.linalg.norm(one - two))
    away = np.linalg.norm(points - (one + two) / 2, axis=1)
    # Two points are at most as far from each other as both are from the middle.
    far: Points = points[away >= known - reach - away.max() - 1e-6]
    return far


def _hull(points: Points) -> Points:
    """Return the corners of the convex hull, in whatever line, plane or space the points lie."""
    from scipy.spatial import ConvexHull

    offsets = points - points.mean(axis=0)
    spread, axes = np.linalg.eigh(offsets.T @ offsets)
    flat = offsets @ axes[:, spread > 1e-9 * spread[-1]]
    if flat.shape[1] < 2:
        return points[[flat[:, 0].argmin(), flat[:, 0].argmax()]] if flat.size else points[:1]
    corners: Points = points[ConvexHull(flat).vertices]
    return corners


def plane_diameters(mask: Mask, rim: Indices, steps: Points) -> tuple[float, float, int]:
    """Return the longest diameter within a plane, its perpendicular, and which plane; `steps` of the plane's axes."""
    flat = np.linalg.qr(steps)[1]  # the plane's own coordinates, mm
    planes, starts = np.unique(rim[:, 0], return_index=True)
    points = rim[:, 1:] @ flat.T
    halves = np.concatenate([flat.T, -flat.T]) / 2
    angles = np.arange(_DIRECTIONS) * np.pi / _DIRECTIONS
    along = points @ np.stack([np.cos(angles), np.sin(angles)])
    widths = np.maximum.reduceat(along, starts) - np.minimum.reduceat(along, starts)
    least = widths.max(axis=1)
    # The true direction is at most half a step of the angle away from one that was measured.
    most = least / np.cos(np.pi / (2 * _DIRECTIONS)) + float(np.linalg.norm(flat, axis=0).max())
    best, vector, at = 0.0, np.zeros(2), 0
    ends = np.append(starts[1:], len(points))
    for n in np.argsort(-most, kind="stable"):
        if most[n] <= best:
            break
        length, between = _diameter(points[starts[n] : ends[n]], halves)
        if length > best:
            best, vector, at = length, between, int(planes[n])
    return best, _perpendicular(mask[at], flat, vector / best), at


def _perpendicular(plane: Mask, flat: Points, along: Points) -> float:
    """Return the longest line at a right angle to the unit vector `along` from edge to edge of a mask, mm."""
    from skimage.measure import find_contours

    across = np.array([-along[1], along[0]])
    starts, ends = [], []
    rings = find_contours(np.pad(plane, 1).astype(np.float32), 0.5)  # type: ignore[no-untyped-call]  # no types
    for ring in rings:
        points = (ring @ flat.T) @ np.stack([along, across]).T
        starts.append(points[:-1])
        ends.append(points[1:])
    one, two = np.concatenate(starts), np.concatenate(ends)
    low, high = np.minimum(one[:, 0], two[:, 0]), np.maximum(one[:, 0], two[:, 0])
    best = 0.0
    # Between two corners a line through the outline changes evenly: the longest one goes through a corner.
    for at in np.unique(np.round(one[:, 0], 9)):
        hit = (low <= at + 1e-9) & (high >= at - 1e-9)
        a, b = one[hit], two[hit]
        level = np.abs(b[:, 0] - a[:, 0]) < 1e-9
        part = np.where(level, 0.0, (at - a[:, 0]) / np.where(level, 1.0, b[:, 0] - a[:, 0]))
        met = a[:, 1] + part * (b[:, 1] - a[:, 1])
        met = np.concatenate([met, b[level, 1]])
        best = max(best, float(np.ptp(met)))
    return best
