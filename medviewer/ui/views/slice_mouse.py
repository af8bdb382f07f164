"""The buttons of the mouse over a slice: what a press begins, and what a drag does."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtGui import QMouseEvent, QTabletEvent
from PySide6.QtWidgets import QWidget

from medviewer.core.tilt import Tilt
from medviewer.core.view_state import WindowLevel
from medviewer.editing.tool import Phase
from medviewer.render.crosshair import handle_at, turned_by_drag
from medviewer.render.plane import PlaneFrame
from medviewer.render.slice_scene import SliceScene
from medviewer.ui.views.hand import Hand
from medviewer.ui.views.pointer_map import CLICK_SLOP, NavigationMode, pointer_event

DragKind = Literal["tool", "window", "crosshair", "pan", "zoom", "turn"]


@dataclass(frozen=True, slots=True)
class _Drag:
    """A button is down: what it does, where it went down, where it was last, and what there was then."""

    kind: DragKind
    button: Qt.MouseButton
    start: QPointF
    last: QPointF
    window: WindowLevel
    frame: PlaneFrame
    tilt: Tilt | None
    moved: bool = False


class SliceMouse:
    """Does what the buttons say, on the scene and the view state, or through the active tool.

    Parameters
    ----------
    widget : QWidget
        Shows the scene; positions are its own.
    scene : SliceScene
    hand : Hand
        Holds the active tool.
    """

    def __init__(self, widget: QWidget, scene: SliceScene, hand: Hand) -> None:
        self.navigation: NavigationMode = "window"
        #: Whether the space bar makes the left button pan; and whether nothing else was done while it was down.
        self.space = self.space_alone = False
        self.tool_click = False
        self._widget, self._scene, self._hand = widget, scene, hand
        self._view = scene.workspace.view
        self._drag: _Drag | None = None
        self._pressure = 1.0

    @property
    def drag(self) -> DragKind | None:
        """What the button that is down does."""
        return self._drag.kind if self._drag is not None else None

    def press(self, event: QMouseEvent) -> bool:
        """Begin a drag; True when it has begun."""
        frame = self._scene.frame
        if frame is None or self._drag is not None:
            return False
        kind = self._kind_of(event)
        if kind is None:
            return False
        position, view = event.position(), self._view
        self._drag = _Drag(kind, event.button(), position, position, view.window, frame, view.tilt)
        if kind == "crosshair":
            self.put_crosshair(position)
        return True

    def _kind_of(self, event: QMouseEvent) -> DragKind | None:
        if event.button() == Qt.MouseButton.RightButton:
            return "zoom"
        if event.button() == Qt.MouseButton.MiddleButton:
            return "pan"
        if event.button() != Qt.MouseButton.LeftButton:
            return None
        if self.space:
            self.space_alone = False
            return "pan"
        if self.on_handle(event.position()):
            self.tool_click = False
            return "turn"
        self.tool_click = self.offer("press", event)
        return "tool" if self.tool_click else self.navigation

    def on_handle(self, position: QPointF) -> bool:
        """Whether a press here would turn the other two planes."""
        frame, view = self._scene.frame, self._view
        if frame is None or frame.grid.image is None or not view.crosshair_visible:
            return False
        return handle_at(frame, view.crosshair_lps, *self._display(position), self._ratio)

    def offer(self, phase: Phase, event: QMouseEvent) -> bool:
        """Give an event to the tool; True when it was used."""
        frame = self._scene.frame
        return frame is not None and self._hand.pointer(
            pointer_event(phase, event.position(), self._ratio, frame, event.modifiers(), self._pressure)
        )

    def tablet(self, event: QTabletEvent) -> None:
        """Remember how hard the pen presses, and leave the rest to the mouse event that Qt makes of it."""
        if event.type() == QEvent.Type.TabletRelease:
            self._pressure = 1.0
        else:
            self._pressure = event.pressure() or 1.0  # a pen that hovers, or one that cannot tell
        event.ignore()

    def move(self, event: QMouseEvent) -> None:
        """Go on with the drag."""
        drag, position = self._drag, event.position()
        assert drag is not None
        offset = position - drag.start
        moved = drag.moved or math.hypot(offset.x(), offset.y()) > CLICK_SLOP
        self._drag = replace(drag, last=position, moved=moved)
        step = (position - drag.last) * self._ratio
        match drag.kind:
            case "tool":
                self.offer("move", event)
                self._widget.update()
            case "crosshair":
                self.put_crosshair(position)
            case "pan":
                self._scene.pan_by(step.x(), step.y())
            case "zoom":
                # Towards the user is nearer, as in most workstations: down enlarges.
                x, y = self._display(drag.start)
                self._scene.zoom_by(math.exp(step.y() / self._ratio / 150), x, y)
            case "turn" if drag.tilt is not None and moved:
                ends = self._display(drag.start), self._display(position)
                self._view.tilt = turned_by_drag(drag.frame, drag.tilt, self._view.crosshair_lps, *ends)
            case "window" if moved:
                self._view.window = dragged_window(drag.window, offset.x(), offset.y())

    def release(self, event: QMouseEvent) -> bool:
        """End the drag, if this is its button; a click that was none puts the crosshair."""
        drag = self._drag
        if drag is None or event.button() != drag.button:
            return False
        self._drag = None
        if drag.kind == "tool":
            self.offer("release", event)
        elif drag.kind == "window" and not drag.moved:
            self.put_crosshair(event.position())
        return True

    def put_crosshair(self, position: QPointF) -> None:
        """Show the point under a position in all views."""
        frame = self._scene.frame
        if frame is not None:
            self._view.crosshair_lps = frame.display_to_lps(*self._display(position))

    @property
    def _ratio(self) -> float:
        return self._widget.devicePixelRatioF()

    def _display(self, position: QPointF) -> tuple[float, float]:
        return position.x() * self._ratio, position.y() * self._ratio


def dragged_window(start: WindowLevel, dx: float, dy: float) -> WindowLevel:
    """Return the window after a drag by pixels: right widens it, down raises its centre, so up is brighter."""
    return WindowLevel(start.center + dy * start.width / 300, start.width * math.exp(dx / 200))
