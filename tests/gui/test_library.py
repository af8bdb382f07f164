"""The library as the user sees it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox, QFileDialog, QLabel, QPushButton
from pytestqt.qtbot import QtBot

from medviewer.app.context import AppContext
from medviewer.app.paths import library_file
from medviewer.core.dicom_ref import SeriesRef, Study
from medviewer.core.shown_text import shown
from medviewer.core.volume import Volume
from medviewer.io.catalogue import Catalogue
from medviewer.phantoms import spheres_volume, write_series
from medviewer.ui.dialogs import library as library_module
from medviewer.ui.dialogs import settings_dialog
from medviewer.ui.dialogs.library import LibraryDialog
from medviewer.ui.dialogs.library_filters import date_bound
from medviewer.ui.main_window import MainWindow

WAIT_MS = 30_000
Show = Callable[[], LibraryDialog]


def fill(count: int = 450) -> None:
    catalogue = Catalogue(library_file())
    for n in range(count):
        series = SeriesRef(
            key=f"1.2.{n}.1",
            series_instance_uid=f"1.2.{n}.1",
            modality="MR" if n % 10 == 0 else "CT",
            files=(Path(f"/nowhere/{n}/1.dcm"),),
        )
        name = f"Müller{n:03d}^<b>Ann</b>" if n % 2 else f"Smith{n:03d}^Bob"
        catalogue.record(
            Study(
                study_instance_uid=f"1.2.{n}",
                patient_id=f"P{n:03d}",
                patient_name=name,
                study_date=f"2024{n % 12 + 1:02d}01",
                series=(series,),
            )
        )
    catalogue.close()


@pytest.fixture
def show(qtbot: QtBot, app: AppContext, window: MainWindow) -> Show:
    def shown() -> LibraryDialog:
        window.commands.run("library")
        dialog = window.findChild(LibraryDialog)
        assert dialog is not None
        idle(qtbot, app)
        return dialog

    return shown


def idle(qtbot: QtBot, app: AppContext) -> None:
    qtbot.waitUntil(lambda: not app.jobs.running, timeout=WAIT_MS)


def count(dialog: LibraryDialog) -> str:
    return dialog.findChild(QLabel, "libraryCount").text()


def test_the_start_does_not_wait_for_it() -> None:
    code = "import sys, medviewer.ui.run, medviewer.app.bootstrap; print('sqlite3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_nothing_is_read_before_it_is_shown(app: AppContext, window: MainWindow) -> None:
    assert not library_file().exists()


def test_an_empty_library_says_what_it_is_for(qtbot: QtBot, show: Show) -> None:
    dialog = show()
    qtbot.waitUntil(lambda: dialog.findChild(QLabel, "libraryEmpty").isVisible(), timeout=WAIT_MS)
    assert not dialog.open_button.isEnabled()


def test_searching_as_one_types(qtbot: QtBot, app: AppContext, show: Show) -> None:
    fill()
    dialog = show()
    qtbot.waitUntil(lambda: count(dialog) == "450 studies", timeout=WAIT_MS)
    qtbot.keyClicks(dialog.filters.text, "mull")
    qtbot.waitUntil(lambda: count(dialog) == "225 studies", timeout=WAIT_MS)
    qtbot.keyClicks(dialog.filters.text, "er001")
    qtbot.waitUntil(lambda: count(dialog) == "1 study", timeout=WAIT_MS)
    assert dialog.table.currentIndex().row() == 0
    assert dialog.model.index(0, 0).data() == "Müller001, <b>Ann</b>"
    assert "<b>" not in dialog.model.index(0, 0).data(Qt.ItemDataRole.ToolTipRole)
    dialog.filters.text.clear()
    dialog.filters.modality.setCurrentIndex(dialog.filters.modality.findData("MR"))
    qtbot.waitUntil(lambda: count(dialog) == "45 studies", timeout=WAIT_MS)
    dialog.filters.modality.setCurrentIndex(0)
    dialog.filters.first.setText("2024-12")
    qtbot.waitUntil(lambda: count(dialog) == "37 studies", timeout=WAIT_MS)


def test_pages_come_as_one_scrolls(qtbot: QtBot, app: AppContext, show: Show) -> None:
    fill()
    dialog = show()
    qtbot.waitUntil(lambda: len(dialog.model.rows) == 200, timeout=WAIT_MS)
    for wanted in (400, 450):

        def scrolled(count: int = wanted) -> bool:
            # Again and again: what was there before the table was laid out was not the bottom.
            dialog.table.scrollToBottom()
            return len(dialog.model.rows) >= count

        qtbot.waitUntil(scrolled, timeout=WAIT_MS)
    assert len({row.id for row in dialog.model.rows}) == 450
    dialog._sort(0)
    qtbot.waitUntil(lambda: dialog.model.rows[0].patient_name == "Müller001^<b>Ann</b>", timeout=WAIT_MS)
    dialog._sort(0)
    qtbot.waitUntil(lambda: dialog.model.rows[0].patient_name == "Smith448^Bob", timeout=WAIT_MS)


def test_missing_studies_are_greyed(qtbot: QtBot, app: AppContext, show: Show) -> None:
    fill(3)
    dialog = show()
    qtbot.waitUntil(lambda: bool(dialog.model.rows) and all(row.missing for row in dialog.model.rows), timeout=WAIT_MS)
    assert dialog.model.index(0, 6).data() == "Moved or offline"
    assert dialog.model.index(0, 0).data(Qt.ItemDataRole.ForegroundRole) is not None
    dialog.open_button.click()
    qtbot.waitUntil(lambda: "Find…" in dialog.said.text(), timeout=WAIT_MS)
    assert dialog.isVisible()


def test_enter_opens_what_is_found(
    qtbot: QtBot, app: AppContext, window: MainWindow, show: Show, opened: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.documents.close_volume(opened.id)
    dialog = show()
    qtbot.waitUntil(lambda: dialog.pictures.count() == 1, timeout=WAIT_MS)
    (row,) = dialog.model.rows
    assert row.status == "opened"
    (series,) = dialog.pictures.rows
    assert series.thumbnail
    with qtbot.waitSignal(dialog.finished, timeout=WAIT_MS):
        qtbot.keyClick(dialog.filters.text, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: app.workspace.active is not None, timeout=WAIT_MS)
    idle(qtbot, app)


def test_a_series_opens_from_its_picture(qtbot: QtBot, app: AppContext, show: Show, opened: Volume) -> None:
    app.documents.close_volume(opened.id)
    dialog = show()
    qtbot.waitUntil(lambda: dialog.pictures.count() == 1, timeout=WAIT_MS)
    dialog.pictures.itemActivated.emit(dialog.pictures.item(0))
    qtbot.waitUntil(lambda: app.workspace.active is not None, timeout=WAIT_MS)
    idle(qtbot, app)


def test_find_import_and_forget(
    qtbot: QtBot, app: AppContext, window: MainWindow, show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "old"
    write_series(spheres_volume(), folder)
    window.open_paths([folder])
    idle(qtbot, app)
    folder.rename(tmp_path / "new")
    dialog = show()
    qtbot.waitUntil(lambda: bool(dialog.model.rows) and dialog.model.rows[0].missing, timeout=WAIT_MS)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "new"))
    dialog.find_button.click()
    qtbot.waitUntil(lambda: not dialog.model.rows[0].missing, timeout=WAIT_MS)
    dialog.import_button.menu().actions()[0].trigger()
    qtbot.waitUntil(
        lambda: any(app.library.is_copy([row]) for row in dialog.pictures.rows) or "Imported" in dialog.said.text(),
        timeout=WAIT_MS,
    )
    idle(qtbot, app)
    asked: list[str] = []
    monkeypatch.setattr(library_module, "ask_yes_no", lambda _, text: asked.append(text) is None)
    dialog.forget_button.click()
    qtbot.waitUntil(lambda: not dialog.model.rows, timeout=WAIT_MS)
    assert len(asked) == 1
    assert (tmp_path / "new").exists()


def test_it_is_switched_off_and_cleared_in_the_settings(
    qtbot: QtBot, app: AppContext, window: MainWindow, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(3)
    monkeypatch.setattr(settings_dialog, "ask_yes_no", lambda *_: True)
    window.commands.run("settings")
    settings = window.findChild(settings_dialog.SettingsDialog)
    settings.findChild(QCheckBox, "settingsKeepLibrary").setChecked(False)
    settings.findChild(QPushButton, "settingsClearLibrary").click()
    settings.findChild(QPushButton, "settingsOk").click()
    assert not app.library.enabled
    dialog = show()
    qtbot.waitUntil(lambda: count(dialog) == "0 studies", timeout=WAIT_MS)
    assert dialog.findChild(QLabel, "libraryOff").isVisible()
    dialog.findChild(QPushButton, "librarySwitchOn").click()
    assert app.library.enabled
    qtbot.waitUntil(lambda: not dialog.findChild(QLabel, "libraryOff").isVisible(), timeout=WAIT_MS)


def test_closing_the_window_closes_it(qtbot: QtBot, app: AppContext, window: MainWindow, show: Show) -> None:
    dialog = show()
    with qtbot.waitSignal(dialog.finished, timeout=WAIT_MS):
        window.close()


def test_its_inputs_have_names(show: Show) -> None:
    dialog = show()
    for button in dialog.findChildren(QPushButton):
        assert button.objectName(), button.text()


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2024", "20240101", "20241231"),
        ("2024-05", "20240501", "20240531"),
        (" 20240502 ", "20240502", "20240502"),
        ("2024.05.02", "20240502", "20240502"),
        ("24", "", ""),
        ("soon", "", ""),
    ],
)
def test_dates_may_be_years_months_and_days(text: str, first: str, last: str) -> None:
    assert (date_bound(text, last=False), date_bound(text, last=True)) == (first, last)


def test_text_of_files_stays_on_its_line() -> None:
    assert shown("a\nb\tc\u202e d") == "a b c\\u202e d"
