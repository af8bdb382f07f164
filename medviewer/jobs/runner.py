"""Runs jobs on lanes; what a job reports reaches the main thread through `post`."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from psygnal import Signal

from medviewer.core.errors import MedViewerError
from medviewer.jobs.job import Job, JobCancelled, JobContext, JobState

log = logging.getLogger(__name__)

Post = Callable[[Callable[[], None]], None]
Work = Callable[[JobContext], object]
Answer = TypeVar("Answer")

#: Short questions to the library must not wait for a long scan, nor a scan for the network.
LANES: Mapping[str, int] = {"gpu": 1, "cpu": 2, "io": 2, "library": 2, "net": 2}
_ASK_S = 0.1


class _Context:
    """The `JobContext` of a job on a lane; progress is merged, so a busy loop cannot flood the main thread."""

    def __init__(self, job: Job, post: Post, device: str) -> None:
        self.device = device
        self._job = job
        self._post = post
        self._last = 0.0

    def progress(self, fraction: float | None, text: str = "") -> None:
        self.check_cancelled()
        now = time.monotonic()
        if now - self._last >= 0.03 or fraction == 1.0:
            self._last = now
            self._post(lambda: self._job.report(fraction, text))

    def check_cancelled(self) -> None:
        if self._job.cancel_requested.is_set():
            raise JobCancelled


class JobRunner:
    """Lanes of threads. Heavy work behind them runs in worker processes; the threads only wait.

    Parameters
    ----------
    post : callable
        Brings a function to the main thread. In a test: ``lambda fn: fn()``.
    device : str
        Given to jobs as ``ctx.device``.

    Signals
    -------
    job_added(Job)
        On the main thread, before the job starts.
    """

    job_added = Signal(object)

    def __init__(self, post: Post, lanes: Mapping[str, int] = LANES, device: str = "cpu") -> None:
        self._post = post
        self.device = device
        self.jobs: list[Job] = []
        self._queues: dict[str, queue.SimpleQueue[tuple[Job, Work] | None]] = {}
        self._threads: list[threading.Thread] = []
        for lane, count in lanes.items():
            self._queues[lane] = queue.SimpleQueue()
            for n in range(count):
                thread = threading.Thread(target=self._work, args=(lane,), name=f"{lane}-{n}", daemon=True)
                self._threads.append(thread)
                thread.start()

    def submit(
        self,
        title: str,
        work: Work,
        *,
        lane: str = "io",
        done: Callable[[Job], None] | None = None,
        quiet: bool = False,
    ) -> Job:
        """Queue `work` and return its job; `done` is called on the main thread when it has ended, however it ended."""
        job = Job(title, lane, quiet)
        if done is not None:
            job.state_changed.connect(lambda state: done(job) if state.is_final else None)
        self.jobs.append(job)
        self.job_added.emit(job)
        self._queues[lane].put((job, work))
        return job

    @property
    def running(self) -> list[Job]:
        """Jobs that have not ended."""
        return [job for job in self.jobs if not job.state.is_final]

    def _work(self, lane: str) -> None:
        while (item := self._queues[lane].get()) is not None:
            self._run(*item)

    def _run(self, job: Job, work: Work) -> None:
        if job.cancel_requested.is_set():
            return
        self._deliver(lambda: _ignore(job.start()))
        started = time.monotonic()
        try:
            result = work(_Context(job, self._post, self.device))
        except JobCancelled:
            self._deliver(job.cancel)
        # The lane must survive whatever a job raises; the job carries it to the user and the log.
        except BaseException as error:
            caught = error
            if isinstance(error, MedViewerError):
                # Nothing is wrong with the program: where it was refused is of no use.
                log.warning("The job %r was refused: %s %s", job.title, error.code, error.text)
            else:
                log.exception("The job %r failed.", job.title, exc_info=error)
            self._deliver(lambda: job.fail(caught))
        else:
            job.seconds = time.monotonic() - started
            self._deliver(lambda: job.succeed(result))

    def _deliver(self, function: Callable[[], None]) -> None:
        """Post; a listener that raises where posting is a plain call must not end the lane."""
        try:
            self._post(function)
        except BaseException:
            log.exception("What follows a job failed.")

    def forget(self, job: Job) -> None:
        """Take an ended job off the list."""
        if job.state.is_final and job in self.jobs:
            self.jobs.remove(job)

    def shutdown(self, timeout: float = 3.0) -> bool:
        """Cancel everything, wait up to `timeout` seconds; return whether all lanes have stopped."""
        for job in self.running:
            job.cancel()
        for thread in self._threads:
            self._queues[thread.name.rsplit("-", 1)[0]].put(None)
        end = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)


def ask_main(ctx: JobContext, post: Post, question: Callable[[], Answer]) -> Answer:
    """Have a quick question answered on the main thread, from a job, and wait for it.

    Raises
    ------
    JobCancelled
        When the job is cancelled meanwhile, as the end of the program does.
    RuntimeError
        When the question raised; the error itself is the main thread's.
    """
    answers: list[Answer] = []
    asked = threading.Event()

    def reply() -> None:
        try:
            answers.append(question())
        finally:
            asked.set()

    post(reply)
    while not asked.wait(_ASK_S):
        ctx.check_cancelled()
    if not answers:
        raise RuntimeError("the main thread has no answer")
    return answers[0]


def _ignore(_: object) -> None:
    return None


__all__ = ["LANES", "Job", "JobContext", "JobRunner", "JobState", "Post", "Work", "ask_main"]
