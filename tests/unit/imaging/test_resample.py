"""Resampling: identity is free, whole shifts are exact, everything else agrees with scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medviewer.core.geometry import Geometry
from medviewer.core.region import Region
from medviewer.core.transform import AffineTransform
from medviewer.imaging.resample import resample_onto

GEOMETRY = Geometry((8, 7, 6), (0.8, 0.9, 2.0), (-3.0, 4.0, 10.0))
SHEARED = Geometry((9, 8, 7), (0.7, 0.7, 1.5), (-3.0, 4.0, 10.0), (1, 0, 0, 0, 1, 0.3, 0, 0, 0.954))
ARRAY = np.random.default_rng(0).integers(-1000, 1000, (6, 7, 8)).astype(np.int16)


def test_onto_its_own_grid_is_the_array_itself():
    assert resample_onto(ARRAY, GEOMETRY, Geometry((8, 7, 6), (0.8, 0.9, 2.0), (-3.0, 4.0, 10.0))) is ARRAY


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.bool_, np.float32, np.uint16])
def test_the_identity_transform_changes_nothing(interpolation, dtype):
    array = (ARRAY % 2).astype(dtype)
    result = resample_onto(array, GEOMETRY, GEOMETRY, AffineTransform.identity(), interpolation)
    np.testing.assert_array_equal(result, array)
    assert result.dtype == dtype


def test_cropping_is_exact():
    region = Region((1, 2, 3), (5, 6, 8))
    result = resample_onto(ARRAY, GEOMETRY, GEOMETRY.cropped(region))
    np.testing.assert_array_equal(result, ARRAY[region.slices])


@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(-9, 9))
def test_whole_shifts_pad_with_the_default(i, j, k):
    target = Geometry((8, 7, 6), GEOMETRY.spacing, tuple(GEOMETRY.index_to_lps((i, j, k))))
    result = resample_onto(ARRAY, GEOMETRY, target, default=-5)
    for kji in [(0, 0, 0), (5, 6, 7), (2, 3, 4)]:
        at = (kji[0] + k, kji[1] + j, kji[2] + i)
        inside = all(0 <= n < size for n, size in zip(at, ARRAY.shape, strict=True))
        assert result[kji] == (ARRAY[at] if inside else -5)


@settings(deadline=None)
@given(st.floats(-0.4, 0.4), st.floats(-2, 2), st.booleans())
def test_any_affine_agrees_with_scipy(angle, shift, sheared):
    source = SHEARED if sheared else GEOMETRY
    smooth = np.fromfunction(lambda k, j, i: 3.0 * k + 2.0 * j - i, source.shape).astype(np.float32)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn[0, 3] = shift
    target = Geometry((5, 6, 4), (1.1, 0.9, 1.3), (-1.0, 5.0, 12.0))
    result = resample_onto(smooth, source, target, AffineTransform.from_matrix(turn), default=-99)
    matrix = source.lps_to_index_matrix @ turn @ target.index_to_lps_matrix
    flip = matrix[:3, :3][::-1, ::-1]
    shift_kji = matrix[:3, 3][::-1]
    wanted = ndimage.affine_transform(smooth, flip, shift_kji, target.shape, order=1, mode="constant", cval=-99)
    # At the very edge both mix in the default by rules of their own.
    inside = ndimage.affine_transform(np.ones_like(smooth), flip, shift_kji, target.shape, order=1, cval=0) > 0.999
    np.testing.assert_allclose(result[inside], wanted[inside], atol=1e-2)


def test_a_ramp_keeps_its_place_in_the_world():
    ramp = np.fromfunction(lambda k, j, i: GEOMETRY.index_to_lps(np.stack([i, j, k], -1))[..., 2], GEOMETRY.shape)
    target = Geometry((4, 4, 9), (1.0, 1.0, 0.5), (-2.0, 5.0, 12.0))
    result = resample_onto(ramp.astype(np.float32), GEOMETRY, target)
    np.testing.assert_allclose(result[:, 1, 1], 12.0 + 0.5 * np.arange(9), atol=1e-4)


def test_labels_are_never_mixed():
    labels = np.random.default_rng(1).choice([0, 3, 900], (6, 7, 8)).astype(np.uint16)
    target = Geometry((11, 9, 13), (0.5, 0.6, 0.9), (-2.9, 4.1, 10.2))
    result = resample_onto(labels, GEOMETRY, target, interpolation="nearest")
    assert set(np.unique(result)) <= {0, 3, 900}
    assert result.dtype == np.uint16


def test_the_transform_maps_target_to_source():
    moved = AffineTransform.from_matrix([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 2.0], [0, 0, 0, 1]])
    result = resample_onto(ARRAY, GEOMETRY, GEOMETRY, moved)
    np.testing.assert_array_equal(result[:-1], ARRAY[1:])


def test_the_source_is_not_written_to_and_must_fit():
    array = ARRAY.copy()
    array.setflags(write=False)
    resample_onto(array, GEOMETRY, SHEARED)
    with pytest.raises(ValueError, match="does not fit"):
        resample_onto(ARRAY[1:], GEOMETRY, SHEARED)
