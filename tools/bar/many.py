"""Folders with many files, poisoned folders, and a series larger than the memory."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import psutil

from medviewer.core.dicom_ref import Study
from medviewer.core.errors import OutOfMemory
from medviewer.io import native_pixels, series_part
from medviewer.io.catalogue import Catalogue
from medviewer.io.dicom_header import forget_headers
from medviewer.io.dicom_scan import scan
from medviewer.io.reader import open_series
from medviewer.jobs.job import JobCancelled, NullContext
from tests import dicom_makers, dicom_mutators
from tools.bar.bar import CTX, MB, Bench, Figure, row
from tools.bar.files import good_files


class _Stopwatch(NullContext):
    """Cancels when told to, and knows when."""

    def __init__(self) -> None:
        super().__init__()
        self.cancelled_at = 0.0

    def check_cancelled(self) -> None:
        if self.cancelled_at:
            raise JobCancelled

    def progress(self, fraction: float | None, text: str = "") -> None:
        self.check_cancelled()

    def cancel(self) -> None:
        self.cancelled_at = time.perf_counter()


@row("R-18", "many files and large series")
def many_files(bench: Bench) -> Figure:
    """A folder of 10 000 files in 200 series; switching between them; a series of 4 GB with a budget of 1."""
    folder = bench.folder / "many"
    series, slices = (20, 50) if bench.sample else (200, 50)
    paths = dicom_makers.write_many(folder, series, slices)
    shown: list[float] = []
    forget_headers()
    started = time.perf_counter()
    studies = scan(CTX, [folder], lambda _: shown.append(time.perf_counter() - started)).studies
    scanned = time.perf_counter() - started
    catalogue = Catalogue(bench.folder / "library.sqlite")
    for study in studies:
        catalogue.record(study)
    written = time.perf_counter() - started
    catalogue.close()
    switch = max(_seconds_to_open(studies, n) for n in (0, series // 2, series - 1))
    cancelled = _seconds_to_cancel(folder, scanned / 2)
    found = sum(len(s.files) for study in studies for s in study.series)
    shutil.rmtree(folder)
    large, is_right = _too_large(bench)
    figure = (
        f"{found}/{len(paths)} files in {scanned:.2f} s, first series {shown[0]:.2f} s, catalogue {written:.2f} s, "
        f"cancel {cancelled:.2f} s, switch {switch:.2f} s; {large}"
    )
    right = found == len(paths) and is_right
    return Figure(figure, right, written <= 15 and shown[0] <= 3 and cancelled <= 1 and switch <= 2)


def _seconds_to_open(studies: tuple[Study, ...], number: int) -> float:
    started = time.perf_counter()
    open_series(CTX, studies[0].series[number])
    return time.perf_counter() - started


def _seconds_to_cancel(folder: Path, after: float) -> float:
    """Return how long a scan goes on after a cancel."""
    forget_headers()
    ctx = _Stopwatch()
    timer = threading.Timer(after, ctx.cancel)
    timer.start()
    try:
        scan(ctx, [folder])
    except JobCancelled:
        return time.perf_counter() - ctx.cancelled_at
    finally:
        timer.cancel()
        timer.join()
    return 0.0


def _too_large(bench: Bench) -> tuple[str, bool]:
    """Open a sparse series of three times the budget: it is forecast, and a part of it opens within the budget."""
    folder = bench.folder / "large"
    count, side = (200, 512) if bench.sample else (2000, 1024)
    dicom_makers.write_many(folder, 1, count, (side, side), sparse=True)
    whole = count * side * side * 2
    budget = int(0.3 * whole)
    (study,) = scan(CTX, [folder]).studies
    before = psutil.Process().memory_info().rss
    real = native_pixels.memory_budget
    native_pixels.memory_budget = lambda: budget
    try:
        open_series(CTX, study.series[0])
        return f"{whole / MB:.0f} MB opened", False
    except OutOfMemory as error:
        volume = open_series(CTX, series_part.parts_that_fit(study.series[0])[0])
        growth = psutil.Process().memory_info().rss - before
        said = any(warning.code == "W_PART" for warning in volume.warnings)
        text = (
            f"{whole / MB:.0f} MB forecast as {error.code}, {len(volume.array)} slices opened with {growth / MB:.0f} MB"
        )
        return text, error.code == "E_MEMORY" and said and growth <= budget
    finally:
        native_pixels.memory_budget = real
        shutil.rmtree(folder)


@row("R-04", "a poisoned folder")
def poisoned_folder(bench: Bench) -> Figure:
    """A good CT among hundreds of spoiled files and junk: it opens, and every other good series is listed."""
    folder = bench.folder / "poisoned"
    paths = dicom_makers.write_many(folder / "ct", 1, 40)
    wanted = {"1.2.3.4.5.000"}
    spoiled = 0
    each = 8 if bench.sample else 60
    for seed, path in enumerate(good_files(bench)):
        for data in dicom_mutators.mutants(path.read_bytes(), each, seed + 100):
            # Some beside the good slices, some in a folder of their own.
            place = folder / ("ct" if spoiled % 2 else "bad") / f"{spoiled:04d}.dcm"
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(data)
            spoiled += 1
    for n in range(40):
        junk = folder / f"junk{n}{('.dcm', '.zip', '.txt', '.nii.gz')[n % 4]}"
        junk.write_bytes(bytes(range(n, 200)) * (n % 3))
    for n in range(3):
        uid = f"1.2.3.99.{n}"
        wanted.add(uid)
        for k in range(3):
            dicom_makers.write_slice(
                folder / f"other{n}" / f"{k}.dcm", dicom_makers.pixels(k), (0, 0, 2.0 * k), SeriesInstanceUID=uid
            )
    forget_headers()
    started = time.perf_counter()
    listed = {s.series_instance_uid: s for study in scan(CTX, [folder]).studies for s in study.series if s.volume}
    volume = open_series(CTX, listed["1.2.3.4.5.000"], bench.worker) if "1.2.3.4.5.000" in listed else None
    seconds = time.perf_counter() - started
    opened = 0 if volume is None else volume.array.shape[0]
    figure = (
        f"{spoiled + 40} bad files: CT {opened}/{len(paths)} slices, {len(wanted & listed.keys())}/{len(wanted)} good "
        f"series listed, {seconds:.1f} s"
    )
    return Figure(figure, opened == len(paths) and wanted <= listed.keys(), seconds <= 60)
