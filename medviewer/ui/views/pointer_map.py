"""From Qt's mouse to what a tool sees."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QPointF, Qt

from medviewer.editing.tool import Modifier, Phase, PointerEvent
from medviewer.render.plane import PlaneFrame

#: What the left button does when no tool takes it: drag the window (a click puts the crosshair), or the others.
NavigationMode = Literal["window", "crosshair", "pan", "zoom"]

#: Pixels of the desktop that a hand may tremble in a click.
CLICK_SLOP = 3.0

_MODIFIERS: tuple[tuple[Qt.KeyboardModifier, Modifier], ...] = (
    (Qt.KeyboardModifier.ShiftModifier, "shift"),
    (Qt.KeyboardModifier.ControlModifier, "ctrl"),
    (Qt.KeyboardModifier.AltModifier, "alt"),
)


def pointer_event(
    phase: Phase,
    position: QPointF,
    ratio: float,
    frame: PlaneFrame,
    modifiers: Qt.KeyboardModifier,
    pressure: float = 1.0,
) -> PointerEvent:
    """Return an event on the shown slice.

    Parameters
    ----------
    phase : Phase
        Of the left button.
    position : QPointF
        In the widget.
    ratio : float
        Device pixels for one pixel of the desktop.
    frame : PlaneFrame
        What is on the screen.
    modifiers : Qt.KeyboardModifier
        Keys held.
    pressure : float
        Of a pen, 0..1; 1 for a mouse.
    """
    lps = frame.display_to_lps(position.x() * ratio, position.y() * ratio)
    shorter = frame.mm_per_pixel * min(frame.width, frame.height)
    tilted = frame.grid.geometry if frame.grid.image is not None else None
    return PointerEvent(
        phase, lps, frame.grid.normal, held(modifiers), frame.mm_per_pixel * ratio, shorter, pressure, tilted=tilted
    )


def held(modifiers: Qt.KeyboardModifier) -> frozenset[Modifier]:
    """Return the keys that are held."""
    return frozenset(name for flag, name in _MODIFIERS if modifiers & flag)
