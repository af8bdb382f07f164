"""What models say, in the window: probabilities, doubts, maps over the image, findings of several detectors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtWidgets import QComboBox, QLabel, QProgressBar, QPushButton, QSlider, QTableWidget
from pytestqt.qtbot import QtBot

from medviewer.api.plugin import BoxResult, TaskInfo
from medviewer.app.apply_results import ResultApplier
from medviewer.app.context import AppContext
from medviewer.core.annotation import Box3D
from medviewer.core.provenance import Provenance
from medviewer.core.shown_text import percent
from medviewer.core.volume import Volume
from medviewer.ui.main_window import MainWindow
from medviewer.ui.views.warning_strip import doubts
from tests.unit.app.test_assessments import DOUBT, MODEL, RUN, results_on

MADE = replace(RUN, model="chest_xray", model_version="1.3.0")


@pytest.fixture
def said(app: AppContext, opened: Volume) -> Volume:
    ResultApplier(app.workspace, app.history).apply(opened.id, MODEL, results_on(opened), MADE)
    return opened


def test_probabilities_are_bars_most_probable_first(qtbot: QtBot, window: MainWindow, said: Volume) -> None:
    bar = waited(qtbot, window, QProgressBar, "probability.chest_xray.0")
    assert bar.text() == "88 %"
    assert "Pneumonia" in bar.toolTip()
    assert window.findChild(QProgressBar, "probability.chest_xray.1").text() == "12 %"
    assert window.findChild(QLabel, "doubt.chest_xray.Q_UNLIKE").text() == DOUBT.text
    title = window.findChild(QLabel, "assessment.chest_xray")
    assert "chest_xray 1.3.0" in title.toolTip()
    assert RUN.weights_sha256[:16] in title.toolTip()


@pytest.mark.parametrize(("value", "text"), [(0.001, "< 1 %"), (0.0, "0 %"), (0.875, "88 %"), (0.9999, "> 99 %")])
def test_what_is_not_certain_is_not_called_so(value: float, text: str) -> None:
    assert percent(value) == text


def test_a_map_is_laid_over_the_image_and_hidden(
    qtbot: QtBot, app: AppContext, window: MainWindow, said: Volume
) -> None:
    button = waited(qtbot, window, QPushButton, "map.Heat map")
    other = waited(qtbot, window, QPushButton, "map.Uncertainty")
    slider = window.findChild(QSlider, "mapOpacity")
    assert not slider.isVisible()
    assert window.views is not None
    scene = window.views.slices["axial"].canvas.scene
    app.workspace.view.crosshair_lps = tuple(float(x) for x in said.geometry.index_to_lps([4, 4, 2]))  # type: ignore[assignment]
    before = np.array(scene.render())
    button.click()
    assert app.workspace.overlay is not None
    assert app.workspace.overlay.volume.name == "Heat map"
    assert not np.array_equal(before, scene.render())
    assert "0.4 to 1" in scene.fusion_text
    slider.setValue(80)
    assert app.workspace.overlay.opacity == 0.8
    other.click()
    assert app.workspace.overlay.volume.name == "Uncertainty"
    assert (button.isChecked(), other.isChecked()) == (False, True)
    other.click()
    assert app.workspace.overlay is None
    np.testing.assert_array_equal(before, scene.render())


def test_doubts_stand_over_the_views_until_somebody_edits(
    qtbot: QtBot, app: AppContext, window: MainWindow, said: Volume
) -> None:
    words = waited(qtbot, window, QLabel, "warningTexts")
    assert words.text().splitlines() == [f"Chest X-ray: {DOUBT.text}", "Device: Touches the edge of the image."]
    segmentation = app.workspace.segmentation(said.id)
    table = window.findChild(QTableWidget, "segmentsTable")
    tip = table.item(1, 1).toolTip()
    assert "⚠ Touches the edge" in tip
    assert "chest_xray 1.3.0" in tip
    assert not table.item(1, 1).icon().isNull()
    assert table.item(0, 1).icon().isNull()
    segmentation.put_segment(replace(segmentation.segment(2), edited=True))
    qtbot.waitUntil(lambda: "Device" not in words.text())
    app.undo()
    qtbot.waitUntil(lambda: not words.isVisible())


def test_one_doubt_about_many_segments_is_one_line(app: AppContext, opened: Volume) -> None:
    applier = ResultApplier(app.workspace, app.history)
    segmentation = app.workspace.segmentation(opened.id)
    applier.apply(opened.id, MODEL, results_on(opened)[1:2], MADE)
    for value in range(3, 8):
        segmentation.put_segment(replace(segmentation.segment(2), value=value, name=f"S{value}"))
    assert doubts(app.workspace, opened.id) == ["Device; S3; S4 and 3 more: Touches the edge of the image."]


def test_findings_of_two_detectors_are_filtered_by_task_and_score(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume
) -> None:
    x, y, z = opened.geometry.index_to_lps([30, 26, 20])
    for task_id, scores in (("nodules", (0.9, 0.3)), ("lesions", (0.6,))):
        task = TaskInfo(id=task_id, title=task_id, kind="detection", entry="m:C", inputs={"image": "volume"})
        boxes = tuple(
            Box3D(lower=(x - 3, y - 3, z - 3), upper=(x + 3, y + 3, z + 3), label=f"{task_id} {s}", score=s)
            for s in scores
        )
        ResultApplier(app.workspace, app.history).apply(
            opened.id, task, [BoxResult("b", boxes)], Provenance(task=task_id)
        )
    table = window.findChild(QTableWidget, "findingsTable")
    qtbot.waitUntil(lambda: table.rowCount() == 3)
    assert names(table) == ["nodules 0.9", "lesions 0.6", "nodules 0.3"]
    assert window.views is not None
    canvas = window.views.slices["axial"].canvas
    app.workspace.view.crosshair_lps = (float(x), float(y), float(z))
    slider = window.findChild(QSlider, "findingScore")
    slider.setValue(50)
    qtbot.waitUntil(lambda: names(table) == ["nodules 0.9", "lesions 0.6"])
    assert canvas.scene.workspace.view.least_score == 0.5
    combo = window.findChild(QComboBox, "findingTask")
    combo.setCurrentIndex(combo.findData("lesions"))
    qtbot.waitUntil(lambda: names(table) == ["lesions 0.6"])
    assert "3 findings" in window.findChild(QLabel, "findingsSummary").text()
    assert "1 shown" in window.findChild(QLabel, "findingsSummary").text()
    app.undo()
    qtbot.waitUntil(lambda: names(table) == ["nodules 0.9"])
    assert app.workspace.view.shown_task == "", "a task that found nothing any more hides nothing"


def names(table: QTableWidget) -> list[str]:
    return [table.item(row, 1).text() for row in range(table.rowCount())]


def waited(qtbot: QtBot, window: MainWindow, kind: type, name: str) -> object:
    qtbot.waitUntil(lambda: window.findChild(kind, name) is not None)
    return window.findChild(kind, name)
