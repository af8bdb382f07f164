"""Coarser grids and back: what is too large to be solved at full resolution is solved on blocks of voxels first."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from medviewer.core.region import Kji
from medviewer.core.segmentation import LabelArray
from medviewer.core.volume import VoxelArray

Spacing = tuple[float, float, float]
T = TypeVar("T", bound=np.generic)


def block_factors(shape: tuple[int, ...], spacing: Spacing, most: int) -> Kji:
    """Return how many voxels a block has along (k, j, i): the finest axis grows first, until few enough are left."""
    factors = [1, 1, 1]
    while np.prod([-(-n // f) for n, f in zip(shape, factors, strict=True)]) > most:
        steps = [mm * f if n > f else np.inf for mm, f, n in zip(spacing, factors, shape, strict=True)]
        factors[int(np.argmin(steps))] += 1
    return (factors[0], factors[1], factors[2])


def block_spacing(spacing: Spacing, factors: Kji) -> Spacing:
    """Return mm between the middles of blocks."""
    return (spacing[0] * factors[0], spacing[1] * factors[1], spacing[2] * factors[2])


def padded(array: VoxelArray, factors: Kji) -> VoxelArray:
    """Return an array of whole blocks: what is missing at the end repeats the last voxel."""
    missing = [(0, -n % f) for n, f in zip(array.shape, factors, strict=True)]
    return np.pad(array, missing, mode="edge") if any(after for _, after in missing) else array


def block_mean(image: VoxelArray, factors: Kji) -> npt.NDArray[np.float32]:
    """Return the mean of every block (k, j, i)."""
    return np.asarray(_reduced(np.add, image.astype(np.float32), factors) / np.float32(np.prod(factors)))


def block_max(labels: LabelArray, factors: Kji) -> LabelArray:
    """Return the highest label of every block (k, j, i)."""
    return np.asarray(_reduced(np.maximum, labels, factors))


def block_min(labels: LabelArray, factors: Kji) -> LabelArray:
    """Return the lowest label of every block (k, j, i)."""
    return np.asarray(_reduced(np.minimum, labels, factors))


def _reduced(by: np.ufunc, array: VoxelArray, factors: Kji) -> VoxelArray:
    """Return one value of every block; plane by plane, which is far faster than over three axes at once."""
    found = padded(array, factors)
    for axis, factor in enumerate(factors):
        planes = np.moveaxis(found, axis, 0)
        part = planes[::factor].copy()
        for n in range(1, factor):
            by(part, planes[n::factor], out=part)
        found = np.moveaxis(part, 0, axis)
    return np.ascontiguousarray(found)


def enlarged(coarse: npt.NDArray[T], factors: Kji, shape: tuple[int, ...]) -> npt.NDArray[T]:
    """Return every block's value for all its voxels, cut to the shape of the fine grid."""
    fine = coarse
    for axis, factor in enumerate(factors):
        if factor > 1:
            fine = np.repeat(fine, factor, axis=axis)
    return np.ascontiguousarray(fine[tuple(slice(0, n) for n in shape)])
