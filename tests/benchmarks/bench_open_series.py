"""Opening a series and scanning headers, against the peer and the limit in the same run.

Run with ``pytest tests/benchmarks/bench_open_series.py -m benchmark_run -s``.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest

from medviewer.io import dicom_header
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from tests.dicom_makers import write_many

pytestmark = pytest.mark.benchmark_run
CTX = NullContext()
ROUNDS = 9


@pytest.fixture(scope="module")
def chest(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chest")
    with zipfile.ZipFile(shared_data / "dicom" / "chest_ct_LIDC-IDRI-0001.zip") as archive:
        archive.extractall(folder)
    return folder


def timed(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each round, the ways taken in turn so that noise falls on all alike."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            result = way()
            times[name].append((time.perf_counter() - started) * 1e3)
            del result
    return times


def medians(ways: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Milliseconds, the median of the rounds."""
    return {name: statistics.median(values) for name, values in timed(ways, rounds).items()}


def shortest(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Milliseconds, the shortest of the rounds: what other programs took from the machine is not ours."""
    return {name: min(values) for name, values in timed(ways, rounds).items()}


def test_open_chest_ct(chest: Path) -> None:
    import SimpleITK as sitk

    (study,) = scan_paths(CTX, [chest])
    series = study.series[0]
    total = sum(os.path.getsize(path) for path in series.files)
    names = [str(path) for path in series.files]
    first: list[float] = []

    def raw() -> object:
        array, at = np.empty(total, np.uint8), 0
        for name in names:
            with open(name, "rb", buffering=0) as file:
                at += file.readinto(array[at:].data)
        return array

    def ours() -> object:
        started = time.perf_counter()
        return open_series(CTX, series, None, lambda _: first.append((time.perf_counter() - started) * 1e3))

    def scan_and_open() -> object:
        dicom_header.forget_headers()
        (found,) = scan_paths(CTX, [chest])
        return open_series(CTX, found.series[0])

    def itk() -> object:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(names)
        return sitk.GetArrayFromImage(reader.Execute())

    ms = medians({"raw bytes": raw, "open": ours, "scan and open": scan_and_open, "SimpleITK": itk})
    print(f"\n{len(names)} slices, {total / 2**20:.0f} MB")
    for name, value in ms.items():
        to_raw, to_itk = value / ms["raw bytes"], ms["SimpleITK"] / value
        print(f"  {name:14} {value:7.1f} ms   {to_raw:5.2f} x raw   {to_itk:5.1f} x faster than SimpleITK")
    print(f"  first picture  {statistics.median(first):7.1f} ms")
    assert ms["open"] <= 2.0 * ms["raw bytes"]
    # The goals with the scan are 7 and 2.0, which hold where two cores are free; what else the machine does moves them
    # by a third, and this catches a step back.
    assert ms["SimpleITK"] >= 6.0 * ms["scan and open"]
    assert ms["scan and open"] <= 2.6 * ms["raw bytes"]
    assert statistics.median(first) <= 100


def test_scan_headers(chest: Path) -> None:
    paths = sorted(chest.rglob("*.dcm"))

    def ours() -> object:
        dicom_header.forget_headers()
        return [dicom_header.read_header(path) for path in paths]

    def peer() -> object:
        return [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]

    ms = medians({"ours": ours, "pydicom": peer})
    for name, value in ms.items():
        print(f"\n  {name:8} {value / len(paths):6.3f} ms a file", end="")
    print(f"\n  {ms['pydicom'] / ms['ours']:.1f} x faster")
    assert ms["pydicom"] >= 8.0 * ms["ours"]


def curve(name: str, files: Sequence[Path], counts: Sequence[int], rounds: int) -> None:
    """Scan and open the first slices of a series, and compare what each takes: no more where there are many."""

    def opening(count: int) -> Callable[[], object]:
        def scan_and_open() -> object:
            dicom_header.forget_headers()
            (study,) = scan_paths(CTX, files[:count])
            volume = open_series(CTX, study.series[0])
            assert volume.array.shape[0] == count
            return volume

        return scan_and_open

    times = shortest({str(count): opening(count) for count in counts}, rounds)
    each = [ms / count * 1e3 for ms, count in zip(times.values(), counts, strict=True)]
    print(f"\n  {name}: " + ", ".join(f"{n} slices {us:.0f} us each" for n, us in zip(counts, each, strict=True)))
    assert max(each[1:]) <= 1.5 * each[0], "linear in slices"


def test_linear_in_slices(tmp_path: Path) -> None:
    files = write_many(tmp_path, 1, 2000, (128, 128))
    curve("made", files, (100, 500, 1000, 2000), 5)


@pytest.mark.parametrize("name", ["chest_ct_LIDC-IDRI-0001", "brain_mr_4series_PGBM-003"])
def test_linear_in_slices_of_a_real_series(name: str, shared_data: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(shared_data / "dicom" / f"{name}.zip") as archive:
        archive.extractall(tmp_path)
    (study,) = scan_paths(CTX, [tmp_path])
    files = max((series.files for series in study.series if series.volume), key=len)
    curve(name, files, (len(files) // 4, len(files) // 2, len(files)), 9)


MEMORY = """
import sys
from pathlib import Path
import psutil
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from tests.dicom_makers import write_many
from medviewer.jobs.memory import peak_rss
(study,) = scan_paths(NullContext(), [Path(sys.argv[1])])
before = psutil.Process().memory_info().rss
volume = open_series(NullContext(), study.series[0])
print((peak_rss() - before) / volume.array.nbytes)
"""


def test_memory_of_opening(chest: Path) -> None:
    run = subprocess.run([sys.executable, "-c", MEMORY, str(chest)], capture_output=True, text=True, check=True)
    times = float(run.stdout)
    print(f"\n  peak memory {times:.2f} x the volume")
    assert times <= 1.2
