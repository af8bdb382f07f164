"""Brush footprints: from millimetres to voxels, on any grid."""

from __future__ import annotations

import numpy as np

from medviewer.core.geometry import Geometry, Points, Vec3
from medviewer.core.region import Region
from medviewer.core.segmentation import Mask
from medviewer.imaging.planes import Slab, mask_of


def capsule(
    geometry: Geometry,
    start_lps: Vec3,
    end_lps: Vec3,
    radius_mm: float,
    axis: int | None = None,
    tilted: Geometry | None = None,
) -> tuple[Region, Mask]:
    """Return the voxels that a round brush covers on its way between two mouse events.

    Parameters
    ----------
    geometry : Geometry
        Grid that is painted on; may be oblique, anisotropic or sheared.
    start_lps, end_lps : (float, float, float)
        LPS mm.
    radius_mm : float
        A voxel is covered when its centre lies no further from the path; the voxel under the brush always is.
    axis : int, optional
        Index axis (0 = i, 1 = j, 2 = k) normal to the view: paints a disc in that one slice. None paints a sphere.
    tilted : Geometry, optional
        Grid of a turned view of which `axis` is an axis: the disc lies in its plane, and covers it without a hole.

    Returns
    -------
    Region, bool array of its shape (k, j, i)
        Clipped to the grid; may be empty.
    """
    if axis is not None and tilted is not None:
        return _disc(Slab(geometry, tilted, axis, start_lps), start_lps, end_lps, radius_mm)
    ends = geometry.lps_to_index([start_lps, end_lps])
    # How far `radius_mm` reaches along each index axis, whatever the shear: row norms of the inverse matrix.
    reach = radius_mm * np.linalg.norm(geometry.lps_to_index_matrix[:3, :3], axis=1)
    lower = np.floor(ends.min(axis=0) - reach + 0.5).astype(int)
    upper = np.floor(ends.max(axis=0) + reach + 0.5).astype(int) + 1
    slice_index = 0
    if axis is not None:
        slice_index = int(np.floor(ends[0, axis] + 0.5))
        lower[axis], upper[axis] = slice_index, slice_index + 1
    (i0, j0, k0), (i1, j1, k1) = (tuple(int(n) for n in corner) for corner in (lower, upper))
    region = Region((k0, j0, i0), (k1, j1, i1)).clip(geometry.region)
    if region.is_empty:
        return region, np.zeros(region.shape, dtype=np.bool_)
    flat = axis if axis is not None else -1
    mask = _near_segment(geometry, region, ends, radius_mm, flat)
    for end in ends:
        kji = tuple(int(n) for n in np.floor(end + 0.5)[::-1])
        if axis is not None:
            kji = tuple(slice_index if 2 - n == axis else c for n, c in enumerate(kji))
        inside = tuple(c - low for c, low in zip(kji, region.lower, strict=True))
        if region.contains((kji[0], kji[1], kji[2])):
            mask[inside] = True
    return region, mask


def _near_segment(geometry: Geometry, region: Region, ends_ijk: Points, radius_mm: float, flat: int) -> Mask:
    """Return which voxel centres of the region lie within `radius_mm` of a segment; `flat` ignores one index axis."""
    axes = [np.arange(low, up, dtype=np.float64) for low, up in zip(region.lower, region.upper, strict=True)][::-1]
    matrix = geometry.index_to_lps_matrix[:3, :3]
    start, step = ends_ijk[0].copy(), ends_ijk[1] - ends_ijk[0]
    if flat >= 0:
        step[flat] = 0.0
        axes[flat] = np.full_like(axes[flat], start[flat])
    i, j, k = axes[0][None, None, :], axes[1][None, :, None], axes[2][:, None, None]
    offsets = [
        matrix[n, 0] * (i - start[0]) + matrix[n, 1] * (j - start[1]) + matrix[n, 2] * (k - start[2]) for n in range(3)
    ]
    path = matrix @ step
    length2 = float(path @ path)
    if length2 > 0:
        along = sum(offset * p for offset, p in zip(offsets, path, strict=True)) / length2
        along = np.clip(along, 0.0, 1.0)
        offsets = [offset - along * p for offset, p in zip(offsets, path, strict=True)]
    distance2 = offsets[0] ** 2 + offsets[1] ** 2 + offsets[2] ** 2
    near: Mask = distance2 <= radius_mm**2
    return near


def _disc(slab: Slab, start_lps: Vec3, end_lps: Vec3, radius_mm: float) -> tuple[Region, Mask]:
    """Return the voxels that a disc in a turned plane covers on its way, and that under it."""
    region = slab.box([start_lps, end_lps], radius_mm)
    if region.is_empty:
        return region, np.zeros(region.shape, dtype=np.bool_)
    voxels = slab.voxels(region)
    offsets = slab.geometry.index_to_lps(slab.feet(voxels)) - start_lps
    path = np.subtract(end_lps, start_lps)
    along = np.clip(offsets @ path / max(float(path @ path), 1e-12), 0.0, 1.0)
    near = ((offsets - along[:, None] * path) ** 2).sum(axis=1) <= radius_mm**2
    mask = mask_of(region, voxels[near])
    for kji in map(slab.geometry.voxel_at, (start_lps, end_lps)):
        if kji is not None:
            k, j, i = np.subtract(kji, region.lower)
            mask[k, j, i] = True
    return region, mask
