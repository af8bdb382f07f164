"""The panels over the real context: what they show is what is there, what is clicked is what happens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDoubleSpinBox,
    QLabel,
    QLineEdit,
    QListWidget,
    QPushButton,
    QSlider,
    QSpinBox,
    QTableWidget,
    QToolButton,
    QTreeWidget,
    QWidget,
)
from pytestqt.qtbot import QtBot

from medviewer.app.context import AppContext
from medviewer.core.annotation import Box3D
from medviewer.core.dicom_ref import SeriesRef, SeriesWarning, Study
from medviewer.core.geometry import vec3
from medviewer.core.transform import AffineTransform
from medviewer.core.view_state import LabelLook
from medviewer.core.volume import Volume
from medviewer.core.workspace import Registration
from medviewer.editing.rules import SliceRange
from medviewer.editing.tool import PointerEvent
from medviewer.ui.main_window import MainWindow
from medviewer.ui.panels.segments import EYE, LOCK, NAME, SIZE
from tests.picture_volumes import film

LEFT = Qt.MouseButton.LeftButton


def press(qtbot: QtBot, window: QWidget, kind: type[QWidget], name: str) -> None:
    button = window.findChild(kind, name)
    assert button is not None, name
    assert button.isEnabled(), name
    qtbot.mouseClick(button, LEFT)


def click_cell(qtbot: QtBot, table: QTableWidget, row: int, column: int) -> None:
    center = table.visualItemRect(table.item(row, column)).center()
    qtbot.mouseClick(table.viewport(), LEFT, pos=center)


# ---- segments


def test_segments_are_listed_shown_locked_and_renamed(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume
) -> None:
    table = window.findChild(QTableWidget, "segmentsTable")
    press(qtbot, window, QPushButton, "addSegment")
    press(qtbot, window, QPushButton, "addSegment")
    qtbot.waitUntil(lambda: table.rowCount() == 2)
    segmentation = app.workspace.segmentation(opened.id)
    qtbot.waitUntil(lambda: table.currentRow() == 1)
    click_cell(qtbot, table, 0, NAME)
    assert segmentation.active == segmentation.segments[0].value
    click_cell(qtbot, table, 0, EYE)
    assert not segmentation.segments[0].visible
    click_cell(qtbot, table, 0, LOCK)
    assert segmentation.segments[0].locked
    assert app.history.undo_label == f"Lock {segmentation.segments[0].name}"
    qtbot.waitUntil(lambda: table.item(0, NAME) is not None)
    table.item(0, NAME).setText("<i>Liver</i>")
    assert segmentation.segments[0].name == "<i>Liver</i>"
    assert "<i>" not in table.item(0, NAME).toolTip()


def test_the_brush_moves_no_view_and_hides_no_active_segment(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume
) -> None:
    table = window.findChild(QTableWidget, "segmentsTable")
    for n in range(12):
        app.segments.add(opened.id, f"S{n}")
    qtbot.waitUntil(lambda: table.rowCount() == 12 and table.currentRow() == 11)
    qtbot.waitUntil(lambda: window.views is not None and window.views.width() > 0)
    before = window.views.width()
    app.router.activate("brush")
    limits = window.findChild(QToolButton, "toolLimits")
    qtbot.waitUntil(lambda: limits.visibleRegion().contains(limits.rect().center()))
    qtbot.mouseClick(limits, LEFT)
    qtbot.waitUntil(window.findChild(QWidget, "editRules").isVisible)
    qtbot.waitUntil(lambda: table.viewport().rect().contains(table.visualItemRect(table.item(11, NAME)).center()))
    assert window.views.width() == before


def test_a_locked_segment_is_not_deleted_but_explained(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume
) -> None:
    segment = app.segments.add(opened.id, "Keep")
    app.segments.lock(opened.id, segment.value, True)
    button = window.findChild(QPushButton, "deleteSegment")
    qtbot.waitUntil(button.isEnabled)
    qtbot.mouseClick(button, LEFT)
    assert app.workspace.segmentation(opened.id).find(segment.value) is not None
    assert "locked" in window.findChild(QLabel, "messageText").text()


def test_the_volume_of_a_segment_is_counted_when_painting_rests(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume
) -> None:
    table = window.findChild(QTableWidget, "segmentsTable")
    (job,) = app.analyze.start(opened.id, ["tmp_air.air"])
    qtbot.waitUntil(lambda: job.state.is_final, timeout=60_000)
    assert job.error is None
    segment = app.workspace.segmentation(opened.id).segments[0]
    voxels = np.count_nonzero(app.workspace.segmentation(opened.id).mask(segment.value))
    ml = voxels * opened.geometry.voxel_volume_mm3 / 1000
    qtbot.waitUntil(lambda: table.item(0, SIZE) is not None and table.item(0, SIZE).text() != "…")
    assert float(table.item(0, SIZE).text()) == pytest.approx(ml, abs=0.51)


def test_masks_of_a_film_are_counted_in_pixels_and_the_brush_is_too(
    qtbot: QtBot, app: AppContext, window: MainWindow
) -> None:
    run = film()
    app.workspace.add_volume(run)
    app.workspace.activate(run.id)
    app.router.activate("brush")
    table, radius = window.findChild(QTableWidget, "segmentsTable"), window.findChild(QDoubleSpinBox, "param.radius_mm")
    assert table.horizontalHeaderItem(SIZE).text() == "px"
    assert radius.suffix() == " px"
    event = PointerEvent("press", (20.0, 20.0, 3.0), 2)
    app.router.pointer(event)
    app.router.pointer(replace(event, phase="release"))
    (segment,) = app.workspace.segmentation(run.id).segments
    mask = app.workspace.segmentation(run.id).mask(segment.value)
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == [3], "the frame that was painted, and no other"
    qtbot.waitUntil(lambda: table.item(0, SIZE) is not None and table.item(0, SIZE).text() == str(mask.sum()))
    measured = film(in_mm=True)
    app.workspace.add_volume(measured)
    app.workspace.activate(measured.id)
    assert table.horizontalHeaderItem(SIZE).text() == "mm²"
    assert radius.suffix() == " mm"


def test_opacity_and_look_follow_the_document(qtbot: QtBot, app: AppContext, window: MainWindow) -> None:
    view = app.workspace.view
    slider, style = window.findChild(QSlider, "overlayOpacity"), window.findChild(QComboBox, "labelStyle")
    slider.setValue(80)
    assert view.overlay_opacity == pytest.approx(0.8)
    view.look = LabelLook("fill", 2)
    assert style.currentData() == "fill"
    style.setCurrentIndex(style.findData("outline"))
    style.activated.emit(style.currentIndex())
    assert view.look == LabelLook("outline", 2)
    for name, field in (("onlyActive", "only_active"), ("neighbors", "neighbors")):
        window.findChild(QAction, name).trigger()
        assert getattr(view.look, field)
    window.findChild(QAction, "outlineWidth.4").trigger()
    assert view.look == LabelLook("outline", 4, only_active=True, neighbors=True)


def test_a_key_goes_through_fill_and_outline(qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume) -> None:
    window.activateWindow()
    qtbot.waitUntil(lambda: window.commands.by_id["label_style"].isEnabled())
    seen = []
    for _ in range(3):
        qtbot.keyClick(window, Qt.Key.Key_O)
        seen.append(app.workspace.view.look.style)
    assert seen == ["outline", "fill", "both"]


def test_the_active_segment_has_an_opacity_of_its_own(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume
) -> None:
    one = app.segments.add(opened.id, "one")
    app.segments.add(opened.id, "two")
    segmentation = app.workspace.segmentation(opened.id)
    segmentation.active = one.value
    slider = window.findChild(QSlider, "segmentOpacity")
    name = window.findChild(QLabel, "segmentOpacityName")
    qtbot.waitUntil(lambda: "one" in name.text())
    steps = len(app.history.done)
    slider.setSliderDown(True)
    for percent in (90, 70, 40):
        slider.setValue(percent)
        assert segmentation.segment(one.value).opacity == pytest.approx(percent / 100)  # seen at once
    assert len(app.history.done) == steps
    slider.setSliderDown(False)
    assert len(app.history.done) == steps + 1, "a drag is one step"
    app.undo()
    assert segmentation.segment(one.value).opacity == 1.0
    qtbot.waitUntil(lambda: slider.value() == 100)
    slider.setValue(99)  # a key
    assert app.history.undo_label == "Opacity of one"


# ---- tools


def test_tool_buttons_keys_and_options(qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume) -> None:
    window.activateWindow()
    press(qtbot, window, QToolButton, "tool.brush")
    assert app.router.active_id == "brush"
    radius = window.findChild(QWidget, "toolOptions.brush").findChild(QDoubleSpinBox, "param.radius_mm")
    radius.setValue(7.5)
    assert app.router.options("brush").radius_mm == 7.5
    assert app.router.cursor.radius_mm == 7.5
    assert app.settings.brush_radius_mm == 7.5
    window.commands.by_id["eraser"].trigger()
    assert app.router.active_id == "eraser"
    assert window.findChild(QToolButton, "tool.eraser").isChecked()
    window.commands.by_id["navigate"].trigger()
    assert app.router.active_id == ""
    assert not window.findChild(QWidget, "editRules").isVisible()


def test_paint_rules_reach_the_next_stroke(qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume) -> None:
    press(qtbot, window, QToolButton, "tool.brush")
    press(qtbot, window, QToolButton, "toolLimits")
    window.findChild(QCheckBox, "intensityRule").setChecked(True)
    window.findChild(QDoubleSpinBox, "intensity.lower").setValue(-2000)
    window.findChild(QDoubleSpinBox, "intensity.upper").setValue(-1999)
    combo = window.findChild(QComboBox, "overwriteRule")
    combo.setCurrentIndex(combo.findData("none"))
    assert app.router.rules.overwrite == "none"
    assert app.router.rules.intensity == (-2000, -1999)
    for phase in ("press", "move", "release"):
        app.router.pointer(PointerEvent(phase, opened.geometry.center_lps, 2))
    groups = app.workspace.segmentation(opened.id).groups
    assert not any(group.labels.any() for group in groups), "no voxel has such a value"


# ---- findings


@pytest.fixture
def boxes(app: AppContext, opened: Volume) -> tuple[Box3D, ...]:
    made = []
    for n, place in enumerate(([10, 10, 10], [30, 25, 20], [40, 30, 30])):
        center = opened.geometry.index_to_lps(place)
        made.append(
            Box3D(lower=vec3(center - 3), upper=vec3(center + 3), label="nodule", score=0.9 - n / 10, diameter_mm=6.0)
        )
    app.workspace.set_boxes(opened.id, made)
    return tuple(made)


def test_a_click_on_a_finding_jumps_there(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, boxes: tuple[Box3D, ...]
) -> None:
    table = window.findChild(QTableWidget, "findingsTable")
    qtbot.waitUntil(lambda: table.rowCount() == 3)
    qtbot.waitUntil(table.isVisible)
    click_cell(qtbot, table, 1, 1)
    assert app.workspace.view.crosshair_lps == pytest.approx(boxes[1].center_lps)
    assert table.item(1, 4).text() == "21"


def test_enter_accepts_delete_rejects_and_goes_on(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, boxes: tuple[Box3D, ...]
) -> None:
    table = window.findChild(QTableWidget, "findingsTable")
    qtbot.waitUntil(lambda: table.isVisible() and table.rowCount() == 3)
    click_cell(qtbot, table, 0, 1)
    table.setFocus()
    qtbot.waitUntil(table.hasFocus)
    qtbot.keyClick(table, Qt.Key.Key_Return)
    qtbot.keyClick(table, Qt.Key.Key_Delete)
    reviews = [box.review for box in app.workspace.boxes(opened.id)]
    assert reviews == ["accepted", "rejected", "open"]
    assert table.currentRow() == 2
    assert app.workspace.view.crosshair_lps == pytest.approx(boxes[2].center_lps)
    window.findChild(QCheckBox, "hideRejected").setChecked(True)
    assert table.rowCount() == 2
    assert "1 to review" in window.findChild(QLabel, "findingsSummary").text()
    app.undo()
    qtbot.waitUntil(lambda: table.rowCount() == 3)


def test_a_finding_is_called_something_else(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, boxes: tuple[Box3D, ...]
) -> None:
    table = window.findChild(QTableWidget, "findingsTable")
    qtbot.waitUntil(lambda: table.rowCount() == 3)
    table.item(0, 1).setText("scar")
    assert app.workspace.boxes(opened.id)[0].label == "scar"
    assert app.history.undo_label == "Relabel nodule"


# ---- analyze


def test_analyze_shows_its_plan_and_runs_what_is_ticked(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    auto = tuple(replace(task, auto=True) for task in app.plugins.tasks)
    monkeypatch.setattr(type(app.plugins), "tasks", property(lambda self: auto))
    window.commands.run("analyze")
    dialog = window.findChild(QDialog, "analyzeDialog")
    assert dialog.isVisible()
    box = dialog.findChild(QCheckBox, "analyze.tmp_air.air")
    assert box.isChecked()
    box.setChecked(False)
    assert not dialog.findChild(QPushButton, "startAnalyze").isEnabled()
    box.setChecked(True)
    press(qtbot, dialog, QPushButton, "startAnalyze")
    qtbot.waitUntil(lambda: bool(app.workspace.segmentation(opened.id).segments), timeout=60_000)
    assert app.history.undo_label == "Air"


def test_a_single_task_runs_with_the_values_of_its_form(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume
) -> None:
    tasks = window.findChild(QListWidget, "tasksList")
    qtbot.waitUntil(lambda: tasks.count() == 1)
    tasks.setCurrentRow(0)
    qtbot.waitUntil(lambda: window.findChild(QDoubleSpinBox, "param.upper") is not None, timeout=60_000)
    window.findChild(QDoubleSpinBox, "param.upper").setValue(-600)
    press(qtbot, window, QPushButton, "runTask")
    qtbot.waitUntil(lambda: bool(app.workspace.segmentation(opened.id).segments), timeout=60_000)
    assert app.workspace.runs[-1].parameters == {"upper": -600.0}
    assert window.findChild(QDoubleSpinBox, "param.upper").value() == -600


def test_what_fits_stands_before_what_does_not(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, tmp_plugin: object
) -> None:
    assert callable(tmp_plugin)
    folder = tmp_plugin("aa_other", ('"CT"', '"MR"')).parent
    app.plugins.discover([folder])
    app.models.changed.emit()
    tasks = window.findChild(QListWidget, "tasksList")
    qtbot.waitUntil(lambda: tasks.count() == 2)
    notes = [tasks.item(n).text() for n in range(2)]
    assert "made for MR" not in notes[0]
    assert "made for MR" in notes[1]
    assert min(info.id for info in app.plugins.tasks).startswith("aa_other")


def test_a_broken_plugin_is_a_grey_row_with_its_reason(
    qtbot: QtBot, app: AppContext, window: MainWindow, tmp_plugin: object
) -> None:
    assert callable(tmp_plugin)
    folder = tmp_plugin("bad_one", ("api = 1", "api = 99")).parent
    app.plugins.discover([folder])
    for panel in window.docks.panels:
        if panel.objectName() == "tasksPanel":
            panel.fill()
    tasks = window.findChild(QListWidget, "tasksList")
    rows = [tasks.item(n) for n in range(tasks.count())]
    bad = next(row for row in rows if row.text().startswith("bad_one"))
    assert not bad.flags() & Qt.ItemFlag.ItemIsEnabled
    assert len(bad.text().splitlines()) == 2


# ---- registration, export, settings, recovery


def test_registration_needs_two_images_and_shows_its_measure(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, phantom_volume: Volume
) -> None:
    hint = window.findChild(QLabel, "registrationHint")
    assert "two series" in hint.text()
    app.workspace.add_volume(phantom_volume)
    fixed, moving = (window.findChild(QComboBox, name) for name in ("fixedVolume", "movingVolume"))
    qtbot.waitUntil(lambda: moving.count() == 2)
    assert fixed.currentData() != moving.currentData()
    done = Registration("Rigid", opened.id, phantom_volume.id, AffineTransform.identity(), {"mutual information": 0.5})
    app.workspace.set_registrations([done])
    qtbot.waitUntil(lambda: "0.5" in window.findChild(QLabel, "registrationMeasure").text())


def test_export_says_that_it_was_read_back(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, tmp_path: object
) -> None:
    app.segments.add(opened.id, "Mine")
    app.router.activate("brush")
    for phase in ("press", "release"):
        app.router.pointer(PointerEvent(phase, opened.geometry.center_lps, 2))
    window.commands.run("export")
    dialog = window.findChild(QDialog, "exportDialog")
    combo = dialog.findChild(QComboBox, "exportFormat")
    combo.setCurrentIndex(combo.findData("nifti"))
    start = dialog.findChild(QPushButton, "startExport")
    assert not start.isEnabled(), "no folder yet"
    dialog.findChild(QLineEdit, "exportFolder").setText(f"{tmp_path}/out")
    press(qtbot, dialog, QPushButton, "startExport")
    result = dialog.findChild(QLabel, "exportResult")
    qtbot.waitUntil(lambda: "reading back" in result.text(), timeout=60_000)
    assert dialog.findChild(QListWidget, "exportFiles").count() >= 1
    press(qtbot, dialog, QPushButton, "startExport")
    qtbot.waitUntil(lambda: result.property("role") == "error", timeout=60_000)
    assert not dialog.findChild(QListWidget, "exportFiles").isVisible()


def test_export_takes_the_ticked_segments_and_the_options_of_the_format(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, tmp_path: Path
) -> None:
    for name in ("other", "Other"):
        app.segments.add(opened.id, name)
        app.router.activate("brush")
        for phase in ("press", "release"):
            app.router.pointer(PointerEvent(phase, opened.geometry.center_lps, 2))
    window.commands.run("export")
    dialog = window.findChild(QDialog, "exportDialog")
    tree = dialog.findChild(QTreeWidget, "exportVolumes")
    volume = tree.topLevelItem(0)
    assert [volume.child(n).text(0) for n in range(volume.childCount())] == ["other", "Other"]
    assert volume.checkState(0) is Qt.CheckState.Checked, "all by default"
    dialog.findChild(QLineEdit, "exportFolder").setText(str(tmp_path / "out"))
    start = dialog.findChild(QPushButton, "startExport")
    volume.setCheckState(0, Qt.CheckState.Unchecked)
    assert not start.isEnabled(), "nothing is ticked"
    volume.child(1).setCheckState(0, Qt.CheckState.Checked)
    assert start.isEnabled()
    combo = dialog.findChild(QComboBox, "exportFormat")
    combo.setCurrentIndex(combo.findData("nifti"))
    dialog.findChild(QCheckBox, "param.images").setChecked(False)
    press(qtbot, dialog, QPushButton, "startExport")
    result = dialog.findChild(QLabel, "exportResult")
    qtbot.waitUntil(lambda: "reading back" in result.text(), timeout=60_000)
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.nii.gz")) == ["Other.nii.gz"]
    combo.setCurrentIndex(combo.findData("nnunet"))
    assert dialog.findChild(QSpinBox, "param.dataset_id") is not None
    volume.setCheckState(0, Qt.CheckState.Checked)
    press(qtbot, dialog, QPushButton, "startExport")
    qtbot.waitUntil(lambda: start.isEnabled() and "reading back" in result.text(), timeout=60_000)
    files = dialog.findChild(QListWidget, "exportFiles")
    assert "different labels" in files.item(0).text(), "what there is to know stands before the files"
    assert "different" not in result.text()
    assert dialog.findChild(QCheckBox, "param.images") is None


def test_settings_are_taken_only_when_accepted(qtbot: QtBot, app: AppContext, window: MainWindow) -> None:
    window.commands.run("settings")
    dialog = window.findChild(QDialog, "settingsDialog")
    dialog.findChild(QDoubleSpinBox, "settingsBrushRadius").setValue(12.5)
    assert app.settings.brush_radius_mm == 5.0
    press(qtbot, dialog, QPushButton, "settingsOk")
    assert app.settings.brush_radius_mm == 12.5


def test_the_notice_is_shown_once(qtbot: QtBot, app: AppContext, window: MainWindow) -> None:
    app.settings.notice_read = False
    window.ui.show_notice()
    box = window.findChild(QDialog, "noticeBox")
    assert "Not a medical device" in box.findChild(QLabel, "notice").text()
    press(qtbot, box, QPushButton, "noticeAccept")
    assert app.settings.notice_read
    qtbot.waitUntil(lambda: window.findChild(QDialog, "noticeBox") is None)
    window.ui.show_notice()
    assert window.findChild(QDialog, "noticeBox") is None


def test_recovery_lists_what_is_left_and_can_throw_it_away(
    qtbot: QtBot, app: AppContext, window: MainWindow, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    from pathlib import Path

    from medviewer.io.journal import JournalInfo

    left = JournalInfo(Path(f"{tmp_path}/x.journal"), "CT · Chest", "2026-01-02T03:04:05+00:00",
                       "2026-01-02T03:14:05+00:00", 7)  # fmt: skip
    gone: list[JournalInfo] = []
    monkeypatch.setattr(app.documents, "recoverable", lambda: (left,))
    monkeypatch.setattr(app.documents, "discard", gone.append)
    window.ui.show_recovery()
    dialog = window.findChild(QDialog, "recoveryDialog")
    listed = dialog.findChild(QListWidget, "recoveryList")
    assert "7 steps" in listed.item(0).text()
    press(qtbot, dialog, QPushButton, "discardWork")
    assert gone == [left]
    qtbot.waitUntil(lambda: window.findChild(QDialog, "recoveryDialog") is None)


def test_dialogs_are_closed_by_escape(qtbot: QtBot, window: MainWindow, opened: Volume) -> None:
    for command, name in (("export", "exportDialog"), ("settings", "settingsDialog"), ("about", "aboutBox")):
        window.commands.run(command)
        dialog = window.findChild(QDialog, name)
        qtbot.keyClick(dialog, Qt.Key.Key_Escape)
        qtbot.waitUntil(lambda name=name: window.findChild(QDialog, name) is None)


def test_closing_a_volume_empties_the_panels(qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume) -> None:
    volumes = window.findChild(QListWidget, "volumesList")
    qtbot.waitUntil(lambda: volumes.count() == 1)
    press(qtbot, window, QPushButton, "closeVolume")
    qtbot.waitUntil(lambda: volumes.count() == 0)
    qtbot.waitUntil(window.findChild(QWidget, "welcome").isVisible)


def test_warnings_of_an_image_stand_over_the_views_and_in_the_tip_of_its_facts(
    qtbot: QtBot, app: AppContext, window: MainWindow, phantom_volume: Volume
) -> None:
    warnings = tuple(SeriesWarning("W", f"Warning {n} that is long enough to fill a line.") for n in range(3))
    odd = replace(phantom_volume, warnings=warnings)
    app.workspace.add_volume(odd)
    app.workspace.activate(odd.id)
    facts = window.findChild(QLabel, "volumeFacts")
    qtbot.waitUntil(lambda: all(warning.text in facts.toolTip() for warning in warnings))
    assert "Warning" not in facts.text()
    assert window.findChild(QLabel, "warningTexts").text().split("\n") == [warning.text for warning in warnings]


def test_a_fault_of_an_export_is_called_one(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("")

    monkeypatch.setattr("medviewer.export.exporter.run_export", broken)
    app.segments.add(opened.id, "Mine")
    window.commands.run("export")
    dialog = window.findChild(QDialog, "exportDialog")
    dialog.findChild(QLineEdit, "exportFolder").setText(str(tmp_path / "out"))
    press(qtbot, dialog, QPushButton, "startExport")
    qtbot.waitUntil(lambda: "fault in the program" in dialog.findChild(QLabel, "exportResult").text())


def test_photographs_are_listed_in_the_order_of_their_names(
    qtbot: QtBot, app: AppContext, window: MainWindow, tmp_path: Path
) -> None:
    names = ("c", "a", "b")
    series = tuple(
        SeriesRef(key=f"1.{n}", series_instance_uid=f"1.{n}", description=name, stacking="number", size=(4, 4, 1))
        for n, name in enumerate(names)
    )
    app.studies.add(Study(study_instance_uid="1", series=series), (tmp_path,))
    tree = window.findChild(QTreeWidget, "studyTree")
    qtbot.waitUntil(lambda: tree.topLevelItemCount() == 1)
    study = tree.topLevelItem(0).child(0)
    assert [study.child(row).text(0) for row in range(3)] == ["a", "b", "c"]


def test_limits_say_where_tools_may_edit(qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume) -> None:
    first, second = app.segments.add(opened.id, "one"), app.segments.add(opened.id, "two")
    press(qtbot, window, QToolButton, "tool.brush")
    window.findChild(QToolButton, "toolLimits").click()

    def choose(name: str, data: object) -> None:
        combo = window.findChild(QComboBox, name)
        combo.setCurrentIndex(combo.findData(data))

    which = window.findChild(QComboBox, "areaSegment")
    assert not which.isVisible()
    choose("areaRule", "inside one")
    assert which.isVisible()
    choose("areaSegment", second.value)
    assert (app.router.rules.area, app.router.rules.area_segment) == ("inside one", second.value)
    app.segments.remove(opened.id, first.value)
    assert app.router.rules.area_segment == second.value, "what was chosen stays chosen"
    window.findChild(QCheckBox, "sliceRule").setChecked(True)
    depth = opened.geometry.size[2]
    assert app.router.rules.slices == SliceRange(2, 0, depth - 1)
    window.findChild(QSpinBox, "slices.last").setValue(4)
    choose("slicePlane", 0)
    assert app.router.rules.slices == SliceRange(0, 0, 3)
    window.findChild(QCheckBox, "intensityRule").setChecked(True)
    window.findChild(QCheckBox, "intensityInverted").setChecked(True)
    assert app.router.rules.inverted
    window.findChild(QDoubleSpinBox, "leakRule").setValue(0)
    assert app.router.rules.ask_above == 0
