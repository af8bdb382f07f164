"""Run tasks in the model worker: the part that window, command and script share."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from medviewer.ai.body_check import BodyLook, contradiction
from medviewer.ai.mr_contrast import contrast_named
from medviewer.ai.run_plan import RunPlan, plan_run
from medviewer.ai.weights import read_model
from medviewer.api.plugin import Input, LabelResult, Result, TaskInfo
from medviewer.core.errors import InputError
from medviewer.core.geometry import Geometry
from medviewer.core.provenance import Provenance
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobContext
from medviewer.jobs.worker import WorkerProcess
from medviewer.plugin_host.registry import PluginRegistry
from medviewer.plugin_host.run_task import RUN, RunOutput, RunPayload


@dataclass(frozen=True, slots=True, eq=False)
class TaskRun:
    """One finished run: what came out, and how it was made."""

    task: TaskInfo
    results: tuple[Result, ...]
    provenance: Provenance
    seconds: float
    peak_rss: int


@dataclass(frozen=True, slots=True)
class PlanItem:
    """Whether a task fits a volume, and roughly how long it takes here.

    Attributes
    ----------
    reason : str
        Why it does not fit; empty when it does.
    seconds : float
        Rough time on this machine.
    measured : bool
        Whether it comes from runs before on this machine, not from what the task says of itself.
    memory : int
        Bytes that it will take, roughly; 0 when nobody knows.
    device : str
        Where it will run, as far as known: ``cpu``, ``cuda`` or ``auto``.
    by_itself : bool
        Whether Analyze runs it unless the user says otherwise.
    chosen : bool
        Whether Analyze runs it.
    license_open : bool
        Whether its licence must be accepted before.
    parameters : mapping
        Values that the user changed.
    """

    task: TaskInfo
    fits: bool
    reason: str = ""
    seconds: float = 0.0
    measured: bool = False
    memory: int = 0
    device: str = "auto"
    by_itself: bool = False
    chosen: bool = False
    license_open: bool = False
    parameters: Mapping[str, object] = field(default_factory=dict)


#: BodyPartExamined values that include others (DICOM PS3.16 annex L uses free words here).
_WIDE_BODY_PARTS = frozenset(
    {"WHOLEBODY", "WHOLE BODY", "PARTIALBODY", "BODY", "TRUNK", "CHESTABDPELVIS", "CHESTABDOMEN", "TSPINE"}
)


#: More than this are synonyms, which nobody reads.
_NAMED_PARTS = 3


def cannot(task: TaskInfo, volume: Volume) -> str:
    """Return why a task cannot run on a volume, whoever asks for it; empty when it can."""
    return _no_volume(task, volume) or _too_small(task, volume)


def _no_volume(task: TaskInfo, volume: Volume) -> str:
    if task.pictures:
        return ""
    if volume.stacking == "time":
        return "needs a volume, this is a film"
    if volume.stacking == "number":
        return "needs a volume, this is a picture"
    if not volume.has_depth:
        return "needs a volume, this is a single slice"
    if volume.colors is not None:
        return "works on grey values, this is in colour"
    return "" if volume.in_mm else "needs the size of a voxel in mm, which is not known here"


def _too_small(task: TaskInfo, volume: Volume) -> str:
    if any(n < need for n, need in zip(volume.geometry.size, task.min_size, strict=True)):
        return f"needs at least {task.min_size[0]}×{task.min_size[1]}×{task.min_size[2]} voxels"
    return ""


def why_not(task: TaskInfo, volume: Volume, look: BodyLook | None = None) -> str:
    """Return why a task is not made for a volume, by its tags and, where it was looked at, its image; empty when it is.

    What is said here keeps a task from being run by itself, not from being asked for.
    """
    if reason := _no_volume(task, volume):
        return reason
    if not task.pictures and not volume.in_patient:
        return "made for images whose place in the patient is known"
    if task.pictures and task.kind == "classification" and volume.has_depth:
        return "made for single pictures"
    if task.modalities and volume.modality and volume.modality not in task.modalities:
        return f"made for {', '.join(sorted(task.modalities))}, this is {volume.modality}"
    part = volume.body_part_examined.upper().strip()
    if task.body_parts and part and part not in task.body_parts and part not in _WIDE_BODY_PARTS:
        parts = sorted(task.body_parts)
        made_for = ", ".join(parts).lower() if len(parts) <= _NAMED_PARTS else "other parts of the body"
        return f"made for {made_for}, this is {part.lower()}"
    if look is not None and (reason := contradiction(look, task.body_parts)):
        return reason
    if reason := _other_contrast(task, volume, look):
        return reason
    if reason := _too_small(task, volume):
        return reason
    extent = [n * s for n, s in zip(volume.geometry.size, volume.geometry.spacing, strict=True)]
    if any(have < need for have, need in zip(extent, task.min_extent_mm, strict=True)):
        return "the field of view is too small"
    return ""


def _other_contrast(task: TaskInfo, volume: Volume, look: BodyLook | None) -> str:
    """Return that an MR image has another contrast than the task is made for: by its name, or else as it looks."""
    if not task.contrasts or volume.modality not in ("MR", ""):
        return ""
    contrast = contrast_named(volume.name) or (look.contrast if look is not None else "")
    if contrast in task.contrasts or (not contrast and look is None):
        return ""
    this = f"looks like {contrast}" if contrast else "does not look like it"
    return f"made for {', '.join(sorted(task.contrasts))}, this {this}"


def plan(
    registry: PluginRegistry, volume: Volume, *, every: bool = False, look: BodyLook | None = None
) -> tuple[PlanItem, ...]:
    """Return what Analyze could run on a volume, in the order in which it would run.

    Tasks that need more than the volume (two volumes, boxes) are not part of it; those that it does not offer by itself
    only with `every`. `look` is what the image looks like, where that is known (`medviewer.ai.body_check`).
    """
    megavoxels = volume.array.size / 1e6
    items = []
    for task in registry.tasks:
        by_itself = task.auto is True or (task.auto is not False and volume.modality in task.auto)
        if not (by_itself or every) or task.kind == "interactive" or list(task.inputs.values()) != ["volume"]:
            continue
        reason = why_not(task, volume, look)
        seconds = 1.0 + megavoxels * task.seconds_per_megavoxel
        items.append(PlanItem(task, not reason, reason, seconds, by_itself=by_itself, chosen=by_itself and not reason))
    return tuple(items)


def run_plan(task: TaskInfo, volume: Volume, device: str) -> RunPlan | None:
    """Return what the windows of a task's model will take on a volume; None for what does not run in windows."""
    card = read_model(Path(task.model)).card if task.model else None
    if card is None or card.runner != "segmentation":
        return None
    return plan_run(card, volume.geometry, "cpu" if device == "auto" else device)


