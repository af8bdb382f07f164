from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

import pytest

from medviewer.core.errors import InputError
from medviewer.jobs.job import Job, JobCancelled, JobContext, JobState, NullContext, SubContext, abandonable
from medviewer.jobs.runner import JobRunner, ask_main


class MainThread:
    """A main thread that is run by hand."""

    def __init__(self) -> None:
        self.posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def post(self, function: Callable[[], None]) -> None:
        self.posted.put(function)

    def run_until(self, job: Job) -> None:
        while not job.state.is_final:
            self.posted.get(timeout=10)()

    def run_all(self) -> None:
        while not self.posted.empty():
            self.posted.get()()


@pytest.fixture
def main() -> MainThread:
    return MainThread()


@pytest.fixture
def runner(main: MainThread) -> Iterator[JobRunner]:
    runner = JobRunner(main.post, {"io": 1, "cpu": 2}, device="cpu")
    yield runner
    assert runner.shutdown()


def test_a_job_goes_from_pending_to_success(runner: JobRunner, main: MainThread) -> None:
    states: list[JobState] = []
    reports: list[tuple[float | None, str]] = []
    done: list[Job] = []
    job = runner.submit("work", lambda ctx: (ctx.progress(0.5, "half"), ctx.progress(1.0), 42)[-1], done=done.append)
    job.state_changed.connect(states.append)
    job.progress_changed.connect(lambda fraction, text: reports.append((fraction, text)))
    assert job.state is JobState.PENDING
    main.run_until(job)
    assert states == [JobState.RUNNING, JobState.SUCCESS]
    assert (job.result, job.error, job.fraction) == (42, None, 1.0)
    assert done == [job]
    assert reports[-1][0] == 1.0
    assert runner.running == []
    runner.forget(job)
    assert runner.jobs == []


def test_an_error_is_kept_and_the_lane_lives(runner: JobRunner, main: MainThread) -> None:
    refusal = InputError("no", hint="try")

    class Panic(BaseException):
        """As native libraries raise it."""

    def fail(error: BaseException) -> Callable[[JobContext], object]:
        def work(ctx: JobContext) -> object:
            raise error

        return work

    for error in (refusal, ValueError("bug"), Panic("rust"), SystemExit(1)):
        job = runner.submit("fails", fail(error))
        main.run_until(job)
        assert job.state is JobState.ERROR
        assert job.error is error
    job = runner.submit("works", lambda ctx: "fine")
    main.run_until(job)
    assert job.result == "fine"


def test_cancel_is_immediate_and_a_late_result_is_dropped(runner: JobRunner, main: MainThread) -> None:
    """The work never checks."""
    entered, leave = threading.Event(), threading.Event()

    def deaf(ctx: JobContext) -> str:
        entered.set()
        leave.wait(10)
        return "late"

    done: list[JobState] = []
    job = runner.submit("deaf", deaf, done=lambda job: done.append(job.state))
    assert entered.wait(10)
    main.run_all()
    job.cancel()
    assert job.state is JobState.CANCELLED
    assert done == [JobState.CANCELLED]
    leave.set()
    follower = runner.submit("next", lambda ctx: 1)
    main.run_until(follower)
    assert job.state is JobState.CANCELLED
    assert job.result is None
    assert done == [JobState.CANCELLED]


def test_a_checking_job_stops_at_its_next_check(runner: JobRunner, main: MainThread) -> None:
    entered, stopped = threading.Event(), threading.Event()

    def polite(ctx: JobContext) -> None:
        pause = threading.Event()
        try:
            while True:
                entered.set()
                ctx.progress(None, "turning")
                pause.wait(0.005)
        except JobCancelled:
            stopped.set()
            raise

    job = runner.submit("polite", polite)
    assert entered.wait(10)
    job.cancel()
    assert stopped.wait(10)


def test_a_job_that_was_cancelled_in_the_queue_never_runs(runner: JobRunner, main: MainThread) -> None:
    leave = threading.Event()
    ran: list[int] = []
    first = runner.submit("first", lambda ctx: leave.wait(10))
    second = runner.submit("second", lambda ctx: ran.append(2))
    second.cancel()
    leave.set()
    third = runner.submit("third", lambda ctx: ran.append(3))
    main.run_until(first)
    main.run_until(third)
    assert second.state is JobState.CANCELLED
    assert ran == [3]


