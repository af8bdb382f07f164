"""Files that are either wholly there or not: written beside, flushed to the disk, renamed into place."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from medviewer.core.errors import MedViewerError, WorkspaceError

#: Another program (a virus scanner, a viewer) may hold the old file for a moment; only Windows refuses then.
_REPLACE_ATTEMPTS = 6
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}


def refusal(error: OSError, path: Path, kind: type[MedViewerError] = WorkspaceError) -> MedViewerError:
    """Return what the user is told when a file cannot be written.

    Parameters
    ----------
    error : OSError
        What the system said.
    path : Path
        The file that was to be written.
    kind : type
        `WorkspaceError` or `ExportError`.
    """
    name = path.name
    if error.errno in _FULL:
        return kind(
            f"The disk is full; {name} was not written.",
            hint="Free some space or choose another disk. Nothing that was saved before has changed.",
            code="E_DISK_FULL",
        )
    if getattr(error, "winerror", None) == 32:
        return kind(f"{name} is open in another program.", hint="Close it there and try again.", code="E_LOCKED")
    if error.errno in _FORBIDDEN:
        return kind(
            f"{name} cannot be written: the folder is read-only.",
            hint="Choose another folder.",
            code="E_READ_ONLY",
        )
    if error.errno == errno.ENOENT:
        return kind(
            f"{name} cannot be written: the folder is gone.",
            hint="Connect the disk again or choose another folder.",
            code="E_NO_FOLDER",
        )
    reason = error.strerror or type(error).__name__
    return kind(f"{name} cannot be written: {reason}.", hint="Choose another disk and try again.", code="E_WRITE")


def sync_folder(folder: Path) -> None:
    """Make a rename inside the folder survive a power cut, where the system can (Windows cannot open folders).

    Some network file systems refuse, and a folder may be writeable but not readable: the file is in its place anyway.
    """
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def replace_with_retry(source: Path, target: Path) -> None:
    """Rename over `target`, waiting a moment when another program holds it."""
    for attempt in range(_REPLACE_ATTEMPTS):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if os.name != "nt" or attempt == _REPLACE_ATTEMPTS - 1:
                raise
            time.sleep(0.05 * 2**attempt)


@contextmanager
def atomic_write(path: Path, kind: type[MedViewerError] = WorkspaceError) -> Iterator[BinaryIO]:
    """Write a file that appears complete or not at all.

    Parameters
    ----------
    path : Path
        The file; an older one stays untouched until the new one is complete on the disk.
    kind : type
        Which error is raised.

    Yields
    ------
    BinaryIO
        A readable and seekable file in the same folder, so what was written can be checked before it counts.

    Raises
    ------
    MedViewerError
        Of `kind`, with the code ``E_DISK_FULL``, ``E_READ_ONLY``, ``E_NO_FOLDER``, ``E_LOCKED`` or ``E_WRITE``.
    """
    # A short name of its own: the target's name may already be as long as the system allows.
    temporary = path.with_name(f".{uuid4().hex}.tmp")
    try:
        with open(temporary, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        replace_with_retry(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise refusal(error, path, kind) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
