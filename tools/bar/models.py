"""Runs of models: the same answer every time, with its maker in every export; a run that fails shows nothing."""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import psutil
from safetensors.numpy import load_file, save_file

from medviewer.ai.card import CARD_NAME, WEIGHTS_NAME, Label
from medviewer.ai.weights import ModelStore
from medviewer.app.context import AppContext
from medviewer.app.paths import settings_file
from medviewer.app.settings import Settings
from medviewer.core.volume import Volume
from medviewer.export.case import cases_of
from medviewer.export.exporter import all_exporters, run_export
from medviewer.jobs.job import Job, JobState
from medviewer.plugin_host.registry import PluginRegistry
from tests.f_phantom import grid, make_series
from tests.model_makers import write_model
from tools.bar.bar import CTX, Bench, Figure, row

_PLUGINS: Final = Path(__file__).resolve().parents[2] / "plugins"
_TASK: Final = "tiny"
_VERSION: Final = "7.31.4"


class _Session:
    """The program without a window, with one small model and one open series."""

    def __init__(self, folder: Path) -> None:
        store = ModelStore(folder / "shipped", folder / "own")
        labels = (Label(value=1, name="thing", title="Thing"),)
        self.model = write_model(
            store.own / _TASK, _TASK, version=_VERSION, labels=labels, spacing_mm=(), window=(8, 8, 8)
        )
        registry = PluginRegistry()
        registry.discover([_PLUGINS], store)
        self._posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.app = AppContext(self._posted.put, Settings.load(settings_file()), registry)
        self.app.models.accept(registry.task(_TASK))
        self.volume: Volume = make_series(folder / "series", grid("oblique"))
        self.app.workspace.add_volume(self.volume)
        self.app.workspace.activate(self.volume.id)

    def run(self, during: Callable[[Job], None] | None = None) -> Job:
        """Run the model to its end, as Analyze does."""
        (job,) = self.app.analyze.start(self.volume.id, [_TASK])
        while not job.state.is_final:
            if during is not None:
                during(job)
            with contextlib.suppress(queue.Empty):
                self._posted.get(timeout=0.02)()
        while not self._posted.empty():
            self._posted.get()()
        return job

    def shown(self) -> tuple[object, ...]:
        """Return all that a user sees of results: segments, their voxels, who made them, what can be undone."""
        segmentation = self.app.workspace.segmentation(self.volume.id)
        masks = [hashlib.sha256(segmentation.mask(s.value).tobytes()).hexdigest() for s in segmentation.segments]
        return segmentation.segments, tuple(masks), self.app.workspace.runs, self.app.history.undo_label

    def digest(self) -> str:
        """Return the hash of the mask of the last run."""
        segmentation = self.app.workspace.segmentation(self.volume.id)
        return hashlib.sha256(segmentation.mask(segmentation.segments[-1].value).tobytes()).hexdigest()


@contextmanager
def _session(folder: Path) -> Iterator[_Session]:
    before = os.environ.get("MEDVIEWER_DATA_DIR")
    os.environ["MEDVIEWER_DATA_DIR"] = str(folder / "data")
    session = _Session(folder)
    try:
        yield session
    finally:
        session.app.close()
        os.environ.pop("MEDVIEWER_DATA_DIR")
        if before is not None:
            os.environ["MEDVIEWER_DATA_DIR"] = before


@row("R-31", "the same run gives the same mask, and exports say what made it")
def runs_repeat(bench: Bench) -> Figure:
    """Run one model again and again in the model worker, then look for its id, version and hash in every export."""
    count = 5 if bench.sample else 20
    folder = bench.folder / "r31"
    with _session(folder) as session:
        good, digests = 0, []
        for _ in range(count):
            good += session.run().state is JobState.SUCCESS
            digests.append(session.digest())
        same = digests.count(digests[0])
        run = session.app.workspace.runs[-1]
        wanted = [run.weights_sha256.encode(), _TASK.encode(), _VERSION.encode()]
        formats = all_exporters()
        told = 0
        for info in formats:
            target = folder / "out" / info.id
            run_export(CTX, info.id, cases_of(session.app.workspace), target)
            found = b"".join(path.read_bytes() for path in sorted(target.rglob("*")) if path.is_file())
            told += bool(run.weights_sha256) and all(word in found for word in wanted)
    figure = f"{same}/{count} masks equal; {told}/{len(formats)} formats name model, version and weights"
    return Figure(figure, good == same == count and told == len(formats))


@row("R-32", "a run that fails shows no old mask as new")
def failures_show_nothing(bench: Bench) -> Figure:
    """After a good run let the next one fail in three ways: what is shown stays, and the failure is told."""
    ways = {"weights cut": _cut, "no numbers": _no_numbers, "worker killed": None}
    held = []
    for n, (name, damage) in enumerate(ways.items()):
        with _session(bench.folder / f"r32_{n}") as session:
            good = session.run()
            before = session.shown()
            if damage is not None:
                damage(session.model)
            job = session.run(_kill_worker(session) if damage is None else None)
            failed = job.state is JobState.ERROR and bool(getattr(job.error, "hint", ""))
            named = any("Tiny" in message.text for message in session.app.messages.messages)
            if good.state is JobState.SUCCESS and before[0] and failed and named and session.shown() == before:
                held.append(name)
    return Figure(f"{len(held)}/{len(ways)} ways: {', '.join(held)}", len(held) == len(ways))


def _cut(model: Path) -> None:
    """Cut the weights short, under the warm worker that has loaded them."""
    path = model / WEIGHTS_NAME
    path.write_bytes(path.read_bytes()[:200])


def _no_numbers(model: Path) -> None:
    """Put NaN into every weight, and the hash of that into the card."""
    path = model / WEIGHTS_NAME
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    save_file({name: np.full_like(value, np.nan) for name, value in load_file(path).items()}, path)
    card = model / CARD_NAME
    after = hashlib.sha256(path.read_bytes()).hexdigest()
    card.write_text(card.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")


def _kill_worker(session: _Session) -> Callable[[Job], None]:
    """Return what ends the model worker while it runs a job."""

    def kill(job: Job) -> None:
        pid = session.app.model_worker.pid
        if job.state is JobState.RUNNING and pid is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()

    return kill
