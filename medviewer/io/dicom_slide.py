"""Slides of microscopes: the tiles of one level put together as one picture, where that is small enough to be opened.

The picture is shown as it is stored, which is how a slide is looked at; where it lies on the slide is asked for when
segments are laid over it.

References
----------
DICOM PS3.3 C.7.6.17.3 (TILED_FULL), C.8.12.4 (whole slide microscopy image).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.errors import InputError
from medviewer.core.geometry import Geometry, vec3
from medviewer.io.dicom_elements import read_elements, refused
from medviewer.io.dicom_header import Header, read_header
from medviewer.io.dicom_tags import Tag

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SLIDES: Final = "1.2.840.10008.5.1.4.1.1.77.1.6"
#: Colours, luminance and the tiles that they come from take about 10 bytes a pixel.
MOST_PIXELS: Final = 64_000_000
_PLACE: Final = ["SharedFunctionalGroupsSequence", "TotalPixelMatrixOriginSequence", "ImageOrientationSlide"]


def slide_size(header: Header, frames: int) -> tuple[int, int] | None:
    """Return columns and rows of a slide whose tiles can be put together: one plane, every tile there, not too large.

    Parameters
    ----------
    header : Header
        Of the file or of one of its tiles.
    frames : int
        Number of its tiles.
    """
    if header.sop_class_uid != SLIDES or header.text(Tag.DIMENSION_ORGANIZATION_TYPE) != "TILED_FULL":
        return None
    size = [header.integer(tag) or 0 for tag in (Tag.TOTAL_PIXEL_MATRIX_COLUMNS, Tag.TOTAL_PIXEL_MATRIX_ROWS)]
    tile = [header.integer(tag) or 0 for tag in (Tag.COLUMNS, Tag.ROWS)]
    if min(*size, *tile) < 1 or size[0] * size[1] > MOST_PIXELS:
        return None
    return (size[0], size[1]) if -(-size[0] // tile[0]) * -(-size[1] // tile[1]) == frames else None


def put_together(tiles: npt.NDArray[Any], columns: int, rows: int) -> npt.NDArray[Any]:
    """Return tiles (n, rows, columns, …), which run along rows and then down, as one picture (1, rows, columns, …)."""
    height, width = tiles.shape[1:3]
    across = -(-columns // width)
    whole = np.empty((1, rows, columns, *tiles.shape[3:]), tiles.dtype)
    for n, tile in enumerate(tiles):
        j, i = n // across * height, n % across * width
        part = whole[0, j : j + height, i : i + width]
        part[...] = tile[: part.shape[0], : part.shape[1]]
    return whole


def slide_spacing(header: Header) -> tuple[float, float] | None:
    """Return mm between pixels along (i, j); None where the file does not say it."""
    try:
        with refused(header.path):
            row_mm, column_mm = _spacing(read_elements(header.path, _PLACE))
    except InputError:
        return None
    return column_mm, row_mm


def slide_grid(series: SeriesRef) -> Geometry | None:
    """Return where the picture of a slide lies in the slide's coordinates; None for any other series.

    Raises
    ------
    InputError
        ``E_NO_POSITION`` when the slide does not say it.
    """
    if series.sop_class_uid != SLIDES or len(series.files) != 1 or series.size is None:
        return None
    header = read_header(series.files[0])
    with refused(header.path, "does not say where it lies on its slide", "E_NO_POSITION"):
        dataset = read_elements(header.path, _PLACE)
        row_mm, column_mm = _spacing(dataset)
        cosines = np.array(dataset.ImageOrientationSlide, dtype=np.float64).reshape(2, 3)
        corner = dataset.TotalPixelMatrixOriginSequence[0]
        origin = (float(corner.XOffsetInSlideCoordinateSystem), float(corner.YOffsetInSlideCoordinateSystem), 0.0)
        direction = np.column_stack([*cosines, np.cross(*cosines)])
        return Geometry(series.size, (column_mm, row_mm, 1.0), vec3(origin), tuple(direction.ravel()))


def _spacing(dataset: Dataset) -> Sequence[float]:
    values = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    spacing = [float(value) for value in values]
    if len(spacing) != 2 or not (np.isfinite(spacing).all() and min(spacing) > 0):
        raise ValueError("PixelSpacing")
    return spacing
