"""An application without a window: what jobs post is run by the test, on the test's thread."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from medviewer.app.context import AppContext
from medviewer.app.paths import settings_file
from medviewer.app.settings import Settings
from medviewer.core.volume import Volume
from medviewer.jobs.job import Job
from medviewer.phantoms import spheres_volume, write_series
from medviewer.phantoms.model import Phantom
from medviewer.plugin_host.registry import PluginRegistry


class Pump:
    """The main thread of a test."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def post(self, fn: Callable[[], None]) -> None:
        self._queue.put(fn)

    def until(self, condition: Callable[[], bool], timeout: float = 30.0) -> None:
        end = time.monotonic() + timeout
        while not condition():
            left = end - time.monotonic()
            assert left > 0, "the condition did not come true"
            try:
                self._queue.get(timeout=min(left, 0.2))()
            except queue.Empty:
                continue

    def finish(self, job: Job | None) -> Job:
        assert job is not None
        self.until(lambda: job.state.is_final)
        return job


@pytest.fixture
def pump() -> Pump:
    return Pump()


@pytest.fixture
def make_app(pump: Pump, tmp_plugin: Callable[..., Path]) -> Iterator[Callable[[], AppContext]]:
    """Make an application with one plugin (`tmp_air.air`); several may follow each other, as sessions do."""
    apps: list[AppContext] = []
    folder = tmp_plugin().parent

    def make() -> AppContext:
        registry = PluginRegistry()
        registry.discover([folder])
        app = AppContext(pump.post, Settings.load(settings_file()), registry)
        apps.append(app)
        return app

    yield make
    for app in apps:
        app.close()


@pytest.fixture
def app(make_app: Callable[[], AppContext]) -> AppContext:
    return make_app()


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    return spheres_volume()


@pytest.fixture
def study(tmp_path: Path, phantom: Phantom) -> Path:
    folder = tmp_path / "study"
    write_series(phantom, folder)
    return folder


@pytest.fixture
def opened(app: AppContext, pump: Pump, study: Path) -> Volume:
    """The phantom, opened through scan and reader."""
    job = pump.finish(app.studies.scan([study], open_best=True))
    assert job.error is None
    pump.until(lambda: app.workspace.active is not None and not app.jobs.running)
    assert app.workspace.active is not None
    return app.workspace.active
