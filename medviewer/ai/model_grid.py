"""The grid a network works on: axes of the patient, the spacing it was trained at; and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medviewer.ai.patient_grid import PatientGrid
from medviewer.core.geometry import Geometry, Points, vec3
from medviewer.core.volume import VoxelArray
from medviewer.imaging.resample import Interpolation, resample_onto

if TYPE_CHECKING:
    import torch

FloatArray = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: Spacings that differ by less are the same: a network does not see it, and nothing is blurred.
SAME_SPACING = 0.01
#: Axes that are off a right angle by more than this (sine of the angle) are a tilted gantry.
_SHEAR = 1e-3
#: Slices worked on at a time.
_SLICES = 16


@dataclass(frozen=True)
class ModelGrid:
    """From an image's grid to a network's, and back.

    Attributes
    ----------
    source : Geometry
        Of the image.
    base : Geometry
        The image's voxels seen along (head, back, left); for a tilted gantry an upright grid around them.
    turn : PatientGrid
        From the array of `source` (or of the upright grid) to that of `base`.
    geometry : Geometry
        The network's: parallel to `base`, same middle, at least its extent.
    """

    source: Geometry
    upright: Geometry
    base: Geometry
    turn: PatientGrid
    geometry: Geometry

    @classmethod
    def of(cls, source: Geometry, spacing_mm: Sequence[float] = ()) -> ModelGrid:
        """Return the grid for an image.

        Parameters
        ----------
        source : Geometry
        spacing_mm : (k, j, i)
            Head, back and left; empty, or 0 along an axis, keeps the image's own.
        """
        upright = _upright(source)
        turn = PatientGrid.of(upright)
        base = turn.turned(upright)
        wanted = tuple(spacing_mm)[::-1] or (0.0, 0.0, 0.0)
        return cls(source, upright, base, turn, _respaced(base, wanted))

    @property
    def is_base(self) -> bool:
        """Whether the network sees the image's own voxels."""
        return self.geometry is self.base

    def image(self, array: VoxelArray) -> FloatArray:
        """Return an image (k, j, i) of `source` on the network's grid; smoothed where that is coarser."""
        import torch

        turned = self._turned(array, "linear")
        if self.is_base:
            return np.ascontiguousarray(turned, dtype=np.float32)
        axes = [self._taps(axis) for axis in range(3)]
        shape = self.geometry.shape
        middle = torch.empty((turned.shape[0], shape[1], shape[2]), dtype=torch.float32)
        for k in range(0, turned.shape[0], _SLICES):
            part = torch.from_numpy(np.array(turned[k : k + _SLICES], dtype=np.float32, order="C"))
            middle[k : k + _SLICES] = along(along(part, 1, axes[1]), 2, axes[2])
        result: FloatArray = along(middle, 0, axes[0]).numpy()
        return result

    def mask(self, mask: Mask) -> Mask:
        """Return a mask (k, j, i) of `source` on the network's grid, by the nearest voxel."""
        turned = self._turned(mask, "nearest")
        found: Mask = np.ascontiguousarray(turned)
        if not self.is_base:
            for axis in range(3):
                start, step = self._line(axis, into_base=True)
                n = self.base.shape[axis]
                at = np.rint(start + step * np.arange(self.geometry.shape[axis])).clip(0, n - 1)
                found = found.take(at.astype(np.intp), axis=axis)
        return found

    def to_source(self, array: npt.NDArray[np.generic]) -> VoxelArray:
        """Return what lies on `base` on the grid of the image; nearest voxel where the gantry was tilted."""
        back = self.turn.turn_back(array)
        kind: Interpolation = "linear" if back.dtype.kind == "f" else "nearest"
        return resample_onto(back, self.upright, self.source, interpolation=kind)

    def places(self, axis: int) -> npt.NDArray[np.float64]:
        """Return the index on the network's grid, along an axis (k, j, i), of every voxel of `base`."""
        start, step = self._line(axis, into_base=False)
        return np.asarray(start + step * np.arange(self.base.shape[axis]), np.float64)

    def _turned(self, array: VoxelArray, kind: Interpolation) -> VoxelArray:
        if self.upright is not self.source:
            low = float(array.min()) if kind == "linear" else 0.0
            array = resample_onto(array, self.source, self.upright, interpolation=kind, default=low)
        return self.turn.turn(array)

    def _line(self, axis: int, *, into_base: bool) -> tuple[float, float]:
        """Return start and step of the indices of one grid on the other, along an axis (k, j, i)."""
        own, other = (self.geometry, self.base) if into_base else (self.base, self.geometry)
        n, m = own.shape[axis], other.shape[axis]
        step = own.spacing[2 - axis] / other.spacing[2 - axis]
        return (m - 1) / 2 - step * (n - 1) / 2, step

    def _taps(self, axis: int) -> Taps:
        start, step = self._line(axis, into_base=True)
        places = np.asarray(start + step * np.arange(self.geometry.shape[axis]), np.float64)
        return taps(places, self.base.shape[axis], max(1.0, step))


