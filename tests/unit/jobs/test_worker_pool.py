from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from medviewer.core.errors import WorkerDied
from medviewer.jobs.job import JobCancelled, NullContext
from medviewer.jobs.worker import WorkerProcess
from medviewer.jobs.worker_pool import MOST_PROCESSES, WorkerPool, free_cores

T = "tests.worker_targets"
CTX = NullContext()


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(lambda: WorkerProcess("test"), 2)
    yield pool
    pid = pool.pid
    pool.close()
    assert pool.pid is None
    assert pid is None or not psutil.pid_exists(pid)


def test_it_uses_the_cores_there_are() -> None:
    assert 1 <= free_cores() <= MOST_PROCESSES


def test_two_calls_run_at_once(pool: WorkerPool, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        pids = list(threads.map(lambda _: pool.call(f"{T}:meet", (tmp_path, 2), CTX), range(2)))
    assert len(set(pids)) == 2


def test_calls_in_a_row_stay_in_one_process(pool: WorkerPool) -> None:
    assert len({pool.call(f"{T}:describe", None, CTX)["pid"] for _ in range(4)}) == 1  # type: ignore[index]


def test_one_that_dies_leaves_the_others_alone(pool: WorkerPool, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: pool.call(f"{T}:meet", (tmp_path, 2), CTX), range(2)))
        dying = threads.submit(pool.call, f"{T}:leave", 3, CTX)
        assert pool.call(f"{T}:describe", None, CTX)
        with pytest.raises(WorkerDied):
            dying.result()
    for _ in range(3):
        assert pool.call(f"{T}:describe", None, CTX)


def test_waiting_for_a_free_process_can_be_cancelled(tmp_path: Path) -> None:
    pool = WorkerPool(lambda: WorkerProcess("test"), 1)
    busy = threading.Event()

    class Busy(NullContext):
        def progress(self, fraction: float | None, text: str = "") -> None:
            busy.set()

    class Cancelled(NullContext):
        def check_cancelled(self) -> None:
            raise JobCancelled

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(pool.call, f"{T}:wait_politely", None, Busy())
        assert busy.wait(30)
        with pytest.raises(JobCancelled):
            pool.call(f"{T}:describe", None, Cancelled())
        pool.close()
        with pytest.raises(WorkerDied):
            running.result()


def test_S12_a_process_that_leaks_is_started_anew() -> None:
    worker = WorkerProcess("test", recycle_rss=300 << 20)
    try:
        small = [worker.call(f"{T}:keep_memory", 1 << 20, CTX) for _ in range(3)]
        assert len(set(small)) == 1
        assert worker.call(f"{T}:keep_memory", 400 << 20, CTX) == small[0]
        assert worker.call(f"{T}:keep_memory", 1 << 20, CTX) != small[0]
    finally:
        worker.close()


def test_too_much_memory_is_noticed_where_the_system_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = WorkerProcess("test", memory_limit=1 << 40)
    try:
        worker.start()
        monkeypatch.setattr(worker, "_rss", lambda: 1 << 41)
        with pytest.raises(WorkerDied, match="memory") as caught:
            worker.call(f"{T}:wait_deaf", None, CTX)
        assert caught.value.code == "E_OOM"
    finally:
        worker.close()
