from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medviewer.api import Box3D, Geometry, NullContext, Segment, Segmentation, Volume
from medviewer.core.errors import InputError, PluginError, TaskError
from medviewer.jobs.worker import WorkerProcess
from medviewer.plugin_host import run_task
from medviewer.plugin_host.loader import TaskSource
from medviewer.plugin_host.registry import PluginRegistry
from medviewer.plugin_host.run_task import RunOutput, RunPayload, SegmentationSnapshot

TmpPlugin = Callable[..., Path]
CTX = NullContext("cpu")


@pytest.fixture
def volume() -> Volume:
    array = np.zeros((4, 5, 6), dtype=np.int16)
    array[1:3, 1:4, 2:5] = -900
    return Volume(array, Geometry(size=(6, 5, 4), spacing=(1.0, 1.0, 2.0)), modality="CT")


def source(path: Path) -> TaskSource:
    registry = PluginRegistry()
    registry.discover([path.parent])
    assert registry.broken == ()
    return registry.source(f"{path.stem}.air")


def run(path: Path, volume: Volume, **parameters: object) -> RunOutput:
    return run_task.run(CTX, RunPayload.of(source(path), {"image": volume}, parameters))


def test_a_run_gives_results_and_how_they_were_made(tmp_plugin: TmpPlugin, volume: Volume) -> None:
    output = run(tmp_plugin(), volume, upper=-500)
    (result,) = output.results
    assert np.array_equal(result.labels, volume.array < -500)
    made = output.provenance
    assert (made.task, made.version, made.device) == ("tmp_air.air", "0.1.0", "cpu")
    assert made.parameters == {"upper": -500.0}
    assert made.software["numpy"] == np.__version__
    assert made.seconds >= 0


def test_a_run_crosses_to_a_worker(tmp_plugin: TmpPlugin, volume: Volume) -> None:
    task = source(tmp_plugin())
    worker = WorkerProcess("test")
    try:
        (spec,) = worker.call(run_task.DESCRIBE, task, CTX)  # type: ignore[misc]
        assert (spec.name, spec.default, spec.unit) == ("upper", -400.0, "HU")
        assert worker.call(run_task.CHECK, task, CTX).ok  # type: ignore[attr-defined]
        assert worker.call(run_task.WARM, (task,), CTX) == {}
        output = worker.call(run_task.RUN, RunPayload.of(task, {"image": volume}), CTX)
        assert isinstance(output, RunOutput)
        assert output.results[0].labels.sum() == 2 * 3 * 3  # type: ignore[union-attr]
        with pytest.raises(InputError, match="upper"):
            worker.call(run_task.RUN, RunPayload.of(task, {"image": volume}, {"upper": 5}), CTX)
    finally:
        worker.close()


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("import numpy as np", "import numpy as np\n1 / 0", "ZeroDivisionError"),
        ("class Air:", "class Water:", "no class Air"),
        ("def check(self)", "def test(self)", "no method check"),
        ("class Air:", "class Air:\n    def __init__(self) -> None:\n        raise ValueError('x')", "ValueError"),
        ("params: AirParams", "params: float", "must take (ctx, inputs, params)"),
        ("params: AirParams", "params: Missing", "cannot be read"),
        (".astype(np.uint16)", ".astype(np.int32)", "not uint16"),
        ("labels = (image.array < params.upper)", "labels = 2 * (image.array < params.upper)", "no segment has"),
        ('[LabelResult("Air", labels, image.geometry, (Segment(1, "Air"),))]', '["Air"]', "not a result"),
    ],
)
def test_a_broken_plugin_is_named(tmp_plugin: TmpPlugin, volume: Volume, old: str, new: str, named: str) -> None:
    with pytest.raises(PluginError) as caught:
        run(tmp_plugin("tmp_broken", (old, new)), volume)
    assert "tmp_broken 0.1.0" in caught.value.text
    assert named in caught.value.text


