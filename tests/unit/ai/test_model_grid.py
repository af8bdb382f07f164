"""The network's grid: along the patient, at its spacing, and exactly back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medviewer.ai.model_grid import ModelGrid, along, taps
from medviewer.core.geometry import Geometry

sizes = st.tuples(*[st.integers(6, 20)] * 3)
spacings = st.tuples(*[st.floats(0.5, 4.0)] * 3)
angles = st.tuples(*[st.floats(-180, 180)] * 3)


def turned(angles_deg: tuple[float, float, float], flip: bool = False) -> tuple[float, ...]:
    from scipy.spatial.transform import Rotation

    matrix = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    if flip:
        matrix[:, 2] *= -1
    return tuple(matrix.ravel())


@settings(max_examples=40, deadline=None)
@given(size=sizes, spacing=spacings, angle=angles, flip=st.booleans(), wanted=spacings)
def test_a_place_in_the_patient_stays_where_it_is(size, spacing, angle, flip, wanted) -> None:
    source = Geometry(size, spacing, (10.0, -20.0, 5.0), turned(angle, flip))
    grid = ModelGrid.of(source, wanted)
    # An image whose value is the place along a direction of the patient.
    across = np.array([0.6, -0.5, 0.62])
    i, j, k = np.meshgrid(*[np.arange(n) for n in size], indexing="ij")
    values = (source.index_to_lps(np.stack([i, j, k], -1)) @ across).transpose(2, 1, 0)
    image = grid.image(values.astype(np.float32))
    assert image.shape == grid.geometry.shape
    shape = grid.geometry.shape
    kji = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    places = grid.geometry.index_to_lps(kji[..., ::-1])
    index = source.lps_to_index(places)
    reach = np.maximum(1.0, np.array(wanted[::-1]).max() / np.array(spacing)) + 0.5
    inner = ((index >= reach) & (index <= np.array(size) - 1 - reach)).all(-1)
    # Smoothing over a coarser step is off by a small part of a voxel at most.
    assert np.abs(image - places @ across)[inner].max(initial=0.0) <= 0.1 * max(*wanted, *spacing)


@settings(max_examples=30, deadline=None)
@given(size=sizes, spacing=spacings, angle=angles, flip=st.booleans())
def test_axes_run_to_head_back_and_left(size, spacing, angle, flip) -> None:
    grid = ModelGrid.of(Geometry(size, spacing, (0.0, 0.0, 0.0), turned(angle, flip)), (1.0, 1.0, 1.0))
    head, back, left = grid.geometry.direction_matrix.T[::-1]
    # The best of all assignments: the sum of what runs along the patient's axes is more than half.
    assert head[2] + back[1] + left[0] > 1.5


@settings(max_examples=40, deadline=None)
@given(size=sizes, spacing=spacings, angle=angles, flip=st.booleans(), seed=st.integers(0, 99))
def test_the_own_spacing_is_exact_there_and_back(size, spacing, angle, flip, seed) -> None:
    source = Geometry(size, spacing, (0.0, 0.0, 0.0), turned(angle, flip))
    grid = ModelGrid.of(source, ())
    values = np.random.default_rng(seed).integers(0, 9, source.shape).astype(np.uint16)
    assert grid.is_base
    np.testing.assert_array_equal(grid.to_source(grid.image(values)), values)
    np.testing.assert_array_equal(grid.to_source(grid.mask(values > 4)), values > 4)


def test_it_covers_the_field_of_view() -> None:
    source = Geometry((20, 30, 7), (0.7, 0.7, 5.0))
    grid = ModelGrid.of(source, (1.5, 1.5, 1.5))
    for axis in range(3):
        places = grid.places(axis)
        assert places[0] >= -0.5
        assert places[-1] <= grid.geometry.shape[axis] - 0.5
    assert grid.geometry.spacing == (1.5, 1.5, 1.5)


def test_a_spacing_that_is_nearly_the_same_is_left_alone() -> None:
    grid = ModelGrid.of(Geometry((9, 9, 9), (1.0, 1.004, 3.0)), (1.0, 1.0, 1.0))
    assert grid.geometry.spacing[:2] == (1.0, 1.004)
    assert grid.geometry.spacing[2] == 1.0


@pytest.mark.parametrize("degrees", [-20.0, 12.0])
def test_a_tilted_gantry_is_seen_upright_and_labels_come_back(degrees: float) -> None:
    tilt = np.deg2rad(degrees)
    direction = (1.0, 0.0, 0.0, 0.0, 1.0, np.sin(tilt), 0.0, 0.0, np.cos(tilt))
    source = Geometry((24, 24, 16), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0), direction)
    grid = ModelGrid.of(source, (1.5, 1.5, 1.5))
    axes = grid.geometry.direction_matrix
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    ball = np.linalg.norm(_places(source) - source.center_lps, axis=-1) < 7.0
    image = grid.image(ball.astype(np.float32))
    where = np.argwhere(image > 0.5)[:, ::-1]
    assert np.linalg.norm(grid.geometry.index_to_lps(where).mean(0) - source.center_lps) < 0.5
    on_base = np.linalg.norm(_places(grid.base) - source.center_lps, axis=-1) < 7.0
    back = grid.to_source(on_base.astype(np.uint16)) > 0
    assert 2 * (back & ball).sum() / (back.sum() + ball.sum()) > 0.9


def _places(geometry: Geometry):
    kji = np.stack(np.meshgrid(*[np.arange(n) for n in geometry.shape], indexing="ij"), -1)
    return geometry.index_to_lps(kji[..., ::-1])


def test_taps_of_a_straight_line() -> None:
    import torch

    line = torch.arange(10.0)
    places = np.array([0.0, 0.25, 4.5, 9.0, 11.0, -3.0])
    np.testing.assert_allclose(along(line, 0, taps(places, 10)).numpy(), [0.0, 0.25, 4.5, 9.0, 9.0, 0.0], atol=1e-6)
