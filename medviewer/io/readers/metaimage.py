"""MetaImage (MHA, MHD): header by our own parser, voxels in the decode worker.

References
----------
https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from medviewer.core.dicom_ref import Study
from medviewer.core.errors import GeometryError, InputError
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.io.image_file import (
    ONE_TIME,
    Times,
    grid_of,
    grid_warnings,
    gridless_study,
    image_study,
    named_like_labels,
    read_image,
)
from medviewer.io.raw_voxels import (
    RawBlock,
    Voxels,
    at_the_end,
    beside,
    check_block,
    read_block,
    read_head,
    volume_values,
)
from medviewer.io.reader import SKIP, OpenRequest, Skip, reader
from medviewer.jobs.job import JobContext

SUFFIXES: Final = (".mha", ".mhd")
_TYPES: Final = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
_KEY: Final = "elementdatafile"


@dataclass(frozen=True, slots=True)
class MetaHeader:
    """A parsed header: where the voxels lie, and the grid in LPS mm."""

    block: RawBlock
    geometry: Geometry
    times: Times = ONE_TIME


def list_metaimage(path: Path) -> Study:
    """Return a MetaImage as a study of one series."""
    name = path.name[: -len(path.suffix)]
    try:
        header = read_header(path)
    except InputError as error:
        return gridless_study(path, "metaimage", name, error)
    labels = header.block.dtype[1] in "iu" and named_like_labels(path)
    warnings = grid_warnings(header.geometry)
    return image_study(path, "metaimage", name, header.geometry, labels=labels, warnings=warnings, times=header.times)


@reader("metaimage", kinds=["metaimage"], suffixes=SUFFIXES, listing=list_metaimage)
def read(ctx: JobContext, request: OpenRequest) -> Volume | Skip:
    """Read a MetaImage in the decode worker."""
    if len(request.series.files) != 1:
        return SKIP
    return read_image(ctx, request, "medviewer.io.readers.metaimage:read_voxels", read_header, "native")


def read_voxels(ctx: JobContext, path: object) -> Voxels:
    """Read voxels (k, j, i), or (point, k, j, i); runs in the decode worker."""
    assert isinstance(path, Path)
    ctx.progress(None, "Reading MetaImage")
    header = read_header(path)
    return Voxels(volume_values(read_block(header.block).reshape(header.times.shape(header.geometry))))


def read_header(path: Path) -> MetaHeader:
    """Parse a header and check it against the file.

    Raises
    ------
    InputError
        ``E_METAIMAGE``, ``E_EXTERNAL_DATA``, ``E_4D``, ``E_TRUNCATED``, ``E_BOMB``, ``E_GEOMETRY`` and the like.
    """
    fields, end = _parse(read_head(path))
    if _KEY not in fields or "dimsize" not in fields:
        raise InputError(f"{path.name} is not a MetaImage.", code="E_METAIMAGE")
    try:
        return _interpret(path, fields, end)
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(f"{path.name} has a broken MetaImage header ({error}).", code="E_METAIMAGE") from error


def _parse(head: bytes) -> tuple[dict[str, str], int]:
    """Return the fields up to ElementDataFile, which is the last, and where the header ends."""
    fields: dict[str, str] = {}
    position = 0
    while position < len(head) and _KEY not in fields:
        stop = head.find(b"\n", position)
        stop = len(head) if stop < 0 else stop
        key, mark, value = head[position:stop].decode("latin-1").partition("=")
        position = stop + 1
        if mark:
            fields[key.strip().lower()] = value.strip()
    return fields, position


def _interpret(path: Path, fields: Mapping[str, str], end: int) -> MetaHeader:
    count = int(fields["ndims"])
    sizes = tuple(int(n) for n in fields["dimsize"].split())
    if not 1 < count < 8 or len(sizes) != count:
        raise ValueError("NDims and DimSize disagree")
    channels = int(fields.get("elementnumberofchannels", 1))
    if channels != 1 or count < 3 or any(n != 1 for n in sizes[4:]):
        shape = " x ".join(map(str, (*sizes, channels)))
        text = f"{path.name} is no 3-D or 4-D image of one channel ({shape})."
        raise InputError(text, hint="Split it first.", code="E_4D")
    if fields["elementtype"].upper() not in _TYPES or fields.get("binarydata", "True").lower() != "true":
        raise ValueError(f"element type {fields['elementtype']}")
    data = fields[_KEY]
    local = data.upper() == "LOCAL"
    skip = int(fields.get("headersize", 0))
    msb = fields.get("binarydatabyteordermsb", fields.get("elementbyteordermsb", "False")).lower() == "true"
    block = RawBlock(
        path=path if local else beside(path, data),
        offset=(end if local else 0) + max(0, skip),
        sizes=sizes,
        dtype=(">" if msb else "<") + _TYPES[fields["elementtype"].upper()],
        coding="deflate" if fields.get("compresseddata", "False").lower() == "true" else "raw",
    )
    if skip < 0:
        if skip != -1 or block.coding != "raw":
            raise ValueError("HeaderSize")
        block = at_the_end(block)
    check_block(block)
    return MetaHeader(block, _geometry(path, fields, sizes, count), Times.of(sizes[3] if count > 3 else 1))


def _geometry(path: Path, fields: Mapping[str, str], sizes: tuple[int, ...], count: int) -> Geometry:
    """Return the grid; MetaImage has LPS mm as ITK does, and one row of the matrix for each index axis."""

    def numbers(names: tuple[str, ...], default: list[float]) -> list[float]:
        text = next((fields[name] for name in names if name in fields), None)
        values = default if text is None else [float(word) for word in text.split()]
        if len(values) != len(default):
            raise ValueError(names[0])
        return values

    matrix = numbers(("transformmatrix", "rotation", "orientation"), list(np.eye(count).ravel()))
    spacing = numbers(("elementspacing", "elementsize"), [1.0] * count)
    origin = numbers(("offset", "position", "origin"), [0.0] * count)
    whole = np.array(matrix).reshape(count, count)
    rows = whole[:3, :3]
    if np.abs(whole[:3, 3:]).max(initial=0.0) > 0 or np.abs(whole[3:, :3]).max(initial=0.0) > 0:
        raise GeometryError(f"{path.name} turns its fourth axis into space.", code="E_4D")
    i, j, k = sizes[:3]
    return grid_of((i, j, k), rows.T * np.array(spacing[:3]), origin[:3], path.name)