def run_task(
    ctx: JobContext,
    worker: WorkerProcess,
    registry: PluginRegistry,
    task: TaskInfo,
    inputs: Mapping[str, Input],
    params: Mapping[str, object] | None = None,
) -> TaskRun:
    """Run a task in the model worker.

    Parameters
    ----------
    ctx : JobContext
        Progress and cancel.
    worker : WorkerProcess
    registry : PluginRegistry
    task : TaskInfo
    inputs : mapping of name to value
        As the task's manifest names them.
    params : mapping, optional
        Values of the task's parameters; what is missing keeps its default.

    Raises
    ------
    InputError
        ``E_MODEL_INPUT``: a volume is not what the task can work on, for example a picture.
    TaskError, WorkerDied, OutOfMemory, PluginError, JobCancelled
    """
    for value in inputs.values():
        if isinstance(value, Volume) and (reason := cannot(task, value)):
            raise InputError(
                f"{task.title} cannot run on “{value.name}”: it {reason}.",
                hint="Choose another series, or draw by hand.",
                code="E_MODEL_INPUT",
            )
    payload = RunPayload.of(registry.source(task.id), inputs, params)
    clock = time.monotonic()
    output = worker.call(RUN, payload, ctx, device=ctx.device)
    assert isinstance(output, RunOutput)
    return TaskRun(task, output.results, output.provenance, time.monotonic() - clock, worker.peak_rss)


def on_grid(result: Result, geometry: Geometry) -> Result:
    """Return a label result on `geometry` (nearest neighbour); others, and those on it already, as they are."""
    if not isinstance(result, LabelResult) or result.geometry.is_close(geometry):
        return result
    import numpy as np

    from medviewer.imaging.resample import resample_onto

    labels = resample_onto(result.labels, result.geometry, geometry, interpolation="nearest")
    return replace(result, labels=labels.astype(np.uint16, copy=False), geometry=geometry)
