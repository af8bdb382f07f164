from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medviewer.ai.patient_grid import PatientGrid, block_mean, refine
from medviewer.core.geometry import Geometry
from medviewer.phantoms import oblique_geometry

#: Every way an array can lie along the axes of the patient.
ORIENTATIONS = [
    np.eye(3)[list(order)] * np.array(signs)[:, None]
    for order in permutations(range(3))
    for signs in product((1.0, -1.0), repeat=3)
]


@pytest.mark.parametrize("axes", ORIENTATIONS, ids=lambda axes: "".join(str(int(v)) for v in axes.ravel()))
def test_turned_arrays_run_to_head_back_and_left(axes: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> None:
    geometry = Geometry((3, 4, 5), (0.5, 1.0, 2.5), (7.0, -8.0, 9.0), tuple(axes.T.ravel()))
    lps = geometry.index_to_lps(np.moveaxis(np.indices(geometry.shape)[::-1], 0, -1))
    grid = PatientGrid.of(geometry)
    left, back, head = (grid.turn(np.ascontiguousarray(lps[..., n])) for n in range(3))
    assert (np.diff(head, axis=0) > 0).all()
    assert (np.diff(back, axis=1) > 0).all()
    assert (np.diff(left, axis=2) > 0).all()
    np.testing.assert_array_equal(grid.turn_back(head), lps[..., 2])
    turned = grid.turned(geometry)
    assert turned.shape == head.shape == grid.shape
    expected = turned.index_to_lps(np.moveaxis(np.indices(turned.shape)[::-1], 0, -1))
    np.testing.assert_allclose(np.stack([left, back, head], axis=-1), expected, atol=1e-9)


def test_an_oblique_grid_is_turned_by_right_angles_only() -> None:
    geometry = oblique_geometry()
    grid = PatientGrid.of(geometry)
    turned = grid.turned(geometry)
    np.testing.assert_allclose(sorted(map(tuple, turned.corners_lps)), sorted(map(tuple, geometry.corners_lps)))
    assert (np.diag(turned.direction_matrix) > 0.7).all()


@settings(deadline=None, max_examples=30)
@given(st.tuples(*(st.integers(1, 7),) * 3), st.tuples(*(st.integers(1, 3),) * 3))
def test_block_means_keep_the_mean_and_refining_gives_them_back(
    blocks: tuple[int, int, int], factors: tuple[int, int, int]
) -> None:
    shape = tuple(n * f for n, f in zip(blocks, factors, strict=True))
    array = np.random.default_rng(1).integers(-1000, 1000, shape).astype(np.int16)
    coarse = block_mean(array, factors, -2000.0, 2000.0)
    assert coarse.shape == blocks
    assert coarse.mean() == pytest.approx(array.mean(), abs=1e-2)
    again = block_mean(refine(coarse, factors, shape), factors, -2000.0, 2000.0)
    np.testing.assert_allclose(again, coarse, atol=1e-3)


def test_a_rest_that_fills_no_block_takes_the_last_one() -> None:
    array = np.arange(7, dtype=np.int16).reshape(1, 1, 7)
    coarse = block_mean(array, (1, 1, 3), 0.0, 5.0)
    np.testing.assert_allclose(coarse.ravel(), [1.0, 4.0])
    np.testing.assert_allclose(refine(coarse, (1, 1, 3), (1, 1, 7)).ravel(), [1, 1, 1, 4, 4, 4, 4])
