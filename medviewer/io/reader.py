"""The chain of readers: one per format, found by looking into `medviewer.io.readers`.

A reader is a function with a decorator. It lists what is in a file (cheap, header only) and opens one series::

    @reader("nifti", kinds=["nifti"], suffixes=[".nii", ".nii.gz"], listing=list_nifti)
    def read(ctx: JobContext, request: OpenRequest) -> Volume | Skip: ...

A new format is a new module in that package; nothing else changes.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Final, Literal

from medviewer.core.dicom_ref import SeriesRef, Study
from medviewer.core.errors import InputError, hint_for
from medviewer.core.private import keep_private
from medviewer.core.region import Region
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobContext
from medviewer.jobs.worker import WorkerProcess


class _Skip(Enum):
    SKIP = "skip"


Skip = Literal[_Skip.SKIP]
#: `SeriesRef.kind` of photographs and scans of paper or film.
PHOTO: Final = "photo"
#: Answer of a reader: this is not mine, ask the next.
SKIP: Final = _Skip.SKIP


def _nothing(_: object) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """What is to be opened, and who wants to hear of it while it is being read.

    Attributes
    ----------
    series : SeriesRef
    decode : WorkerProcess or None
        Where compressed pixels and foreign containers are decoded; None: a worker is started when one is needed.
    on_first : callable
        Gets the Volume as soon as there is something to see; its array goes on filling.
    on_filled : callable
        Gets each region (k, j, i) that has been filled.
    """

    series: SeriesRef
    decode: WorkerProcess | None = None
    on_first: Callable[[Volume], None] = _nothing
    on_filled: Callable[[Region], None] = _nothing


ReadFunction = Callable[[JobContext, OpenRequest], Volume | Skip]
#: Lists a file that has one of the reader's suffixes; raises `InputError` when it is broken.
ListFunction = Callable[[Path], Study]


@dataclass(frozen=True, slots=True)
class Reader:
    """One format.

    Attributes
    ----------
    id : str
        Unique name.
    kinds : set of str
        `SeriesRef.kind` that it opens.
    suffixes : tuple of str
        Lower-case ends of file names that `listing` lists.
    priority : int
        Higher is asked first.
    """

    id: str
    kinds: frozenset[str]
    suffixes: tuple[str, ...]
    priority: int
    read: ReadFunction
    listing: ListFunction | None = None


_registered: dict[str, Reader] = {}


def reader(
    name: str,
    *,
    kinds: Iterable[str],
    suffixes: Iterable[str] = (),
    priority: int = 0,
    listing: ListFunction | None = None,
) -> Callable[[ReadFunction], ReadFunction]:
    """Register a function as the reader of a format; see `Reader` for the parameters."""

    def register(read: ReadFunction) -> ReadFunction:
        _registered[name] = Reader(name, frozenset(kinds), tuple(suffixes), priority, read, listing)
        return read

    return register


@cache
def readers() -> tuple[Reader, ...]:
    """Return every reader, the most specific first."""
    import medviewer.io.readers as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return tuple(sorted(_registered.values(), key=lambda r: (-r.priority, r.id)))


def lister_of(path: Path) -> ListFunction | None:
    """Return what lists a file of this name; None leaves it to the DICOM scan."""
    name = path.name.lower()
    for candidate in readers():
        if candidate.listing is not None and name.endswith(candidate.suffixes):
            return candidate.listing
    return None


def open_one(ctx: JobContext, request: OpenRequest) -> Volume:
    """Open a series with the first reader that does not skip it.

    Raises
    ------
    InputError
        When the series is nothing that can be opened (with its reason), when no reader takes it, or when it is broken.
    """
    series = request.series
    if not series.volume:
        reason = "; ".join(warning.text for warning in series.warnings) or "it holds no image"
        raise InputError(
            f"Series “{series.title}” cannot be opened: {reason}",
            hint=hint_for(series.refusal) or "Choose another series of the study.",
            code=series.refusal or "E_NOT_A_VOLUME",
        )
    for candidate in readers():
        if series.kind not in candidate.kinds:
            continue
        volume = candidate.read(ctx, request)
        if volume is not SKIP:
            keep_private(volume.patient_name, volume.patient_id)
            return volume
    raise InputError(f"There is no reader for series “{series.title}” ({series.kind}).", code="E_NO_READER")


def open_series(
    ctx: JobContext,
    series: SeriesRef,
    decode: WorkerProcess | None = None,
    on_first: Callable[[Volume], None] | None = None,
    on_filled: Callable[[Region], None] | None = None,
) -> Volume:
    """Open one series; see `OpenRequest` for the callbacks and `open_one` for the errors.

    Returns
    -------
    Volume
        The very object that `on_first` got (last).
    """
    request = OpenRequest(
        series=series, decode=decode, on_first=on_first or _nothing, on_filled=on_filled or _nothing
    )  # fmt: skip
    return open_one(ctx, request)
