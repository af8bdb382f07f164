"""Inflating with a cap: a small file never becomes a large memory."""

from __future__ import annotations

import bz2
import io
import lzma
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, Literal

from medviewer.core.errors import InputError

#: A file of another format may inflate to this many bytes, or `MOST_RATIO` times its size, whichever is more.
MOST_BYTES: Final = 512 * 1024 * 1024
#: A data set may inflate to this many bytes, or `MOST_RATIO` times its size, whichever is more: it lies in memory.
MOST_DATA_SET_BYTES: Final = 64 * 1024 * 1024
MOST_RATIO: Final = 200
_CHUNK: Final = 1024 * 1024
#: A dictionary larger than this is not used by anything that was packed to be opened.
_MOST_DICTIONARY: Final = 128 * 1024 * 1024
Coding = Literal["gzip", "bzip2", "xz"]
_DEFLATED: Final = b"1.2.840.10008.1.2.1.99"


def inflate(data: BinaryIO, compressed_size: int, name: str, *, wbits: int) -> bytes:
    """Inflate the rest of a file.

    Parameters
    ----------
    data : binary file
        Positioned at the first compressed byte.
    compressed_size : int
        Bytes that follow.
    name : str
        For the message.
    wbits : int
        As `zlib.decompressobj` has it: -15 for a raw stream, 31 for gzip.

    Raises
    ------
    InputError
        ``E_BOMB`` when it inflates beyond the cap, ``E_DICOM`` when the stream is broken.
    """
    cap = max(MOST_DATA_SET_BYTES, MOST_RATIO * compressed_size)
    stream = zlib.decompressobj(wbits)
    parts: list[bytes] = []
    total = 0
    try:
        while not stream.eof:
            chunk = stream.unconsumed_tail or data.read(_CHUNK)
            if not chunk:
                break
            parts.append(stream.decompress(chunk, _CHUNK))
            total += len(parts[-1])
            if total > cap:
                raise InputError(
                    f"{name} inflates to more than {cap // 2**20} MB; it was not opened.",
                    hint="If the file is trusted, unpack it with another program first.",
                    code="E_BOMB",
                )
    except zlib.error as error:
        raise InputError(f"{name} cannot be inflated: {error}.", code="E_DICOM") from error
    return b"".join(parts)


def unpacked(file: BinaryIO, coding: Coding) -> Iterator[bytes]:
    """Yield what a packed file holds, piece by piece, never more than a megabyte at once.

    Parameters
    ----------
    coding : str
        "gzip" also reads a zlib stream. Several streams one after the other are read as one.

    Raises
    ------
    EOFError
        When the file ends in the middle of a stream.
    OSError, ValueError, zlib.error, lzma.LZMAError
        When it is broken.
    """
    packed = _next_stream(file, b"")
    while packed:
        stream = _stream(coding)
        while not stream.eof:
            piece = stream.decompress(packed, _CHUNK)
            if piece:
                yield piece
            # zlib hands back what it did not get to; the others keep it.
            packed = getattr(stream, "unconsumed_tail", b"")
            if not packed and not stream.eof and getattr(stream, "needs_input", True):
                packed = file.read(_CHUNK)
                if not packed and not piece:
                    raise EOFError("it is cut short")
        packed = _next_stream(file, stream.unused_data)


def _stream(coding: Coding) -> Any:
    if coding == "gzip":
        return zlib.decompressobj(zlib.MAX_WBITS | 32)
    return bz2.BZ2Decompressor() if coding == "bzip2" else lzma.LZMADecompressor(memlimit=_MOST_DICTIONARY)


def _next_stream(file: BinaryIO, rest: bytes) -> bytes:
    """Return the first bytes of the next stream; zeros between two are padding."""
    while not (rest := rest.lstrip(b"\0")):
        rest = file.read(_CHUNK)
        if not rest:
            break
    return rest


def inflated_dicom(file: BinaryIO, name: str) -> BinaryIO:
    """Return a DICOM file as it is, or, when it is deflated, its data set inflated and marked as not deflated.

    The result starts with preamble and meta information, in which the transfer syntax is that of the inflated bytes,
    so that any reader takes it without inflating by itself.
    """
    head = file.read(4096)
    start = _deflated_start(head)
    if start is None:
        file.seek(0)
        return file
    file.seek(0, io.SEEK_END)
    size = file.tell() - start
    file.seek(start)
    body = inflate(file, size, name, wbits=-zlib.MAX_WBITS)
    # Explicit little endian is the deflated syntax without its last component; UIDs are padded to even length.
    meta = head[:start].replace(_DEFLATED, b"1.2.840.10008.1.2.1\0\0\0")
    return io.BytesIO(meta + body)


def _deflated_start(head: bytes) -> int | None:
    """Return where the deflated stream begins, or None for a file that is not deflated."""
    if head[128:132] != b"DICM" or _DEFLATED not in head[132:]:
        return None
    pos = 132
    syntax = b""
    while pos + 12 <= len(head):
        group, element, vr, length = struct.unpack_from("<HH2sH", head, pos)
        if group != 0x0002:
            break
        start = pos + 8
        if vr in (b"OB", b"UN", b"SQ", b"UT", b"OW"):
            length = struct.unpack_from("<I", head, start)[0]
            start += 4
        if element == 0x0010:
            syntax = head[start : start + length]
        pos = start + length
    return pos if syntax.rstrip(b" \0") == _DEFLATED and pos < len(head) else None
