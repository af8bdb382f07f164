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

#: Version 1 did not say that a save was begun, and was never made short.
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


def pack_payload(record: RawRecord) -> bytes:
    """Return what a record holds; images (float or int16) are stored as they are, label maps as runs."""
    descriptions: list[dict[str, Any]] = []
    blobs: list[bytes] = []
    for name, array in record.arrays.items():
        description, blob = encode(array, compress=array.dtype.kind in "bu")
        descriptions.append(description | {"name": name, "length": len(blob)})
        blobs.append(blob)
    head = {"kind": record.kind, "meta": dict(record.meta), "arrays": descriptions}
    return b"".join([_packed_head(head), *blobs])


def frame(number: int, payload: bytes) -> bytes:
    """Return a record as it is appended."""
    return _HEADER.pack(_MARK, number, len(payload), _checksum(number, payload)) + payload


def head_of(payload: bytes) -> dict[str, Any]:
    """Return the kind of a record, its meta, and where its arrays lie."""
    head: dict[str, Any] = json.loads(payload[_META_LENGTH.size : _arrays_start(payload)])
    return head


def with_head(payload: bytes, head: Mapping[str, Any]) -> bytes:
    """Return a record with another head; its arrays stay."""
    return _packed_head(head) + payload[_arrays_start(payload) :]


def _packed_head(head: Mapping[str, Any]) -> bytes:
    text = json.dumps(head, separators=(",", ":"), allow_nan=True).encode()
    return _META_LENGTH.pack(len(text)) + text


def _arrays_start(payload: bytes) -> int:
    (length,) = _META_LENGTH.unpack_from(payload)
    return _META_LENGTH.size + int(length)


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
    for payload, position in read_payloads(file, 0, size):
        try:
            record = _unpack(payload, arrays)
        except (KeyError, TypeError, ValueError, struct.error, WorkspaceError):
            return
        yield record, position


def read_payloads(file: BinaryIO, position: int, size: int, number: int = 0) -> Iterator[tuple[bytes, int]]:
    """Yield what every record holds, up to the first bad one, with the position behind it.

    Parameters
    ----------
    file : BinaryIO
        At `position`.
    position : int
        0, or where a record begins.
    size : int
        Nothing behind it is read.
    number : int
        Of the first record.
    """
    if position == 0:
        magic = file.read(len(MAGIC))
        if magic[:-1] != MAGIC[:-1] or not 1 <= magic[-1] <= FORMAT:
            return
        position = len(MAGIC)
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
        position += _HEADER.size + length
        number += 1
        yield payload, position


def _unpack(payload: bytes, with_arrays: bool) -> RawRecord:
    head = head_of(payload)
    start = _arrays_start(payload)
    arrays: dict[str, npt.NDArray[Any]] = {}
    for description in head["arrays"] if with_arrays else ():
        stop = start + int(description["length"])
        arrays[description["name"]] = decode(description, payload[start:stop])
        start = stop
    return RawRecord(str(head["kind"]), head["meta"], arrays)
