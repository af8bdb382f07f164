"""Siemens mosaics: many slices tiled into one picture, taken apart by what the private CSA header says.

Position and orientation of such a file are those of the whole picture as if it were one slice. The first tile lies in
its middle; the others follow along the SliceNormalVector of the CSA header, SpacingBetweenSlices apart.

References
----------
The private CSA header is described in nibabel's "Siemens format DICOM with CSA header" and "DICOM mosaic".
"""

from __future__ import annotations

import math
import warnings
from typing import Any, Final

import numpy as np

from medviewer.core.errors import GeometryError
from medviewer.io.dicom_elements import decimal_string, read_elements
from medviewer.io.dicom_geometry import slice_frame, slice_position
from medviewer.io.dicom_header import Header, Tile
from medviewer.io.dicom_tags import Tag

_GROUP: Final = 0x0029
_CREATOR: Final = "SIEMENS CSA HEADER"
_PARALLEL: Final = 1e-3
#: No scan has more slices; each is a header of its own.
_MOST_SLICES: Final = 1024


def is_mosaic(header: Header) -> bool:
    """Whether a file says that it is a mosaic."""
    return "MOSAIC" in header.image_type and header.frames == 1


def mosaic_tiles(header: Header) -> list[tuple[Tile, dict[int, bytes]]]:
    """Return each slice of a mosaic: its place in the picture, and its elements as a file of its own would have them.

    Raises
    ------
    GeometryError
        ``E_MOSAIC`` when the file does not say how it is to be taken apart, or contradicts itself.
    """
    if header.integer(Tag.BITS_ALLOCATED) != 16 or (header.integer(Tag.SAMPLES_PER_PIXEL) or 1) != 1:
        raise _refusal(header, "its pixels are not the 16-bit numbers of an MR image")
    csa = _csa_header(header)
    count, normal = _values(csa, "NumberOfImagesInMosaic", 1), np.array(_values(csa, "SliceNormalVector", 3))
    spacing = header.number(Tag.SPACING_BETWEEN_SLICES)
    if len(count) != 1 or not float(count[0]).is_integer() or count[0] < 1 or normal.shape != (3,) or not spacing:
        raise _refusal(header, "it does not say how many slices it holds, in which order and how far apart")
    slices = int(count[0])
    if slices > _MOST_SLICES:
        raise _refusal(header, f"it says that it holds {slices} slices")
    across = math.ceil(math.sqrt(slices))
    frame, corner = slice_frame(header), np.array(slice_position(header))
    columns, rows = frame.size
    if rows % across or columns % across:
        raise _refusal(header, f"its {columns} × {rows} pixels are not those of {slices} slices")
    if abs(abs(float(normal @ frame.normal)) - 1) > _PARALLEL or spacing <= 0:
        raise _refusal(header, "its slices are said to follow each other in a direction that is not their normal")
    height, width = rows // across, columns // across
    first = corner + frame.row * frame.spacing[0] * (columns - width) / 2
    first = first + frame.column * frame.spacing[1] * (rows - height) / 2
    step = math.copysign(spacing, float(normal @ frame.normal)) * frame.normal
    tiles = []
    for n in range(slices):
        values = {
            Tag.ROWS: _us(height, header),
            Tag.COLUMNS: _us(width, header),
            Tag.IMAGE_POSITION_PATIENT: decimal_string(first + step * n),
        }
        tiles.append((Tile(n // across * height, n % across * width, rows, columns), values))
    return tiles


def _us(number: int, header: Header) -> bytes:
    return number.to_bytes(2, "big" if header.big_endian else "little")


def _csa_header(header: Header) -> dict[str, Any]:
    """Return the tags of the CSA image header, read by nibabel."""
    with warnings.catch_warnings():
        # It says of its other readers, which are not used here, that they are experimental.
        warnings.simplefilter("ignore")
        from nibabel.nicom.csareader import read

    creators = [_GROUP << 16 | element for element in range(0x10, 0x100)]
    dataset = read_elements(header.path, [*creators, *(_GROUP << 16 | n << 8 | 0x10 for n in range(0x10, 0x100))])
    try:
        data = dataset.private_block(_GROUP, _CREATOR)[0x10].value
        tags: dict[str, Any] = read(bytes(data))["tags"]
    except KeyError as error:
        raise _refusal(header, "it has lost its CSA header, which says where its slices lie") from error
    # A broken header breaks the two readers in many ways.
    except Exception as error:
        raise _refusal(header, "its CSA header, which says where its slices lie, is broken") from error
    return tags


def _values(tags: dict[str, Any], name: str, count: int) -> list[float]:
    """Return the finite numbers of a CSA tag; as many as wanted, else none."""
    items = tags.get(name, {}).get("items", [])[:count]
    try:
        numbers = [float(item) for item in items]
    except (TypeError, ValueError):
        return []
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else []


def _refusal(header: Header, why: str) -> GeometryError:
    return GeometryError(
        f"{header.path.name} is a mosaic, many slices tiled into one picture, and {why}.",
        hint="Fetch the original from the scanner or the archive, or convert it there to single slices.",
        code="E_MOSAIC",
    )
