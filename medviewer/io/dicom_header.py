"""The data elements needed to list and stack images, read without pixel data.

A small parser of our own reads explicit and implicit little endian up to PixelData, and says where the pixels lie.
Whatever it does not understand to the last byte is left to pydicom (`medviewer.io.dicom_fallback`).

References
----------
DICOM PS3.5 section 7.1 (data elements), PS3.10 section 7.1 (file meta information).
"""

from __future__ import annotations

import math
import os
import re
import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from medviewer.core.dicom_ref import SeriesWarning
from medviewer.core.errors import InputError
from medviewer.io.dicom_tags import (
    DEFLATED_LITTLE_ENDIAN,
    EXPLICIT_BIG_ENDIAN,
    EXPLICIT_LITTLE_ENDIAN,
    IMPLICIT_LITTLE_ENDIAN,
    NATIVE_SYNTAXES,
    Tag,
)
from medviewer.io.dicom_walk import (
    EXPLICIT,
    LENGTH,
    UNDEFINED,
    VR_IS_LONG,
    WANTED_RAW,
    CutShortError,
    NotUnderstoodError,
    Walk,
)
from medviewer.io.preamble import FOREIGN_PREAMBLE, is_foreign

_OPEN: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0)
_FIRST_READ: Final = 8 * 1024
_MOST_HEADER: Final = 64 * 1024 * 1024
_NUMBER: Final = r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?\s*"
_NUMBERS: Final = re.compile(rf"{_NUMBER}(?:\\{_NUMBER})*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Tile:
    """Where a slice lies in a picture of many: its first row and column, and the rows and columns of the picture."""

    top: int
    left: int
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class Header:
    """What one DICOM file says about its image, and where its pixels lie.

    Attributes
    ----------
    values : mapping
        Tag -> bytes as they stand in the file; sequences are present with no bytes.
    big_endian : bool
        Byte order of binary values and pixels.
    pixel_offset, pixel_length : int or None
        First byte and declared length of the pixel data element's value; the length is None for encapsulated pixels,
        both are None for an object without pixel data. For a deflated file they count in the inflated stream.
    pixel_tag : int or None
        Which of `PIXEL_TAGS` it is.
    frame : int or None
        For one frame of a multi-frame file (`medviewer.io.dicom_frames`): which, counted from 0. Its `values` are those
        of the frame, and uncompressed pixels are its own.
    film : bool
        For one frame of a multi-frame file whose frames do not each have a place of their own.
    in_words : bool
        Big-endian pixels of VR OW: samples of 8 bits lie in words, their bytes exchanged (PS3.5 section 8.2).
    tile : Tile or None
        For one slice of a mosaic (`medviewer.io.dicom_mosaic`), whose number `frame` is: the pixels are those of the
        whole picture, and the slice is a part of them.
    notes : tuple of SeriesWarning
        What was missing or contradictory about the encoding: ``W_NO_META``, ``W_GUESSED_SYNTAX``, ``W_PREAMBLE``.
    """

    path: Path
    file_size: int
    mtime_ns: int
    transfer_syntax_uid: str
    values: Mapping[int, bytes]
    big_endian: bool = False
    pixel_offset: int | None = None
    pixel_length: int | None = None
    pixel_tag: int | None = None
    frame: int | None = None
    film: bool = False
    in_words: bool = False
    tile: Tile | None = None
    notes: tuple[SeriesWarning, ...] = ()

    @property
    def sop_class_uid(self) -> str:
        """SOPClassUID, or what the meta information says where that is empty."""
        return self.text(Tag.SOP_CLASS_UID) or self.text(Tag.MEDIA_STORAGE_SOP_CLASS_UID)

    @property
    def image_type(self) -> tuple[str, ...]:
        """Values of ImageType, in capitals."""
        return _capitals(self.values.get(Tag.IMAGE_TYPE, b""))

    @property
    def has_pixels(self) -> bool:
        """Whether the object has pixel data."""
        return self.pixel_offset is not None

    @property
    def is_native(self) -> bool:
        """Whether the pixels lie in the file uncompressed."""
        return self.pixel_length is not None and self.transfer_syntax_uid in NATIVE_SYNTAXES

    def text(self, tag: int) -> str:
        """Return a value of the default character repertoire, stripped; empty when absent."""
        value = self.values.get(tag)
        return value.decode("latin-1").strip(" \0\r\n\t") if value else ""

    def numbers(self, tag: int) -> tuple[float, ...] | None:
        """Return the finite numbers of a DS or IS value; None when absent or not all numbers."""
        value = self.values.get(tag)
        if not value:
            return None
        # What is longer than any position or orientation is not worth remembering.
        return _known_numbers(value) if len(value) <= _SHORT else _numbers(value)

    def number(self, tag: int) -> float | None:
        """Return the first number of a DS or IS value."""
        numbers = self.numbers(tag)
        return numbers[0] if numbers else None

    def integer(self, tag: int, *, signed: bool = False) -> int | None:
        """Return a US, SS (or UL) value; None when absent or of another length."""
        value = self.values.get(tag)
        if value is None or len(value) not in (2, 4):
            return None
        return int.from_bytes(value, "big" if self.big_endian else "little", signed=signed)

    @property
    def frames(self) -> int | None:
        """NumberOfFrames; 1 when absent, None when it is not a positive whole number."""
        text = self.text(Tag.NUMBER_OF_FRAMES)
        if not text:
            return 1
        # An IS has up to 12 characters; Python refuses to read thousands.
        return int(text) if len(text) <= 12 and text.isascii() and text.isdigit() and 0 < int(text) < 10**9 else None


_SHORT: Final = 256


def _numbers(value: bytes) -> tuple[float, ...] | None:
    text = value.decode("latin-1").strip(" \0\r\n\t")
    if not _NUMBERS.fullmatch(text):
        return None
    numbers = tuple(map(float, text.split("\\")))
    return numbers if all(map(math.isfinite, numbers)) else None


#: Slices of a series share most values, and those of their own are asked for again when the series is opened.
_known_numbers = lru_cache(16384)(_numbers)


@lru_cache(256)
def _capitals(value: bytes) -> tuple[str, ...]:
    return tuple(word.strip(" \0") for word in value.decode("latin-1").upper().split("\\"))


def read_header(path: Path) -> Header:
    """Read the header of one DICOM file; a file read lately and unchanged since is answered from memory.

    Raises
    ------
    InputError
        ``E_NOT_DICOM`` when the file is no DICOM file, ``E_DICOM`` when it is a broken one, ``E_BOMB`` when it inflates
        beyond measure, ``E_FILE`` when it cannot be opened.
    """
    try:
        # Text and a descriptor: with thousands of files, hashes of paths and file objects are a third of the time.
        name = os.fspath(path)
        known = _recent.get(name)
        if known is not None:
            return known
        file = os.open(name, _OPEN)
        try:
            header = _parse_file(file, path, os.fstat(file))
        finally:
            os.close(file)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"{path.name} cannot be read: {reason}.", hint="Check the file and its permissions.", code="E_FILE"
        ) from error
    _recent.put(name, header)
    return header


