"""A long day of work in minutes: memory, files and threads stay as they were after warming up.

``MEDVIEWER_SOAK`` is the share of the whole day of 20 000 strokes; ``make soak`` runs all of it.
"""

from __future__ import annotations

import os
import queue
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from medviewer.app.context import AppContext
from medviewer.app.settings import Settings
from medviewer.core.geometry import Geometry, vec3
from medviewer.core.volume import Volume
from medviewer.editing.tool import PointerEvent
from medviewer.export.case import cases_of
from medviewer.export.exporter import run_export
from medviewer.jobs.job import Job, NullContext
from medviewer.plugin_host.registry import PluginRegistry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(4 * 3600)]

SHARE = float(os.environ.get("MEDVIEWER_SOAK", "0.05"))
STROKES, SWITCHES, BURSTS, SAVES, EXPORTS, RUNS = (round(n * SHARE) for n in (20_000, 500, 200, 50, 50, 50))
#: Longest that one event of the pointer may keep the window waiting, of 99 in a hundred.
FRAME_MS = 100
GRID = Geometry((256, 256, 120), (0.8, 0.8, 1.5))


class Day:
    """A program without a window, and what a person does with it."""

    def __init__(self, folder: Path, plugins: PluginRegistry) -> None:
        self.folder = folder
        self.posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.app = AppContext(self.posted.put, Settings(), plugins)
        #: What each event of the pointer took, in ms.
        self.frames: list[float] = []
        self.rng = random.Random(17)
        for name in ("a", "b"):
            image = np.zeros(GRID.shape, np.int16)
            self.app.workspace.add_volume(Volume(image, GRID, name, "CT", "HU", id=name))
        self.app.workspace.activate("a")
        self.app.router.activate("brush")

    def finish(self, job: Job) -> None:
        while not job.state.is_final:
            self.posted.get(timeout=60)()
        assert job.error is None

    def stroke(self) -> None:
        ends = [GRID.index_to_lps([self.rng.randrange(n) for n in GRID.size]) for _ in range(2)]
        axis = self.rng.randrange(3)
        for phase, lps in (("press", ends[0]), ("move", ends[0] * 0.8 + ends[1] * 0.2), ("release", ends[1])):
            started = time.perf_counter()
            self.app.router.pointer(PointerEvent(phase, vec3(lps), axis))  # type: ignore[arg-type]  # literal
            self.frames.append((time.perf_counter() - started) * 1000)

    def switch(self) -> None:
        self.app.workspace.activate(self.rng.choice("ab"))

    def burst(self) -> None:
        count = self.rng.randrange(1, 30)
        for _ in range(count):
            self.app.undo()
        for _ in range(self.rng.randrange(count + 1)):
            self.app.redo()

    def save(self) -> None:
        self.finish(self.app.documents.save(self.folder / "day.mvw"))

    def infer(self) -> None:
        """Run a task in the model worker, and take back what it found."""
        volume = self.app.workspace.active
        assert volume is not None
        done = len(self.app.history.done)
        for job in self.app.analyze.start(volume.id, ["tmp_air.air"]):
            self.finish(job)
        while len(self.app.history.done) == done:
            self.posted.get(timeout=60)()
        self.app.undo()

    def export(self) -> None:
        if not any(self.app.workspace.segmentation(name).segments for name in "ab"):
            self.stroke()
        with tempfile.TemporaryDirectory(dir=self.folder) as out:
            run_export(NullContext(), "nifti", cases_of(self.app.workspace), Path(out) / "out")

    def work(self, share: float) -> None:
        """Do a share of the day, in random order."""
        acts = (self.stroke, self.switch, self.burst, self.save, self.export, self.infer)
        counts = (STROKES, SWITCHES, BURSTS, SAVES, EXPORTS, RUNS)
        todo = [act for act, count in zip(acts, counts, strict=True) for _ in range(max(1, round(count * share)))]
        self.rng.shuffle(todo)
        for act in todo:
            act()


@pytest.fixture
def day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_plugin: Callable[..., Path]) -> Iterator[Day]:
    monkeypatch.setenv("MEDVIEWER_DATA_DIR", str(tmp_path / "data"))
    plugins = PluginRegistry()
    plugins.discover([tmp_plugin().parent])
    made = Day(tmp_path, plugins)
    yield made
    made.app.close()


def open_files(process: psutil.Process) -> int:
    return int(process.num_handles() if os.name == "nt" else process.num_fds())


def test_a_day_of_work_leaves_no_trace_in_memory(day: Day, tmp_path: Path) -> None:
    process = psutil.Process()
    day.work(0.2)
    held, files, threads = process.memory_info().rss, open_files(process), threading.active_count()
    history = day.app.history.nbytes
    day.work(0.8)
    grown = process.memory_info().rss - held - max(0, day.app.history.nbytes - history)
    assert grown < 200 << 20
    assert open_files(process) <= files + 1
    assert threading.active_count() <= threads + 1
    assert not list(tmp_path.glob(".*.tmp"))
    slowest = float(np.percentile(day.frames, 99))
    done = len(day.frames) // 3
    print(f"{done} strokes: +{grown / 2**20:.0f} MB; an event of the pointer took {slowest:.1f} ms (p99)")
    assert slowest <= FRAME_MS
