"""The window as a whole: start, open, layout, closing."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, Qt, QTimer, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QLabel, QMessageBox, QPushButton, QToolButton, QTreeWidget, QWidget
from pytestqt.qtbot import QtBot

from medviewer.app.actions import ACTIONS
from medviewer.app.context import AppContext
from medviewer.core.dicom_ref import SeriesWarning
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobContext
from medviewer.ui.main_window import MainWindow
from tests.dicom_makers import pixels, write_slice
from tests.picture_volumes import film, photo

HEAVY = ("torch", "scipy", "SimpleITK", "highdicom", "pydicom", "pyqtgraph", "skimage", "nibabel", "vtkmodules")


def test_start_imports_nothing_heavy() -> None:
    code = f"import sys, medviewer.ui.run, medviewer.app.bootstrap; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_command_is_in_the_window(window: MainWindow) -> None:
    shortcuts: dict[str, str] = {}
    for action in ACTIONS:
        made = window.commands.by_id[action.id]
        assert made.objectName() == f"action.{action.id}"
        for key in made.shortcuts():
            assert key.toString() not in shortcuts, f"{key.toString()} is {shortcuts.get(key.toString())}, too"
            shortcuts[key.toString()] = action.id
    assert shortcuts["Ctrl+Shift+Z"] == "redo"
    assert shortcuts["Ctrl+Return"] == "analyze"


def test_buttons_and_inputs_have_object_names(window: MainWindow, opened: Volume) -> None:
    for dock in window.docks.by_id.values():
        for button in dock.findChildren(QPushButton):
            assert button.objectName(), button.text()
    for button in window.toolbar.findChildren(QToolButton):
        assert button.objectName() or button.parent() is window.toolbar


def test_the_empty_window_says_what_to_do(window: MainWindow) -> None:
    title = window.findChild(QLabel, "welcomeTitle")
    assert title.isVisible()
    assert "Drop" in title.text()
    assert window.findChild(QToolButton, "toolbar.open_folder").property("next")
    assert not window.commands.by_id["analyze"].isEnabled()


def drop(window: MainWindow, *paths: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    action, buttons, keys = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(50, 50), action, data, buttons, keys)
    QApplication.sendEvent(window, enter)
    assert enter.isAccepted()
    QApplication.sendEvent(window, QDropEvent(QPoint(50, 50), action, data, buttons, keys))


@pytest.mark.filterwarnings("ignore:Function. .QDragEnterEvent:DeprecationWarning")
def test_a_dropped_folder_is_opened(qtbot: QtBot, app: AppContext, window: MainWindow, phantom_folder: Path) -> None:
    drop(window, phantom_folder)
    qtbot.waitUntil(lambda: app.workspace.active is not None, timeout=30_000)
    tree = window.findChild(QTreeWidget, "studyTree")
    qtbot.waitUntil(lambda: tree.topLevelItemCount() == 1)
    qtbot.waitUntil(lambda: window.findChild(QWidget, "fourViews").isVisible())
    qtbot.waitUntil(lambda: not window.findChild(QToolButton, "toolbar.open_folder").property("next"))
    qtbot.waitUntil(window.commands.by_id["analyze"].isEnabled)


def test_enter_in_the_tree_opens_a_series(qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume) -> None:
    app.documents.close_volume(opened.id)
    assert app.workspace.active is None
    tree = window.findChild(QTreeWidget, "studyTree")
    qtbot.waitUntil(lambda: tree.topLevelItemCount() == 1)
    tree.setCurrentItem(tree.topLevelItem(0).child(0).child(0))
    qtbot.keyClick(tree, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: app.workspace.active is not None, timeout=30_000)


def test_a_window_preset_key_works(qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume) -> None:
    window.commands.by_id["window_lung"].trigger()
    assert (app.workspace.view.window.center, app.workspace.view.window.width) == (-600, 1500)


def test_the_status_bar_says_what_lies_under_the_pointer(window: MainWindow) -> None:
    from medviewer.ui.views.cursor_info import CursorInfo

    window.status.show_point(CursorInfo("axial", (-10.0, 2.5, 30.0), (3, 2, 1), -812.0, "HU", ("Left lung",)))
    shown = {name: window.findChild(QLabel, name).text() for name in
             ("statusPosition", "statusVoxel", "statusValue", "statusSegment")}  # fmt: skip
    assert shown == {
        "statusPosition": "R 10.0  P 2.5  H 30.0 mm", "statusVoxel": "i 1  j 2  k 3",
        "statusValue": "-812 HU", "statusSegment": "Left lung",
    }  # fmt: skip
    window.status.show_point(None)
    assert window.findChild(QLabel, "statusValue").text() == ""


def test_the_status_bar_knows_no_place_in_the_patient_for_a_film(app: AppContext, window: MainWindow) -> None:
    from medviewer.ui.views.cursor_info import CursorInfo

    shown = {}
    for volume in (film(), photo()):
        app.workspace.add_volume(volume)
        app.workspace.activate(volume.id)
        window.status.show_point(CursorInfo("axial", (7.0, 5.0, 3.0), (3, 5, 7), 90.0, "", (), (200, 120, 30)))
        texts = [window.findChild(QLabel, f"status{name}").text() for name in ("Position", "Voxel", "Value")]
        shown[volume.name] = texts
    assert shown == {
        "Run 1": ["", "x 7  y 5 px  frame 4", "R 200 G 120 B 30"],
        "Skin": ["", "x 7  y 5 px", "R 200 G 120 B 30"],
    }


def test_errors_stay_and_information_does_not_hide_them(qtbot: QtBot, app: AppContext, window: MainWindow) -> None:
    bar = window.centre.message_bar
    app.messages.add("error", "It <b>failed</b>.", "Do this.")
    assert bar.isVisible()
    app.messages.add("info", "Never mind.")
    app.messages.add("error", "Shown over the views.", elsewhere=True)
    text = window.findChild(QLabel, "messageText")
    assert text.text() == "It <b>failed</b>."
    assert text.textFormat() is Qt.TextFormat.PlainText
    qtbot.mouseClick(window.findChild(QToolButton, "closeMessage"), Qt.MouseButton.LeftButton)
    assert not bar.isVisible()
    assert [m.text for m in app.messages.messages[-2:]] == ["Never mind.", "Shown over the views."]
    assert "Never mind." in window.findChild(QLabel, "nextStep").text()


def test_layout_is_kept_and_reset(app: AppContext, window: MainWindow) -> None:
    dock = window.docks.by_id["volumes"]
    dock.hide()
    window._save_layout()
    assert app.settings.window_state
    window.commands.run("reset_layout")
    assert dock.isVisible()
    window._restore_layout()
    assert not dock.isVisible()


def answer(name: str, seen: list[str]) -> Callable[[], None]:
    """Press a button of the modal box that is about to open."""

    def press() -> None:
        box = QApplication.activeModalWidget()
        if not isinstance(box, QMessageBox):
            QTimer.singleShot(20, press)
            return
        seen.append(box.text())
        box.findChild(QPushButton, name).click()

    return press


def test_what_lands_while_it_is_asked_is_not_lost(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume
) -> None:
    leave = threading.Event()
    app.jobs.submit("Long", lambda ctx: leave.wait(20), lane="cpu")
    seen: list[str] = []

    def land() -> None:
        app.segments.add(opened.id, "Landed")
        QTimer.singleShot(0, answer("closeDiscard", seen))
        answer_again.start()

    answer_again = QTimer()
    answer_again.setInterval(20)

    def cancel() -> None:
        box = QApplication.activeModalWidget()
        if isinstance(box, QMessageBox) and "not saved" in box.text():
            answer_again.stop()
            answer("closeCancel", seen)()

    answer_again.timeout.connect(cancel)
    QTimer.singleShot(0, land)
    assert not window.close()
    assert ["not saved" in text for text in seen] == [False, True]
    leave.set()


def test_closing_with_unsaved_work_asks(qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume) -> None:
    app.segments.add(opened.id, "Mine")
    seen: list[str] = []
    QTimer.singleShot(0, answer("closeCancel", seen))
    assert not window.close()
    assert window.isVisible()
    assert "not saved" in seen[0]


def test_closing_can_save_first(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.segments.add(opened.id, "Mine")
    target = tmp_path / "work.mvw"
    monkeypatch.setattr(window.ui, "ask_save_path", lambda suffix: target)
    QTimer.singleShot(0, answer("closeSave", []))
    window.close()
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=30_000)
    assert target.is_file()


def test_closing_with_a_running_job_asks(qtbot: QtBot, app: AppContext, window: MainWindow) -> None:
    def work(ctx: JobContext) -> None:
        while True:
            ctx.progress(None, "busy")

    job = app.jobs.submit("Endless", work)
    seen: list[str] = []
    QTimer.singleShot(0, answer("closeCancel", seen))
    assert not window.close()
    assert "Endless" in seen[0]
    row = next(r for p in window.docks.panels for r in getattr(p, "rows", []) if r.job is job)
    qtbot.mouseClick(row.cancel_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: job.state.is_final)
    qtbot.waitUntil(lambda: row.said.text() == "Cancelled")


def test_undo_and_redo_are_named(qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume) -> None:
    undo, redo = (window.commands.by_id[name] for name in ("undo", "redo"))
    app.segments.add(opened.id, "Mine & yours")
    qtbot.waitUntil(undo.isEnabled)
    assert undo.text() == "Undo Add Mine && yours"
    undo.trigger()
    qtbot.waitUntil(redo.isEnabled)
    assert redo.text() == "Redo Add Mine && yours"
    assert app.workspace.segmentation(opened.id).segments == ()


@pytest.mark.parametrize("size", [(1600, 960), (1280, 760)])
def test_nothing_is_clipped(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, size: tuple[int, int]
) -> None:
    window.resize(*size)
    qtbot.waitUntil(lambda: (window.width(), window.height()) == size)
    app.router.activate("brush")
    window.findChild(QToolButton, "toolLimits").click()
    QApplication.processEvents()
    opacity = window.findChild(QWidget, "overlayOpacity")
    assert opacity.mapTo(window, QPoint(0, opacity.height())).y() <= window.statusBar().y()
    assert window.findChild(QWidget, "segmentsTable").height() >= 60
    for dock in window.docks.by_id.values():
        for button in dock.findChildren(QPushButton) + dock.findChildren(QToolButton):
            if button.isVisible() and button.objectName() and not button.objectName().startswith("qt_"):
                assert button.width() >= button.minimumSizeHint().width() - 1, button.objectName()
                corner = button.mapTo(window, QPoint(button.width(), button.height()))
                assert corner.x() <= window.width(), button.objectName()
                assert corner.y() <= window.height(), button.objectName()


def test_a_save_is_proposed_where_one_may_write(
    window: MainWindow, opened: Volume, monkeypatch: pytest.MonkeyPatch, phantom_folder: Path
) -> None:
    asked: list[str] = []

    def ask(_parent: object, _title: str, place: str, _filter: str) -> tuple[str, str]:
        asked.append(place)
        return "", ""

    monkeypatch.setattr("medviewer.ui.window_ui.QFileDialog.getSaveFileName", ask)
    assert window.ui.ask_save_path(".mvw") is None
    monkeypatch.setattr("medviewer.ui.window_ui.os.access", lambda *_: False)
    assert window.ui.ask_save_path(".mvw") is None
    assert Path(asked[0]).parent == phantom_folder.parent
    assert Path(asked[1]).parent == Path.home()
    assert all(Path(place).suffix == ".mvw" and len(Path(place).stem) > 0 for place in asked)


def test_a_message_does_not_lie_over_the_warnings_of_an_image(
    qtbot: QtBot, app: AppContext, window: MainWindow
) -> None:
    app.messages.add("error", "It failed.")
    warned = replace(film(), warnings=(SeriesWarning("W_X", "Something is odd."), SeriesWarning("W_Y", "And more.")))
    app.workspace.add_volume(warned)
    app.workspace.activate(warned.id)
    assert window.views is not None
    strip, bar = window.views.warnings, window.centre.message_bar
    qtbot.waitUntil(lambda: bar.isVisible() and strip.isVisible() and bar.y() >= strip.height() > 0)


def test_a_folder_of_which_nothing_can_be_opened_says_why_at_once(
    qtbot: QtBot, app: AppContext, window: MainWindow, tmp_path: Path
) -> None:
    cut = write_slice(tmp_path / "cut" / "IM1", pixels())
    cut.write_bytes(cut.read_bytes()[:-900])
    window.open_paths([tmp_path / "cut"])
    qtbot.waitUntil(window.centre.message_bar.isVisible, timeout=30_000)
    assert window.findChild(QLabel, "messageText").text() == "cut: Test: IM1 ends 900 bytes too early."
    assert "Copy it again" in window.findChild(QLabel, "messageHint").text()
    tree = window.findChild(QTreeWidget, "studyTree")
    qtbot.waitUntil(lambda: tree.topLevelItemCount() == 1)
    tree.setCurrentItem(tree.topLevelItem(0).child(0).child(0))
    qtbot.keyClick(tree, Qt.Key.Key_Return)
    wanted = "Cannot open Test: IM1 ends 900 bytes too early."
    qtbot.waitUntil(lambda: window.findChild(QLabel, "messageText").text() == wanted)
