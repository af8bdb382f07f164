"""Click, Ctrl-click, undo, save and open again with the click tool, in the real window."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QComboBox, QWidget
from pytestqt.qtbot import QtBot

from medviewer.app.context import AppContext
from medviewer.app.paths import settings_file
from medviewer.app.settings import Settings
from medviewer.core.geometry import Vec3
from medviewer.core.volume import Volume
from medviewer.phantoms import spheres_volume
from medviewer.plugin_host.registry import PluginRegistry
from medviewer.ui.main_thread import MainThread
from medviewer.ui.main_window import MainWindow
from tests.gui.conftest import WAIT_MS
from tests.gui.test_tool_stories import press_drag

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def app(qtbot: QtBot) -> Iterator[AppContext]:
    """The program with the plugins and models that it comes with."""
    registry = PluginRegistry()
    registry.discover()
    main_thread = MainThread()
    context = AppContext(main_thread.post, Settings.load(settings_file()), registry)
    context.settings.notice_read = True
    yield context
    context.close()
    main_thread.close()


def shot(window: MainWindow, name: str) -> None:
    """Keep a picture for people where ``MEDVIEWER_SHOTS`` says."""
    if folder := os.environ.get("MEDVIEWER_SHOTS"):
        window.grab().save(str(Path(folder) / f"{name}.png"))


def click_at(window: MainWindow, plane: str, lps: Vec3, modifier: Qt.KeyboardModifier) -> None:
    canvas = window.findChild(QWidget, f"{plane}_canvas")
    assert canvas is not None
    frame = canvas.scene.frame
    x, y = frame.lps_to_display(lps)
    ratio = canvas.devicePixelRatioF()
    QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, modifier, QPoint(round(x / ratio), round(y / ratio)))


NONE, CTRL = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ControlModifier


@pytest.mark.parametrize("model", ["click_classic", "click_segment"])
def test_click_ctrl_click_undo_save_and_go_on(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, tmp_path: Path, model: str
) -> None:
    if model not in [task.id for task in app.interactive.tasks]:
        pytest.skip(f"the model {model} is not at hand")
    nodule = max(spheres_volume().nodules, key=lambda one: one.diameter_mm)
    phantom = spheres_volume()
    ball = phantom.labels == 1 + [one.label for one in phantom.nodules].index(nodule.label)
    use_tool(qtbot, app, window, model)
    app.workspace.view.crosshair_lps = nodule.lps

    click_at(window, "axial", nodule.lps, NONE)
    qtbot.waitUntil(lambda: not app.interactive.busy, timeout=4 * WAIT_MS)
    one = mask_of(app)
    assert 2 * (one & ball).sum() / (one.sum() + ball.sum()) > 0.6
    assert app.history.undo_label == "Click"
    shot(window, f"{model}_click")

    x, y, z = nodule.lps
    click_at(window, "coronal", (x + 0.3 * nodule.diameter_mm, y, z), CTRL)
    qtbot.waitUntil(lambda: not app.interactive.busy, timeout=4 * WAIT_MS)
    assert app.history.undo_label == "Click away"
    assert mask_of(app).sum() != one.sum()
    shot(window, f"{model}_away")
    QTest.keyClick(window, Qt.Key.Key_Z, CTRL)
    qtbot.waitUntil(lambda: np.array_equal(mask_of(app), one), timeout=WAIT_MS)

    saved = app.documents.save(tmp_path / "case.mvw")
    qtbot.waitUntil(lambda: saved.state.is_final, timeout=WAIT_MS)
    again = app.documents.open(tmp_path / "case.mvw")
    qtbot.waitUntil(lambda: again.state.is_final and not app.jobs.running, timeout=WAIT_MS)
    assert again.error is None
    assert np.array_equal(mask_of(app), one)
    use_tool(qtbot, app, window, model)
    assert len(app.router.cursor.prompts) == 1, "the click is shown again"
    click_at(window, "sagittal", nodule.lps, NONE)
    qtbot.waitUntil(lambda: not app.interactive.busy, timeout=4 * WAIT_MS)
    assert len(app.router.cursor.prompts) == 2
    assert (mask_of(app) & ball).any()
    assert not [m.text for m in app.messages.messages if m.level == "error"]
    shot(window, f"{model}_reopened")


@pytest.mark.parametrize(("marks", "name"), [("scribbles", "Scribble"), ("lassos", "Lasso")])
def test_lines_inside_and_around_are_one_step_each(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, marks: str, name: str
) -> None:
    phantom = spheres_volume()
    nodule = max(phantom.nodules, key=lambda one: one.diameter_mm)
    ball = phantom.labels == 1 + [one.label for one in phantom.nodules].index(nodule.label)
    use_tool(qtbot, app, window, "click_classic")
    app.router.options("click_segment").marks = marks
    app.workspace.view.crosshair_lps = nodule.lps
    x, y, z = nodule.lps
    radius = nodule.diameter_mm / 2
    turns = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    inside = [(x + t * radius, y, z) for t in np.linspace(-0.5, 0.5, 6)]
    around = [(x + 1.2 * radius * np.cos(t), y + 1.2 * radius * np.sin(t), z) for t in turns]
    steps = len(app.history.done)
    drag_through(window, "axial", inside if marks == "scribbles" else around)
    qtbot.waitUntil(lambda: not app.interactive.busy and app.history.undo_label == name, timeout=4 * WAIT_MS)
    found = mask_of(app)
    assert 2 * (found & ball).sum() / (found.sum() + ball.sum()) > 0.6
    assert len(app.router.cursor.prompts) == 1
    assert not [m.text for m in app.messages.messages if m.level == "error"]
    app.undo()
    assert not mask_of(app).any()
    assert len(app.history.done) <= steps + 1


def drag_through(window: MainWindow, plane: str, places: Sequence[Vec3]) -> None:
    canvas = window.views.slices[plane].canvas
    frame, ratio = canvas.scene.frame, canvas.devicePixelRatioF()
    shown = [frame.lps_to_display(place) for place in places]
    press_drag(canvas, [QPoint(round(x / ratio), round(y / ratio)) for x, y in shown])


def use_tool(qtbot: QtBot, app: AppContext, window: MainWindow, model: str) -> None:
    window.activateWindow()
    app.router.activate("click_segment")
    qtbot.waitUntil(lambda: window.findChild(QWidget, "toolOptions.click_segment") is not None, timeout=WAIT_MS)
    choice = window.findChild(QWidget, "toolOptions.click_segment").findChild(QComboBox)
    choice.setCurrentIndex(choice.findData(model) if choice.findData(model) >= 0 else choice.findText(model))
    choice.activated.emit(choice.currentIndex())
    options = app.router.options("click_segment")
    qtbot.waitUntil(lambda: getattr(options, "model", "") == model, timeout=WAIT_MS)


def mask_of(app: AppContext) -> np.ndarray:
    segmentation = app.workspace.active_segmentation
    assert segmentation is not None
    return segmentation.mask(segmentation.active)
