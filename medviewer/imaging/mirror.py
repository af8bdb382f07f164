"""A mask as a mirror shows it."""

from __future__ import annotations

import numpy as np

from medviewer.core.geometry import Geometry, Vec3
from medviewer.core.region import Region
from medviewer.imaging.morphology import Mask

_CHUNK = 1 << 20
#: Of a matrix between indices: along the patient, each index of an image depends on one index only.
_NOTHING = 1e-9


def mirrored(mask: Mask, region: Region, geometry: Geometry, point_lps: Vec3, normal_lps: Vec3) -> tuple[Region, Mask]:
    """Return a mask flipped across a plane.

    Parameters
    ----------
    mask : bool array (k, j, i)
        The part of it inside `region`.
    geometry : Geometry
        The whole grid.
    point_lps, normal_lps : (float, float, float)
        A point of the plane in LPS mm, and its direction, of any length but 0.

    Returns
    -------
    Region, bool array of its shape
        Clipped to the grid; may be empty. A voxel is set when the one nearest to its mirror image is: on a grid along
        the plane, whose voxels the plane does not cut off the middle, exactly a flipped array.
    """
    normal = np.asarray(normal_lps, dtype=np.float64)
    normal /= np.linalg.norm(normal)
    turn = np.eye(4)
    turn[:3, :3] -= 2 * np.outer(normal, normal)
    turn[:3, 3] = 2 * normal * float(normal @ point_lps)
    flip = geometry.lps_to_index_matrix @ turn @ geometry.index_to_lps_matrix
    target = _box(region, flip).clip(geometry.region)
    result = np.zeros(target.shape, dtype=np.bool_)
    if target.is_empty:
        return target, result
    k, j, i = (np.arange(low, up, dtype=np.float64) for low, up in zip(target.lower, target.upper, strict=True))
    slices = max(1, _CHUNK // (j.size * i.size))
    for start in range(0, k.size, slices):
        planes = k[start : start + slices, None, None]
        inside = np.ones((planes.shape[0], j.size, i.size), dtype=np.bool_)
        sources = []
        for axis, low, size in zip((2, 1, 0), region.lower, mask.shape, strict=True):
            a, b, c, d = flip[axis]
            # A mirror image halfway between two voxels goes the same way for all of them, whatever the rounding.
            terms = [n * x for n, x in ((a, i), (b, j[:, None]), (c, planes)) if abs(n) > _NOTHING]
            source = np.floor(sum(terms, np.float64(d + 0.5 - 1e-6))).astype(np.int64) - low
            inside &= (source >= 0) & (source < size)
            sources.append(np.clip(source, 0, size - 1))
        result[start : start + slices] = mask[tuple(sources)] & inside
    return target, result


def _box(region: Region, flip: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Region:
    """Return the box that holds the mirror image of a region."""
    ends = [(low - 0.5, up - 0.5) for low, up in zip(region.lower, region.upper, strict=True)]
    corners = np.array([(x, y, z, 1.0) for z in ends[0] for y in ends[1] for x in ends[2]]) @ flip.T
    lower = np.floor(corners.min(axis=0)[:3] + 0.5 - 1e-6).astype(int)[::-1]
    upper = np.ceil(corners.max(axis=0)[:3] + 0.5 + 1e-6).astype(int)[::-1]
    return Region((int(lower[0]), int(lower[1]), int(lower[2])), (int(upper[0]), int(upper[1]), int(upper[2])))
