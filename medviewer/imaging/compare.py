"""How well two masks on one grid agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Measures of two masks.

    Attributes
    ----------
    voxels : (int, int)
        Of the first and the second.
    dice : float
        2 · both / (first + second); 1 when both are empty.
    hd95_mm : float or None
        95th percentile of the distances from each surface to the other, mm; None when one of them is empty.

    References
    ----------
    Dice 1945. Reinke et al., Understanding metric-related pitfalls in image analysis validation, 2024.
    """

    voxels: tuple[int, int]
    dice: float
    hd95_mm: float | None


def agreement(first: Mask, second: Mask, spacing_kji: tuple[float, float, float]) -> Agreement:
    """Compare two masks (k, j, i) of one shape; `spacing_kji` in mm."""
    box = _box(first | second)
    if box is None:
        return Agreement((0, 0), 1.0, None)
    first, second = first[box], second[box]
    one, two = int(first.sum()), int(second.sum())
    dice = 2.0 * int((first & second).sum()) / (one + two)
    return Agreement((one, two), dice, _hd95(first, second, spacing_kji) if one and two else None)


def _box(mask: Mask) -> tuple[slice, ...] | None:
    """Return the box around a mask with a border of one voxel where there is room, so that surfaces are closed."""
    found = []
    for axis in range(mask.ndim):
        others = tuple(n for n in range(mask.ndim) if n != axis)
        where = np.flatnonzero(mask.any(axis=others))
        if not where.size:
            return None
        found.append(slice(max(0, int(where[0]) - 1), int(where[-1]) + 2))
    return tuple(found)


def _hd95(first: Mask, second: Mask, spacing: tuple[float, float, float]) -> float:
    from scipy import ndimage

    surfaces = [mask & ~ndimage.binary_erosion(mask) for mask in (first, second)]
    distances = [
        ndimage.distance_transform_edt(~other, sampling=spacing)[surface]
        for surface, other in (surfaces, surfaces[::-1])
    ]
    return float(np.percentile(np.concatenate(distances), 95))
