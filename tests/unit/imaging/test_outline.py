"""Outlines: the same voxels whichever way they were drawn, in every plane of every grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import polygon2mask

from medviewer.core.geometry import Geometry, Vec3, vec3
from medviewer.imaging.outline import circle, ellipse, fill_outline, rectangle, thinned
from medviewer.imaging.planes import in_plane_axes
from medviewer.imaging.polygon import fill_even_odd

TURN = (0.8, -0.6, 0.0, 0.48, 0.64, 0.6, -0.36, -0.48, 0.8)
#: A gantry tilted by 20 degrees: index axis k is not perpendicular to the slices.
TILT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.342, 0.0, 0.0, 0.940)
GRIDS = [
    Geometry((11, 12, 13), (1.0, 1.0, 1.0)),
    Geometry((11, 12, 13), (0.6, 1.1, 3.0), (-3.0, 12.0, 7.0), TURN),
    Geometry((11, 12, 13), (0.6, 0.6, 3.0), (5.0, 1.0, -7.0), TILT),
]
places = st.floats(-2.0, 13.0, allow_nan=False).map(lambda v: round(v, 3))
#: No voxel centre lies on an edge but by malice: there, rounding decides.
corners = st.lists(
    st.tuples(places.map(lambda v: v + 0.0137), places.map(lambda v: v + 0.00791)), min_size=3, max_size=8
)
grids, axes = st.sampled_from(GRIDS), st.sampled_from([0, 1, 2])


def on_slice(grid: Geometry, axis: int, flat: list[tuple[float, float]], at: int = 5) -> list[Vec3]:
    ijk = np.full((len(flat), 3), float(at))
    ijk[:, in_plane_axes(axis)] = flat
    return [vec3(point) for point in grid.index_to_lps(ijk)]


def whole(grid: Geometry, outline: list[Vec3], axis: int) -> np.ndarray:
    mask = np.zeros(grid.shape, bool)
    region, inside = fill_outline(grid, outline, axis)
    mask[region.slices] = inside
    return mask


@settings(max_examples=100, deadline=None)
@given(grids, axes, corners, st.integers(0, 7))
def test_direction_and_first_corner_do_not_matter(grid, axis, flat, turn):
    outline = on_slice(grid, axis, flat)
    turned = [*outline[turn % len(flat) :], *outline[: turn % len(flat)]]
    mask = whole(grid, outline, axis)
    np.testing.assert_array_equal(whole(grid, turned, axis), mask)
    np.testing.assert_array_equal(whole(grid, outline[::-1], axis), mask)
    assert set(np.flatnonzero(mask.any(axis=tuple(n for n in range(3) if n != 2 - axis)))) <= {5}


@settings(max_examples=60, deadline=None)
@given(corners, axes)
def test_every_plane_and_every_grid_fills_the_same_pixels(flat, axis):
    shape = tuple(GRIDS[0].size[a] for a in in_plane_axes(axis)[::-1])
    wanted = fill_even_odd([np.array(flat)], shape)
    for grid in GRIDS:
        mask = whole(grid, on_slice(grid, axis, flat), axis)
        np.testing.assert_array_equal(np.take(mask, 5, axis=2 - axis), wanted)


@settings(max_examples=60, deadline=None)
@given(corners)
def test_agrees_with_scikit_image(flat):
    mask = whole(GRIDS[0], on_slice(GRIDS[0], 2, flat), 2)[5]
    # scikit-image speaks (row, column); outlines that cross themselves are even-odd there too.
    np.testing.assert_array_equal(mask, polygon2mask(mask.shape, np.array(flat)[:, ::-1]))


@settings(max_examples=60, deadline=None)
@given(grids, axes, st.tuples(places, places), st.tuples(places, places))
def test_a_rectangle_has_right_angles_and_is_the_polygon_of_its_corners(grid, axis, a, b):
    start, end = on_slice(grid, axis, [a, b])
    ring = np.array(rectangle(grid, start, end, axis))
    np.testing.assert_allclose(ring[[0, 2]], [start, end], atol=1e-9)
    sides = np.roll(ring, -1, axis=0) - ring
    assert abs(sides[0] @ sides[1]) < 1e-6
    np.testing.assert_allclose(sides[0], -sides[2], atol=1e-6)
    np.testing.assert_allclose(grid.lps_to_index(ring)[:, axis], 5.0, atol=1e-6)


def test_a_rectangle_takes_the_voxels_between_its_corners():
    mask = whole(GRIDS[0], list(rectangle(GRIDS[0], (1.5, 2.5, 5.0), (4.5, 7.5, 5.0), 2)), 2)
    assert mask.sum() == 15
    assert mask[5, 3:8, 2:5].all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_ellipse_lies_in_its_rectangle_and_has_its_area(axis):
    grid = Geometry((80, 90, 70), (0.5, 1.0, 2.0), (1.0, 2.0, 3.0), TILT)
    start, end = on_slice(grid, axis, [(30, 12), (62, 40)], at=30)
    box, round_ = (whole(grid, list(shape(grid, start, end, axis)), axis) for shape in (rectangle, ellipse))
    assert not (round_ & ~box).any()
    assert round_.sum() / box.sum() == pytest.approx(np.pi / 4, rel=0.02)


@settings(max_examples=40, deadline=None)
@given(grids, axes, st.tuples(places, places), st.tuples(places, places))
def test_a_circle_is_as_far_from_its_middle_everywhere(grid, axis, a, b):
    center, rim = on_slice(grid, axis, [a, b])
    away = np.linalg.norm(np.subtract(circle(grid, center, rim, axis), center), axis=1)
    np.testing.assert_allclose(away, np.linalg.norm(np.subtract(rim, center)), atol=1e-6)
    np.testing.assert_allclose(grid.lps_to_index(circle(grid, center, rim, axis))[:, axis], 5.0, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(places, places, places), min_size=1, max_size=30), st.floats(0.01, 3.0))
def test_a_thinned_line_keeps_its_ends_and_stays_near(points, tolerance):
    kept = np.array(thinned(points, tolerance))
    assert tuple(kept[0]) == points[0]
    assert tuple(kept[-1]) == points[-1]
    for point in np.array(points):
        steps = np.diff(kept, axis=0)
        if not len(steps):
            continue
        along = np.clip(((point - kept[:-1]) * steps).sum(1) / np.maximum((steps**2).sum(1), 1e-12), 0, 1)
        assert np.linalg.norm(kept[:-1] + along[:, None] * steps - point, axis=1).min() <= tolerance + 1e-6


def test_an_outline_beside_the_image_or_of_no_points_fills_nothing():
    assert fill_outline(GRIDS[0], [], 2)[0].is_empty
    assert not fill_outline(GRIDS[0], on_slice(GRIDS[0], 2, [(20, 20), (30, 20), (30, 30)]), 2)[1].any()
    assert not fill_outline(GRIDS[0], on_slice(GRIDS[0], 2, [(2, 2), (8, 2), (8, 8)], at=40), 2)[1].any()
