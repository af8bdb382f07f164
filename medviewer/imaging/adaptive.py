"""The adaptive brush: of what a brush covers, the part that is like its centre and hangs together with it."""

from __future__ import annotations

import numpy as np

from medviewer.core.region import Kji
from medviewer.core.segmentation import Mask
from medviewer.core.volume import VoxelArray

#: Voxels on each side of the centre that say what it is like.
_AROUND = 1
#: An automatic tolerance is this part of the way from the centre's value to the one at the end of the brush's range.
_SPREAD = 0.35
#: Part of the covered values left out at both ends: a bright vessel or a bubble of air is not the contrast.
_TAIL_PERCENT = 5.0


def like_center(values: VoxelArray, covered: Mask, center: Kji, tolerance: float | None = None) -> Mask:
    """Return the voxels of a brush that are like the one under its centre and connected to it inside the brush.

    Parameters
    ----------
    values : array (k, j, i)
        Image inside the box of the brush.
    covered : bool array (k, j, i)
        What the brush covers.
    center : (k, j, i)
        Index in the box of the voxel under the centre. When the brush does not cover it, nothing is painted.
    tolerance : float, optional
        How far a value may lie from that of the centre. None: found from the contrast under the brush.

    Returns
    -------
    bool array (k, j, i)
        Part of `covered`; neighbours share a face.
    """
    nothing = np.zeros(covered.shape, dtype=np.bool_)
    if any(not 0 <= c < n for c, n in zip(center, covered.shape, strict=True)) or not covered[center]:
        return nothing
    near = tuple(slice(max(0, c - _AROUND), c + _AROUND + 1) for c in center)
    # The middle one of its neighbours: one voxel of noise must not decide what is painted.
    reference = float(np.median(values[near][covered[near]]))
    if tolerance is None:
        low, high = np.percentile(values[covered], [_TAIL_PERCENT, 100.0 - _TAIL_PERCENT])
        tolerance = _SPREAD * max(float(high) - reference, reference - float(low), 0.0)
    like = covered & (np.abs(values.astype(np.float32) - reference) <= tolerance)
    like[center] = True
    return connected_to(like, center)


def connected_to(mask: Mask, place: Kji) -> Mask:
    """Return the part of a mask (k, j, i) that hangs together over faces with one of its voxels."""
    from scipy.ndimage import label

    numbers, _ = label(mask)
    part: Mask = (numbers == numbers[place]) & mask
    return part
