"""Geometry from ImagePositionPatient, ImageOrientationPatient and PixelSpacing, exact per slice or refused.

No spacing is ever taken from SliceThickness or InstanceNumber when positions are there; order follows the positions
along the normal. Every slice's corners lie within `TOLERANCE_MM` of where the file says, or there is no geometry.

References
----------
DICOM PS3.3 C.7.6.2.1.1 (Image Position and Orientation), C.7.6.3.1.7 (Pixel Spacing).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from medviewer.core.errors import GeometryError
from medviewer.core.geometry import Geometry, Points, vec3
from medviewer.io.dicom_header import Header, Tag

#: No corner of a slice may lie further than this from its ImagePositionPatient and ImageOrientationPatient.
TOLERANCE_MM: Final = 0.1
#: Slices closer than this along the normal are at one place.
SAME_PLACE_MM: Final = 0.01
#: Sideways shift over the whole stack up to which it counts as upright; more is a sheared grid.
_UPRIGHT_MM: Final = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class SlicePlane:
    """Where one slice lies in the patient.

    Attributes
    ----------
    position : (3,)
        LPS mm of the centre of the first pixel.
    row, column : (3,)
        Orthonormal LPS directions of rising column index (i) and row index (j).
    spacing : (float, float)
        mm along (i, j).
    size : (int, int)
        Pixels along (i, j).
    """

    position: Points
    row: Points
    column: Points
    spacing: tuple[float, float]
    size: tuple[int, int]

    @property
    def normal(self) -> Points:
        """LPS unit vector at right angles to the slice; row, column and normal are right-handed."""
        return np.cross(self.row, self.column)

    @property
    def corners(self) -> Points:
        """LPS mm of the four corner pixel centres, shape (4, 3)."""
        i = self.row * (self.spacing[0] * (self.size[0] - 1))
        j = self.column * (self.spacing[1] * (self.size[1] - 1))
        return np.array([self.position, self.position + i, self.position + j, self.position + i + j])

    def is_parallel(self, other: SlicePlane) -> bool:
        """Whether both have one size, spacing and orientation, to half the tolerance at the far corner."""
        if self.size != other.size:
            return False
        shift = (self.corners - self.position) - (other.corners - other.position)
        return float(np.abs(shift).max()) <= TOLERANCE_MM / 2


def slice_plane(header: Header) -> SlicePlane:
    """Return where the slice of a single-frame image lies.

    Raises
    ------
    GeometryError
        ``E_NO_POSITION``, ``E_BAD_IOP``, ``E_NO_SPACING`` or ``E_DIMENSIONS``, naming the file.
    """
    name = header.path.name
    columns, rows = header.integer(Tag.COLUMNS), header.integer(Tag.ROWS)
    if not columns or not rows:
        raise GeometryError(f"{name} has no valid Rows and Columns.", code="E_DIMENSIONS")
    position = header.numbers(Tag.IMAGE_POSITION_PATIENT)
    orientation = header.numbers(Tag.IMAGE_ORIENTATION_PATIENT)
    if position is None or len(position) != 3 or orientation is None or len(orientation) != 6:
        raise GeometryError(
            f"{name} does not say where it lies in the patient (ImagePositionPatient, ImageOrientationPatient).",
            hint="It can be looked at as a picture, not as part of a volume.",
            code="E_NO_POSITION",
        )
    spacing = header.numbers(Tag.PIXEL_SPACING)
    if spacing is None or len(spacing) != 2 or min(spacing) <= 0:
        raise GeometryError(
            f"{name} has no valid PixelSpacing, so nothing can be measured in mm.", code="E_NO_SPACING"
        )  # fmt: skip
    row, column = _orthonormal(np.array(orientation[:3]), np.array(orientation[3:]), name)
    # PixelSpacing is (between rows, between columns), that is along (j, i).
    return SlicePlane(np.array(position), row, column, (spacing[1], spacing[0]), (columns, rows))


def _orthonormal(row: Points, column: Points, name: str) -> tuple[Points, Points]:
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    if abs(lengths[0] - 1) > 1e-2 or abs(lengths[1] - 1) > 1e-2 or abs(float(row @ column)) > 1e-2:
        raise GeometryError(
            f"{name} has an ImageOrientationPatient that is not two unit vectors at right angles.", code="E_BAD_IOP"
        )
    row = row / lengths[0]
    column = column - (column @ row) * row
    return row, column / np.linalg.norm(column)


def positions_along_normal(planes: Sequence[SlicePlane]) -> npt.NDArray[np.float64]:
    """Return mm along the first slice's normal for each slice."""
    normal = planes[0].normal
    return np.array([float(plane.position @ normal) for plane in planes])


