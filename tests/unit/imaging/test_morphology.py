"""Growing and shrinking by mm: exact on every grid, and the laws of morphology."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import morphology as skimage_morphology

from medviewer.core.geometry import Geometry
from medviewer.imaging.morphology import ball, closed, dilate, erode, opened, reach, shell
from tests.mask_makers import SHEAR, grids, speckle, upright

QUICK = settings(max_examples=60, deadline=None)
radii = st.sampled_from([0.3, 0.7, 1.4, 2.5, 3.0, 5.1])
seeds = st.integers(0, 10_000)
flats = st.sampled_from([None, 0, 2])


def furthest(mask, geometry, radius_mm):
    """Growing as it is defined: the distance in mm of every voxel to every voxel of the mask."""
    points = geometry.index_to_lps(np.argwhere(np.ones(geometry.shape))[:, ::-1])
    inside = points[mask.ravel()]
    if not len(inside):
        return np.zeros(geometry.shape, np.bool_)
    nearest = np.min(np.linalg.norm(points[:, None] - inside[None], axis=2), axis=1)
    return (nearest <= radius_mm + 1e-9).reshape(geometry.shape)


@QUICK
@given(grids(), seeds, radii)
def test_growing_is_the_distance_in_mm_on_every_grid(geometry, seed, radius_mm):
    mask = speckle(geometry, seed, 0.01)
    np.testing.assert_array_equal(dilate(mask, geometry, radius_mm), furthest(mask, geometry, radius_mm))


@QUICK
@given(upright(), seeds, radii, st.sampled_from([0.02, 0.5, 0.98]))
def test_it_agrees_with_distance_transforms(geometry, seed, radius_mm, share):
    mask = speckle(geometry, seed, share)
    spacing = geometry.spacing[::-1]
    if mask.any():
        outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
        np.testing.assert_array_equal(dilate(mask, geometry, radius_mm), outside <= radius_mm + 1e-9)
    if not mask.all():
        inside = ndimage.distance_transform_edt(mask, sampling=spacing)
        np.testing.assert_array_equal(erode(mask, geometry, radius_mm), inside > radius_mm + 1e-9)


@QUICK
@given(grids(), seeds, radii, flats, st.sampled_from([0.05, 0.5]))
def test_it_agrees_with_scikit_image_with_the_same_element(geometry, seed, radius_mm, flat, share):
    mask = speckle(geometry, seed, share)
    element = ball(geometry, radius_mm, flat=flat)
    expected = skimage_morphology.dilation(mask, element[::-1, ::-1, ::-1], mode="min")
    np.testing.assert_array_equal(dilate(mask, geometry, radius_mm, flat=flat), expected)


@QUICK
@given(grids(), seeds, radii, flats)
def test_growing_keeps_the_mask_and_shrinking_stays_in_it(geometry, seed, radius_mm, flat):
    mask = speckle(geometry, seed, 0.3)
    grown, shrunk = (f(mask, geometry, radius_mm, flat=flat) for f in (dilate, erode))
    assert (grown | ~mask).all()
    assert (mask | ~shrunk).all()
    np.testing.assert_array_equal(shrunk, ~dilate(~mask, geometry, radius_mm, flat=flat))


@QUICK
@given(grids(), seeds, radii)
def test_opening_and_closing_twice_is_once(geometry, seed, radius_mm):
    mask = speckle(geometry, seed, 0.6)
    for step in (opened, closed):
        once = step(mask, geometry, radius_mm)
        np.testing.assert_array_equal(step(once, geometry, radius_mm), once)
    assert (mask | ~opened(mask, geometry, radius_mm)).all()
    assert (closed(mask, geometry, radius_mm) | ~mask).all()


@QUICK
@given(grids(), seeds, radii)
def test_slices_that_are_no_neighbours_do_not_reach_each_other(geometry, seed, radius_mm):
    mask = speckle(geometry, seed, 0.2)
    grown = dilate(mask, geometry, radius_mm, flat=2)
    for k in range(geometry.shape[0]):
        alone = np.zeros_like(mask)
        alone[k] = mask[k]
        np.testing.assert_array_equal(grown[k], dilate(alone, geometry, radius_mm)[k])


@QUICK
@given(grids(), radii)
def test_nothing_grows_further_than_the_reach(geometry, radius_mm):
    element = ball(geometry, radius_mm)
    assert tuple(n // 2 for n in element.shape) == reach(geometry, radius_mm)
    assert element[tuple(n // 2 for n in element.shape)]
    for axis in range(3):
        # The next row of offsets would be further away than the radius, whatever the shear.
        step = np.zeros(3)
        step[2 - axis] = element.shape[axis] // 2 + 1
        normal = geometry.lps_to_index_matrix[2 - axis, :3]
        assert step[2 - axis] / np.linalg.norm(normal) > radius_mm * (1 - 1e-9)


def test_a_distance_of_whole_voxels_is_reached_whatever_the_rounding():
    geometry = Geometry((15, 1, 1), (0.1, 1.0, 1.0))
    mask = np.zeros(geometry.shape, np.bool_)
    mask[0, 0, 7] = True
    assert dilate(mask, geometry, 0.3)[0, 0].tolist() == [4 <= i <= 10 for i in range(15)]


@QUICK
@given(grids(), seeds, st.sampled_from([0.8, 1.5, 3.0]))
def test_walls_lie_where_they_are_said_to(geometry, seed, thickness_mm):
    mask = opened(speckle(geometry, seed, 0.9), geometry, 1.0)
    inside, medial, outside = (shell(mask, geometry, thickness_mm, wall) for wall in ("inside", "medial", "outside"))
    assert not (inside & ~mask).any()
    assert not (outside & mask).any()
    np.testing.assert_array_equal(inside, mask & ~erode(mask, geometry, thickness_mm))
    np.testing.assert_array_equal(outside, dilate(mask, geometry, thickness_mm) & ~mask)
    np.testing.assert_array_equal(medial & mask, mask & ~erode(mask, geometry, thickness_mm / 2))


@pytest.mark.parametrize("direction", [tuple(np.eye(3).ravel()), SHEAR])
def test_a_wall_has_the_volume_of_its_thickness(direction):
    geometry = Geometry((40, 40, 20), (1.0, 1.0, 2.0), direction=direction)
    middle = np.array(geometry.center_lps)
    points = geometry.index_to_lps(np.moveaxis(np.indices(geometry.shape), 0, -1)[..., ::-1])
    mask = np.linalg.norm(points - middle, axis=-1) <= 12.0
    ml = shell(mask, geometry, 4.0, "inside").sum() * geometry.voxel_volume_mm3
    assert ml == pytest.approx(4 / 3 * np.pi * (12**3 - 8**3), rel=0.06)
