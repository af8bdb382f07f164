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
from functools import cached_property
from typing import Final

import numpy as np

from medviewer.core.errors import GeometryError
from medviewer.core.geometry import Geometry, Points, vec3
from medviewer.io.dicom_header import Header
from medviewer.io.dicom_tags import Tag

#: No corner of a slice may lie further than this from its ImagePositionPatient and ImageOrientationPatient.
TOLERANCE_MM: Final = 0.1
#: Slices closer than this along the normal are at one place.
SAME_PLACE_MM: Final = 0.01
#: Sideways shift over the whole stack up to which it counts as upright; more is a sheared grid.
_UPRIGHT_MM: Final = 0.02


@dataclass(frozen=True, eq=False)
class SliceFrame:
    """What parallel slices have in common.

    Attributes
    ----------
    row, column : (3,)
        Orthonormal LPS directions of rising column index (i) and row index (j).
    spacing : (float, float)
        mm along (i, j).
    size : (int, int)
        Pixels along (i, j).
    """

    row: Points
    column: Points
    spacing: tuple[float, float]
    size: tuple[int, int]

    @cached_property
    def normal(self) -> Points:
        """LPS unit vector at right angles to the slice; row, column and normal are right-handed."""
        return np.cross(self.row, self.column)

    @cached_property
    def corners(self) -> Points:
        """LPS mm from the first pixel centre to the four corner pixel centres, shape (4, 3)."""
        i = self.row * (self.spacing[0] * (self.size[0] - 1))
        j = self.column * (self.spacing[1] * (self.size[1] - 1))
        return np.array([np.zeros(3), i, j, i + j])

    def is_parallel(self, other: SliceFrame) -> bool:
        """Whether both have one size, spacing and orientation, to half the tolerance at the far corner."""
        return self.size == other.size and float(np.abs(self.corners - other.corners).max()) <= TOLERANCE_MM / 2


_FRAME_TAGS: Final = (Tag.ROWS, Tag.COLUMNS, Tag.PIXEL_SPACING, Tag.IMAGE_ORIENTATION_PATIENT)
FrameKey = tuple[bytes | None, ...]


def frame_key(header: Header) -> FrameKey:
    """Return what decides a slice's frame, as it stands in the file."""
    return (*map(header.values.get, _FRAME_TAGS), b"B" if header.big_endian else b"L")


def slice_frame(header: Header) -> SliceFrame:
    """Return size, spacing and orientation of a single-frame image.

    Raises
    ------
    GeometryError
        ``E_NO_POSITION``, ``E_BAD_IOP``, ``E_NO_SPACING`` or ``E_DIMENSIONS``, naming the file.
    """
    name = header.path.name
    columns, rows = header.integer(Tag.COLUMNS), header.integer(Tag.ROWS)
    if not columns or not rows:
        raise GeometryError(f"{name} has no valid Rows and Columns.", code="E_DIMENSIONS")
    orientation = header.numbers(Tag.IMAGE_ORIENTATION_PATIENT)
    if orientation is None or len(orientation) != 6:
        raise _no_position(header)
    spacing = header.numbers(Tag.PIXEL_SPACING)
    if spacing is None or len(spacing) != 2 or min(spacing) <= 0:
        raise GeometryError(
            f"{name} has no valid PixelSpacing, so nothing can be measured in mm.", code="E_NO_SPACING"
        )  # fmt: skip
    row, column = _orthonormal(np.array(orientation[:3]), np.array(orientation[3:]), name)
    # PixelSpacing is (between rows, between columns), that is along (j, i).
    return SliceFrame(row, column, (spacing[1], spacing[0]), (columns, rows))


def slice_position(header: Header) -> tuple[float, ...]:
    """Return LPS mm of the centre of the first pixel; raises `GeometryError` ``E_NO_POSITION``."""
    position = header.numbers(Tag.IMAGE_POSITION_PATIENT)
    if position is None or len(position) != 3:
        raise _no_position(header)
    return position


def _no_position(header: Header) -> GeometryError:
    return GeometryError(
        f"{header.path.name} does not say where it lies in the patient "
        "(ImagePositionPatient, ImageOrientationPatient).",
        hint="It can be looked at as a picture, not as part of a volume.",
        code="E_NO_POSITION",
    )


def _orthonormal(row: Points, column: Points, name: str) -> tuple[Points, Points]:
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    if abs(lengths[0] - 1) > 1e-2 or abs(lengths[1] - 1) > 1e-2 or abs(float(row @ column)) > 1e-2:
        raise GeometryError(
            f"{name} has an ImageOrientationPatient that is not two unit vectors at right angles.", code="E_BAD_IOP"
        )
    row = row / lengths[0]
    column = column - (column @ row) * row
    return row, column / np.linalg.norm(column)


@dataclass(frozen=True, slots=True)
class StackFit:
    """How well sorted, parallel slices make one regular grid.

    Attributes
    ----------
    geometry : Geometry or None
        None when they do not.
    deviation_mm : float
        Largest distance of a slice corner from its place on the best regular grid.
    """

    geometry: Geometry | None
    deviation_mm: float


