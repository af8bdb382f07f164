"""Slices that were skipped, from those that were drawn.

References
----------
Raya and Udupa, Shape-based interpolation of multidimensional objects, IEEE TMI 1990.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from medviewer.core.region import Region
from medviewer.core.segmentation import Mask

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
    shared = int((first & last).sum())
    apart = shared < _OVERLAP * min(int(first.sum()), int(last.sum()))
    centres = [np.array([where.mean() for where in np.nonzero(shape)]) for shape in (first, last)]
    way = centres[1] - centres[0] if apart else np.zeros(2)
    here, there = signed_distance(first, pitch), signed_distance(last, pitch)
    slices = []
    for n in range(1, steps):
        part = n / steps
        blend = (1 - part) * _moved(here, part * way) + part * _moved(there, (part - 1) * way)
        slices.append(blend > 0)
    return np.array(slices)


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
