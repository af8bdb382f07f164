"""Functions that worker processes run in tests: ``worker.call("tests.worker_targets:add", …)``."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from typing import Any

import numpy as np

from medviewer.core.errors import InputError
from medviewer.jobs.job import JobContext


def describe(ctx: JobContext, payload: Any) -> dict[str, Any]:
    """Say what the process looks like."""
    return {
        "pid": os.getpid(),
        "device": ctx.device,
        "main": sys.modules["__main__"].__name__,
        "torch": "torch" in sys.modules,
    }


def double(ctx: JobContext, payload: Any) -> Any:
    """Double an array, reporting."""
    for n in range(5):
        ctx.progress(n / 5, f"step {n}")
    ctx.progress(1.0)
    return {"doubled": payload * 2, "same": payload}


def hand_back(ctx: JobContext, payload: Any) -> Any:
    """Change an array in place and return it."""
    payload += 1
    return payload


def refuse(ctx: JobContext, payload: Any) -> None:
    """Refuse, as readers do."""
    raise InputError("The file is cut off.", hint="Copy it again.", code="E_TRUNCATED")


def divide_by_zero(ctx: JobContext, payload: Any) -> float:
    """Fail like a bug."""
    return 1 / int(payload)


def panic(ctx: JobContext, payload: Any) -> None:
    """Raise what is no Exception, as some native libraries do."""

    class PanicException(BaseException):
        """As pyo3 names it."""

    raise PanicException("index out of bounds")


def no_memory(ctx: JobContext, payload: Any) -> None:
    """Ask for more memory than there is."""
    raise MemoryError


def leave(ctx: JobContext, payload: Any) -> None:
    """End the process as a library that calls exit would."""
    os._exit(int(payload))


def segfault(ctx: JobContext, payload: Any) -> None:
    """Read where nothing is."""
    import faulthandler

    faulthandler.disable()
    ctypes.string_at(0)


def kill_self(ctx: JobContext, payload: Any) -> None:
    """End as the system ends what takes too much memory."""
    os.kill(os.getpid(), 9)


def wait_politely(ctx: JobContext, payload: Any) -> None:
    """Run until cancelled, checking."""
    ctx.progress(0.1, "waiting")
    pause = threading.Event()
    while True:
        ctx.check_cancelled()
        pause.wait(0.01)


def wait_deaf(ctx: JobContext, payload: Any) -> None:
    """Run for ever without a check."""
    ctx.progress(0.1, "waiting")
    threading.Event().wait()


def swallow_cancel(ctx: JobContext, payload: Any) -> str:
    """Catch every Exception, as careless tasks do, and return late."""
    pause = threading.Event()
    ctx.progress(0.1, "waiting")
    for _ in range(10_000):
        try:
            ctx.check_cancelled()
        except Exception:
            continue
        pause.wait(0.01)
    return "late"


def big_result(ctx: JobContext, payload: Any) -> Any:
    """Return an array that does not travel in the message."""
    return np.arange(int(payload), dtype=np.int64)


def no_such_pickle(ctx: JobContext, payload: Any) -> Any:
    """Return what cannot be sent."""
    return threading.Lock()


def memory_limit(ctx: JobContext, payload: Any) -> int:
    """Return how many bytes of address space the process may have; -1 for any number."""
    import resource

    return int(resource.getrlimit(resource.RLIMIT_AS)[0])


_kept: list[Any] = []


def keep_memory(ctx: JobContext, payload: Any) -> int:
    """Take memory and never give it back, as decoders that leak do; return the process id."""
    _kept.append(np.ones(int(payload), np.uint8))
    return os.getpid()


def meet(ctx: JobContext, payload: Any) -> int:
    """Wait until as many files lie in a folder as calls are to run at once; return the process id."""
    folder, count = payload
    (folder / str(os.getpid())).touch()
    pause = threading.Event()
    while len(list(folder.iterdir())) < count:
        ctx.check_cancelled()
        pause.wait(0.01)
    return os.getpid()