def fit_stack(frames: Sequence[SliceFrame], positions: Points, single_spacing_mm: float = 1.0) -> StackFit:
    """Fit a regular grid to slices sorted along their normal.

    Parameters
    ----------
    frames : sequence of SliceFrame
        One per slice; slices with the same frame may share the object.
    positions : shape (n, 3)
        LPS mm of the first pixel of each slice.
    single_spacing_mm : float
        Extent along k for a single slice.
    """
    first, count = frames[0], len(positions)
    normal = first.normal
    if count == 1:
        return StackFit(_geometry(first, 1, positions[0], normal * single_spacing_mm), 0.0)
    steps = np.arange(count) - (count - 1) / 2
    # Least squares of position = middle + step * k.
    middle = positions.mean(axis=0)
    step = steps @ (positions - middle) / float(steps @ steps)
    along = float(step @ normal)
    if along <= SAME_PLACE_MM:
        return StackFit(None, float("inf"))
    geometry = straight_grid(first, count, middle - step * (count - 1) / 2, step)
    deviation = corner_error_mm(geometry, frames, positions)
    return StackFit(geometry if deviation <= TOLERANCE_MM else None, deviation)


def straight_grid(frame: SliceFrame, count: int, origin: Points, step: Points) -> Geometry:
    """Return the grid of `count` slices, the first at `origin` (LPS mm), each `step` (mm) from the one before.

    A step that leaves the normal by no more than can be seen is made upright; others shear the grid.
    """
    upright = (step @ frame.normal) * frame.normal
    sideways = step - upright
    if float(np.linalg.norm(sideways)) * (count - 1) > _UPRIGHT_MM:
        return _geometry(frame, count, origin, step)
    return _geometry(frame, count, origin + sideways * (count - 1) / 2, upright)


def tilt_degrees(geometry: Geometry) -> float:
    """Return the angle between the stacking direction and the normal of the slices; 0 for an upright stack."""
    row, column, stacking = geometry.direction_matrix.T
    normal = np.cross(row, column)
    along = abs(float(stacking @ normal))
    sideways = float(np.linalg.norm(np.cross(stacking, normal)))
    return float(np.degrees(np.arctan2(sideways, along))) if sideways > 1e-9 else 0.0


def _geometry(frame: SliceFrame, count: int, origin: Points, step: Points) -> Geometry:
    length = float(np.linalg.norm(step))
    direction = np.column_stack([frame.row, frame.column, step / length])
    return Geometry((*frame.size, count), (*frame.spacing, length), vec3(origin), tuple(direction.ravel()))


def corner_error_mm(
    geometry: Geometry, frames: Sequence[SliceFrame], positions: Points, planes: Sequence[int] | None = None
) -> float:
    """Return the largest distance, mm, of a slice corner in the grid from where its file puts it.

    ``frames[n]`` and ``positions[n]`` (LPS mm) belong to slice ``planes[n]`` of the grid, by default to slice ``n``.
    """
    i, j = geometry.size[0] - 1, geometry.size[1] - 1
    origins = geometry.index_to_lps([(0, 0, k) for k in planes or range(geometry.size[2])])
    spans = geometry.index_to_lps([(0, 0, 0), (i, 0, 0), (0, j, 0), (i, j, 0)]) - np.array(geometry.origin)
    corners = {key: frame.corners for key, frame in {id(frame): frame for frame in frames}.items()}
    wanted = positions[:, None, :] + np.array([corners[id(frame)] for frame in frames])
    return float(np.linalg.norm(origins[:, None, :] + spans - wanted, axis=2).max())


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
    frames, positions = frames_and_positions(headers)
    fit = fit_stack(frames, positions, single_slice_spacing(headers[0]))
    if fit.geometry is None:
        raise GeometryError(
            f"The slices are not evenly spaced: one lies {fit.deviation_mm:.2f} mm from its place on a regular grid.",
            hint="Open the evenly spaced parts of the series one by one.",
            code="E_UNEVEN_SPACING",
        )
    return fit.geometry


def frames_and_positions(headers: Sequence[Header]) -> tuple[list[SliceFrame], Points]:
    """Return the frame of every slice and where each begins, LPS mm (n, 3).

    Raises
    ------
    GeometryError
        When there is none, a slice has no place, or they are not parallel.
    """
    if not headers:
        raise GeometryError("A series without files has no geometry.")
    known: dict[FrameKey, SliceFrame] = {}
    frames = []
    for header in headers:
        key = frame_key(header)
        if key not in known:
            known[key] = slice_frame(header)
            if not known[key].is_parallel(known[frame_key(headers[0])]):
                raise GeometryError(f"{header.path.name} differs from the other slices in size or orientation.")
        frames.append(known[key])
    return frames, np.array([slice_position(header) for header in headers])


def single_slice_spacing(header: Header) -> float:
    """Return the extent in mm of a lone slice: SliceThickness, SpacingBetweenSlices, or 1."""
    for tag in (Tag.SLICE_THICKNESS, Tag.SPACING_BETWEEN_SLICES):
        value = header.number(tag)
        if value is not None and value > 0:
            return value
    return 1.0
