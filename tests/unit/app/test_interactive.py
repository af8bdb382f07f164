"""Clicks on a volume: what lands in the segment, undo, saving, a worker that dies, and sessions of scripts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medviewer.app.context import AppContext
from medviewer.app.documents import load_workspace
from medviewer.app.paths import settings_file
from medviewer.app.sessions import Interaction, WorkerSession
from medviewer.app.settings import Settings
from medviewer.core.annotation import Box3D
from medviewer.core.errors import InputError
from medviewer.core.geometry import Geometry, Vec3, vec3
from medviewer.core.prompt import Prompt
from medviewer.core.provenance import Provenance
from medviewer.core.region import Region
from medviewer.core.serial import prompt_from_json, prompt_to_json
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.editor import EditRefused
from medviewer.jobs.job import NullContext
from medviewer.plugin_host.registry import PluginRegistry
from medviewer.plugin_host.run_session import SessionAnswer
from tests.unit.app.conftest import Pump

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"
TASK = "click_classic"
#: The first answer waits for a worker to start.
WAIT_S = 240.0


def balls() -> tuple[Volume, list[tuple[Vec3, np.ndarray]]]:
    """Two bright balls in a dark, slightly uneven image of thick slices, seen from the feet."""
    geometry = Geometry((48, 44, 26), (1.0, 1.1, 2.0), (-20.0, 15.0, 90.0), (1, 0, 0, 0, -1, 0, 0, 0, -1))
    k, j, i = np.indices(geometry.shape)
    array = np.random.default_rng(0).normal(100.0, 3.0, geometry.shape).astype(np.float32)
    made = []
    for centre, radius in (((12, 14, 15), 8.0), ((14, 30, 34), 7.0)):
        squares = ((k - centre[0]) * 2.0) ** 2 + ((j - centre[1]) * 1.1) ** 2 + (i - centre[2]) ** 2
        mask = squares <= radius**2
        array[mask] += 80.0
        made.append((vec3(geometry.index_to_lps(centre[::-1])), mask))
    return Volume(array, geometry, name="balls", modality="CT"), made


def point(lps: Vec3, positive: bool = True) -> Prompt:
    return Prompt(kind="point", positive=positive, points=(lps,))


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PluginRegistry:
    # Another test may have loaded the plugin from where it lies.
    monkeypatch.setitem(sys.modules, TASK, None)
    del sys.modules[TASK]
    monkeypatch.setattr(sys, "path", [path for path in sys.path if Path(path) != PLUGINS])
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "click_classic.py").write_bytes((PLUGINS / "click_classic.py").read_bytes())
    made = PluginRegistry()
    made.discover([folder])
    return made


@pytest.fixture
def clicked(pump: Pump, registry: PluginRegistry) -> Callable[[], AppContext]:
    apps: list[AppContext] = []

    def make() -> AppContext:
        apps.append(AppContext(pump.post, Settings.load(settings_file()), registry))
        # What is chosen for a task is what answers: of balls, this finds nearly every voxel.
        apps[-1].analyze.keep_parameters(TASK, {"method": "growing"})
        return apps[-1]

    yield make  # type: ignore[misc]  # a fixture
    for app in apps:
        app.close()


def opened(app: AppContext, volume: Volume) -> Volume:
    app.workspace.add_volume(volume)
    app.workspace.activate(volume.id)
    app.segments.ensure_one()
    return volume


def click(app: AppContext, pump: Pump, prompt: Prompt) -> np.ndarray:
    volume = app.workspace.active
    assert volume is not None
    app.interactive.prompt(volume.id, TASK, prompt)
    pump.until(lambda: not app.interactive.busy, WAIT_S)
    assert not [m.text for m in app.messages.messages if m.level == "error"]
    return mask_of(app)


def mask_of(app: AppContext) -> np.ndarray:
    segmentation = app.workspace.active_segmentation
    assert segmentation is not None
    return segmentation.mask(segmentation.active)


def test_a_click_lands_as_one_step_and_undo_takes_click_by_click(clicked: Callable[[], AppContext], pump: Pump) -> None:
    app = clicked()
    volume, ((first, ball), (second, other)) = balls()
    opened(app, volume)
    before = len(app.history.done)
    one = click(app, pump, point(first))
    assert dice(one, ball) > 0.85
    assert len(app.history.done) == before + 1
    assert app.history.undo_label == "Click"
    both = click(app, pump, point(second))
    assert dice(both, ball | other) > 0.8
    app.undo()
    assert np.array_equal(mask_of(app), one)
    app.redo()
    assert np.array_equal(mask_of(app), both)
    app.undo()
    app.undo()
    assert not mask_of(app).any()
    # The session goes on from what is shown, not from what was undone.
    assert np.array_equal(click(app, pump, point(first)), one)


def test_clicks_follow_each_other_in_order_when_given_at_once(clicked: Callable[[], AppContext], pump: Pump) -> None:
    app = clicked()
    volume, ((first, _), (second, _)) = balls()
    opened(app, volume)
    app.interactive.prompt(volume.id, TASK, point(first))
    app.interactive.prompt(volume.id, TASK, point(second))
    pump.until(lambda: not app.interactive.busy, WAIT_S)
    segment = app.workspace.segmentation(volume.id).segments[0]
    assert [p.points for p in app.interactive.prompts(segment, TASK)] == [(first,), (second,)]
    assert [step.label for step in app.history.done][-2:] == ["Click", "Click"]


def test_what_a_person_drew_and_other_segments_have_is_left_alone(
    clicked: Callable[[], AppContext], pump: Pump
) -> None:
    app = clicked()
    volume, ((first, ball), _) = balls()
    opened(app, volume)
    segmentation = app.workspace.segmentation(volume.id)
    taken = app.segments.add(volume.id, "Taken")
    from medviewer.editing.editor import LabelEditor

    half = ball.copy()
    half[:, :, 15:] = False
    with LabelEditor(app.workspace, app.history, volume.id).stroke("Brush", taken.value) as stroke:
        stroke.paint(segmentation.geometry.region, half)
    app.segments.lock(volume.id, taken.value, True)
    segmentation.active = segmentation.segments[0].value
    mask = click(app, pump, point(first))
    assert mask.any()
    assert np.array_equal(segmentation.mask(taken.value), half)


def test_a_locked_segment_is_refused_before_anything_is_asked(clicked: Callable[[], AppContext]) -> None:
    app = clicked()
    volume, ((first, _), _) = balls()
    opened(app, volume)
    app.segments.lock(volume.id, 1, True)
    with pytest.raises(EditRefused):
        app.interactive.prompt(volume.id, TASK, point(first))
    assert not app.interactive.busy


def test_a_worker_that_dies_is_named_and_the_session_is_told_again(
    clicked: Callable[[], AppContext], pump: Pump
) -> None:
    import psutil

    app = clicked()
    volume, ((first, ball), (second, other)) = balls()
    opened(app, volume)
    click(app, pump, point(first))
    pid = app.model_worker.pid
    assert pid is not None
    psutil.Process(pid).kill()
    app.interactive.prompt(volume.id, TASK, point(second))
    pump.until(lambda: not app.interactive.busy, WAIT_S)
    if not mask_of(app)[other].any():
        assert any("worker" in m.text for m in app.messages.messages if m.level == "error")
        app.interactive.prompt(volume.id, TASK, point(second))
        pump.until(lambda: not app.interactive.busy, WAIT_S)
    assert app.model_worker.pid != pid
    assert dice(mask_of(app), ball | other) > 0.8


def test_the_session_goes_on_after_saving_and_opening_again(
    clicked: Callable[[], AppContext], pump: Pump, tmp_path: Path
) -> None:
    from medviewer.io.snapshot import take_snapshot
    from medviewer.io.workspace_file import write_workspace

    app = clicked()
    volume, ((first, ball), (second, other)) = balls()
    opened(app, volume)
    one = click(app, pump, point(first))
    path = tmp_path / "case.mvw"
    write_workspace(path, take_snapshot(app.workspace, {}))
    again = clicked()
    saved: Workspace = load_workspace(NullContext(), path)
    (kept,) = saved.volumes
    again.workspace.add_volume(kept)
    for group in saved.segmentation(kept.id).groups:
        again.workspace.segmentation(kept.id).put_group(group)
    for segment in saved.segmentation(kept.id).segments:
        again.workspace.segmentation(kept.id).put_segment(segment)
    again.workspace.activate(kept.id)
    again.workspace.segmentation(kept.id).active = 1
    assert np.array_equal(mask_of(again), one)
    click(again, pump, point(second))
    assert dice(mask_of(again), ball | other) > 0.8
    again.undo()
    assert np.array_equal(mask_of(again), one)


def test_provenance_says_what_made_it_and_what_it_was_made_on(clicked: Callable[[], AppContext], pump: Pump) -> None:
    app = clicked()
    volume, ((first, _), _) = balls()
    opened(app, volume)
    click(app, pump, point(first))
    segment = app.workspace.segmentation(volume.id).segments[0]
    assert segment.provenance.task == TASK
    assert segment.provenance.parameters["method"]
    assert not segment.edited
    assert app.workspace.dirty


def test_a_box_becomes_a_mask_and_counts_as_accepted(clicked: Callable[[], AppContext], pump: Pump) -> None:
    app = clicked()
    volume, ((first, ball), _) = balls()
    opened(app, volume)
    x, y, z = first
    box = Box3D(lower=(x - 9, y - 9, z - 9), upper=(x + 9, y + 9, z + 9), label="Lesion")
    app.workspace.set_boxes(volume.id, (box,))
    assert [task.id for task in app.findings.mask_tasks(volume.id)] == [TASK]
    job = app.findings.make_mask(volume.id, box.id)
    pump.until(lambda: job is not None and job.state.is_final, WAIT_S)
    segmentation = app.workspace.segmentation(volume.id)
    made = segmentation.segment(segmentation.active)
    assert made.name == "Lesion"
    assert dice(segmentation.mask(made.value), ball) > 0.8
    (after,) = app.workspace.boxes(volume.id)
    assert (after.review, after.segment) == ("accepted", made.value)
    # Another finding's mask leaves this one where it is.
    app.workspace.set_boxes(volume.id, (after, Box3D(lower=box.lower, upper=box.upper, label="Second")))
    pump.finish(app.findings.make_mask(volume.id, app.workspace.boxes(volume.id)[1].id))
    assert segmentation.find(made.value) is not None


def test_a_segment_that_was_locked_meanwhile_is_left_alone_and_the_next_click_is_answered(
    clicked: Callable[[], AppContext], pump: Pump
) -> None:
    app = clicked()
    volume, ((first, ball), (second, _)) = balls()
    opened(app, volume)
    segmentation = app.workspace.segmentation(volume.id)
    app.interactive.prompt(volume.id, TASK, point(first))
    app.interactive.prompt(volume.id, TASK, point(second))
    segmentation.put_segment(replace(segmentation.segment(segmentation.active), locked=True))
    pump.until(lambda: not app.interactive.busy, WAIT_S)
    told = [m.text for m in app.messages.messages if m.level == "error"]
    assert len(told) == 2
    assert all("locked" in text for text in told)
    assert not mask_of(app).any()
    segmentation.put_segment(replace(segmentation.segment(segmentation.active), locked=False))
    app.interactive.prompt(volume.id, TASK, point(first))
    pump.until(lambda: not app.interactive.busy, WAIT_S)
    assert dice(mask_of(app), ball) > 0.8


def test_a_box_with_nothing_in_it_makes_no_segment(
    clicked: Callable[[], AppContext], pump: Pump, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = clicked()
    volume, ((first, _), _) = balls()
    opened(app, volume)
    x, y, z = first
    box = Box3D(lower=(x - 9, y - 9, z - 9), upper=(x + 9, y + 9, z + 9), label="Lesion")
    app.workspace.set_boxes(volume.id, (box,))
    none = SessionAnswer(Region((0, 0, 0), (0, 0, 0)), *[np.zeros((0, 0, 0), bool)] * 2, Provenance(task=TASK))
    monkeypatch.setattr(WorkerSession, "answer", lambda *_: none)
    before = app.workspace.segmentation(volume.id).segments
    pump.finish(app.findings.make_mask(volume.id, box.id))
    assert app.workspace.segmentation(volume.id).segments == before
    assert app.workspace.boxes(volume.id)[0].review == "open"
    assert ["nothing" in m.text for m in app.messages.messages if m.level == "error"] == [True]


def test_closing_the_volume_closes_the_session(clicked: Callable[[], AppContext], pump: Pump) -> None:
    app = clicked()
    volume, ((first, _), _) = balls()
    opened(app, volume)
    click(app, pump, point(first))
    app.workspace.remove_volume(volume.id)
    pump.until(lambda: not app.jobs.running, WAIT_S)
    assert not [m.text for m in app.messages.messages if m.level == "error"]


def test_a_script_gets_regions_masks_and_undo(registry: PluginRegistry, clicked: Callable[[], AppContext]) -> None:
    app = clicked()
    volume, ((first, ball), (second, _)) = balls()
    worker = WorkerSession(app.model_worker, registry, registry.task(TASK), volume, {"method": "growing"})
    session = Interaction(worker, NullContext())
    region, part = session.add(point(first))
    assert part.shape == region.shape
    assert np.array_equal(session.mask[region.slices], part)
    assert dice(session.mask, ball) > 0.85
    one = session.mask
    session.add(point(second))
    undone = session.undo()
    assert undone is not None
    assert np.array_equal(session.mask, one)
    session.undo()
    assert session.undo() is None
    assert not session.mask.any()
    with pytest.raises(InputError) as refused:
        session.add(point((1e4, 0.0, 0.0)))
    assert refused.value.code == "E_PROMPT"
    with pytest.raises(InputError) as refused:
        session.add(point(first, positive=False))
    assert refused.value.code == "E_PROMPT"
    session.add(point(first))
    assert np.array_equal(session.mask, one)
    session.close()


def test_a_film_is_refused(registry: PluginRegistry, clicked: Callable[[], AppContext]) -> None:
    app = clicked()
    volume = Volume(np.zeros((4, 8, 8), np.float32), Geometry((8, 8, 4), (1, 1, 1)), stacking="time")
    with pytest.raises(InputError) as refused:
        WorkerSession(app.model_worker, registry, registry.task(TASK), volume)
    assert refused.value.code == "E_MODEL_INPUT"


def test_prompts_survive_json() -> None:
    from medviewer.core.region import Region

    mask = np.random.default_rng(0).random((3, 4, 5)) > 0.5
    for prompt in (
        point((1.5, -2.25, 1e-3)),
        Prompt(kind="lasso", positive=False, crop=(Region((1, 2, 3), (4, 6, 8)), mask)),
    ):
        again = prompt_from_json(prompt_to_json(prompt))
        assert prompt_to_json(again) == prompt_to_json(prompt)
        assert (again.kind, again.positive, again.points) == (prompt.kind, prompt.positive, prompt.points)
        if prompt.crop is not None:
            assert again.crop is not None
            assert np.array_equal(again.crop[1], mask)
