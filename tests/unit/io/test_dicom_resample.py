"""Unevenly spaced slices on a regular grid: true slices stay, what lies between them is computed, or there is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.core.errors import OutOfMemory
from medviewer.io import native_pixels
from medviewer.io.dicom_geometry import TOLERANCE_MM, SliceFrame
from medviewer.io.dicom_resample import MOST_PLANES, regular_grid, resample_between
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext

CTX = NullContext()
FRAME = SliceFrame(np.array([1.0, 0, 0]), np.array([0, 0.96, -0.28]), (0.7, 0.8), (40, 32))


def at(*depths: float, along=(0.0, 0.0, 1.0)) -> np.ndarray:
    return np.array([12.0, -7.0, 100.0]) + np.outer(depths, along)


def grid_at(*depths: float):
    positions = at(*depths)
    return regular_grid([FRAME] * len(positions), positions)


@given(st.lists(st.floats(0.5, 9.0), min_size=2, max_size=30))
def test_every_slice_has_a_plane_of_its_own_within_the_tolerance(gaps):
    depths = np.cumsum([0.0, *gaps])
    grid = grid_at(*depths)
    assert grid is not None
    assert len(set(grid.planes)) == len(depths)
    assert grid.planes[0] == 0
    assert grid.planes[-1] == grid.geometry.size[2] - 1
    planes = grid.geometry.index_to_lps([(0, 0, k) for k in grid.planes])
    assert np.linalg.norm(planes - at(*depths), axis=1).max() <= TOLERANCE_MM + 1e-9
    np.testing.assert_allclose(grid.geometry.index_to_lps([(0, 0, d) for d in grid.depths]), planes, atol=0.11)


@given(st.lists(st.integers(0, 40), min_size=4, max_size=12, unique=True), st.floats(0.5, 6.0))
def test_missing_slices_leave_the_spacing_that_was_meant(numbers, spacing):
    numbers = np.array(sorted(numbers)) - min(numbers)
    if np.gcd.reduce(numbers) != 1 or np.median(np.diff(numbers)) != 1:
        return
    grid = grid_at(*(numbers * spacing))
    assert grid.planes == tuple(numbers)
    assert grid.geometry.spacing[2] == pytest.approx(spacing)


def test_slices_that_leave_the_line_or_need_too_many_planes_have_no_grid():
    crooked = at(0, 2, 5)
    crooked[1, 0] += 1.0
    assert regular_grid([FRAME] * 3, crooked) is None
    assert grid_at(0, 0.5, 0.8 * MOST_PLANES) is None


def test_between_two_slices_values_are_weighed_by_their_distances():
    grid = grid_at(0, 1, 4)
    slices = np.stack([np.full((32, 40), v, np.int16) for v in (0, 10, 40)])
    linear = resample_between(CTX, slices, grid, "linear", None)
    assert linear.dtype == np.int16
    assert [int(plane[0, 0]) for plane in linear] == [0, 10, 20, 30, 40]
    nearest = resample_between(CTX, slices, grid, "nearest", None)
    assert [int(plane[0, 0]) for plane in nearest] == [0, 10, 10, 40, 40]


def test_what_is_outside_the_field_of_view_is_not_mixed_with_what_is_inside():
    slices = np.stack([np.full((32, 40), v, np.float32) for v in (0, -2000, 100)])
    found = resample_between(CTX, slices, grid_at(0, 1, 3), "linear", -2000.0)
    assert [float(plane[0, 0]) for plane in found] == [0, -2000, 100, 100]


def test_a_grid_that_is_too_big_for_the_memory_is_refused(monkeypatch):
    free = native_pixels.psutil.virtual_memory()._replace(available=1000)
    monkeypatch.setattr(native_pixels.psutil, "virtual_memory", lambda: free)
    with pytest.raises(OutOfMemory):
        resample_between(CTX, np.zeros((3, 32, 40)), grid_at(0, 1, 3), "linear", None)


@pytest.mark.parametrize(("points", "computed"), [(2, 4), (7, 0)])
def test_many_uneven_time_points_are_not_listed_three_times(tmp_path, make_series, points, computed):
    depths = (0, 2, 4, 8, 10)
    make_series(
        [(0, 0, z) for _ in range(points) for z in depths],
        each=lambda n: {"TemporalPositionIdentifier": n // 5 + 1, "SOPInstanceUID": f"1.2.{n + 1}"},
    )
    (study,) = scan_paths(CTX, [tmp_path])
    assert sum(bool(series.interpolation) for series in study.series) == computed


def test_nothing_is_shown_before_the_planes_are_computed(tmp_path, make_series):
    make_series([(0, 0, z) for z in (0, 2, 4, 8, 10)])
    (study,) = scan_paths(CTX, [tmp_path])
    (series,) = [s for s in study.series if s.interpolation == "linear"]
    seen, filled = [], []
    volume = open_series(CTX, series, on_first=lambda v: seen.append(v.array.copy()), on_filled=filled.append)
    np.testing.assert_array_equal(seen, [volume.array])
    assert filled == [volume.geometry.region]
    between = volume.array[3]
    np.testing.assert_allclose(between, (volume.array[2].astype(float) + volume.array[4]) / 2, atol=0.5)
