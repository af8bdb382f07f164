"""What becomes of a path that is opened: the one question that every bad input is asked."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path

from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.errors import MedViewerError
from medviewer.core.volume import Volume
from medviewer.io.dicom_header import forget_headers
from medviewer.io.dicom_scan import scan
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from medviewer.jobs.worker import WorkerProcess

CTX = NullContext()


@dataclass(frozen=True, slots=True)
class Outcome:
    """LOADED (no codes), LOADED+W_x (codes) or REFUSED E_x, with what the user is told.

    Attributes
    ----------
    state : str
        ``LOADED``, ``LOADED+W`` or ``REFUSED``.
    codes : frozenset of str
        Of the warnings, or the one code of the refusal.
    text, hint : str
        Of the refusal, or the texts of the warnings.
    digest : str
        Hash of voxels and geometry; empty for what was refused.
    """

    state: str
    codes: frozenset[str] = frozenset()
    text: str = ""
    hint: str = ""
    digest: str = ""
    seconds: float = 0.0
    series: SeriesRef | None = None
    volume: Volume | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return " ".join([self.state, *sorted(self.codes), self.text])


def outcomes(path: Path, worker: WorkerProcess) -> list[Outcome]:
    """Scan a path and open every series in it; anything but a `MedViewerError` is raised: it would be a crash."""
    forget_headers()
    started = time.perf_counter()
    try:
        result = scan(CTX, [path])
    except MedViewerError as error:
        return [_refused(error, started)]
    found = []
    for study in result.studies:
        study_codes = {warning.code for warning in study.warnings}
        for series in study.series:
            found.append(_opened(series, worker, study_codes))
    return found


def _refused(error: MedViewerError, started: float, series: SeriesRef | None = None) -> Outcome:
    seconds = time.perf_counter() - started
    return Outcome("REFUSED", frozenset({error.code}), error.text, error.hint, seconds=seconds, series=series)


def _opened(series: SeriesRef, worker: WorkerProcess, study_codes: set[str]) -> Outcome:
    started = time.perf_counter()
    try:
        volume = open_series(CTX, series, worker)
    except MedViewerError as error:
        return _refused(error, started, series)
    codes = frozenset({warning.code for warning in volume.warnings} | study_codes)
    text = " ".join(warning.text for warning in volume.warnings)
    digest = hashlib.sha256(volume.array.tobytes() + repr(volume.geometry).encode()).hexdigest()
    seconds = time.perf_counter() - started
    state = "LOADED+W" if codes else "LOADED"
    return Outcome(state, codes, text, "", digest, seconds, series, volume)
