"""Small DICOM series, written in code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.core.volume import Volume
from medviewer.io.decode_worker import new_decode_worker
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from tests.dicom_makers import write_slice

SliceMaker = Callable[..., Path]
SeriesMaker = Callable[..., list[Path]]


@pytest.fixture
def make_slice() -> SliceMaker:
    return write_slice


@pytest.fixture
def make_series(tmp_path: Path) -> SeriesMaker:
    """Write slices at positions; pixels are made from a seed unless given, `each(n)` adds elements for slice n."""

    def make(
        positions: Sequence[Sequence[float]] | int = 5,
        *,
        name: str = "series",
        dtype: Any = np.int16,
        shape: tuple[int, int] = (6, 8),
        low: int = 0,
        high: int = 2000,
        each: Callable[[int], dict[str, Any]] | None = None,
        **elements: Any,
    ) -> list[Path]:
        if isinstance(positions, int):
            positions = [(10.0, -20.0, -30.0 + 2.0 * n) for n in range(positions)]
        random = np.random.default_rng(0)
        paths = []
        for n, position in enumerate(positions):
            pixels = random.integers(low, high, shape).astype(dtype)
            own = {"InstanceNumber": n + 1, **elements, **(each(n) if each else {})}
            paths.append(write_slice(tmp_path / name / f"{n:03d}.dcm", pixels, position, **own))
        return paths

    return make


@pytest.fixture(scope="session")
def decode_worker():
    worker = new_decode_worker()
    yield worker
    worker.close()


@pytest.fixture
def load(decode_worker) -> Callable[[Path], Volume]:
    """Scan a folder and open its one series."""

    def open_folder(path: Path) -> Volume:
        (study,) = scan_paths(NullContext(), [path])
        (series,) = study.series
        return open_series(NullContext(), series, decode_worker)

    return open_folder
