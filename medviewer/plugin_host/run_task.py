"""What the model worker does with a task. Each function has the signature ``(ctx, payload)`` of a worker call."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from medviewer.ai.device import choose_device
from medviewer.api.plugin import (
    BoxResult,
    FindingResult,
    Input,
    LabelResult,
    Readiness,
    Result,
    Task,
    TaskInfo,
    TransformResult,
    VolumeResult,
)
from medviewer.core.annotation import Box3D
from medviewer.core.errors import MedViewerError, PluginError, TaskError
from medviewer.core.geometry import Geometry
from medviewer.core.provenance import Provenance
from medviewer.core.segmentation import Group, Segment, Segmentation
from medviewer.core.version import __version__
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobContext
from medviewer.plugin_host.fence import fenced
from medviewer.plugin_host.forms import ParamSpec, describe_params, params_from_dict, params_to_dict
from medviewer.plugin_host.loader import Reached, TaskSource, broken, load_task, params_type
from medviewer.plugin_host.model_tasks import require_unchanged

log = logging.getLogger(__name__)

#: Names for `WorkerProcess.call`.
RUN = "medviewer.plugin_host.run_task:run"
DESCRIBE = "medviewer.plugin_host.run_task:describe"
CHECK = "medviewer.plugin_host.run_task:check"
DEVICE = "medviewer.plugin_host.run_task:device"
WARM = "medviewer.plugin_host.run_task:warm"

_RESULTS = LabelResult | BoxResult | TransformResult | FindingResult | VolumeResult


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationSnapshot:
    """A segmentation as plain values: it crosses to the worker, its signals do not."""

    geometry: Geometry
    volume_id: str
    groups: tuple[Group, ...]
    segments: tuple[Segment, ...]

    @classmethod
    def of(cls, segmentation: Segmentation) -> SegmentationSnapshot:
        """Take a copy, so that what is edited meanwhile does not reach the task."""
        groups = tuple(Group(group.id, group.name, group.labels.copy()) for group in segmentation.groups)
        return cls(segmentation.geometry, segmentation.volume_id, groups, segmentation.segments)

    def restore(self) -> Segmentation:
        """Build a segmentation with the same groups and segments."""
        segmentation = Segmentation(self.geometry, self.volume_id)
        for group in self.groups:
            segmentation.put_group(group)
        for segment in self.segments:
            segmentation.put_segment(segment)
        return segmentation


PlainInput = Volume | SegmentationSnapshot | tuple[Box3D, ...]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RunPayload:
    """One run, as it crosses to the worker; make it with `of`.

    Attributes
    ----------
    source : TaskSource
        What to run and where it is loaded from.
    inputs : mapping of str to Volume, SegmentationSnapshot or tuple of Box3D
        By the names in the manifest.
    parameters : mapping
        Plain values by field name; what is not named keeps its default.
    """

    source: TaskSource
    inputs: Mapping[str, PlainInput]
    parameters: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(
        cls, source: TaskSource, inputs: Mapping[str, Input], parameters: Mapping[str, object] | None = None
    ) -> RunPayload:
        """Take copies of what may change during the run."""
        plain = {name: _plain(value) for name, value in inputs.items()}
        return cls(source=source, inputs=plain, parameters=dict(parameters or {}))


def _plain(value: Input) -> PlainInput:
    """Return an input as it crosses to the worker: a volume at the point that is shown, a copy of a segmentation."""
    if isinstance(value, Volume):
        return value.at_one_time()
    return SegmentationSnapshot.of(value) if isinstance(value, Segmentation) else value


@dataclass(frozen=True, slots=True, eq=False)
class RunOutput:
    """What a run gave, and how it was made: device really used, seconds, versions, weights, parameters."""

    results: tuple[Result, ...]
    provenance: Provenance


class DeviceContext:
    """A context with the device that was chosen."""

    def __init__(self, parent: JobContext, device: str) -> None:
        self.device = device
        self.progress = parent.progress
        self.check_cancelled = parent.check_cancelled


def run(ctx: JobContext, payload: object) -> RunOutput:
    """Run a task; `payload` is a `RunPayload`.

    Raises
    ------
    PluginError
        The plugin cannot be loaded, is not ready, or returned what the contract does not allow.
    InputError
        A parameter does not fit.
    MedViewerError
        Whatever the task refused with.
    """
    assert isinstance(payload, RunPayload)
    info = payload.source.info
    require_unchanged(info)
    with fenced(payload.source):
        task = load_task(payload.source)
        parameters = params_from_dict(params_type(task, info), payload.parameters)
        require_ready(info, task.check())
    device = choose_device(ctx.device)
    inputs = {name: _arrived(value) for name, value in payload.inputs.items()}
    _check_inputs(info, inputs)
    started = datetime.now(UTC)
    clock = time.perf_counter()
    with fenced(payload.source):
        results = _run(task, info, DeviceContext(ctx, device), inputs, parameters)
    seconds = time.perf_counter() - clock
    for result in results:
        _check_result(info, result)
    volumes = [value for value in inputs.values() if isinstance(value, Volume)]
    provenance = provenance_of(info, task, params_to_dict(parameters), volumes, device, started, seconds)
    return RunOutput(results, provenance)


def provenance_of(
    info: TaskInfo,
    task: object,
    parameters: Mapping[str, object],
    volumes: Sequence[Volume],
    device: str,
    started: datetime,
    seconds: float,
) -> Provenance:
    """Return how a task made something of volumes: versions, weights, parameters, device."""
    return Provenance(
        task=info.id,
        version=info.plugin_version,
        weights_sha256=str(getattr(task, "weights_sha256", "")),
        model=info.id if info.model else "",
        model_version=info.model_version,
        parameters=parameters,
        record=dict(getattr(task, "record", {})),
        input_uids=tuple(volume.series_instance_uid for volume in volumes),
        time_points=tuple(volume.time.text for volume in volumes if volume.time is not None),
        software=_software(),
        device=device,
        started=started.isoformat(timespec="seconds"),
        seconds=round(seconds, 3),
    )


def _run(
    task: Task[Any], info: TaskInfo, ctx: JobContext, inputs: Mapping[str, Input], parameters: object
) -> tuple[Result, ...]:
    try:
        return tuple(task.run(ctx, inputs, parameters))
    except (MedViewerError, MemoryError, Reached):
        raise
    # A fault of the plugin becomes a report that names it; memory that ran out has a report of its own.
    except Exception as error:
        if "out of memory" in str(error).lower():
            raise
        values = params_to_dict(parameters)
        log.error("%s (%s %s) failed with %s.", info.id, info.plugin, info.plugin_version, values, exc_info=error)
        raise TaskError(
            f"{info.title} failed: {type(error).__name__}: {error}",
            hint=f"This is a fault in the plugin {info.plugin} {info.plugin_version}. The log has the details.",
        ) from error


def describe(ctx: JobContext, payload: object) -> tuple[ParamSpec, ...]:
    """Describe the form of a task's parameters; `payload` is a `TaskSource`. Raises `PluginError`."""
    assert isinstance(payload, TaskSource)
    with fenced(payload):
        return describe_params(params_type(load_task(payload), payload.info))


