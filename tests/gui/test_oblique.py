"""Oblique planes in the real window: the command, the handles on the crosshair, the tools, and the saved workspace.

With ``MEDVIEWER_GUIDE_IMAGES`` it keeps the picture of the user guide.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from medviewer.app.context import AppContext
from medviewer.core.geometry import vec3
from medviewer.core.tilt import STRAIGHT
from medviewer.core.view_state import PLANES, Plane, WindowLevel
from medviewer.core.volume import Volume
from medviewer.phantoms import make_thorax, spheres_volume
from medviewer.render.colors import to_rgb
from medviewer.render.crosshair import crosshair_rays
from medviewer.render.plane import PlaneFrame
from medviewer.ui.main_window import MainWindow
from medviewer.ui.views.slice_canvas import SliceCanvas
from tests.gui.conftest import WAIT_MS
from tests.picture_volumes import film

GUIDE = os.environ.get("MEDVIEWER_GUIDE_IMAGES", "")
LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


class Stage:
    """The window with an image that has depth."""

    def __init__(self, qtbot: QtBot, app: AppContext, window: MainWindow, volume: Volume) -> None:
        self.qtbot, self.app, self.window, self.volume = qtbot, app, window, volume
        if app.workspace.active is not volume:
            app.workspace.add_volume(volume)
            app.workspace.activate(volume.id)
        qtbot.waitUntil(lambda: window.views is not None and window.views.isVisible(), timeout=WAIT_MS)
        qtbot.waitUntil(lambda: all(self.canvas(plane).frames for plane in PLANES), timeout=WAIT_MS)

    def canvas(self, plane: Plane) -> SliceCanvas:
        assert self.window.views is not None
        return self.window.views.slices[plane].canvas

    def frame(self, plane: Plane) -> PlaneFrame:
        frame = self.canvas(plane).scene.frame
        assert frame is not None
        return frame

    def picture(self, plane: Plane) -> np.ndarray:
        return to_rgb(self.canvas(plane).scene.render()).astype(int)

    def turn(self, plane: Plane, degrees: float, ray: int = 0) -> None:
        """Drag a handle of the crosshair about it."""
        canvas, lps = self.canvas(plane), self.app.workspace.view.crosshair_lps
        frame, ratio = self.frame(plane), canvas.devicePixelRatioF()
        half = list(crosshair_rays(frame, lps, 14 * ratio))[ray]
        distance = half.handle_distance(ratio)
        assert distance is not None
        arm = np.array(half.at(distance)) - half.start
        points = []
        for turn in np.radians(np.linspace(0, degrees, 6)):
            c, s = np.cos(turn), np.sin(turn)
            x, y = (half.start + np.array([[c, -s], [s, c]]) @ arm) / ratio
            points.append(QPoint(round(x), round(y)))
        move(canvas, points[0], Qt.MouseButton.NoButton)
        assert canvas.cursor().shape() == Qt.CursorShape.BitmapCursor
        drag(canvas, points)


def move(canvas: SliceCanvas, at: QPoint, buttons: Qt.MouseButton) -> None:
    place = QPointF(at)
    event = QMouseEvent(QEvent.Type.MouseMove, place, canvas.mapToGlobal(place), Qt.MouseButton.NoButton, buttons, NONE)
    QApplication.sendEvent(canvas, event)


def drag(canvas: SliceCanvas, points: list[QPoint]) -> None:
    QTest.mousePress(canvas, LEFT, NONE, points[0])
    for point in points[1:]:
        move(canvas, point, LEFT)
    QTest.mouseRelease(canvas, LEFT, NONE, points[-1])


@pytest.fixture
def stage(qtbot: QtBot, app: AppContext, window: MainWindow) -> Stage:
    return Stage(qtbot, app, window, spheres_volume().volume)


def test_handles_turn_the_other_two_planes_about_the_crosshair(qtbot: QtBot, stage: Stage) -> None:
    view, command = stage.app.workspace.view, stage.window.commands
    view.crosshair_lps = vec3(np.add(stage.volume.geometry.center_lps, (3.0, -4.0, 5.0)))
    before = {plane: stage.frame(plane) for plane in PLANES}
    command.run("oblique")
    assert view.tilt == STRAIGHT
    qtbot.waitUntil(lambda: command.by_id["oblique"].isChecked(), timeout=WAIT_MS)
    assert not command.by_id["straighten"].isEnabled()
    crosshair = view.crosshair_lps
    pictures = {plane: stage.picture(plane) for plane in PLANES}
    at = {plane: stage.frame(plane).lps_to_display(crosshair) for plane in PLANES}
    window = view.window
    stage.turn("axial", 25)
    assert view.crosshair_lps == crosshair
    assert view.window == window
    assert stage.frame("axial").grid.tilt_degrees == pytest.approx(0, abs=1e-6)
    for plane in ("coronal", "sagittal"):
        assert stage.frame(plane).grid.tilt_degrees == pytest.approx(25, abs=1.5)
    assert np.abs(stage.picture("axial") - pictures["axial"]).mean() < 0.2, "the plane of the view stays as it is"
    for plane in PLANES:
        assert stage.frame(plane).lps_to_display(crosshair) == pytest.approx(at[plane], abs=1e-6)
        assert stage.canvas(plane).scene.zoom == pytest.approx(1)
    stage.turn("sagittal", -20)
    assert stage.frame("axial").grid.tilt_degrees > 10
    assert stage.window.views is not None
    assert stage.window.views.slices["axial"].title.text == "Axial, oblique"
    assert len(stage.frame("axial").grid.letters[2]) == 2
    qtbot.waitUntil(lambda: command.by_id["straighten"].isEnabled(), timeout=WAIT_MS)
    command.run("straighten")
    assert view.tilt == STRAIGHT
    assert np.array_equal(stage.picture("coronal"), pictures["coronal"])
    command.run("oblique")
    assert view.tilt is None
    for plane in PLANES:
        assert stage.frame(plane).grid == before[plane].grid
        assert stage.frame(plane).slice_index == before[plane].slice_index
        assert stage.frame(plane).center == pytest.approx(before[plane].center)
    assert stage.window.views.slices["axial"].title.text == "Axial"


def test_a_handle_is_taken_before_a_tool_and_the_wheel_steps_through_turned_slices(stage: Stage) -> None:
    app, view = stage.app, stage.app.workspace.view
    stage.window.commands.run("oblique")
    app.router.activate("brush")
    segmentation = app.workspace.segmentation(stage.volume.id)
    stage.turn("coronal", 30, ray=2)
    assert not any(group.labels.any() for group in segmentation.groups)
    canvas, frame = stage.canvas("axial"), stage.frame("axial")
    assert frame.grid.tilt_degrees == pytest.approx(30, abs=1.5)
    canvas.scene.step(3)
    assert abs(stage.frame("axial").slice_index - frame.slice_index) == 3
    lps = np.array(view.crosshair_lps)
    step = 3 * min(stage.volume.geometry.spacing)
    assert np.linalg.norm(lps - stage.volume.geometry.center_lps) == pytest.approx(step, abs=step / 2)
    info = canvas.info_at(QPointF(*(v / canvas.devicePixelRatioF() for v in stage.frame("axial").lps_to_display(lps))))
    assert info is not None
    assert info.kji == stage.volume.geometry.voxel_at(vec3(lps))
    assert info.kji is not None
    assert info.value == stage.volume.value_at(info.kji)


def test_a_film_has_no_planes_to_turn(qtbot: QtBot, stage: Stage) -> None:
    stage.window.commands.run("oblique")
    moving = film()
    stage.app.workspace.add_volume(moving)
    stage.app.workspace.activate(moving.id)
    entry = stage.window.commands.by_id["oblique"]
    qtbot.waitUntil(lambda: not entry.isEnabled(), timeout=WAIT_MS)
    assert not entry.isChecked()
    assert "only an image with depth" in entry.toolTip()
    assert stage.app.workspace.view.tilt is None


def test_turned_planes_are_saved_and_come_back(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, tmp_path: Path
) -> None:
    view = app.workspace.view
    stage = Stage(qtbot, app, window, opened)
    window.commands.run("oblique")
    stage.turn("axial", 20)
    stage.turn("coronal", 35)
    tilt, crosshair, picture = view.tilt, view.crosshair_lps, stage.picture("sagittal")
    assert tilt not in (None, STRAIGHT)
    saved = app.documents.save(tmp_path / "work.mvw")
    qtbot.waitUntil(lambda: saved.state.is_final, timeout=WAIT_MS)
    view.tilt = None
    app.workspace.dirty = False
    again = app.documents.open(tmp_path / "work.mvw")
    qtbot.waitUntil(lambda: again.state.is_final and view.tilt is not None, timeout=WAIT_MS)
    np.testing.assert_allclose(view.tilt, tilt, atol=1e-12)
    assert view.crosshair_lps == crosshair
    qtbot.waitUntil(lambda: not app.jobs.running, timeout=WAIT_MS)
    assert np.abs(stage.picture("sagittal") - picture).mean() < 0.5


@pytest.mark.skipif(not GUIDE, reason="makes the picture of the user guide")
def test_the_picture_of_the_guide(qtbot: QtBot, app: AppContext, window: MainWindow) -> None:
    window.resize(1580, 1000)
    phantom = make_thorax((256, 256, 128))
    stage = Stage(qtbot, app, window, phantom.volume)
    view = app.workspace.view
    view.window = WindowLevel(50, 450)
    view.crosshair_lps = phantom.nodules[0].lps
    window.commands.run("oblique")
    stage.turn("sagittal", 22)
    stage.turn("axial", -28)
    assert window.views is not None
    last = window.views.slices["sagittal"]
    row = QRect(QPoint(0, 0), last.mapTo(window.views, QPoint(last.width(), last.height())) - QPoint(1, 1))
    QApplication.processEvents()  # the titles have got longer
    picture = window.views.grab(row)
    assert picture.save(str(Path(GUIDE) / "oblique.png"))
