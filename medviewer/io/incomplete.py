"""Series that have not come whole: a mark in their folder, and the warning that whoever opens it gets."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from medviewer.core.dicom_ref import SeriesRef, SeriesWarning, Study

#: A file in the folder of a series; it says how many objects the series has.
MARK: Final = ".incomplete"
_SUFFIX: Final = ".dcm"


def mark(folder: Path, wanted: int) -> None:
    """Say of a folder that its series has `wanted` objects and not all are here."""
    folder.joinpath(MARK).write_text(f"{wanted}\n", encoding="ascii")


def unmark(folder: Path) -> None:
    """Say of a folder that its series is whole."""
    folder.joinpath(MARK).unlink(missing_ok=True)


def marked(studies: Iterable[Study]) -> list[Study]:
    """Return studies with ``W_INCOMPLETE`` on every series that lies in a marked folder.

    Such a series has a key of its own, so that it is never taken for the whole one that may come later.
    """
    warnings: dict[str, SeriesWarning | None] = {}

    def with_warning(series: SeriesRef) -> SeriesRef:
        folders = {os.path.dirname(path) for path in series.files}
        for folder in folders - warnings.keys():
            warnings[folder] = _warning(Path(folder))
        found = next((warnings[folder] for folder in folders if warnings[folder] is not None), None)
        if found is None:
            return series
        return replace(series, key=f"{series.key}#incomplete", warnings=(found, *series.warnings))

    return [replace(study, series=tuple(with_warning(series) for series in study.series)) for study in studies]


def _warning(folder: Path) -> SeriesWarning | None:
    try:
        wanted = folder.joinpath(MARK).read_text(encoding="ascii", errors="replace").strip()[:9]
        present = sum(name.endswith(_SUFFIX) for name in os.listdir(folder))
    except OSError:
        return None
    text = f"INCOMPLETE {present}/{wanted}: the rest of this series was not fetched."
    return SeriesWarning("W_INCOMPLETE", text)
