"""Folders with many files and series larger than the memory: G28, G29, and what opening one of many series reads."""

from __future__ import annotations

import numpy as np
import pytest

from medviewer.core.errors import OutOfMemory
from medviewer.io import dicom_header, native_pixels
from medviewer.io.dicom_scan import scan
from medviewer.io.reader import open_series
from medviewer.io.series_part import part_of, parts_that_fit
from medviewer.jobs.job import JobCancelled, NullContext
from tests.dicom_makers import SHAPE, write_many

CTX = NullContext()


def test_G28_opening_one_of_many_series_reads_no_other(tmp_path, opened_files):
    paths = write_many(tmp_path, 20, 3)
    (study,) = scan(CTX, [tmp_path]).studies
    assert len(study.series) == 20
    assert set(paths) <= set(opened_files)
    dicom_header.forget_headers()
    opened_files.clear()
    series = study.series[7]
    assert open_series(CTX, series).array.shape == (3, *SHAPE)
    assert set(paths) & set(opened_files) == set(series.files)


def test_G28_a_scan_is_cancelled_between_files_and_between_series(tmp_path):
    write_many(tmp_path, 8, 8)

    class Stop(NullContext):
        def __init__(self, checks: int) -> None:
            super().__init__()
            self.left = checks

        def check_cancelled(self) -> None:
            self.left -= 1
            if self.left < 0:
                raise JobCancelled

        def progress(self, fraction: float | None, text: str = "") -> None:
            self.check_cancelled()

    counted = Stop(10**6)
    scan(counted, [tmp_path])
    total = 10**6 - counted.left
    assert total >= 8 + 64 // 32 + 8, "folders, files, series"
    for checks in range(total):
        with pytest.raises(JobCancelled):
            scan(Stop(checks), [tmp_path])


def test_G29_a_part_has_its_own_geometry_and_says_so(tmp_path):
    write_many(tmp_path, 1, 10)
    (study,) = scan(CTX, [tmp_path]).studies
    whole = open_series(CTX, study.series[0])
    for slices, spacing in ((slice(None, None, 3), 6.0), (slice(2, 6), 2.0)):
        part = part_of(study.series[0], slices)
        volume = open_series(CTX, part)
        np.testing.assert_array_equal(volume.array, whole.array[slices])
        assert volume.geometry.spacing[2] == spacing
        assert part.size == volume.geometry.size
        assert part.spacing == pytest.approx(volume.geometry.spacing)
        first = range(10)[slices][0]
        np.testing.assert_allclose(volume.geometry.origin, whole.geometry.index_to_lps((0.0, 0.0, float(first))))
        assert [w.code for w in volume.warnings] == ["W_PART"]
        assert f"{len(part.files)} of 10" in volume.warnings[0].text
        assert part.key != study.series[0].key


def test_G29_what_is_offered_fits_and_what_is_whole_does_not(tmp_path, monkeypatch):
    count, rows, columns = 200, 512, 512
    write_many(tmp_path, 1, count, (rows, columns), sparse=True)
    (study,) = scan(CTX, [tmp_path]).studies
    series = study.series[0]
    assert parts_that_fit(series) == ()
    monkeypatch.setattr(native_pixels, "memory_budget", lambda: 30 * rows * columns * 2)
    monkeypatch.setattr(native_pixels.NativeSource, "fill", lambda *_: pytest.fail("read before the forecast"))
    with pytest.raises(OutOfMemory) as refusal:
        open_series(CTX, series)
    assert refusal.value.code == "E_MEMORY"
    assert "0.1 GB" in refusal.value.text
    monkeypatch.undo()
    monkeypatch.setattr(native_pixels, "memory_budget", lambda: 30 * rows * columns * 2)
    parts = parts_that_fit(series)
    assert [part.size[2] for part in parts] == [29, 28, 28, 28]
    for part in parts:
        assert open_series(CTX, part).geometry.size == part.size
