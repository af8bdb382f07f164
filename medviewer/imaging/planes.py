"""Planes in the patient, and what lies on them: the voxels that a plane passes through, and the image there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Geometry, Points, Vec3
from medviewer.core.region import Region
from medviewer.core.segmentation import Mask
from medviewer.core.tilt import orthogonal, slab_half_mm, swung
from medviewer.core.volume import VoxelArray
from medviewer.imaging.polygon import Mask2D, fill_even_odd

Indices = npt.NDArray[np.int64]

#: A voxel whose centre lies at the very rim belongs to the slab, whatever rounding says.
_ROUNDING_MM = 1e-6


def in_plane_axes(axis: int) -> tuple[int, int]:
    """Return the other two index axes (0 = i, 1 = j, 2 = k), lower first."""
    return ((1, 2), (0, 2), (0, 1))[axis]


def plane_at(point_lps: Vec3, normal_lps: Vec3) -> Points:
    """Return the plane (a, b, c, d) through a point with a unit normal: what `distance_from` gives is in mm."""
    return np.array([*normal_lps, -float(np.dot(normal_lps, point_lps))])


def distance_from(geometry: Geometry, region: Region, plane: Points) -> Points:
    """Return ``a x + b y + c z + d`` at every voxel centre of a region (k, j, i); in mm for a plane of unit normal."""
    row = plane @ geometry.index_to_lps_matrix
    k, j, i = (np.arange(low, up, dtype=np.float64) for low, up in zip(region.lower, region.upper, strict=True))
    distance: Points = (row[2] * k + row[3])[:, None, None] + (row[1] * j)[:, None] + row[0] * i
    return distance


def level_axes(geometry: Geometry, axis: int, tilted: Geometry | None = None) -> Points:
    """Return the directions (LPS, columns) in which a slice is drawn on the screen: along its lower and upper axis.

    Those of a turned slice are not the axes of `tilted`: the view does not turn in its own plane.
    """
    flat = list(in_plane_axes(axis))
    if tilted is None:
        return geometry.direction_matrix[:, flat]
    straight = orthogonal(geometry.direction_matrix)
    return swung(straight[:, flat], straight[:, axis], tilted.direction_matrix[:, axis])


@dataclass(frozen=True)
class Slab:
    """The voxels of a grid that a slice of a turned view passes through: together they cover it without a hole.

    Attributes
    ----------
    geometry : Geometry
        Grid of the voxels; may be oblique, anisotropic or sheared.
    tilted : Geometry
        Grid of the turned view (`core.tilt`).
    axis : int
        Index axis of `tilted` (0 = i, 1 = j, 2 = k) normal to the slice.
    lps : (float, float, float)
        LPS mm of a point on the slice.
    """

    geometry: Geometry
    tilted: Geometry
    axis: int
    lps: Vec3

    @cached_property
    def normal(self) -> Points:
        """Unit vector (LPS) towards the slices of higher number."""
        return self.tilted.direction_matrix[:, self.axis]

    @cached_property
    def half_mm(self) -> float:
        """How far from the plane the centres of its voxels lie at most."""
        return slab_half_mm(self.geometry, self.normal) + _ROUNDING_MM

    @cached_property
    def _row(self) -> Points:
        """From (i, j, k, 1) to mm from the plane."""
        x, y, z = self.normal
        row: Points = plane_at(self.lps, (x, y, z)) @ self.geometry.index_to_lps_matrix
        return row

    @cached_property
    def _step(self) -> Points:
        """Index (i, j, k) for each mm along the normal."""
        step: Points = self.geometry.lps_to_index_matrix[:3, :3] @ self.normal
        return step

    def distance(self, ijk: npt.NDArray[np.int64 | np.float64]) -> Points:
        """Return how far indices (n, 3) lie from the plane, in mm along the normal."""
        distance: Points = ijk @ self._row[:3] + self._row[3]
        return distance

    def feet(self, ijk: npt.NDArray[np.int64 | np.float64]) -> Points:
        """Return the continuous indices (n, 3) of the points of the plane nearest to indices (n, 3)."""
        feet: Points = ijk - self.distance(ijk)[:, None] * self._step
        return feet

    def box(
        self, points_lps: Sequence[Vec3] | Points, margin_mm: float = 0.0, depth_mm: tuple[float, float] = (0, 0)
    ) -> Region:
        """Return the box of the slab's voxels around points of the plane.

        Parameters
        ----------
        points_lps : sequence of (float, float, float), or array (n, 3)
        margin_mm : float
            In the plane.
        depth_mm : (float, float)
            How far before and behind the plane it reaches; the slab itself at least.
        """
        index = self.geometry.lps_to_index(points_lps)
        rows = self.geometry.lps_to_index_matrix[:3, :3]
        reach = margin_mm * np.sqrt(np.maximum((rows**2).sum(axis=1) - self._step**2, 0.0))
        ends = np.outer((min(depth_mm[0], -self.half_mm), max(depth_mm[1], self.half_mm)), self._step)
        low = np.floor(index.min(axis=0) - reach + ends.min(axis=0)).astype(int)
        high = np.ceil(index.max(axis=0) + reach + ends.max(axis=0)).astype(int) + 1
        (i0, j0, k0), (i1, j1, k1) = (tuple(int(n) for n in corner) for corner in (low, high))
        return Region((k0, j0, i0), (k1, j1, i1)).clip(self.geometry.region)

    def voxels(self, region: Region, depth_mm: tuple[float, float] | None = None) -> Indices:
        """Return the slab's voxels in a region, or those between two distances from the plane; costs what they do.

        As indices (n, 3) in (i, j, k).
        """
        nearest, farthest = depth_mm or (-self.half_mm, self.half_mm)
        along = int(np.argmax(np.abs(self._row[:3])))
        across, down = in_plane_axes(along)
        low, size = np.array(region.lower[::-1]), np.array(region.shape[::-1])
        a, b = (n.ravel() for n in np.meshgrid(*(np.arange(size[n]) + low[n] for n in (across, down)), indexing="ij"))
        slope = self._row[along]
        middle = -(self._row[across] * a + self._row[down] * b + self._row[3]) / slope
        start, stop = sorted((nearest / slope, farthest / slope))
        first = np.ceil(middle + start).astype(np.int64)
        found = []
        for n in range(int(stop - start) + 1):
            c = first + n
            there = (c <= middle + stop) & (c >= low[along]) & (c < low[along] + size[along])
            ijk = np.empty((int(there.sum()), 3), np.int64)
            ijk[:, along], ijk[:, across], ijk[:, down] = c[there], a[there], b[there]
            found.append(ijk)
        return np.concatenate(found)

    def holds(self, region: Region) -> Mask:
        """Return which voxels of a region (k, j, i) belong to the slab."""
        return mask_of(region, self.voxels(region))

    def pixels(self, ijk: npt.NDArray[np.int64 | np.float64]) -> Points:
        """Return the continuous (row, column) (n, 2) in the turned view of the points nearest to indices (n, 3)."""
        across, down = in_plane_axes(self.axis)
        index = self.tilted.lps_to_index(self.geometry.index_to_lps(self.feet(ijk)))
        return index[:, [down, across]]

    def lps_of(self, pixels: Points) -> Points:
        """Return the points (n, 3) in LPS mm of the plane at continuous (row, column) (n, 2) of the turned view."""
        across, down = in_plane_axes(self.axis)
        index = np.empty((len(pixels), 3))
        index[:, self.axis] = self.tilted.lps_to_index(self.lps)[self.axis]
        index[:, down], index[:, across] = pixels[:, 0], pixels[:, 1]
        return self.tilted.index_to_lps(index)

    def picture(self, mask: Mask, box: Region, window: tuple[slice, slice]) -> Mask2D:
        """Return what of a mask (k, j, i) of a box is seen in a window (rows, columns) of the turned view."""
        rows, columns = np.mgrid[window]
        ijk = self.geometry.lps_to_index(self.lps_of(np.stack([rows.ravel(), columns.ravel()], axis=1)))
        kji = np.floor(ijk[:, ::-1] + 0.5).astype(np.int64) - box.lower
        inside = ((kji >= 0) & (kji < box.shape)).all(axis=1)
        seen = np.zeros(rows.size, np.bool_)
        seen[inside] = mask[tuple(kji[inside].T)]
        return seen.reshape(rows.shape)

    def behind(self, region: Region, outline_lps: Sequence[Vec3]) -> Mask:
        """Return the voxels of a region whose foot lies inside a closed outline on the plane, however far away.

        Along the normal, the outline is moved onto the slices of the grid, one by one, and filled there.
        """
        along = int(np.argmax(np.abs(self._step)))
        across, down = in_plane_axes(along)
        index = self.geometry.lps_to_index(np.asarray(outline_lps, dtype=np.float64).reshape(-1, 3))
        low, size = np.array(region.lower[::-1]), region.shape[::-1]
        mask = np.zeros(region.shape, np.bool_)
        layers = np.moveaxis(mask, 2 - along, 0)
        for n, layer in enumerate(layers):
            mm = (low[along] + n - index[:, along]) / self._step[along]
            moved = index + mm[:, None] * self._step - low
            layer[...] = fill_even_odd([moved[:, [across, down]]], (size[down], size[across]))
        return mask


def mask_of(region: Region, ijk: Indices) -> Mask:
    """Return a mask (k, j, i) of a region with the voxels at indices (n, 3) in (i, j, k) that lie in it."""
    mask = np.zeros(region.shape, np.bool_)
    mask[tuple((ijk[:, ::-1] - region.lower).T)] = True
    return mask


class SliceImage(Protocol):
    """An image (rows, columns) of which windows are read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, columns)."""

    def __getitem__(self, window: tuple[slice, slice], /) -> VoxelArray:
        """Return the pixels of a window."""


def slice_image(
    array: VoxelArray, geometry: Geometry, tilted: Geometry | None, axis: int, number: int, *, goes_on: bool = False
) -> SliceImage:
    """Return a slice (0 = i, 1 = j, 2 = k is normal to it) of an image, or of a turned grid through it.

    `goes_on`: outside the image, a turned slice has the values of the image's border; otherwise it is not a number.
    """
    if tilted is None:
        plane: VoxelArray = np.moveaxis(array, 2 - axis, 0)[number]
        return plane
    return TurnedSlice(array, geometry, tilted, axis, number, goes_on=goes_on)


class TurnedSlice:
    """A slice of a turned grid through an image, read where it is looked at: linear between voxels."""

    def __init__(
        self, array: VoxelArray, geometry: Geometry, tilted: Geometry, axis: int, number: int, *, goes_on: bool
    ) -> None:
        self._array, self._goes_on = array, goes_on
        across, down = in_plane_axes(axis)
        self.shape = (tilted.size[down], tilted.size[across])
        matrix = geometry.lps_to_index_matrix @ tilted.index_to_lps_matrix
        self._origin = (matrix[:3, axis] * number + matrix[:3, 3])[::-1]
        self._down, self._across = matrix[2::-1, down], matrix[2::-1, across]

    def __getitem__(self, window: tuple[slice, slice], /) -> VoxelArray:
        """Return the pixels of a window, float32."""
        from scipy.ndimage import map_coordinates

        rows, columns = (np.arange(n)[part] for n, part in zip(self.shape, window, strict=True))
        places = [
            o + d * rows[:, None] + a * columns for o, d, a in zip(self._origin, self._down, self._across, strict=True)
        ]
        box, outside = [], np.zeros((len(rows), len(columns)), np.bool_)
        for n, size in enumerate(self._array.shape):
            outside |= (places[n] < -0.5) | (places[n] > size - 0.5)
            np.clip(places[n], 0, size - 1, out=places[n])
            low = int(places[n].min())
            box.append(slice(low, int(places[n].max()) + 2))
            places[n] -= low
        # In the order of bytes of this machine, or SciPy would turn round the whole image.
        part = self._array[tuple(box)]
        kind = np.dtype(np.float32) if part.dtype == np.float16 else part.dtype.newbyteorder("=")
        values: VoxelArray = map_coordinates(part.astype(kind, copy=False), places, np.float32, order=1, mode="nearest")
        if not self._goes_on:
            values[outside] = np.nan
        return values