def test_final_states_are_final() -> None:
    for finish in (lambda job: job.succeed(1), lambda job: job.fail(ValueError()), lambda job: job.cancel()):
        job = Job("x", "io")
        job.start()
        finish(job)
        state = job.state
        assert state.is_final
        job.succeed(2)
        job.fail(ValueError())
        job.cancel()
        job.report(0.3, "late")
        assert not job.start()
        assert job.state is state


def test_a_flood_of_progress_is_merged(runner: JobRunner, main: MainThread) -> None:
    def busy(ctx: JobContext) -> None:
        for n in range(20_000):
            ctx.progress(n / 20_000)
        ctx.progress(1.0, "done")

    job = runner.submit("busy", busy)
    reports: list[float | None] = []
    job.progress_changed.connect(lambda fraction, text: reports.append(fraction))
    main.run_until(job)
    assert reports[-1] == 1.0
    assert len(reports) < 500


def test_lanes_do_not_wait_for_each_other(runner: JobRunner, main: MainThread) -> None:
    leave = threading.Event()
    slow = runner.submit("slow", lambda ctx: leave.wait(10), lane="io")
    quick = runner.submit("quick", lambda ctx: 1, lane="cpu")
    main.run_until(quick)
    assert not slow.state.is_final
    leave.set()
    main.run_until(slow)


def test_shutdown_cancels_and_tells_whether_all_stopped(main: MainThread) -> None:
    runner = JobRunner(main.post, {"io": 1})
    leave, entered = threading.Event(), threading.Event()

    def deaf(ctx: JobContext) -> None:
        entered.set()
        leave.wait(20)

    job = runner.submit("deaf", deaf)
    assert entered.wait(10)
    assert not runner.shutdown(0.05)
    assert job.state is JobState.CANCELLED
    leave.set()
    assert runner.shutdown(10)


def test_a_listener_that_raises_does_not_end_the_lane() -> None:
    """Where posting is a plain call, as in the command line."""
    runner = JobRunner(lambda function: function(), {"io": 1})
    told = threading.Event()

    def broken(job: Job) -> None:
        told.set()
        raise ValueError("a fault in a listener")

    runner.submit("first", lambda ctx: 1, done=broken)
    assert told.wait(10)
    finished = threading.Event()
    runner.submit("second", lambda ctx: 2, done=lambda job: finished.set())
    assert finished.wait(10)
    assert runner.shutdown()


def test_a_part_reports_inside_its_share() -> None:
    reports: list[float | None] = []

    class Keep(NullContext):
        def progress(self, fraction: float | None, text: str = "") -> None:
            reports.append(fraction)

        def check_cancelled(self) -> None:
            raise JobCancelled

    part = SubContext(Keep("cuda:0"), 0.5, 0.7)
    part.progress(0.0)
    part.progress(0.5, "x")
    part.progress(1.0)
    part.progress(None)
    assert reports == pytest.approx([0.5, 0.6, 0.7, 0.5])
    assert part.device == "cuda:0"
    with pytest.raises(JobCancelled):
        part.check_cancelled()


def test_a_job_asks_the_main_thread_and_waits(runner: JobRunner, main: MainThread) -> None:
    def work(ctx: JobContext) -> tuple[str, str]:
        return ask_main(ctx, main.post, lambda: threading.current_thread().name), threading.current_thread().name

    job = runner.submit("asks", work)
    main.run_until(job)
    assert job.result == (threading.current_thread().name, "io-0")

    def refuse() -> int:
        raise InputError("No.")

    refused = runner.submit("is refused", lambda ctx: ask_main(ctx, main.post, refuse))
    with pytest.raises(InputError):
        main.run_until(refused)
    main.run_until(refused)
    assert isinstance(refused.error, RuntimeError)


def test_a_job_that_asks_can_be_cancelled(runner: JobRunner) -> None:
    asked = threading.Event()
    job = runner.submit("asks", lambda ctx: ask_main(ctx, lambda reply: asked.set(), lambda: 1))
    assert asked.wait(10)
    job.cancel()
    assert job.state is JobState.CANCELLED


def test_what_cannot_be_ended_gives_its_answer_or_its_error_or_is_left() -> None:
    assert abandonable(lambda: 3, lambda: None) == 3

    def fails() -> int:
        raise InputError("no")

    with pytest.raises(InputError):
        abandonable(fails, lambda: None)
    go_on = threading.Event()

    def cancelled() -> None:
        raise JobCancelled

    with pytest.raises(JobCancelled):
        abandonable(go_on.wait, cancelled)
    go_on.set()
