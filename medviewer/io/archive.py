"""Archives (zip, tar, packed tar, one packed file), unpacked to a private folder by rules of our own.

Nothing is trusted that an archive says about itself: names that leave the folder, links and bombs are refused
(`medviewer.io.archive_rules`), and what was written until then is removed. The folder lives until `close_all` or the
end of the process; what a killed process left is removed by the next extraction.
"""

from __future__ import annotations

import atexit
import errno
import lzma
import os
import shutil
import struct
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from medviewer.core.errors import InputError
from medviewer.io import archive_packed, archive_tar, archive_zip
from medviewer.io.archive_rules import ArchiveFile, Member, Rules, no_room
from medviewer.jobs.job import JobContext

_PREFIX: Final = "medviewer-archive-"
_HEAD: Final = 512
_BROKEN: Final = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError,
    ValueError, LookupError, OverflowError, OSError, struct.error,
)  # fmt: skip
_Members = Callable[[ArchiveFile], Iterable[Member]]


@dataclass(frozen=True, slots=True)
class ExtractedArchive:
    """Where an archive has been unpacked to."""

    source: Path
    folder: Path


_open: dict[tuple[str, int, int], ExtractedArchive] = {}
_lock = threading.Lock()


def is_archive(path: Path) -> bool:
    """Whether a file is an archive, by its first bytes."""
    with path.open("rb") as file:
        return _kind(file.read(_HEAD)) is not None


def _kind(head: bytes) -> _Members | None:
    if head[128:132] == b"DICM":
        return None
    if head.startswith(archive_zip.MAGIC):
        return archive_zip.members
    if archive_packed.coding_of(head) is not None:
        return archive_packed.members
    return archive_tar.members if archive_tar.looks_like_tar(head) else None


def extract(ctx: JobContext, path: Path) -> ExtractedArchive:
    """Unpack an archive, or answer with the folder of an earlier call when the file has not changed since.

    Raises
    ------
    InputError
        ``E_UNSAFE_ARCHIVE``, ``E_BOMB``, ``E_ENCRYPTED``, ``E_NO_SPACE`` or ``E_ARCHIVE``.
    """
    status = path.stat()
    key = (os.path.realpath(path), status.st_size, status.st_mtime_ns)
    with _lock:
        known = _open.get(key)
        if known is not None and known.folder.is_dir():
            return known
        _remove_orphans()
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        try:
            _unpack(ctx, path, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        archive = ExtractedArchive(path, folder)
        _open[key] = archive
        return archive


def source_of(path: Path) -> Path | None:
    """Return the archive that an unpacked file came from; None for any other file."""
    for archive in _open.values():
        if path.is_relative_to(archive.folder):
            return archive.source
    return None


@atexit.register
def close_all() -> None:
    """Remove every unpacked folder of this process."""
    with _lock:
        for archive in _open.values():
            shutil.rmtree(archive.folder, ignore_errors=True)
        _open.clear()


def _remove_orphans() -> None:
    """Remove folders of processes that ended without doing so."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).split("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _unpack(ctx: JobContext, path: Path, folder: Path) -> None:
    try:
        with path.open("rb") as file:
            kind = _kind(file.read(_HEAD))
            file.seek(0)
            if kind is None:
                raise InputError(f"{path.name} is not an archive.", code="E_ARCHIVE")
            size = max(1, path.stat().st_size)
            archive = ArchiveFile(file, path.name, size, lambda: ctx.progress(file.tell() / size, "Unpacking"))
            rules = Rules(archive, folder)
            members = kind(archive)
            admitted = ((member, rules.admit(member)) for member in members)
            # Where a directory lists the files, all are looked at before the first byte is written.
            for member, name in list(admitted) if isinstance(members, list) else admitted:
                archive.tick()
                if name is not None:
                    rules.write(member, name)
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise no_room(path.name, folder) from error
        raise InputError(f"{path.name} is a broken archive: {error}.", code="E_ARCHIVE") from error
