"""What Analyze would run: measured times, what was chosen before, licences, and one click when nothing is new."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.ai.weights import ModelStore
from medviewer.api.plugin import TaskInfo
from medviewer.app.actions import ACTIONS
from medviewer.app.context import AppContext
from medviewer.app.headless import analyze_volume
from medviewer.app.settings import Settings
from medviewer.app.timings import amount, measured_seconds, remember_seconds
from medviewer.core.errors import InputError
from medviewer.core.volume import Volume
from medviewer.jobs.job import NullContext
from medviewer.phantoms import make_thorax, spheres_volume

TASK = TaskInfo(id="t", title="T", kind="segmentation", entry="m:f", inputs={"image": "volume"}, plugin_version="1")


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=5))
def test_a_measured_time_lies_between_those_that_were_measured(seconds: list[float]) -> None:
    settings, volume = Settings(), spheres_volume().volume
    assert measured_seconds(settings, TASK, volume, "cpu") is None
    for value in seconds:
        remember_seconds(settings, TASK, volume, "cpu", value)
    found = measured_seconds(settings, TASK, volume, "cpu")
    assert found is not None
    assert min(seconds) - 0.01 <= found <= max(seconds) + 0.01
    assert measured_seconds(settings, TASK, volume, "cuda:0") is None, "another device is another time"
    assert measured_seconds(settings, replace(TASK, model_version="2"), volume, "cpu") is None


def test_thin_slices_of_the_same_body_take_no_longer() -> None:
    volume = spheres_volume().volume
    x, y, z = volume.geometry.spacing
    thin = replace(volume.geometry, size=(60, 52, 80), spacing=(x, y, z / 2))
    array = volume.array.repeat(2, axis=0)
    assert amount(Volume(array, thin)) == pytest.approx(amount(volume))


@pytest.fixture
def auto(app: AppContext, tmp_plugin: Callable[..., Path]) -> AppContext:
    """The application with a task that Analyze offers by itself."""
    app.plugins.discover([tmp_plugin("tmp_air", ('lane = "cpu"', 'lane = "cpu"\n# auto = true')).parent])
    return app


def test_the_plan_is_shown_once_then_one_click_runs_it(auto: AppContext, opened: Volume, pump: object) -> None:
    (action,) = (action for action in ACTIONS if action.id == "analyze")
    shown = []

    class Ui:
        def show_analyze(self) -> None:
            shown.append(True)

    action.run(auto, Ui())  # type: ignore[arg-type]
    assert shown == [True]
    plan = auto.analyze.plan(opened.id)
    assert [(i.task.id, i.fits, i.chosen, i.measured) for i in plan] == [("tmp_air.air", True, True, False)]
    auto.analyze.remember(plan, ["tmp_air.air"], {"tmp_air.air": {"upper": -600.0}})
    action.run(auto, Ui())  # type: ignore[arg-type]
    assert shown == [True], "nothing is new: it runs"
    pump.until(lambda: bool(auto.workspace.runs))  # type: ignore[attr-defined]
    assert auto.workspace.runs[0].parameters == {"upper": -600.0}
    again = auto.analyze.plan(opened.id)[0]
    assert again.measured
    assert again.device == "cpu"
    assert again.parameters == {"upper": -600.0}


def test_choices_outlive_the_session(auto: AppContext, opened: Volume) -> None:
    plan = auto.analyze.plan(opened.id)
    auto.analyze.remember(plan, [], {"tmp_air.air": {"upper": -500.0}})
    remember_seconds(auto.settings, TASK, opened, "cpu", 3.0)
    auto.settings.save()
    assert auto.settings.path is not None
    kept = Settings.load(auto.settings.path)
    assert (kept.analyze_seen, kept.analyze_off) == (["tmp_air.air"], ["tmp_air.air"])
    assert kept.task_parameters == {"tmp_air.air": '{"upper": -500.0}'}
    assert kept.task_rates == auto.settings.task_rates
    assert not auto.analyze.plan(opened.id)[0].chosen
    auto.analyze.remember(plan, ["tmp_air.air"], {"tmp_air.air": {}})
    assert auto.settings.task_parameters == {}
    assert auto.analyze.plan(opened.id)[0].chosen


def test_a_model_of_the_user_waits_for_its_licence(app: AppContext, opened: Volume, tmp_path: Path) -> None:
    app.models.store = ModelStore(tmp_path / "shipped", tmp_path / "own")
    own = replace(TASK, model=str(tmp_path / "own" / "t"), license="CC BY-NC 4.0")
    with pytest.raises(InputError) as caught:
        app.models.require_accepted(own)
    assert caught.value.code == "E_LICENSE"
    app.models.accept(own)
    app.models.require_accepted(own)
    assert app.models.must_accept(replace(own, license="another")), "a new licence is to be accepted anew"
    assert not app.models.must_accept(replace(TASK, model=str(tmp_path / "shipped" / "t"), license="Apache-2.0"))
    assert not app.models.must_accept(TASK)


def test_an_image_of_another_part_than_its_tags_say_is_left_alone_until_asked_for(
    app: AppContext, tmp_plugin: Callable[..., Path], pump: Any
) -> None:
    lines = 'lane = "cpu"\n# auto = true\n# body_parts = ["HEAD"]'
    app.plugins.discover([tmp_plugin("tmp_air", ('lane = "cpu"', lines)).parent])
    thorax = make_thorax((64, 64, 40)).volume
    lying = replace(thorax, body_part_examined="HEAD")
    app.workspace.add_volume(lying)
    app.analyze.plan(lying.id)
    pump.finish(app.jobs.running[-1])
    (item,) = app.analyze.plan(lying.id)
    assert (item.fits, item.chosen) == (False, False)
    assert item.reason == "the image looks like a thorax and an abdomen, not a head"
    with pytest.raises(InputError, match="No task fits"):
        app.analyze.start(lying.id)
    (job,) = app.analyze.start(lying.id, [item.task.id])
    pump.finish(job)
    assert job.error is None, "the user knows better"


def test_without_a_window_the_image_is_looked_at_too(tmp_plugin: Callable[..., Path], app: AppContext) -> None:
    lines = 'lane = "cpu"\n# auto = true\n# body_parts = ["HEAD"]'
    app.plugins.discover([tmp_plugin("tmp_air", ('lane = "cpu"', lines)).parent])
    lying = replace(make_thorax((64, 64, 40)).volume, body_part_examined="")
    with pytest.raises(InputError, match="looks like a thorax") as refusal:
        analyze_volume(NullContext(), lying, app.plugins, app.model_worker)
    assert refusal.value.code == "E_NO_TASK"
    assert "--task" in refusal.value.hint
