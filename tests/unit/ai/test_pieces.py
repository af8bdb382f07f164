"""Pieces of labels: each voxel in one, where and how large in mm on any grid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medviewer.ai.pieces import pieces_of
from medviewer.core.geometry import Geometry

TURNED = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
GRID = Geometry((6, 5, 4), (1.0, 2.0, 3.0), (10.0, -5.0, 7.0), TURNED)


@given(hnp.arrays(np.uint16, GRID.shape, elements=st.integers(0, 2)))
@settings(max_examples=40, deadline=None)
def test_together_they_are_the_labels(labels: npt.NDArray[np.uint16]) -> None:
    found = pieces_of(labels, np.full(labels.shape, 0.5, np.float32), GRID, (1, 2))
    for value in (1, 2):
        ml = sum(piece.ml for piece in found if piece.value == value)
        assert ml == pytest.approx((labels == value).sum() * GRID.voxel_volume_mm3 / 1000)
    assert [piece.ml for piece in found] == sorted((piece.ml for piece in found), reverse=True)
    assert all(piece.score == pytest.approx(0.5) for piece in found)
    for piece in found:
        size = np.subtract(piece.upper, piece.lower)
        assert (size > 0).all()
        assert piece.ml <= size.prod() / 1000 + 1e-9


def test_a_voxel_is_where_it_lies() -> None:
    labels = np.zeros(GRID.shape, np.uint16)
    labels[2, 3, 1] = labels[3, 4, 2] = 1  # touch by a corner
    labels[0, 0, 5] = 1
    chance = np.zeros(GRID.shape, np.float32)
    chance[2, 3, 1], chance[3, 4, 2], chance[0, 0, 5] = 0.9, 0.5, 0.6
    two, one = pieces_of(labels, chance, GRID, (1,))
    assert (two.score, one.score) == (pytest.approx(0.7), pytest.approx(0.6))
    assert one.ml == pytest.approx(0.006)
    middle = np.add(one.lower, one.upper) / 2
    np.testing.assert_allclose(middle, GRID.index_to_lps((5, 0, 0)))
    np.testing.assert_allclose(np.sort(np.subtract(one.upper, one.lower)), [1, 2, 3])
    assert one.diameter_mm == pytest.approx((6 * 6 / np.pi) ** (1 / 3))
