from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from medviewer.core.region import Region
from medviewer.imaging import seeds as module
from medviewer.imaging.blocks import block_max, block_mean, block_min, padded
from medviewer.imaging.markers import random_walk, watershed
from medviewer.imaging.seeds import compete, extent

SPACING = (2.5, 0.8, 0.7)


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 20, (5, 7, 6)).astype(np.float32)
    image[:, 3:] += 100
    seeds = np.zeros(image.shape, np.uint16)
    for label in (1, 2, 5):
        seeds[tuple(rng.integers(0, n) for n in image.shape)] = label
    return image, seeds


scenes = st.integers(0, 2**32 - 1).map(scene)


def shortest_paths(image: np.ndarray, seeds: np.ndarray, locality: float) -> np.ndarray:
    """Labels by Dijkstra's algorithm over the same graph, and where two labels are equally near: 0."""
    middle, spread = module._contrast(image, seeds)
    values = module._scaled(image, middle, spread).astype(np.float64)
    index = np.arange(image.size).reshape(image.shape)
    rows, columns, costs = [], [], []
    for axis in range(3):
        a, b = (np.moveaxis(index, axis, 0)[part].ravel() for part in (slice(None, -1), slice(1, None)))
        cost = np.abs(values.ravel()[a] - values.ravel()[b]) + locality * SPACING[axis]
        rows += [a, b]
        columns += [b, a]
        costs += [cost, cost]
    graph = coo_matrix((np.concatenate(costs), (np.concatenate(rows), np.concatenate(columns))), (image.size,) * 2)
    labels = np.unique(seeds[seeds > 0])
    away = [dijkstra(graph.tocsr(), indices=np.flatnonzero(seeds == v), min_only=True) for v in labels]
    order = np.sort(away, axis=0)
    found = labels[np.argmin(away, axis=0)]
    if len(labels) > 1:
        found[order[1] - order[0] < 1e-4] = 0
    return found.reshape(image.shape)


@given(scenes, st.sampled_from([0.001, 0.01, 0.2]))
@settings(max_examples=40)
def test_the_nearest_seed_wins_as_by_shortest_paths(pair: tuple[np.ndarray, np.ndarray], locality: float) -> None:
    image, seeds = pair
    found = compete(image, seeds, SPACING, locality=locality)
    peer = shortest_paths(image, seeds, locality)
    assert np.array_equal(found[peer > 0], peer[peer > 0])


