from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage.measure import find_contours

from medviewer.imaging import level_tracing
from medviewer.imaging.level_tracing import level_contour
from medviewer.imaging.polygon import fill_even_odd


def hill(rows: int, columns: int) -> np.ndarray:
    j, i = np.ogrid[:rows, :columns]
    return 1000 - (j - rows // 2) ** 2 - 2 * (i - columns // 2) ** 2


def filled(curve: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return fill_even_odd([curve[:, ::-1]], shape)


@settings(max_examples=30)
@given(st.integers(30, 260), st.integers(30, 260), st.floats(0.2, 0.8))
def test_it_is_closed_and_holds_the_hill_or_the_pit(rows: int, columns: int, part: float) -> None:
    image = hill(rows, columns)
    pixel = (rows // 2, int(columns / 2 * part) + 1)
    edge = max(image[0].max(), image[-1].max(), image[:, 0].max(), image[:, -1].max())
    curve = level_contour(image, pixel)
    if image[pixel] <= edge:
        return
    assert curve is not None
    assert np.array_equal(curve[0], curve[-1])
    assert np.abs(curve - pixel).max(axis=1).min() <= 1
    found = filled(curve, image.shape)
    # A pixel on the curve itself may be on either side.
    off = image != image[pixel]
    assert np.array_equal(found[off], (image > image[pixel])[off])
    dark = level_contour(-image, pixel)
    assert dark is not None
    assert np.array_equal(filled(dark, image.shape)[off], found[off])


def longest_of_all(image: np.ndarray, pixel: tuple[int, int]) -> int:
    """Points of the longest closed curve by the pixel among all curves of the image at its value."""
    own = float(image[pixel])
    curves = [
        c for level in (np.nextafter(own, -np.inf), np.nextafter(own, np.inf)) for c in find_contours(image, level)
    ]
    return max((len(c) for c in curves if (c[0] == c[-1]).all() and np.hypot(*(c - pixel).T).min() <= 1.5), default=0)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_it_is_the_longest_of_all_curves_by_the_pixel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # No two pixels alike: curves that touch in a pixel may be cut into loops in more than one way.
    image = gaussian_filter(rng.random((70, 90)), rng.uniform(0, 3))
    pixel = (int(rng.integers(70)), int(rng.integers(90)))
    curve = level_contour(image, pixel)
    assert (0 if curve is None else len(curve)) == longest_of_all(image, pixel)


def test_only_curves_by_the_pixel_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    image = hill(180, 180) + 3000.0 * (rng.random((180, 180)) < 0.05)
    pixel = (60, 90)
    image[pixel] = hill(180, 180)[pixel]
    followed = 0

    def counting(values: np.ndarray, level: float) -> list[np.ndarray]:
        nonlocal followed
        curves: list[np.ndarray] = find_contours(values, level)
        followed += len(curves)
        return curves

    monkeypatch.setattr("skimage.measure.find_contours", counting)
    assert level_contour(image, pixel) is not None
    assert followed < len(find_contours(image, image[pixel])) / 3
    monkeypatch.setattr(level_tracing, "MOST_POINTS", 10)
    assert level_contour(image, pixel) is None


def test_a_large_shape_is_found_beyond_the_first_look() -> None:
    image = hill(400, 400)
    curve = level_contour(image, (200, 100))
    assert curve is not None
    assert np.ptp(curve[:, 0]) > 200


def test_nothing_is_traced_in_what_is_flat_or_runs_out() -> None:
    assert level_contour(np.zeros((40, 40)), (20, 20)) is None
    assert level_contour(np.broadcast_to(np.arange(40.0), (40, 40)), (20, 20)) is None
    assert level_contour(np.zeros((40, 40)), (60, 20)) is None
