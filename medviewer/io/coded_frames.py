"""Compressed frames in a file: where the stream of each lies, found from the headers of the fragments alone.

References
----------
DICOM PS3.5 annex A.4 (encapsulated pixel data: basic offset table, fragments, sequence delimiter).
"""

from __future__ import annotations

import struct
from typing import BinaryIO, Final

from medviewer.core.errors import DecodeError

_ITEM: Final = 0xFFFEE000
_SEQUENCE_END: Final = 0xFFFEE0DD
_END_OF_STREAM: Final = b"\xff\xd9"
#: Offset and length of the value of an item.
_Item = tuple[int, int]


class EncapsulatedFrames:
    """The frames of one pixel data element.

    Parameters
    ----------
    file : binary file
        Stays with the caller.
    start : int
        First byte of the element's value.
    frames : int
        How many are declared.
    name : str
        Of the file, for messages.

    Raises
    ------
    DecodeError
        ``E_TRUNCATED`` when the file ends within a fragment, ``E_CODEC`` when the items are broken.
    """

    def __init__(self, file: BinaryIO, start: int, frames: int, name: str) -> None:
        self._file = file
        self._start = start
        self._frames = frames
        self._name = name
        items = self._walk()
        self._groups = self._grouped(items[1:], self._read(*items[0]))

    def _walk(self) -> list[_Item]:
        """Return (offset, length) of the value of every item; the first is the basic offset table."""
        size = self._file.seek(0, 2)
        items: list[_Item] = []
        position = self._start
        while position + 8 <= size:
            self._file.seek(position)
            group, element, length = struct.unpack("<HHI", self._file.read(8))
            tag = group << 16 | element
            if tag == _SEQUENCE_END:
                break
            if tag != _ITEM:
                raise DecodeError(f"{self._name} has broken fragments of compressed pixels.")
            position += 8
            if position + length > size:
                missing = position + length - size
                raise DecodeError(f"{self._name} ends {missing} bytes too early.", code="E_TRUNCATED")
            items.append((position, length))
            position += length
        if len(items) < 2:
            raise DecodeError(f"{self._name} has no compressed pixels.", code="E_PIXEL_LENGTH")
        return items

    def _read(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(length)

    def frame(self, index: int) -> bytes:
        """Return the stream of one frame, counted from 0."""
        if index >= len(self._groups):
            raise DecodeError(f"{self._name} has only {len(self._groups)} frames.", code="E_PIXEL_LENGTH")
        return b"".join(self._read(*item) for item in self._groups[index])

    def _grouped(self, fragments: list[_Item], offsets: bytes) -> list[list[_Item]]:
        """Return the fragments of each frame: one each, or by the offset table, or by where streams end."""
        if self._frames == 1:
            return [fragments]
        if len(fragments) == self._frames:
            return [[fragment] for fragment in fragments]
        table = struct.unpack_from(f"<{len(offsets) // 4}I", offsets)
        # Offsets count from the tag of the first fragment.
        starts = {fragments[0][0] + offset for offset in table}
        for ends in ([fragments[n + 1][0] in starts for n in range(len(fragments) - 1)], map(self._ends, fragments)):
            groups: list[list[_Item]] = [[]]
            for fragment, is_last in zip(fragments, (*ends, True), strict=False):
                groups[-1].append(fragment)
                if is_last:
                    groups.append([])
            if len(groups) == self._frames + 1 and not groups[-1]:
                return groups[:-1]
        raise DecodeError(
            f"{self._name} declares {self._frames} frames and has {len(fragments)} pieces of them; which belong "
            "together is not said.",
            code="E_PIXEL_LENGTH",
        )

    def _ends(self, fragment: _Item) -> bool:
        """Whether a fragment ends with the marker that ends JPEG streams of all kinds."""
        offset, length = fragment
        return _END_OF_STREAM in self._read(offset + max(0, length - 3), min(length, 3))
