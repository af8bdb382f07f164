"""Islands are a partition of the mask; holes are what the outside does not reach."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import measure

from medviewer.imaging.islands import Islands, fill_holes

QUICK = settings(max_examples=80, deadline=None)
touches = st.sampled_from(["faces", "edges", "corners"])


@st.composite
def masks(draw):
    shape = draw(st.sampled_from([(4, 5, 6), (1, 7, 7), (5, 1, 9), (3, 3, 3)]))
    share = draw(st.sampled_from([0.0, 0.1, 0.3, 0.6, 0.9, 1.0]))
    return np.random.default_rng(draw(st.integers(0, 10_000))).random(shape) < share


@QUICK
@given(masks(), touches)
def test_islands_are_a_partition(mask, touch):
    islands = Islands.of(mask, touch)
    np.testing.assert_array_equal(islands.labels > 0, mask)
    assert islands.sizes.sum() == mask.sum()
    assert islands.count == islands.labels.max()
    for number, box in enumerate(islands.boxes(), start=1):
        part = islands.labels == number
        assert part.sum() == islands.sizes[number] == part[box.slices].sum() > 0


@QUICK
@given(masks(), touches)
def test_they_are_those_of_scikit_image(mask, touch):
    expected = measure.label(mask, connectivity={"faces": 1, "edges": 2, "corners": 3}[touch])
    np.testing.assert_array_equal(Islands.of(mask, touch).labels, expected)


@QUICK
@given(masks(), st.booleans())
def test_they_are_those_of_simpleitk(mask, corners):
    found = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.view(np.uint8)), corners))
    expected = sitk.GetArrayFromImage(found)
    islands = Islands.of(mask, "corners" if corners else "faces")
    assert islands.count == expected.max()
    assert islands.largest().sum() == (expected == 1).sum()
    assert sorted(islands.sizes[1:]) == sorted(np.bincount(expected.ravel())[1:])


@QUICK
@given(masks(), touches, st.integers(1, 30))
def test_keeping_by_size(mask, touch, voxels):
    islands = Islands.of(mask, touch)
    kept = islands.at_least(voxels)
    again = Islands.of(kept, touch)
    assert not (kept & ~mask).any()
    assert sorted(again.sizes[1:]) == sorted(n for n in islands.sizes[1:] if n >= voxels)
    largest = Islands.of(islands.largest(), touch)
    assert largest.count == min(1, islands.count)
    assert largest.sizes.max(initial=0) == islands.sizes.max(initial=0)
    assert [islands.sizes[n] for n in islands.by_size] == sorted(islands.sizes[1:], reverse=True)


@QUICK
@given(masks(), st.lists(st.tuples(*[st.integers(-2, 9)] * 3), max_size=3))
def test_picking_takes_whole_islands_and_no_others(mask, places):
    islands = Islands.of(mask)
    picked = islands.at(places)
    inside = [p for p in places if all(0 <= n < size for n, size in zip(p, mask.shape, strict=True)) and mask[p]]
    assert set(np.unique(islands.labels[picked])) == {islands.labels[p] for p in inside}
    np.testing.assert_array_equal(picked, np.isin(islands.labels, np.unique(islands.labels[picked])) & mask)


@QUICK
@given(masks(), st.sampled_from([0, 1, 2]))
def test_slice_by_slice_is_each_slice_alone(mask, axis):
    islands = Islands.of(mask, flat=axis)
    slices = np.moveaxis(mask, 2 - axis, 0)
    assert islands.count == sum(measure.label(part, connectivity=1).max() for part in slices)


@QUICK
@given(masks())
def test_holes_are_those_of_scipy(mask):
    np.testing.assert_array_equal(fill_holes(mask), ndimage.binary_fill_holes(mask))


@QUICK
@given(masks(), st.sampled_from([0, 1, 2]))
def test_holes_in_the_plane_are_those_of_each_slice(mask, axis):
    filled = np.moveaxis(fill_holes(mask, flat=axis), 2 - axis, 0)
    for part, done in zip(np.moveaxis(mask, 2 - axis, 0), filled, strict=True):
        np.testing.assert_array_equal(done, ndimage.binary_fill_holes(part))


@QUICK
@given(masks(), st.sampled_from([None, 0, 1, 2]))
def test_filling_twice_is_once_and_takes_nothing_away(mask, flat):
    once = fill_holes(mask, flat=flat)
    assert (once | ~mask).all()
    np.testing.assert_array_equal(fill_holes(once, flat=flat), once)


@pytest.mark.parametrize(("flat", "filled"), [(None, False), (2, True), (0, False)])
def test_a_tube_is_filled_in_the_plane_only(flat, filled):
    tube = np.zeros((5, 7, 7), np.bool_)
    tube[:, 1:6, 1:6] = True
    tube[:, 3, 3] = False
    assert fill_holes(tube, flat=flat)[2, 3, 3] == filled
