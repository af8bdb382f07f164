from __future__ import annotations

import numpy as np
import pytest

from medviewer.imaging.contour import Motion, contour_to_edges, contour_to_range, edge_speed, slope

SPACING = (2.0, 1.0, 1.0)


def ball(radius: float) -> np.ndarray:
    k, j, i = np.ogrid[:24, :48, :48]
    return ((k - 12) * 2.0) ** 2 + (j - 24) ** 2 + (i - 24) ** 2 < radius**2


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.where(ball(14), 100, 0) + np.random.default_rng(0).normal(0, 15, (24, 48, 48))


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_a_bubble_grows_to_the_edges(image: np.ndarray) -> None:
    start, truth = ball(5), ball(14)
    moved = contour_to_edges(edge_speed(slope(image, SPACING, 1.0), 10.0), start, SPACING, Motion(iterations=120))
    assert dice(moved, truth) > 0.95
    assert not (start & ~moved).any()


def test_a_hull_shrinks_to_the_edges(image: np.ndarray) -> None:
    start, truth = ball(19), ball(14)
    motion = Motion(outwards=False, iterations=120)
    moved = contour_to_edges(edge_speed(slope(image, SPACING, 1.0), 10.0), start, SPACING, motion)
    assert dice(moved, truth) > 0.93
    assert not (moved & ~start).any()


@pytest.mark.parametrize("start", [5, 19])
def test_a_range_is_filled_from_inside_or_outside(image: np.ndarray, start: int) -> None:
    moved = contour_to_range(image, ball(start), SPACING, 50, 150, Motion(iterations=200))
    assert dice(moved, ball(14)) > 0.97


def test_nothing_moves_from_nothing(image: np.ndarray) -> None:
    none = np.zeros(image.shape, bool)
    assert not contour_to_range(image, none, SPACING, 0, 1, Motion()).any()


def test_a_cancel_ends_it(image: np.ndarray) -> None:
    def progress(_fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        contour_to_range(image, ball(5), SPACING, 50, 150, Motion(), progress)


@pytest.mark.parametrize("axis", range(3))
def test_a_slope_is_per_mm_along_every_axis(axis: int) -> None:
    shape = [12, 12, 12]
    ramp = np.moveaxis(np.broadcast_to(np.arange(12)[:, None, None] * 3.0 * SPACING[axis], shape), 0, axis)
    found = slope(ramp, SPACING, 0.8)[5:7, 5:7, 5:7]
    assert np.allclose(found, 3.0, atol=0.02)
    assert edge_speed(slope(ramp, SPACING, 0.8), 3.0)[6, 6, 6] == pytest.approx(0.5, abs=0.02)
