"""The drawing tools under the mouse, in three planes and in 3D, in the real window."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QCheckBox, QWidget
from pytestqt.qtbot import QtBot

from medviewer.app.context import AppContext
from medviewer.core.region import Region
from medviewer.core.segmentation import Segmentation
from medviewer.core.view_state import PLANES
from medviewer.core.volume import Volume
from medviewer.imaging.scissors import screen_points
from medviewer.ui.main_window import MainWindow
from medviewer.ui.views.slice_canvas import SliceCanvas
from tests.gui.conftest import WAIT_MS
from tests.gui.test_views import turn_wheel

NONE, CTRL = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ControlModifier
SHIFT, ALT = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.AltModifier
LEFT = Qt.MouseButton.LeftButton
Place = tuple[float, float]


def shot(window: MainWindow, name: str) -> None:
    """Keep a picture for people where ``MEDVIEWER_SHOTS`` says."""
    if folder := os.environ.get("MEDVIEWER_SHOTS"):
        window.grab().save(str(Path(folder) / f"{name}.png"))


class Mouse:
    """A hand over one view: places are in pixels from the middle of the view, or wherever `at` says."""

    def __init__(self, widget: QWidget) -> None:
        self.widget = widget

    def point(self, place: Place) -> QPoint:
        return self.widget.rect().center() + QPoint(round(place[0]), round(place[1]))

    def move(self, place: Place, held: Qt.KeyboardModifier = NONE, button: Qt.MouseButton = Qt.MouseButton.NoButton):
        at = QPointF(self.point(place))
        event = QMouseEvent(
            QEvent.Type.MouseMove, at, self.widget.mapToGlobal(at), Qt.MouseButton.NoButton, button, held
        )
        QApplication.sendEvent(self.widget, event)

    def click(self, place: Place, held: Qt.KeyboardModifier = NONE) -> None:
        self.move(place, held)
        QTest.mouseClick(self.widget, LEFT, held, self.point(place))

    def double(self, place: Place, held: Qt.KeyboardModifier = NONE) -> None:
        QTest.mouseClick(self.widget, LEFT, held, self.point(place))
        QTest.mouseDClick(self.widget, LEFT, held, self.point(place))

    def drag(self, *path: Place, held: Qt.KeyboardModifier = NONE) -> None:
        QTest.mousePress(self.widget, LEFT, held, self.point(path[0]))
        for place in path[1:]:
            self.move(place, held, LEFT)
        QTest.mouseRelease(self.widget, LEFT, held, self.point(path[-1]))


@pytest.fixture
def segmentation(app: AppContext, window: MainWindow, opened: Volume) -> Segmentation:
    app.segments.add(opened.id, "Drawn")
    found = app.workspace.active_segmentation
    assert found is not None
    window.activateWindow()
    return found


def mouse_over(window: MainWindow, plane: str) -> Mouse:
    canvas = window.findChild(SliceCanvas, f"{plane}_canvas")
    assert canvas is not None
    canvas.setFocus()
    return Mouse(canvas)


def mask(segmentation: Segmentation) -> np.ndarray:
    return segmentation.mask(segmentation.active)


def ring(radius: float, count: int = 24) -> list[Place]:
    return [(radius * np.cos(a), radius * np.sin(a)) for a in np.linspace(0, 2 * np.pi, count)]


def draw(mouse: Mouse, tool: str) -> None:
    """Draw something of 60 to 120 pixels around the middle of the view, as a user would."""
    if tool in ("polygon", "livewire"):
        for place in ((-50, -30), (40, -45), (55, 35), (-35, 40)):
            mouse.click(place)
        mouse.move((-60, 0))
    elif tool == "lasso":
        mouse.drag(*ring(50))
    else:
        mouse.drag((-50, -40), (0, 0), (55, 45))


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("tool", ["polygon", "lasso", "rectangle", "ellipse", "livewire"])
def test_an_outline_is_drawn_shown_and_filled(
    app: AppContext, window: MainWindow, segmentation: Segmentation, tool: str, plane: str
) -> None:
    app.router.activate(tool)
    mouse = mouse_over(window, plane)
    draw(mouse, tool)
    assert app.router.cursor.lines
    assert not mask(segmentation).any()
    shot(window, f"draw_{tool}_{plane}")
    QTest.keyClick(mouse.widget, Qt.Key.Key_Return)
    painted = mask(segmentation)
    box = Region.of_mask(painted)
    assert box is not None
    assert painted.sum() > 50
    normal = window.findChild(SliceCanvas, f"{plane}_canvas").scene.frame.grid.normal
    assert box.shape[2 - normal] == 1
    assert app.history.undo_label == tool.replace("livewire", "live wire").capitalize()
    QTest.keyClick(mouse.widget, Qt.Key.Key_Z)
    assert not mask(segmentation).any()


def test_keys_of_an_outline(app: AppContext, window: MainWindow, segmentation: Segmentation) -> None:
    app.router.activate("polygon")
    mouse = mouse_over(window, "axial")
    draw(mouse, "polygon")
    for key in (Qt.Key.Key_Backspace, Qt.Key.Key_X):
        QTest.keyClick(mouse.widget, key)
    assert len([line for line in app.router.cursor.lines if line.handles]) == 2
    assert app.workspace.view.crosshair_visible
    QTest.keyClick(mouse.widget, Qt.Key.Key_Escape)
    assert app.router.active_id == "polygon"
    assert not app.router.cursor.lines
    QTest.keyClick(mouse.widget, Qt.Key.Key_X)
    assert not app.workspace.view.crosshair_visible
    QTest.keyClick(mouse.widget, Qt.Key.Key_Escape)
    assert app.router.active_id == ""
    app.router.activate("polygon")
    for place in ((-50, -30), (40, -45)):
        mouse.click(place)
    mouse.double((55, 35), CTRL)
    assert not mask(segmentation).any(), "with Ctrl it erases"
    for place in ((-50, -30), (40, -45)):
        mouse.click(place)
    mouse.double((55, 35))
    assert mask(segmentation).any()
    assert app.workspace.view.maximised == ""


@pytest.mark.parametrize("plane", PLANES)
def test_brush_and_smudge_in_every_plane(
    app: AppContext, window: MainWindow, segmentation: Segmentation, plane: str
) -> None:
    app.router.activate("brush")
    mouse = mouse_over(window, plane)
    options = app.router.options("brush")
    options.radius_mm = 12.0  # type: ignore[union-attr]
    mouse.drag((-30, 0), (30, 0))
    one = mask(segmentation).copy()
    assert one.any()
    size = app.router.cursor.radius_mm
    turn_wheel(mouse.widget, 1, SHIFT)
    assert app.router.cursor.radius_mm == pytest.approx(1.2 * size, abs=0.01)
    app.router.activate("smudge")
    mouse.drag((0, 0), (0, -20), (0, -45))
    assert app.history.undo_label == "Smudge"
    assert mask(segmentation).sum() != one.sum()
    shot(window, f"draw_smudge_{plane}")


@pytest.mark.parametrize("plane", PLANES)
def test_scissors_cut_when_the_button_is_released(
    qtbot: QtBot, app: AppContext, window: MainWindow, segmentation: Segmentation, plane: str
) -> None:
    block = painted_block(app)
    app.router.activate("scissors")
    mouse = mouse_over(window, plane)
    mouse.drag(*ring(25))
    qtbot.waitUntil(lambda: app.history.undo_label == "Scissors", timeout=WAIT_MS)
    left = mask(segmentation)
    assert 0 < left.sum() < block.sum()
    assert not (left & ~block).any()
    shot(window, f"draw_scissors_{plane}")
    mouse.drag(*ring(60), held=CTRL)
    qtbot.waitUntil(lambda: app.history.undo_label == "Scissors fill", timeout=WAIT_MS)
    assert mask(segmentation).sum() > left.sum()
    for _ in range(2):
        QTest.keyClick(mouse.widget, Qt.Key.Key_Z)
    np.testing.assert_array_equal(mask(segmentation), block)
    assert not app.workspace.view.preview, "what is undone is not offered again"


def painted_block(app: AppContext) -> np.ndarray:
    """A box in the middle of the image, in the active segment."""
    from medviewer.editing.editor import LabelEditor

    volume = app.workspace.active
    assert volume is not None
    middle = volume.geometry.voxel_at(app.workspace.view.crosshair_lps)
    assert middle is not None
    spacing = volume.geometry.spacing[::-1]
    lower = tuple(max(0, round(m - 30 / s)) for m, s in zip(middle, spacing, strict=True))
    upper = tuple(min(n, round(m + 30 / s)) for m, s, n in zip(middle, spacing, volume.array.shape, strict=True))
    region = Region(lower, upper)  # type: ignore[arg-type]
    with LabelEditor(app.workspace, app.history, volume.id).stroke("Block") as stroke:
        stroke.paint(region, np.ones(region.shape, bool))
    segmentation = app.workspace.active_segmentation
    assert segmentation is not None
    return mask(segmentation).copy()


def test_scissors_and_plane_in_3d(
    qtbot: QtBot, app: AppContext, window: MainWindow, segmentation: Segmentation
) -> None:
    block = painted_block(app)
    panel = window.views.volume
    qtbot.waitUntil(lambda: panel.scene is not None and panel.view.frames > 0, timeout=WAIT_MS)
    mouse = Mouse(panel.view)
    app.router.activate("scissors")
    middle = seen_at(panel, app)
    path = [(middle[0] + x, middle[1] + y) for x, y in ring(18)]
    QTest.mousePress(panel.view, LEFT, NONE, mouse.point(path[0]))
    for place in path[1:]:
        mouse.move(place, NONE, LEFT)
    shot(window, "draw_scissors_3d_drawing")
    QTest.mouseRelease(panel.view, LEFT, NONE, mouse.point(path[-1]))
    qtbot.waitUntil(lambda: app.history.undo_label == "Scissors", timeout=WAIT_MS)
    left = mask(segmentation)
    assert 0 < left.sum() < block.sum()
    kji = segmentation.geometry.voxel_at(app.workspace.view.crosshair_lps)
    assert block[kji]
    assert not left[kji], "what was under the middle of the outline is gone, through and through"
    app.undo()
    app.router.activate("cut_plane")
    mouse.click((middle[0] - 60, middle[1]))
    mouse.click((middle[0] + 60, middle[1] + 4))
    qtbot.waitUntil(lambda: bool(app.workspace.view.preview), timeout=WAIT_MS)
    shot(window, "draw_plane_3d")
    np.testing.assert_array_equal(mask(segmentation), block)
    panel.view.setFocus()
    QTest.keyClick(panel.view, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: app.history.undo_label == "Cut by plane", timeout=WAIT_MS)
    assert mask(segmentation).sum() == pytest.approx(block.sum() / 2, rel=0.2)
    app.router.activate("brush")
    before = panel.scene.renderer.GetActiveCamera().GetPosition()
    mouse.drag((0, 0), (20, 5), (40, 10))
    assert panel.scene.renderer.GetActiveCamera().GetPosition() != before, "the brush leaves 3D to the camera"
    paint_on_the_block(app, panel, mouse, segmentation)


def paint_on_the_block(app: AppContext, panel: QWidget, mouse: Mouse, segmentation: Segmentation) -> None:
    """Where it may, the brush adds a bump to what is seen and the eraser takes a bite; beside it the camera turns."""
    options = app.router.options("brush")
    options.on_surfaces, options.radius_mm = True, 6.0
    camera = panel.scene.renderer.GetActiveCamera()
    middle, start, before = seen_at(panel, app), camera.GetPosition(), mask(segmentation).copy()
    path = [(middle[0] + x, middle[1]) for x in (-6, 0, 6)]
    mouse.drag(*path)
    added = mask(segmentation) & ~before
    assert app.history.undo_label == "Brush"
    assert camera.GetPosition() == start
    assert added.any()
    depth = np.ptp(np.argwhere(added), axis=0) * segmentation.geometry.spacing[::-1]
    assert depth.max() < 4 * options.radius_mm, "a bump, not a pole towards the eye"
    app.undo()
    app.router.activate("eraser")
    mouse.drag(*path)
    assert (before & ~mask(segmentation)).any()
    assert not (mask(segmentation) & ~before).any()
    app.undo()
    steps = len(app.history.done)
    rect = panel.view.rect()
    mouse.drag((4 - rect.width() / 2, 4 - rect.height() / 2), (30 - rect.width() / 2, 20 - rect.height() / 2))
    assert len(app.history.done) == steps
    assert camera.GetPosition() != start
    options.on_surfaces = False


def seen_at(panel: QWidget, app: AppContext) -> Place:
    """Where the crosshair is seen, from the middle of the view."""
    ratio = panel.view.devicePixelRatioF()
    ((x, y),) = screen_points(panel.scene.world_to_screen(), [app.workspace.view.crosshair_lps])
    middle = panel.view.rect().center()
    return (x / ratio - middle.x(), y / ratio - middle.y())


@pytest.mark.parametrize("plane", PLANES)
def test_a_plane_is_shown_before_it_cuts(
    qtbot: QtBot, app: AppContext, window: MainWindow, segmentation: Segmentation, plane: str
) -> None:
    block = painted_block(app)
    app.router.activate("cut_plane")
    mouse = mouse_over(window, plane)
    mouse.click((-70, -12))
    mouse.click((70, 8))
    qtbot.waitUntil(lambda: bool(app.workspace.view.preview), timeout=WAIT_MS)
    shot(window, f"draw_plane_{plane}")
    np.testing.assert_array_equal(mask(segmentation), block)
    mouse.double((70, 8))
    qtbot.waitUntil(lambda: app.history.undo_label == "Cut by plane", timeout=WAIT_MS)
    assert 0 < mask(segmentation).sum() < block.sum()
    assert not app.router.cursor.lines


def test_segments_are_picked_chosen_and_tools_swapped_by_key(
    app: AppContext, window: MainWindow, segmentation: Segmentation, opened: Volume
) -> None:
    painted_block(app)
    first = segmentation.active
    second = app.segments.add(opened.id, "Second").value
    mouse = mouse_over(window, "coronal")
    mouse.click((0, 0), ALT)
    assert segmentation.active == first
    for key, value in ((Qt.Key.Key_2, second), (Qt.Key.Key_1, first), (Qt.Key.Key_9, first), (Qt.Key.Key_W, second)):
        QTest.keyClick(mouse.widget, key)
        assert segmentation.active == value
    mouse.move((3, 3))
    QTest.keyClick(mouse.widget, Qt.Key.Key_A)
    assert segmentation.active == first
    app.router.activate("brush")
    app.router.activate("lasso")
    for tool in ("brush", "lasso"):
        QTest.keyClick(mouse.widget, Qt.Key.Key_Space)
        assert app.router.active_id == tool


def test_the_value_range_is_toggled_by_i_and_holds_for_the_brush(
    app: AppContext, window: MainWindow, segmentation: Segmentation, opened: Volume
) -> None:
    mouse = mouse_over(window, "axial")
    QTest.keyClick(mouse.widget, Qt.Key.Key_B)
    QTest.keyClick(mouse.widget, Qt.Key.Key_I)
    low, high = app.router.rules.intensity or (0.0, 0.0)
    assert low < high
    assert window.findChild(QCheckBox, "intensityRule").isChecked()
    for start in (-60, 0, 60):
        mouse.drag((start, -40), (start, 60))
    values = opened.array[mask(segmentation)]
    assert ((values >= low) & (values <= high)).all()
    QTest.keyClick(mouse.widget, Qt.Key.Key_I)
    assert app.router.rules.intensity is None
    assert not window.findChild(QCheckBox, "intensityRule").isChecked()
