"""Smoothing: what is known of each filter, agreement with others, and borders that stay shared."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medviewer.core.geometry import Geometry
from medviewer.imaging.sitk_image import to_sitk
from medviewer.imaging.smooth import gaussian, gaussian_reach, joint, median, median_size
from tests.mask_makers import SHEAR, TURN, grids, lengths_mm, speckle, upright

QUICK = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 10_000)
UPRIGHT = tuple(np.eye(3).ravel())


@QUICK
@given(grids(), seeds, st.sampled_from([1.0, 2.0, 3.0, 5.0]), st.sampled_from([0.2, 0.5, 0.8]))
def test_median_is_the_one_of_scipy(geometry, seed, size_mm, share):
    mask = speckle(geometry, seed, share)
    expected = ndimage.median_filter(mask.view(np.uint8), median_size(geometry, size_mm), mode="nearest")
    np.testing.assert_array_equal(median(mask, geometry, size_mm), expected.view(np.bool_))


@QUICK
@given(upright(), seeds)
def test_median_is_the_one_of_simpleitk(geometry, seed):
    mask = speckle(geometry, seed, 0.5)
    radius = [n // 2 for n in median_size(geometry, 3.0)[::-1]]
    expected = sitk.GetArrayFromImage(sitk.Median(to_sitk(mask, geometry), radius)).astype(np.bool_)
    np.testing.assert_array_equal(median(mask, geometry, 3.0), expected)


@pytest.mark.parametrize(("size_mm", "voxels"), [(0.5, 1), (3.0, 3), (3.9, 3), (4.0, 5), (5.0, 5)])
def test_the_kernel_is_the_nearest_odd_number_of_voxels(size_mm, voxels):
    assert median_size(Geometry((5, 5, 5), (1, 1, 1)), size_mm) == (voxels,) * 3
    assert median_size(Geometry((5, 5, 5), (1, 1, 1)), size_mm, flat=2) == (1, voxels, voxels)


@settings(max_examples=20, deadline=None)
@given(grids(), seeds, st.sampled_from([0.5, 1.0]))
def test_median_and_gaussian_of_the_rest_is_the_rest(geometry, seed, size_mm):
    mask = speckle(geometry, seed, 0.5)
    np.testing.assert_array_equal(median(~mask, geometry, size_mm), ~median(mask, geometry, size_mm))
    # Where it is exactly one half, the mask and the rest both have it.
    one, rest = gaussian(mask, geometry, size_mm), gaussian(~mask, geometry, size_mm)
    assert (one != rest).mean() > 0.99


@pytest.mark.parametrize("direction", [UPRIGHT, TURN, SHEAR], ids=["upright", "oblique", "sheared"])
def test_a_gaussian_is_round_in_mm_on_every_grid(direction):
    geometry = Geometry((41, 33, 21), (0.7, 0.9, 1.6), direction=direction)
    apart = lengths_mm(geometry, (20, 16, 10))
    sd, radius = 2.0, 7.0
    smooth = gaussian(apart <= radius, geometry, sd)
    # A ball stays a ball, a bit smaller: where it ends does not depend on the direction.
    edge = smooth & ~ndimage.binary_erosion(smooth)
    assert apart[edge].max() - apart[edge].min() < 1.3 * max(geometry.spacing)
    expected = radius - sd**2 / radius
    assert (3 / 4 / np.pi * smooth.sum() * geometry.voxel_volume_mm3) ** (1 / 3) == pytest.approx(expected, abs=0.25)


def test_the_two_ways_to_blur_agree_where_both_can():
    almost = np.array(UPRIGHT)
    almost[5] = 2e-3
    upright_grid = Geometry((20, 18, 12), (0.8, 0.9, 1.5))
    slanted = Geometry(
        (20, 18, 12),
        (0.8, 0.9, 1.5),
        direction=tuple(almost / np.linalg.norm(almost.reshape(3, 3), axis=0)[[0, 1, 2] * 3]),
    )
    mask = lengths_mm(upright_grid, (9, 8, 6)) < 6
    assert (gaussian(mask, upright_grid, 1.5) == gaussian(mask, slanted, 1.5)).mean() > 0.998


def parted(geometry):
    """A ball cut into two labels by a rough border, with a third label on top."""
    rng = np.random.default_rng(3)
    apart = lengths_mm(geometry, tuple((n - 1) / 2 for n in geometry.size))
    labels = np.zeros(geometry.shape, np.uint16)
    i = np.indices(geometry.shape)[2] + rng.integers(-1, 2, geometry.shape)
    ball = apart + 0.6 * rng.normal(size=geometry.shape) < 13.0
    labels[ball] = np.where(i < geometry.size[0] / 2, 7, 300)[ball]
    k = np.indices(geometry.shape)[0]
    labels[ball & (k > 0.7 * geometry.size[2])] = 12
    return labels


@pytest.mark.parametrize("direction", [UPRIGHT, SHEAR], ids=["upright", "sheared"])
def test_joint_smoothing_keeps_volumes_and_shared_borders(direction):
    geometry = Geometry((48, 48, 26), (0.8, 0.8, 1.5), direction=direction)
    labels = parted(geometry)
    smooth = joint(labels, (7, 12, 300), geometry, 1.5)
    assert set(np.unique(smooth)) == {0, 7, 12, 300}
    whole = (smooth > 0).sum() / (labels > 0).sum()
    assert whole == pytest.approx(1.0, abs=0.02)
    for value in (7, 12, 300):
        assert (smooth == value).sum() == pytest.approx((labels == value).sum(), rel=0.05)
    # No gap opens inside: the rough ball without its shell is still full.
    core = lengths_mm(geometry, tuple((n - 1) / 2 for n in geometry.size)) < 9.0
    assert (smooth[core] > 0).all()

    def border(array):
        return sum(int((np.diff(array.astype(int), axis=axis) != 0).sum()) for axis in range(3))

    assert border(smooth) < 0.6 * border(labels)


@QUICK
@given(upright(), seeds)
def test_joint_smoothing_of_one_label_and_of_its_rest_is_the_same(geometry, seed):
    mask = ndimage.binary_opening(speckle(geometry, seed, 0.8))
    one = joint(mask.astype(np.uint16), (1,), geometry, 0.8)
    both = joint(np.where(mask, 1, 2), (1, 2), geometry, 0.8)
    # Label 2 plays the part of the background.
    np.testing.assert_array_equal(one == 1, both == 1)


def test_taubin_does_not_shrink_where_a_gaussian_does():
    geometry = Geometry((60, 60, 60), (1.0, 1.0, 1.0))
    mask = lengths_mm(geometry, (30, 30, 30)) <= 15.0
    taubin = joint(mask.astype(np.uint16), (1,), geometry, 3.0).sum() / mask.sum()
    assert taubin == pytest.approx(1.0, abs=0.01)
    assert gaussian(mask, geometry, 3.0).sum() / mask.sum() < 0.9


def test_labels_that_are_not_named_are_background():
    geometry = Geometry((20, 20, 20), (1.0, 1.0, 1.0))
    labels = np.zeros(geometry.shape, np.uint16)
    labels[5:15, 5:15, 5:10] = 4
    labels[5:15, 5:15, 10:15] = 9
    alone = np.where(labels == 4, labels, 0)
    np.testing.assert_array_equal(joint(labels, (4,), geometry, 1.0), joint(alone, (4,), geometry, 1.0))


def test_films_are_smoothed_frame_by_frame():
    geometry = Geometry((12, 12, 4), (1.0, 1.0, 1.0))
    labels = np.zeros(geometry.shape, np.uint16)
    labels[1, 3:9, 3:9] = 1
    for smooth in (
        joint(labels, (1,), geometry, 1.0, flat=2) > 0,
        gaussian(labels > 0, geometry, 1.0, flat=2),
        median(labels > 0, geometry, 3.0, flat=2),
    ):
        assert smooth[1].any()
        assert not smooth[[0, 2, 3]].any()
    assert gaussian_reach(geometry, 1.0, flat=2) == (0, 4, 4)


def test_joint_smoothing_can_be_ended():
    class Stop(BaseException):
        pass

    def stop(done: float) -> None:
        if done > 0:
            raise Stop

    labels = np.ones((4, 4, 4), np.uint16)
    labels[2:] = 2
    with pytest.raises(Stop):
        joint(labels, (1, 2), Geometry((4, 4, 4), (1, 1, 1)), 1.0, progress=stop)
