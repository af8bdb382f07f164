"""Worker processes that die."""

from __future__ import annotations

import hashlib
import time
from typing import Final

import numpy as np

from medviewer.core.errors import MedViewerError, OutOfMemory, WorkerDied
from medviewer.jobs.worker import WorkerProcess
from tools.bar.bar import CTX, Bench, Figure, row

_TARGETS: Final = "tests.worker_targets"
#: Function, its payload, and how its end is told: SIGKILL, SIGSEGV, exit, and memory under a cap of 2 GB.
_ENDS: Final[tuple[tuple[str, object, type[MedViewerError]], ...]] = (
    ("kill_self", None, WorkerDied),
    ("segfault", None, WorkerDied),
    ("leave", 3, WorkerDied),
    ("keep_memory", 4 << 30, OutOfMemory),
)


@row("R-19", "workers that die are named and replaced")
def workers_that_die(bench: Bench) -> Figure:
    """Kill workers in every way: each is told in 2 s, and the next job runs, while a mask stays as it is."""
    worker = WorkerProcess("bar", memory_limit=2 << 30)
    mask = np.random.default_rng(0).integers(0, 3, (64, 256, 256)).astype(np.uint8)
    digest = hashlib.sha256(mask.tobytes()).hexdigest()
    told = next_works = 0
    slowest = 0.0
    count = 8 if bench.sample else 30
    try:
        for n in range(count):
            name, payload, kind = _ENDS[n % len(_ENDS)]
            worker.start()
            worker.call(f"{_TARGETS}:describe", None, CTX)
            started = time.perf_counter()
            try:
                worker.call(f"{_TARGETS}:{name}", mask if payload is None else payload, CTX)
            except MedViewerError as error:
                told += isinstance(error, kind) and bool(error.text and error.hint)
            slowest = max(slowest, time.perf_counter() - started)
            answer = worker.call(f"{_TARGETS}:double", mask, CTX)
            next_works += isinstance(answer, dict) and np.array_equal(answer["same"], mask)
    finally:
        worker.close()
    same = hashlib.sha256(mask.tobytes()).hexdigest() == digest
    figure = (
        f"{told}/{count} named, slowest {slowest:.2f} s; {next_works}/{count} next jobs ran; mask unchanged: {same}"
    )
    return Figure(figure, told == next_works == count and same, slowest <= 2)
