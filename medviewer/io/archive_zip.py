"""Zip archives."""

from __future__ import annotations

import stat
import zipfile
from functools import partial
from typing import Final

from medviewer.io.archive_rules import ArchiveFile, Member

MAGIC: Final = (b"PK\x03\x04", b"PK\x05\x06")


def members(archive: ArchiveFile) -> list[Member]:
    """Return what the directory of an archive lists."""
    opened = zipfile.ZipFile(archive.file)
    return [
        Member(
            # A name ends at its first zero for zipfile, not for everybody.
            info.orig_filename if "\0" in info.orig_filename else info.filename,
            info.file_size,
            partial(opened.open, info),
            # zipfile's own answer is an error for an entry without a name.
            is_folder=info.filename.endswith("/"),
            is_special=stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR),
            is_encrypted=bool(info.flag_bits & 0x1),
        )
        for info in opened.infolist()
    ]
