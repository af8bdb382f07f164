"""The process that decodes compressed pixels and foreign containers, seen from the window's process."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import psutil

from medviewer.core.dicom_ref import SeriesWarning
from medviewer.core.errors import DecodeError, WorkerDied
from medviewer.io.decode_task import DecodedSlices, DecodeRequest
from medviewer.io.dicom_header import Header
from medviewer.io.native_pixels import Stack
from medviewer.jobs.job import JobContext
from medviewer.jobs.worker import WorkerProcess

log = logging.getLogger(__name__)

_WARM: Final = ("pydicom", "pydicom.pixels.decoders", "medviewer.io.decode_task")
_SECONDS_A_FILE: Final = 30.0


def new_decode_worker() -> WorkerProcess:
    """Return a decode worker; it starts at its first call and may use 60 % of the machine's memory."""
    return WorkerProcess("decode", warm=_WARM, memory_limit=int(0.6 * psutil.virtual_memory().total))


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


class DecodeSource:
    """Compressed files, decoded in the worker; ``headers[k]`` is slice ``k``."""

    def __init__(self, worker: WorkerProcess, headers: Sequence[Header]) -> None:
        self._worker = worker
        self._headers = headers
        self.decoders: set[str] = set()
        self.warnings: list[SeriesWarning] = []

    def fill(self, ctx: JobContext, stack: Stack, slices: range) -> None:
        """Decode some slices into the stack; a crash of the worker is traced to its file."""
        try:
            decoded = self._decode(ctx, stack, slices)
        except WorkerDied as error:
            if len(slices) == 1:
                name = self._headers[slices.start].path.name
                raise DecodeError(
                    f"{name} made the decoder crash; nothing of it was used.",
                    hint="The file is probably broken. Fetch it again from where it came.",
                    code="E_DECODER_CRASHED",
                ) from error
            for k in slices:
                self.fill(ctx, stack, range(k, k + 1))
            return
        self.decoders.update(decoded.decoders)
        self.warnings += decoded.warnings
        for n, k in enumerate(slices):
            stack.place(k, decoded.pixels[n])

    def _decode(self, ctx: JobContext, stack: Stack, slices: range) -> DecodedSlices:
        form = stack.formats[slices.start]
        if any(
            (other.stored_dtype, other.samples) != (form.stored_dtype, form.samples)
            for other in stack.formats[slices.start : slices.stop]
        ):
            raise DecodeError("The slices differ in how their pixels are stored.", code="E_BITS")
        paths = tuple(self._headers[k].path for k in slices)
        frames = tuple(self._headers[k].frame or 0 for k in slices)
        request = DecodeRequest(paths, frames, form.rows, form.columns, form.stored_dtype, form.samples)
        limit = _SECONDS_A_FILE * len(paths)
        result = self._worker.call("medviewer.io.decode_task:decode_slices", request, _Quiet(ctx), time_limit=limit)
        assert isinstance(result, DecodedSlices)
        return result


class _Quiet:
    """Passes cancel on, but not the progress of a part."""

    def __init__(self, ctx: JobContext) -> None:
        self._ctx = ctx

    @property
    def device(self) -> str:
        return self._ctx.device

    def progress(self, fraction: float | None, text: str = "") -> None:
        self._ctx.check_cancelled()

    def check_cancelled(self) -> None:
        self._ctx.check_cancelled()
