"""Segments from files in the window: the tree, the menu, the drop, the refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PySide6.QtWidgets import QTreeWidget, QTreeWidgetItem, QTreeWidgetItemIterator
from pytestqt.qtbot import QtBot

from medviewer.app.context import AppContext
from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.imaging.sitk_image import to_sitk
from medviewer.ui.main_window import MainWindow
from medviewer.ui.panels.study_browser import SERIES, StudyBrowser

WAIT_MS = 30_000


@pytest.fixture
def mask(opened: Volume, tmp_path: Path) -> Path:
    labels = np.zeros(opened.array.shape, np.uint8)
    labels[10:20, 10:20, 10:20] = 1
    path = tmp_path / "lesion_mask.nii.gz"
    sitk.WriteImage(to_sitk(labels, opened.geometry), path)
    return path


def rows(tree: QTreeWidget) -> dict[str, QTreeWidgetItem]:
    found = {}
    iterator = QTreeWidgetItemIterator(tree)
    while iterator.value():
        series = iterator.value().data(0, SERIES)
        if isinstance(series, SeriesRef):
            found[series.description] = iterator.value()
        iterator += 1
    return found


def names(app: AppContext) -> list[str]:
    segmentation = app.workspace.active_segmentation
    return [] if segmentation is None else [segment.name for segment in segmentation.segments]


def test_a_double_click_lays_a_mask_over_its_image(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, mask: Path
) -> None:
    app.studies.scan([mask])
    tree = window.findChild(QTreeWidget, "studyTree")
    qtbot.waitUntil(lambda: "lesion_mask" in rows(tree), timeout=WAIT_MS)
    row = rows(tree)["lesion_mask"]
    assert "load them onto their image" in row.toolTip(0)
    tree.itemActivated.emit(row, 0)
    qtbot.waitUntil(lambda: names(app) == ["lesion_mask"], timeout=WAIT_MS)
    assert app.history.undo_label == "Load lesion_mask.nii.gz"


def test_a_dropped_mask_lands_and_the_menu_offers_both_ways(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, mask: Path
) -> None:
    window.open_paths([mask])
    qtbot.waitUntil(lambda: names(app) == ["lesion_mask"], timeout=WAIT_MS)
    assert app.workspace.volumes == (opened,)
    browser = window.findChild(StudyBrowser)
    tree = window.findChild(QTreeWidget, "studyTree")
    qtbot.waitUntil(lambda: "lesion_mask" in rows(tree), timeout=WAIT_MS)
    menu = browser.menu_for(rows(tree)["lesion_mask"].data(0, SERIES))
    actions = {action.text(): action for action in menu.actions()}
    show, load = actions["Open as image"], actions["Load as segments of the image shown"]
    assert show.isEnabled()
    assert load.isEnabled()
    load.trigger()
    qtbot.waitUntil(lambda: names(app) == ["lesion_mask", "lesion_mask"], timeout=WAIT_MS)
    menu.deleteLater()


def test_the_menu_entry_asks_before_it_resamples(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coarse = Geometry((10, 9, 8), (5.4, 6.6, 8.5), opened.geometry.origin, opened.geometry.direction)
    path = tmp_path / "a.mha"
    sitk.WriteImage(to_sitk(np.ones(coarse.shape, np.uint8), coarse), path)
    monkeypatch.setattr(window.ui, "ask_segment_paths", lambda: [path])
    answers = iter([False, True])
    asked: list[str] = []

    def confirm(text: str) -> bool:
        asked.append(text)
        return next(answers)

    app.attach.confirm = confirm
    window.commands.run("load_segments")
    qtbot.waitUntil(lambda: any(m.details == "E_GEOMETRY" for m in app.messages.messages), timeout=WAIT_MS)
    assert names(app) == []
    window.commands.run("load_segments")
    qtbot.waitUntil(lambda: names(app) == ["a"], timeout=WAIT_MS)
    assert all("nearest label" in text for text in asked)