@dataclass(frozen=True, slots=True)
class StackFit:
    """How well sorted, parallel slices make one regular grid.

    Attributes
    ----------
    geometry : Geometry or None
        None when they do not.
    deviation_mm : float
        Largest distance of a slice from its place on the best regular grid.
    tilt_degrees : float
        Angle between the stacking direction and the normal; 0 for an upright stack.
    """

    geometry: Geometry | None
    deviation_mm: float
    tilt_degrees: float


def fit_stack(planes: Sequence[SlicePlane], single_spacing_mm: float = 1.0) -> StackFit:
    """Fit a regular grid to slices sorted along their normal.

    Parameters
    ----------
    planes : sequence of SlicePlane
        Parallel, sorted, at distinct places.
    single_spacing_mm : float
        Extent along k for a single slice.
    """
    first, count = planes[0], len(planes)
    size = (*first.size, count)
    normal = first.normal
    if count == 1:
        return StackFit(_geometry(first, size, first.position, normal * single_spacing_mm), 0.0, 0.0)
    places = np.array([plane.position for plane in planes])
    steps = np.arange(count) - (count - 1) / 2
    # Least squares of place = middle + step * k.
    middle = places.mean(axis=0)
    step = steps @ (places - middle) / float(steps @ steps)
    along = float(step @ normal)
    sideways = step - along * normal
    tilt = 0.0
    if float(np.linalg.norm(sideways)) * (count - 1) <= _UPRIGHT_MM:
        step = along * normal
    else:
        tilt = float(np.degrees(np.arctan2(np.linalg.norm(sideways), along)))
    origin = middle - step * (count - 1) / 2
    fitted = origin + step * np.arange(count)[:, None]
    deviation = float(np.linalg.norm(places - fitted, axis=1).max())
    if deviation > TOLERANCE_MM or along <= SAME_PLACE_MM:
        return StackFit(None, deviation, tilt)
    geometry = _geometry(first, size, origin, step)
    worst = corner_error_mm(geometry, planes)
    return StackFit(geometry if worst <= TOLERANCE_MM else None, max(deviation, worst), tilt)


def _geometry(plane: SlicePlane, size: tuple[int, int, int], origin: Points, step: Points) -> Geometry:
    length = float(np.linalg.norm(step))
    direction = np.column_stack([plane.row, plane.column, step / length])
    return Geometry(size, (*plane.spacing, length), vec3(origin), tuple(direction.ravel()))


def corner_error_mm(geometry: Geometry, planes: Sequence[SlicePlane]) -> float:
    """Return the largest distance, mm, of a slice corner in the grid from where its file puts it.

    Parameters
    ----------
    geometry : Geometry
    planes : sequence of SlicePlane
        ``planes[k]`` belongs to slice ``k``.
    """
    i, j = geometry.size[0] - 1, geometry.size[1] - 1
    worst = 0.0
    for k, plane in enumerate(planes):
        corners = geometry.index_to_lps([(0, 0, k), (i, 0, k), (0, j, k), (i, j, k)])
        worst = max(worst, float(np.linalg.norm(corners - plane.corners, axis=1).max()))
    return worst


def stack_geometry(headers: Sequence[Header]) -> Geometry:
    """Return the grid of slices that are given in the order of k.

    Parameters
    ----------
    headers : sequence of Header
        Single-frame images, sorted along their normal.

    Raises
    ------
    GeometryError
        When a slice has no place, they are not parallel, or they are not evenly spaced to `TOLERANCE_MM`.
    """
    if not headers:
        raise GeometryError("A series without files has no geometry.")
    planes = [slice_plane(header) for header in headers]
    for header, plane in zip(headers, planes, strict=True):
        if not planes[0].is_parallel(plane):
            raise GeometryError(f"{header.path.name} differs from the other slices in size, spacing or orientation.")
    fit = fit_stack(planes, single_slice_spacing(headers[0]))
    if fit.geometry is None:
        raise GeometryError(
            f"The slices are not evenly spaced: one lies {fit.deviation_mm:.2f} mm from its place on a regular grid.",
            hint="Open the evenly spaced parts of the series one by one.",
            code="E_UNEVEN_SPACING",
        )
    return fit.geometry


def single_slice_spacing(header: Header) -> float:
    """Return the extent in mm of a lone slice: SliceThickness, SpacingBetweenSlices, or 1."""
    for tag in (Tag.SLICE_THICKNESS, Tag.SPACING_BETWEEN_SLICES):
        value = header.number(tag)
        if value is not None and value > 0:
            return value
    return 1.0
