"""Copies of studies in a folder of the program: whole or not there, under names that say nothing of the patient."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4

from medviewer.core.dicom_ref import SeriesRef, Study
from medviewer.core.errors import InputError, LibraryError
from medviewer.io.atomic import refusal
from medviewer.io.dicom_scan import scan_paths
from medviewer.jobs.job import JobContext, SubContext

_CHUNK: Final = 4 * 1024 * 1024
#: What stays free on the disk.
_RESERVE: Final = 256 * 1024 * 1024
_STAGING: Final = ".import-"
_SUFFIX: Final = re.compile(r"(\.nii)?\.[A-Za-z0-9]{1,8}$")


def copy_studies(
    ctx: JobContext,
    paths: Sequence[Path],
    folder: Path,
    free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
) -> list[Study]:
    """Copy everything that can be opened in files, folders and archives.

    Parameters
    ----------
    ctx : JobContext
        Cancel leaves nothing behind.
    paths : sequence of Path
    folder : Path
        Where the copies go, one folder a study; made if missing.
    free_bytes : callable
        Returns the free space of the disk with a folder.

    Returns
    -------
    list of Study
        As they are in `folder`.

    Raises
    ------
    InputError
        When there are no images, or they cannot be read.
    LibraryError
        ``E_DISK_FULL`` before anything is copied when they would not fit, or whatever stops the writing.
    """
    studies = scan_paths(SubContext(ctx, 0.0, 0.2), paths)
    files = {path for study in studies for series in study.series for path in series.files}
    if not files:
        raise InputError("There are no images to import.", hint="Choose a folder or zip with DICOM or NIfTI files.")
    _make_private(folder)
    staging = folder / f"{_STAGING}{uuid4().hex}"
    placed: list[Path] = []
    try:
        needed = sum(path.stat().st_size for path in files)
        if free_bytes(folder) < needed + _RESERVE:
            raise LibraryError(
                f"There is not enough space for a copy: {needed / 1e9:.1f} GB are needed.",
                hint="Free some space, or open the images where they are.",
                code="E_DISK_FULL",
            )
        _make_private(staging)
        copying = _Copying(SubContext(ctx, 0.2, 0.9), needed)
        staged = [copying.study(study, staging) for study in studies]
        ctx.check_cancelled()
        for made in staged:
            placed.append(_free_name(folder, made.name))
            os.replace(made, placed[-1])
        return scan_paths(SubContext(ctx, 0.9, 1.0), placed)
    except BaseException as error:
        for path in placed:
            shutil.rmtree(path, ignore_errors=True)
        if isinstance(error, OSError):
            raise refusal(error, folder, LibraryError) from error
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def remove_copy(files: Sequence[Path], folder: Path) -> bool:
    """Remove the copies of a study that lie below `folder`; nothing outside is touched. Whether there were any."""
    tops = {folder / path.relative_to(folder).parts[0] for path in files if is_copy(path, folder)}
    for top in tops:
        shutil.rmtree(top, ignore_errors=True)
    return bool(tops)


def is_copy(path: Path, folder: Path) -> bool:
    """Whether a file is one of the copies below `folder`."""
    return path.is_relative_to(folder) and len(path.relative_to(folder).parts) > 1 and ".." not in path.parts


def study_folder_name(study: Study) -> str:
    """Return a name from date, modality and a checksum of the UID: no name, number or text of the patient."""
    date = study.study_date if study.study_date.isdigit() else ""
    modality = next((series.modality for series in study.series if series.modality), "")
    modality = "".join(c for c in modality if c.isascii() and c.isalnum())[:16]
    key = f"{study.study_instance_uid}\x1f{study.patient_id}".encode("utf-8", "replace")
    return "_".join(part for part in (date[:8], modality, hashlib.sha256(key).hexdigest()[:12]) if part)


class _Copying:
    """Copies files one after the other and knows how far it is."""

    def __init__(self, ctx: JobContext, needed: int) -> None:
        self._ctx = ctx
        self._needed = max(needed, 1)
        self._done = 0

    def study(self, study: Study, staging: Path) -> Path:
        """Copy a study; return its folder."""
        target = _free_name(staging, study_folder_name(study))
        target.mkdir(mode=0o700)
        copied: set[Path] = set()
        for n, series in enumerate(study.series, 1):
            folder = target / f"{n:03d}"
            folder.mkdir(mode=0o700)
            for number, path in enumerate(series.files, 1):
                if path not in copied:
                    copied.add(path)
                    self._file(path, folder / f"{number:05d}{_suffix(series, path)}")
        return target

    def _file(self, source: Path, target: Path) -> None:
        with open(source, "rb") as read, open(target, "xb") as write:
            while chunk := read.read(_CHUNK):
                write.write(chunk)
                self._done += len(chunk)
                self._ctx.progress(min(1.0, self._done / self._needed), "Copying")
        with contextlib.suppress(OSError):
            shutil.copystat(source, target)
        os.chmod(target, 0o600)


def _suffix(series: SeriesRef, path: Path) -> str:
    if series.sop_class_uid:
        return ".dcm"
    found = _SUFFIX.search(path.name)
    return found.group(0) if found else ""


def _free_name(folder: Path, name: str) -> Path:
    path, n = folder / name, 2
    while path.exists():
        path, n = folder / f"{name}_{n}", n + 1
    return path


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise refusal(error, folder, LibraryError) from error
