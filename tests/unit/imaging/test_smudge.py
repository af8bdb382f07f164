"""Smudging moves a border with the finger, and nothing beyond its rim."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medviewer.imaging.smudge import push, signed_distance

SQUARE = np.zeros((60, 60), bool)
SQUARE[15:45, 15:35] = True
places = st.tuples(st.floats(-5, 65), st.floats(-5, 65))
metrics = st.sampled_from([np.eye(2), np.diag([0.25, 4.0]), np.array([[1.0, 0.3], [0.3, 1.2]])])


def test_a_distance_is_above_zero_inside_only():
    np.testing.assert_array_equal(signed_distance(SQUARE) > 0, SQUARE)
    assert signed_distance(np.zeros((5, 6), bool)).max() < 0
    assert signed_distance(SQUARE)[30, 34] == pytest.approx(0.5)


@settings(max_examples=60, deadline=None)
@given(places, places, st.floats(0.5, 12), metrics)
def test_only_what_the_finger_touches_changes(start, end, radius, metric):
    field = signed_distance(SQUARE)
    before = field.copy()
    box = push(field, start, end, radius, metric)
    changed = field != before
    if box is not None:
        changed[box] = False
    assert not changed.any()
    rows, columns = np.nonzero(field != before)
    path = np.array(start) + np.linspace(0, 1, 400)[:, None] * (np.array(end) - start)
    for row, column in zip(rows[::7], columns[::7], strict=True):
        d = path - (row, column)
        assert np.sqrt(np.einsum("na,ab,nb->n", d, metric, d)).min() <= radius + 0.5


def test_a_border_goes_along_as_far_as_the_middle_of_the_finger():
    field = signed_distance(SQUARE)
    push(field, (30.0, 33.0), (30.0, 43.0), 8.0, np.eye(2))
    moved = field > 0
    assert 40 <= np.flatnonzero(moved[30])[-1] <= 46
    np.testing.assert_array_equal(moved[:20], SQUARE[:20])
    assert moved.sum() > SQUARE.sum()
    assert np.flatnonzero(moved[30]).tolist() == list(range(15, np.flatnonzero(moved[30])[-1] + 1))


def test_from_outside_it_dents():
    field = signed_distance(SQUARE)
    push(field, (30.0, 40.0), (30.0, 28.0), 8.0, np.eye(2))
    moved = field > 0
    assert not (moved & ~SQUARE).any()
    assert np.flatnonzero(moved[30])[-1] <= 30


def test_deep_inside_and_far_outside_nothing_changes():
    for place in ((30.0, 25.0), (8.0, 50.0)):
        field = signed_distance(SQUARE)
        push(field, place, (place[0] + 2, place[1]), 5.0, np.eye(2))
        np.testing.assert_array_equal(field > 0, SQUARE)


def test_a_finger_at_rest_moves_nothing():
    field = signed_distance(SQUARE)
    assert push(field, (30.0, 34.0), (30.0, 34.0), 5.0, np.eye(2)) is None
