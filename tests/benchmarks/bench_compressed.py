"""Opening compressed series: one process against as many as there are cores, the boundary between them, and peers.

Run with ``pytest tests/benchmarks/bench_compressed.py -m benchmark_run -s``.
"""

from __future__ import annotations

import statistics
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from medviewer.core.dicom_ref import SeriesRef
from medviewer.io.decode_task import decode_slices
from medviewer.io.decode_worker import new_decode_worker
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.reader import open_series
from medviewer.jobs.job import JobContext, NullContext
from medviewer.jobs.worker import WorkerProcess
from medviewer.jobs.worker_pool import free_cores
from tests.dicom_makers import as_lossless_jpeg

pytestmark = pytest.mark.benchmark_run
CTX = NullContext()
ROUNDS = 5
SLICES = 96
SYNTAXES = {
    "JPEG lossless": JPEGLosslessSV1,
    "JPEG-LS": JPEGLSLossless,
    "JPEG 2000": JPEG2000Lossless,
    "RLE": RLELossless,
}


@pytest.fixture(scope="module")
def workers() -> Iterator[tuple[WorkerProcess, WorkerProcess]]:
    one, several = new_decode_worker(1), new_decode_worker()
    yield one, several
    one.close()
    several.close()


@pytest.fixture(scope="module")
def chest(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("chest")
    with zipfile.ZipFile(shared_data / "dicom" / "chest_ct_LIDC-IDRI-0001.zip") as archive:
        archive.extractall(folder)
    return sorted(folder.rglob("*.dcm"))[:SLICES]


def compressed(paths: list[Path], syntax: str, folder: Path) -> SeriesRef:
    folder.mkdir()
    for path in paths:
        if syntax == JPEGLosslessSV1:
            as_lossless_jpeg(path, folder / path.name)
            continue
        dataset = pydicom.dcmread(path)
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(folder / path.name)
    (study,) = scan_paths(CTX, [folder])
    return study.series[0]


class Here(WorkerProcess):
    """Runs calls in this process: what is left is the work without the boundary."""

    def __init__(self) -> None:
        super().__init__("here")

    def call(self, target: str, payload: object, ctx: JobContext, **options: object) -> object:
        return decode_slices(ctx, payload)


def with_pydicom(series: SeriesRef) -> np.ndarray:
    return np.stack([pydicom.dcmread(path).pixel_array for path in series.files])


def with_itk(series: SeriesRef) -> np.ndarray:
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in series.files])
    return sitk.GetArrayFromImage(reader.Execute())


def medians(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds, the ways taken in turn so that noise falls on all alike."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(ROUNDS):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


@pytest.mark.parametrize("name", SYNTAXES)
def test_compressed_series(
    name: str, chest: list[Path], workers: tuple[WorkerProcess, WorkerProcess], tmp_path: Path
) -> None:
    series = compressed(chest, SYNTAXES[name], tmp_path / "series")
    one, several = workers
    np.testing.assert_array_equal(open_series(CTX, series, several).array, open_series(CTX, series, Here()).array)
    found = medians({
        "this process": lambda: open_series(CTX, series, Here()),
        "one worker": lambda: open_series(CTX, series, one),
        f"{free_cores()} workers": lambda: open_series(CTX, series, several),
        "pydicom": lambda: with_pydicom(series),
        "SimpleITK": lambda: with_itk(series),
    })  # fmt: skip
    print(f"\n{name}, {len(series.files)} slices")
    for way, seconds in found.items():
        print(f"  {way:14} {seconds / len(series.files) * 1e3:6.2f} ms a slice")
    here, alone, together, *peers = found.values()
    boundary = alone / here - 1
    print(f"  boundary {boundary:+.1%}; {alone / together:.2f} x one; {min(peers) / together:.1f} x the best peer")
    assert together < min(peers)
    # RLE takes as long to read as to decode: there is little to share.
    if free_cores() > 1 and name != "RLE":
        assert alone >= 1.6 * together
    # A call costs a millisecond or two whatever it decodes: sleeping processes that wake. Frames of RLE are decoded in
    # so little time that this shows.
    assert boundary <= 0.05 or alone - here <= 0.15e-3 * len(series.files)
