"""Pictures that do not say how large they are become a volume when the user enters it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QDialog, QDoubleSpinBox
from pytestqt.qtbot import QtBot

from medviewer.app.context import AppContext
from medviewer.ui.main_window import MainWindow
from medviewer.ui.panels.study_browser import StudyBrowser
from tests.dicom_makers import SHAPE
from tests.unit.io.test_dicom_pictures import write

WAIT_MS = 30_000


def answer(accept: bool) -> None:
    """Answer the box for the spacing when it is there."""
    box = QApplication.activeModalWidget()
    if not isinstance(box, QDialog):
        QTimer.singleShot(20, lambda: answer(accept))
        return
    for field, mm in zip(box.findChildren(QDoubleSpinBox), (0.5, 0.7, 3.0), strict=True):
        field.setValue(mm)
    (box.accept if accept else box.reject)()


@pytest.mark.parametrize("accept", [True, False])
def test_G02_a_volume_only_after_the_user_has_said_so(
    qtbot: QtBot, app: AppContext, window: MainWindow, tmp_path: Path, accept: bool
) -> None:
    for n in range(4):
        write(tmp_path / f"{n}.dcm", np.full(SHAPE, n, np.int16), InstanceNumber=n + 1)
    window.open_paths([tmp_path])
    qtbot.waitUntil(lambda: app.workspace.active is not None and not app.loading, timeout=WAIT_MS)
    pictures = app.workspace.active
    assert pictures is not None
    assert pictures.series is not None
    assert not pictures.has_depth
    menu = window.findChild(StudyBrowser).menu_for(pictures.series)
    (action,) = (a for a in menu.actions() if a.text().startswith("Open as a volume"))
    QTimer.singleShot(0, lambda: answer(accept))
    action.trigger()
    menu.deleteLater()
    if not accept:
        assert app.workspace.volumes == (pictures,)
        return
    qtbot.waitUntil(lambda: app.workspace.active is not pictures and not app.loading, timeout=WAIT_MS)
    volume = app.workspace.active
    assert volume is not None
    assert volume.geometry.spacing == (0.5, 0.7, 3.0)
    assert volume.has_depth
    assert "W_ENTERED_SPACING" in {warning.code for warning in volume.warnings}
    # It is a series of its own in the tree, beside the pictures.
    assert {s.entered_spacing for study in app.studies.studies for s in study.series} == {None, (0.5, 0.7, 3.0)}
