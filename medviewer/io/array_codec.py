"""Arrays as bytes, small and fast: label maps as runs, the rest deflated when that pays.

Written into journals and saved workspaces, so what reads them must not trust them: sizes are checked before memory is
taken, and nothing can unpack to more than its declared shape.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.core.errors import WorkspaceError

#: Below this (a brush dab), compression costs more time than it saves bytes.
_SMALL = 4096
#: Integer arrays above this are tried as runs; finding them takes a few milliseconds per million voxels.
_RUNS_FROM = 4096
_DTYPES = ("|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8")
MAX_BYTES = 32 << 30

Array = npt.NDArray[Any]


def encode(array: Array, compress: bool = True) -> tuple[dict[str, Any], bytes]:
    """Return what `decode` needs to know (JSON-ready) and the bytes.

    Parameters
    ----------
    array : ndarray
        Of any shape; bool, integer or float.
    compress : bool
        False stores the bytes as they are: right for images, which hardly shrink.
    """
    array = np.ascontiguousarray(array)
    dtype = array.dtype.newbyteorder("<")
    array = array.astype(dtype, copy=False)
    if dtype.str not in _DTYPES:
        raise TypeError(f"arrays of {dtype} are not stored")
    meta: dict[str, Any] = {"dtype": dtype.str, "shape": list(array.shape), "coding": "raw"}
    if not compress or array.nbytes < _SMALL:
        return meta, array.tobytes()
    if array.size >= _RUNS_FROM and dtype.str in ("<u2", "|u1"):
        runs = _runs(array.ravel())
        if runs is not None:
            values, lengths = runs
            return meta | {"coding": "runs", "runs": len(values)}, zlib.compress(
                lengths.tobytes() + values.tobytes(), 1
            )
    packed = zlib.compress(array.data, 1)
    if len(packed) < array.nbytes:
        return meta | {"coding": "deflate"}, packed
    return meta, array.tobytes()


def _runs(flat: Array) -> tuple[Array, npt.NDArray[np.uint32]] | None:
    """Return value and length of every run, or None when there are too many for it to pay."""
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    if len(changes) > flat.nbytes // 12 or flat.size > 0xFFFFFFFF:
        return None
    starts = np.concatenate(([0], changes + 1))
    lengths = np.diff(starts, append=flat.size).astype(np.uint32)
    return flat[starts], lengths


def decode(meta: Mapping[str, Any], data: bytes, expected: Sequence[int] | None = None) -> Array:
    """Return the array again, writeable.

    Parameters
    ----------
    meta : mapping
        As `encode` gave it.
    data : bytes
        As `encode` gave them.
    expected : sequence of int, optional
        The shape it must have.

    Raises
    ------
    WorkspaceError
        When it is damaged, or would unpack to something else than it declares.
    """
    try:
        return _decode(meta, data, expected)
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise WorkspaceError("A stored array is damaged.", code="E_DAMAGED") from error


def _decode(meta: Mapping[str, Any], data: bytes, expected: Sequence[int] | None) -> Array:
    shape = tuple(int(n) for n in meta["shape"])
    if meta["dtype"] not in _DTYPES or min(shape, default=0) < 0:
        raise ValueError("unknown type or shape")
    if expected is not None and shape != tuple(expected):
        raise ValueError("unexpected shape")
    dtype = np.dtype(meta["dtype"])
    size = math.prod(shape)
    if size * dtype.itemsize > MAX_BYTES:
        raise ValueError("too large")
    if meta["coding"] == "runs":
        count = int(meta["runs"])
        if not 0 < count <= size:
            raise ValueError("impossible number of runs")
        unpacked = _inflate(data, count * (4 + dtype.itemsize))
        lengths = np.frombuffer(unpacked, dtype="<u4", count=count)
        if int(lengths.sum(dtype=np.uint64)) != size:
            raise ValueError("runs do not fill the array")
        values = np.frombuffer(unpacked, dtype=dtype, count=count, offset=4 * count)
        return np.repeat(values, lengths).reshape(shape)
    unpacked = _inflate(data, size * dtype.itemsize) if meta["coding"] == "deflate" else data
    if meta["coding"] not in ("raw", "deflate") or len(unpacked) != size * dtype.itemsize:
        raise ValueError("wrong length")
    return np.frombuffer(unpacked, dtype=dtype).reshape(shape).copy()


def _inflate(data: bytes, expected: int) -> bytes:
    """Unpack to exactly `expected` bytes; never takes more memory than that."""
    inflater = zlib.decompressobj()
    unpacked = inflater.decompress(data, expected + 1)
    if len(unpacked) != expected or not inflater.eof or inflater.unused_data:
        raise ValueError("wrong length")
    return unpacked
