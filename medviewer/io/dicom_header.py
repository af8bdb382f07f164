"""The data elements needed to list and stack images, read without pixel data.

A small parser of our own reads explicit and implicit little endian up to PixelData, and says where the pixels lie.
Whatever it does not understand to the last byte is left to pydicom (`medviewer.io.dicom_fallback`).

References
----------
DICOM PS3.5 section 7.1 (data elements), PS3.10 section 7.1 (file meta information).
"""

from __future__ import annotations

import os
import re
import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from medviewer.core.errors import InputError

IMPLICIT_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
DEFLATED_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
#: Transfer syntaxes whose pixels lie in the file as they are.
NATIVE_SYNTAXES: Final = frozenset({IMPLICIT_LITTLE_ENDIAN, EXPLICIT_LITTLE_ENDIAN, EXPLICIT_BIG_ENDIAN})

UNDEFINED: Final = 0xFFFFFFFF
_FIRST_READ: Final = 16 * 1024
_MOST_HEADER: Final = 64 * 1024 * 1024
_DEEPEST: Final = 64


class Tag:
    """Tags (group << 16 | element) that are kept, named by their keyword."""

    MEDIA_STORAGE_SOP_CLASS_UID: Final = 0x00020002
    TRANSFER_SYNTAX_UID: Final = 0x00020010
    SPECIFIC_CHARACTER_SET: Final = 0x00080005
    IMAGE_TYPE: Final = 0x00080008
    SOP_CLASS_UID: Final = 0x00080016
    SOP_INSTANCE_UID: Final = 0x00080018
    STUDY_DATE: Final = 0x00080020
    CONTENT_TIME: Final = 0x00080033
    ACQUISITION_TIME: Final = 0x00080032
    ACCESSION_NUMBER: Final = 0x00080050
    MODALITY: Final = 0x00080060
    STUDY_DESCRIPTION: Final = 0x00081030
    SERIES_DESCRIPTION: Final = 0x0008103E
    PATIENT_NAME: Final = 0x00100010
    PATIENT_ID: Final = 0x00100020
    PATIENT_BIRTH_DATE: Final = 0x00100030
    PATIENT_SEX: Final = 0x00100040
    BODY_PART_EXAMINED: Final = 0x00180015
    SLICE_THICKNESS: Final = 0x00180050
    REPETITION_TIME: Final = 0x00180080
    ECHO_TIME: Final = 0x00180081
    INVERSION_TIME: Final = 0x00180082
    ECHO_NUMBERS: Final = 0x00180086
    SPACING_BETWEEN_SLICES: Final = 0x00180088
    TRIGGER_TIME: Final = 0x00181060
    GANTRY_DETECTOR_TILT: Final = 0x00181120
    CONVOLUTION_KERNEL: Final = 0x00181210
    FLIP_ANGLE: Final = 0x00181314
    DIFFUSION_B_VALUE: Final = 0x00189087
    STUDY_INSTANCE_UID: Final = 0x0020000D
    SERIES_INSTANCE_UID: Final = 0x0020000E
    SERIES_NUMBER: Final = 0x00200011
    ACQUISITION_NUMBER: Final = 0x00200012
    INSTANCE_NUMBER: Final = 0x00200013
    IMAGE_POSITION_PATIENT: Final = 0x00200032
    IMAGE_ORIENTATION_PATIENT: Final = 0x00200037
    FRAME_OF_REFERENCE_UID: Final = 0x00200052
    TEMPORAL_POSITION_IDENTIFIER: Final = 0x00200100
    SAMPLES_PER_PIXEL: Final = 0x00280002
    PHOTOMETRIC_INTERPRETATION: Final = 0x00280004
    NUMBER_OF_FRAMES: Final = 0x00280008
    ROWS: Final = 0x00280010
    COLUMNS: Final = 0x00280011
    PIXEL_SPACING: Final = 0x00280030
    BITS_ALLOCATED: Final = 0x00280100
    BITS_STORED: Final = 0x00280101
    HIGH_BIT: Final = 0x00280102
    PIXEL_REPRESENTATION: Final = 0x00280103
    PIXEL_PADDING_VALUE: Final = 0x00280120
    WINDOW_CENTER: Final = 0x00281050
    WINDOW_WIDTH: Final = 0x00281051
    RESCALE_INTERCEPT: Final = 0x00281052
    RESCALE_SLOPE: Final = 0x00281053
    RESCALE_TYPE: Final = 0x00281054
    MODALITY_LUT_SEQUENCE: Final = 0x00283000
    IMAGE_INDEX: Final = 0x00541330
    FRAME_REFERENCE_TIME: Final = 0x00541300
    SHARED_FUNCTIONAL_GROUPS: Final = 0x52009229
    PER_FRAME_FUNCTIONAL_GROUPS: Final = 0x52009230


