"""Network work that stops within a second when cancelled, and never waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from medviewer.io.network.errors import NetworkError
from medviewer.jobs.job import JobCancelled, JobContext

T = TypeVar("T")

#: Seconds: to connect and to be accepted; to wait for an answer; after which silence ends the job whatever it does.
CONNECT_S, ANSWER_S, SILENCE_S = 10.0, 30.0, 45.0
_POLL_S = 0.1


class Guard:
    """What the work reports to: that it is alive, and how to stop it."""

    def __init__(self, ctx: JobContext) -> None:
        self._ctx = ctx
        self._stopped = threading.Event()
        self._stop: list[Callable[[], object]] = []
        self.last_sign = time.monotonic()

    @property
    def stopped(self) -> bool:
        """Whether the work is to end."""
        return self._stopped.is_set()

    def on_stop(self, stop: Callable[[], object]) -> None:
        """Have `stop` called when the work is to end: it closes what the work waits for."""
        self._stop.append(stop)

    def alive(self) -> None:
        """Say that something came; raises `JobCancelled` when the work is to end."""
        if self.stopped:
            raise JobCancelled
        self.last_sign = time.monotonic()

    def progress(self, fraction: float | None, text: str) -> None:
        """Report progress."""
        self.alive()
        self._ctx.progress(fraction, text)

    def stop(self) -> None:
        """End the work."""
        self._stopped.set()
        for stop in self._stop:
            threading.Thread(target=stop, daemon=True).start()


def run_guarded(ctx: JobContext, work: Callable[[Guard], T], silence_s: float = SILENCE_S) -> T:
    """Run `work` on a thread of its own and return what it returns.

    Raises
    ------
    JobCancelled
        At most 0.6 s after the job was cancelled, whatever the network does.
    NetworkError
        ``E_TIMEOUT`` when nothing has been heard for `silence_s`.
    """
    guard = Guard(ctx)
    results: list[T] = []
    failures: list[BaseException] = []
    done = threading.Event()

    def body() -> None:
        try:
            results.append(work(guard))
        # Whatever it is, it is raised again on the thread that waits.
        except BaseException as error:  # noqa: BLE001
            failures.append(error)
        finally:
            done.set()

    threading.Thread(target=body, name="network", daemon=True).start()
    while not done.wait(_POLL_S):
        try:
            ctx.check_cancelled()
        except JobCancelled:
            guard.stop()
            done.wait(0.5)
            raise
        if time.monotonic() - guard.last_sign > silence_s:
            guard.stop()
            raise NetworkError(
                f"The server has not answered for {silence_s:.0f} s.",
                hint="Try again later, or ask whoever runs the server.",
                code="E_TIMEOUT",
            )
    ctx.check_cancelled()
    if failures:
        raise failures[0]
    return results[0]
