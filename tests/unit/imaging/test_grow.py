from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from medviewer.core.geometry import Geometry
from medviewer.core.region import Region
from medviewer.imaging import grow
from medviewer.imaging.grow import Ball, grow_region, reach, tolerance_around

images = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).integers(0, 8, (7, 9, 8), np.int16))
seeds = st.tuples(st.integers(0, 6), st.integers(0, 8), st.integers(0, 7))


def whole(image: np.ndarray, region: Region, mask: np.ndarray) -> np.ndarray:
    result = np.zeros(image.shape, bool)
    result[region.slices] = mask
    return result


@given(images, seeds, st.integers(0, 7), st.integers(0, 7))
def test_it_is_the_connected_threshold_of_itk(
    image: np.ndarray, seed: tuple[int, int, int], lower: int, upper: int
) -> None:
    found = whole(image, *grow_region(image, seed, lower, upper))
    if lower > upper:
        assert not found.any()
        return
    k, j, i = seed
    peer = sitk.ConnectedThreshold(sitk.GetImageFromArray(image), [(i, j, k)], lower, upper)
    assert np.array_equal(found, sitk.GetArrayFromImage(peer) > 0)


@given(images, seeds, st.integers(0, 4), st.integers(0, 4))
def test_more_tolerance_finds_no_less(image: np.ndarray, seed: tuple[int, int, int], one: int, two: int) -> None:
    value, (small, large) = int(image[seed]), sorted((one, two))
    less = whole(image, *grow_region(image, seed, value - small, value + small))
    more = whole(image, *grow_region(image, seed, value - large, value + large))
    assert less[seed]
    assert not (less & ~more).any()


@given(images, seeds, st.integers(1, 3))
def test_the_first_look_does_not_change_what_is_found(
    image: np.ndarray, seed: tuple[int, int, int], start: int
) -> None:
    large = grow_region(image, seed, 2, 7)
    before, grow.START = grow.START, start
    try:
        small = grow_region(image, seed, 2, 7)
    finally:
        grow.START = before
    assert np.array_equal(whole(image, *small), whole(image, *large))


@given(images, seeds, st.integers(0, 2))
def test_growing_in_a_slice_stays_in_it(image: np.ndarray, seed: tuple[int, int, int], axis: int) -> None:
    lower, upper = [0, 0, 0], list(image.shape)
    lower[axis], upper[axis] = seed[axis], seed[axis] + 1
    region, mask = grow_region(image, seed, 0, 5, within=Region(tuple(lower), tuple(upper)))
    assert region.lower[axis] >= seed[axis]
    assert region.upper[axis] <= seed[axis] + 1
    cut = image.take([seed[axis]], axis=axis)
    place = tuple(0 if n == axis else c for n, c in enumerate(seed))
    flat = whole(cut, *grow_region(cut, place, 0, 5))
    assert np.array_equal(whole(image, region, mask).take([seed[axis]], axis=axis), flat)


def test_a_seed_out_of_range_grows_nothing() -> None:
    region, mask = grow_region(np.zeros((3, 3, 3)), (1, 1, 1), 1, 2)
    assert region.is_empty
    assert mask.size == 0


def test_a_cancel_ends_it() -> None:
    def check() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grow_region(np.zeros((3, 3, 3)), (1, 1, 1), 0, 0, check=check)


def test_reach_holds_the_ball_on_a_sheared_grid() -> None:
    direction = (1.0, 0.0, 0.0, 0.0, 1.0, 0.3, 0.0, 0.0, 0.954)
    geometry = Geometry((40, 40, 20), (0.8, 0.8, 3.0), (5.0, -7.0, 11.0), direction)
    centre = (10, 20, 18)
    box = reach(geometry, centre, 9.0)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in geometry.size), indexing="ij"), axis=-1)
    away = np.linalg.norm(geometry.index_to_lps(grid) - geometry.index_to_lps(centre[::-1]), axis=-1).T
    inside = Region.of_mask(away <= 9.0)
    assert inside is not None
    assert inside.union(box) == box
    assert all(b - a <= 2 for a, b in zip(inside.shape, box.shape, strict=True))
    image = np.zeros(geometry.shape)
    found = whole(image, *grow_region(image, centre, 0, 0, ball=Ball(geometry, 9.0)))
    assert np.array_equal(found, away <= 9.0)


def test_tolerance_follows_the_noise_around() -> None:
    quiet, loud = (np.random.default_rng(0).normal(0, sd, (9, 9, 9)) for sd in (2.0, 20.0))
    assert tolerance_around(loud, (4, 4, 4)) == pytest.approx(10 * tolerance_around(quiet, (4, 4, 4)))
    assert tolerance_around(np.zeros((9, 9, 9)), (0, 0, 0)) == 0
    loud[5:] += 500
    loud[:, 6:] += 500
    assert tolerance_around(loud, (4, 4, 4)) < 100
    # A spot of three voxels: what counts is the noise in it, not the step at its edge.
    spot = quiet.copy()
    spot[:, 3:6, 3:6] += 500
    assert tolerance_around(spot, (4, 4, 4)) < 100
