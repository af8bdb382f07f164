"""A job: one piece of long work with progress, cancel, a result or a named error."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from enum import Enum
from typing import Protocol, TypeVar
from uuid import uuid4

from psygnal import Signal

T = TypeVar("T")

#: Seconds between two looks at whether work that cannot be ended is still wanted.
_LOOK_S = 0.05


class JobCancelled(BaseException):
    """Raised inside a job at its next check after the user cancelled.

    A BaseException, so that `except Exception` in a task cannot swallow it.
    """


class JobContext(Protocol):
    """What a job may ask of its surroundings."""

    @property
    def device(self) -> str:
        """Where to compute: ``cpu`` or ``cuda:n``."""

    def progress(self, fraction: float | None, text: str = "") -> None:
        """Report 0..1 (None: unknown) and what is being done; raises `JobCancelled` when cancelled."""

    def check_cancelled(self) -> None:
        """Raise `JobCancelled` when cancelled."""


class NullContext:
    """A context that reports to nobody and is never cancelled."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def progress(self, fraction: float | None, text: str = "") -> None:
        """Do nothing."""

    def check_cancelled(self) -> None:
        """Do nothing."""


class SubContext:
    """Maps the progress of a part, 0..1, into ``start..stop`` of the whole."""

    def __init__(self, parent: JobContext, start: float, stop: float) -> None:
        self._parent = parent
        self._start = start
        self._stop = stop

    @property
    def device(self) -> str:
        """Where to compute."""
        return self._parent.device

    def progress(self, fraction: float | None, text: str = "") -> None:
        """Report progress of the part."""
        whole = self._start if fraction is None else self._start + fraction * (self._stop - self._start)
        self._parent.progress(whole, text)

    def check_cancelled(self) -> None:
        """Raise `JobCancelled` when cancelled."""
        self._parent.check_cancelled()


def abandonable(work: Callable[[], T], check: Callable[[], None]) -> T:
    """Return what work returns that cannot be ended from outside, as a call into a library.

    It runs on a thread of its own. When `check` raises, it is left to run to its end unheard.

    Parameters
    ----------
    work : callable
        Must not change anything.
    check : callable
        Called every now and then; may raise to stop waiting.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            answer.set_exception(error)

    threading.Thread(target=run, name="abandonable", daemon=True).start()
    while not wait([answer], _LOOK_S).done:
        check()
    return answer.result()


class JobState(Enum):
    """Where a job is; the last three are final."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    ERROR = "error"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing can change any more."""
        return self in (JobState.SUCCESS, JobState.ERROR, JobState.CANCELLED)


class Job:
    """One piece of long work, as the main thread sees it.

    Signals
    -------
    state_changed(JobState)
        Emitted on the main thread.
    progress_changed(float or None, str)
        Emitted on the main thread.
    """

    state_changed = Signal(object)
    progress_changed = Signal(object, str)

    def __init__(self, title: str, lane: str, quiet: bool = False) -> None:
        self.id = uuid4().hex
        self.title = title
        self.lane = lane
        #: Work of the program's own that nobody waits for: closing does not ask about it.
        self.quiet = quiet
        self.fraction: float | None = None
        self.text = ""
        self.result: object = None
        self.error: BaseException | None = None
        self.seconds = 0.0
        self.peak_rss: dict[str, int] = {}
        self._state = JobState.PENDING
        self._cancel = threading.Event()

    @property
    def state(self) -> JobState:
        """Where the job is."""
        return self._state

    @property
    def cancel_requested(self) -> threading.Event:
        """Set once the user has cancelled."""
        return self._cancel

    def cancel(self) -> None:
        """Cancel at once for the user; the work stops at its next check and its result is dropped."""
        self._cancel.set()
        self._set(JobState.CANCELLED)

    def _set(self, state: JobState) -> bool:
        """Change the state unless it is final; the only place that does."""
        if self._state.is_final or state is self._state:
            return False
        self._state = state
        self.state_changed.emit(state)
        return True

    def start(self) -> bool:
        """Mark as running; False when it was cancelled before."""
        return self._set(JobState.RUNNING)

    def succeed(self, result: object) -> None:
        """Finish with a result, unless cancelled."""
        if not self._state.is_final:
            self.result = result
            self.fraction = 1.0
            self._set(JobState.SUCCESS)

    def fail(self, error: BaseException) -> None:
        """Finish with an error, unless cancelled."""
        if not self._state.is_final:
            self.error = error
            self._set(JobState.ERROR)

    def report(self, fraction: float | None, text: str) -> None:
        """Take over progress that was reported by the worker."""
        if self._state is JobState.RUNNING:
            self.fraction, self.text = fraction, text
            self.progress_changed.emit(fraction, text)
