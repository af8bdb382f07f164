"""How a journal looks on disk: a mark, then records, each with its number, its length and a CRC-32.

A record is good when its mark, number, length and checksum are. Everything before the first bad one is good, because
every record was on the disk before the next one was written.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy.typing as npt

from medviewer.core.errors import WorkspaceError
from medviewer.io.array_codec import decode, encode

#: Version 1 did not say that a save was begun.
FORMAT = 2
MAGIC = b"MVJRNL\x00" + bytes([FORMAT])
_MARK = b"MvRc"
_HEADER = struct.Struct("<4sIQI")
_META_LENGTH = struct.Struct("<I")
#: No record is larger: a length above it is damage, and no memory is taken for it.
MAX_RECORD = 16 << 30


@dataclass(frozen=True, slots=True, eq=False)
class RawRecord:
    """One record: its kind, JSON-ready values, arrays."""

    kind: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


def pack_record(number: int, record: RawRecord) -> bytes:
    """Return a record as it is appended; images (float or int16) are stored as they are, label maps as runs."""
    descriptions: list[dict[str, Any]] = []
    blobs: list[bytes] = []
    for name, array in record.arrays.items():
        description, blob = encode(array, compress=array.dtype.kind in "bu")
        descriptions.append(description | {"name": name, "length": len(blob)})
        blobs.append(blob)
    head = {"kind": record.kind, "meta": dict(record.meta), "arrays": descriptions}
    text = json.dumps(head, separators=(",", ":"), allow_nan=True).encode()
    payload = b"".join([_META_LENGTH.pack(len(text)), text, *blobs])
    return _HEADER.pack(_MARK, number, len(payload), _checksum(number, payload)) + payload


def _checksum(number: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(number.to_bytes(4, "little")))


def read_records(file: BinaryIO, size: int, arrays: bool = True) -> Iterator[tuple[RawRecord, int]]:
    """Yield every record up to the first bad one, with the position behind it.

    Parameters
    ----------
    file : BinaryIO
        At its start.
    size : int
        The file's length in bytes.
    arrays : bool
        False leaves the arrays out: enough to count steps.
    """
    position = len(MAGIC)
    magic = file.read(position)
    if magic[:-1] != MAGIC[:-1] or not 1 <= magic[-1] <= FORMAT:
        return
    number = 0
    while True:
        head = file.read(_HEADER.size)
        if len(head) < _HEADER.size:
            return
        mark, found, length, checksum = _HEADER.unpack(head)
        rest = size - position - _HEADER.size
        if mark != _MARK or found != number or length > min(rest, MAX_RECORD):
            return
        payload = file.read(length)
        if len(payload) < length or _checksum(number, payload) != checksum:
            return
        try:
            record = _unpack(payload, arrays)
        except (KeyError, TypeError, ValueError, struct.error, WorkspaceError):
            return
        position += _HEADER.size + length
        number += 1
        yield record, position


def _unpack(payload: bytes, with_arrays: bool) -> RawRecord:
    (length,) = _META_LENGTH.unpack_from(payload)
    start = _META_LENGTH.size + length
    head = json.loads(payload[_META_LENGTH.size : start])
    arrays: dict[str, npt.NDArray[Any]] = {}
    for description in head["arrays"] if with_arrays else ():
        stop = start + int(description["length"])
        arrays[description["name"]] = decode(description, payload[start:stop])
        start = stop
    return RawRecord(str(head["kind"]), head["meta"], arrays)
