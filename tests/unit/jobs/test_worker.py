from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from medviewer.core.errors import InputError, OutOfMemory, TaskError, WorkerDied
from medviewer.jobs.job import JobCancelled, NullContext
from medviewer.jobs.shared_array import _PREFIX, block_folder
from medviewer.jobs.worker import WorkerProcess

T = "tests.worker_targets"


class Recorder(NullContext):
    """Keeps progress; cancels once the first has arrived, if asked to."""

    def __init__(self, cancel: bool = False) -> None:
        super().__init__()
        self.reports: list[tuple[float | None, str]] = []
        self.cancel = cancel

    def progress(self, fraction: float | None, text: str = "") -> None:
        self.reports.append((fraction, text))

    def check_cancelled(self) -> None:
        if self.cancel and self.reports:
            raise JobCancelled


def blocks(*owners: int | None) -> set[Path]:
    return {path for owner in owners if owner for path in block_folder().glob(f"{_PREFIX}{owner}-*")}


@pytest.fixture
def worker() -> Iterator[WorkerProcess]:
    worker = WorkerProcess("test")
    yield worker
    pid = worker.pid
    worker.close()
    assert pid is None or not psutil.pid_exists(pid)
    assert not blocks(pid, os.getpid()), "a shared array was left behind"


def test_it_runs_our_module_and_not_the_callers_main(worker: WorkerProcess) -> None:
    there = worker.call(f"{T}:describe", None, NullContext(), device="cuda:1")
    assert there == {"pid": worker.pid, "device": "cuda:1", "main": "__main__", "torch": False}
    assert there["pid"] != os.getpid()
    assert worker.call(f"{T}:describe", None, NullContext())["pid"] == there["pid"], "it stays warm"


def test_arrays_cross_and_come_back(worker: WorkerProcess) -> None:
    for array in (np.arange(10), np.arange(200_000, dtype=np.int16).reshape(2, 100, 1000), np.zeros(0), np.ones(())):
        ctx = Recorder()
        answer = worker.call(f"{T}:double", array, ctx)
        np.testing.assert_array_equal(answer["doubled"], array * 2)
        np.testing.assert_array_equal(answer["same"], array)
        assert ctx.reports[0] == (0.0, "step 0")
        assert ctx.reports[-1] == (1.0, "")


def test_the_callers_array_is_not_changed(worker: WorkerProcess) -> None:
    array = np.zeros(100_000)
    answer = worker.call(f"{T}:hand_back", array, NullContext())
    assert not array.any()
    assert answer.all()
    answer[:] = 5
    assert not array.any()


def test_refusals_keep_their_words(worker: WorkerProcess) -> None:
    with pytest.raises(InputError) as caught:
        worker.call(f"{T}:refuse", None, NullContext())
    error = caught.value
    assert (error.code, error.text, error.hint) == ("E_TRUNCATED", "The file is cut off.", "Copy it again.")


@pytest.mark.parametrize(
    ("target", "kind", "text"),
    [
        ("divide_by_zero", TaskError, "ZeroDivisionError"),
        ("panic", TaskError, "PanicException"),
        ("no_memory", OutOfMemory, "memory"),
        ("no_such_pickle", TaskError, "pickle"),
        ("not_there", TaskError, "not_there"),
    ],
)
def test_faults_are_named_and_the_worker_lives(
    worker: WorkerProcess, target: str, kind: type[TaskError], text: str
) -> None:
    worker.start()
    pid = worker.pid
    with pytest.raises(kind, match=text) as caught:
        worker.call(f"{T}:{target}", 0, NullContext())
    assert caught.value.hint
    assert worker.call(f"{T}:describe", None, NullContext())["pid"] == pid


@pytest.mark.parametrize(("target", "status"), [("leave", "3"), ("segfault", "-11"), ("kill_self", "memory")])
def test_M07_a_worker_that_dies_is_a_named_error_and_a_fresh_worker(
    worker: WorkerProcess, target: str, status: str
) -> None:
    if os.name == "nt" and target != "leave":
        pytest.skip("Windows has no signals")
    array = np.arange(100_000)
    started = time.monotonic()
    with pytest.raises(WorkerDied, match=status) as caught:
        worker.call(f"{T}:{target}", 3 if target == "leave" else array, NullContext())
    assert time.monotonic() - started < 10
    assert caught.value.code == "E_WORKER_DIED"
    assert caught.value.hint
    assert worker.call(f"{T}:describe", None, NullContext())["pid"] == worker.pid


def test_a_result_that_arrives_before_the_end_counts(worker: WorkerProcess) -> None:
    answer = worker.call(f"{T}:big_result", 300_000, NullContext())
    np.testing.assert_array_equal(answer, np.arange(300_000))
    worker.close()
    assert answer[-1] == 299_999, "the result outlives the worker"