WANTED: Final = frozenset(v for k, v in vars(Tag).items() if k.isupper())
#: Wanted only for being there; their items are not kept.
SEQUENCES: Final = frozenset({Tag.MODALITY_LUT_SEQUENCE, Tag.SHARED_FUNCTIONAL_GROUPS, Tag.PER_FRAME_FUNCTIONAL_GROUPS})
#: Pixel data elements: float, double float, integer.
PIXEL_TAGS: Final = (0x7FE00008, 0x7FE00009, 0x7FE00010)

# Explicit VR -> whether its length takes four bytes (PS3.5 table 7.1-1).
_VR_IS_LONG: Final = dict.fromkeys(
    (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
     b"ST", b"TM", b"UI", b"UL", b"US"), False,
) | dict.fromkeys(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"), True,
)  # fmt: skip
_EXPLICIT = struct.Struct("<I2sH").unpack_from
_IMPLICIT = struct.Struct("<II").unpack_from
_LENGTH = struct.Struct("<I").unpack_from


def _swapped(tag: int) -> int:
    """Return a tag as its four bytes read as one little-endian number (group in the low half)."""
    return (tag & 0xFFFF) << 16 | tag >> 16


_WANTED_RAW: Final = {_swapped(t): t for t in WANTED}
_PIXEL_RAW: Final = frozenset(_swapped(t) for t in PIXEL_TAGS)
_ITEM: Final = _swapped(0xFFFEE000)
_ITEM_END: Final = _swapped(0xFFFEE00D)
_SEQUENCE_END: Final = _swapped(0xFFFEE0DD)
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*\Z")


class NotUnderstoodError(Exception):
    """The fast parser met something it does not know to the last byte."""


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

    @property
    def sop_class_uid(self) -> str:
        """SOPClassUID, or what the meta information says where that is empty."""
        return self.text(Tag.SOP_CLASS_UID) or self.text(Tag.MEDIA_STORAGE_SOP_CLASS_UID)

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
        text = self.text(tag)
        if not text:
            return None
        parts = text.split("\\")
        if not all(_NUMBER.match(part) for part in parts):
            return None
        return tuple(float(part) for part in parts)

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
        return int(text) if text.isascii() and text.isdigit() and 0 < int(text) < 10**9 else None


def read_header(path: Path) -> Header:
    """Read the header of one DICOM file; a file read lately and unchanged since is answered from memory.

    Raises
    ------
    InputError
        ``E_NOT_DICOM`` when the file is no DICOM file, ``E_DICOM`` when it is a broken one, ``E_BOMB`` when it inflates
        beyond measure, ``E_FILE`` when it cannot be opened.
    """
    try:
        known = _recent.get(path)
        if known is not None:
            return known
        with path.open("rb", buffering=0) as file:
            header = _parse_file(file, path, os.fstat(file.fileno()))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"{path.name} cannot be read: {reason}.", hint="Check the file and its permissions.", code="E_FILE"
        ) from error
    _recent.put(header)
    return header


