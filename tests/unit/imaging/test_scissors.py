"""Scissors: nothing lost between inside and outside, the same as looking at every voxel, in perspective too."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from medviewer.core.geometry import Geometry
from medviewer.core.region import Region
from medviewer.imaging.outline import fill_outline
from medviewer.imaging.planes import distance_from, in_plane_axes, plane_at
from medviewer.imaging.polygon import fill_even_odd
from medviewer.imaging.scissors import (
    behind_screen,
    behind_slice,
    forward,
    looking,
    plane_of_line,
    seen_box,
    slice_to_screen,
)
from tests.unit.imaging.test_outline import GRIDS, axes, corners, grids, on_slice

REGION = Region((2, 3, 1), (9, 10, 8))


def camera(perspective: float) -> np.ndarray:
    """From LPS mm to a screen of 200 x 100 pixels, seen from in front; 0 is parallel."""
    look = np.array([[1.0, 0, 0, 0], [0, 0, -1.0, 0], [0, 1.0, 0, 60.0], [0, perspective, 0, 1.0]])
    return np.array([[4.0, 0, 0, 100.0], [0, 4.0, 0, 50.0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]) @ look


def seen(grid: Geometry, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    k, j, i = np.indices(REGION.shape).reshape(3, -1) + np.array(REGION.lower)[:, None]
    points = np.c_[grid.index_to_lps(np.c_[i, j, k]), np.ones(i.size)] @ matrix.T
    return points[:, :2] / points[:, 3:], points[:, 3]


@settings(max_examples=60, deadline=None)
@given(grids, st.sampled_from([0.0, 0.004]), corners, st.integers(0, 99))
def test_an_outline_on_the_screen_takes_what_projects_into_it(grid, perspective, flat, seed):
    matrix = camera(perspective)
    outline = [(60 + 8 * x, 10 + 8 * y) for x, y in flat]
    where = np.random.default_rng(seed).random(REGION.shape) < 0.7
    mask = behind_screen(grid, REGION, where, outline, matrix)
    assert not (mask & ~where).any()
    drawn = fill_even_odd([np.array(outline)], (200, 200))
    places, w = seen(grid, matrix)
    column, row = np.floor(places.T + 0.5).astype(int)
    inside = (w > 0) & (column >= 0) & (row >= 0) & (column < 200) & (row < 200)
    inside[inside] = drawn[row[inside], column[inside]]
    np.testing.assert_array_equal(mask, inside.reshape(REGION.shape) & where)


@settings(max_examples=60, deadline=None)
@given(grids, axes, corners)
def test_a_slice_is_a_screen(grid, axis, flat):
    outline = on_slice(grid, axis, flat)
    through = behind_slice(grid, REGION, outline, axis)
    index = np.round(grid.lps_to_index(outline)[:, list(in_plane_axes(axis))], 6)
    where = np.ones(REGION.shape, bool)
    screen = behind_screen(grid, REGION, where, [tuple(p) for p in index], slice_to_screen(grid, axis))
    np.testing.assert_array_equal(through, screen)
    region, inside = fill_outline(grid, outline, axis)
    whole = np.zeros(grid.shape, bool)
    whole[region.slices] = inside
    np.testing.assert_array_equal(through.any(axis=2 - axis), whole.any(axis=2 - axis)[_flat(axis)])


def _flat(axis: int) -> tuple[slice, ...]:
    return tuple(part for n, part in enumerate(REGION.slices) if n != 2 - axis)


@settings(max_examples=60, deadline=None)
@given(grids, st.sampled_from([0.0, 0.004]), st.tuples(*[st.floats(0, 100)] * 4))
def test_a_plane_through_a_line_parts_what_lies_on_its_two_sides_on_the_screen(grid, perspective, ends):
    start, end = np.array(ends[:2]), np.array(ends[2:])
    matrix = camera(perspective)
    distance = distance_from(grid, REGION, plane_of_line(tuple(start), tuple(end), matrix)).ravel()
    places, w = seen(grid, matrix)
    assert (w > 0).all()
    cross = (end[0] - start[0]) * (places[:, 1] - start[1]) - (end[1] - start[1]) * (places[:, 0] - start[0])
    clear = np.abs(cross) > 1e-6
    np.testing.assert_array_equal(np.sign(distance[clear]), np.sign(cross[clear]))


def test_what_is_behind_the_eye_is_not_cut():
    # The eye is where w is 0, at y = -250: half of the grid lies behind it.
    grid = Geometry((10, 10, 10), (1.0, 10.0, 1.0), (-5.0, -300.0, 5.0))
    where = np.ones(grid.shape, bool)
    outline = [(-1e3, -1e3), (1e3, -1e3), (1e3, 1e3), (-1e3, 1e3)]
    mask = behind_screen(grid, grid.region, where, outline, camera(0.004))
    assert np.flatnonzero(mask.any(axis=(0, 2))).tolist() == [6, 7, 8, 9]


def test_drawing_far_outside_costs_nothing():
    far = [(-1e7, 40.0), (1e7, 40.0), (1e7, 1e7), (-1e7, 1e7)]
    near = [(0.0, 40.0), (200.0, 40.0), (200.0, 200.0), (0.0, 200.0)]
    where = np.ones(REGION.shape, bool)
    masks = [behind_screen(GRIDS[0], REGION, where, outline, camera(0.004)) for outline in (far, near)]
    np.testing.assert_array_equal(*masks)


@settings(max_examples=40, deadline=None)
@given(grids, st.sampled_from([0.0, 0.004]), corners)
def test_all_that_is_seen_inside_lies_in_its_box(grid, perspective, flat):
    outline = [(60 + 8 * x, 10 + 8 * y) for x, y in flat]
    # Depth 0 and 1 are the planes 200 mm before and 240 mm behind the origin.
    near, far, matrix = -200.0, 240.0, camera(perspective)
    scale = (1 + perspective * far) / (far - near)
    matrix[2] = [0.0, scale, 0.0, -near * scale]
    mask = behind_screen(grid, grid.region, np.ones(grid.shape, bool), outline, matrix)
    box = seen_box(grid, outline, matrix)
    mask[box.slices] = False
    assert not mask.any()


def test_looking_and_forward_are_unit_vectors_as_the_views_have_them():
    for perspective in (0.0, 0.004):
        assert looking(camera(perspective)) == (0.0, 1.0, 0.0)
    assert [forward(GRIDS[0], axis) for axis in (0, 1, 2)] == [(1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)]
    mirrored = Geometry((3, 4, 5), (1.0, 1.0, 1.0), direction=(-1.0, 0, 0, 0, 1.0, 0, 0, 0, -1.0))
    assert forward(mirrored, 2) == (0.0, 0.0, 1.0)


@settings(max_examples=30, deadline=None)
@given(grids, axes)
def test_a_plane_at_a_slice_gives_mm(grid, axis):
    normal = np.array(forward(grid, axis))
    start = grid.index_to_lps((2, 3, 4))
    distance = distance_from(grid, REGION, plane_at(tuple(start), tuple(normal)))
    k, j, i = np.indices(REGION.shape).reshape(3, -1) + np.array(REGION.lower)[:, None]
    wanted = (grid.index_to_lps(np.c_[i, j, k]) - start) @ normal
    np.testing.assert_allclose(distance.ravel(), wanted, atol=1e-9)
