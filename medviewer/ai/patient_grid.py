"""Look at any volume along the patient's axes, and on a coarser grid for work that needs no more."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Geometry, vec3

Scalar = TypeVar("Scalar", bound=np.generic)
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PatientGrid:
    """The axes of an array turned (never resampled) so that k runs to the head, j to the back, i to the left.

    What is left and what is up then follow from the geometry, whatever the order of the array. An oblique grid is
    turned by right angles to the nearest patient axis.

    Attributes
    ----------
    axes : (int, int, int)
        Array axis of the source (k, j, i) that runs along head, back and left.
    flips : (bool, bool, bool)
        Whether that axis has to be reversed.
    shape : (int, int, int)
        Voxels along (head, back, left).
    spacing : (float, float, float)
        mm along (head, back, left).
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]

    @classmethod
    def of(cls, geometry: Geometry) -> PatientGrid:
        """Return the patient's view of a grid."""
        # Rows: array axes k, j, i; columns: patient axes S, P, L.
        alignment = geometry.direction_matrix.T[::-1, ::-1]
        best = max(permutations(range(3)), key=lambda axes: sum(abs(alignment[a, n]) for n, a in enumerate(axes)))
        size, spacing = geometry.shape, geometry.spacing[::-1]
        k, j, i = best
        return cls(
            axes=(k, j, i),
            flips=(bool(alignment[k, 0] < 0), bool(alignment[j, 1] < 0), bool(alignment[i, 2] < 0)),
            shape=(size[k], size[j], size[i]),
            spacing=(spacing[k], spacing[j], spacing[i]),
        )

    def turn(self, array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """Return a view of an array (k, j, i) of the source in (head, back, left)."""
        view = array.transpose(self.axes)
        return view[tuple(slice(None, None, -1 if flip else None) for flip in self.flips)]

    def turn_back(self, array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """Return a contiguous array (k, j, i) of the source from one in (head, back, left)."""
        view = array[tuple(slice(None, None, -1 if flip else None) for flip in self.flips)]
        back = (self.axes.index(0), self.axes.index(1), self.axes.index(2))
        return np.ascontiguousarray(view.transpose(back))

    def turned(self, geometry: Geometry) -> Geometry:
        """Return the geometry of `turn`'s view of an array on `geometry`: where its voxels lie in LPS mm."""
        # Index axes i, j, k of the view are left, back, head.
        order = [2 - axis for axis in self.axes[::-1]]
        flips = self.flips[::-1]
        signs = np.array([-1.0 if flip else 1.0 for flip in flips])
        corner = np.zeros(3)
        for axis, flip in zip(order, flips, strict=True):
            corner[axis] = geometry.size[axis] - 1 if flip else 0
        direction = geometry.direction_matrix[:, order] * signs
        return Geometry(
            size=(self.shape[2], self.shape[1], self.shape[0]),
            spacing=(self.spacing[2], self.spacing[1], self.spacing[0]),
            origin=vec3(geometry.index_to_lps(corner)),
            direction=tuple(float(v) for v in direction.ravel()),
        )

    def factors(self, target_mm: float) -> tuple[int, int, int]:
        """Return how many voxels along each axis make one of about `target_mm`."""
        k, j, i = (min(max(1, round(target_mm / mm)), n) for mm, n in zip(self.spacing, self.shape, strict=True))
        return (k, j, i)


def block_mean(
    array: npt.NDArray[Any], factors: tuple[int, int, int], low: float, high: float
) -> npt.NDArray[np.float32]:
    """Return the mean of blocks of voxels, values clipped to ``low..high`` first.

    Parameters
    ----------
    array : shape (k, j, i)
    factors : (int, int, int)
        Voxels in a block along each axis; a rest at the end that fills no block is left out.
    low, high : float
        Clip limits, in the unit of the array: padding and metal must not pull a mean.

    Returns
    -------
    float32, shape (k // fk, j // fj, i // fi)
    """
    fk, fj, fi = factors
    nk, nj, ni = (n // f for n, f in zip(array.shape, factors, strict=True))
    out = np.empty((nk, nj, ni), np.float32)
    for k in range(nk):
        slab = np.clip(array[k * fk : (k + 1) * fk, : nj * fj, : ni * fi], low, high)
        rows = slab.sum(axis=0, dtype=np.float32)
        # Adding strided views is several times faster than a reduction over a reshaped array.
        columns = sum((rows[n::fj] for n in range(1, fj)), start=rows[0::fj])
        out[k] = sum((columns[:, n::fi] for n in range(1, fi)), start=columns[:, 0::fi])
    out /= fk * fj * fi
    return out


def refine(array: npt.NDArray[Scalar], factors: tuple[int, int, int], shape: tuple[int, ...]) -> npt.NDArray[Scalar]:
    """Return an array of blocks repeated onto the fine grid of `shape`; a rest at the end takes the last block."""
    for axis, (factor, n) in enumerate(zip(factors, shape, strict=True)):
        index = np.minimum(np.arange(n) // factor, array.shape[axis] - 1)
        if factor > 1 or n != array.shape[axis]:
            array = array.take(index, axis=axis)
    return array
