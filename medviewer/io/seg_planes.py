"""Where the frames of a DICOM SEG lie: by plane position, by tile of a slide, or by the image they were drawn on.

References
----------
DICOM PS3.3 C.7.6.16 (functional groups), C.7.6.17.3 (TILED_FULL), C.8.12.4.1.1 (total pixel matrix), C.8.20.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from medviewer.core.errors import GeometryError, InputError
from medviewer.core.geometry import Geometry, vec3
from medviewer.io.image_index import ImageKey
from medviewer.io.label_fit import tolerance_mm

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_PARALLEL: Final = 1e-4
_ONE_VOXEL: Final = 0.05
_MOST_SLICES: Final = 100_000
_MOST_VOXELS: Final = 2**31
_IN_PLANE: Final = (np.array([[1, 0], [0, 1], [0, 0]]), np.array([[0, 1], [1, 0], [0, 0]]))

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SegPlane:
    """A frame: its segment (0 in a label map), its first pixel and the steps along columns (i) and rows (j), LPS mm.

    Attributes
    ----------
    position : (3,) or None
        None for a frame that only names the image it was drawn on.
    size : (int, int)
        Columns and rows that count: a tile at the edge of a slide is padded.
    image : (str, int)
        SOPInstanceUID and frame of that image; empty for a frame that has a position.
    """

    segment: int
    size: tuple[int, int]
    position: Points | None = None
    column_step: Points | None = None
    row_step: Points | None = None
    image: ImageKey = ("", 1)


@dataclass(frozen=True, slots=True)
class Place:
    """Slice of a frame and where its first pixel lies in it; `turn` makes the frame's axes those of the slice."""

    k: int
    j: int
    i: int
    size: tuple[int, int]
    transposed: bool = False
    flip_j: bool = False
    flip_i: bool = False

    def turn(self, frame: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the part of the frame that counts, along the axes of the slice."""
        columns, rows = self.size
        part = frame[:rows, :columns]
        turned = part.T if self.transposed else part
        return turned[:: -1 if self.flip_j else 1, :: -1 if self.flip_i else 1]


#: Of a frame that lies before the first slice or behind the last.
OUTSIDE: Final = Place(-1, 0, 0, (0, 0))


def read_planes(dataset: Dataset, frames: int, name: str) -> list[SegPlane]:
    """Return where every frame lies.

    Raises
    ------
    InputError
        ``E_NO_POSITION`` when the file does not say it for all of them.
    """
    try:
        if str(dataset.get("DimensionOrganizationType", "")) == "TILED_FULL":
            return _full_tiles(dataset, frames)
        own = dataset.get("PerFrameFunctionalGroupsSequence") or ()
        if len(own) != frames:
            raise InputError(
                f"{name} says where {len(own)} frames lie, but has {frames}.",
                hint="Ask for the original segmentation.",
                code="E_NO_POSITION",
            )
        return [_plane(dataset, item) for item in own]
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(
            f"{name} does not say where its frames lie.",
            hint="Ask for a segmentation with plane positions.",
            code="E_NO_POSITION",
        ) from error


class _Groups:
    """The functional groups of one frame: its own, else the shared ones."""

    def __init__(self, dataset: Dataset, own: Dataset | None) -> None:
        self._own = own
        self._shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]

    def find(self, keyword: str) -> Any:
        for groups in (self._own, self._shared):
            if groups is not None and keyword in groups and len(groups[keyword].value or ()):
                return groups[keyword].value[0]
        return None

    def get(self, keyword: str) -> Any:
        found = self.find(keyword)
        if found is None:
            raise KeyError(keyword)
        return found


def _plane(dataset: Dataset, own: Dataset) -> SegPlane:
    groups = _Groups(dataset, own)
    segment = 0
    if str(dataset.get("SegmentationType", "")) != "LABELMAP":
        segment = int(groups.get("SegmentIdentificationSequence").ReferencedSegmentNumber)
    if "TotalPixelMatrixColumns" in dataset:
        tile = groups.get("PlanePositionSlideSequence")
        column = int(tile.ColumnPositionInTotalImagePixelMatrix)
        return _tile(dataset, groups, segment, column, int(tile.RowPositionInTotalImagePixelMatrix))
    size = int(dataset.Columns), int(dataset.Rows)
    if groups.find("PlanePositionSequence") is None:
        return SegPlane(segment, size, image=_source_image(groups))
    position = np.array(groups.get("PlanePositionSequence").ImagePositionPatient, dtype=np.float64)
    orientation = groups.get("PlaneOrientationSequence").ImageOrientationPatient
    return SegPlane(segment, size, _finite(position), *_steps(orientation, groups))


def _steps(orientation: Any, groups: _Groups) -> tuple[Points, Points]:
    cosines = np.array(orientation, dtype=np.float64).reshape(2, 3)
    row_mm, column_mm = (float(value) for value in groups.get("PixelMeasuresSequence").PixelSpacing)
    return _finite(cosines[0] * column_mm), _finite(cosines[1] * row_mm)


def _finite(values: Points) -> Points:
    if values.shape != (3,) or not np.isfinite(values).all():
        raise ValueError("position")
    return values


def _source_image(groups: _Groups) -> ImageKey:
    """Return the image that a frame was drawn on; of several, none is its place."""
    (source,) = groups.get("DerivationImageSequence").SourceImageSequence
    return str(source.ReferencedSOPInstanceUID), int(source.get("ReferencedFrameNumber") or 1)


def _tile(dataset: Dataset, groups: _Groups, segment: int, column: int, row: int) -> SegPlane:
    """Return a tile by where its first pixel lies in the total pixel matrix, counted from 1."""
    width, height = int(dataset.TotalPixelMatrixColumns), int(dataset.TotalPixelMatrixRows)
    if not (1 <= column <= width and 1 <= row <= height):
        raise ValueError("a tile beside the slide")
    across, down = _steps(dataset.ImageOrientationSlide, groups)
    corner = dataset.TotalPixelMatrixOriginSequence[0]
    origin = np.array([float(corner.XOffsetInSlideCoordinateSystem), float(corner.YOffsetInSlideCoordinateSystem), 0.0])
    position = origin + across * (column - 1) + down * (row - 1)
    size = min(int(dataset.Columns), width - column + 1), min(int(dataset.Rows), height - row + 1)
    return SegPlane(segment, size, _finite(position), across, down)


def _full_tiles(dataset: Dataset, frames: int) -> list[SegPlane]:
    """Return the tiles of TILED_FULL: along rows, then down, then segment by segment."""
    groups = _Groups(dataset, None)
    columns, rows = int(dataset.Columns), int(dataset.Rows)
    starts = [
        (column, row)
        for row in range(1, int(dataset.TotalPixelMatrixRows) + 1, rows)
        for column in range(1, int(dataset.TotalPixelMatrixColumns) + 1, columns)
    ]
    numbers = [0]
    if str(dataset.get("SegmentationType", "")) != "LABELMAP":
        numbers = [int(item.SegmentNumber) for item in dataset.SegmentSequence]
    if len(starts) * len(numbers) != frames:
        raise ValueError("tiles of several focal planes")
    return [_tile(dataset, groups, number, *start) for number in numbers for start in starts]


def find_places(
    planes: Sequence[SegPlane],
    grid: Geometry,
    slices: dict[ImageKey, int] | None = None,
    off_mm: float | None = None,
) -> list[Place] | None:
    """Return the place of every frame on a grid, `OUTSIDE` for those beyond its ends.

    Parameters
    ----------
    slices : dict or None
        Which slice k each image of the target is, for frames that have no position.
    off_mm : float or None
        How far a frame may lie off its voxels; by default what rounding explains.

    Returns
    -------
    list of Place or None
        None when a frame does not lie on the voxels, or none of them lies inside.
    """
    places: list[Place] = []
    for plane in planes:
        if plane.position is None:
            place = _on_image(plane, grid, slices or {})
        else:
            place = _place(plane, grid, tolerance_mm(grid) if off_mm is None else off_mm)
        if place is None:
            return None
        places.append(place)
    return places if any(place is not OUTSIDE for place in places) else None


def _on_image(plane: SegPlane, grid: Geometry, slices: dict[ImageKey, int]) -> Place | None:
    k = slices.get(plane.image)
    return Place(k, 0, 0, plane.size) if k is not None and plane.size == grid.size[:2] else None


def _place(plane: SegPlane, grid: Geometry, off_mm: float) -> Place | None:
    assert plane.position is not None
    assert plane.column_step is not None
    assert plane.row_step is not None
    last = (plane.size[0] - 1, plane.size[1] - 1)
    corners = [plane.position + plane.column_step * c + plane.row_step * r for c, r in ((0, 0), last)]
    ends = grid.lps_to_index(corners)
    whole = np.rint(ends)
    steps = grid.lps_to_index_matrix[:3, :3] @ np.array([plane.column_step, plane.row_step]).T
    # Columns and rows step by one voxel along i and j, or along j and i, forwards or backwards.
    lengths = np.abs(steps)
    if not any(np.abs(lengths - unit).max() <= _ONE_VOXEL for unit in _IN_PLANE):
        return None
    if whole[:, 2].max() < 0 or whole[:, 2].min() >= grid.size[2]:
        return OUTSIDE
    if float(np.abs(grid.index_to_lps(whole) - corners).max()) > off_mm:
        return None
    transposed = abs(steps[0, 0]) < 0.5
    lower = whole.min(axis=0).astype(int)
    upper = whole.max(axis=0).astype(int)
    along_i, along_j = (steps[0, 1], steps[1, 0]) if transposed else (steps[0, 0], steps[1, 1])
    if min(lower) < 0 or any(upper >= grid.size):
        return None
    i, j, k = (int(v) for v in lower)
    return Place(k, j, i, plane.size, bool(transposed), bool(along_j < 0), bool(along_i < 0))


def own_grid(planes: Sequence[SegPlane], name: str) -> Geometry:
    """Return the regular grid that all frames lie on; slices without a frame are empty.

    Raises
    ------
    GeometryError
        ``E_SEG_GRID`` when there is none, ``E_NO_POSITION`` for frames that only name an image.
    """
    first = planes[0]
    if any(plane.position is None for plane in planes) or first.column_step is None or first.row_step is None:
        raise GeometryError(
            f"{name} only says which images it was drawn on, not where they lie.",
            hint="Open those images first.",
            code="E_NO_POSITION",
        )
    steps = np.array([first.column_step, first.row_step])
    if any(np.abs(np.array([p.column_step, p.row_step]) - steps).max() > _PARALLEL for p in planes):
        raise GeometryError(f"{name} has frames of several orientations.", code="E_SEG_GRID")
    lengths = np.linalg.norm(steps, axis=1)
    axes = np.column_stack([steps[0] / lengths[0], steps[1] / lengths[1], np.cross(steps[0], steps[1])])
    axes[:, 2] /= np.linalg.norm(axes[:, 2])
    # Place of every frame along columns, rows and normal, mm.
    along = np.array([plane.position for plane in planes]) @ axes
    depths = np.unique(np.round(along[:, 2], 3))
    gap = float(np.diff(depths).min()) if len(depths) > 1 else 1.0
    count = round(float(np.ptp(along[:, 2])) / gap) + 1
    starts = np.rint((along[:, :2] - along[:, :2].min(axis=0)) / lengths).astype(int)
    columns, rows = (int(n) for n in (starts + [plane.size for plane in planes]).max(axis=0))
    size = (columns, rows, count)
    if count > _MOST_SLICES or columns * rows * count > _MOST_VOXELS:
        raise GeometryError(f"{name} has frames at irregular places.", code="E_SEG_GRID")
    origin = np.linalg.solve(axes.T, along.min(axis=0))
    return Geometry(size, (float(lengths[0]), float(lengths[1]), gap), vec3(origin), tuple(axes.ravel()))
