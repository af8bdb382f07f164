"""The live wire: where it starts and ends, that it is the cheapest, and that it follows what is there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.graph import route_through_array

from medviewer.imaging.livewire import LiveWire, edge_cost

SHAPE = (12, 15)
places = st.tuples(st.integers(0, 11), st.integers(0, 14))
images = hnp.arrays(np.int16, SHAPE, elements=st.integers(-1000, 3000))


@settings(max_examples=60, deadline=None)
@given(images, places, places, st.sampled_from([(1.0, 1.0), (0.7, 3.0)]))
def test_a_path_joins_its_ends_step_by_step_and_none_is_cheaper(values, start, end, spacing):
    cost = edge_cost(values, spacing)
    assert cost.min() > 0
    path = LiveWire(cost, start, spacing).path(end)
    assert tuple(path[0]) == start
    assert tuple(path[-1]) == end
    if len(path) > 1:
        assert set(np.abs(np.diff(path, axis=0)).max(axis=1)) == {1}
    if spacing == (1.0, 1.0):
        _, best = route_through_array(cost, start, end, geometric=True)
        assert length(path, cost, spacing) == pytest.approx(best)


def length(path: np.ndarray, cost: np.ndarray, spacing: tuple[float, float]) -> float:
    steps = np.linalg.norm(np.diff(path, axis=0) * spacing, axis=1)
    at = cost[tuple(path.T)]
    return float(((at[:-1] + at[1:]) / 2 * steps).sum())


@settings(max_examples=30, deadline=None)
@given(images, places, places)
def test_the_way_back_is_as_long(values, start, end):
    cost = edge_cost(values, (1.0, 1.0))
    there, back = LiveWire(cost, start, (1.0, 1.0)).path(end), LiveWire(cost, end, (1.0, 1.0)).path(start)
    assert length(there, cost, (1.0, 1.0)) == pytest.approx(length(back, cost, (1.0, 1.0)))


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 1.0)])
def test_it_runs_along_the_border_of_a_disc(spacing):
    rows, columns = np.mgrid[:120, :120]
    away = np.hypot((rows - 60) * spacing[0], (columns - 60) * spacing[1])
    noise = np.random.default_rng(0).normal(0, 15, away.shape)
    cost = edge_cost((np.where(away < 25, 100, 0) + noise).astype(np.int16), spacing)
    top, right = (round(60 - 25 / spacing[0]), 60), (60, round(60 + 25 / spacing[1]))
    path = LiveWire(cost, top, spacing).path(right)
    assert np.abs(away[tuple(path.T)] - 25).max() <= 2.0


def test_a_flat_image_gives_the_straight_line():
    path = LiveWire(edge_cost(np.zeros(SHAPE, np.int16), (1.0, 1.0)), (2, 1), (1.0, 1.0)).path((2, 13))
    np.testing.assert_array_equal(path, [(2, n) for n in range(1, 14)])


def test_an_end_outside_is_moved_to_the_edge():
    wire = LiveWire(np.ones(SHAPE), (3, 3), (1.0, 1.0))
    assert tuple(wire.path((-5, 40))[-1]) == (0, 14)
