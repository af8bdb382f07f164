"""From Qt's mouse to VTK's interactor."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QPointF, Qt, Signal
from PySide6.QtGui import QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QWidget
from vtkmodules.vtkRenderingUI import vtkGenericRenderWindowInteractor

from medviewer.ui.views.pointer_map import CLICK_SLOP

_BUTTONS = {
    Qt.MouseButton.LeftButton: "Left",
    Qt.MouseButton.RightButton: "Right",
    Qt.MouseButton.MiddleButton: "Middle",
}


class VtkMouse(QObject):
    """Gives a widget's mouse to VTK's interactor, and tells clicks from drags.

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
                self.double_clicked.emit()
            case QEvent.Type.MouseMove if isinstance(event, QMouseEvent):
                self._place(interactor, event.position(), event.modifiers())
                interactor.MouseMoveEvent()
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
        shift = bool(modifiers & Qt.KeyboardModifier.ShiftModifier)
        interactor.SetEventInformation(round(x), round(y), int(ctrl), int(shift), "\0", 0)
        return x, y

    def _press(self, interactor: vtkGenericRenderWindowInteractor, event: QMouseEvent) -> None:
        name = _BUTTONS.get(event.button())
        if name is not None:
            self._pressed = event.position() if name == "Left" else None
            self._place(interactor, event.position(), event.modifiers())
            getattr(interactor, f"{name}ButtonPressEvent")()

    def _release(self, interactor: vtkGenericRenderWindowInteractor, event: QMouseEvent) -> None:
        name = _BUTTONS.get(event.button())
        if name is None:
            return
        x, y = self._place(interactor, event.position(), event.modifiers())
        getattr(interactor, f"{name}ButtonReleaseEvent")()
        pressed, self._pressed = self._pressed, None
        if pressed is not None and (event.position() - pressed).manhattanLength() <= CLICK_SLOP:
            self.clicked.emit(x, y)

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
