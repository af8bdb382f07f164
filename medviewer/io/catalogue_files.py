"""Whether the files of catalogued series are still there, still the same, or somewhere else now."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.errors import InputError, LibraryError
from medviewer.io.catalogue_rows import SeriesRow
from medviewer.io.dicom_header import read_header
from medviewer.io.dicom_tags import Tag
from medviewer.jobs.job import JobContext


def is_there(row: SeriesRow) -> bool:
    """Whether a series can still be read: its archive is there, or its first and last file are."""
    if row.source is not None:
        return row.source.exists()
    files = row.series.files
    return not files or (files[0].exists() and files[-1].exists())


def is_same(series: SeriesRef) -> bool:
    """Whether the first and the last file still belong to a series; what has no UID of its own is not asked."""
    made_up = any(warning.code == "W_NO_UID" for warning in series.warnings)
    if not series.sop_class_uid or not series.files or made_up:
        return True
    try:
        return all(
            read_header(path).text(Tag.SERIES_INSTANCE_UID) == series.series_instance_uid
            for path in {series.files[0], series.files[-1]}
        )
    except InputError:
        return False


def find_moved(ctx: JobContext, rows: Sequence[SeriesRow], folder: Path) -> tuple[SeriesRow, ...]:
    """Return the series of a study with their files below another folder.

    Parameters
    ----------
    ctx : JobContext
        For cancel.
    rows : sequence of SeriesRow
        Those that are gone are looked for; when none is, all are.
    folder : Path
        The folder of the study at its new place, or one above it as long as the folders between have their old names.

    Raises
    ------
    LibraryError
        ``E_NOT_FOUND`` when not every file is there, ``E_OTHER_STUDY`` when other images have their names.
    """
    gone = [row for row in rows if not is_there(row)] or list(rows)
    archives = [_moved_archive(row, folder) for row in gone if row.source is not None]
    loose = [row for row in gone if row.source is None and row.series.files]
    found = (*archives, *(_moved_files(ctx, loose, folder) if loose else ()))
    if not all(is_same(row.series) for row in found if row.source is None):
        raise LibraryError(
            "The chosen folder holds other images under the same names.",
            hint="Choose the folder that the study was moved to.",
            code="E_OTHER_STUDY",
        )
    return found


def _moved_archive(row: SeriesRow, folder: Path) -> SeriesRow:
    assert row.source is not None
    path = folder / row.source.name
    if not path.is_file():
        raise _not_found()
    return replace(row, source=path)


def _moved_files(ctx: JobContext, rows: Sequence[SeriesRow], folder: Path) -> tuple[SeriesRow, ...]:
    """Return series whose files are all below `folder`, under the same names relative to each other."""
    try:
        root = Path(os.path.commonpath([path.parent for row in rows for path in row.series.files]))
    except ValueError as error:
        # The files were on two drives.
        raise _not_found() from error
    for base in _places(root, folder):
        moved = []
        for row in rows:
            ctx.check_cancelled()
            files = tuple(base / path.relative_to(root) for path in row.series.files)
            if not all(path.is_file() for path in files):
                break
            moved.append(replace(row, series=replace(row.series, files=files)))
        else:
            return tuple(moved)
    raise _not_found()


def _places(root: Path, folder: Path) -> Iterator[Path]:
    """Yield where `root` may be now: `folder` itself, or below it with one, two, … of its old folders."""
    parts = root.relative_to(root.anchor).parts
    for n in range(len(parts) + 1):
        yield folder.joinpath(*parts[len(parts) - n :])


def _not_found() -> LibraryError:
    return LibraryError(
        "Not all images of the study are in the chosen folder.",
        hint="Choose the folder that the study was moved to, or open it there anew.",
        code="E_NOT_FOUND",
    )
