"""The main job without a window: open, analyze, correct, save, crash, recover."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.app.context import AppContext
from medviewer.core.volume import Volume
from medviewer.editing.tool import PointerEvent
from medviewer.export.case import cases_of
from medviewer.io.snapshot import take_snapshot
from medviewer.io.workspace_file import read_save_id
from medviewer.phantoms.model import Phantom
from tests.crashes import crash


def drag(app: AppContext, volume: Volume, *ijk: tuple[float, float, float], axis: int = 2) -> None:
    points = [tuple(float(v) for v in volume.geometry.index_to_lps(p)) for p in ijk]
    for phase, point in (("press", points[0]), *(("move", p) for p in points[1:]), ("release", points[-1])):
        app.router.pointer(PointerEvent(phase, point, axis))


def labels(app: AppContext, volume: Volume) -> list[np.ndarray]:
    return [group.labels.copy() for group in app.workspace.segmentation(volume.id).groups]


def test_open_shows_what_is_in_the_files(app: AppContext, opened: Volume, phantom: Phantom) -> None:
    assert np.array_equal(opened.array, phantom.volume.array)
    assert opened.geometry.is_close(phantom.volume.geometry)
    assert app.workspace.view.crosshair_lps == opened.geometry.center_lps
    assert app.settings.recent
    assert not app.loading


def test_opening_twice_looks_at_the_same_volume(app: AppContext, opened: Volume) -> None:
    assert opened.series is not None
    assert app.studies.open_series(opened.series) is None
    assert app.workspace.volumes == (opened,)


def test_analyze_lands_as_one_named_step(app: AppContext, pump: Any, opened: Volume) -> None:
    (job,) = app.analyze.start(opened.id, ["tmp_air.air"])
    assert app.analyze.start(opened.id, ["tmp_air.air"]) == (job,), "two clicks are one run"
    pump.finish(job)
    assert job.error is None
    (segment,) = app.workspace.segmentation(opened.id).segments
    assert segment.name == "Air"
    assert segment.provenance.task == "tmp_air.air"
    assert segment.provenance.parameters == {"upper": -400.0}
    assert segment.provenance.input_uids == (opened.series_instance_uid,)
    assert np.array_equal(app.workspace.segmentation(opened.id).mask(segment.value), opened.array < -400)
    assert app.history.undo_label == "Air"
    app.undo()
    assert app.workspace.segmentation(opened.id).segments == ()
    assert app.workspace.segmentation(opened.id).groups == ()
    app.redo()
    assert np.array_equal(app.workspace.segmentation(opened.id).mask(segment.value), opened.array < -400)


def run_air(app: AppContext, pump: Any, volume: Volume) -> None:
    (job,) = app.analyze.start(volume.id, ["tmp_air.air"])
    pump.finish(job)


def test_a_second_run_takes_the_place_of_the_first(app: AppContext, pump: Any, opened: Volume) -> None:
    segmentation = app.workspace.segmentation(opened.id)
    run_air(app, pump, opened)
    first, before = segmentation.segments, labels(app, opened)
    run_air(app, pump, opened)
    assert [s.name for s in segmentation.segments] == ["Air"]
    assert len(segmentation.groups) == 1
    app.undo()
    assert segmentation.segments == first
    assert np.array_equal(labels(app, opened)[0], before[0])


def test_a_second_run_leaves_what_a_person_corrected(app: AppContext, pump: Any, opened: Volume) -> None:
    segmentation = app.workspace.segmentation(opened.id)
    run_air(app, pump, opened)
    segmentation.active = segmentation.segments[0].value
    app.router.activate("eraser")
    drag(app, opened, (5, 5, 5))
    assert segmentation.segments[0].edited
    corrected = labels(app, opened)[0]
    run_air(app, pump, opened)
    assert [s.name for s in segmentation.segments] == ["Air", "Air"]
    assert np.array_equal(labels(app, opened)[0], corrected)


def test_a_result_of_a_closed_series_is_dropped(app: AppContext, pump: Any, opened: Volume) -> None:
    (job,) = app.analyze.start(opened.id, ["tmp_air.air"])
    app.documents.close_volume(opened.id)
    pump.finish(job)
    assert app.workspace.volumes == ()
    assert any("dropped" in message.text for message in app.messages.messages)


def test_params_form_is_read_from_the_plugin(app: AppContext) -> None:
    (spec,) = app.analyze.params_form("tmp_air.air")
    assert (spec.name, spec.default, spec.minimum, spec.maximum, spec.unit) == ("upper", -400.0, -1000, 0, "HU")


def test_brush_makes_its_segment_and_undoes_by_name(app: AppContext, opened: Volume) -> None:
    app.router.activate("brush")
    drag(app, opened, (20, 20, 10), (40, 25, 10))
    segmentation = app.workspace.segmentation(opened.id)
    (segment,) = segmentation.segments
    painted = segmentation.mask(segment.value)
    assert painted[10].any()
    assert not painted[9].any(), "a disc stays in its slice"
    assert app.history.undo_label == "Brush"
    app.router.activate("eraser")
    drag(app, opened, (20, 20, 10), (40, 25, 10))
    assert not segmentation.mask(segment.value).any()
    assert app.history.undo_label == "Eraser"
    app.undo()
    assert np.array_equal(segmentation.mask(segment.value), painted)


def test_locked_segment_refuses_with_a_message(app: AppContext, opened: Volume) -> None:
    segment = app.segments.add(opened.id, "Liver")
    app.segments.lock(opened.id, segment.value, True)
    app.router.activate("brush")
    drag(app, opened, (20, 20, 10))
    assert not app.workspace.segmentation(opened.id).mask(segment.value).any()
    assert "locked" in app.messages.messages[-1].text


def test_segment_changes_are_undone(app: AppContext, opened: Volume) -> None:
    segment = app.segments.add(opened.id, "Liver")
    app.router.activate("brush")
    drag(app, opened, (20, 20, 10))
    painted = app.workspace.segmentation(opened.id).mask(segment.value)
    app.segments.rename(opened.id, segment.value, "Spleen")
    app.segments.recolor(opened.id, segment.value, (1, 2, 3))
    app.segments.show(opened.id, segment.value, False)
    app.segments.remove(opened.id, segment.value)
    assert app.workspace.segmentation(opened.id).segments == ()
    assert app.history.undo_label == "Delete Spleen"
    app.undo()
    assert np.array_equal(app.workspace.segmentation(opened.id).mask(segment.value), painted)
    for _ in range(3):
        app.undo()
    assert app.workspace.segmentation(opened.id).segment(segment.value) == segment


def work(app: AppContext, pump: Any, volume: Volume) -> None:
    run_air(app, pump, volume)
    run_air(app, pump, volume)
    app.segments.add(volume.id, "Lesion")
    app.router.activate("brush")
    for n in range(3):
        drag(app, volume, (10 + 8 * n, 20, 10 + n), (14 + 8 * n, 30, 10 + n))
    app.undo()
    app.undo()
    app.redo()


def test_a_crash_loses_nothing_that_was_committed(make_app: Callable[[], AppContext], pump: Any, study: Path) -> None:
    app = make_app()
    pump.finish(app.studies.scan([study], open_best=True))
    pump.until(lambda: app.workspace.active is not None and not app.jobs.running)
    volume = app.workspace.active
    assert volume is not None
    work(app, pump, volume)
    before, segments = labels(app, volume), app.workspace.segmentation(volume.id).segments
    names = [step.label for step in app.history.done]
    crash(app)

    again = make_app()
    (found,) = again.documents.recoverable()
    assert found.steps == 9
    assert "Demo" not in found.title, "the offer names no patient"
    job = pump.finish(again.documents.recover(found))
    assert job.error is None
    assert [step.label for step in again.history.done] == names
    assert again.workspace.segmentation(volume.id).segments == segments
    for was, now in zip(before, labels(again, volume), strict=True):
        assert np.array_equal(was, now)
    assert again.history.redo_label == "Brush"
    assert again.workspace.dirty
    assert not again.documents.recoverable()
    assert again.workspace.runs[0].task == "tmp_air.air"
    (listed,) = again.studies.studies
    assert [series.key for series in listed.series] == [volume.series.key if volume.series else ""]
    assert again.studies.sources(again.workspace.volumes[0]) == (study,)


def test_work_after_a_save_is_recovered_on_top_of_it(
    make_app: Callable[[], AppContext], pump: Any, study: Path, tmp_path: Path
) -> None:
    app = make_app()
    pump.finish(app.studies.scan([study], open_best=True))
    pump.until(lambda: app.workspace.active is not None and not app.jobs.running)
    volume = app.workspace.active
    assert volume is not None
    work(app, pump, volume)
    saved = pump.finish(app.documents.save(tmp_path / "a.mvw"))
    assert saved.error is None
    assert not app.workspace.dirty
    app.undo()
    drag(app, volume, (40, 40, 20), axis=2)
    before = labels(app, volume)
    crash(app)

    again = make_app()
    (found,) = again.documents.recoverable()
    pump.finish(again.documents.recover(found))
    for was, now in zip(before, labels(again, volume), strict=True):
        assert np.array_equal(was, now)
    assert again.documents.path == tmp_path / "a.mvw"


@pytest.mark.parametrize("more", [False, True])
def test_a_crash_between_the_file_in_its_place_and_the_word_of_it_in_the_journal(
    make_app: Callable[[], AppContext], pump: Any, study: Path, tmp_path: Path, more: bool
) -> None:
    """The saved file was opened, so the journal builds on it, and it is newer now than the journal was told."""
    path = tmp_path / "a.mvw"
    first = make_app()
    pump.finish(first.studies.scan([study], open_best=True))
    pump.until(lambda: first.workspace.active is not None and not first.jobs.running)
    pump.finish(first.documents.save(path))
    first.close()
    app = make_app()
    app.documents.open(path)
    pump.until(lambda: app.documents.path == path)
    volume = app.workspace.volumes[0]
    work(app, pump, volume)
    known = read_save_id(path)
    job = app.documents.save(path)
    if more:
        drag(app, volume, (40, 40, 20))
    while read_save_id(path) == known:
        assert not job.state.is_final or job.error is None
    before, undo = labels(app, volume), app.history.undo_label
    crash(app)

    again = make_app()
    found = again.documents.recoverable()
    assert [info.steps for info in found] == ([1] if more else []), "what is saved is not offered"
    if more:
        again.documents.recover(found[0])
    else:
        again.documents.open(path)
    pump.until(lambda: again.documents.path == path)
    assert all(np.array_equal(was, now) for was, now in zip(before, labels(again, volume), strict=True))
    assert again.history.undo_label == (undo if more else "")
    assert pump.finish(again.documents.save(path)).error is None, "it is the file it knows"


def test_saved_workspace_opens_the_same(
    make_app: Callable[[], AppContext], pump: Any, study: Path, tmp_path: Path
) -> None:
    app = make_app()
    pump.finish(app.studies.scan([study], open_best=True))
    pump.until(lambda: app.workspace.active is not None and not app.jobs.running)
    volume = app.workspace.active
    assert volume is not None
    work(app, pump, volume)
    pump.finish(app.documents.save(tmp_path / "a.mvw"))
    again = make_app()
    job = pump.finish(again.documents.open(tmp_path / "a.mvw"))
    assert job.error is None
    assert again.workspace.segmentation(volume.id).segments == app.workspace.segmentation(volume.id).segments
    for was, now in zip(labels(app, volume), labels(again, volume), strict=True):
        assert np.array_equal(was, now)
    assert again.workspace.active is not None
    assert again.workspace.active.id == volume.id
    assert not again.workspace.dirty


@pytest.mark.parametrize("change", ["stroke", "undo"])
def test_work_during_a_save_is_not_in_it(app: AppContext, pump: Any, opened: Volume, change: str) -> None:
    """The snapshot holds what was there when it was taken, though its job copies later than the next stroke."""
    app.router.activate("brush")
    drag(app, opened, (20, 20, 10), (30, 20, 10))
    snapshot = take_snapshot(app.workspace)
    case = cases_of(app.workspace)[0]
    before = labels(app, opened)[0]
    if change == "undo":
        app.undo()
    else:
        drag(app, opened, (40, 30, 20))
    assert not np.array_equal(labels(app, opened)[0], before)
    ((group,),) = [saved.groups for saved in snapshot.segmentations.values()]
    assert np.array_equal(group.labels, before)
    assert np.array_equal(case.groups[0], before)


def test_missing_images_are_named(make_app: Callable[[], AppContext], pump: Any, study: Path, tmp_path: Path) -> None:
    app = make_app()
    pump.finish(app.studies.scan([study], open_best=True))
    pump.until(lambda: app.workspace.active is not None and not app.jobs.running)
    pump.finish(app.documents.save(tmp_path / "a.mvw"))
    study.rename(tmp_path / "elsewhere")
    again = make_app()
    job = pump.finish(again.documents.open(tmp_path / "a.mvw"))
    assert getattr(job.error, "code", "") == "E_MISSING_FILES"
    assert again.workspace.volumes == ()
