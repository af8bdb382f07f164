"""Mirrors: twice is once, arrays flip exactly, and on any grid points land where geometry says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medviewer.core.geometry import Geometry, vec3
from medviewer.core.region import Region
from medviewer.imaging.mirror import mirrored
from tests.mask_makers import SHEAR, grids, speckle

QUICK = settings(max_examples=60, deadline=None)
NORMALS = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def whole(geometry, region, mask):
    array = np.zeros(geometry.shape, np.bool_)
    array[region.slices] = mask
    return array


@QUICK
@given(st.integers(0, 10_000), st.sampled_from([0, 1, 2]))
def test_through_the_middle_of_a_grid_along_the_patient_an_array_is_flipped(seed, axis):
    geometry = Geometry((9, 8, 7), (0.7, 0.7, 2.5), (4.0, 5.0, 6.0), (-1, 0, 0, 0, 1, 0, 0, 0, 1))
    mask = speckle(geometry, seed, 0.3)
    region, result = mirrored(mask, geometry.region, geometry, geometry.center_lps, NORMALS[axis])
    np.testing.assert_array_equal(whole(geometry, region, result), np.flip(mask, 2 - axis))


@QUICK
@given(st.integers(0, 10_000), st.sampled_from([0, 1, 2]), st.integers(0, 12))
def test_twice_is_once_where_the_image_has_room(seed, axis, half_steps):
    geometry = Geometry((12, 12, 12), (0.7, 1.1, 2.5), (4.0, 5.0, 6.0))
    region = Region((3, 4, 5), (7, 8, 7))
    mask = np.random.default_rng(seed).random(region.shape) < 0.5
    centre = [5.5, 5.5, 5.0]
    centre[axis] += half_steps / 4 // 0.5 * 0.5 - 1
    point = vec3(geometry.index_to_lps(centre))
    first, once = mirrored(mask, region, geometry, point, NORMALS[axis])
    back, twice = mirrored(once, first, geometry, point, NORMALS[axis])
    if once.sum() == mask.sum():
        np.testing.assert_array_equal(whole(geometry, back, twice), whole(geometry, region, mask))
    assert once.sum() <= mask.sum()


@QUICK
@given(grids(), st.integers(0, 10_000), st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda n: np.linalg.norm(n) > 0.3))
def test_on_any_grid_a_voxel_is_what_lies_at_its_mirror_image(geometry, seed, normal):
    mask = speckle(geometry, seed, 0.4)
    point = vec3(np.array(geometry.center_lps) + 0.37)
    region, result = mirrored(mask, geometry.region, geometry, point, normal)
    found = whole(geometry, region, result)
    unit = np.array(normal) / np.linalg.norm(normal)
    kji = np.argwhere(np.ones(geometry.shape))
    lps = geometry.index_to_lps(kji[:, ::-1])
    images = geometry.lps_to_index(lps - 2 * ((lps - point) @ unit)[:, None] * unit)
    clear = np.abs(images - np.floor(images) - 0.5).min(axis=1) > 1e-3
    nearest = np.floor(images + 0.5).astype(int)[:, ::-1]
    inside = ((nearest >= 0) & (nearest < geometry.shape)).all(axis=1)
    expected = np.zeros(len(kji), np.bool_)
    expected[inside] = mask[tuple(nearest[inside].T)]
    np.testing.assert_array_equal(found[tuple(kji.T)][clear], expected[clear])


def test_on_a_sheared_grid_the_mirror_is_in_the_patient_not_in_the_array():
    geometry = Geometry((21, 41, 21), (1.0, 1.0, 2.0), direction=SHEAR)
    mask = np.zeros(geometry.shape, np.bool_)
    mask[5, 20, 10] = True
    region, result = mirrored(mask, geometry.region, geometry, geometry.center_lps, (0.0, 0.0, 1.0))
    (k, j, i) = np.argwhere(result)[0] + region.lower
    here, there = geometry.index_to_lps((10, 20, 5)), geometry.index_to_lps((i, j, k))
    assert np.array(here) + there == pytest.approx([2 * here[0], 2 * here[1], 2 * geometry.center_lps[2]], abs=1.0)
