"""Half-open boxes of voxel indices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Kji = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Region:
    """A half-open box ``lower <= index < upper`` in array order (k, j, i)."""

    lower: Kji
    upper: Kji

    @classmethod
    def whole(cls, shape: Iterable[int]) -> Region:
        """Return the region of a whole array of `shape` (k, j, i)."""
        k, j, i = (int(n) for n in shape)
        return cls((0, 0, 0), (k, j, i))

    @classmethod
    def of_mask(cls, mask: npt.NDArray[np.bool_]) -> Region | None:
        """Return the smallest region that holds every true voxel, or None for an empty mask."""
        lower: list[int] = []
        upper: list[int] = []
        for axis in range(3):
            others = tuple(a for a in range(3) if a != axis)
            hit = np.flatnonzero(mask.any(axis=others))
            if hit.size == 0:
                return None
            lower.append(int(hit[0]))
            upper.append(int(hit[-1]) + 1)
        return cls((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))

    @property
    def shape(self) -> Kji:
        """Number of voxels along (k, j, i); zero where the region is empty."""
        k, j, i = (max(0, u - low) for low, u in zip(self.lower, self.upper, strict=True))
        return (k, j, i)

    @property
    def size(self) -> int:
        """Number of voxels."""
        k, j, i = self.shape
        return k * j * i

    @property
    def is_empty(self) -> bool:
        """Whether the region holds no voxel."""
        return self.size == 0

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index expression for an array (k, j, i)."""
        (k0, j0, i0), (k1, j1, i1) = self.lower, self.upper
        return (slice(k0, max(k0, k1)), slice(j0, max(j0, j1)), slice(i0, max(i0, i1)))

    def union(self, other: Region) -> Region:
        """Return the smallest region that holds both; an empty one adds nothing."""
        if self.is_empty:
            return other
        if other.is_empty:
            return self
        lower = tuple(min(a, b) for a, b in zip(self.lower, other.lower, strict=True))
        upper = tuple(max(a, b) for a, b in zip(self.upper, other.upper, strict=True))
        return Region((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))

    def clip(self, bounds: Region) -> Region:
        """Return the part of this region inside `bounds`; empty (never inverted) if there is none."""
        lower = [max(a, b) for a, b in zip(self.lower, bounds.lower, strict=True)]
        upper = [max(low, min(a, b)) for low, a, b in zip(lower, self.upper, bounds.upper, strict=True)]
        return Region((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))

    def grown(self, voxels: int | Kji) -> Region:
        """Return the region grown by `voxels` on every side (not clipped)."""
        by = (voxels, voxels, voxels) if isinstance(voxels, int) else voxels
        lower = [a - n for a, n in zip(self.lower, by, strict=True)]
        upper = [a + n for a, n in zip(self.upper, by, strict=True)]
        return Region((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))

    def moved(self, by: Kji) -> Region:
        """Return the region moved by `by` voxels along (k, j, i)."""
        lower = [a + n for a, n in zip(self.lower, by, strict=True)]
        upper = [a + n for a, n in zip(self.upper, by, strict=True)]
        return Region((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))

    def inside(self, other: Region) -> Region:
        """Return the region as counted from the first voxel of another one."""
        k, j, i = other.lower
        return self.moved((-k, -j, -i))

    def contains(self, kji: Kji) -> bool:
        """Whether an index lies inside."""
        return all(low <= x < up for low, x, up in zip(self.lower, kji, self.upper, strict=True))


#: Voxels that are compared at once: few enough that the answer stays in the cache.
_SLAB = 1 << 20


def box_of_value(labels: npt.NDArray[Any], value: int) -> Region | None:
    """Return the smallest box that holds a value; reads slab by slab, which is far faster than one great mask."""
    depth, height, width = labels.shape
    step = max(1, _SLAB // max(1, height * width))
    hits = np.zeros(depth, np.bool_)
    rows, columns = np.zeros(height, np.bool_), np.zeros(width, np.bool_)
    for start in range(0, depth, step):
        part = labels[start : start + step] == value
        in_slice = part.any(axis=2)
        hits[start : start + step] = in_slice.any(axis=1)
        if hits[start : start + step].any():
            rows |= in_slice.any(axis=0)
            columns |= part[hits[start : start + step]].any(axis=(0, 1))
    if not hits.any():
        return None
    (k0, k1), (j0, j1), (i0, i1) = (
        (int(found[0]), int(found[-1]) + 1) for found in map(np.flatnonzero, (hits, rows, columns))
    )
    return Region((k0, j0, i0), (k1, j1, i1))
