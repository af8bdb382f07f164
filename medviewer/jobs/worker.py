"""The parent's side of a worker process: start, call, cancel, notice its death, start anew."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import logging
import os
import secrets
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection, Listener

import psutil

from medviewer.core.errors import MedViewerError, TaskError, WorkerDied
from medviewer.jobs.job import JobCancelled, JobContext
from medviewer.jobs.shared_array import pack, sweep_blocks, unpack

log = logging.getLogger(__name__)

#: How long a cancelled call may go on before its process is ended.
CANCEL_GRACE_S = 2.0
START_TIMEOUT_S = 60.0


def worker_command() -> list[str]:
    """Return the command that starts a worker: a module of ours, never the caller's main."""
    if getattr(sys, "frozen", False):
        return [sys.executable, "--worker"]
    return [sys.executable, "-m", "medviewer.jobs.worker_main"]


def _worker_environment() -> dict[str, str]:
    """Return the environment of a worker: it must find the same modules as this process."""
    environment = dict(os.environ)
    if not getattr(sys, "frozen", False):
        environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    return environment


class WorkerProcess:
    """One warm process that runs functions of ours, one call at a time.

    Parameters
    ----------
    name : str
        For messages and the log.
    warm : sequence of str
        Modules it imports right after its start.
    memory_limit : int or None
        Cap of its address space in bytes where the system enforces one, elsewhere of what it holds in memory.
    device : str
        Given to the calls as ``ctx.device``.
    cancel_grace : float
        Seconds that a cancelled call may go on before the process is ended.
    recycle_rss : int or None
        A process that still holds this many bytes after a call is ended; the next call starts a new one.
    """

    def __init__(
        self,
        name: str,
        warm: Sequence[str] = (),
        memory_limit: int | None = None,
        device: str = "cpu",
        *,
        cancel_grace: float = CANCEL_GRACE_S,
        recycle_rss: int | None = None,
    ) -> None:
        self.name = name
        self.device = device
        self._warm = tuple(warm)
        self._memory_limit = memory_limit or 0
        self._cancel_grace = cancel_grace
        self._recycle_rss = recycle_rss
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._ids = itertools.count(1)
        self.peak_rss = 0
        _open_workers.add(self)

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> None:
        """Start the process if it does not run, and warm it; raises `WorkerDied` when it cannot start."""
        with self._lock:
            self._ensure_started()

    def call(
        self,
        target: str,
        payload: object,
        ctx: JobContext,
        *,
        device: str | None = None,
        time_limit: float | None = None,
    ) -> object:
        """Run ``module:function(ctx, payload)`` in the process and return its result.

        Parameters
        ----------
        target : str
            ``"package.module:function"``.
        payload : object
            Picklable; arrays cross by shared memory.
        ctx : JobContext
            Receives the progress; its cancel stops the call.
        device : str, optional
            Overrides the worker's device for this call.
        time_limit : float, optional
            Seconds without a word from it (the answer, or progress) after which the process is ended.

        Raises
        ------
        JobCancelled
            When cancelled.
        WorkerDied
            When the process ended, was silent for `time_limit`, or took more memory than it may.
        MedViewerError
            Whatever the function refused with.
        """
        with self._lock:
            self._ensure_started()
            try:
                return self._call(target, payload, ctx, device or self.device, time_limit)
            finally:
                if self._recycle_rss is not None and self._rss() > self._recycle_rss:
                    log.info("The %s worker holds too much memory and is started anew.", self.name)
                    self._drop()

    def _call(self, target: str, payload: object, ctx: JobContext, device: str, time_limit: float | None) -> object:
        connection = self._connection
        assert connection is not None
        call_id = next(self._ids)
        message, blocks = pack(payload)
        try:
            connection.send(("call", call_id, target, device, message, blocks))
            return self._wait(connection, call_id, ctx, time_limit)
        except (EOFError, OSError) as error:
            raise self._died() from error
        except (JobCancelled, MedViewerError):
            raise
        except BaseException:
            # A fault of the caller's, in its progress for instance: nobody waits for the answer any more.
            with contextlib.suppress(OSError):
                connection.send(("cancel", call_id))
            raise
        finally:
            for block in blocks:
                block.remove()

    def _wait(self, connection: Connection, call_id: int, ctx: JobContext, time_limit: float | None) -> object:
        heard = time.monotonic()
        cancelled_at: float | None = None
        while True:
            if connection.poll(0.05):
                message = connection.recv()
                heard = time.monotonic()
                if message[1] != call_id:
                    _discard(message)
                    continue
                if message[0] == "progress":
                    if cancelled_at is None:
                        report = partial(ctx.progress, message[2], message[3])
                        cancelled_at = self._pass_on(connection, call_id, report)
                    continue
                return self._finish(message, cancelled_at is not None)
            if cancelled_at is None:
                cancelled_at = self._pass_on(connection, call_id, ctx.check_cancelled)
            elif time.monotonic() - cancelled_at > self._cancel_grace:
                self._kill()
                raise JobCancelled
            self._check_limits(None if time_limit is None else heard + time_limit)

    def _check_limits(self, end: float | None) -> None:
        """End the process when its time is over, or when it took more memory than the system was to give it."""
        if end is not None and time.monotonic() > end:
            text, hint, code = "took too long", "Try again with a smaller input.", "E_TIMEOUT"
        elif 0 < self._memory_limit < self._rss():
            text, hint, code = "took too much memory", "Close other programs or studies and try again.", "E_OOM"
        else:
            return
        self._kill()
        raise WorkerDied(f"The {self.name} worker {text} and was stopped.", hint=hint, code=code)

    def _rss(self) -> int:
        """Return what the process holds in memory, in bytes; 0 when it does not run."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss) if self.pid is not None else 0
        except psutil.Error:
            return 0

    def _pass_on(self, connection: Connection, call_id: int, check: Callable[[], None]) -> float | None:
        """Run a check of the caller; when it says cancelled, tell the worker and return the time."""
        try:
            check()
        except JobCancelled:
            connection.send(("cancel", call_id))
            return time.monotonic()
        return None

    def _finish(self, message: tuple[object, ...], was_cancelled: bool) -> object:
        kind = message[0]
        if kind == "result":
            _, _, answer, blocks, peak = message
            self.peak_rss = max(self.peak_rss, int(peak))  # type: ignore[call-overload]  # a message of our own worker
            result = unpack(answer, blocks)  # type: ignore[arg-type]  # a message of our own worker
            if was_cancelled:
                raise JobCancelled
            return result
        if kind == "cancelled" or was_cancelled:
            raise JobCancelled
        _, _, error, peak = message
        self.peak_rss = max(self.peak_rss, int(peak))  # type: ignore[call-overload]  # a message of our own worker
        assert isinstance(error, MedViewerError)
        raise error

    def _ensure_started(self) -> None:
        if self._connection is not None and self._process is not None and self._process.poll() is None:
            return
        self._drop()
        key = secrets.token_bytes(32)
        with Listener(authkey=key) as listener:
            process = subprocess.Popen(
                [*worker_command(), str(listener.address), str(self._memory_limit)],
                stdin=subprocess.PIPE,
                env=_worker_environment(),
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
            self._process = process
            assert process.stdin is not None
            process.stdin.write(key.hex().encode() + b"\n")
            process.stdin.flush()
            self._connection = self._accept(listener, process)
        if self._warm:
            message, blocks = pack(self._warm)
            self._connection.send(("call", next(self._ids), "medviewer.jobs.worker_calls:warm", "cpu", message, blocks))

    def _accept(self, listener: Listener, process: subprocess.Popen[bytes]) -> Connection:
        """Wait for the worker to connect, noticing when it ends first."""
        accepted: list[Connection] = []
        thread = threading.Thread(target=lambda: _accept_into(listener, accepted), daemon=True)
        thread.start()
        end = time.monotonic() + START_TIMEOUT_S
        while thread.is_alive() and process.poll() is None and time.monotonic() < end:
            thread.join(0.02)
        if not accepted:
            self._drop()
            raise WorkerDied(
                f"The {self.name} worker could not start (exit status {process.poll()}).",
                hint="Run `medviewer doctor`; it says what is missing.",
            )
        return accepted[0]

    def _died(self) -> TaskError:
        process = self._process
        status: int | None = None
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(2.0)
        self._drop()
        log.warning("The %s worker ended with status %s.", self.name, status)
        if status == -9:
            text = f"The {self.name} worker was ended by the system, probably for lack of memory."
            return WorkerDied(text, hint="Close other programs or studies and try again.")
        return WorkerDied(
            f"The {self.name} worker crashed (exit status {status}).",
            hint="Your work is safe. Try again; if it happens again with this study, report it.",
        )

    def _kill(self) -> None:
        """End the process and its children now."""
        if self._process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(self._process.pid).children(recursive=True):
                    child.kill()
            self._process.kill()
        self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            if self._process.stdin is not None:
                with contextlib.suppress(OSError):
                    self._process.stdin.close()
            try:
                self._process.wait(1.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            # A process that was killed may have left an answer that it could not send.
            sweep_blocks(self._process.pid)
            self._process = None

    def close(self) -> None:
        """End the process; a call in another thread gets `WorkerDied`."""
        process = self._process
        if not self._lock.acquire(timeout=0.1):
            if process is not None:
                process.kill()
            self._lock.acquire()
        try:
            self._drop()
        finally:
            self._lock.release()
        _open_workers.discard(self)


def _discard(message: tuple[object, ...]) -> None:
    """Free what an answer brings that nobody waits for."""
    if message[0] == "result":
        for block in message[3]:  # type: ignore[attr-defined]  # a message of our own worker
            block.remove()


def _accept_into(listener: Listener, accepted: list[Connection]) -> None:
    with contextlib.suppress(OSError, EOFError):
        accepted.append(listener.accept())


_open_workers: weakref.WeakSet[WorkerProcess] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Leave no worker behind when the program or a script ends."""
    for worker in list(_open_workers):
        worker.close()
