"""The saved workspace, ``.mvw``: a zip with ``manifest.json`` and one member for each label map.

Written beside the old file, read back and compared, then renamed into place. Members are read by the name the manifest
gives, into memory, never extracted; sizes are checked first.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
import psutil

from medviewer.core.errors import OutOfMemory, WorkspaceError
from medviewer.io.array_codec import decode, encode
from medviewer.io.atomic import atomic_write
from medviewer.io.migrations import Manifest, migrate
from medviewer.io.snapshot import WorkspaceSnapshot, restore_snapshot, take_snapshot
from medviewer.io.workspace_manifest import Array, Arrays, from_manifest, to_manifest
from medviewer.jobs.job import JobContext, NullContext

SUFFIX = ".mvw"
_MANIFEST = "manifest.json"
_MAX_MANIFEST = 256 << 20
_DAMAGED_HINT = "If the work was lost in a crash, start MedViewer again: it offers what the journal holds."

T = TypeVar("T")


def write_workspace(path: Path, snapshot: WorkspaceSnapshot, ctx: JobContext | None = None) -> None:
    """Save a workspace; the old file stays until the new one has been read back and compared.

    Raises
    ------
    WorkspaceError
        ``E_DISK_FULL``, ``E_READ_ONLY``, ``E_LOCKED``, or ``E_READBACK`` when it does not read back as it was written.
    """
    ctx = ctx or NullContext()
    manifest, arrays = to_manifest(snapshot, path.absolute().parent)
    with atomic_write(path) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for n, (name, array) in enumerate(arrays.items()):
                ctx.progress(0.6 * n / len(arrays), "Saving")
                description, data = encode(array, compress=array.dtype.kind in "bu")
                manifest["arrays"][name] = description
                archive.writestr(name, data)
            archive.writestr(_MANIFEST, json.dumps(manifest, indent=1), zipfile.ZIP_DEFLATED, 1)
        ctx.progress(0.6, "Checking")
        file.flush()
        file.seek(0)
        _compare(file, manifest, arrays, ctx)
    ctx.progress(1.0, "Saved")


def _compare(file: IO[bytes], manifest: Manifest, arrays: Arrays, ctx: JobContext) -> None:
    with zipfile.ZipFile(file) as archive:
        same = json.loads(archive.read(_MANIFEST)) == json.loads(json.dumps(manifest))
        for n, (name, array) in enumerate(arrays.items()):
            ctx.progress(0.6 + 0.4 * n / len(arrays), "Checking")
            stored = decode(manifest["arrays"][name], archive.read(name))
            same = (
                same
                and stored.dtype == array.dtype
                and np.array_equal(stored, array, equal_nan=stored.dtype.kind == "f")
            )
    if not same:
        raise WorkspaceError(
            "The saved file does not read back as it was written.",
            hint="The disk may be failing. Save to another disk.",
            code="E_READBACK",
        )


def read_workspace(path: Path) -> WorkspaceSnapshot:
    """Read a saved workspace; the volumes themselves are opened by the caller.

    Raises
    ------
    WorkspaceError
        When it is no workspace, is damaged, or was saved by a newer version.
    OutOfMemory
        When its label maps do not fit into memory.
    """
    return _reading(path, lambda archive: _snapshot(archive, path.absolute().parent))


def read_save_id(path: Path) -> str | None:
    """Return the `save_id` of a saved workspace, or None when there is none that can be read."""
    try:
        return _reading(path, lambda archive: str(_manifest(archive)["save_id"]))
    except WorkspaceError:
        return None


def _reading(path: Path, read: Callable[[zipfile.ZipFile], T]) -> T:
    try:
        with zipfile.ZipFile(path) as archive:
            return read(archive)
    except FileNotFoundError as error:
        raise WorkspaceError(f"{path.name} does not exist.", hint="It may have been moved or renamed.") from error
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise WorkspaceError(f"{path.name} cannot be read: it is damaged.", hint=_DAMAGED_HINT) from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        raise WorkspaceError(f"{path.name} is damaged.", hint=_DAMAGED_HINT, code="E_DAMAGED") from error


def _manifest(archive: zipfile.ZipFile) -> Manifest:
    if archive.getinfo(_MANIFEST).file_size > _MAX_MANIFEST:
        raise ValueError("the manifest is too large")
    with archive.open(_MANIFEST) as member:
        text = member.read(_MAX_MANIFEST + 1)
    manifest = json.loads(text)
    if not isinstance(manifest, dict) or manifest.get("program") != "MedViewer":
        raise WorkspaceError("This file is no saved workspace.", hint="Choose a file with the ending .mvw.")
    return migrate(manifest)


def _snapshot(archive: zipfile.ZipFile, folder: Path) -> WorkspaceSnapshot:
    manifest = _manifest(archive)
    _check_memory(manifest)

    def read(name: str, shape: tuple[int, ...] | None) -> Array:
        return decode(manifest["arrays"][name], archive.read(name), shape)

    return from_manifest(manifest, read, folder)


def _check_memory(manifest: Manifest) -> None:
    """Refuse before anything is unpacked: a small file can declare large arrays."""
    total = 0
    for description in manifest["arrays"].values():
        nbytes = np.dtype(description["dtype"]).itemsize
        for n in description["shape"]:
            nbytes *= int(n)
        total += nbytes
    if total > 0.8 * psutil.virtual_memory().available:
        raise OutOfMemory(
            f"This workspace needs {total / 2**30:.1f} GB of memory, which is not free.",
            hint="Close other programs or studies and try again.",
        )


__all__ = [
    "SUFFIX",
    "WorkspaceSnapshot",
    "read_save_id",
    "read_workspace",
    "restore_snapshot",
    "take_snapshot",
    "write_workspace",
]