def test_a_soft_cancel_keeps_the_worker_warm(worker: WorkerProcess) -> None:
    worker.start()
    pid = worker.pid
    started = time.monotonic()
    with pytest.raises(JobCancelled):
        worker.call(f"{T}:wait_politely", None, Recorder(cancel=True))
    assert time.monotonic() - started < 10
    assert worker.pid == pid
    assert worker.call(f"{T}:describe", None, NullContext())["pid"] == pid


@pytest.mark.parametrize("target", ["wait_deaf"])
def test_a_deaf_call_is_stopped_the_hard_way(worker: WorkerProcess, target: str) -> None:
    worker.start()
    pid = worker.pid
    assert pid is not None
    started = time.monotonic()
    with pytest.raises(JobCancelled):
        worker.call(f"{T}:{target}", np.arange(100_000), Recorder(cancel=True))
    assert time.monotonic() - started < 10
    assert not psutil.pid_exists(pid)
    assert worker.call(f"{T}:describe", None, NullContext())["pid"] != pid


def test_except_exception_cannot_swallow_a_cancel(worker: WorkerProcess) -> None:
    with pytest.raises(JobCancelled):
        worker.call(f"{T}:swallow_cancel", None, Recorder(cancel=True))


def test_a_time_limit_ends_the_call(worker: WorkerProcess) -> None:
    with pytest.raises(WorkerDied) as caught:
        worker.call(f"{T}:wait_deaf", None, NullContext(), time_limit=0.3)
    assert caught.value.code == "E_TIMEOUT"
    assert worker.call(f"{T}:describe", None, NullContext())["pid"] == worker.pid


def test_progress_that_raises_cancels(worker: WorkerProcess) -> None:
    class Stop(NullContext):
        def progress(self, fraction: float | None, text: str = "") -> None:
            raise JobCancelled

    with pytest.raises(JobCancelled):
        worker.call(f"{T}:wait_politely", None, Stop())


def test_a_broken_listener_does_not_leave_the_call_behind(worker: WorkerProcess) -> None:
    """What the caller's own progress raises goes to the caller; the next call gets its own answer."""

    class Broken(NullContext):
        def progress(self, fraction: float | None, text: str = "") -> None:
            raise ValueError("a fault in the caller")

    with pytest.raises(ValueError, match="fault in the caller"):
        worker.call(f"{T}:double", np.arange(100_000), Broken())
    np.testing.assert_array_equal(worker.call(f"{T}:big_result", 100_000, NullContext()), np.arange(100_000))


def test_closing_ends_a_call_in_another_thread(worker: WorkerProcess) -> None:
    errors: list[BaseException] = []
    started = threading.Event()

    class Tell(NullContext):
        def progress(self, fraction: float | None, text: str = "") -> None:
            started.set()

    def call() -> None:
        try:
            worker.call(f"{T}:wait_deaf", None, Tell())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert started.wait(30)
    worker.close()
    thread.join(10)
    assert not thread.is_alive()
    assert isinstance(errors[0], WorkerDied)


def test_calls_of_two_threads_take_turns(worker: WorkerProcess) -> None:
    answers: dict[int, int] = {}

    def call(n: int) -> None:
        answers[n] = len(worker.call(f"{T}:big_result", n, NullContext()))

    threads = [threading.Thread(target=call, args=(n,)) for n in (10, 20_000, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == {10: 10, 20_000: 20_000, 300: 300}


def test_its_peak_memory_is_known(worker: WorkerProcess) -> None:
    worker.call(f"{T}:big_result", 5_000_000, NullContext())
    assert worker.peak_rss > 40_000_000


def test_a_memory_cap_is_an_error_with_a_hint() -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux enforces it")
    worker = WorkerProcess("capped", memory_limit=1 << 30)
    try:
        with pytest.raises(OutOfMemory):
            worker.call(f"{T}:big_result", 1 << 28, NullContext())
    finally:
        worker.close()


def test_nobody_is_left_when_the_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(f"""
        import threading
        from medviewer.jobs.job import NullContext
        from medviewer.jobs.worker import WorkerProcess

        class Tell(NullContext):
            def progress(self, fraction, text=""):
                print(worker.pid, flush=True)

        worker = WorkerProcess("test")
        worker.call("{T}:wait_deaf", None, Tell())
        """)
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_script_that_ends_leaves_none_behind(tmp_path: Path) -> None:
    """From standard input, without a main guard."""
    code = (
        "from medviewer.jobs.job import NullContext\nfrom medviewer.jobs.worker import WorkerProcess\n"
        f"worker = WorkerProcess('test')\nprint(worker.call('{T}:describe', None, NullContext())['pid'])\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    result = subprocess.run(
        [sys.executable, "-"], input=code, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60
    )
    assert result.returncode == 0, result.stderr
    pid = int(result.stdout)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_worker_that_cannot_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medviewer.jobs.worker.worker_command", lambda: [sys.executable, "-c", "raise SystemExit(7)"])
    worker = WorkerProcess("broken")
    with pytest.raises(WorkerDied, match="could not start") as caught:
        worker.start()
    assert "doctor" in caught.value.hint
    worker.close()
