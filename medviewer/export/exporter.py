"""Formats, and how an export happens: write into a temporary folder, read everything back, compare, move into place."""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_type_hints
from uuid import uuid4

from medviewer.core.errors import ExportError
from medviewer.export.case import Case, cases_of, make_case
from medviewer.io.atomic import refusal, sync_folder
from medviewer.io.journal_owner import Owner, this_process
from medviewer.jobs.job import JobContext, SubContext

_PARTIAL = ".partial"
Accepts = Literal["volume", "segments", "boxes"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was read back and compared; `detail` has the numbers."""

    name: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """What a format wrote: files inside the folder it was given, and what the user should know."""

    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExportReport:
    """A finished export.

    Attributes
    ----------
    files : tuple of Path
        Where they lie now.
    checks : tuple of Check
        All passed.
    """

    format: str
    folder: Path
    files: tuple[Path, ...]
    checks: tuple[Check, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "format": self.format,
            "folder": str(self.folder),
            "files": [str(path) for path in self.files],
            "checks": [{"name": c.name, "passed": c.passed, "detail": c.detail} for c in self.checks],
            "notes": list(self.notes),
        }


Write = Callable[[JobContext, Sequence[Case], Path, Any], "Written | tuple[Path, ...]"]
Verify = Callable[[JobContext, Sequence[Case], Path, Any], Sequence[Check]]


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A format as the list shows it.

    Attributes
    ----------
    accepts : tuple of "volume", "segments" or "boxes"
        What of a case it holds.
    options : type
        Dataclass with defaults for all fields; the form is made from it.
    """

    id: str
    title: str
    accepts: tuple[Accepts, ...]
    options: type[Any]
    write: Write
    verify: Verify


def exporter(
    format_id: str, title: str, *, accepts: Sequence[Accepts], verify: Verify
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a function ``write(ctx, cases, folder, options)`` as an export format.

    Parameters
    ----------
    format_id, title : str
        Id for the command line; name in the list.
    accepts : sequence of "volume", "segments" or "boxes"
        What of a case it holds.
    verify : callable
        ``verify(ctx, cases, folder, options)`` reads every file back with readers of its own and compares.
    """

    def mark(write: Callable[..., Any]) -> Callable[..., Any]:
        options = get_type_hints(write)["options"]
        if not is_dataclass(options) or not isinstance(options, type):
            raise TypeError(f"the options of the export format {format_id} are no dataclass")
        info = ExportFormat(format_id, title, tuple(accepts), options, write, verify)
        write.export_format = info  # type: ignore[attr-defined]  # the mark itself
        return write

    return mark


@cache
def all_exporters() -> tuple[ExportFormat, ...]:
    """Import `medviewer.export.formats` and return what is there, in the order of the ids."""
    package = importlib.import_module("medviewer.export.formats")
    found: dict[str, ExportFormat] = {}
    for module_info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{module_info.name}")
        for value in vars(module).values():
            info = getattr(value, "export_format", None)
            if isinstance(info, ExportFormat):
                found[info.id] = info
    return tuple(found[key] for key in sorted(found))


def find_exporter(format_id: str) -> ExportFormat:
    """Return a format by its id.

    Raises
    ------
    ExportError
        When there is none.
    """
    for info in all_exporters():
        if info.id == format_id:
            return info
    known = ", ".join(info.id for info in all_exporters())
    raise ExportError(f"There is no export format “{format_id}”.", hint=f"Choose one of: {known}.", code="E_FORMAT")


def run_export(
    ctx: JobContext, format_id: str, cases: Sequence[Case], folder: Path, options: object | None = None
) -> ExportReport:
    """Export cases; success means that everything was read back and is the same.

    Parameters
    ----------
    ctx : JobContext
        A cancelled export leaves nothing behind.
    format_id : str
        As in `all_exporters`.
    cases : sequence of Case
    folder : Path
        Made if it is not there. What is in it already is never overwritten.
    options : dataclass, optional
        Of the format's type; its defaults by default.

    Raises
    ------
    ExportError
        ``E_EXISTS`` when a file of that name is there, ``E_READBACK`` when what was written does not read back the
        same, ``E_DISK_FULL``, ``E_READ_ONLY``, or what the format refuses. Nothing is left behind.
    """
    info = find_exporter(format_id)
    chosen = info.options() if options is None else options
    if not isinstance(chosen, info.options):
        raise TypeError(f"the options of {format_id} are {info.options.__name__}")
    if not cases:
        raise ExportError(
            "There is nothing to export.", hint="Make a segment or accept a finding first.", code="E_EMPTY"
        )
    folder = Path(os.path.abspath(folder))
    try:
        with _staging(folder) as stage:
            written = info.write(SubContext(ctx, 0.0, 0.6), cases, stage, chosen)
            if not isinstance(written, Written):
                written = Written(tuple(written))
            _check_inside(written.files, stage)
            checks = tuple(info.verify(SubContext(ctx, 0.6, 0.98), cases, stage, chosen))
            _refuse_mismatch(info, checks)
            for path in written.files:
                _flush(path)
            ctx.check_cancelled()
            _move_into_place(stage, folder)
    except OSError as error:
        raise refusal(error, folder, ExportError) from error
    files = tuple(folder / path.relative_to(stage) for path in written.files)
    # No progress from here on: it would be a place to cancel an export that is already there.
    return ExportReport(info.id, folder, files, checks, written.notes)


def call(ctx: JobContext, payload: tuple[str, Sequence[Case], Path, object | None]) -> ExportReport:
    """Run an export in a worker process: ``worker.call("medviewer.export.exporter:call", payload, ctx)``."""
    format_id, cases, folder, options = payload
    return run_export(ctx, format_id, cases, folder, options)


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Yield an empty folder on the same disk; whatever is left of it, and folders made for it, are removed.

    It lies beside a folder that is still to be made, which then appears whole by one rename.
    """
    made = [parent for parent in folder.parents if not parent.exists()]
    place = folder if folder.exists() else folder.parent
    owner = this_process()
    name = f".{uuid4().hex[:8]}.{owner.pid}.{owner.started}.{owner.host}.{owner.node}{_PARTIAL}"
    try:
        place.mkdir(parents=True, exist_ok=True)
        _remove_unfinished(place)
        stage = place / name
        stage.mkdir()
        yield stage
    finally:
        shutil.rmtree(place / name, ignore_errors=True)
        for path in made:
            # Only what this export made and nobody has used since.
            with contextlib.suppress(OSError):
                path.rmdir()


def _remove_unfinished(folder: Path) -> None:
    """Remove what programs that no longer run were exporting to a folder when they ended."""
    for path in folder.glob(f".*{_PARTIAL}"):
        parts = path.name.removesuffix(_PARTIAL).split(".")
        if len(parts) == 6 and parts[2].isdigit() and parts[3].isdigit() and not path.is_symlink():
            with contextlib.suppress(OSError):
                if not Owner(int(parts[2]), int(parts[3]), parts[4], parts[5]).is_alive(path):
                    shutil.rmtree(path, ignore_errors=True)


def _check_inside(files: Sequence[Path], stage: Path) -> None:
    if not files:
        raise ExportError("The export wrote no file.", hint="This is a fault in the export format.")
    root = stage.resolve()
    for path in files:
        if path.is_symlink() or not path.resolve().is_relative_to(root) or not path.is_file():
            raise ExportError("The export would have left its folder.", hint="Rename the segments.", code="E_NAME")


def _refuse_mismatch(info: ExportFormat, checks: Sequence[Check]) -> None:
    failed = [check for check in checks if not check.passed]
    if failed or not checks:
        what = "; ".join(f"{check.name}: {check.detail}" for check in failed[:3]) or "nothing could be compared"
        raise ExportError(
            f"The export does not read back as it was written ({what}).",
            hint=f"Nothing was kept. The disk may be failing; if not, report this with the format {info.id}.",
            code="E_READBACK",
        )


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _move_into_place(stage: Path, folder: Path) -> None:
    """Rename `stage` to `folder`, or every entry of it into a folder that is there; all or none."""
    if not folder.exists():
        os.rename(stage, folder)
        sync_folder(folder.parent)
        return
    taken = {name.casefold() for name in os.listdir(folder)}
    entries = sorted(stage.iterdir())
    for entry in entries:
        if entry.name.casefold() in taken:
            raise ExportError(
                f"“{entry.name}” is already in the folder {folder.name}.",
                hint="Choose an empty or a new folder; nothing is ever overwritten.",
                code="E_EXISTS",
            )
    moved: list[tuple[Path, Path]] = []
    try:
        for entry in entries:
            target = folder / entry.name
            os.rename(entry, target)
            moved.append((entry, target))
    except OSError:
        for entry, target in moved:
            os.rename(target, entry)
        raise
    sync_folder(folder)


__all__ = [
    "Case",
    "Check",
    "ExportFormat",
    "ExportReport",
    "Written",
    "all_exporters",
    "call",
    "cases_of",
    "exporter",
    "find_exporter",
    "make_case",
    "run_export",
]
