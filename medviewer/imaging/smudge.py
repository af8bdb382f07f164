"""Smudging: a border is pushed along with a finger, and comes to rest smoothly around it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medviewer.core.region import Region
from medviewer.core.segmentation import LabelArray, Mask
from medviewer.imaging.planes import Slab, in_plane_axes, mask_of
from medviewer.imaging.polygon import Mask2D

Field = npt.NDArray[np.float32]
Metric = npt.NDArray[np.float64]


def signed_distance(mask: Mask2D) -> Field:
    """Return the distance in pixels of each pixel from the border of a mask, above 0 inside; 0 is half way between."""
    from scipy.ndimage import distance_transform_edt

    if not mask.any():
        return np.full(mask.shape, -np.float32(np.hypot(*mask.shape)))
    inside = distance_transform_edt(mask)
    outside = distance_transform_edt(~mask)
    field: Field = (inside - outside - np.where(mask, 0.5, -0.5)).astype(np.float32)
    return field


def push(
    field: Field, start: tuple[float, float], end: tuple[float, float], radius_mm: float, metric: Metric
) -> tuple[slice, slice] | None:
    """Move what lies under a finger along with it, in place.

    A pixel takes the value that lay behind it: fully under the middle of the finger, less and less towards its rim,
    where nothing moves.

    Parameters
    ----------
    field : float32 array (rows, columns)
        A mask as its signed distance; changed.
    start, end : (row, column)
        Continuous indices between which the finger moves.
    radius_mm : float
    metric : array (2, 2)
        ``d @ metric @ d`` is the squared length in mm of a step d (rows, columns).

    Returns
    -------
    (slice, slice) or None
        The box that may have changed; None when the finger did not touch the grid.
    """
    from scipy.ndimage import map_coordinates

    reach = radius_mm * np.sqrt(np.diag(np.linalg.inv(metric)))
    step = np.subtract(end, start)
    length = float(np.sqrt(step @ metric @ step))
    if length == 0.0 or radius_mm <= 0.0:
        return None
    # A move longer than a part of the finger would fold the picture: it is made of shorter ones.
    parts = int(np.ceil(length / (0.25 * radius_mm)))
    touched: tuple[slice, slice] | None = None
    for n in range(parts):
        at = np.add(start, step * ((n + 1) / parts))
        low = np.maximum(np.floor(at - reach), 0).astype(int)
        high = np.minimum(np.ceil(at + reach) + 1, field.shape).astype(int)
        if (low >= high).any():
            continue
        box = (slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])))
        rows, columns = np.mgrid[box]
        dy, dx = rows - at[0], columns - at[1]
        away = (metric[0, 0] * dy * dy + 2 * metric[0, 1] * dy * dx + metric[1, 1] * dx * dx) / radius_mm**2
        weight = np.clip(1.0 - away, 0.0, None) ** 2
        behind = [rows - weight * step[0] / parts, columns - weight * step[1] / parts]
        field[box] = map_coordinates(field, behind, order=1, mode="nearest")
        touched = box if touched is None else _around(touched, box)
    return touched


def turned_field(slab: Slab, labels: LabelArray, value: int) -> Field:
    """Return a segment in a slice of a turned view as `signed_distance` does; exact near it, elsewhere only far.

    Parameters
    ----------
    slab : Slab
    labels : array (k, j, i)
    value : int
        Of the segment.

    Returns
    -------
    float32 array (rows, columns) of the slice
    """
    across, down = in_plane_axes(slab.axis)
    shape = (slab.tilted.size[down], slab.tilted.size[across])
    field = np.full(shape, -np.float32(np.hypot(*shape)))
    voxels = slab.voxels(Region.whole(labels.shape))
    voxels = voxels[labels[tuple(voxels[:, ::-1].T)] == value]
    if not len(voxels):
        return field
    pixels, room = slab.pixels(voxels), 2 + int(max(slab.geometry.spacing) / min(slab.tilted.spacing))
    low = np.maximum(pixels.min(axis=0).astype(int) - room, 0)
    high = pixels.max(axis=0).astype(int) + room
    rows, columns = (slice(int(a), int(min(b, n))) for a, b, n in zip(low, high, shape, strict=True))
    (k0, j0, i0), (k1, j1, i1) = voxels.min(axis=0)[::-1].tolist(), (voxels.max(axis=0)[::-1] + 1).tolist()
    box = Region((k0, j0, i0), (k1, j1, i1))
    field[rows, columns] = signed_distance(slab.picture(labels[box.slices] == value, box, (rows, columns)))
    return field


def crossed(slab: Slab, before: Field, after: Field, box: tuple[slice, slice]) -> tuple[Region, Mask, Mask]:
    """Return the voxels of a turned slice that the border went over in a box of its pixels: gained, and lost."""
    from scipy.ndimage import map_coordinates

    rows, columns = ((part.start - 1.0, float(part.stop)) for part in box)
    region = slab.box(slab.lps_of(np.array([(row, column) for row in rows for column in columns])))
    voxels = slab.voxels(region)
    pixels = slab.pixels(voxels).T
    was, now = (map_coordinates(field, pixels, order=1, mode="nearest") > 0 for field in (before, after))
    return region, mask_of(region, voxels[now & ~was]), mask_of(region, voxels[was & ~now])


def _around(a: tuple[slice, slice], b: tuple[slice, slice]) -> tuple[slice, slice]:
    rows, columns = (slice(min(x.start, y.start), max(x.stop, y.stop)) for x, y in zip(a, b, strict=True))
    return rows, columns
