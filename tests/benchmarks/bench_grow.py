"""Seconds of the tools that grow, against what else there is for the same.

Run with ``pytest tests/benchmarks/bench_grow.py -m benchmark_run -s``. In a CT of 512 x 512 x 300: ten segments on a
region as large as a liver grow from seeds, and again after a seed was erased, against the watershed of scikit-image on
the same box; a liver of which every fifth slice is drawn is filled, against one distance map of it in 3-D; a wand takes
the liver, against ITK's ConnectedThreshold. Shortest of three rounds each, both in the same run.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from medviewer.core.geometry import Geometry
from medviewer.core.region import Region
from medviewer.core.segmentation import Segment, Segmentation
from medviewer.core.volume import Volume
from medviewer.editing.change import Change
from medviewer.editing.effect import EditScene
from medviewer.editing.tools.fill_between import FillBetween
from medviewer.editing.tools.grow_from_seeds import GrowFromSeeds
from medviewer.imaging.contour import slope
from medviewer.imaging.grow import grow_region
from medviewer.jobs.job import NullContext

pytestmark = pytest.mark.benchmark_run
ROUNDS = 3
SHAPE, SPACING = (300, 512, 512), (1.5, 0.75, 0.75)
#: 200 x 150 x 150 mm.
BOX = Region((90, 130, 120), (190, 330, 387))
SEEDS_GOAL_S, LIVE_GOAL_S, FILL_GOAL_S = 2.0, 1.0, 1.0


class Liver:
    """A liver with eight segments, a vessel and what is around it, in noise."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        k, j, i = (np.arange(n, dtype=np.float32) for n in BOX.shape)
        x, y, z = i[None, None] / 267 - 0.5, j[None, :, None] / 200 - 0.5, k[:, None, None] / 100 - 0.5
        self.inside = x**2 + y**2 + z**2 < 0.22
        part = np.floor(4 * (x + 0.5)) + 4 * (y + 0 * z > 0)
        self.truth = np.where(self.inside, part + 1, 9).astype(np.uint16)
        self.truth[:, 90:110, 120:150] = np.where(self.inside[:, 90:110, 120:150], 10, 9)
        values = np.array([0, 90, 115, 95, 120, 110, 85, 125, 100, -60, 180])[self.truth]
        array = np.full(SHAPE, -100, np.int16)
        array[BOX.slices] = values + rng.normal(0, 12, BOX.shape)
        self.volume = Volume(array, Geometry(SHAPE[::-1], SPACING[::-1]), modality="CT", unit="HU")
        self.segmentation = Segmentation(self.volume.geometry)
        self.group = self.segmentation.new_group()
        self.segmentation.put_group(self.group)
        for value in range(1, 11):
            self.segmentation.put_segment(Segment(value, str(value)))
        self.segmentation.active = 1

    def seed(self) -> None:
        """A few strokes in three slices of every segment."""
        seeds = np.zeros_like(self.truth)
        for k in (15, 50, 85):
            seeds[k, ::24, ::3] = self.truth[k, ::24, ::3]
        self.group.labels[:] = 0
        self.group.labels[BOX.slices] = seeds

    def scene(self) -> EditScene:
        return EditScene(
            self.volume, self.segmentation, self.segmentation.segment(1), self.volume.geometry.center_lps, 2
        )


@pytest.fixture(scope="module")
def liver() -> Liver:
    return Liver()


def seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def told(name: str, mine: float, goal: float, peer_name: str, peer: float) -> None:
    print(f"\n{name:<34} {mine:5.2f} s (goal {goal:.0f} s)   {peer_name} {peer:5.2f} s   ratio {peer / mine:.1f}")


def test_grow_from_seeds(liver: Liver) -> None:
    from skimage.segmentation import watershed

    liver.seed()

    def grow() -> object:
        plan = GrowFromSeeds().plan(liver.scene())
        assert plan is not None
        return plan(NullContext())

    mine = seconds(grow)
    image, seeds = liver.volume.array[BOX.slices], liver.group.labels[BOX.slices].astype(np.int32)
    peer = seconds(lambda: watershed(slope(image, SPACING, 1.0), seeds))
    told("ten segments grow from seeds", mine, SEEDS_GOAL_S, "watershed", peer)
    liver.group.labels[140, 200:210, 200:210] = 0
    live = seconds(grow)
    told("the same after an erased seed", live, LIVE_GOAL_S, "watershed", peer)
    change = grow()
    assert isinstance(change, Change)
    found = np.zeros(SHAPE, np.uint16)
    for part in change.masks:
        found[part.region.slices][part.mask] = part.value
    grown = found[BOX.slices] > 0
    right = float((found[BOX.slices] == liver.truth)[grown].mean())
    print(f"\n{100 * right:.1f} % of what grew is right", end="")
    assert right > 0.97
    assert peer / mine > 1.5
    assert mine <= SEEDS_GOAL_S


def test_fill_between(liver: Liver) -> None:
    from scipy.ndimage import distance_transform_edt

    drawn = liver.inside.copy()
    skipped = np.arange(BOX.shape[0]) % 5 > 0
    drawn[skipped] = False
    liver.group.labels[:] = 0
    liver.group.labels[BOX.slices] = drawn

    def fill() -> object:
        plan = FillBetween().plan(liver.scene())
        assert plan is not None
        return plan(NullContext())

    mine = seconds(fill)
    peer = seconds(lambda: distance_transform_edt(liver.inside, sampling=SPACING))
    told("every fifth slice drawn", mine, FILL_GOAL_S, "one 3-D distance map", peer)
    assert mine <= FILL_GOAL_S


def test_wand(liver: Liver) -> None:
    import SimpleITK as sitk

    array = liver.volume.array
    mine = seconds(lambda: grow_region(array, (140, 250, 180), 40, 160))
    image = sitk.GetImageFromArray(array)
    peer = seconds(lambda: sitk.ConnectedThreshold(image, [(180, 250, 140)], 40, 160))
    told("wand", mine, 1.0, "ConnectedThreshold", peer)
    assert peer / mine > 1.0
