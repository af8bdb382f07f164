"""Voxels of simple containers (NRRD, MetaImage): checked against file size and memory before anything is allocated.

Runs in the decode worker; the headers, which are text, are read by small parsers of our own anywhere.
"""

from __future__ import annotations

import math
import os
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import numpy as np
import numpy.typing as npt
import psutil

from medviewer.core.errors import DecodeError, InputError, OutOfMemory
from medviewer.core.volume import ColorArray
from medviewer.io.inflate import MOST_BYTES, MOST_RATIO, unpacked

Coding = Literal["raw", "deflate", "bzip2", "text"]

#: No text header is longer.
MOST_HEADER: Final = 1024 * 1024
_MOST_OF_MEMORY: Final = 0.6
#: A printed number and its separator take at least this many bytes.
_TEXT_NUMBER: Final = 2


@dataclass(frozen=True, slots=True, eq=False)
class Voxels:
    """What the worker returns: voxels in real units, slowest axis first, or the luminance of `colors` (k, j, i, 3)."""

    array: npt.NDArray[Any]
    colors: ColorArray | None = None


@dataclass(frozen=True, slots=True)
class RawBlock:
    """Where voxels lie and how.

    Attributes
    ----------
    path : Path
        File that holds them; the header's own or one beside it.
    offset : int
        First byte.
    sizes : tuple of int
        Fastest axis first.
    dtype : str
        As NumPy has it, with byte order.
    skip : int
        Unpacked bytes before the first voxel, where the header is packed with them.
    """

    path: Path
    offset: int
    sizes: tuple[int, ...]
    dtype: str
    coding: Coding = "raw"
    skip: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the voxels, as a Python number that cannot overflow."""
        return math.prod(self.sizes) * np.dtype(self.dtype).itemsize


def at_the_end(block: RawBlock) -> RawBlock:
    """Return the block as the last bytes of its file, none of them before its offset."""
    return replace(block, offset=max(block.offset, block.path.stat().st_size - block.nbytes))


def beside(header: Path, name: str) -> Path:
    """Return the data file that a header names: a bare name in the header's folder, nothing else.

    Raises
    ------
    InputError
        ``E_EXTERNAL_DATA`` for a path, a pattern, a list, an address, or a link that leads away.
    """
    bare = name.strip()
    path = header.parent / bare
    is_bare = bool(bare) and not any(mark in bare for mark in '/\\:%*?"<>|') and bare not in (".", "..")
    if not is_bare or bare.split()[0].upper() == "LIST":
        raise InputError(
            f"{header.name} points to data outside its folder; nothing was read.",
            hint="Only a data file beside the header, named without a path, is opened.",
            code="E_EXTERNAL_DATA",
        )
    if not path.is_file():
        raise InputError(
            f"{header.name} needs the file {bare}, which is not beside it.",
            hint="Copy both files into one folder.",
            code="E_NO_FILE",
        )
    if os.path.dirname(os.path.realpath(path)) != os.path.realpath(header.parent):
        raise InputError(
            f"{header.name} points to a link that leads out of its folder; nothing was read.",
            hint="Copy the data file itself beside the header.",
            code="E_EXTERNAL_DATA",
        )
    return path


def check_block(block: RawBlock) -> None:
    """Refuse a header that promises more voxels than its file or the memory can hold.

    Raises
    ------
    DecodeError
        ``E_DIMENSIONS``, ``E_TRUNCATED`` or ``E_BOMB``.
    OutOfMemory
    """
    if not block.sizes or min(block.sizes) < 1:
        raise DecodeError(f"{block.path.name} has an empty dimension.", code="E_DIMENSIONS")
    present = max(0, block.path.stat().st_size - block.offset)
    needed = block.nbytes
    if block.coding == "raw" and needed > present:
        raise DecodeError(f"{block.path.name} promises {needed} bytes of voxels but has {present}.", code="E_TRUNCATED")
    if block.coding == "text" and math.prod(block.sizes) * _TEXT_NUMBER > present + 1:
        raise DecodeError(f"{block.path.name} has fewer numbers than it promises.", code="E_TRUNCATED")
    if block.coding in ("deflate", "bzip2") and needed + block.skip > max(MOST_BYTES, MOST_RATIO * present):
        raise DecodeError(
            f"{block.path.name} promises {needed} bytes of voxels in {present} bytes.",
            hint="If the file is trusted, unpack it with another program first.",
            code="E_BOMB",
        )
    if needed > _MOST_OF_MEMORY * psutil.virtual_memory().available:
        raise OutOfMemory(
            f"{block.path.name} needs {needed // 2**20} MB of memory.", hint="Close other programs or studies first."
        )


def read_block(block: RawBlock) -> npt.NDArray[Any]:
    """Return the stored values, native byte order, slowest axis first.

    Raises
    ------
    DecodeError
        When the data are shorter than promised, or broken.
    """
    check_block(block)
    try:
        with block.path.open("rb") as file:
            file.seek(block.offset)
            if block.coding == "text":
                return _from_text(file, block)
            stored = np.empty(math.prod(block.sizes), np.dtype(block.dtype))
            got = _fill(file, stored, block)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DecodeError(f"{block.path.name} cannot be read ({type(error).__name__}).") from error
    if got < stored.nbytes:
        raise DecodeError(f"{block.path.name} ends after {got} of {stored.nbytes} bytes.", code="E_TRUNCATED")
    native = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    return native.reshape(block.sizes[::-1])


def _fill(file: BinaryIO, stored: npt.NDArray[Any], block: RawBlock) -> int:
    """Fill an array from a file; return how many bytes came. What follows them is not inflated."""
    target = stored.data.cast("B")
    if block.coding == "raw":
        return file.readinto(target) or 0  # type: ignore[attr-defined]  # every binary file of `open` has it
    got, skip = 0, block.skip
    try:
        for part in unpacked(file, "gzip" if block.coding == "deflate" else "bzip2"):
            part, skip = part[skip : skip + len(target) - got], max(0, skip - len(part))
            target[got : got + len(part)] = part
            got += len(part)
            if got == len(target):
                break
    except EOFError:
        pass
    return got


def _from_text(file: BinaryIO, block: RawBlock) -> npt.NDArray[Any]:
    words = file.read().split()
    count = math.prod(block.sizes)
    if len(words) < count:
        raise DecodeError(f"{block.path.name} has fewer numbers than it promises.", code="E_TRUNCATED")
    numbers = np.array(words[:count], dtype=np.float64)
    return numbers.astype(np.dtype(block.dtype).newbyteorder("=")).reshape(block.sizes[::-1])


def volume_values(stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return values as volumes keep them: int16 or int32 where whole numbers fit, else float32."""
    if stored.dtype.kind in "iu":
        low, high = int(stored.min()), int(stored.max())
        for dtype in (np.int16, np.int32):
            if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
                return np.ascontiguousarray(stored, dtype=dtype)
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(stored, dtype=np.float32)


def scaled_values(stored: npt.NDArray[Any], slope: float, intercept: float) -> npt.NDArray[Any]:
    """Return stored values in real units, as `volume_values` has them."""
    if slope == 1.0 and (intercept == 0.0 or (stored.dtype.kind in "iu" and intercept.is_integer())):
        # Widened first, so that the shift cannot wrap.
        return volume_values(stored if intercept == 0.0 else stored.astype(np.int64) + int(intercept))
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(stored * np.float64(slope) + intercept, dtype=np.float32)


def read_head(path: Path) -> bytes:
    """Return the first bytes of a file, enough for any text header.

    Raises
    ------
    InputError
        ``E_FILE`` when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MOST_HEADER)
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror}.", code="E_FILE") from error
