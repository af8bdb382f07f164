"""A dose in the tree of studies: a double click lays it over its CT, the menu over the image shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QTreeWidget
from pytestqt.qtbot import QtBot

from medviewer.app.context import AppContext
from medviewer.ui.main_window import MainWindow
from medviewer.ui.panels.study_browser import SERIES, StudyBrowser
from tests.dicom_makers import pixels, write_dose, write_slice
from tests.gui.test_attach import rows

WAIT_MS = 30_000


@pytest.fixture
def study(tmp_path: Path) -> Path:
    for n in range(4):
        write_slice(tmp_path / f"{n}.dcm", pixels(n), (0.0, 0.0, 2.0 * n), SeriesDescription="CT", InstanceNumber=n)
    write_dose(tmp_path / "dose.dcm")
    return tmp_path


def test_a_dose_is_shown_over_its_image(qtbot: QtBot, app: AppContext, window: MainWindow, study: Path) -> None:
    window.open_paths([study])
    qtbot.waitUntil(lambda: app.workspace.active is not None and not app.loading, timeout=WAIT_MS)
    tree = window.findChild(QTreeWidget, "studyTree")
    qtbot.waitUntil(lambda: "Dose" in rows(tree), timeout=WAIT_MS)
    row = rows(tree)["Dose"]
    assert "over its image" in row.toolTip(0)
    tree.itemActivated.emit(row, 0)
    qtbot.waitUntil(lambda: app.workspace.overlay is not None, timeout=WAIT_MS)
    assert app.workspace.active is not None
    assert app.workspace.active.modality == "CT"
    app.workspace.overlay = None
    menu = window.findChild(StudyBrowser).menu_for(rows(tree)["Dose"].data(0, SERIES))
    actions = {action.text(): action for action in menu.actions()}
    assert actions["Open as image"].isEnabled()
    assert not actions["Load as segments of the image shown"].isEnabled()
    actions["Show over the image shown"].trigger()
    qtbot.waitUntil(lambda: app.workspace.overlay is not None, timeout=WAIT_MS)
    menu.deleteLater()
