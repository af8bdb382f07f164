"""Gzip, bzip2 and xz: one packed file, or a tar archive packed as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import PurePath
from typing import BinaryIO, Final

from medviewer.io.archive_rules import ArchiveFile, Member, too_much
from medviewer.io.archive_tar import looks_like_tar, members_of_stream
from medviewer.io.inflate import Coding, unpacked

MAGIC: Final[dict[bytes, Coding]] = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
_SUFFIXES: Final = (".gz", ".bz2", ".xz")
_TAR_HEADER: Final = 512


def coding_of(head: bytes) -> Coding | None:
    """Return how a file is packed, by its first bytes."""
    return next((coding for magic, coding in MAGIC.items() if head.startswith(magic)), None)


def members(archive: ArchiveFile) -> Iterator[Member]:
    """Yield what is packed, while it is unpacked."""
    coding = coding_of(archive.file.read(8))
    assert coding is not None
    archive.file.seek(0)
    stream = _Unpacked(archive, archive.file, coding)
    head = stream.peek(_TAR_HEADER)
    if looks_like_tar(head):
        yield from members_of_stream(stream)
        return
    name = PurePath(archive.name)
    yield Member(name.stem if name.suffix.lower() in _SUFFIXES else name.name, None, lambda: nullcontext(stream))


class _Unpacked:
    """Unpacked bytes as something to read from, counted."""

    def __init__(self, archive: ArchiveFile, file: BinaryIO, coding: Coding) -> None:
        self._archive = archive
        self._pieces = unpacked(file, coding)
        self._waiting = b""
        self._total = 0

    def peek(self, size: int) -> bytes:
        """Return the next bytes without taking them."""
        while len(self._waiting) < size and (piece := self._next()):
            self._waiting += piece
        return self._waiting[:size]

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, fewer only at the end of a piece; empty at the end."""
        piece = self._waiting or self._next()
        taken = piece if size < 0 else piece[:size]
        self._waiting = piece[len(taken) :]
        return taken

    def _next(self) -> bytes:
        piece = next(self._pieces, b"")
        self._total += len(piece)
        # Headers count too: an archive of a million empty folders writes nothing and still takes for ever.
        if self._total > self._archive.most_bytes:
            raise too_much(self._archive.name, self._total)
        self._archive.tick()
        return piece
