"""The four views as hands and eyes meet them: real widgets, real events."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QGuiApplication, QImage, QMouseEvent, QPointingDevice, QTabletEvent, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from medviewer.core.dicom_ref import SeriesWarning
from medviewer.core.region import Region
from medviewer.core.segmentation import Segment
from medviewer.core.view_state import PLANES
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.editor import LabelEditor
from medviewer.editing.history import UndoStack
from medviewer.editing.tool import CursorSpec, Key, Modifier, PointerEvent, ToolContext
from medviewer.editing.tools.brush import Brush
from medviewer.ui.views.cursor_info import CursorInfo
from medviewer.ui.views.layout import FourViews
from medviewer.ui.views.slice_canvas import SliceCanvas
from medviewer.ui.views.volume_panel import NO_VOLUME
from tests.picture_volumes import film, photo
from tests.render_phantoms import f_volume, grid_around_zero, show, signed_direction

WAIT_MS = 20_000
LETTER = f_volume(grid_around_zero(signed_direction((0, 1, 2), (1, 1, 1))))
LEFT, RIGHT, MIDDLE = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton, Qt.MouseButton.MiddleButton


class Hand:
    """A tool that takes what it is told to take, and remembers."""

    def __init__(self) -> None:
        self.takes = False
        self.events: list[PointerEvent] = []
        self.cursor = CursorSpec()
        self.keys: list[Key] = []
        self.turns: list[int] = []
        self.swaps = 0

    def pointer(self, event: PointerEvent) -> bool:
        self.events.append(event)
        return self.takes and event.phase != "double"

    def wheel(self, steps: int, modifiers: frozenset[Modifier]) -> bool:
        self.turns.append(steps)
        return "shift" in modifiers and self.takes

    def key(self, key: Key) -> bool:
        self.keys.append(key)
        return self.takes

    def swap(self) -> None:
        self.swaps += 1


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def workspace() -> Workspace:
    return show(replace(LETTER))


def show_point(workspace: Workspace) -> Callable[[str, int], None]:
    """Show a point of the time axis, as the program does."""
    return lambda volume_id, n: workspace.replace_volume(workspace.volume(volume_id).at_time(n))


@pytest.fixture
def views(qtbot: QtBot, workspace: Workspace, hand: Hand) -> FourViews:
    made = FourViews(workspace, hand, show_point(workspace))
    made.resize(800, 640)
    qtbot.addWidget(made, before_close_func=lambda _: made.close_views())
    with qtbot.waitExposed(made):
        made.show()
    qtbot.waitUntil(lambda: all(p.canvas.frames for p in made.slices.values()), timeout=WAIT_MS)
    return made


@pytest.fixture
def axial(views: FourViews) -> SliceCanvas:
    return views.slices["axial"].canvas


def middle_of(widget: QWidget) -> QPoint:
    return QPoint(widget.width() // 2, widget.height() // 2)


def move(widget: QWidget, to: QPoint, buttons: Qt.MouseButton, modifiers: Qt.KeyboardModifier) -> None:
    """Where QTest cannot hold keys while the mouse moves."""
    place = QPointF(to)
    event = QMouseEvent(
        QEvent.Type.MouseMove, place, widget.mapToGlobal(place), Qt.MouseButton.NoButton, buttons, modifiers
    )
    QApplication.sendEvent(widget, event)


def drag(qtbot: QtBot, widget: QWidget, button: Qt.MouseButton, start: QPoint, *to: QPoint) -> None:
    qtbot.mousePress(widget, button, pos=start)
    for point in to:
        move(widget, point, button, Qt.KeyboardModifier.NoModifier)
    qtbot.mouseRelease(widget, button, pos=to[-1])


def turn_wheel(widget: QWidget, steps: int, modifiers: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
    place = QPointF(middle_of(widget))
    event = QWheelEvent(
        place, widget.mapToGlobal(place), QPoint(), QPoint(0, 120 * steps), Qt.MouseButton.NoButton, modifiers,
        Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(widget, event)


def slice_of(views: FourViews, plane: str) -> int:
    frame = views.slices[plane].canvas.scene.frame  # type: ignore[index]
    assert frame is not None
    return frame.slice_index


def picture(widget: QWidget) -> np.ndarray:
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


# --- slices


def test_wheel_keys_and_slider_move_one_view(qtbot: QtBot, views: FourViews, axial: SliceCanvas) -> None:
    start = slice_of(views, "axial")
    turn_wheel(axial, 2)
    assert slice_of(views, "axial") == start + 2
    axial.setFocus()
    qtbot.keyClick(axial, Qt.Key.Key_PageDown)
    qtbot.keyClick(axial, Qt.Key.Key_Up)
    qtbot.keyClick(axial, Qt.Key.Key_Left)
    assert slice_of(views, "axial") == start + 1
    qtbot.keyClick(axial, Qt.Key.Key_Home)
    assert slice_of(views, "axial") == 48  # the head
    assert views.slices["axial"].slider.value() == 48
    views.slices["axial"].slider.setValue(7)
    assert slice_of(views, "axial") == 7
    assert slice_of(views, "coronal") == slice_of(views, "sagittal") == start
    views.slices["coronal"].slider.setValue(48)  # the top of the slider: anterior, where the index is lowest
    assert slice_of(views, "coronal") == 0


def test_parts_of_a_wheel_step_add_up(views: FourViews, axial: SliceCanvas) -> None:
    start = slice_of(views, "axial")
    place = QPointF(middle_of(axial))
    for _ in range(4):
        event = QWheelEvent(
            place, axial.mapToGlobal(place), QPoint(), QPoint(0, 30), Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
        )  # fmt: skip
        QApplication.sendEvent(axial, event)
    assert slice_of(views, "axial") == start + 1


def test_click_puts_the_crosshair(qtbot: QtBot, workspace: Workspace, axial: SliceCanvas) -> None:
    at = middle_of(axial) + QPoint(30, -20)
    qtbot.mouseClick(axial, LEFT, pos=at)
    frame = axial.scene.frame
    assert frame is not None
    ratio = axial.devicePixelRatioF()
    assert np.allclose(frame.lps_to_display(workspace.view.crosshair_lps), (at.x() * ratio, at.y() * ratio), atol=1e-6)
    assert workspace.view.crosshair_lps[0] > 0  # to the right of the picture is patient left


def test_shift_and_move_shows_the_point_in_all_views(
    views: FourViews, workspace: Workspace, axial: SliceCanvas
) -> None:
    move(axial, middle_of(axial) + QPoint(40, 25), Qt.MouseButton.NoButton, Qt.KeyboardModifier.ShiftModifier)
    x, y, z = workspace.view.crosshair_lps
    assert x > 5
    assert y > 5
    index = workspace.active.geometry.lps_to_index((x, y, z))  # type: ignore[union-attr]
    assert slice_of(views, "sagittal") == round(index[0])
    assert slice_of(views, "coronal") == round(index[1])
    before = workspace.view.crosshair_lps
    move(axial, middle_of(axial), Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier)
    assert workspace.view.crosshair_lps == before


def test_crosshair_mode_follows_the_drag(qtbot: QtBot, views: FourViews, workspace: Workspace) -> None:
    views.navigation = "crosshair"
    assert views.navigation == "crosshair"
    canvas = views.slices["coronal"].canvas
    window = workspace.view.window
    drag(qtbot, canvas, LEFT, middle_of(canvas), middle_of(canvas) + QPoint(0, -40))
    assert workspace.view.crosshair_lps[2] > 10
    assert workspace.view.window == window


def test_left_drag_sets_the_window(qtbot: QtBot, workspace: Workspace, axial: SliceCanvas) -> None:
    start, crosshair = workspace.view.window, workspace.view.crosshair_lps
    center = middle_of(axial)
    drag(qtbot, axial, LEFT, center, center + QPoint(50, 0))
    assert workspace.view.window.width == pytest.approx(start.width * math.exp(50 / 200))
    assert workspace.view.window.center == start.center
    width = workspace.view.window.width
    drag(qtbot, axial, LEFT, center, center + QPoint(0, -30))
    assert workspace.view.window.center == pytest.approx(start.center - width / 10)  # up is brighter
    assert workspace.view.crosshair_lps == crosshair


def test_right_drag_zooms_and_middle_drag_pans(qtbot: QtBot, axial: SliceCanvas) -> None:
    center = middle_of(axial)
    drag(qtbot, axial, RIGHT, center, center + QPoint(0, 60))
    zoom = axial.scene.zoom
    assert zoom == pytest.approx(math.exp(60 / 150))
    frame = axial.scene.frame
    assert frame is not None
    lps = frame.display_to_lps(50, 50)
    drag(qtbot, axial, MIDDLE, center, center + QPoint(10, 0), center + QPoint(25, 15))
    ratio = axial.devicePixelRatioF()
    assert np.allclose(axial.scene.frame.display_to_lps(50 + 25 * ratio, 50 + 15 * ratio), lps)  # type: ignore[union-attr]
    qtbot.keyClick(axial, Qt.Key.Key_R)
    assert axial.scene.zoom == pytest.approx(1)


def test_space_and_drag_pans_whatever_the_tool(qtbot: QtBot, axial: SliceCanvas, hand: Hand) -> None:
    hand.takes = True
    axial.setFocus()
    before = axial.scene.frame
    qtbot.keyPress(axial, Qt.Key.Key_Space)
    drag(qtbot, axial, LEFT, middle_of(axial), middle_of(axial) + QPoint(30, 0))
    qtbot.keyRelease(axial, Qt.Key.Key_Space)
    assert axial.scene.frame != before
    assert not [e for e in hand.events if e.phase != "hover"]


def test_space_alone_swaps_the_last_two_tools(qtbot: QtBot, axial: SliceCanvas, hand: Hand) -> None:
    qtbot.keyClick(axial, Qt.Key.Key_Space)
    assert hand.swaps == 1
    qtbot.keyPress(axial, Qt.Key.Key_Space)
    drag(qtbot, axial, LEFT, middle_of(axial), middle_of(axial) + QPoint(30, 0))
    qtbot.keyRelease(axial, Qt.Key.Key_Space)
    assert hand.swaps == 1, "Space with a drag moves the picture"


def test_a_pen_tells_how_hard_it_presses(axial: SliceCanvas, hand: Hand) -> None:
    hand.takes = True
    place = QPointF(middle_of(axial))
    for kind, pressure in ((QEvent.Type.TabletPress, 0.4), (QEvent.Type.TabletRelease, 0.0)):
        pen = QTabletEvent(
            kind, QPointingDevice.primaryPointingDevice(), place, place, pressure, 0, 0, 0, 0, 0,
            Qt.KeyboardModifier.NoModifier, LEFT, LEFT,
        )  # fmt: skip
        QApplication.sendEvent(axial, pen)
        if kind == QEvent.Type.TabletPress:
            QTest.mousePress(axial, LEFT, pos=middle_of(axial))
            assert hand.events[-1].pressure == pytest.approx(0.4)
    QTest.mouseRelease(axial, LEFT, pos=middle_of(axial))
    assert hand.events[-1].pressure == 1.0
    assert hand.events[-1].mm_per_pixel > 0
    assert hand.events[-1].view_mm == pytest.approx(min(axial.width(), axial.height()) * hand.events[-1].mm_per_pixel)


def test_ctrl_and_wheel_zooms_at_the_mouse(axial: SliceCanvas) -> None:
    turn_wheel(axial, 3, Qt.KeyboardModifier.ControlModifier)
    assert axial.scene.zoom == pytest.approx(1.2**3)


# --- tools


def test_a_tool_sees_press_move_release_and_hover(
    qtbot: QtBot, axial: SliceCanvas, hand: Hand, workspace: Workspace
) -> None:
    window, crosshair = workspace.view.window, workspace.view.crosshair_lps
    hand.takes = True
    center = middle_of(axial)
    drag(qtbot, axial, LEFT, center, center + QPoint(20, 0), center + QPoint(20, 10))
    assert [e.phase for e in hand.events if e.phase != "hover"] == ["press", "move", "move", "release"]
    assert all(e.axis == 2 for e in hand.events)
    assert hand.events[0].lps[2] == pytest.approx(0.0)
    move(axial, center, Qt.MouseButton.NoButton, Qt.KeyboardModifier.ControlModifier)
    assert hand.events[-1].phase == "hover"
    assert hand.events[-1].modifiers == {"ctrl"}
    assert workspace.view.window == window
    assert workspace.view.crosshair_lps == crosshair


def test_two_quick_dabs_do_not_maximise(qtbot: QtBot, axial: SliceCanvas, hand: Hand, workspace: Workspace) -> None:
    hand.takes = True
    qtbot.mouseClick(axial, LEFT, pos=middle_of(axial))
    qtbot.mouseDClick(axial, LEFT, pos=middle_of(axial))
    assert workspace.view.maximised == ""
    assert [e.phase for e in hand.events].count("press") >= 2


@pytest.mark.parametrize("plane", PLANES)
def test_the_brush_paints_where_the_mouse_is(
    qtbot: QtBot, views: FourViews, workspace: Workspace, hand: Hand, monkeypatch: pytest.MonkeyPatch, plane: str
) -> None:
    volume = workspace.active
    assert volume is not None
    segmentation = workspace.segmentation(volume.id)
    segmentation.put_group(segmentation.new_group("g"))
    segmentation.put_segment(Segment(1, "Lesion", (0, 255, 0)))
    segmentation.active = 1
    segmentation.active = 1
    workspace.view.overlay_opacity = 1.0
    brush = Brush()
    brush.options.radius_mm = 6.0
    brush.activate(ToolContext(LabelEditor(workspace, UndoStack(), volume.id)))
    canvas = views.slices[plane].canvas  # type: ignore[index]
    monkeypatch.setattr(hand, "pointer", brush.pointer)
    center = middle_of(canvas)
    before = picture(canvas)
    drag(qtbot, canvas, LEFT, center, center + QPoint(40, 30))
    after = picture(canvas)
    green = (after[:, :, 1] > 200) & (after[:, :, 0] < 60) & (after[:, :, 2] < 60)
    rows, columns = np.nonzero(green)
    assert rows.size > 200
    ratio = canvas.devicePixelRatioF()
    frame = canvas.scene.frame
    assert frame is not None
    reach, voxel = 6.0 / frame.mm_per_pixel, 2.0 / frame.mm_per_pixel
    assert abs(columns.min() - (center.x() * ratio - reach)) <= voxel
    assert abs(columns.max() - ((center.x() + 40) * ratio + reach)) <= voxel
    assert np.array_equal(before[: int(rows.min()) - 30], after[: int(rows.min()) - 30])
    assert segmentation.mask(1).any()


def test_the_circle_is_as_big_as_the_brush(views: FourViews, axial: SliceCanvas, hand: Hand) -> None:
    hand.cursor = CursorSpec("circle", 10.0)
    views.set_cursor_dirty()
    center = middle_of(axial)
    plain = picture(axial)
    move(axial, center, Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier)
    rows, columns = np.nonzero((picture(axial) != plain).any(axis=-1))
    frame = axial.scene.frame
    assert frame is not None
    assert abs((columns.max() - columns.min()) / 2 - 10.0 / frame.mm_per_pixel) < 3 * axial.devicePixelRatioF()
    assert abs((rows.max() - rows.min()) / 2 - 10.0 / frame.mm_per_pixel) < 3 * axial.devicePixelRatioF()
    QApplication.sendEvent(axial, QEvent(QEvent.Type.Leave))
    assert np.array_equal(picture(axial), plain)


# --- what is told


def test_cursor_info(views: FourViews, axial: SliceCanvas, workspace: Workspace) -> None:
    told: list[CursorInfo | None] = []
    views.cursor_info.connect(told.append)
    move(axial, middle_of(axial), Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier)
    (info,) = told
    assert info is not None
    volume = workspace.active
    assert volume is not None
    assert info.kji == volume.geometry.voxel_at(info.lps)
    assert info.kji is not None
    assert info.value == volume.value_at(info.kji)
    assert (info.plane, info.unit, info.segments) == ("axial", "HU", ())
    move(axial, QPoint(0, 0), Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier)
    assert told[-1] is not None
    assert told[-1].kji is None
    QApplication.sendEvent(axial, QEvent(QEvent.Type.Leave))
    assert told[-1] is None


def test_a_resting_mouse_is_told_of_the_slice_that_comes(
    views: FourViews, axial: SliceCanvas, workspace: Workspace
) -> None:
    told: list[CursorInfo | None] = []
    move(axial, middle_of(axial), Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier)
    views.cursor_info.connect(told.append)
    axial.scene.step(1)
    volume = workspace.active
    assert volume is not None
    assert axial.scene.frame is not None
    (info,) = told
    assert info is not None
    assert info.kji is not None
    assert info.kji[0] == axial.scene.frame.slice_index
    assert info.value == volume.value_at(info.kji)


def test_names_of_segments_under_the_mouse(axial: SliceCanvas, workspace: Workspace) -> None:
    volume = workspace.active
    assert volume is not None
    segmentation = workspace.segmentation(volume.id)
    for value in (1, 2):
        group = segmentation.new_group(str(value))
        group.labels[:] = value
        segmentation.put_group(group)
        segmentation.put_segment(Segment(value, f"s{value}", group=group.id))
    info = axial.info_at(QPointF(middle_of(axial)))
    assert info is not None
    assert info.segments == ("s2", "s1")


# --- layout


def test_double_click_maximises_and_back(qtbot: QtBot, views: FourViews, workspace: Workspace) -> None:
    canvas = views.slices["sagittal"].canvas
    qtbot.mouseDClick(canvas, LEFT, pos=middle_of(canvas))
    assert workspace.view.maximised == "sagittal"
    assert not views.slices["axial"].isVisible()
    assert not views.slices["coronal"].isVisible()
    assert not views.volume.isVisible()
    qtbot.waitUntil(lambda: canvas.width() > 600)
    qtbot.mouseDClick(canvas, LEFT, pos=middle_of(canvas))
    assert workspace.view.maximised == ""
    assert all(panel.isVisible() for panel in views.slices.values())
    qtbot.mouseClick(views.findChild(QWidget, "volume_maximise"), LEFT)
    assert workspace.view.maximised == "volume"
    assert not views.slices["axial"].isVisible()


def test_sizes_are_kept(qtbot: QtBot, views: FourViews, workspace: Workspace, hand: Hand) -> None:
    views._rows[0].setSizes([500, 300])
    views._rows[0].splitterMoved.emit(500, 1)
    qtbot.waitUntil(lambda: views._rows[1].sizes() == views._rows[0].sizes())
    state = views.save_state()
    wanted = views.slices["axial"].width()
    views._rows[0].setSizes([300, 500])
    assert views.restore_state(state)
    qtbot.waitUntil(lambda: views.slices["axial"].width() == wanted)
    assert not views.restore_state(b"")
    assert not views.restore_state(b"garbage, not a state")


def test_another_volume_is_followed(views: FourViews, workspace: Workspace) -> None:
    small = Volume(
        np.zeros((5, 6, 7), np.int16), grid := replace(LETTER.geometry, size=(7, 6, 5), origin=(300.0, 300.0, 300.0))
    )
    workspace.add_volume(small)
    workspace.activate(small.id)
    assert grid.voxel_at(workspace.view.crosshair_lps) is not None
    assert views.slices["axial"].slider.maximum() == 4
    workspace.remove_volume(small.id)
    assert not views.slices["axial"].slider.isEnabled()
    views.reset_views()
    assert picture(views.slices["axial"].canvas).max() == 0


# --- 3D


def built(qtbot: QtBot, views: FourViews) -> None:
    qtbot.waitUntil(lambda: views.volume.scene is not None, timeout=WAIT_MS)
    view = views.volume.view
    assert view is not None
    qtbot.waitUntil(lambda: view.frames > 0, timeout=WAIT_MS)


def bright(widget: QWidget) -> int:
    return int((picture(widget).max(axis=-1) > 110).sum())


@pytest.fixture(params=["image", "gl"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "gl" and (QGuiApplication.platformName() == "offscreen" or os.environ.get("CI_NO_GL")):
        pytest.skip("Qt has no OpenGL on this platform")
    monkeypatch.setenv("MEDVIEWER_GL", request.param)
    return str(request.param)


def test_3d_is_drawn_and_composes(qtbot: QtBot, kind: str, views: FourViews, workspace: Workspace) -> None:
    built(qtbot, views)
    assert type(views.volume.view).__name__ == {"image": "ImageView", "gl": "GlView"}[kind]
    qtbot.waitUntil(lambda: bright(views.volume.view) > 500, timeout=WAIT_MS)  # type: ignore[arg-type]
    views.volume.presets.setCurrentText(NO_VOLUME)
    views.volume.presets.activated.emit(0)
    workspace.view.crosshair_visible = False
    qtbot.waitUntil(lambda: bright(views.volume.view) < 200, timeout=WAIT_MS)  # type: ignore[arg-type]
    volume = workspace.active
    assert volume is not None
    segmentation = workspace.segmentation(volume.id)
    group = segmentation.new_group("g")
    group.labels[10:40, 10:40, 10:40] = 1
    segmentation.put_group(group)
    segmentation.put_segment(Segment(1, "cube", (255, 255, 255)))
    qtbot.waitUntil(lambda: bright(views.volume.view) > 2000, timeout=WAIT_MS)  # type: ignore[arg-type]
    corner = picture(views.volume.view)[5, -5]  # type: ignore[arg-type]
    assert corner.tolist() == pytest.approx([14, 16, 19], abs=2)  # opaque, nothing shines through


@pytest.mark.parametrize("software", [True, False])
def test_a_long_movement_is_followed_where_a_graphics_card_draws(
    qtbot: QtBot, views: FourViews, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, software: bool
) -> None:
    built(qtbot, views)
    panel = views.volume
    starts: list[float] = []
    clock = [0.0]
    panel._later.stop()
    monkeypatch.setattr("medviewer.ui.views.volume_panel.monotonic", lambda: clock[0])
    monkeypatch.setattr(panel, "_software", software)
    started = panel._later.start
    monkeypatch.setattr(panel._later, "start", lambda: (starts.append(clock[0]), started()))
    volume = workspace.active
    assert volume is not None
    segmentation = workspace.segmentation(volume.id)
    segmentation.put_group(segmentation.new_group("g"))
    starts.clear()
    panel._later.stop()
    for n in range(13):  # the hand does not rest
        clock[0] = n / 8
        segmentation.labels_changed.emit(Region((0, 0, 0), (1, 1, 1)), 0)
    assert starts == [n / 8 for n in range(13 if software else 9)]


def test_a_click_in_3d_moves_the_crosshair(qtbot: QtBot, kind: str, views: FourViews, workspace: Workspace) -> None:
    built(qtbot, views)
    view = views.volume.view
    scene = views.volume.scene
    assert view is not None
    assert scene is not None
    from medviewer.render.picking import display_of

    ratio = view.devicePixelRatioF()
    x, y = display_of(scene.renderer, (-20.0, -6.0, 10.0), round(view.height() * ratio))
    qtbot.mouseClick(view, LEFT, pos=QPoint(round(x / ratio), round(y / ratio)))
    assert np.abs(np.array(workspace.view.crosshair_lps) - (-20, -6, 10)).max() < 6
    frames = view.frames
    before = scene.renderer.GetActiveCamera().GetPosition()
    drag(qtbot, view, LEFT, middle_of(view), middle_of(view) + QPoint(30, 0), middle_of(view) + QPoint(60, 10))
    assert not np.allclose(before, scene.renderer.GetActiveCamera().GetPosition())
    qtbot.waitUntil(lambda: view.frames > frames, timeout=WAIT_MS)
    views.reset_views()
    assert scene.renderer.GetActiveCamera().GetDirectionOfProjection()[1] > 0.99
    qtbot.mouseDClick(view, LEFT, pos=middle_of(view))
    assert workspace.view.maximised == "volume"


def test_a_tool_takes_the_drag_in_3d_and_shift_turns(qtbot: QtBot, kind: str, views: FourViews, hand: Hand) -> None:
    built(qtbot, views)
    view, scene = views.volume.view, views.volume.scene
    assert view is not None
    assert scene is not None
    hand.takes = True
    hand.cursor = CursorSpec("cross", in_3d=True)
    views.set_cursor_dirty()
    assert view.cursor().shape() == Qt.CursorShape.CrossCursor
    before = scene.renderer.GetActiveCamera().GetPosition()
    place = middle_of(view) + QPoint(12, -7)
    drag(qtbot, view, LEFT, place, place + QPoint(20, 5))
    assert [e.phase for e in hand.events if e.phase != "hover"][-3:] == ["press", "move", "release"]
    assert np.allclose(before, scene.renderer.GetActiveCamera().GetPosition())
    press = next(e for e in hand.events if e.phase == "press")
    assert press.sight is not None
    ratio = view.devicePixelRatioF()
    assert press.sight.point == pytest.approx((place.x() * ratio, place.y() * ratio), abs=1)
    seen = press.sight.world_to_screen @ [*press.lps, 1.0]
    assert seen[:2] / seen[3] == pytest.approx(press.sight.point, abs=1), "the point lies under the pointer"
    count = len(hand.events)
    QTest.mousePress(view, LEFT, Qt.KeyboardModifier.ShiftModifier, place)
    move(view, place + QPoint(40, 0), LEFT, Qt.KeyboardModifier.ShiftModifier)
    QTest.mouseRelease(view, LEFT, Qt.KeyboardModifier.ShiftModifier, place + QPoint(40, 0))
    assert not [e for e in hand.events[count:] if e.phase != "hover"]
    assert not np.allclose(before, scene.renderer.GetActiveCamera().GetPosition())
    for key in (Qt.Key.Key_Return, Qt.Key.Key_Backspace):
        qtbot.keyClick(view, key)
    assert hand.keys[-2:] == ["apply", "back"]


def test_the_crosshair_costs_no_frame_in_3d(qtbot: QtBot, views: FourViews, workspace: Workspace) -> None:
    if os.environ.get("MEDVIEWER_GL") == "gl":
        pytest.skip("Qt paints the whole view with OpenGL")
    built(qtbot, views)
    view = views.volume.view
    assert view is not None
    qtbot.wait(500)
    frames, before = view.frames, picture(view)
    workspace.view.crosshair_lps = (10.0, 10.0, 20.0)
    assert (picture(view) != before).any()
    assert view.frames == frames


def test_twelve_times_made_and_closed(qtbot: QtBot, kind: str, workspace: Workspace, hand: Hand) -> None:
    signals = [workspace.active_changed, workspace.view.crosshair_changed, workspace.view.maximised_changed]
    before = [len(signal) for signal in signals]
    for _ in range(12):
        made = FourViews(workspace, hand, show_point(workspace))
        made.resize(500, 400)
        made.show()
        built(qtbot, made)
        made.close_views()
        made.close()
        made.deleteLater()
        QApplication.processEvents()
    assert [len(signal) for signal in signals] == before


def test_closed_before_it_was_made(qtbot: QtBot, workspace: Workspace, hand: Hand) -> None:
    made = FourViews(workspace, hand, show_point(workspace))
    made.show()
    QApplication.processEvents()
    made.close_views()
    made.close()
    QApplication.processEvents()
    assert made.volume.view is None


def test_moved_into_another_window(qtbot: QtBot, kind: str, views: FourViews) -> None:
    built(qtbot, views)
    view = views.volume.view
    assert view is not None
    qtbot.waitUntil(lambda: bright(view) > 500, timeout=WAIT_MS)
    other = QWidget()
    qtbot.addWidget(other)
    views.setParent(other)
    other.resize(820, 660)
    other.show()
    views.show()
    qtbot.waitUntil(lambda: bright(view) > 500, timeout=WAIT_MS)
    views.setParent(None)


def test_golden_view(qtbot: QtBot, views: FourViews, axial: SliceCanvas) -> None:
    """Letters, lines and numbers are there: where they are, the picture is not what the scene alone shows."""
    over = picture(axial)
    ratio = axial.devicePixelRatioF()
    for x, y in ((0.5, 0.02), (0.5, 0.9), (0.02, 0.5), (0.98, 0.5)):
        row, column = round(y * over.shape[0]), round(x * over.shape[1])
        near = over[max(0, row - 14) : row + 14, max(0, column - 16) : column + 16]
        assert (near.min(axis=-1) > 190 * min(1, ratio)).any()


def test_qt_keeps_count_of_none() -> None:
    """A Qt call without a result must not take a reference from None: before Python 3.12 the process ends of it."""
    import sys

    widget = QWidget()
    before = sys.getrefcount(None)
    for _ in range(500):
        widget.update()
    assert sys.getrefcount(None) > before - 100


# --- images without depth


def test_a_film_has_one_view_for_itself_and_the_layout_comes_back(views: FourViews, workspace: Workspace) -> None:
    volume, film_ = workspace.active, film()
    assert volume is not None
    workspace.view.maximised = "coronal"
    workspace.add_volume(film_)
    workspace.activate(film_.id)
    assert [name for name, panel in views.slices.items() if panel.isVisible()] == ["axial"]
    assert not views.volume.isVisible()
    panel = views.slices["axial"]
    assert panel.title.text == "Film"
    assert not panel.slider.isVisible()
    assert panel.canvas.width() > 0.9 * views.width()
    panel.canvas.maximise_asked.emit()  # a double click
    assert workspace.view.maximised == "coronal", "the arrangement for volumes is not touched"
    workspace.activate(volume.id)
    assert [name for name, panel in views.slices.items() if panel.isVisible()] == ["coronal"]
    workspace.view.maximised = ""
    assert all(panel.isVisible() for panel in (*views.slices.values(), views.volume))
    assert panel.title.text == "Axial"
    assert panel.slider.isVisible()


def test_keys_in_a_film_go_on_to_the_right_and_down(qtbot: QtBot, views: FourViews, workspace: Workspace) -> None:
    film_ = film()
    workspace.add_volume(film_)
    workspace.activate(film_.id)
    canvas = views.slices["axial"].canvas
    canvas.scene.show_slice(4)
    for key, wanted in ((Qt.Key.Key_Right, 5), (Qt.Key.Key_PageDown, 6), (Qt.Key.Key_Left, 5), (Qt.Key.Key_Up, 4)):
        qtbot.keyClick(canvas, key)
        assert slice_of(views, "axial") == wanted
    qtbot.keyClick(canvas, Qt.Key.Key_End)
    assert slice_of(views, "axial") == 11
    qtbot.keyClick(canvas, Qt.Key.Key_Home)
    assert slice_of(views, "axial") == 0


def test_a_volume_that_is_nowhere_in_the_patient_has_no_named_planes(views: FourViews, workspace: Workspace) -> None:
    loose = replace(LETTER, in_patient=False, id="loose")
    workspace.add_volume(loose)
    workspace.activate("loose")
    titles = [views.slices[plane].title.text for plane in PLANES]
    assert titles == ["Plane i, j", "Plane i, k", "Plane j, k"]
    assert all(panel.isVisible() for panel in views.slices.values())


def test_the_colour_under_the_mouse_is_told(views: FourViews, workspace: Workspace) -> None:
    picture_ = photo()
    workspace.add_volume(picture_)
    workspace.activate(picture_.id)
    canvas = views.slices["axial"].canvas
    info = canvas.info_at(QPointF(middle_of(canvas)))
    assert info is not None
    assert info.kji is not None
    assert picture_.colors is not None
    assert info.color == tuple(picture_.colors[info.kji])


# --- warnings


def test_warnings_stay_over_the_views_as_long_as_their_image_is_looked_at(
    qtbot: QtBot, views: FourViews, workspace: Workspace
) -> None:
    volume = workspace.active
    assert volume is not None
    assert not views.warnings.isVisible()
    texts = [f"Slice {n} <b>is</b> missing." for n in range(4)]
    warned = replace(LETTER, id="warned", warnings=tuple(SeriesWarning("W_GAP", text) for text in texts))
    workspace.add_volume(warned)
    workspace.activate("warned")
    assert views.warnings.isVisible()
    assert views.warnings.words.text().split("\n") == texts
    assert views.warnings.words.textFormat() is Qt.TextFormat.PlainText
    qtbot.mouseClick(views.warnings.more, LEFT)
    assert views.warnings.words.text() == texts[0]
    assert views.warnings.more.text() == "3 more"
    workspace.activate(volume.id)
    assert not views.warnings.isVisible()
    workspace.activate("warned")
    assert views.warnings.words.text() == texts[0], "folded as it was left"
    workspace.replace_volume(replace(warned, warnings=warned.warnings[1:2]))
    assert views.warnings.words.text() == texts[1]
    assert not views.warnings.more.isVisible()
