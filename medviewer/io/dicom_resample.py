"""Unevenly spaced slices on one regular grid: a volume that is computed, and only when it is asked for.

The grid is the coarsest one that has a plane within `TOLERANCE_MM` of every true slice. There the true slice stands
unchanged; the planes between two of them are interpolated at their true distances. So nothing moves, and what was
drawn on the grid goes back to the original slices without another interpolation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from medviewer.core.dicom_ref import Interpolation, SeriesRef
from medviewer.core.errors import GeometryError
from medviewer.core.geometry import Geometry, Points
from medviewer.core.volume import VoxelArray
from medviewer.io.dicom_frames import slice_headers
from medviewer.io.dicom_geometry import TOLERANCE_MM, SliceFrame, corner_error_mm, frames_and_positions, straight_grid
from medviewer.io.dicom_header import Header
from medviewer.io.native_pixels import empty_voxels
from medviewer.jobs.job import JobContext

#: Slices that would need more planes than this are left as they are.
MOST_PLANES: Final = 2000


@dataclass(frozen=True, slots=True, eq=False)
class RegularGrid:
    """A regular grid through unevenly spaced slices.

    Attributes
    ----------
    geometry : Geometry
    planes : tuple of int
        Which plane k each true slice is, rising.
    depths : shape (n,)
        Where each true slice lies, in steps along k.
    deviation_mm : float
        Largest distance of a true slice corner from its place in the grid.
    """

    geometry: Geometry
    planes: tuple[int, ...]
    depths: Points
    deviation_mm: float


def regular_grid(frames: Sequence[SliceFrame], positions: Points) -> RegularGrid | None:
    """Return the coarsest regular grid through slices sorted along their normal.

    Parameters
    ----------
    frames : sequence of SliceFrame
        One per slice, parallel.
    positions : shape (n, 3)
        LPS mm of the first pixel of each slice.

    Returns
    -------
    RegularGrid or None
        None when the slices do not lie behind each other along one line, or would need more than `MOST_PLANES`.
    """
    span = positions[-1] - positions[0]
    length = float(np.linalg.norm(span))
    along = (positions - positions[0]) @ (span / length)
    usual = float(np.median(np.diff(along)))
    most = min(int(length / (2 * TOLERANCE_MM)) + 2, MOST_PLANES)
    for steps in range(max(len(along) - 1, round(length / usual)), most):
        planes = np.rint(along * (steps / length))
        # The ends may move by the tolerance too, so that a slice may be off by twice that at first.
        if np.abs(planes * (length / steps) - along).max() > 2 * TOLERANCE_MM or np.diff(planes).min() < 1:
            continue
        found = _through(frames, positions, planes)
        if found is not None:
            return found
    return None


def _through(frames: Sequence[SliceFrame], positions: Points, planes: Points) -> RegularGrid | None:
    """Return the grid by least squares of position = origin + step * plane, when every slice is near enough."""
    middle, around = positions.mean(axis=0), planes - planes.mean()
    step = around @ (positions - middle) / float(around @ around)
    if np.linalg.norm(positions - middle - np.outer(around, step), axis=1).max() > TOLERANCE_MM:
        return None
    geometry = straight_grid(frames[0], int(planes[-1]) + 1, middle - step * planes.mean(), step)
    numbers = tuple(int(n) for n in planes)
    deviation = corner_error_mm(geometry, frames, positions, numbers)
    if deviation > TOLERANCE_MM:
        return None
    depths: Points = geometry.lps_to_index(positions)[:, 2]
    return RegularGrid(geometry, numbers, depths, deviation)


def grid_through(headers: Sequence[Header]) -> RegularGrid:
    """Return the grid through the slices of a series in the order of their places; raises `GeometryError`."""
    grid = regular_grid(*frames_and_positions(headers))
    if grid is None:
        raise GeometryError(
            "The slices do not lie behind each other along one line, so there is no grid through them.",
            hint="Open the evenly spaced parts of the series one by one.",
            code="E_UNEVEN_SPACING",
        )
    return grid


def planes_of(series: SeriesRef) -> Sequence[int]:
    """Return which slice k of its volume each file (or frame) of a DICOM series is.

    Raises
    ------
    InputError
        When the files of a series that is opened on a regular grid are not what they were.
    """
    if not series.interpolation:
        return range(len(series.files))
    return grid_through(slice_headers(series)).planes


def resample_between(
    ctx: JobContext, array: VoxelArray, grid: RegularGrid, interpolation: Interpolation, padding: float | None
) -> VoxelArray:
    """Return every plane of the grid: the true slices as they are, and what lies between them.

    Parameters
    ----------
    array : shape (n, j, i)
        The true slices.
    interpolation : "linear" or "nearest"
        Linear values of whole-number images are rounded.
    padding : float or None
        Value of what lies outside the field of view; it is not mixed with others.

    Raises
    ------
    OutOfMemory
    """
    planes = empty_voxels(grid.geometry.shape, array.dtype)
    true_slice = 0
    for k in range(len(planes)):
        if k % 16 == 0:
            ctx.progress(k / len(planes), "Resampling between slices")
        if grid.planes[true_slice] < k:
            true_slice += 1
        if grid.planes[true_slice] == k:
            planes[k] = array[true_slice]
            continue
        before, after = array[true_slice - 1], array[true_slice]
        start, stop = grid.depths[true_slice - 1], grid.depths[true_slice]
        weight = float((k - start) / (stop - start))
        planes[k] = _between(before, after, weight, interpolation, padding)
    return planes


def repeat_between(labels: VoxelArray, planes: Sequence[int]) -> None:
    """Give every computed plane of an array (k, j, i) what the nearest true slice has."""
    numbers = np.array(planes)
    for k in range(len(labels)):
        after = int(np.searchsorted(numbers, k))
        if numbers[after] != k:
            before = numbers[after - 1]
            labels[k] = labels[numbers[after] if 2 * k >= before + numbers[after] else before]


def _between(
    before: VoxelArray, after: VoxelArray, weight: float, interpolation: Interpolation, padding: float | None
) -> VoxelArray:
    nearest = after if weight >= 0.5 else before
    if interpolation == "nearest":
        return nearest
    kind = np.result_type(before.dtype, np.float32)
    mixed: VoxelArray = before * kind.type(1.0 - weight) + after * kind.type(weight)
    if padding is not None:
        outside = (before == padding) | (after == padding)
        mixed[outside] = nearest[outside]
    return np.rint(mixed) if before.dtype.kind != "f" else mixed
