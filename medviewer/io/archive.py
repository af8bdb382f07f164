"""Zip archives, unpacked to a private folder by rules of our own.

Nothing is trusted that an archive says about itself: names that leave the folder, links and bombs are refused before
the first byte is written. The folder lives until `close_all` or the end of the process; what a killed process left is
removed by the next extraction.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import stat
import tempfile
import threading
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import psutil

from medviewer.core.errors import InputError
from medviewer.jobs.job import JobContext

MOST_MEMBERS: Final = 200_000
#: An archive may unpack to this many bytes, or to `MOST_RATIO` times its own size, whichever is more.
FREE_BYTES: Final = 512 * 1024 * 1024
MOST_RATIO: Final = 200
_PREFIX: Final = "medviewer-archive-"
_CHUNK: Final = 1024 * 1024
_UNSAFE: Final = re.compile(r"[^\w.,()+=@ -]")
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_HINT: Final = "Unpack it with another program and open the folder, if you trust it."


@dataclass(frozen=True, slots=True)
class ExtractedArchive:
    """Where an archive has been unpacked to."""

    source: Path
    folder: Path


_open: dict[tuple[str, int, int], ExtractedArchive] = {}
_lock = threading.Lock()


def is_archive(path: Path) -> bool:
    """Whether a file is a zip archive, by its first bytes."""
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


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
        with zipfile.ZipFile(path) as archive:
            members = _checked(archive, path, folder)
            total = sum(member.file_size for member, _ in members) or 1
            done = 0
            for member, name in members:
                ctx.progress(done / total, "Unpacking")
                _write(archive, member, folder / name, path.name)
                done += member.file_size
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise InputError(f"{path.name} is a broken archive: {error}.", code="E_ARCHIVE") from error


def _checked(archive: zipfile.ZipFile, path: Path, folder: Path) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """Return the files of an archive with the names they get, after every check that needs no unpacking."""
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) > MOST_MEMBERS:
        raise InputError(f"{path.name} holds {len(members)} files.", hint=_HINT, code="E_BOMB")
    if any(member.flag_bits & 0x1 for member in members):
        raise InputError(f"{path.name} is encrypted.", hint=_HINT, code="E_ENCRYPTED")
    total = sum(member.file_size for member in members)
    if total > max(FREE_BYTES, MOST_RATIO * path.stat().st_size):
        raise InputError(f"{path.name} would unpack to {total // 2**20} MB.", hint=_HINT, code="E_BOMB")
    if total > shutil.disk_usage(folder).free:
        raise InputError(
            f"There is no room to unpack {path.name} ({total // 2**20} MB) in {folder.parent}.",
            hint="Free some space, or set TMPDIR to a larger disk.",
            code="E_NO_SPACE",
        )
    names: dict[str, int] = {}
    return [(member, _safe_name(member, path, names)) for member in members]


def _safe_name(member: zipfile.ZipInfo, path: Path, taken: dict[str, int]) -> PurePosixPath:
    """Return a relative name inside the folder that is legal on every system; refuse hostile ones."""
    raw = member.filename.replace("\\", "/")
    kind = stat.S_IFMT(member.external_attr >> 16)
    parts = raw.split("/")
    if raw.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", raw) or "\0" in member.orig_filename:
        raise InputError(
            f"{path.name} holds a file that would land outside its folder; nothing was unpacked.",
            hint="The archive is damaged or hostile.",
            code="E_UNSAFE_ARCHIVE",
        )
    if kind not in (0, stat.S_IFREG):
        raise InputError(
            f"{path.name} holds a link or a device; nothing was unpacked.", hint=_HINT, code="E_UNSAFE_ARCHIVE"
        )
    name = "/".join(_safe_part(part) for part in parts if part not in ("", ".")) or "unnamed"
    count = taken.get(name.lower(), 0)
    taken[name.lower()] = count + 1
    safe = PurePosixPath(name)
    return safe.with_name(f"{count}~{safe.name}") if count else safe


def _safe_part(part: str) -> str:
    part = _UNSAFE.sub("_", part)
    if len(part) > 100:
        # The end holds what tells files apart: numbers and the suffix.
        part = part[:20] + "_" + part[-79:]
    part = part.rstrip(". ") or "_"
    return f"_{part}" if _RESERVED.match(part) else part


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, name: str) -> None:
    """Write one file, never more of it than it declares."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    left = member.file_size
    with archive.open(member) as source, target.open("xb") as file:
        while chunk := source.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise InputError(f"{name} unpacks to more than it declares.", hint=_HINT, code="E_BOMB")
            file.write(chunk)