def test_a_missing_package_is_named(tmp_plugin: TmpPlugin, volume: Volume) -> None:
    path = tmp_plugin("tmp_needy", ("import numpy as np", "import numpy as np\nimport no_such_package_xyz"))
    with pytest.raises(PluginError) as caught:
        run(path, volume)
    assert caught.value.code == "E_PLUGIN_MISSING"
    assert "no_such_package_xyz" in caught.value.text
    readiness = run_task.check(CTX, source(path))
    assert not readiness.ok
    assert "no_such_package_xyz" in readiness.missing[0]
    assert set(run_task.warm(CTX, (source(path),))) == {"tmp_needy.air"}


def test_a_plugin_cannot_stand_in_for_another_module(tmp_plugin: TmpPlugin, volume: Volume) -> None:
    with pytest.raises(PluginError, match="already used by"):
        run(tmp_plugin("colorsys"), volume)


def test_a_task_that_is_not_ready_does_not_run(tmp_plugin: TmpPlugin, volume: Volume) -> None:
    path = tmp_plugin("tmp_unready", ("Readiness(ok=True)", 'Readiness(ok=False, missing=("weights, 1 GB",))'))
    with pytest.raises(PluginError) as caught:
        run(path, volume)
    assert caught.value.code == "E_NOT_READY"
    assert "weights, 1 GB" in caught.value.text


def test_a_task_cannot_write_into_its_inputs(tmp_plugin: TmpPlugin, volume: Volume) -> None:
    path = tmp_plugin("tmp_vandal", ("    labels = ", "    image.array[0] = 0\n        labels = "))
    worker = WorkerProcess("test")
    try:
        with pytest.raises(TaskError, match="read-only"):
            worker.call(run_task.RUN, RunPayload.of(source(path), {"image": volume}), CTX)
    finally:
        worker.close()


def test_a_fault_in_a_task_names_the_plugin(tmp_plugin: TmpPlugin, volume: Volume) -> None:
    path = tmp_plugin("tmp_fault", ("ctx.progress(1.0)", "labels[99]"))
    with pytest.raises(TaskError, match="IndexError") as caught:
        run(path, volume)
    assert "tmp_fault 0.1.0" in caught.value.hint
    path = tmp_plugin("tmp_memory", ("ctx.progress(1.0)", "raise RuntimeError('CUDA out of memory')"))
    with pytest.raises(RuntimeError, match="out of memory"):
        run(path, volume)


def test_inputs_are_checked(tmp_plugin: TmpPlugin) -> None:
    with pytest.raises(TaskError, match="image"):
        run_task.run(CTX, RunPayload.of(source(tmp_plugin()), {"image": (Box3D(lower=(0, 0, 0), upper=(1, 1, 1)),)}))


@pytest.mark.parametrize(
    "box", ["lower=(0, 0, 0), upper=(-1, 1, 1)", "lower=(0, 0, float('nan')), upper=(1, 1, 1)",
            "lower=(0, 0, 0), upper=(1, 1, 1), score=7.0"]
)  # fmt: skip
def test_boxes_are_checked(tmp_plugin: TmpPlugin, volume: Volume, box: str) -> None:
    old = '[LabelResult("Air", labels, image.geometry, (Segment(1, "Air"),))]'
    path = tmp_plugin(
        "tmp_boxes", (old, f"[BoxResult('Air', (Box3D({box}),))]"), ("import Doc", "import Box3D, BoxResult, Doc")
    )
    with pytest.raises(PluginError, match="broken"):
        run(path, volume)


def test_a_segmentation_crosses_as_a_snapshot() -> None:
    original = Segmentation(Geometry(size=(3, 3, 3), spacing=(1.0, 1.0, 1.0)), "v")
    original.put_group(original.new_group("a"))
    original.put_segment(Segment(2, "Lung", group=0))
    original.group(0).labels[1, 1, 1] = 2
    snapshot = SegmentationSnapshot.of(original)
    original.group(0).labels[...] = 0
    copy = snapshot.restore()
    assert copy.segments == original.segments
    assert copy.mask(2).sum() == 1
