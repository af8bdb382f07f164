"""S23: a run that fails shows nothing as its result, and what an earlier run found keeps saying that it is earlier."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from medviewer.app.context import AppContext
from medviewer.app.paths import settings_file
from medviewer.app.report import clear_report
from medviewer.app.settings import Settings
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.jobs.job import Job, JobState
from medviewer.plugin_host.registry import PluginRegistry
from tests.unit.app.conftest import Pump

WAIT_S = 240.0
TASK = "tmp_air.air"


@pytest.fixture
def volume() -> Volume:
    array = np.full((4, 5, 6), -1000, np.int16)
    return Volume(array, Geometry((6, 5, 4), (1.0, 1.0, 1.0)), name="air", modality="CT")


@pytest.fixture
def app(pump: Pump, tmp_plugin: Callable[..., Path]) -> Iterator[AppContext]:
    """A task that fails when it is told a value that its model cannot load with."""
    anchor = '        ctx.progress(0.5, "Thresholding")\n'
    script = tmp_plugin(
        "tmp_air", (anchor, f'        if params.upper < -900:\n            raise OSError("cannot load")\n{anchor}')
    )
    registry = PluginRegistry()
    registry.discover([script.parent])
    made = AppContext(pump.post, Settings.load(settings_file()), registry)
    yield made
    made.close()


def run(app: AppContext, pump: Pump, volume: Volume, upper: float) -> Job:
    (job,) = app.analyze.start(volume.id, [TASK], {TASK: {"upper": upper}})
    pump.until(lambda: job.state.is_final, WAIT_S)
    pump.until(lambda: not app.jobs.running, WAIT_S)
    return job


def test_S23_a_failed_run_leaves_no_result_and_the_earlier_one_as_it_was(
    app: AppContext, pump: Pump, volume: Volume
) -> None:
    app.workspace.add_volume(volume)
    app.workspace.activate(volume.id)
    assert run(app, pump, volume, -400.0).state is JobState.SUCCESS
    (segment,) = app.workspace.segmentation(volume.id).segments
    assert segment.provenance.parameters == {"upper": -400.0}
    assert segment.provenance.input_uids == (volume.series_instance_uid,)
    runs, steps = list(app.workspace.runs), len(app.history.done)

    failed = run(app, pump, volume, -950.0)
    assert failed.state is JobState.ERROR
    assert failed.result is None
    assert list(app.workspace.segmentation(volume.id).segments) == [segment], "neither replaced nor repeated"
    assert (list(app.workspace.runs), len(app.history.done)) == (runs, steps)
    last = app.messages.messages[-1]
    assert last.level == "error"
    assert "cannot load" in last.text


def test_S23_a_folder_of_results_holds_none_of_an_earlier_run_when_the_next_one_fails(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    (folder / "masks").mkdir(parents=True)
    outside = tmp_path / "mine.nii.gz"
    for path in (folder / "masks" / "air.nii.gz", folder / "masks" / "mine.nii.gz", outside, folder / "lesions.csv"):
        path.write_bytes(b"x")
    named = [{"file": "masks/air.nii.gz"}, {"file": "../mine.nii.gz"}, {"file": 5}, {}]
    report = {"format": "medviewer-report", "tasks": [{"segments": named}, {"state": "error"}, None]}
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    clear_report(folder)
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["mine.nii.gz", "out/masks/mine.nii.gz"]
    (folder / "report.json").write_text("damaged", encoding="utf-8")
    clear_report(folder)
    assert not (folder / "report.json").exists()
    clear_report(tmp_path / "nothing there")
