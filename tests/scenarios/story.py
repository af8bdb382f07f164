"""The main job as a person does it, on the real program: run as a process of its own by the scenario tests.

``python story.py PHASE STUDY FOLDER``. The first phase ends with a kill in the middle of a stroke; the second recovers.
Input goes through Qt's event queue to the widgets, found by their object names. Every step leaves a screenshot.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from PySide6.QtCore import QPoint, Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QApplication,
    QComboBox,
    QDialog,
    QFileDialog,
    QLineEdit,
    QListWidget,
    QTableWidget,
    QWidget,
)

from medviewer.app.bootstrap import build_context
from medviewer.core.volume import Volume
from medviewer.ui import run as ui_run
from medviewer.ui.main_window import MainWindow

Steps = Iterator[Callable[[], object]]
STEP_TIMEOUT_S = float(os.environ.get("MEDVIEWER_STEP_TIMEOUT", "240"))


class Story:
    """Drives one window: each step yields what to wait for before the next."""

    def __init__(self, window: MainWindow, phase: str, folder: Path) -> None:
        self.window, self.app, self.folder = window, window.app, folder
        self.steps: Steps = getattr(self, phase)()
        self.wanted: Callable[[], object] = lambda: True
        self.since = self.began = time.monotonic()
        self.facts: dict[str, object] = {}
        self.timer = QTimer(window)
        self.timer.timeout.connect(self.tick)
        self.timer.start(20)

    def tick(self) -> None:
        self.timer.stop()
        try:
            if self.wanted():
                self.wanted = next(self.steps)
                self.since = time.monotonic()
            elif time.monotonic() - self.since > STEP_TIMEOUT_S:
                raise TimeoutError(f"waited in line {self.steps.gi_frame.f_lineno}")  # type: ignore[attr-defined]
        except StopIteration:
            self.write_facts()
            self.app.workspace.dirty = False
            self.window.close()
            return
        except BaseException:
            traceback.print_exc()
            self.shot("failed")
            os._exit(1)
        self.timer.start(20)

    # ---- hands and eyes

    def widget(self, name: str, kind: type[QWidget] = QWidget) -> QWidget:
        for top in [*reversed(QApplication.topLevelWidgets()), self.window]:
            found = top if top.objectName() == name else top.findChild(kind, name)
            if found is not None and found.isVisible():
                return found
        raise LookupError(name)

    def seen(self, name: str) -> bool:
        try:
            return self.widget(name).isEnabled()
        except LookupError:
            return False

    def click(self, name: str) -> None:
        QTest.mouseClick(self.widget(name), Qt.MouseButton.LeftButton)

    def key(self, key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        if not self.window.isActiveWindow():  # without a window manager nobody else gives it the focus
            self.window.activateWindow()
            QTest.qWaitForWindowActive(self.window, 5000)
        QTest.keyClick(self.window, key, modifier)
        QTest.qWait(50)  # menus follow the model when the event loop comes round

    def shot(self, name: str) -> None:
        QApplication.processEvents()
        screen = QApplication.primaryScreen()
        place = self.window.frameGeometry()
        picture = screen.grabWindow(0, place.x(), place.y(), place.width(), place.height())
        picture.save(str(self.folder / f"{name}.png"))

    def path(self, plane: str, release: bool = True) -> None:
        """Draw a short stroke around the middle of a slice view."""
        canvas = self.widget(f"{plane}_canvas")
        middle = canvas.rect().center()
        points = [middle + QPoint(6 * n - 15, 4 * n - 10) for n in range(6)]
        QTest.mousePress(canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, points[0])
        for point in points[1:]:
            QTest.mouseMove(canvas, point)
            QApplication.processEvents()
        if release:
            QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, points[-1])

    def idle(self) -> bool:
        return not [job for job in self.app.jobs.running if not job.quiet]

    # ---- what is true

    @property
    def volume(self) -> Volume:
        assert self.app.workspace.active is not None
        return self.app.workspace.active

    def voxels(self) -> int:
        segmentation = self.app.workspace.segmentation(self.volume.id)
        return int(segmentation.mask(segmentation.active).sum())

    def state(self) -> dict[str, object]:
        """A fingerprint of all masks and of the undo history."""
        self.app.journaling.flush()
        segmentation = self.app.workspace.segmentation(self.volume.id)
        hashes = {
            segment.name: hashlib.sha256(segmentation.mask(segment.value).tobytes()).hexdigest()
            for segment in segmentation.segments
        }
        boxes = [[box.id, box.review] for box in self.app.workspace.boxes(self.volume.id)]
        return {"masks": hashes, "boxes": boxes, "history": [step.label for step in self.app.history.done]}

    def write_facts(self, name: str = "facts") -> None:
        (self.folder / f"{name}.json").write_text(json.dumps(self.facts, indent=1))

    # ---- the phases

    def work(self) -> Steps:
        yield lambda: self.seen("noticeAccept")
        self.click("noticeAccept")
        yield lambda: self.app.workspace.active is not None and self.idle() and self.window.views is not None
        yield from self.settled()
        self.facts["torch in the window's process"] = "torch" in sys.modules or "monai" in sys.modules
        self.shot("open")
        self.key(Qt.Key.Key_F5)
        yield lambda: self.seen("startAnalyze")
        self.shot("plan")
        self.click("startAnalyze")
        yield lambda: self.app.jobs.running
        yield self.idle
        errors = [m.text for m in self.app.messages.messages if m.level == "error"]
        assert not errors, errors
        yield from self.settled()
        yield from self.nodule()
        yield from self.correct()
        yield from self.save()
        yield from self.die_drawing()

    def settled(self) -> Steps:
        """Let merged repaints and the 3D view catch up."""
        end = time.monotonic() + 2.0
        yield lambda: time.monotonic() > end

    def nodule(self) -> Steps:
        table = self.widget("findingsTable", QTableWidget)
        assert isinstance(table, QTableWidget)
        assert table.rowCount() > 0
        first = table.visualItemRect(table.item(0, 1)).center()
        QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, first)
        best = self.app.workspace.boxes(self.volume.id)[0]
        yield lambda: self.app.workspace.view.crosshair_lps == best.center_lps
        self.facts["nodule"] = best.center_lps
        yield from self.settled()
        self.shot("analyze")
        count = len(self.app.workspace.segmentation(self.volume.id).segments)
        self.click("makeMask")
        yield lambda: len(self.app.workspace.segmentation(self.volume.id).segments) == count + 1 and self.idle()
        assert self.voxels() > 0
        assert self.app.workspace.boxes(self.volume.id)[0].review == "accepted"
        self.facts["mask voxels"] = self.voxels()
        yield from self.settled()
        self.shot("mask")

    def correct(self) -> Steps:
        """Brush and erase in each plane; undo and redo."""
        for plane in ("axial", "coronal", "sagittal"):
            before = self.voxels()
            self.key(Qt.Key.Key_B)
            yield lambda: self.app.router.active_id == "brush"
            # Away from the nodule, so that a stroke must add voxels.
            self.move_crosshair(plane)
            yield from self.settled()
            self.path(plane)
            painted = self.voxels()
            assert painted > before, plane
            self.shot(f"brush_{plane}")
            self.key(Qt.Key.Key_E)
            yield lambda: self.app.router.active_id == "eraser"
            self.path(plane)
            assert self.voxels() < painted, plane
            self.shot(f"erase_{plane}")
            self.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
            assert self.voxels() == painted, "undo eraser"
            self.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
            assert self.voxels() == before, "undo brush"
            self.key(Qt.Key.Key_Y, Qt.KeyboardModifier.ControlModifier)
            assert self.voxels() == painted, "redo brush"
            assert self.app.history.undo_label == "Brush"
        self.shot("correct")

    def move_crosshair(self, plane: str) -> None:
        axis = {"axial": 2, "coronal": 1, "sagittal": 0}[plane]
        ijk = self.volume.geometry.lps_to_index(self.app.workspace.view.crosshair_lps)
        ijk[axis] += 12
        x, y, z = self.volume.geometry.index_to_lps(ijk)
        self.app.workspace.view.crosshair_lps = (float(x), float(y), float(z))

    def save(self) -> Steps:
        QTimer.singleShot(0, lambda: self.key(Qt.Key.Key_S, Qt.KeyboardModifier.ControlModifier))
        yield self.file_dialog
        dialog = self.file_dialog()
        assert dialog is not None
        edit = dialog.findChild(QLineEdit)
        assert edit is not None
        edit.setText(str(self.folder / "case.mvw"))
        QTest.keyClick(edit, Qt.Key.Key_Return)
        yield lambda: (self.folder / "case.mvw").exists() and self.idle() and not self.app.workspace.dirty
        self.shot("saved")

    def file_dialog(self) -> QDialog | None:
        modal = QApplication.activeModalWidget()
        return modal if isinstance(modal, QFileDialog) else None

    def die_drawing(self) -> Steps:
        """Two more strokes after the save, an undo, and a kill with the third in the hand."""
        self.key(Qt.Key.Key_B)
        yield lambda: self.app.router.active_id == "brush"
        for plane in ("axial", "coronal"):
            self.move_crosshair(plane)
            yield from self.settled()
            self.path(plane)
        self.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        self.facts["state"] = self.state()
        self.move_crosshair("axial")
        yield from self.settled()
        self.path("axial", release=False)
        self.write_facts("before")
        if sys.platform == "win32":
            os._exit(9)
        os.kill(os.getpid(), signal.SIGKILL)

    def models(self) -> Steps:
        """Look at the models, then at the plan of an image."""
        yield from self.looked_at()
        self.key(Qt.Key.Key_M, Qt.KeyboardModifier.ControlModifier)
        yield lambda: self.seen("modelsList")
        yield from self.settled()
        rows = self.widget("modelsList", QListWidget)
        assert isinstance(rows, QListWidget)
        self.facts["models"] = [rows.item(n).text().splitlines() for n in range(rows.count())]
        self.shot("models")
        self.click("modelsClose")
        yield lambda: not self.seen("modelsList")
        self.key(Qt.Key.Key_F5)
        yield lambda: self.seen("startAnalyze")
        yield from self.settled()
        self.shot("plan")
        QTest.keyClick(self.widget("analyzeDialog"), Qt.Key.Key_Escape)
        yield lambda: not self.seen("startAnalyze")

    def real(self) -> Steps:
        """From the double click on a study to its results, with the plan that was shown once."""
        yield from self.looked_at()
        self.facts["opened"] = round(time.monotonic() - self.began, 1)
        yield from self.analyzed("plan")
        self.facts["analyzed"] = round(time.monotonic() - self.began, 1)
        table = self.widget("findingsTable", QTableWidget)
        assert isinstance(table, QTableWidget)
        self.facts["findings"] = table.rowCount()
        if table.rowCount():
            QTest.mouseClick(
                table.viewport(), Qt.MouseButton.LeftButton, pos=table.visualItemRect(table.item(0, 1)).center()
            )
        yield from self.settled()
        self.shot("results")

    def looked_at(self) -> Steps:
        """Wait for the image that was opened with the program."""
        yield lambda: self.seen("noticeAccept")
        self.click("noticeAccept")
        yield lambda: self.app.workspace.active is not None and self.idle() and self.window.views is not None
        yield from self.settled()

    def analyzed(self, picture: str) -> Steps:
        """Start what the plan proposes, and wait for it."""
        self.key(Qt.Key.Key_F5)
        yield lambda: self.seen("startAnalyze")
        yield from self.settled()
        self.shot(picture)
        self.click("startAnalyze")
        yield lambda: self.app.jobs.running
        yield self.idle
        self.facts["errors"] = [m.text for m in self.app.messages.messages if m.level == "error"]
        self.facts["runs"] = [[run.task, run.model_version, run.seconds] for run in self.app.workspace.runs]
        self.facts["segments"] = [s.name for s in self.app.workspace.segmentation(self.volume.id).segments]
        yield from self.settled()

    def recover(self) -> Steps:
        yield lambda: self.seen("recoverWork")
        yield from self.settled()
        self.shot("recovery")
        self.click("recoverWork")
        yield lambda: self.app.workspace.active is not None and self.idle()
        yield from self.settled()
        self.facts["state"] = self.state()
        self.shot("recovered")
        for format_id in ("nifti", "nnunet", "dicom-seg"):
            yield from self.export(format_id)
        self.key(Qt.Key.Key_S, Qt.KeyboardModifier.ControlModifier)
        yield lambda: not self.app.workspace.dirty and self.idle()

    def export(self, format_id: str) -> Steps:
        self.key(Qt.Key.Key_E, Qt.KeyboardModifier.ControlModifier)
        yield lambda: self.seen("exportFormat")
        combo = self.widget("exportFormat", QComboBox)
        assert isinstance(combo, QComboBox)
        combo.setCurrentIndex(combo.findData(format_id))
        edit = self.widget("exportFolder", QLineEdit)
        assert isinstance(edit, QLineEdit)
        edit.setText("")
        QTest.keyClicks(edit, str(self.folder / format_id))
        self.click("startExport")
        yield lambda: (self.folder / format_id).exists() and self.idle()
        yield from self.settled()
        errors = [m.text for m in self.app.messages.messages if m.level == "error"]
        assert not errors, errors
        self.shot(f"export_{format_id}")
        self.click("closeExport")
        yield lambda: not self.seen("exportFormat")


def main(phase: str, study: str, folder: str) -> int:
    stories: list[Story] = []

    def make_window(app: object) -> MainWindow:
        window = MainWindow(app)  # type: ignore[arg-type]
        window.painted.connect(lambda: stories or stories.append(Story(window, phase, Path(folder))))
        return window

    ui_run.MainWindow = make_window  # type: ignore[misc,assignment]
    return ui_run.run(build_context, [Path(study)] if study else [])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
