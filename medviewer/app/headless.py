"""The main job without a window: what the command line and scripts run.

Results land in the same workspace, through the same code, as in the window.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from medviewer.ai.body_check import look_at
from medviewer.ai.weights import ModelStore
from medviewer.api.plugin import TaskInfo
from medviewer.app.apply_results import ResultApplier
from medviewer.app.models import must_accept
from medviewer.app.open_study import best_series
from medviewer.app.run_tasks import PlanItem, TaskRun, cannot, on_grid, plan, run_plan, run_task
from medviewer.core.dicom_ref import SeriesRef, Study
from medviewer.core.errors import ExportError, InputError, MedViewerError
from medviewer.core.segmentation import Segment
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.history import UndoStack
from medviewer.jobs.job import JobContext, SubContext
from medviewer.jobs.worker import WorkerProcess
from medviewer.plugin_host.registry import PluginRegistry


@dataclass(frozen=True, slots=True, eq=False)
class LandedRun:
    """A run with the segments it made; `error` when it failed."""

    task_id: str
    title: str
    run: TaskRun | None = None
    segments: tuple[Segment, ...] = ()
    boxes: int = 0
    error: MedViewerError | None = None


@dataclass(slots=True, eq=False)
class Analysis:
    """A volume with everything that was found in it."""

    workspace: Workspace
    volume: Volume
    runs: list[LandedRun] = field(default_factory=list)
    seconds: float = 0.0
    peak_rss: dict[str, int] = field(default_factory=dict)


def choose_series(studies: Sequence[Study], uid: str | None = None) -> SeriesRef:
    """Return the series with a SeriesInstanceUID (or scan key), by default the biggest volume.

    Raises
    ------
    InputError
        When there is none.
    """
    every = [series for study in studies for series in study.series]
    if uid:
        named = [series for series in every if uid in (series.key, series.series_instance_uid)]
        usable = [series for series in named if series.volume] or named
        if not usable:
            raise InputError(f"There is no series {uid}.", hint="`medviewer info PATH` lists them.", code="E_NO_SERIES")
        return max(usable, key=lambda s: (s.key == uid, not s.interpolation, s.size or (0, 0, 0)))
    best = best_series(studies)
    if best is None:
        why = next((w.text for s in every for w in s.warnings), "no image series was found")
        raise InputError(
            f"Nothing to analyze: {why}", hint="`medviewer info PATH` says what is there.", code="E_NO_SERIES"
        )
    return best


def open_at(ctx: JobContext, series: SeriesRef, time: int, decode: WorkerProcess) -> Volume:
    """Open a series at a point of its time axis, counted from 0; one without an axis has point 0 only.

    Raises
    ------
    InputError
        ``E_TIME`` when there is no such point; what `medviewer.io.reader.open_series` raises.
    """
    from medviewer.io.reader import open_series

    points = len(series.time_labels) or 1
    if not 0 <= time < points:
        has = f"{points} points, numbered from 0" if points > 1 else "no time axis"
        raise InputError(
            f"“{series.title}” has no point {time}: it has {has}.",
            hint="`medviewer info PATH` lists the points.",
            code="E_TIME",
        )
    volume = open_series(ctx, series, decode)
    return volume.at_time(time) if volume.time is not None else volume


def analyze_volume(
    ctx: JobContext,
    volume: Volume,
    registry: PluginRegistry,
    worker: WorkerProcess,
    task_ids: Sequence[str] | None = None,
    on_task: Callable[[str], None] | None = None,
    accepted: Collection[str] | None = None,
) -> Analysis:
    """Run tasks on a volume and land their results.

    Parameters
    ----------
    ctx : JobContext
        Progress over all tasks, cancel, device.
    volume : Volume
    registry : PluginRegistry
    worker : WorkerProcess
    task_ids : sequence of str, optional
        Default: all that Analyze would offer for this volume.
    on_task : callable, optional
        Called before each task runs, with its title and what is known of what it will take.
    accepted : collection of str, optional
        Licences of imported models that were accepted, see `medviewer.app.models`; others do not run. Default: a
        script runs what its author names.

    Raises
    ------
    InputError
        When no task fits, a task id is unknown, or a licence was not accepted (``E_LICENSE``).
    MedViewerError
        When every task failed: the error of the first. A task that fails among others is in its `LandedRun`.
    """
    if task_ids:
        tasks = [registry.task(task_id) for task_id in task_ids]
    else:
        items = plan(registry, volume, look=look_at(volume))
        tasks = [item.task for item in items if item.fits and not _asks(item.task, accepted)]
        if not tasks:
            raise _no_task(items, volume)
    for task in tasks:
        if _asks(task, accepted):
            raise InputError(
                f"The licence of {task.title} ({task.license}) has not been accepted yet.",
                hint=f"Read it, then run `medviewer models accept {task.id}`.",
                code="E_LICENSE",
            )
        if list(task.inputs.values()) != ["volume"]:
            raise InputError(
                f"{task.title} needs more than one volume.", hint="Run it in the window.", code="E_MODEL_INPUT"
            )
    workspace = Workspace()
    workspace.add_volume(volume)
    workspace.activate(volume.id)
    analysis = Analysis(workspace, volume)
    applier = ResultApplier(workspace, UndoStack())
    for n, task in enumerate(tasks):
        if on_task is not None:
            will_take = run_plan(task, volume, ctx.device)
            on_task(f"{task.title} ({will_take.text})" if will_take is not None else task.title)
        part = SubContext(ctx, n / len(tasks), (n + 1) / len(tasks))
        try:
            run = run_task(part, worker, registry, task, {next(iter(task.inputs)): volume})
        except MedViewerError as error:
            analysis.runs.append(LandedRun(task.id, task.title, error=error))
            continue
        results = tuple(on_grid(result, volume.geometry) for result in run.results)
        segments = applier.apply(volume.id, task, results, run.provenance)
        boxes = sum(box.provenance.task == task.id for box in workspace.boxes(volume.id))
        analysis.runs.append(LandedRun(task.id, task.title, replace(run, results=results), tuple(segments), boxes))
        analysis.seconds += run.seconds
    failed = [landed.error for landed in analysis.runs if landed.error is not None]
    if failed and len(failed) == len(tasks):
        raise failed[0]
    return analysis


def _asks(task: TaskInfo, accepted: Collection[str] | None) -> bool:
    return accepted is not None and must_accept(task, accepted, ModelStore())


def _no_task(items: Sequence[PlanItem], volume: Volume) -> InputError:
    """Say why no task fits; naming one helps only where it could run."""
    reasons = "; ".join(f"{item.task.title}: {item.reason}" for item in items)
    possible = any(not cannot(item.task, volume) for item in items)
    return InputError(
        f"No task fits this series ({reasons}).",
        hint="Name one with --task." if possible else "Name another series with --series; `medviewer info` lists them.",
        code="E_NO_TASK",
    )


def write_masks(analysis: Analysis, folder: Path) -> dict[int, Path]:
    """Write ``masks/<task>__<segment>.nii.gz`` on the image's grid, read back and compared; value -> file."""
    import numpy as np

    from medviewer.export.names import safe_name, unique_names
    from medviewer.export.nifti_file import check_nifti, write_nifti

    target = folder / "masks"
    target.mkdir(parents=True, exist_ok=True)
    segmentation = analysis.workspace.segmentation(analysis.volume.id)
    files: dict[int, Path] = {}
    for landed in analysis.runs:
        for segment, name in zip(landed.segments, unique_names(s.name for s in landed.segments), strict=True):
            path = target / f"{safe_name(landed.task_id)}__{name}.nii.gz"
            mask = segmentation.mask(segment.value).astype(np.uint8)
            write_nifti(mask, segmentation.geometry, path)
            check = check_nifti(mask, segmentation.geometry, path, segment.name)
            if not check.passed:
                raise ExportError(
                    f"{path.name} does not read back as it was written ({check.detail}).",
                    hint="The disk may be failing. Choose another folder.",
                    code="E_READBACK",
                )
            files[segment.value] = path
    return files
