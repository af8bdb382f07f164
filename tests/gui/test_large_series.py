"""What is asked about a series that is too large for the memory."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QInputDialog, QLabel
from pytestqt.qtbot import QtBot

from medviewer.ui.main_window import MainWindow

pytest.importorskip("pytestqt")


@pytest.mark.parametrize("accept", [True, False])
def test_G29_the_window_asks_for_a_part(qtbot: QtBot, window: MainWindow, accept: bool) -> None:
    seen: list[str] = []

    def answer() -> None:
        box = QApplication.activeModalWidget()
        assert isinstance(box, QInputDialog)
        assert box.findChild(QLabel).textFormat().name == "PlainText"
        seen.extend([box.labelText(), *box.comboBoxItems()])
        box.setTextValue("the middle")
        box.accept() if accept else box.reject()

    QTimer.singleShot(0, answer)
    found = window.ui.ask_part("It needs <b>9 GB</b>.", ["every 3rd", "the middle"])
    assert seen == ["It needs <b>9 GB</b>.", "every 3rd", "the middle"]
    assert found == (1 if accept else None)
