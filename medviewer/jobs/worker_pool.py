"""Several worker processes that take turns: as many calls at once as there are cores."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable

from medviewer.jobs.job import JobContext
from medviewer.jobs.worker import WorkerProcess

MOST_PROCESSES = 4


def free_cores() -> int:
    """Return how many cores this process may use, at most `MOST_PROCESSES`."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(mine, MOST_PROCESSES)


class WorkerPool(WorkerProcess):
    """Like one worker process, but calls from several threads run at once, each in a process of its own.

    Calls one after the other all go to the same process; the others start when they are needed.

    Parameters
    ----------
    make : callable
        Returns a worker that has not been started.
    count : int
        Most processes.
    """

    def __init__(self, make: Callable[[], WorkerProcess], count: int) -> None:
        self._workers = tuple(make() for _ in range(count))
        super().__init__(self._workers[0].name)
        self._idle: queue.LifoQueue[WorkerProcess] = queue.LifoQueue()
        for worker in reversed(self._workers):
            self._idle.put(worker)

    @property
    def count(self) -> int:
        """How many calls can run at once."""
        return len(self._workers)

    @property
    def pid(self) -> int | None:
        """Process id of the first that runs."""
        return next((worker.pid for worker in self._workers if worker.pid is not None), None)

    def start(self) -> None:
        """Start the first process if it does not run, and warm it; raises `WorkerDied` when it cannot start."""
        self._workers[0].start()

    def call(
        self,
        target: str,
        payload: object,
        ctx: JobContext,
        *,
        device: str | None = None,
        time_limit: float | None = None,
    ) -> object:
        """Run a function in the process that is free; see `WorkerProcess.call`."""
        worker = self._take(ctx)
        try:
            return worker.call(target, payload, ctx, device=device, time_limit=time_limit)
        finally:
            self.peak_rss = max(self.peak_rss, worker.peak_rss)
            self._idle.put(worker)

    def _take(self, ctx: JobContext) -> WorkerProcess:
        while True:
            ctx.check_cancelled()
            try:
                return self._idle.get(timeout=0.05)
            except queue.Empty:
                continue

    def close(self) -> None:
        """End the processes; calls in other threads get `WorkerDied`."""
        for worker in self._workers:
            worker.close()
        super().close()
