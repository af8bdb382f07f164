"""Even-odd filling: by the definition, pixel by pixel."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from medviewer.imaging.cielab import lab_to_rgb
from medviewer.imaging.polygon import fill_even_odd

SHAPE = (12, 15)


def inside(contour: np.ndarray, i: float, j: float) -> bool:
    """The textbook rule: a ray to the left crosses an odd number of edges."""
    odd = False
    for (x0, y0), (x1, y1) in zip(contour, np.roll(contour, -1, axis=0), strict=True):
        if (y0 <= j) != (y1 <= j) and x0 + (j - y0) / (y1 - y0) * (x1 - x0) <= i:
            odd = not odd
    return odd


coordinates = st.one_of(st.integers(-3, 17).map(float), st.floats(-3, 17, allow_nan=False).map(lambda v: round(v, 2)))
contours = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=9).map(np.array)


@settings(max_examples=200, deadline=None)
@given(st.lists(contours, min_size=1, max_size=3))
def test_every_pixel_follows_the_even_odd_rule(polygons):
    mask = fill_even_odd(polygons, SHAPE)
    for j in range(SHAPE[0]):
        for i in range(SHAPE[1]):
            assert mask[j, i] == (sum(inside(p, i, j) for p in polygons) % 2 == 1)


def test_a_hole_is_a_hole_as_inner_contour_and_through_a_keyhole():
    outer = [(1, 1), (10, 1), (10, 10), (1, 10)]
    hole = [(3.5, 3.5), (6.5, 3.5), (6.5, 6.5), (3.5, 6.5)]
    keyhole = [*outer, outer[0], *hole, hole[0]]
    wanted = np.zeros(SHAPE, dtype=bool)
    wanted[1:10, 1:10] = True
    wanted[4:7, 4:7] = False
    np.testing.assert_array_equal(fill_even_odd([outer, hole], SHAPE), wanted)
    np.testing.assert_array_equal(fill_even_odd([keyhole], SHAPE), wanted)


def test_squares_that_share_an_edge_share_no_pixel():
    left = fill_even_odd([[(0, 0), (4, 0), (4, 8), (0, 8)]], SHAPE)
    right = fill_even_odd([[(4, 0), (9, 0), (9, 8), (4, 8)]], SHAPE)
    assert not (left & right).any()
    assert left.sum() + right.sum() == 72


def test_colours_are_those_of_highdicom():
    from highdicom.color import CIELabColor

    for rgb in [(230, 75, 53), (0, 0, 0), (255, 255, 255), (12, 200, 90), (0, 151, 206)]:
        lightness, a, b = CIELabColor.from_rgb(*rgb).lab
        assert np.abs(np.subtract(lab_to_rgb(lightness, a, b), rgb)).max() <= 1
