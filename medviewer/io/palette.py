"""The Palette Color Lookup Table: from stored values to colours, plain or in segments.

References
----------
DICOM PS3.3 C.7.6.3.1.5 and C.7.6.3.1.6 (descriptor and data), C.7.9.2 (segmented data).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medviewer.core.volume import ColorArray
from medviewer.io.dicom_elements import read_elements, refused
from medviewer.io.dicom_header import Header
from medviewer.io.dicom_tags import Tag

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_COLORS = ("Red", "Green", "Blue")


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """A table of colours.

    Attributes
    ----------
    first : int
        Stored value of the first entry; smaller ones get the first entry, values beyond the end the last.
    colors : shape (n, 3), uint8
    """

    first: int
    colors: ColorArray

    def __call__(self, stored: npt.NDArray[Any]) -> ColorArray:
        """Return the colours (..., 3) of stored values."""
        last = len(self.colors) - 1
        index = np.clip(stored.astype(np.int64) - self.first, 0, last)
        return self.colors[index]


def palette(header: Header) -> Palette:
    """Return the table of a file.

    Raises
    ------
    DecodeError
        ``E_PALETTE`` when it has none that can be used.
    """
    signed = header.integer(Tag.PIXEL_REPRESENTATION) == 1
    return _read(header.path, header.mtime_ns, signed, header.big_endian)


@lru_cache(maxsize=16)
def _read(path: Path, mtime_ns: int, signed: bool, big_endian: bool) -> Palette:
    """Read the table of a file, once for all its frames; the time of its last change is part of the key."""
    keywords = [f"{color}PaletteColorLookupTable{part}" for color in _COLORS for part in ("Descriptor", "Data")]
    keywords += [f"Segmented{color}PaletteColorLookupTableData" for color in _COLORS]
    with refused(path, "has a colour palette that cannot be used", "E_PALETTE"):
        dataset = read_elements(path, [*keywords, "PixelRepresentation"])
        tables = [_table(dataset, color, big_endian=big_endian) for color in _COLORS]
        first = int(dataset["RedPaletteColorLookupTableDescriptor"].value[1])
        return Palette(_whole(first, signed=signed), _to_bytes(tables))


def _whole(first: int, *, signed: bool) -> int:
    """Return the first mapped value, whose sign is that of the pixels."""
    return (first + 32768) % 65536 - 32768 if signed else first % 65536


def _table(dataset: Dataset, color: str, *, big_endian: bool) -> npt.NDArray[np.int64]:
    """Return the entries of one colour as they are stored."""
    count, _, bits = (int(v) for v in dataset[f"{color}PaletteColorLookupTableDescriptor"].value)
    count = count % 65536 or 65536
    if bits not in (8, 16):
        raise ValueError("entries of neither 8 nor 16 bits")
    order = ">" if big_endian else "<"
    plain = dataset.get(f"{color}PaletteColorLookupTableData")
    if plain is not None:
        # Eight-bit entries may lie in bytes or in words.
        wide = bits == 16 or len(plain) >= 2 * count
        values = np.frombuffer(plain, f"{order}u2" if wide else "u1").astype(np.int64)
        if bits == 8 and not wide and big_endian:
            values = np.frombuffer(np.frombuffer(plain, ">u2").astype("<u2").tobytes(), "u1").astype(np.int64)
    else:
        data = dataset[f"Segmented{color}PaletteColorLookupTableData"].value
        words = np.frombuffer(data, f"{order}u2" if bits == 16 else "u1").astype(np.int64)
        values = np.array(_unfolded(words.tolist(), count, 2 if bits == 16 else 1), np.int64)
    if len(values) < count:
        raise ValueError("table too short")
    return values[:count]


def _to_bytes(tables: Sequence[npt.NDArray[np.int64]]) -> ColorArray:
    if len({len(table) for table in tables}) != 1:
        raise ValueError("tables of different lengths")
    colors = np.stack(tables, axis=1)
    # Tables of eight bits are often declared as sixteen; what is in the entries tells.
    return (colors if int(colors.max()) <= 255 else colors >> 8).astype(np.uint8)


def _unfolded(words: Sequence[int], count: int, width: int) -> list[int]:
    """Return the entries of segmented data, no more than a segment beyond `count`.

    A segment is discrete (0: its values), linear (1: up to an end value) or indirect (2: segments at a byte offset).
    """
    values: list[int] = []

    def take(at: int, *, nested: bool) -> int:
        kind, length = words[at], words[at + 1]
        if kind == 0:
            values.extend(words[at + 2 : at + 2 + length])
            return at + 2 + length
        if kind == 1:
            steps = np.linspace(values[-1], words[at + 2], length + 1)[1:]
            values.extend(int(value) for value in np.rint(steps))
            return at + 3
        if kind != 2 or nested:
            raise ValueError("a segment of an unknown kind")
        # Four bytes, the low ones first.
        place = sum(words[at + 2 + n] << (8 * width * n) for n in range(4 // width)) // width
        for _ in range(length):
            if len(values) >= count:
                break
            place = take(place, nested=True)
        return at + 2 + 4 // width

    at = 0
    while at + 1 < len(words) and len(values) < count:
        at = take(at, nested=False)
    return values
