"""One good series, a decode worker, and the question what becomes of a path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.io.decode_worker import new_decode_worker
from medviewer.jobs.worker import WorkerProcess
from tests.dicom_makers import pixels, write_slice
from tests.outcomes import Outcome, outcomes


@pytest.fixture(scope="session")
def worker() -> Iterator[WorkerProcess]:
    process = new_decode_worker()
    process.start()
    yield process
    process.close()


@pytest.fixture
def good(tmp_path: Path) -> Callable[..., list[Path]]:
    """Write a series of slices 2 mm apart into a folder (``series``); keywords are elements."""

    def make(count: int = 5, *, folder: str = "series", dtype: Any = np.int16, high: int = 2000, **elements: Any):
        values = {"RescaleIntercept": -1024, **elements}
        return [
            write_slice(
                tmp_path / folder / f"{n:03d}.dcm",
                pixels(n, dtype, high),
                (0.0, 0.0, 2.0 * n),
                **({"InstanceNumber": n + 1} | values),
            )
            for n in range(count)
        ]

    return make


@pytest.fixture
def one(good: Callable[..., list[Path]]) -> Callable[..., Path]:
    """Write one slice."""

    def make(**elements: Any) -> Path:
        return good(1, folder="one", **elements)[0]

    return make


@pytest.fixture
def outcome(worker: WorkerProcess) -> Callable[[Path], Outcome]:
    """Return what becomes of a path with one series, after checking what every outcome must keep to."""

    def ask(path: Path, within: float = 5.0) -> Outcome:
        found = outcomes(path, worker)
        assert len(found) == 1, [str(o) for o in found]
        return checked(found[0], within)

    return ask


@pytest.fixture
def all_outcomes(worker: WorkerProcess) -> Callable[[Path], list[Outcome]]:
    """Return what becomes of every series below a path, checked."""
    return lambda path: [checked(found) for found in outcomes(path, worker)]


def checked(found: Outcome, within: float = 5.0) -> Outcome:
    assert found.seconds <= within, str(found)
    if found.state == "REFUSED":
        (code,) = found.codes
        assert code.startswith("E_")
        assert found.text.strip()
        assert found.hint.strip()
    else:
        assert all(code.startswith("W_") for code in found.codes)
        assert bool(found.codes) == (found.state == "LOADED+W")
    return found
