"""Seconds to measure 300 segments of a CT of 512 x 512 x 1093, against SimpleITK's statistics of labels.

Run with ``pytest tests/benchmarks/bench_statistics.py -m benchmark_run -s``. The peer gets a tenth of the planes and
its time is scaled: it gives sizes, boxes, moments and intensities, no diameters and no surface of triangles.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
import SimpleITK as sitk

from medviewer.app.statistics import statistics_of
from medviewer.core.geometry import Geometry
from medviewer.core.segmentation import Segment, Segmentation
from medviewer.core.volume import Volume
from medviewer.jobs.job import NullContext

pytestmark = pytest.mark.benchmark_run
SEGMENTS, SHAPE = 300, (1093, 512, 512)
PEER_PLANES = 110


@pytest.fixture(scope="module")
def case() -> tuple[Volume, Segmentation]:
    rng = np.random.default_rng(0)
    geometry = Geometry(SHAPE[::-1], (0.7, 0.7, 0.8))
    segmentation = Segmentation(geometry)
    group = segmentation.new_group("auto")
    j, i = np.ogrid[: SHAPE[1], : SHAPE[2]]
    group.labels[:, ((j - 256) / 180) ** 2 + ((i - 256) / 240) ** 2 < 1] = SEGMENTS
    for value in range(1, SEGMENTS):
        radii = rng.integers(8, 60, 3)
        center = [rng.integers(r, n - r) for r, n in zip(radii, SHAPE, strict=True)]
        box = tuple(slice(c - r, c + r + 1) for c, r in zip(center, radii, strict=True))
        axes = np.ogrid[tuple(slice(-r, r + 1) for r in radii)]
        group.labels[box][sum((a / r) ** 2 for a, r in zip(axes, radii, strict=True)) <= 1] = value
    segmentation.put_group(group)
    for value in range(1, SEGMENTS + 1):
        segmentation.put_segment(Segment(value, f"s{value}"))
    array = (np.arange(SHAPE[0])[:, None, None] % 200 + np.arange(SHAPE[2]) % 50).astype(np.int16)
    return Volume(np.broadcast_to(array, SHAPE), geometry, modality="CT", unit="HU"), segmentation


def test_hundreds_of_segments_are_measured_in_seconds(case: tuple[Volume, Segmentation]) -> None:
    volume, segmentation = case
    wall, cpu = time.perf_counter(), time.process_time()
    table = statistics_of(NullContext(), volume, segmentation)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert len(table.rows) == SEGMENTS
    labels = sitk.GetImageFromArray(segmentation.group(0).labels[:PEER_PLANES])
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.array[:PEER_PLANES]))
    shape, intensity = sitk.LabelShapeStatisticsImageFilter(), sitk.LabelStatisticsImageFilter()
    peer = time.process_time()
    shape.Execute(labels)
    intensity.Execute(image, labels)
    peer = (time.process_time() - peer) * SHAPE[0] / PEER_PLANES
    print(f"\n{SEGMENTS} segments: {wall:.1f} s, {cpu:.1f} s of processor; SimpleITK, less of it, {peer:.1f} s")
    assert cpu < 4 * peer
