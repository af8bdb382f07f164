"""The picture of a slice, and the wheel and the keys on it."""

from __future__ import annotations

from functools import cache

from PySide6.QtCore import QEvent, QPointF, Qt, Signal
from PySide6.QtGui import (
    QCursor,
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

from medviewer.core.view_state import Plane
from medviewer.core.workspace import Workspace
from medviewer.render.marks import Circle, Mark, Polygon, marks, prompt_marks, tool_lines
from medviewer.render.plane import PlaneGrid
from medviewer.render.slice_scene import SliceScene
from medviewer.ui.icons import draw
from medviewer.ui.text import plain_tip
from medviewer.ui.views.cursor_info import CursorInfo, cursor_info
from medviewer.ui.views.hand import Hand
from medviewer.ui.views.mark_painter import MarkPainter
from medviewer.ui.views.pointer_map import held
from medviewer.ui.views.slice_mouse import SliceMouse

_CURSOR_COLOR = (255, 255, 255)
_ZOOM_STEP = 1.2


@cache
def turn_cursor() -> QCursor:
    """Return the pointer over a handle that turns planes."""
    return QCursor(draw("turn", "#ffffff", 24))


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
        self.frames = 0
        self._workspace = workspace
        self._hand = hand
        self._mouse: QPointF | None = None
        #: The slice and the voxels that were told of last.
        self._told: tuple[PlaneGrid, int, int] | None = None
        self._wheel = 0
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(64, 64)
        self.scene = SliceScene(workspace, plane, self._changed)
        self.buttons = SliceMouse(self, self.scene, hand)

    def close_scene(self) -> None:
        """Stop following the document."""
        self.scene.close()

    def _changed(self) -> None:
        self.update()
        self.slice_changed.emit()
        if self._mouse is not None and self._told != self._shown():
            # Another slice, frame or time point under a mouse that rests.
            self._tell_cursor()

    def _shown(self) -> tuple[PlaneGrid, int, int] | None:
        frame, volume = self.scene.frame, self.scene.volume
        return None if frame is None or volume is None else (frame.grid, frame.slice_index, id(volume.array))

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
        """Show the pointer of the active tool, or that of what the mouse does."""
        spec, drag = self._hand.cursor, self.buttons.drag
        shape = Qt.CursorShape.ArrowCursor if spec.kind == "arrow" else Qt.CursorShape.CrossCursor
        if drag == "pan":
            shape = Qt.CursorShape.ClosedHandCursor
        elif self.buttons.space:
            shape = Qt.CursorShape.OpenHandCursor
        elif drag == "turn" or (drag is None and self._mouse is not None and self.buttons.on_handle(self._mouse)):
            shape = Qt.CursorShape.BitmapCursor
        if self.cursor().shape() != shape:
            self.setCursor(turn_cursor() if shape is Qt.CursorShape.BitmapCursor else shape)
        self.update()

    # --- the mouse

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Start a drag."""
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        if self.buttons.press(event):
            self.refresh_cursor()

    def tabletEvent(self, event: QTabletEvent) -> None:
        """Remember how hard the pen presses."""
        self.buttons.tablet(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Go on with a drag, or hover."""
        self._mouse = event.position()
        if self.buttons.drag is None:
            self._hover(event)
        else:
            self.buttons.move(event)
        self._tell_cursor()

    def _hover(self, event: QMouseEvent) -> None:
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self.buttons.put_crosshair(event.position())
        self.buttons.offer("hover", event)
        self.refresh_cursor()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """End a drag."""
        if self.buttons.release(event):
            self.refresh_cursor()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Maximise, unless the first click was used: two quick dabs are two dabs."""
        left, buttons = event.button() == Qt.MouseButton.LeftButton, self.buttons
        if left and buttons.tool_click and buttons.offer("double", event):
            self.refresh_cursor()
        elif left and not (buttons.tool_click or buttons.space or buttons.on_handle(event.position())):
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

    def _tell_cursor(self) -> None:
        self._told = self._shown()
        info = self.info_at(self._mouse) if self._mouse is not None else None
        self.cursor_moved.emit(info)
        seen = info.segments if info is not None and self.buttons.drag is None else ()
        self.setToolTip(plain_tip(", ".join(seen)))

    def info_at(self, position: QPointF) -> CursorInfo | None:
        """Return what lies under a position in the widget."""
        frame, volume = self.scene.frame, self.scene.volume
        if frame is None or volume is None:
            return None
        ratio = self.devicePixelRatioF()
        lps = frame.display_to_lps(position.x() * ratio, position.y() * ratio)
        return cursor_info(self._workspace, volume, frame.grid.plane, lps)

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
                self.buttons.space = True
                self.buttons.space_alone = self.buttons.space_alone if event.isAutoRepeat() else True
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
            if self.buttons.space and self.buttons.space_alone:
                self._hand.swap()
            self.buttons.space = False
            self.refresh_cursor()
        else:
            super().keyReleaseEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Another widget hears when Space goes up."""
        super().focusOutEvent(event)
        self.buttons.space = False
