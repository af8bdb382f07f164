"""The processes that decode compressed pixels and foreign containers, seen from the window's process."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy.typing as npt
import psutil

from medviewer.core.dicom_ref import SeriesWarning
from medviewer.core.errors import DecodeError, WorkerDied
from medviewer.io.decode_task import CodedFrame, Decoded, DecodeRequest
from medviewer.io.decoders import CHAINS, FrameForm
from medviewer.io.dicom_header import Header, read_header
from medviewer.io.native_pixels import batches, decoded_shape
from medviewer.io.pixel_format import PixelFormat
from medviewer.jobs.job import JobCancelled, JobContext
from medviewer.jobs.shared_array import Block, empty_block
from medviewer.jobs.worker import WorkerProcess
from medviewer.jobs.worker_pool import WorkerPool, free_cores

_WARM: Final = ("pydicom", "pydicom.pixels.decoders", "imagecodecs", "medviewer.io.decode_task")
_SECONDS_A_FILE: Final = 30.0
#: A decoder that leaks is stopped before it takes the machine's memory.
_RECYCLE_RSS: Final = 1536 * 2**20
#: A decode worker holds nothing that is worth waiting for.
_CANCEL_GRACE_S: Final = 0.7
#: Slices and bytes of one call: enough that the way there and back costs little, few enough that all
#: cores end together.
_BATCH: Final = 16
_BATCH_BYTES: Final = 32 * 2**20
#: With fewer slices than this, a second process is not worth its start.
_WORTH_TWO: Final = 32


def new_decode_worker(processes: int | None = None) -> WorkerPool:
    """Return decode workers, by default one for each core; they start at their first call.

    Each may use 60 % of the machine's memory.
    """

    def one() -> WorkerProcess:
        limit = int(0.6 * psutil.virtual_memory().total)
        return WorkerProcess(
            "decode", warm=_WARM, memory_limit=limit, cancel_grace=_CANCEL_GRACE_S, recycle_rss=_RECYCLE_RSS
        )

    return WorkerPool(one, processes or free_cores())


@contextmanager
def decode_worker(worker: WorkerProcess | None) -> Iterator[WorkerProcess]:
    """Give `worker`, or, when it is None, one that lives as long as the block."""
    if worker is not None:
        yield worker
        return
    own = new_decode_worker()
    try:
        yield own
    finally:
        own.close()


def call_for_file(
    worker: WorkerProcess, function: str, payload: object, ctx: JobContext, path: Path, *, seconds: float | None = None
) -> object:
    """Call a function of the worker for a file, `seconds` after whose last word it is ended.

    Raises
    ------
    DecodeError
        ``E_DECODER_CRASHED`` or ``E_TIMEOUT``, naming the file, when the worker died of it.
    """
    try:
        return worker.call(function, payload, ctx, time_limit=seconds)
    except WorkerDied as error:
        if error.code == "E_OOM":
            raise
        slow = error.code == "E_TIMEOUT"
        raise DecodeError(
            f"{path.name} {'took too long to read' if slow else 'made its reader crash'}; nothing of it was used.",
            hint="The file is probably broken. Fetch it again from where it came.",
            code="E_TIMEOUT" if slow else "E_DECODER_CRASHED",
        ) from error


@dataclass(frozen=True, slots=True, eq=False)
class _Shared:
    """An array that a worker fills and this process reads."""

    block: Block
    pixels: npt.NDArray[Any]

    @classmethod
    def new(cls, shape: tuple[int, ...], dtype: npt.DTypeLike) -> _Shared:
        block = empty_block(shape, dtype)
        return cls(block, block.open())


class Slots(Protocol):
    """Where decoded pixels go: a `Stack`, or what stands for one."""

    @property
    def formats(self) -> Sequence[PixelFormat]:
        """One per slice."""

    def place(self, k: int, stored: npt.NDArray[Any]) -> None:
        """Take over the decoded pixels of slice `k`."""


class DecodeSource:
    """Compressed files, decoded in the workers; ``headers[k]`` is slice ``k``.

    Attributes
    ----------
    decoders : set of str
        What decoded slices so far.
    warnings : list of SeriesWarning
    """

    def __init__(self, worker: WorkerProcess, headers: Sequence[Header]) -> None:
        self._worker = worker
        self._headers = headers
        self.decoders: set[str] = set()
        self.warnings: list[SeriesWarning] = []

    def fill(self, ctx: JobContext, stack: Slots, parts: Sequence[range]) -> Iterator[range]:
        """Decode slices into the stack, as many batches at once as there are processes; yield each when it is in."""
        form = stack.formats[0]
        total = sum(map(len, parts))
        most = max(1, min(total, _BATCH, _BATCH_BYTES // form.nbytes))
        todo = list(batches(parts, most))
        count = self._worker.count if isinstance(self._worker, WorkerPool) and total >= _WORTH_TWO else 1
        blocks = [_Shared.new((most, *decoded_shape(form)), form.stored_type) for _ in range(count)]
        free: queue.SimpleQueue[_Shared] = queue.SimpleQueue()
        for shared in blocks:
            free.put(shared)
        inner = _Part(ctx)

        def run(batch: range) -> range:
            shared = free.get()
            try:
                self._fill(inner, stack, batch, shared)
            finally:
                free.put(shared)
            return batch

        lanes = ThreadPoolExecutor(count, thread_name_prefix="decode")
        try:
            for future in as_completed([lanes.submit(run, batch) for batch in todo]):
                yield future.result()
        finally:
            inner.stopped.set()
            lanes.shutdown(cancel_futures=True)
            for shared in blocks:
                shared.block.remove()

    def _fill(self, ctx: JobContext, stack: Slots, slices: range, shared: _Shared) -> None:
        """Decode a batch; a crash is traced to its file, and to the decoder, without which the file is tried again."""
        try:
            self._decode(ctx, stack, slices, shared)
        except WorkerDied as error:
            if len(slices) > 1:
                for k in slices:
                    self._fill(ctx, stack, range(k, k + 1), shared)
            else:
                self._decode_without_the_culprit(ctx, stack, slices, shared, error)

    def _decode_without_the_culprit(
        self, ctx: JobContext, stack: Slots, slices: range, shared: _Shared, error: WorkerDied
    ) -> None:
        """Try the decoders of one slice one by one, each of which may crash."""
        header = self._headers[slices.start]
        name = header.path.name
        if error.code == "E_TIMEOUT":
            raise DecodeError(f"{name} took too long to decode; nothing of it was used.", code="E_TIMEOUT") from error
        refused: DecodeError | None = None
        for decoder in CHAINS.get(header.transfer_syntax_uid, ()):
            try:
                self._decode(ctx, stack, slices, shared, (decoder,))
            except WorkerDied:
                continue
            except DecodeError as other:
                refused = other
            else:
                return
        raise refused or DecodeError(
            f"{name} made the decoder crash; nothing of it was used.",
            hint="The file is probably broken. Fetch it again from where it came.",
            code="E_DECODER_CRASHED",
        ) from error

    def _decode(
        self, ctx: JobContext, stack: Slots, slices: range, shared: _Shared, only: tuple[str, ...] | None = None
    ) -> None:
        form = _frame_form(stack.formats[slices.start])
        if any(_frame_form(stack.formats[k]) != form for k in slices):
            raise DecodeError("The slices differ in how their pixels are stored.", code="E_BITS")
        request = DecodeRequest(tuple(_coded(self._headers[k]) for k in slices), form, shared.block, only)
        decoded = self._worker.call(
            "medviewer.io.decode_task:decode_slices", request, ctx, time_limit=_SECONDS_A_FILE
        )  # fmt: skip
        assert isinstance(decoded, Decoded)
        self.decoders.update(decoded.decoders)
        self.warnings += decoded.warnings
        for n, k in enumerate(slices):
            stack.place(k, shared.pixels[n])


def _frame_form(form: PixelFormat) -> FrameForm:
    return FrameForm(
        form.rows,
        form.columns,
        max(8, form.bits_allocated),
        form.bits_stored,
        form.signed,
        form.photometric,
        form.samples,
        form.planar,
    )


def _coded(header: Header) -> CodedFrame:
    frames = (header if header.frame is None else read_header(header.path)).frames or 1
    return CodedFrame(
        os.fspath(header.path), header.transfer_syntax_uid, header.pixel_offset or 0, header.frame or 0, frames
    )  # fmt: skip


class _Part:
    """Passes cancel on, but not the progress of a part; ends when its siblings do."""

    def __init__(self, ctx: JobContext) -> None:
        self._ctx = ctx
        self.stopped = threading.Event()

    @property
    def device(self) -> str:
        return self._ctx.device

    def progress(self, fraction: float | None, text: str = "") -> None:
        self.check_cancelled()

    def check_cancelled(self) -> None:
        if self.stopped.is_set():
            raise JobCancelled
        self._ctx.check_cancelled()
