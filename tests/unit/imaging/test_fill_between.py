from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.imaging.fill_between import best_axis, fill_between, gaps, signed_distance

SPACING = (2.0, 0.8, 0.7)


def drawn(seed: int) -> np.ndarray:
    """Discs on some slices along k, here and there none."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((9, 14, 15), bool)
    j, i = np.ogrid[:14, :15]
    for k in range(9):
        if rng.random() < 0.4:
            y, x, r = rng.uniform(2, 12), rng.uniform(2, 12), rng.uniform(1, 4)
            mask[k] = (j - y) ** 2 + (i - x) ** 2 <= r * r
    return mask


masks = st.integers(0, 2**32 - 1).map(drawn)


@given(masks, st.integers(0, 2))
def test_drawn_slices_stay_as_they_are(mask: np.ndarray, axis: int) -> None:
    filled = np.moveaxis(fill_between(mask, axis, SPACING), axis, 0)
    stack = np.moveaxis(mask, axis, 0)
    used = stack.any(axis=(1, 2))
    assert np.array_equal(filled[used], stack[used])
    where = np.flatnonzero(used)
    if where.size:
        outside = np.ones(len(stack), bool)
        outside[where[0] : where[-1] + 1] = False
        assert not filled[outside].any()


@given(masks)
def test_it_is_the_same_from_either_end(mask: np.ndarray) -> None:
    assert np.array_equal(fill_between(mask[::-1], 0, SPACING)[::-1], fill_between(mask, 0, SPACING))


@given(masks)
def test_every_plane_is_filled_alike(mask: np.ndarray) -> None:
    turned = fill_between(np.moveaxis(mask, 0, 2), 2, (SPACING[1], SPACING[2], SPACING[0]))
    assert np.array_equal(np.moveaxis(turned, 2, 0), fill_between(mask, 0, SPACING))


@given(masks)
def test_no_slice_is_left_empty_and_filling_twice_changes_nothing(mask: np.ndarray) -> None:
    once = fill_between(mask, 0, SPACING)
    assert gaps(once, 0) == 0
    assert np.array_equal(fill_between(once, 0, SPACING), once)


def test_a_cone_between_two_discs() -> None:
    j, i = np.ogrid[:60, :60]
    mask = np.zeros((11, 60, 60), bool)
    radius2 = (j - 30) ** 2 + (i - 30) ** 2
    mask[0], mask[10] = radius2 <= 25**2, radius2 <= 5**2
    filled = fill_between(mask, 0, (3.0, 1.0, 1.0))
    truth = np.array([radius2 <= (25 - 2 * k) ** 2 for k in range(11)])
    assert 2 * (filled & truth).sum() / (filled.sum() + truth.sum()) > 0.98


def test_a_slanted_vessel_does_not_vanish() -> None:
    j, i = np.ogrid[:60, :60]
    mask = np.zeros((9, 60, 60), bool)
    truth = np.array([(j - 10 - 4 * k) ** 2 + (i - 12 - 3 * k) ** 2 <= 16 for k in range(9)])
    mask[0], mask[8] = truth[0], truth[8]
    filled = fill_between(mask, 0, (1.0, 1.0, 1.0))
    assert 2 * (filled & truth).sum() / (filled.sum() + truth.sum()) > 0.95


def test_a_branch_joins_its_stem() -> None:
    mask = np.zeros((5, 30, 30), bool)
    mask[0, 10:20, 4:26] = True
    mask[4, 12:18, 4:10] = mask[4, 12:18, 20:26] = True
    filled = fill_between(mask, 0, (1.0, 1.0, 1.0))
    assert filled[1:4, 15, 6].all()
    assert filled[1:4, 15, 23].all()
    assert not filled[3, 15, 14]


@pytest.mark.parametrize("axis", range(3))
def test_the_axis_is_where_slices_were_skipped(axis: int) -> None:
    stack = np.zeros((9, 9, 9), bool)
    stack[[1, 4, 6], 2:6, 3:7] = True
    assert [gaps(np.moveaxis(stack, 0, axis), n) for n in range(3)] == [3 if n == axis else 0 for n in range(3)]
    for preferred in range(3):
        assert best_axis(np.moveaxis(stack, 0, axis), preferred) == axis
    assert best_axis(np.ones((3, 3, 3), bool), 1) is None
    assert best_axis(np.zeros((3, 3, 3), bool), 1) is None


def test_distances_are_in_mm_and_treat_inside_and_outside_alike() -> None:
    shape = np.zeros((1, 9), bool)
    shape[0, 3:6] = True
    found = signed_distance(shape, (5.0, 0.5))
    assert np.allclose(found[0, :5], [-1.5, -1.0, -0.5, 0.5, 1.0])
    assert np.allclose(signed_distance(~shape, (5.0, 0.5)), -found)