def check(ctx: JobContext, payload: object) -> Readiness:
    """Say whether a task could run now; `payload` is a `TaskSource`. A broken plugin or model is not ready."""
    assert isinstance(payload, TaskSource)
    try:
        with fenced(payload):
            return load_task(payload).check()
    except MedViewerError as error:
        return Readiness(ok=False, missing=(error.text,))


def device(ctx: JobContext, payload: object) -> str:
    """Return where tasks run; raises what `choose_device` does."""
    return choose_device(ctx.device)


def warm(ctx: JobContext, payload: object) -> dict[str, str]:
    """Import tasks ahead of their first run; `payload` is a sequence of `TaskSource`.

    Returns
    -------
    dict of str to str
        Task id to reason, for those that cannot be loaded.
    """
    assert isinstance(payload, Sequence)
    reasons: dict[str, str] = {}
    for source in payload:
        ctx.check_cancelled()
        try:
            with fenced(source):
                load_task(source)
        except MedViewerError as error:
            reasons[source.info.id] = error.text
    if any(source.info.lane == "gpu" for source in payload):
        choose_device(ctx.device)
    return reasons


def _arrived(value: PlainInput) -> Input:
    """Return an input as the task gets it; an array that came by shared memory has lost its write protection."""
    if isinstance(value, SegmentationSnapshot):
        return value.restore()
    if isinstance(value, Volume):
        value.array.flags.writeable = False
    return value


def require_ready(info: TaskInfo, readiness: Readiness) -> None:
    """Raise `PluginError` ``E_NOT_READY`` naming what is missing."""
    if not readiness.ok:
        raise PluginError(
            f"{info.title} is not ready: {', '.join(readiness.missing) or 'something is missing'}.",
            hint="Install what is missing and try again.",
            code="E_NOT_READY",
        )


_INPUT_TYPES: Mapping[str, type] = {"volume": Volume, "segmentation": Segmentation, "boxes": tuple}


def _check_inputs(info: TaskInfo, inputs: Mapping[str, Input]) -> None:
    for name, kind in info.inputs.items():
        if not isinstance(inputs.get(name), _INPUT_TYPES[kind]):
            raise TaskError(f"{info.title} needs the input {name!r} ({kind}).", code="E_TASK_INPUT")


def _check_result(info: TaskInfo, result: object) -> None:
    """Refuse what the contract does not allow, before it reaches anybody's workspace."""
    if not isinstance(result, _RESULTS):
        raise broken(info, f"it returned {type(result).__name__}, which is not a result")
    if isinstance(result, LabelResult):
        _check_labels(info, result)
    elif isinstance(result, BoxResult):
        for box in result.boxes:
            if not np.isfinite([*box.lower, *box.upper]).all() or np.less(box.upper, box.lower).any():
                raise broken(info, f"a box of {result.name!r} has no valid corners")
            if box.score is not None and not 0.0 <= box.score <= 1.0:
                raise broken(info, f"a score of {result.name!r} is not between 0 and 1")
    elif isinstance(result, FindingResult) and not all(0.0 <= f.probability <= 1.0 for f in result.findings):
        raise broken(info, f"a probability of {result.name!r} is not between 0 and 1")


def _check_labels(info: TaskInfo, result: LabelResult) -> None:
    labels: Any = result.labels
    if not isinstance(labels, np.ndarray) or labels.dtype != np.uint16 or labels.shape != result.geometry.shape:
        raise broken(info, f"the labels of {result.name!r} are not uint16 on the shape of their geometry")
    known = np.zeros(1 << 16, dtype=bool)
    known[[0, *(segment.value for segment in result.segments)]] = True
    # Slice by slice: indexing with uint16 makes eight bytes of every voxel.
    if not all(known[plane].all() for plane in labels):
        raise broken(info, f"the labels of {result.name!r} have values that no segment has")


def _software() -> dict[str, str]:
    versions = {"medviewer": __version__, "python": platform.python_version(), "numpy": np.__version__}
    for name in ("torch", "scipy", "simpleitk"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
