"""Tar archives (POSIX ustar and pax, GNU, V7), read once from front to end."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import BinaryIO, Final, cast

from medviewer.io.archive_rules import ArchiveFile, Bytes, Member

#: No name and no set of pax records is longer.
_MOST_EXTENSION: Final = 1024 * 1024
_EXTENSIONS: Final = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
                      tarfile.GNUTYPE_LONGLINK)  # fmt: skip


class _Header(tarfile.TarInfo):
    """A header that is whole, or an error: tarfile takes a broken one in the middle for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if not any(buf):
                raise
            raise tarfile.ReadError("a header in it is broken") from error
        if header.size < 0 or (header.type in _EXTENSIONS and header.size > _MOST_EXTENSION):
            raise tarfile.ReadError("a header in it is too long")
        return header


def looks_like_tar(head: bytes) -> bool:
    """Whether bytes begin a tar archive: the first header's checksum is right."""
    try:
        tarfile.TarInfo.frombuf(head[:512], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def members(archive: ArchiveFile) -> Iterator[Member]:
    """Yield the entries of an archive that is not packed."""
    return members_of_stream(archive.file)


def members_of_stream(stream: Bytes) -> Iterator[Member]:
    """Yield the entries in the order in which they come; each is to be read before the next is asked for."""
    with tarfile.open(fileobj=cast("BinaryIO", stream), mode="r|", tarinfo=_Header) as opened:
        for header in opened:
            # It keeps every header, of which there may be very many.
            opened.members = []  # type: ignore[attr-defined]  # so its documentation says
            yield Member(
                header.name,
                header.size if header.isfile() else 0,
                partial(_content, opened, header),
                is_folder=header.isdir(),
                is_special=not (header.isfile() or header.isdir()),
            )


def _content(opened: tarfile.TarFile, header: tarfile.TarInfo) -> AbstractContextManager[Bytes]:
    content = opened.extractfile(header)
    assert content is not None  # it is a file
    return content
