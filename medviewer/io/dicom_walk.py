"""Walks the elements of a data set in little endian, explicit or implicit, and collects the wanted ones.

The files of a series hardly differ in where their elements stand. So the layout of a file is learnt, and the next one
is only compared with it: every element's tag, VR and length, in one step.

References
----------
DICOM PS3.5 section 7.1 (data elements), 7.5 (nested data sets).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from medviewer.io.dicom_tags import PIXEL_TAGS, SEQUENCES, WANTED

UNDEFINED: Final = 0xFFFFFFFF
_DEEPEST: Final = 64
_MOST_LAYOUTS: Final = 4

# Explicit VR -> whether its length takes four bytes (PS3.5 table 7.1-1).
VR_IS_LONG: Final = dict.fromkeys(
    (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
     b"ST", b"TM", b"UI", b"UL", b"US"), False,
) | dict.fromkeys(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"), True,
)  # fmt: skip
EXPLICIT = struct.Struct("<I2sH").unpack_from
_IMPLICIT = struct.Struct("<II").unpack_from
LENGTH = struct.Struct("<I").unpack_from


def _swapped(tag: int) -> int:
    """Return a tag as its four bytes read as one little-endian number (group in the low half)."""
    return (tag & 0xFFFF) << 16 | tag >> 16


WANTED_RAW: Final = {_swapped(t): t for t in WANTED}
_PIXEL_RAW: Final = frozenset(_swapped(t) for t in PIXEL_TAGS)
_ITEM: Final = _swapped(0xFFFEE000)
_ITEM_END: Final = _swapped(0xFFFEE00D)
_SEQUENCE_END: Final = _swapped(0xFFFEE0DD)


class NotUnderstoodError(Exception):
    """The fast parser met something it does not know to the last byte."""


class CutShortError(NotUnderstoodError):
    """An element reaches beyond the end of the file."""


class Walk:
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
        pos = _layouts.take(self._data, pos, values)
        return self._explicit(pos, values)

    def _explicit(self, pos: int, values: dict[int, bytes]) -> tuple[int, int, int] | None:
        data = self._data
        wanted = WANTED_RAW
        is_long_vr = VR_IS_LONG
        while True:
            if pos + 8 > len(data):
                if self._at_end(pos):
                    return None
                data = self._grow(pos + 8)
            raw, vr, length = EXPLICIT(data, pos)
            is_long = is_long_vr.get(vr)
            start = pos + 8
            if is_long:
                if pos + 12 > len(data):
                    data = self._grow(pos + 12)
                length = LENGTH(data, start)[0]
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
        wanted = WANTED_RAW
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
                _, vr, length = EXPLICIT(self._data, pos)
                is_long = VR_IS_LONG.get(vr)
                if is_long is None:
                    raise NotUnderstoodError
                if is_long:
                    if pos + 12 > len(self._data):
                        self._grow(pos + 12)
                    length = LENGTH(self._data, start)[0]
                    start += 4
                    nested_explicit = vr != b"UN"
            if length == UNDEFINED:
                pos = self._skip_sequence(start, explicit=nested_explicit, depth=depth + 1)
            else:
                pos = start + length


class _Layout:
    """Where the elements of one file stand, up to the first of undefined length or the pixel data."""

    def __init__(self, data: bytes, start: int) -> None:
        heads: list[bytes] = []
        wanted: dict[int, tuple[int, int]] = {}
        sequences: list[int] = []
        pos = start
        head_form = ["<"]
        while pos + 12 <= len(data):
            raw, vr, length = EXPLICIT(data, pos)
            is_long = VR_IS_LONG.get(vr)
            value = pos + 12 if is_long else pos + 8
            if is_long:
                length = LENGTH(data, pos + 8)[0]
            if is_long is None or raw in _PIXEL_RAW or value + length > len(data):
                break
            heads.append(data[pos:value])
            head_form.append(f"{value - pos}s{length}x")
            tag = WANTED_RAW.get(raw)
            if tag is not None and vr == b"SQ":
                sequences.append(tag)
            elif tag is not None:
                wanted.setdefault(tag, (value - start, length))
            pos = value + length
        self.length = pos - start
        self._heads = tuple(heads)
        self._unpack_heads = struct.Struct("".join(head_form)).unpack_from
        self._tags = tuple(wanted)
        self._sequences = dict.fromkeys(sequences, b"")
        self._unpack_values = struct.Struct(_value_form(list(wanted.values()))).unpack_from

    def fits(self, data: bytes, start: int) -> bool:
        """Whether every element of a data set stands as in this layout."""
        return start + self.length <= len(data) and self._unpack_heads(data, start) == self._heads

    def collect(self, data: bytes, start: int, values: dict[int, bytes]) -> int:
        """Collect the wanted values of a data set that fits; return where to walk on."""
        values.update(zip(self._tags, self._unpack_values(data, start), strict=True))
        values.update(self._sequences)
        return start + self.length


def _value_form(places: list[tuple[int, int]]) -> str:
    """Return the struct format that takes values at (offset, length), in rising order, and skips what lies between."""
    form = ["<"]
    at = 0
    for offset, length in places:
        form.append(f"{offset - at}x{length}s")
        at = offset + length
    return "".join(form)


class _Layouts:
    """The layouts of the last files; few are needed, so that a wrong guess costs little."""

    def __init__(self) -> None:
        self._known: tuple[_Layout, ...] = ()
        self._hits = 0
        self._misses = 0

    def take(self, data: bytes, start: int, values: dict[int, bytes]) -> int:
        """Collect values by a known layout; return where to walk on, which is `start` when none fits."""
        for layout in self._known:
            if layout.fits(data, start):
                self._hits += 1
                if layout is not self._known[0]:
                    self._known = (layout, *(other for other in self._known if other is not layout))
                return layout.collect(data, start, values)
        self._misses += 1
        # Where every file differs, learning would cost more than it gives.
        if self._misses < 32 + self._hits // 2:
            layout = _Layout(data, start)
            if layout.length:
                self._known = (layout, *self._known[: _MOST_LAYOUTS - 1])
        return start


_layouts = _Layouts()