class _RecentHeaders:
    """Headers of the last scan, so that opening a series does not parse it again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._headers: OrderedDict[str, Header] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: str) -> Header | None:
        header = self._headers.get(path)
        if header is None:
            return None
        status = os.stat(path)
        return header if (header.file_size, header.mtime_ns) == (status.st_size, status.st_mtime_ns) else None

    def put(self, path: str, header: Header) -> None:
        with self._lock:
            self._headers[path] = header
            if len(self._headers) > self._most:
                self._headers.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._headers.clear()


_recent = _RecentHeaders(8192)


def forget_headers() -> None:
    """Forget every header read so far."""
    _recent.clear()


def _parse_file(file: int, path: Path, status: os.stat_result) -> Header:
    size = status.st_size
    head = os.read(file, min(size, _FIRST_READ))
    if head[128:132] != b"DICM" and not looks_like_dicom(head):
        raise InputError(f"{path.name} is not a DICOM file.", code="E_NOT_DICOM")
    header = _parse_head(file, head, path, status)
    return replace(header, notes=(*header.notes, FOREIGN_PREAMBLE)) if is_foreign(head) else header


def _parse_head(file: int, head: bytes, path: Path, status: os.stat_result) -> Header:
    try:
        return _parse_fast(file, head, path, status)
    except NotUnderstoodError as reason:
        from medviewer.io.dicom_fallback import parse_with_pydicom

        header = parse_with_pydicom(path, status)
        if isinstance(reason, CutShortError) and not header.has_pixels:
            raise InputError(f"{path.name} ends in the middle of its header.", code="E_TRUNCATED") from reason
        return header


def looks_like_dicom(head: bytes) -> bool:
    """Whether bytes without preamble plausibly begin a data set: a low first tag, then a VR or a short length."""
    if len(head) < 16:
        return False
    group, element, vr, length = struct.unpack_from("<HH2sH", head)
    if group == 0x0800 and element in (0x0100, 0x0500, 0x0800, 0x1600, 0x1800):  # big endian
        return head[4:6] in VR_IS_LONG
    if group not in (0x0002, 0x0008) or element > 0x0100:
        return False
    return vr in VR_IS_LONG or (length == 0 and 0 < LENGTH(head, 4)[0] < 256)


def _parse_fast(file: int, head: bytes, path: Path, status: os.stat_result) -> Header:
    """Parse a file with preamble and meta information in one of the little-endian syntaxes."""
    if head[128:132] != b"DICM":
        raise NotUnderstoodError
    values: dict[int, bytes] = {}
    start = _parse_meta(head, values)
    declared = values[Tag.TRANSFER_SYNTAX_UID].decode("latin-1").rstrip(" \0")
    syntax = _true_syntax(declared, head, start)
    if syntax == EXPLICIT_BIG_ENDIAN:
        raise NotUnderstoodError
    if syntax == DEFLATED_LITTLE_ENDIAN:
        os.lseek(file, start, os.SEEK_SET)
        more_inflated = _inflater(partial(os.read, file))
        walk = Walk(more_inflated(b"", _FIRST_READ), more_inflated)
        return _header(path, status, syntax, values, walk.explicit(0, values))

    def more(data: bytes, needed: int) -> bytes:
        if needed > status.st_size:
            raise CutShortError
        if needed > _MOST_HEADER:
            raise NotUnderstoodError
        os.lseek(file, len(data), os.SEEK_SET)
        return data + os.read(file, max(needed, 4 * len(data)) - len(data))

    walk = Walk(head, more)
    pixel = walk.implicit(start, values) if syntax == IMPLICIT_LITTLE_ENDIAN else walk.explicit(start, values)
    if syntax == declared:
        return _header(path, status, syntax, values, pixel)
    values[Tag.TRANSFER_SYNTAX_UID] = syntax.encode()
    return replace(_header(path, status, syntax, values, pixel), notes=(GUESSED_SYNTAX,))


#: What is said about a file whose encoding had to be guessed.
GUESSED_SYNTAX: Final = SeriesWarning(
    "W_GUESSED_SYNTAX", "How the data are encoded is not declared, or declared wrongly; it was found out by trying."
)
NO_META: Final = SeriesWarning("W_NO_META", "There is no preamble or meta information; the encoding was found out.")


def _true_syntax(declared: str, head: bytes, start: int) -> str:
    """Return explicit or implicit little endian where the first element shows that the other one is declared."""
    if declared not in (IMPLICIT_LITTLE_ENDIAN, EXPLICIT_LITTLE_ENDIAN):
        return declared
    if head[start + 4 : start + 6] in VR_IS_LONG:
        return EXPLICIT_LITTLE_ENDIAN
    # A length of the first element, which is always a short one.
    return IMPLICIT_LITTLE_ENDIAN if LENGTH(head, start + 4)[0] < _FIRST_READ else declared


def _header(
    path: Path, status: os.stat_result, syntax: str, values: dict[int, bytes], pixel: tuple[int, int, int] | None
) -> Header:
    offset, length, tag = pixel or (None, None, None)
    declared = None if length == UNDEFINED else length
    return Header(path, status.st_size, status.st_mtime_ns, syntax, values, False, offset, declared, tag)


def _parse_meta(head: bytes, values: dict[int, bytes]) -> int:
    """Collect the wanted meta elements; return where the data set starts."""
    pos = 132
    while pos + 12 <= len(head):
        raw, vr, length = EXPLICIT(head, pos)
        if raw & 0xFFFF != 0x0002:
            break
        is_long = VR_IS_LONG.get(vr)
        if is_long is None:
            raise NotUnderstoodError
        start = pos + 8
        if is_long:
            length = LENGTH(head, start)[0]
            start += 4
        pos = start + length
        if raw in WANTED_RAW:
            values[WANTED_RAW[raw]] = head[start:pos]
    if pos + 12 > len(head):
        # Less than a first read is the whole file.
        raise CutShortError if len(head) < _FIRST_READ else NotUnderstoodError
    if not values.get(Tag.TRANSFER_SYNTAX_UID):
        raise NotUnderstoodError
    return pos


def _inflater(read: Callable[[int], bytes]) -> Callable[[bytes, int], bytes]:
    """Return a `more(data, needed)` that inflates only as much of a raw deflate stream as is asked for."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)

    def more(data: bytes, needed: int) -> bytes:
        if needed > _MOST_HEADER:
            raise InputError("The header inflates beyond measure.", code="E_BOMB")
        parts = [data]
        missing = max(needed - len(data), _FIRST_READ)
        while missing > 0 and not stream.eof:
            chunk = stream.unconsumed_tail or read(_FIRST_READ)
            if not chunk:
                break
            try:
                parts.append(stream.decompress(chunk, missing))
            except zlib.error as error:
                raise NotUnderstoodError from error
            missing -= len(parts[-1])
        return b"".join(parts)

    return more