Taps = tuple[npt.NDArray[np.intp], FloatArray]


def taps(places: npt.NDArray[np.float64], n: int, reach: float = 1.0) -> Taps:
    """Return which voxels make a value at each place of a line of `n`, and their weights, both (place, tap).

    A triangle of half width `reach` voxels: 1 is linear interpolation, more also smooths. Beyond the ends the last
    voxel goes on.
    """
    first = np.floor(places - reach + 1e-9).astype(np.intp) + 1
    index = first[:, None] + np.arange(int(np.ceil(2 * reach)))
    weights = np.maximum(0.0, 1 - np.abs(index - places[:, None]) / reach)
    weights /= weights.sum(axis=1, keepdims=True)
    return index.clip(0, n - 1), weights.astype(np.float32)


def along(values: torch.Tensor, axis: int, made_of: Taps) -> torch.Tensor:
    """Return values resampled along one axis."""
    import torch

    index, weights = made_of
    if index.shape[0] == values.shape[axis] and (weights[:, 0] == 1).all() and (np.diff(index[:, 0]) == 1).all():
        return values
    shape = [1] * values.ndim
    shape[axis] = -1
    total: torch.Tensor | None = None
    for n in range(index.shape[1]):
        picked = values.index_select(axis, torch.from_numpy(index[:, n]).to(values.device))
        weight = torch.from_numpy(weights[:, n]).to(values.device, values.dtype).view(shape)
        total = picked.mul_(weight) if total is None else total.addcmul_(picked, weight)
    assert total is not None
    return total


def _respaced(base: Geometry, wanted: Sequence[float]) -> Geometry:
    """Return a grid with other spacings (i, j, k) around the same middle; `base` itself when they are the same."""
    spacing, size = list(base.spacing), list(base.size)
    for axis, mm in enumerate(wanted):
        if mm and abs(base.spacing[axis] / mm - 1) > SAME_SPACING:
            spacing[axis] = mm
            size[axis] = max(1, int(np.ceil(base.size[axis] * base.spacing[axis] / mm - 1e-3)))
    if tuple(spacing) == base.spacing:
        return base
    origin = np.array(base.center_lps) - base.direction_matrix @ (np.array(spacing) * (np.array(size) - 1) / 2)
    return Geometry((size[0], size[1], size[2]), vec3(spacing), vec3(origin), base.direction)


def _upright(source: Geometry) -> Geometry:
    """Return the grid itself, or for a tilted gantry one at right angles around it, its slices kept parallel."""
    axes: Points = source.direction_matrix
    if np.abs(axes.T @ axes - np.eye(3)).max() <= _SHEAR:
        return source
    across = axes[:, 0] / np.linalg.norm(axes[:, 0])
    normal = np.cross(axes[:, 0], axes[:, 1])
    normal *= np.sign(normal @ axes[:, 2]) / np.linalg.norm(normal)
    down = np.cross(normal, across) * np.sign(np.cross(normal, across) @ axes[:, 1])
    turned = np.stack([across, down, normal], axis=1)
    spacing = np.array(source.spacing) * [1.0, 1.0, abs(normal @ axes[:, 2])]
    corners = source.corners_lps @ turned
    low, high = corners.min(axis=0), corners.max(axis=0)
    size = np.ceil((high - low) / spacing - 1e-6).astype(int) + 1
    return Geometry((size[0], size[1], size[2]), vec3(spacing), vec3(turned @ low), tuple(turned.ravel()))
