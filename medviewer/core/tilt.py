"""Planes that do not follow the grid of an image: the grid of a view that is turned against it."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np

from medviewer.core.geometry import Geometry, Points, Vec3, vec3
from medviewer.core.volume import Volume

#: A rotation of LPS space, row-major 3x3.
Tilt = tuple[float, float, float, float, float, float, float, float, float]
STRAIGHT: Tilt = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def tilt_of(matrix: Points) -> Tilt:
    """Return the rotation nearest to a matrix (3, 3).

    Raises
    ------
    ValueError
        When it is no rotation but for rounding: mirrored, sheared, or not finite.
    """
    if not np.isfinite(matrix).all():
        raise ValueError("a rotation is finite")
    square = np.abs(matrix.T @ matrix - np.eye(3)).max() < 1e-12  # as it was saved
    nearest = matrix if square else orthogonal(matrix)
    if np.abs(nearest - matrix).max() > 1e-3 or np.linalg.det(nearest) < 0:
        raise ValueError("no rotation")
    if np.abs(nearest - np.eye(3)).max() < 1e-9:
        return STRAIGHT
    a, b, c, d, e, f, g, h, i = (float(v) for v in nearest.ravel())
    return (a, b, c, d, e, f, g, h, i)


def turned(tilt: Tilt, axis_lps: Points | Vec3, radians: float) -> Tilt:
    """Return a rotation followed by one about an axis (LPS, any length), right-handed."""
    x, y, z = np.asarray(axis_lps) / np.linalg.norm(axis_lps)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    # Rodrigues' formula.
    rotation = np.eye(3) + np.sin(radians) * cross + (1.0 - np.cos(radians)) * (cross @ cross)
    return tilt_of(rotation @ np.array(tilt).reshape(3, 3))


def swung(axes: Points, before: Points, after: Points) -> Points:
    """Return the axes in a plane (columns, LPS; the first is that to the right) when its normal is turned.

    By the shortest rotation from one unit normal to the other; every half turn is as short: it is about the first axis.
    """
    cosine = float(before @ after)
    if cosine < -1 + 1e-9:
        return axes * [1.0, -1.0]
    x, y, z = np.cross(before, after)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    swing: Points = (np.eye(3) + cross + cross @ cross / (1.0 + cosine)) @ axes
    return swing


def tilted_grid(geometry: Geometry, tilt: Tilt) -> Geometry:
    """Return the grid of views that are turned against the grid of an image.

    Index axis ``n`` of it points where the image's axis ``n`` points after the rotation, so what is axial stays axial
    in name; shear is taken out first. It covers the whole image.

    Parameters
    ----------
    geometry : Geometry
        Grid of the image; may be sheared.
    tilt : nine floats
        Rotation about the middle of the image, LPS, row-major.

    Returns
    -------
    Geometry
        Orthogonal, with the image's smallest spacing along all three axes; one of its points is the image's middle.
    """
    spacing = min(geometry.spacing)
    axes = np.array(tilt).reshape(3, 3) @ orthogonal(geometry.direction_matrix)
    middle = geometry.index_to_lps([(n - 1) / 2 for n in geometry.size])
    ends = [(-0.5, n - 0.5) for n in geometry.size]
    corners = geometry.index_to_lps(list(product(*ends)))
    reach = np.ceil(np.abs((corners - middle) @ axes).max(axis=0) / spacing).astype(int)
    origin = middle - axes @ (reach * spacing)
    i, j, k = (int(2 * n + 1) for n in reach)
    return Geometry((i, j, k), (spacing, spacing, spacing), vec3(origin), tuple(axes.ravel()))


def views_grid(volume: Volume, tilt: Tilt | None) -> Geometry | None:
    """Return the grid of the views of a volume; None where they follow its own, as those of a picture always do."""
    return None if tilt is None or not volume.has_depth else tilted_grid(volume.geometry, tilt)


def nearest_axes(geometry: Geometry) -> tuple[int, int, int]:
    """Return the index axis closest to each world axis, all three at once so that none is used twice."""
    direction = geometry.direction_matrix
    x, y, z = max(permutations(range(3)), key=lambda p: sum(abs(direction[world, p[world]]) for world in range(3)))
    return x, y, z


def patient_axes(geometry: Geometry) -> Points:
    """Return the square axes of the views of a grid as columns, LPS: mostly to the left, posterior and the head."""
    axes: Points = orthogonal(geometry.direction_matrix)[:, nearest_axes(geometry)]
    return axes * np.where(axes.diagonal() < 0, -1.0, 1.0)


def orthogonal(direction: Points) -> Points:
    """Return the orthonormal matrix (3, 3) nearest to one of unit columns."""
    u, _, vt = np.linalg.svd(direction)
    nearest: Points = u @ vt
    return nearest


def slab_half_mm(geometry: Geometry, normal_lps: Points) -> float:
    """Return how far from a plane, in mm, the centres of the voxels lie that it passes through.

    That is half of a voxel's extent along the normal; voxels up to there cover the plane without a hole.
    """
    return float(np.abs(normal_lps @ geometry.index_to_lps_matrix[:3, :3]).sum() / 2)
