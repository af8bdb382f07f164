"""The picture of a slice and the mouse on it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from PySide6.QtCore import QEvent, QPointF, Qt, Signal
from PySide6.QtGui import (
    QEnterEvent,
    QFocusEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QTabletEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from medviewer.core.geometry import Vec3
from medviewer.core.segmentation import Color
from medviewer.core.view_state import Plane, WindowLevel
from medviewer.core.workspace import Workspace
from medviewer.editing.tool import Phase
from medviewer.render.marks import Circle, Mark, Polygon, marks, prompt_marks, tool_lines
from medviewer.render.slice_scene import SliceScene
from medviewer.ui.text import plain_tip
from medviewer.ui.views.hand import Hand
from medviewer.ui.views.mark_painter import MarkPainter
from medviewer.ui.views.pointer_map import CLICK_SLOP, NavigationMode, held, pointer_event

DragKind = Literal["tool", "window", "crosshair", "pan", "zoom"]
_CURSOR_COLOR = (255, 255, 255)
_ZOOM_STEP = 1.2


@dataclass(frozen=True, slots=True)
class CursorInfo:
    """What lies under the mouse.

    Attributes
    ----------
    plane : Plane
    lps : (float, float, float)
        LPS mm, on the shown slice.
    kji : (int, int, int) or None
        Voxel; None outside the image.
    value : float or None
        In the unit of the volume.
    segments : tuple of str
        Names of the segments shown at this voxel, topmost first.
    color : (int, int, int) or None
        Red, green, blue of a colour picture.
    """

    plane: Plane
    lps: Vec3
    kji: tuple[int, int, int] | None
    value: float | None
    unit: str
    segments: tuple[str, ...]
    color: Color | None = None


@dataclass(frozen=True, slots=True)
class _Drag:
    """A button is down: what it does, where it went down, where it was last, and the window there was."""

    kind: DragKind
    button: Qt.MouseButton
    start: QPointF
    last: QPointF
    window: WindowLevel
    moved: bool = False


class SliceCanvas(QWidget):
    """Shows a `SliceScene`. Repaints are merged: `update` only marks, Qt paints once.

    Parameters
    ----------
    workspace : Workspace
        The document.
    plane : Plane
        Which of the three.
    hand : Hand
        Holds the active tool.

    Signals
    -------
    cursor_moved(CursorInfo or None)
    maximise_asked()
    slice_changed()
        Another slice, or another volume, is shown.
    """

    cursor_moved = Signal(object)
    maximise_asked = Signal()
    slice_changed = Signal()

    def __init__(
        self,
        workspace: Workspace,
        plane: Plane,
        hand: Hand,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName(f"{plane}_canvas")
        self.navigation: NavigationMode = "window"
        self.frames = 0
        self._workspace = workspace
        self._hand = hand
        self._drag: _Drag | None = None
        self._mouse: QPointF | None = None
        #: The slice and the voxels that were told of last.
        self._told: tuple[int, int] | None = None
        self._wheel = 0
        self._space = False
        self._space_alone = False
        self._tool_click = False
        self._pressure = 1.0
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(64, 64)
        self.scene = SliceScene(workspace, plane, self._changed)

    def close_scene(self) -> None:
        """Stop following the document."""
        self.scene.close()

    def _changed(self) -> None:
        self.update()
        self.slice_changed.emit()
        if self._mouse is not None and self._told != self._shown():
            # Another slice, frame or time point under a mouse that rests.
            self._tell_cursor()

    def _shown(self) -> tuple[int, int] | None:
        frame, volume = self.scene.frame, self.scene.volume
        return None if frame is None or volume is None else (frame.slice_index, id(volume.array))

    # --- the picture

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Take the new size."""
        super().resizeEvent(event)
        self._fit_scene()

    def _fit_scene(self) -> None:
        ratio = self.devicePixelRatioF()
        self.scene.resize(round(self.width() * ratio), round(self.height() * ratio))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the picture and the marks over it."""
        self._fit_scene()  # the window may have moved to a screen with another pixel ratio
        pixels = self.scene.render()
        height, width = pixels.shape
        ratio = self.devicePixelRatioF()
        image = QImage(pixels.data.cast("B"), width, height, 4 * width, QImage.Format.Format_RGB32)
        painter = QPainter(self)
        painter.scale(1 / ratio, 1 / ratio)
        painter.drawImage(0, 0, image)
        MarkPainter(painter, width, height, ratio).paint([*marks(self.scene, ratio), *self._cursor_marks(ratio)])
        painter.end()
        self.frames += 1

    def _cursor_marks(self, ratio: float) -> list[Mark]:
        frame, spec = self.scene.frame, self._hand.cursor
        if frame is None:
            return []
        shown: list[Mark] = [
            *prompt_marks(frame, spec.prompts, 4 * ratio), *tool_lines(frame, spec.lines, 3.5 * ratio)
        ]  # fmt: skip
        if self._mouse is None or spec.kind not in ("circle", "box"):
            return shown
        x, y = self._mouse.x() * ratio, self._mouse.y() * ratio
        if spec.kind == "box":
            left, top = frame.lps_to_display(spec.corner_lps)
            return [*shown, Polygon(((left, top), (x, top), (x, y), (left, y)), _CURSOR_COLOR)]
        radius = spec.radius_mm / frame.mm_per_pixel
        return [
            *shown,
            Circle((x, y), (radius + ratio, radius + ratio), (0, 0, 0)),
            Circle((x, y), (radius, radius), _CURSOR_COLOR),
        ]

    def refresh_cursor(self) -> None:
        """Show the pointer of the active tool."""
        spec = self._hand.cursor
        shape = Qt.CursorShape.ArrowCursor if spec.kind == "arrow" else Qt.CursorShape.CrossCursor
        if self._drag is not None and self._drag.kind == "pan":
            shape = Qt.CursorShape.ClosedHandCursor
        elif self._space:
            shape = Qt.CursorShape.OpenHandCursor
        if self.cursor().shape() != shape:
            self.setCursor(shape)
        self.update()

    # --- the mouse

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Start a drag."""
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        if self.scene.frame is None or self._drag is not None:
            return
        kind = self._kind_of(event)
        if kind is None:
            return
        position = event.position()
        self._drag = _Drag(kind, event.button(), position, position, self._workspace.view.window)
        if kind == "crosshair":
            self._put_crosshair(position)
        self.refresh_cursor()

    def _kind_of(self, event: QMouseEvent) -> DragKind | None:
        if event.button() == Qt.MouseButton.RightButton:
            return "zoom"
        if event.button() == Qt.MouseButton.MiddleButton:
            return "pan"
        if event.button() != Qt.MouseButton.LeftButton:
            return None
        if self._space:
            self._space_alone = False
            return "pan"
        self._tool_click = self._offer("press", event)
        return "tool" if self._tool_click else self.navigation

    def _offer(self, phase: Phase, event: QMouseEvent) -> bool:
        frame = self.scene.frame
        if frame is None:
            return False
        return self._hand.pointer(
            pointer_event(phase, event.position(), self.devicePixelRatioF(), frame, event.modifiers(), self._pressure)
        )

    def tabletEvent(self, event: QTabletEvent) -> None:
        """Remember how hard the pen presses, and leave the rest to the mouse event that Qt makes of it."""
        if event.type() == QEvent.Type.TabletRelease:
            self._pressure = 1.0
        else:
            self._pressure = event.pressure() or 1.0  # a pen that hovers, or one that cannot tell
        event.ignore()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Go on with a drag, or hover."""
        self._mouse = event.position()
        if self._drag is None:
            self._hover(event)
        else:
            self._go_on(self._drag, event)
        self._tell_cursor()

    def _hover(self, event: QMouseEvent) -> None:
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self._put_crosshair(event.position())
        self._offer("hover", event)
        self.refresh_cursor()

    def _go_on(self, drag: _Drag, event: QMouseEvent) -> None:
        position = event.position()
        offset = position - drag.start
        moved = drag.moved or math.hypot(offset.x(), offset.y()) > CLICK_SLOP
        self._drag = replace(drag, last=position, moved=moved)
        ratio = self.devicePixelRatioF()
        step = (position - drag.last) * ratio
        match drag.kind:
            case "tool":
                self._offer("move", event)
                self.update()
            case "crosshair":
                self._put_crosshair(position)
            case "pan":
                self.scene.pan_by(step.x(), step.y())
            case "zoom":
                # Towards the user is nearer, as in most workstations: down enlarges.
                start = drag.start * ratio
                self.scene.zoom_by(math.exp(step.y() / ratio / 150), start.x(), start.y())
            case "window" if moved:
                self._workspace.view.window = dragged_window(drag.window, offset.x(), offset.y())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """End a drag; a click that was none puts the crosshair."""
        drag = self._drag
        if drag is None or event.button() != drag.button:
            return
        self._drag = None
        if drag.kind == "tool":
            self._offer("release", event)
        elif drag.kind == "window" and not drag.moved:
            self._put_crosshair(event.position())
        self.refresh_cursor()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Maximise, unless a tool used the first click: two quick dabs are two dabs."""
        if self._tool_click and event.button() == Qt.MouseButton.LeftButton and self._offer("double", event):
            self.refresh_cursor()
            return
        if event.button() == Qt.MouseButton.LeftButton and not self._tool_click and not self._space:
            self.maximise_asked.emit()
        else:
            self.mousePressEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Go through slices; with Ctrl, zoom; with Shift, make the tool bigger or smaller."""
        self._wheel += event.angleDelta().y() or event.angleDelta().x()
        steps = int(self._wheel / 120)  # touchpads send parts of a step
        self._wheel -= steps * 120
        if steps and self._hand.wheel(steps, held(event.modifiers())):
            self.refresh_cursor()
        elif steps and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            position = event.position() * self.devicePixelRatioF()
            self.scene.zoom_by(_ZOOM_STEP**steps, position.x(), position.y())
        elif steps:
            self.scene.step(steps)
        self._mouse = event.position()
        self._tell_cursor()
        event.accept()

    def enterEvent(self, event: QEnterEvent) -> None:
        """Show the tool's pointer."""
        super().enterEvent(event)
        self.refresh_cursor()

    def leaveEvent(self, event: QEvent) -> None:
        """Hide the tool's pointer."""
        super().leaveEvent(event)
        self._mouse = None
        self.cursor_moved.emit(None)
        self.update()

    def _put_crosshair(self, position: QPointF) -> None:
        frame = self.scene.frame
        if frame is not None:
            ratio = self.devicePixelRatioF()
            self._workspace.view.crosshair_lps = frame.display_to_lps(position.x() * ratio, position.y() * ratio)

    def _tell_cursor(self) -> None:
        self._told = self._shown()
        info = self.info_at(self._mouse) if self._mouse is not None else None
        self.cursor_moved.emit(info)
        self.setToolTip(plain_tip(", ".join(info.segments)) if info is not None and self._drag is None else "")

    def info_at(self, position: QPointF) -> CursorInfo | None:
        """Return what lies under a position in the widget."""
        frame, volume = self.scene.frame, self.scene.volume
        if frame is None or volume is None:
            return None
        ratio = self.devicePixelRatioF()
        lps = frame.display_to_lps(position.x() * ratio, position.y() * ratio)
        kji = volume.geometry.voxel_at(lps)
        value = volume.value_at(kji) if kji is not None else None
        color: Color | None = None
        if kji is not None and volume.colors is not None:
            red, green, blue = (int(channel) for channel in volume.colors[kji])
            color = (red, green, blue)
        return CursorInfo(frame.grid.plane, lps, kji, value, volume.unit, self._segments_at(kji), color)

    def _segments_at(self, kji: tuple[int, int, int] | None) -> tuple[str, ...]:
        segmentation = self._workspace.active_segmentation
        if kji is None or segmentation is None:
            return ()
        found = (segmentation.find(int(group.labels[kji])) for group in reversed(segmentation.groups))
        look, active = self._workspace.view.look, segmentation.active
        return tuple(s.name for s in found if s is not None and look.shows(s, active))

    # --- the keys

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Slices by the arrow and page keys, first and last by Home and End, R fits, Space with a drag moves it."""
        match event.key():
            case Qt.Key.Key_PageUp | Qt.Key.Key_Up:
                self.scene.step(1)
            case Qt.Key.Key_PageDown | Qt.Key.Key_Down:
                self.scene.step(-1)
            case Qt.Key.Key_Right | Qt.Key.Key_Left:
                onward = 1 if event.key() == Qt.Key.Key_Right else -1
                volume = self.scene.volume
                # To the right is later in a film; in a volume the same as up.
                self.scene.step(-onward if volume is not None and volume.stacking != "place" else onward)
            case Qt.Key.Key_Home | Qt.Key.Key_End if self.scene.frame is not None:
                far = self.scene.frame.grid.count
                self.scene.step(far if event.key() == Qt.Key.Key_Home else -far)
            case Qt.Key.Key_R if not event.modifiers():
                self.scene.reset()
            case Qt.Key.Key_Space:
                self._space = True
                self._space_alone = self._space_alone if event.isAutoRepeat() else True
                self.refresh_cursor()
            case Qt.Key.Key_Return | Qt.Key.Key_Enter if self._hand.key("apply"):
                self.refresh_cursor()
            case Qt.Key.Key_Backspace if self._hand.key("back"):
                self.refresh_cursor()
            case _:
                super().keyPressEvent(event)

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        """Space is up again; without a drag meanwhile it swaps the last two tools."""
        if event.key() == Qt.Key.Key_Space and not event.isAutoRepeat():
            if self._space and self._space_alone:
                self._hand.swap()
            self._space = False
            self.refresh_cursor()
        else:
            super().keyReleaseEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Another widget hears when Space goes up."""
        super().focusOutEvent(event)
        self._space = False


def dragged_window(start: WindowLevel, dx: float, dy: float) -> WindowLevel:
    """Return the window after a drag by pixels: right widens it, down raises its centre, so up is brighter."""
    return WindowLevel(start.center + dy * start.width / 300, start.width * math.exp(dx / 200))
