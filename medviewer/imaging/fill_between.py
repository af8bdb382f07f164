"""Slices that were skipped, from those that were drawn.

References
----------
Raya and Udupa, Shape-based interpolation of multidimensional objects, IEEE TMI 1990.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Geometry, Points, vec3
from medviewer.core.region import Region
from medviewer.core.segmentation import Mask
from medviewer.imaging.planes import Indices, Slab, mask_of
from medviewer.imaging.polygon import Mask2D

Distance = npt.NDArray[np.float32]

#: Shapes that share less than this part of the smaller one are moved onto each other before they are blended.
_OVERLAP = 0.5


def gaps(mask: Mask, axis: int) -> int:
    """Return how many slices along an array axis are empty between slices that are not."""
    others = tuple(n for n in range(3) if n != axis)
    drawn = np.flatnonzero(mask.any(axis=others))
    return 0 if drawn.size == 0 else int(drawn[-1] - drawn[0] + 1 - drawn.size)


def best_axis(mask: Mask, preferred: int) -> int | None:
    """Return the array axis along which slices were skipped: `preferred` if any were, else where most were."""
    found = [gaps(mask, axis) for axis in range(3)]
    if found[preferred]:
        return preferred
    return int(np.argmax(found)) if max(found) else None


def fill_between(
    mask: Mask, axis: int, spacing_kji: tuple[float, float, float], check: Callable[[], None] = lambda: None
) -> Mask:
    """Fill the skipped slices of a mask by blending the signed distances of the drawn slices on both sides.

    Two shapes that hardly overlap, as where a vessel runs slantwise, are moved along the line between their centres,
    so that what is between them does not vanish.

    Parameters
    ----------
    mask : bool array (k, j, i)
    axis : int
        Array axis along which slices were skipped.
    spacing_kji : (float, float, float)
        mm between voxels along (k, j, i).
    check : callable
        Called between slices; may raise to end the work.

    Returns
    -------
    bool array (k, j, i)
        Drawn slices are as they were.
    """
    result = mask.copy()
    box = Region.of_mask(mask)
    if box is None:
        return result
    # One voxel of border: a shape that fills its box still has an outside.
    border = [1, 1, 1]
    border[axis] = 0
    part = np.pad(mask[box.slices], [(n, n) for n in border])
    stack = np.moveaxis(part, axis, 0)
    pitch = tuple(mm for n, mm in enumerate(spacing_kji) if n != axis)
    drawn = np.flatnonzero(stack.any(axis=(1, 2)))
    target = np.moveaxis(result[box.slices], axis, 0)
    for low, high in itertools.pairwise(drawn):
        if high - low > 1:
            check()
            target[low + 1 : high] = _between(stack[low], stack[high], int(high - low), pitch)[:, 1:-1, 1:-1]
    return result


def _between(first: npt.NDArray[np.bool_], last: npt.NDArray[np.bool_], steps: int, pitch: tuple[float, ...]) -> Mask:
    """Return the ``steps - 1`` slices between two shapes on one grid (rows, columns)."""
    way = _way(first, last)
    here, there = signed_distance(first, pitch), signed_distance(last, pitch)
    slices = []
    for n in range(1, steps):
        part = n / steps
        blend = (1 - part) * _moved(here, part * way) + part * _moved(there, (part - 1) * way)
        slices.append(blend > 0)
    return np.array(slices)


def _way(first: Mask2D, last: Mask2D) -> Points:
    """Return how far (rows, columns) the second of two shapes lies from the first, where they hardly overlap."""
    shared = int((first & last).sum())
    if shared >= _OVERLAP * min(int(first.sum()), int(last.sum())):
        return np.zeros(2)
    start, end = (np.array([where.mean() for where in np.nonzero(shape)]) for shape in (first, last))
    way: Points = end - start
    return way


@dataclass(frozen=True)
class TurnedGaps:
    """Where slices of a turned view were skipped.

    Attributes
    ----------
    axis : int
        Index axis (0 = i, 1 = j, 2 = k) of the view's grid across which they lie.
    planes : tuple of (float, float)
        The drawn slices on both sides of each gap, in mm from the first slice of the view's grid.
    length_mm : float
        Of all gaps together.
    """

    axis: int
    planes: tuple[tuple[float, float], ...]
    length_mm: float


def turned_gaps(box: Region, mask: Mask, geometry: Geometry, tilted: Geometry, preferred: int) -> TurnedGaps:
    """Return what was skipped along an axis of a turned view: `preferred` if anything was, else where most was.

    Parameters
    ----------
    box : Region
    mask : bool array (k, j, i) of the box
        Not empty.
    geometry : Geometry
        Grid of the masks.
    tilted : Geometry
        Grid of the view.
    preferred : int
        Index axis of `tilted`.
    """
    voxels = np.argwhere(mask)[:, ::-1] + np.array(box.lower[::-1])
    found = [_gaps_along(voxels, _plane(geometry, tilted, axis, 0.0)) for axis in range(3)]
    return found[preferred] if found[preferred].planes else max(found, key=lambda gaps: gaps.length_mm)


def _gaps_along(voxels: Indices, slab: Slab) -> TurnedGaps:
    depths, half = np.unique(slab.distance(voxels)), slab.half_mm
    # Every slice through a solid has voxels no further from it than half a slab.
    ends = np.flatnonzero(np.diff(depths) > 2 * half)
    first, last = depths[[0, *(ends + 1)]], depths[[*ends, -1]]
    # One drawn slice lies in the middle of its voxels; what is thicker ends half a slab before its last ones.
    inset = np.minimum((last - first) / 2, half)
    planes = tuple(zip((last - inset)[:-1].tolist(), (first + inset)[1:].tolist(), strict=True))
    return TurnedGaps(slab.axis, planes, float((first[1:] - last[:-1]).sum()))


def _plane(geometry: Geometry, tilted: Geometry, axis: int, mm: float) -> Slab:
    """Return the slice of a turned view that lies so far from its first one."""
    return Slab(geometry, tilted, axis, vec3(tilted.origin + mm * tilted.direction_matrix[:, axis]))


def fill_between_turned(
    box: Region,
    mask: Mask,
    geometry: Geometry,
    tilted: Geometry,
    gaps: TurnedGaps,
    check: Callable[[], None] = lambda: None,
) -> tuple[Region, Mask]:
    """Fill the skipped slices of a turned view as `fill_between` does those of the image.

    Every voxel between two drawn slices looks at both of them along the normal; those that a drawn slice passes through
    stay as they are.

    Returns
    -------
    Region, bool array of its shape (k, j, i)
        Holds `box`.
    """
    parts = []
    for low, high in gaps.planes:
        check()
        parts.append(_between_turned(box, mask, _plane(geometry, tilted, gaps.axis, low), high - low))
    whole = box
    for region, _ in parts:
        whole = whole.union(region)
    result = np.zeros(whole.shape, np.bool_)
    for region, part in ((box, mask), *parts):
        result[region.inside(whole).slices] |= part
    return whole, result


def _between_turned(box: Region, mask: Mask, first: Slab, apart_mm: float) -> tuple[Region, Mask]:
    """Return what lies between a drawn slice and the one that is so far behind it."""
    from scipy.ndimage import map_coordinates

    last = replace(first, lps=vec3(np.add(first.lps, apart_mm * first.normal)))
    corners = np.array(list(itertools.product(*zip(box.lower[::-1], np.array(box.upper[::-1]) - 1, strict=True))))
    ends = first.pixels(corners)
    low, high = np.floor(ends.min(axis=0)).astype(int), np.ceil(ends.max(axis=0)).astype(int) + 1
    # A border wide enough for what is seen of the outermost voxels, so that both shapes have an outside.
    low, high = low - _border(first), high + _border(first)
    window = (slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])))
    shapes = [slab.picture(mask, box, window) for slab in (first, last)]
    seen = np.argwhere(shapes[0] | shapes[1])
    if not all(shape.any() for shape in shapes):
        return Region(box.lower, box.lower), np.zeros((0, 0, 0), np.bool_)
    rim = np.array(list(itertools.product(*zip(seen.min(axis=0) + low, seen.max(axis=0) + low, strict=True))))
    region = first.box(first.lps_of(rim), max(first.tilted.spacing), (0.0, apart_mm))
    voxels = first.voxels(region, (first.half_mm, apart_mm - first.half_mm))
    pitch = (first.tilted.spacing[0],) * 2
    here, there = (signed_distance(shape, pitch) for shape in shapes)
    at, part, way = (first.pixels(voxels) - low).T, first.distance(voxels) / apart_mm, _way(*shapes)[:, None]
    blend = (1 - part) * map_coordinates(here, at - part * way, order=1, mode="nearest")
    blend += part * map_coordinates(there, at + (1 - part) * way, order=1, mode="nearest")
    return region, mask_of(region, voxels[blend > 0])


def _border(slab: Slab) -> int:
    """Return how many pixels of the turned view a voxel reaches beyond its centre, and one more."""
    diagonal = float(np.linalg.norm(slab.geometry.index_to_lps_matrix[:3, :3].sum(axis=1)))
    return 2 + int(max(diagonal, *slab.geometry.spacing) / min(slab.tilted.spacing))


def signed_distance(shape: npt.NDArray[np.bool_], pitch: tuple[float, ...]) -> Distance:
    """Return the distance in mm of every pixel centre to the border, positive inside.

    The border lies half way between a pixel inside and the nearest outside, so that inside and outside are treated
    alike.
    """
    from scipy.ndimage import distance_transform_edt

    inside = distance_transform_edt(shape, sampling=pitch)
    outside = distance_transform_edt(~shape, sampling=pitch)
    return np.asarray(inside - outside, np.float32)


def _moved(distance: Distance, by: npt.NDArray[np.float64]) -> Distance:
    """Return the distances moved by whole pixels; what comes in from outside is far outside."""
    steps = [int(n) for n in np.round(by)]
    if not any(steps):
        return distance
    result = np.full_like(distance, distance.min() - 1)
    into, out_of = [], []
    for step, size in zip(steps, distance.shape, strict=True):
        into.append(slice(max(0, step), size + min(0, step)))
        out_of.append(slice(max(0, -step), size - max(0, step)))
    result[tuple(into)] = distance[tuple(out_of)]
    return result
