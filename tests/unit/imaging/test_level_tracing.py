from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

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


def test_a_large_shape_is_found_beyond_the_first_look() -> None:
    image = hill(400, 400)
    curve = level_contour(image, (200, 100))
    assert curve is not None
    assert np.ptp(curve[:, 0]) > 200


def test_nothing_is_traced_in_what_is_flat_or_runs_out() -> None:
    assert level_contour(np.zeros((40, 40)), (20, 20)) is None
    assert level_contour(np.broadcast_to(np.arange(40.0), (40, 40)), (20, 20)) is None
    assert level_contour(np.zeros((40, 40)), (60, 20)) is None