@given(scenes, st.sampled_from([(1, 2, 3), (5, 7, 1), (2, 2, 2)]))
@settings(max_examples=30)
def test_blocks_find_the_shortest_paths_too(pair: tuple[np.ndarray, np.ndarray], factors: tuple[int, int, int]) -> None:
    image, seeds = pair
    values = module._scaled(image, *module._contrast(image, seeds))
    blocks = tuple(-(-n // f) for n, f in zip(image.shape, factors, strict=True))
    band = module._Band(np.ones(blocks, np.bool_), factors)
    drawn = padded(seeds, factors)
    nothing = np.zeros(blocks, np.uint16)
    at = band.voxels
    band.fill(padded(values, factors).reshape(-1)[at], drawn.reshape(-1)[at], nothing, nothing.astype(np.float32))
    band.settle(tuple(0.01 * mm for mm in SPACING), 80, lambda: None)
    found = np.zeros_like(drawn)
    band.write(found.reshape(-1))
    found = found[: image.shape[0], : image.shape[1], : image.shape[2]]
    peer = shortest_paths(image, seeds, 0.01)
    assert np.array_equal(found[peer > 0], peer[peer > 0])


@given(scenes, st.sampled_from([(1, 2, 3), (2, 7, 1), (4, 4, 4)]))
@settings(max_examples=20)
def test_blocks_have_the_mean_and_the_ends_of_their_voxels(
    pair: tuple[np.ndarray, np.ndarray], factors: tuple[int, int, int]
) -> None:
    image, _ = pair
    whole = padded(image, factors)
    split = whole.reshape([n for size, f in zip(whole.shape, factors, strict=True) for n in (size // f, f)])
    np.testing.assert_allclose(block_mean(image, factors), split.mean(axis=(1, 3, 5)), rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(block_max(image, factors), split.max(axis=(1, 3, 5)))
    np.testing.assert_array_equal(block_min(image, factors), split.min(axis=(1, 3, 5)))


@settings(max_examples=50)
@given(scenes, st.sampled_from([10**6, 60, 20]))
def test_seeds_keep_their_labels_and_nothing_is_left(pair: tuple[np.ndarray, np.ndarray], most: int) -> None:
    image, seeds = pair
    before = seeds.copy()
    found = compete(image, seeds, SPACING, most=most)
    assert np.array_equal(seeds, before)
    assert np.array_equal(found[seeds > 0], seeds[seeds > 0])
    assert set(np.unique(found)) == set(np.unique(seeds[seeds > 0]))


@given(scenes)
@settings(max_examples=30)
def test_a_removed_seed_takes_its_growth_along(pair: tuple[np.ndarray, np.ndarray]) -> None:
    image, seeds = pair
    seeds[0, 0, 0] = 3
    fewer = np.where(seeds == 3, 0, seeds).astype(np.uint16)
    assert (compete(image, seeds, SPACING) == 3).any()
    assert not (compete(image, fewer, SPACING) == 3).any()


@settings(max_examples=30)
@given(scenes, st.permutations([0, 1, 2]))
def test_it_is_the_same_in_every_orientation(pair: tuple[np.ndarray, np.ndarray], order: list[int]) -> None:
    image, seeds = pair
    peer = shortest_paths(image, seeds, 0.01)
    turned = compete(image.transpose(order), seeds.transpose(order), tuple(SPACING[n] for n in order))
    back = turned.transpose(np.argsort(order))
    assert np.array_equal(back[peer > 0], peer[peer > 0])


def spheres() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two organs that touch, in noise: image, truth, seeds."""
    k, j, i = np.ogrid[:24, :60, :60]
    one = ((k - 12) * 2.5) ** 2 + (j - 22) ** 2 + (i - 30) ** 2 < 15**2
    two = (((k - 12) * 2.5) ** 2 + (j - 45) ** 2 + (i - 30) ** 2 < 11**2) & ~one
    truth = np.where(one, 2, np.where(two, 3, 1)).astype(np.uint16)
    image = np.where(one, 100, np.where(two, 160, -50)) + np.random.default_rng(1).normal(0, 10, truth.shape)
    seeds = np.zeros_like(truth)
    seeds[12, 20:25, 28:32], seeds[12, 43:47, 28:32], seeds[12, 2:4], seeds[12, 57] = 2, 3, 1, 1
    return image.astype(np.int16), truth, seeds


def agrees(found: np.ndarray, truth: np.ndarray) -> float:
    return min(2 * ((found == v) & (truth == v)).sum() / ((found == v).sum() + (truth == v).sum()) for v in (2, 3))


def test_coarser_steps_find_the_same() -> None:
    image, truth, seeds = spheres()
    exact, coarse = (compete(image, seeds, (2.5, 1.0, 1.0), most=most) for most in (10**7, 8000))
    assert agrees(exact, truth) > 0.97
    assert agrees(coarse, truth) > 0.97
    assert (exact == coarse).mean() > 0.995


@pytest.mark.parametrize(("most", "floor"), [(10**7, 0.97), (20000, 0.93)])
def test_watershed_and_walk_part_what_touches(most: int, floor: float) -> None:
    image, truth, seeds = spheres()
    assert agrees(random_walk(image, seeds, (2.5, 1.0, 1.0), most=most), truth) > floor
    assert agrees(watershed(image, seeds, (2.5, 1.0, 1.0)), truth) > 0.95


@given(scenes)
@settings(max_examples=15)
def test_markers_keep_their_labels(pair: tuple[np.ndarray, np.ndarray]) -> None:
    image, seeds = pair
    for found in (watershed(image, seeds, SPACING), random_walk(image, seeds, SPACING, most=40)):
        assert np.array_equal(found[seeds > 0], seeds[seeds > 0])
        assert set(np.unique(found)) == set(np.unique(seeds[seeds > 0]))


def test_nothing_grows_from_nothing() -> None:
    image, none = np.zeros((3, 4, 5)), np.zeros((3, 4, 5), np.uint16)
    for found in (compete(image, none, SPACING), watershed(image, none, SPACING), random_walk(image, none, SPACING)):
        assert not found.any()


def test_the_extent_is_a_tenth_larger_and_three_voxels_at_least() -> None:
    bounds = Region((0, 0, 0), (50, 200, 200))
    assert extent(Region((10, 50, 50), (20, 150, 55)), bounds) == Region((7, 40, 47), (23, 160, 58))
    assert extent(Region((1, 0, 0), (50, 200, 200)), bounds) == bounds


def test_the_walker_leaves_what_is_drawn_everywhere() -> None:
    markers = np.ones((4, 5, 6), np.uint16)
    markers[:, :, 3:] = 7
    image = np.random.default_rng(0).normal(0, 1, markers.shape)
    np.testing.assert_array_equal(random_walk(image, markers, (1.0, 1.0, 1.0)), markers)
    assert (random_walk(image, markers, (1.0, 1.0, 1.0), most=20) == markers).all()