class _RecentHeaders:
    """Headers of the last scan, so that opening a series does not parse it again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._headers: OrderedDict[Path, Header] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path) -> Header | None:
        header = self._headers.get(path)
        if header is None:
            return None
        status = path.stat()
        return header if (header.file_size, header.mtime_ns) == (status.st_size, status.st_mtime_ns) else None

    def put(self, header: Header) -> None:
        with self._lock:
            self._headers[header.path] = header
            if len(self._headers) > self._most:
                self._headers.popitem(last=False)


_recent = _RecentHeaders(8192)


def _parse_file(file: BinaryIO, path: Path, status: os.stat_result) -> Header:
    size = status.st_size
    head = file.read(min(size, _FIRST_READ))
    if head[128:132] != b"DICM" and not looks_like_dicom(head):
        raise InputError(f"{path.name} is not a DICOM file.", code="E_NOT_DICOM")
    try:
        return _parse_fast(file, head, path, status)
    except NotUnderstoodError:
        from medviewer.io.dicom_fallback import parse_with_pydicom

        return parse_with_pydicom(path, status)


def looks_like_dicom(head: bytes) -> bool:
    """Whether bytes without preamble plausibly begin a data set: a low first tag, then a VR or a short length."""
    if len(head) < 16:
        return False
    group, element, vr, length = struct.unpack_from("<HH2sH", head)
    if group == 0x0800 and element in (0x0100, 0x0500, 0x0800, 0x1600, 0x1800):  # big endian
        return head[4:6] in _VR_IS_LONG
    if group not in (0x0002, 0x0008) or element > 0x0100:
        return False
    return vr in _VR_IS_LONG or (length == 0 and 0 < _LENGTH(head, 4)[0] < 256)


def _parse_fast(file: BinaryIO, head: bytes, path: Path, status: os.stat_result) -> Header:
    """Parse a file with preamble and meta information in one of the little-endian syntaxes."""
    if head[128:132] != b"DICM":
        raise NotUnderstoodError
    values: dict[int, bytes] = {}
    start = _parse_meta(head, values)
    syntax = values[Tag.TRANSFER_SYNTAX_UID].decode("latin-1").rstrip(" \0")
    if syntax == EXPLICIT_BIG_ENDIAN:
        raise NotUnderstoodError
    if syntax == DEFLATED_LITTLE_ENDIAN:
        file.seek(start)
        more_inflated = _inflater(file.read)
        walk = _Walk(more_inflated(b"", _FIRST_READ), more_inflated)
        return _header(path, status, syntax, values, walk.explicit(0, values))

    def more(data: bytes, needed: int) -> bytes:
        if needed > min(status.st_size, _MOST_HEADER):
            raise NotUnderstoodError
        file.seek(len(data))
        return data + file.read(max(needed, 4 * len(data)) - len(data))

    walk = _Walk(head, more)
    pixel = walk.implicit(start, values) if syntax == IMPLICIT_LITTLE_ENDIAN else walk.explicit(start, values)
    return _header(path, status, syntax, values, pixel)


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
        raw, vr, length = _EXPLICIT(head, pos)
        if raw & 0xFFFF != 0x0002:
            break
        is_long = _VR_IS_LONG.get(vr)
        if is_long is None:
            raise NotUnderstoodError
        start = pos + 8
        if is_long:
            length = _LENGTH(head, start)[0]
            start += 4
        pos = start + length
        if raw in _WANTED_RAW:
            values[_WANTED_RAW[raw]] = head[start:pos]
    if not values.get(Tag.TRANSFER_SYNTAX_UID) or pos + 12 > len(head):
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


class _Walk:
    """Walks the elements of a data set in a prefix of the file that grows when it is too short."""

    def __init__(self, data: bytes, more: Callable[[bytes, int], bytes]) -> None:
        self._data = data
        self._more = more

    def _grow(self, needed: int) -> bytes:
        """Return a prefix of at least `needed` bytes; the file is known to be too short otherwise."""
        self._data = self._more(self._data, needed)
        if len(self._data) < needed:
            raise NotUnderstoodError
        return self._data

    def _at_end(self, pos: int) -> bool:
        """Whether the data set ends exactly at `pos`."""
        if pos < len(self._data):
            return False
        if pos > len(self._data):
            self._grow(pos)
        try:
            self._data = self._more(self._data, pos + 1)
        except NotUnderstoodError:
            return True
        return len(self._data) == pos

    def explicit(self, pos: int, values: dict[int, bytes]) -> tuple[int, int, int] | None:
        """Collect wanted elements up to the pixel data; return (offset, length, tag) of that."""
        data = self._data
        wanted = _WANTED_RAW
        is_long_vr = _VR_IS_LONG
        while True:
            if pos + 8 > len(data):
                if self._at_end(pos):
                    return None
                data = self._grow(pos + 8)
            raw, vr, length = _EXPLICIT(data, pos)
            is_long = is_long_vr.get(vr)
            start = pos + 8
            if is_long:
                if pos + 12 > len(data):
                    data = self._grow(pos + 12)
                length = _LENGTH(data, start)[0]
                start += 4
            elif is_long is None:
                raise NotUnderstoodError
            if raw in _PIXEL_RAW:
                return start, length, _swapped(raw)
            if length == UNDEFINED:
                pos = self._skip_sequence(start, explicit=vr != b"UN", depth=0)
                data = self._data
                if raw in wanted:
                    values.setdefault(wanted[raw], b"")
                continue
            pos = start + length
            if raw in wanted:
                if pos > len(data):
                    data = self._grow(pos)
                values.setdefault(wanted[raw], b"" if vr == b"SQ" else data[start:pos])

    def implicit(self, pos: int, values: dict[int, bytes]) -> tuple[int, int, int] | None:
        """Like `explicit`, for implicit VR."""
        data = self._data
        wanted = _WANTED_RAW
        last = 0
        while True:
            if pos + 8 > len(data):
                if self._at_end(pos):
                    return None
                data = self._grow(pos + 8)
            raw, length = _IMPLICIT(data, pos)
            start = pos + 8
            if raw in _PIXEL_RAW:
                return start, length, _swapped(raw)
            # Without VRs only the rising order tells a data set from noise, or from explicit VR.
            tag = (raw & 0xFFFF) << 16 | raw >> 16
            if tag <= last:
                raise NotUnderstoodError
            last = tag
            if length == UNDEFINED:
                pos = self._skip_sequence(start, explicit=False, depth=0)
                data = self._data
                if raw in wanted:
                    values.setdefault(tag, b"")
                continue
            pos = start + length
            if raw in wanted:
                if pos > len(data):
                    data = self._grow(pos)
                values.setdefault(tag, b"" if tag in SEQUENCES else data[start:pos])

    def _skip_sequence(self, pos: int, *, explicit: bool, depth: int) -> int:
        """Return the position behind a sequence of undefined length."""
        if depth > _DEEPEST:
            raise NotUnderstoodError
        while True:
            if pos + 8 > len(self._data):
                self._grow(pos + 8)
            raw, length = _IMPLICIT(self._data, pos)
            pos += 8
            if raw == _SEQUENCE_END:
                return pos
            if raw != _ITEM:
                raise NotUnderstoodError
            pos = self._skip_item(pos, explicit=explicit, depth=depth) if length == UNDEFINED else pos + length

    def _skip_item(self, pos: int, *, explicit: bool, depth: int) -> int:
        """Return the position behind an item of undefined length."""
        while True:
            if pos + 8 > len(self._data):
                self._grow(pos + 8)
            raw, length = _IMPLICIT(self._data, pos)
            if raw == _ITEM_END:
                return pos + 8
            nested_explicit = explicit
            start = pos + 8
            if explicit:
                _, vr, length = _EXPLICIT(self._data, pos)
                is_long = _VR_IS_LONG.get(vr)
                if is_long is None:
                    raise NotUnderstoodError
                if is_long:
                    if pos + 12 > len(self._data):
                        self._grow(pos + 12)
                    length = _LENGTH(self._data, start)[0]
                    start += 4
                    nested_explicit = vr != b"UN"
            if length == UNDEFINED:
                pos = self._skip_sequence(start, explicit=nested_explicit, depth=depth + 1)
            else:
                pos = start + length
