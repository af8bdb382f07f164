"""Reports, presentation states and documents in the window."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog, QLabel, QPushButton, QTreeWidget, QTreeWidgetItemIterator
from pytestqt.qtbot import QtBot

from medviewer.app.context import AppContext
from medviewer.core.volume import Volume
from medviewer.io.dicom_header import read_header
from medviewer.io.dicom_tags import Tag
from medviewer.ui.dialogs import questions
from medviewer.ui.dialogs.report_dialog import ReportDialog
from medviewer.ui.main_window import MainWindow
from medviewer.ui.panels.study_browser import SERIES, StudyBrowser
from tests import object_makers as makers

WAIT_MS = 30_000


def activate(qtbot: QtBot, app: AppContext, window: MainWindow, path: Path) -> None:
    """Scan a file and double click its row."""
    app.studies.scan([path])
    tree = window.findChild(QTreeWidget, "studyTree")

    def row():
        iterator = QTreeWidgetItemIterator(tree)
        while iterator.value():
            series = iterator.value().data(0, SERIES)
            if series is not None and series.files == (path,):
                return iterator.value()
            iterator += 1
        return None

    qtbot.waitUntil(lambda: row() is not None and not app.jobs.running, timeout=WAIT_MS)
    assert "Double click" in row().toolTip(0)
    tree.itemActivated.emit(row(), 0)


def uid_of(opened: Volume, k: int) -> str:
    return read_header(opened.series.files[k]).text(Tag.SOP_INSTANCE_UID)


def test_s14_a_report_shows_markup_as_text_and_places_its_marks(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, tmp_path: Path
) -> None:
    series = opened.series
    path = makers.measurement_report(
        tmp_path / "sr.dcm", series.series_instance_uid, uid_of(opened, 3), series.frame_of_reference_uid,
        opened.geometry.center_lps, patient_id=opened.patient_id,
    )  # fmt: skip
    activate(qtbot, app, window, path)
    qtbot.waitUntil(lambda: window.findChild(ReportDialog) is not None, timeout=WAIT_MS)
    dialog = window.findChild(ReportDialog)
    assert all(words.textFormat().name == "PlainText" for words in dialog.findChildren(QLabel) if words.objectName())
    tree = dialog.findChild(QTreeWidget, "reportTree")
    group = tree.topLevelItem(0).child(0)
    assert [group.child(n).text(1) for n in range(3)] == ["Nodule 1", "<b>Nodule</b>", "8.5 mm"]
    dialog.findChild(QPushButton, "reportMarks").click()
    qtbot.waitUntil(lambda: len(app.workspace.boxes(opened.id)) == 2, timeout=WAIT_MS)
    # The line with the source image goes there.
    tree.itemActivated.emit(group.child(3).child(0), 0)
    grid = opened.geometry
    qtbot.waitUntil(lambda: round(float(grid.lps_to_index(app.workspace.view.crosshair_lps)[2])) == 3, timeout=WAIT_MS)
    dialog.close()


def test_a_double_click_applies_a_presentation_state(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, tmp_path: Path
) -> None:
    path = makers.presentation(
        tmp_path / "pr.dcm", opened.series.series_instance_uid, uid_of(opened, 3), patient_id=opened.patient_id,
        GraphicAnnotationSequence=[],
    )  # fmt: skip
    activate(qtbot, app, window, path)
    qtbot.waitUntil(lambda: app.workspace.active.shutter is not None and not app.jobs.running, timeout=WAIT_MS)
    assert app.workspace.view.window.width == 155.0
    # No words, no marks: nothing to read.
    assert window.findChild(ReportDialog) is None
    window.commands.run("window_file")
    assert app.workspace.active.shutter is None
    assert app.workspace.view.window.width != 155.0


def test_a_pdf_is_saved_and_given_to_the_viewer_and_what_only_says_so_is_not(
    qtbot: QtBot, app: AppContext, window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, bool]] = []
    opened: list[QUrl] = []
    proposed: list[str] = []
    out = tmp_path / "out"
    out.mkdir()

    def ask(parent: object, text: str, *, viewable: bool) -> questions.DocumentAnswer:
        asked.append((text, viewable))
        return questions.DocumentAnswer.SAVE_AND_OPEN if viewable else questions.DocumentAnswer.SAVE

    def save_name(parent: object, title: str, path: str, kinds: str) -> tuple[str, str]:
        proposed.append(Path(path).name)
        return str(out / f"letter {len(asked)}"), kinds

    monkeypatch.setattr("medviewer.ui.window_ui.ask_about_document", ask)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", save_name)
    monkeypatch.setattr(QDesktopServices, "openUrl", opened.append)
    activate(qtbot, app, window, makers.document(tmp_path / "a.dcm"))
    qtbot.waitUntil(lambda: (out / "letter 1.pdf").exists(), timeout=WAIT_MS)
    assert (out / "letter 1.pdf").read_bytes() == b"%PDF-1.4 nothing"
    activate(qtbot, app, window, makers.document(tmp_path / "b.dcm", b"MZ a program"))
    qtbot.waitUntil(lambda: (out / "letter 2.pdf").exists(), timeout=WAIT_MS)
    assert [viewable for _, viewable in asked] == [True, False]
    assert [url.toLocalFile() for url in opened] == [str(out / "letter 1.pdf")]
    # A title is no path.
    assert all("/" not in name and ".." not in name.removesuffix(".pdf") for name in proposed)


def test_the_menu_opens_a_report_and_offers_no_segments(
    app: AppContext, window: MainWindow, opened: Volume, tmp_path: Path, qtbot: QtBot
) -> None:
    path = makers.key_images(tmp_path / "ko.dcm", "9.9", ["1.2"])
    app.studies.scan([path])
    qtbot.waitUntil(lambda: any(s.files == (path,) for y in app.studies.studies for s in y.series), timeout=WAIT_MS)
    series = next(s for y in app.studies.studies for s in y.series if s.files == (path,))
    menu = window.findChild(StudyBrowser).menu_for(series)
    enabled = {action.text(): action.isEnabled() for action in menu.actions()}
    assert enabled["Open"]
    assert not enabled["Load as segments of the image shown"]
    menu.deleteLater()
