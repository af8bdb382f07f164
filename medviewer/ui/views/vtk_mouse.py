"""From Qt's mouse to VTK's interactor."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, QPointF, Qt, Signal
from PySide6.QtGui import QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QWidget
from vtkmodules.vtkRenderingUI import vtkGenericRenderWindowInteractor

from medviewer.editing.tool import Phase
from medviewer.ui.views.pointer_map import CLICK_SLOP

_BUTTONS = {
    Qt.MouseButton.LeftButton: "Left",
    Qt.MouseButton.RightButton: "Right",
    Qt.MouseButton.MiddleButton: "Middle",
}


Offer = Callable[[Phase, QPointF, Qt.KeyboardModifier], bool]


def _no_tool(_phase: Phase, _position: QPointF, _modifiers: Qt.KeyboardModifier) -> bool:
    return False


class VtkMouse(QObject):
    """Gives a widget's mouse to a tool that wants it, or else to VTK's interactor, and tells clicks from drags.

    With Shift the left button always turns, so that one can look around a tool's work.

    Attributes
    ----------
    offer : callable
        Offers an event of the left button to the active tool, in pixels of the widget; True when it was used.

    Signals
    -------
    clicked(float, float)
        Device pixels from the bottom left, as VTK counts.
    double_clicked()
    """

    clicked = Signal(float, float)
    double_clicked = Signal()

    def __init__(self, widget: QWidget, interactor: vtkGenericRenderWindowInteractor) -> None:
        super().__init__(widget)
        self._widget = widget
        self._interactor: vtkGenericRenderWindowInteractor | None = interactor
        self._pressed: QPointF | None = None
        self._wheel = 0
        self.offer: Offer = _no_tool
        #: The left button went down for a tool, and is still down.
        self._tool_drag = False
        self._tool_click = False
        widget.installEventFilter(self)

    def close(self) -> None:
        """Leave the widget alone."""
        self._widget.removeEventFilter(self)
        self._interactor = None

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Take mouse and wheel."""
        interactor = self._interactor
        if interactor is None:
            return False
        match event.type():
            case QEvent.Type.MouseButtonPress if isinstance(event, QMouseEvent):
                self._press(interactor, event)
            case QEvent.Type.MouseButtonRelease if isinstance(event, QMouseEvent):
                self._release(interactor, event)
            case QEvent.Type.MouseButtonDblClick if isinstance(event, QMouseEvent):
                self._double(interactor, event)
            case QEvent.Type.MouseMove if isinstance(event, QMouseEvent):
                self._move(interactor, event)
            case QEvent.Type.Wheel if isinstance(event, QWheelEvent):
                self._turn(interactor, event)
            case _:
                return False
        return True

    def _place(
        self, interactor: vtkGenericRenderWindowInteractor, position: QPointF, modifiers: Qt.KeyboardModifier
    ) -> tuple[float, float]:
        ratio = self._widget.devicePixelRatioF()
        x, y = position.x() * ratio, (self._widget.height() - position.y()) * ratio
        ctrl = bool(modifiers & Qt.KeyboardModifier.ControlModifier)
        interactor.SetEventInformation(round(x), round(y), int(ctrl), 0, "\0", 0)
        return x, y

    def _press(self, interactor: vtkGenericRenderWindowInteractor, event: QMouseEvent) -> None:
        name = _BUTTONS.get(event.button())
        if name == "Left":
            turns = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            self._tool_click = self._tool_drag = not turns and self._offered("press", event)
        if name is not None and not (name == "Left" and self._tool_drag):
            self._pressed = event.position() if name == "Left" else None
            self._place(interactor, event.position(), event.modifiers())
            getattr(interactor, f"{name}ButtonPressEvent")()

    def _release(self, interactor: vtkGenericRenderWindowInteractor, event: QMouseEvent) -> None:
        name = _BUTTONS.get(event.button())
        if name is None:
            return
        if name == "Left" and self._tool_drag:
            self._tool_drag = False
            self._offered("release", event)
            return
        x, y = self._place(interactor, event.position(), event.modifiers())
        getattr(interactor, f"{name}ButtonReleaseEvent")()
        pressed, self._pressed = self._pressed, None
        if pressed is not None and (event.position() - pressed).manhattanLength() <= CLICK_SLOP:
            self.clicked.emit(x, y)

    def _move(self, interactor: vtkGenericRenderWindowInteractor, event: QMouseEvent) -> None:
        if self._tool_drag:
            self._offered("move", event)
            return
        if not event.buttons():
            self._offered("hover", event)
        self._place(interactor, event.position(), event.modifiers())
        interactor.MouseMoveEvent()

    def _double(self, interactor: vtkGenericRenderWindowInteractor, event: QMouseEvent) -> None:
        if event.button() != Qt.MouseButton.LeftButton or not self._tool_click:
            self.double_clicked.emit()
        elif not self._offered("double", event):
            self._press(interactor, event)

    def _offered(self, phase: Phase, event: QMouseEvent) -> bool:
        return self.offer(phase, event.position(), event.modifiers())

    def _turn(self, interactor: vtkGenericRenderWindowInteractor, event: QWheelEvent) -> None:
        self._place(interactor, event.position(), event.modifiers())
        self._wheel += event.angleDelta().y()
        steps = int(self._wheel / 120)
        self._wheel -= steps * 120
        for _ in range(abs(steps)):
            if steps > 0:
                interactor.MouseWheelForwardEvent()
            else:
                interactor.MouseWheelBackwardEvent()
        event.accept()
