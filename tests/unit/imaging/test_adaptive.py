"""The adaptive brush never paints more than the brush, nor anything that does not hang together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import label

from medviewer.imaging.adaptive import connected_to, like_center

SHAPE = (3, 7, 8)
images = hnp.arrays(np.int16, SHAPE, elements=st.integers(-200, 200))
masks = hnp.arrays(np.bool_, SHAPE)
centers = st.tuples(st.integers(0, 2), st.integers(0, 6), st.integers(0, 7))


@settings(max_examples=100, deadline=None)
@given(images, masks, centers, st.one_of(st.none(), st.floats(0, 300)))
def test_it_is_a_connected_part_of_the_brush_with_its_centre(values, covered, center, tolerance):
    part = like_center(values, covered, center, tolerance)
    assert not (part & ~covered).any()
    assert part[center] == covered[center]
    assert label(part)[1] == (1 if covered[center] else 0)


@settings(max_examples=60, deadline=None)
@given(images, masks, centers, st.floats(0, 300), st.floats(0, 300))
def test_more_tolerance_never_paints_less(values, covered, center, a, b):
    small, large = (like_center(values, covered, center, t) for t in sorted((a, b)))
    assert not (small & ~large).any()


def test_it_stops_at_an_edge_and_does_not_leap_over_a_gap():
    values = np.zeros((1, 21, 21), np.int16)
    values[0, :, 8:13] = 100
    values[0, :, 16:] = 100
    values += np.random.default_rng(1).normal(0, 8, values.shape).astype(np.int16)
    j, i = np.mgrid[:21, :21]
    covered = (np.hypot(j - 10, i - 10) <= 9)[None]
    part = like_center(values, covered, (0, 10, 10))
    assert part[0, :, :8].sum() + part[0, :, 13:].sum() == 0
    assert part.sum() > 0.95 * covered[0, :, 8:13].sum()


def test_a_noisy_but_even_place_is_painted_whole_by_a_wide_tolerance():
    values = np.random.default_rng(2).normal(40, 10, (1, 15, 15)).astype(np.float32)
    covered = np.ones(values.shape, bool)
    assert like_center(values, covered, (0, 7, 7), 100.0).all()


def test_a_centre_that_the_brush_does_not_cover_paints_nothing():
    covered = np.ones(SHAPE, bool)
    assert not like_center(np.zeros(SHAPE, np.int16), covered, (3, 0, 0)).any()


@pytest.mark.parametrize("place", [(0, 0, 0), (0, 0, 4)])
def test_connected_parts_are_those_of_faces(place):
    mask = np.array([[[1, 1, 0, 0, 1], [0, 0, 1, 0, 1]]], bool)
    part = connected_to(mask, place)
    assert part.sum() == 2
    assert part[place]
