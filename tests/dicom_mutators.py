"""Ways to spoil a good DICOM file, each by bytes or by elements."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

EXPLICIT = b"1.2.840.10008.1.2.1\0"


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    """Return one element in explicit little endian, with a value that may be of any length."""
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"OF"):
        return head + struct.pack("<HI", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def body_start(data: bytes) -> int:
    """Return where the data set of a file with meta information begins."""
    (length,) = struct.unpack_from("<I", data, 140)
    return 144 + int(length)


def place_of(data: bytes, tag: int, start: int | None = None) -> int:
    """Return where an explicit element of the data set begins."""
    found = data.find(struct.pack("<HH", tag >> 16, tag & 0xFFFF), body_start(data) if start is None else start)
    assert found >= 0, hex(tag)
    return found


def with_element(data: bytes, before: int, new: bytes) -> bytes:
    """Return a file with bytes put in before a tag."""
    at = place_of(data, before)
    return data[:at] + new + data[at:]


def with_us(data: bytes, tag: int, value: int) -> bytes:
    """Return a file with another US value."""
    at = place_of(data, tag) + 8
    return data[:at] + struct.pack("<H", value) + data[at + 2 :]


def without_meta(data: bytes) -> bytes:
    """Return the data set alone."""
    return data[body_start(data) :]


def with_syntax(data: bytes, uid: bytes) -> bytes:
    """Return a file whose meta information declares another transfer syntax (of any length)."""
    start = body_start(data)
    meta = data[144:start]
    at = meta.find(struct.pack("<HH", 0x0002, 0x0010))
    (length,) = struct.unpack_from("<H", meta, at + 6)
    uid += b"\0" * (len(uid) % 2)
    meta = meta[:at] + (element(0x00020010, b"UI", uid) if uid else b"") + meta[at + 8 + length :]
    return data[:132] + element(0x00020000, b"UL", struct.pack("<I", len(meta))) + meta + data[start:]


def deflated(data: bytes, extra: bytes = b"") -> bytes:
    """Return a file with its data set deflated, `extra` bytes appended to it first."""
    declared = with_syntax(data, b"1.2.840.10008.1.2.1.99")
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    start = body_start(declared)
    return declared[:start] + packer.compress(declared[start:] + extra) + packer.flush()


def mutants(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Yield spoiled copies: bytes flipped, cut, doubled, swapped, lengths set to extremes."""
    chance = random.Random(seed)
    for _ in range(count):
        spoiled = bytearray(data)
        for _ in range(chance.choice((1, 1, 2, 4, 16))):
            at = chance.randrange(len(spoiled)) if spoiled else 0
            if not spoiled:
                break
            kind = chance.randrange(6)
            if kind == 0:
                spoiled[at] ^= 1 << chance.randrange(8)
            elif kind == 1:
                spoiled[at] = chance.randrange(256)
            elif kind == 2:
                spoiled[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f"))
            elif kind == 3:
                del spoiled[at : at + chance.randrange(1, 64)]
            elif kind == 4:
                spoiled[at:at] = spoiled[at : at + chance.randrange(1, 64)]
            else:
                del spoiled[max(1, at) :]
        yield bytes(spoiled)


def planted(folder: Path, name: str, data: bytes) -> Path:
    """Write bytes to a file and return its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
