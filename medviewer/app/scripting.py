"""The public Python interface: ``import medviewer as mv``. Documented in docs/python.md; the names are a contract."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from medviewer.api.plugin import Result
from medviewer.core.dicom_ref import SeriesRef, Study
from medviewer.core.errors import InputError
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.jobs.job import JobContext
from medviewer.jobs.worker import WorkerProcess
from medviewer.plugin_host.registry import PluginRegistry

if TYPE_CHECKING:
    from medviewer.app.headless import Analysis
    from medviewer.app.sessions import Interaction
    from medviewer.app.statistics import StatisticsTable
    from medviewer.export.exporter import Case, ExportReport

Progress = Callable[[float | None, str], None]


class CallbackContext:
    """A `JobContext` that reports to a function; raising in it stops the work."""

    def __init__(self, progress: Progress | None, device: str = "cpu") -> None:
        self.device = device
        self._progress = progress

    def progress(self, fraction: float | None, text: str = "") -> None:
        """Report."""
        if self._progress is not None:
            self._progress(fraction, text)

    def check_cancelled(self) -> None:
        """Do nothing: a script is stopped by its own exceptions."""


@dataclass(slots=True)
class _Engine:
    """The plugins and worker processes of a script; ended with it."""

    registry: PluginRegistry
    model: WorkerProcess
    decode: WorkerProcess


@cache
def engine() -> _Engine:
    """Return the script's plugins and workers; processes start at their first use."""
    from medviewer.app.bootstrap import discover_plugins
    from medviewer.app.context import WARM_MODULES
    from medviewer.io.decode_worker import new_decode_worker

    made = _Engine(discover_plugins(), WorkerProcess("model", warm=WARM_MODULES[:1]), new_decode_worker())
    atexit.register(made.model.close)
    atexit.register(made.decode.close)
    return made


def scan(path: str | Path, *, progress: Progress | None = None) -> list[Study]:
    """List the studies in a folder, file or zip; reads headers only.

    Returns
    -------
    list of Study
        Each with `.series`, each with `.series_instance_uid`, `.modality`, `.description`, `.warnings`.

    Raises
    ------
    MedViewerError
        With `.code`, `.text` and `.hint`.
    """
    from medviewer.io.dicom_scan import scan_paths

    return scan_paths(CallbackContext(progress), [Path(path)])


def load(path_or_series: str | Path | SeriesRef, *, time: int = 0, progress: Progress | None = None) -> Volume:
    """Open a series (or the biggest one under a path) as a volume.

    Parameters
    ----------
    path_or_series : path or SeriesRef
    time : int
        Which point of a time axis `.array` is, counted from 0; `.time` has them all.
    progress : callable, optional

    Returns
    -------
    Volume
        `.array` read-only (k, j, i) in real units; `.geometry.size/.spacing/.origin/.direction` as ITK has them.

    Raises
    ------
    MedViewerError
        With `.code`, `.text` and `.hint`.
    """
    from medviewer.app.headless import choose_series, open_at

    series = path_or_series if isinstance(path_or_series, SeriesRef) else choose_series(scan(path_or_series))
    return open_at(CallbackContext(progress), series, time, engine().decode)


