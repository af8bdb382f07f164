"""FreeSurfer's MGH and MGZ: header by our own parser, voxels in the decode worker.

References
----------
https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from medviewer.core.dicom_ref import SeriesWarning, Study
from medviewer.core.errors import InputError
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.io.image_file import (
    NO_ORIENTATION,
    ONE_TIME,
    Times,
    grid_of,
    grid_warnings,
    gridless_study,
    image_study,
    named_like_labels,
    read_image,
)
from medviewer.io.raw_voxels import RawBlock, Voxels, check_block, read_block, read_head, volume_values
from medviewer.io.reader import SKIP, OpenRequest, Skip, reader
from medviewer.jobs.job import JobContext

SUFFIXES: Final = (".mgh", ".mgz")
_TYPES: Final = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2", 10: ">u2"}
_VERSION: Final = 1
_FIRST_VOXEL: Final = 284
_RAS_TO_LPS: Final = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True, slots=True)
class MghHeader:
    """A parsed header: where the voxels lie, and the grid in LPS mm."""

    geometry: Geometry
    block: RawBlock
    warnings: tuple[SeriesWarning, ...]
    times: Times = ONE_TIME


def list_mgh(path: Path) -> Study:
    """Return an MGH file as a study of one series."""
    try:
        header = read_header(path)
    except InputError as error:
        return gridless_study(path, "mgh", path.stem, error)
    labels = header.block.dtype[1] in "iu" and named_like_labels(path)
    return image_study(
        path, "mgh", path.stem, header.geometry, labels=labels, warnings=header.warnings, times=header.times
    )  # fmt: skip


@reader("mgh", kinds=["mgh"], suffixes=SUFFIXES, listing=list_mgh)
def read(ctx: JobContext, request: OpenRequest) -> Volume | Skip:
    """Read an MGH image in the decode worker."""
    if len(request.series.files) != 1:
        return SKIP
    return read_image(ctx, request, "medviewer.io.readers.mgh:read_voxels", read_header, "native")


def read_voxels(ctx: JobContext, path: object) -> Voxels:
    """Read voxels (k, j, i), or (point, k, j, i); runs in the decode worker."""
    assert isinstance(path, Path)
    ctx.progress(None, "Reading MGH")
    header = read_header(path)
    return Voxels(volume_values(read_block(header.block).reshape(header.times.shape(header.geometry))))


def read_header(path: Path) -> MghHeader:
    """Parse a header and check it against the file.

    Raises
    ------
    InputError
        ``E_MGH``, ``E_AFFINE``, ``E_PIXEL_FORMAT``, ``E_TRUNCATED``, ``E_BOMB`` and the like.
    """
    head = read_head(path)
    packed = head[:2] == b"\x1f\x8b"
    try:
        start = zlib.decompressobj(31).decompress(head, _FIRST_VOXEL) if packed else head[:_FIRST_VOXEL]
        version, i, j, k, frames, kind, _, good = struct.unpack_from(">7ih", start)
        numbers = np.array(struct.unpack_from(">15f", start, 30), dtype=np.float64)
    except (struct.error, zlib.error) as error:
        raise InputError(f"{path.name} has no whole MGH header.", code="E_MGH") from error
    if version != _VERSION:
        raise InputError(f"{path.name} is not an MGH file.", code="E_MGH")
    if kind not in _TYPES:
        raise InputError(f"{path.name} has voxels of type {kind}, which is not read.", code="E_PIXEL_FORMAT")
    skip = _FIRST_VOXEL if packed else 0
    block = RawBlock(path, _FIRST_VOXEL - skip, (i, j, k, frames), _TYPES[kind], "deflate" if packed else "raw", skip)
    check_block(block)
    geometry = _grid(path.name, (i, j, k), numbers, known=good == 1)
    notes = grid_warnings(geometry) if good == 1 else [NO_ORIENTATION]
    return MghHeader(geometry, block, tuple(notes), Times.of(frames))


def _grid(name: str, size: tuple[int, int, int], numbers: np.ndarray, *, known: bool) -> Geometry:
    """Return the grid from voxel sizes, direction cosines and the RAS place of the middle voxel."""
    if not known:
        return grid_of(size, np.eye(3), np.zeros(3), name)
    spacing, cosines, middle = numbers[:3], numbers[3:12].reshape(3, 3).T, numbers[12:]
    steps = cosines * spacing
    origin = middle - steps @ (np.array(size) / 2.0)
    return grid_of(size, steps * _RAS_TO_LPS[:, None], origin * _RAS_TO_LPS, name)
