"""The plugin contract as a test kit: ``check_task(MyTask(), info)`` in a plugin's own tests.

Every broken rule is an `AssertionError` that says which one.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, get_type_hints

import numpy as np

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
from medviewer.core.segmentation import Segmentation
from medviewer.core.transform import AffineTransform
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobCancelled
from medviewer.phantoms import Phantom, make_brain, make_thorax


class RecordingContext:
    """A job context that writes down what a task reports, and cancels it when told to.

    Attributes
    ----------
    fractions : list of float
        What was reported, without the unknown ones.
    longest_silence_s : float
        Longest time between two moments at which a cancel would have been noticed.
    """

    def __init__(self, device: str = "cpu", *, cancel_at_check: int | None = None) -> None:
        self.device = device
        self.fractions: list[float] = []
        self.checks = 0
        self.longest_silence_s = 0.0
        self._cancel_at = cancel_at_check
        self._last = time.monotonic()

    def progress(self, fraction: float | None, text: str = "") -> None:
        """Note a report."""
        assert fraction is None or isinstance(fraction, float | int), f"progress {fraction!r} is no number"
        assert isinstance(text, str), f"progress text {text!r} is no text"
        if fraction is not None:
            assert 0.0 <= fraction <= 1.0, f"progress {fraction} is not within 0..1"
            assert not self.fractions or fraction >= self.fractions[-1] - 1e-9, (
                f"progress falls from {self.fractions[-1]} to {fraction}"
            )
            self.fractions.append(float(fraction))
        self.check_cancelled()

    def check_cancelled(self) -> None:
        """Note the moment; raise `JobCancelled` when it is the one to cancel at or a later one."""
        now = time.monotonic()
        self.longest_silence_s = max(self.longest_silence_s, now - self._last)
        self._last = now
        self.checks += 1
        if self._cancel_at is not None and self.checks >= self._cancel_at:
            raise JobCancelled


def check_task(
    task: Task[Any],
    info: TaskInfo,
    *,
    inputs: Mapping[str, Input] | None = None,
    params: object = None,
    device: str = "cpu",
    silence_s: float = 1.0,
) -> Sequence[Result]:
    """Run a task on a phantom and check that it keeps the contract.

    Parameters
    ----------
    task : Task
    info : TaskInfo
        Its table of the manifest.
    inputs : mapping, optional
        Default: a small phantom for each input that `info` names, see `phantom_inputs`.
    params : dataclass, optional
        Default: all defaults.
    device : str
        ``cpu`` or ``cuda:<n>``.
    silence_s : float
        Longest time without a check for cancel, once everything is imported.

    Returns
    -------
    sequence of Result
        Of the last full run, for further checks.

    Raises
    ------
    AssertionError
        A rule is broken: readiness, progress, results on a valid grid, inputs unchanged, same input same output,
        cancel.
    """
    readiness = task.check()
    assert isinstance(readiness, Readiness), "check() must return a Readiness"
    assert readiness.ok, f"not ready: {', '.join(readiness.missing)}"
    inputs = inputs or phantom_inputs(info)
    params = params if params is not None else default_params(task)
    before = {name: _digest(value) for name, value in inputs.items()}
    # The first run imports and warms up; the second one is timed.
    first = task.run(RecordingContext(device), inputs, params)
    context = RecordingContext(device)
    second = task.run(context, inputs, params)
    for result in second:
        check_result(result)
    assert {name: _digest(value) for name, value in inputs.items()} == before, "the task changed its inputs"
    assert [_digest_result(r) for r in first] == [_digest_result(r) for r in second], "same input, other output"
    assert context.fractions, "no progress was reported"
    assert context.longest_silence_s <= silence_s, f"no check for cancel in {context.longest_silence_s:.1f} s"
    for at in (1, max(1, context.checks // 2)):
        try:
            task.run(RecordingContext(device, cancel_at_check=at), inputs, params)
        except JobCancelled:
            continue
        raise AssertionError(f"a cancel at check {at} was swallowed")
    return second


def check_result(result: Result) -> None:
    """Check that a result describes itself truly; raises AssertionError."""
    assert result.name if not isinstance(result, FindingResult | VolumeResult) else True, "a result has no name"
    if isinstance(result, LabelResult):
        assert result.labels.dtype == np.uint16, f"labels are {result.labels.dtype}, not uint16"
        assert result.labels.shape == result.geometry.shape, "labels do not fit their grid"
        values = [segment.value for segment in result.segments]
        assert len(set(values)) == len(values), "two segments have one value"
        unknown = set(np.unique(result.labels).tolist()) - {0, *values}
        assert not unknown, f"labels {sorted(unknown)} belong to no segment"
    elif isinstance(result, BoxResult):
        scores = [box.score for box in result.boxes if box.score is not None]
        assert scores == sorted(scores, reverse=True), "boxes are not best first"
        assert all(0.0 <= score <= 1.0 for score in scores), "a score is not within 0..1"
        for box in result.boxes:
            assert all(low < high for low, high in zip(box.lower, box.upper, strict=True)), "a box is empty"
    elif isinstance(result, TransformResult):
        if isinstance(result.transform, AffineTransform):
            assert np.linalg.det(result.transform.array[:3, :3]) > 0, "the transform mirrors or folds"
        assert all(math.isfinite(value) for value in result.measures.values()), "a measure is not finite"
    elif isinstance(result, FindingResult):
        assert all(0.0 <= f.probability <= 1.0 for f in result.findings), "a probability is not within 0..1"


def default_params(task: Task[Any]) -> object:
    """Return the parameters of a task with all their defaults."""
    return get_type_hints(task.run)["params"]()


def phantom_inputs(info: TaskInfo) -> dict[str, Input]:
    """Return a small phantom for each input: a thorax where CT is allowed, otherwise a brain; boxes on its nodules."""
    phantom = _thorax() if not info.modalities or "CT" in info.modalities else _brain()
    inputs: dict[str, Input] = {}
    for name, kind in info.inputs.items():
        if kind == "volume":
            inputs[name] = phantom.volume
        elif kind == "segmentation":
            inputs[name] = _segmentation(phantom)
        else:
            inputs[name] = _boxes(phantom)
    return inputs


@lru_cache(maxsize=1)
def _thorax() -> Phantom:
    return make_thorax((112, 112, 56), seed=0)


@lru_cache(maxsize=1)
def _brain() -> Phantom:
    return make_brain((64, 64, 40), seed=0)


def _segmentation(phantom: Phantom) -> Segmentation:
    from medviewer.core.segmentation import Segment

    segmentation = Segmentation(phantom.volume.geometry, phantom.volume.id)
    segmentation.put_group(segmentation.new_group("phantom", phantom.labels.astype(np.uint16)))
    for value, name in phantom.names.items():
        segmentation.put_segment(Segment(value, name))
    return segmentation


def _boxes(phantom: Phantom) -> tuple[Box3D, ...]:
    found = []
    for nodule in phantom.nodules[:3]:
        x, y, z = nodule.lps
        half = nodule.diameter_mm / 2
        lower, upper = (x - half, y - half, z - half), (x + half, y + half, z + half)
        found.append(Box3D(lower=lower, upper=upper, label=nodule.label, diameter_mm=nodule.diameter_mm))
    return tuple(found) or (Box3D(lower=(-10.0, -10.0, -10.0), upper=(10.0, 10.0, 10.0)),)


def _digest(value: Input) -> str:
    """Return a hash of an input's voxels or of its words."""
    if isinstance(value, Volume):
        return _hash(value.array, value.geometry)
    if isinstance(value, Segmentation):
        return "".join(_hash(group.labels, value.segments) for group in value.groups)
    return repr(value)


def _digest_result(result: Result) -> str:
    """Return a hash of what a result says; not of ids, which are new each time."""
    if isinstance(result, LabelResult):
        return _hash(result.labels, (result.name, result.geometry, result.segments))
    if isinstance(result, BoxResult):
        return repr([(b.lower, b.upper, b.label, b.score, b.diameter_mm) for b in result.boxes])
    if isinstance(result, TransformResult):
        if isinstance(result.transform, AffineTransform):
            return repr(result.transform)
        return _hash(result.transform.displacement_mm, result.transform.geometry)
    if isinstance(result, VolumeResult):
        return _hash(result.volume.array, result.volume.geometry)
    return repr(result.findings)


def _hash(array: np.ndarray[Any, Any], rest: object) -> str:
    digest = hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=16)
    digest.update(repr(rest).encode())
    return digest.hexdigest()