def analyze(
    volume: Volume,
    tasks: Sequence[str] | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> list[Result]:
    """Run analysis tasks on a volume, in a worker process.

    Parameters
    ----------
    volume : Volume
    tasks : sequence of str, optional
        Task ids; default is what Analyze would choose for this volume.
    device : str
        ``auto``, ``cpu`` or ``cuda[:n]``.
    progress : callable, optional
        Called with a fraction 0..1 (or None) and a text.

    Returns
    -------
    list of Result
        `LabelResult`, `BoxResult`, … in the order of the tasks, on the grid of the volume.

    Raises
    ------
    MedViewerError
        With `.code`, `.text` and `.hint`; also when one task of several failed.
    """
    from medviewer.app.headless import analyze_volume

    parts = engine()
    analysis = analyze_volume(CallbackContext(progress, device), volume, parts.registry, parts.model, tasks)
    for landed in analysis.runs:
        if landed.error is not None:
            raise landed.error
    return [result for landed in analysis.runs if landed.run is not None for result in landed.run.results]


def interactive(
    volume: Volume,
    task: str = "click_segment",
    device: str = "auto",
    progress: Progress | None = None,
    parameters: Mapping[str, object] | None = None,
) -> Interaction:
    """Open a session with an interactive model, in a worker process.

    Parameters
    ----------
    volume : Volume
    task : str
        Id of an interactive task.
    device : str
        ``auto``, ``cpu`` or ``cuda[:n]``.
    progress : callable, optional
        Called with a fraction 0..1 (or None) and a text.
    parameters : mapping, optional
        Values of the task's parameters; what is missing keeps its default.

    Returns
    -------
    Interaction
        ``add(Prompt)`` and ``undo()`` return the box (k, j, i) that changed and the object's mask in it; ``mask`` is
        the whole object; ``close()``, or the end of a ``with`` block, frees what it holds.

    Raises
    ------
    MedViewerError
        With `.code`, `.text` and `.hint`: no such task, or one that cannot work on this volume.
    """
    from medviewer.app.sessions import Interaction, WorkerSession

    parts = engine()
    session = WorkerSession(parts.model, parts.registry, parts.registry.task(task), volume, parameters)
    return Interaction(session, CallbackContext(progress, device))


def open_workspace(path: str | Path, *, progress: Progress | None = None) -> Workspace:
    """Open a saved workspace (.mvw) with its volumes; raises `MedViewerError`."""
    from medviewer.app.documents import load_workspace

    return load_workspace(CallbackContext(progress), Path(path), engine().decode)


def statistics(
    workspace: Workspace, volume: Volume | None = None, *, progress: Progress | None = None
) -> StatisticsTable:
    """Measure all segments of an image of a workspace.

    Parameters
    ----------
    workspace : Workspace
    volume : Volume, optional
        Default is the one that is looked at.
    progress : callable, optional
        Called with a fraction 0..1 (or None) and a text.

    Returns
    -------
    StatisticsTable
        ``.rows``, each with ``.name``, ``.size``, ``.shape`` and ``.intensity``; ``.to_csv()``.

    Raises
    ------
    InputError
        The workspace has no image.
    """
    from medviewer.app.statistics import statistics_of

    chosen = volume or workspace.active or next(iter(workspace.volumes), None)
    if chosen is None:
        raise InputError("There is nothing to measure.", hint="Open a workspace with an image first.")
    return statistics_of(CallbackContext(progress), chosen, workspace.segmentation(chosen.id))


def analysis_of(ctx: JobContext, volume: Volume, tasks: Sequence[str] | None = None) -> Analysis:
    """Run tasks and keep the workspace they landed in; what the command line uses."""
    from medviewer.app.headless import analyze_volume

    parts = engine()
    analysis = analyze_volume(ctx, volume, parts.registry, parts.model, tasks)
    analysis.peak_rss = {"model worker": parts.model.peak_rss, "decode worker": parts.decode.peak_rss}
    return analysis


def export(
    cases: Workspace | Sequence[Case | Workspace],
    format: str,  # noqa: A002 - the word of the field, and part of the contract
    folder: str | Path,
    *,
    progress: Progress | None = None,
) -> ExportReport:
    """Export workspaces or cases; returns only after everything was read back and compared.

    Parameters
    ----------
    cases : Workspace, or sequence of Workspace or Case
    format : str
        ``nifti``, ``nnunet`` or ``dicom-seg``.
    folder : path
        Made if needed; existing files are never overwritten.

    Raises
    ------
    MedViewerError
        With `.code`, `.text` and `.hint`; then nothing half-written is left.
    """
    from medviewer.export.exporter import cases_of, run_export

    given: list[Case | Workspace] = [cases] if isinstance(cases, Workspace) else [*cases]
    flat: list[Case] = []
    for item in given:
        flat += cases_of(item) if isinstance(item, Workspace) else [item]
    if not flat:
        raise InputError("There is nothing to export.", hint="Open a workspace with segments first.")
    return run_export(CallbackContext(progress), format, flat, Path(folder))
