"""Geometry is exact per slice, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medviewer.core.errors import GeometryError
from medviewer.io.dicom_geometry import SliceFrame, fit_stack, slice_frame, stack_geometry
from medviewer.io.dicom_header import read_header

unit = st.floats(-1.0, 1.0)


def frame_from(row: np.ndarray, other: np.ndarray, spacing: tuple[float, float]) -> SliceFrame | None:
    if np.linalg.norm(row) < 0.1 or np.linalg.norm(np.cross(row, other)) < 0.1:
        return None
    row = row / np.linalg.norm(row)
    column = other - (other @ row) * row
    return SliceFrame(row, column / np.linalg.norm(column), spacing, (64, 48))


@given(
    arrays(np.float64, 3, elements=unit), arrays(np.float64, 3, elements=unit),
    st.floats(0.2, 3), st.floats(0.2, 3), st.floats(0.3, 10), st.integers(2, 60), st.floats(-0.5, 0.5),
)  # fmt: skip
def test_any_even_stack_is_exact(row, other, di, dj, dk, count, shear):
    frame = frame_from(row, other, (di, dj))
    if frame is None:
        return
    step = dk * frame.normal + shear * frame.column
    positions = np.array([12.0, -7.0, 100.0]) + step * np.arange(count)[:, None]
    fit = fit_stack([frame] * count, positions)
    assert fit.geometry is not None
    assert fit.deviation_mm < 0.03
    assert np.linalg.det(fit.geometry.direction_matrix) > 0
    assert np.abs(fit.geometry.index_to_lps([(0, 0, k) for k in range(count)]) - positions).max() < 0.03
    assert fit.geometry.index_to_lps((1, 0, 0)) - fit.geometry.origin == pytest.approx(frame.row * di)
    assert fit.geometry.index_to_lps((0, 1, 0)) - fit.geometry.origin == pytest.approx(frame.column * dj)


@given(st.integers(0, 9), st.floats(0.25, 5))
def test_one_slice_out_of_place_is_never_stacked(which, by):
    frame = SliceFrame(np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), (0.7, 0.7), (512, 512))
    positions = np.array([(0.0, 0.0, 20.0 * n) for n in range(10)])
    positions[which, 2] += by
    assert fit_stack([frame] * 10, positions).geometry is None


def test_pixel_spacing_is_between_rows_then_columns(make_series):
    (path,) = make_series(1, PixelSpacing=[0.5, 0.9], SliceThickness=3.0)
    geometry = stack_geometry([read_header(path)])
    assert geometry.spacing == (0.9, 0.5, 3.0)
    assert geometry.size == (8, 6, 1)


@pytest.mark.parametrize(
    ("element", "value", "code"),
    [
        ("ImagePositionPatient", None, "E_NO_POSITION"),
        ("ImageOrientationPatient", None, "E_NO_POSITION"),
        ("ImageOrientationPatient", [0, 0, 0, 0, 0, 0], "E_BAD_IOP"),
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0], "E_BAD_IOP"),
        ("ImageOrientationPatient", [2, 0, 0, 0, 2, 0], "E_BAD_IOP"),
        ("PixelSpacing", None, "E_NO_SPACING"),
        ("PixelSpacing", [0, 1], "E_NO_SPACING"),
    ],
)
def test_what_does_not_describe_a_grid_is_named(make_series, element, value, code):
    (path,) = make_series(1, **{element: value})
    with pytest.raises(GeometryError) as refusal:
        stack_geometry([read_header(path)])
    assert refusal.value.code == code
    assert path.name in refusal.value.text


def test_orientation_written_with_few_digits_is_made_orthonormal(make_series):
    path = make_series(1, ImageOrientationPatient=[0.866, 0.5, 0, -0.5, 0.866, 0])[0]
    frame = slice_frame(read_header(path))
    assert frame.row @ frame.column == pytest.approx(0, abs=1e-12)
    assert np.linalg.norm(frame.normal) == pytest.approx(1, abs=1e-12)


def test_slices_that_differ_are_refused(make_series):
    paths = make_series(3, each=lambda n: {"PixelSpacing": [0.7, 0.8 + 0.1 * (n == 2)]})
    with pytest.raises(GeometryError, match="differs"):
        stack_geometry([read_header(path) for path in paths])


def test_uneven_slices_are_refused_with_the_distance(make_series):
    paths = make_series([(0, 0, z) for z in (0, 2, 4, 8)])
    with pytest.raises(GeometryError) as refusal:
        stack_geometry([read_header(path) for path in paths])
    assert refusal.value.code == "E_UNEVEN_SPACING"
    assert "mm" in refusal.value.text
