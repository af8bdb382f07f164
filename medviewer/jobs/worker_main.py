"""The worker's side of a worker process: ``python -m medviewer.jobs.worker_main`` or ``medviewer --worker``.

Reads calls from its parent, runs one at a time, answers with results, and ends when the parent is gone.
"""

from __future__ import annotations

import faulthandler
import importlib
import logging
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Client, Connection

from medviewer.core.errors import MedViewerError, OutOfMemory, TaskError
from medviewer.jobs.job import JobCancelled
from medviewer.jobs.memory import limit_memory, peak_rss
from medviewer.jobs.shared_array import Block, pack, unpack

log = logging.getLogger(__name__)


class _WorkerContext:
    """The `JobContext` of the worker: progress goes to the parent, cancel comes from it."""

    def __init__(self, connection: Connection, call_id: int, device: str) -> None:
        self.device = device
        self._connection = connection
        self._call_id = call_id
        self.cancelled = threading.Event()

    def progress(self, fraction: float | None, text: str = "") -> None:
        self.check_cancelled()
        self._connection.send(("progress", self._call_id, None if fraction is None else float(fraction), text))

    def check_cancelled(self) -> None:
        if self.cancelled.is_set():
            raise JobCancelled


def _as_error(error: BaseException) -> MedViewerError:
    """Return what the parent may raise: our own errors as they are, others as a bug report with the traceback."""
    if isinstance(error, MedViewerError):
        return error
    details = "".join(traceback.format_exception(error))
    log.error("A call failed in the worker.\n%s", details)
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return OutOfMemory(
            "Not enough memory for this step.", hint="Close other programs or studies, or choose a smaller model."
        )
    where = traceback.extract_tb(error.__traceback__)
    last = f"{where[-1].name}, line {where[-1].lineno}" if where else "unknown place"
    return TaskError(
        f"{type(error).__name__}: {error} ({last})".strip(),
        hint="This is a fault in the program or a plugin. The log has the details.",
    )


class _Loop:
    """Runs calls in order; a second thread listens, so that cancel and the parent's death are heard during a call."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._calls: queue.SimpleQueue[tuple[int, str, str, bytes, list[Block]]] = queue.SimpleQueue()
        self._current: _WorkerContext | None = None
        self._cancelled: set[int] = set()

    def listen(self) -> None:
        """Take messages from the parent until it is gone; then end the process, whatever it is doing."""
        try:
            while True:
                message = self._connection.recv()
                if message[0] == "call":
                    self._calls.put(message[1:])
                elif message[0] == "cancel":
                    self._cancelled.add(message[1])
                    if self._current is not None and self._current._call_id == message[1]:
                        self._current.cancelled.set()
                elif message[0] == "quit":
                    break
        except (EOFError, OSError):
            pass
        os._exit(0)

    def run(self) -> None:
        """Run calls for ever."""
        while True:
            self._run_one(*self._calls.get())

    def _run_one(self, call_id: int, target: str, device: str, message: bytes, blocks: list[Block]) -> None:
        context = _WorkerContext(self._connection, call_id, device)
        self._current = context
        if call_id in self._cancelled:
            context.cancelled.set()
        try:
            payload = unpack(message, blocks)
            context.check_cancelled()
            module, _, name = target.partition(":")
            result = getattr(importlib.import_module(module), name)(context, payload)
            answer, answer_blocks = pack(result)
            self._connection.send(("result", call_id, answer, answer_blocks, peak_rss()))
        except JobCancelled:
            self._connection.send(("cancelled", call_id))
        # A worker must outlive whatever a plugin or a decoder raises, Rust panics (BaseException) included.
        except BaseException as error:  # noqa: BLE001
            self._connection.send(("error", call_id, _as_error(error), peak_rss()))
        finally:
            self._current = None
            self._cancelled.discard(call_id)


def main(arguments: Sequence[str]) -> None:
    """Connect to the parent and serve it; `arguments` are its address and a memory limit in bytes (0: none)."""
    faulthandler.enable()
    # Ctrl+C in a terminal reaches the whole group; what happens to the worker is its parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")
    address, limit = arguments
    key = bytes.fromhex(sys.stdin.readline().strip())
    limit_memory(int(limit))
    connection = Client(address, authkey=key)
    loop = _Loop(connection)
    threading.Thread(target=loop.listen, name="listen", daemon=True).start()
    loop.run()


if __name__ == "__main__":
    main(sys.argv[1:])
