"""What a view asks of the active tool."""

from __future__ import annotations

from typing import Protocol

from medviewer.editing.tool import CursorSpec, Key, Modifier, PointerEvent


class Hand(Protocol):
    """The hand that holds the active tool; empty when the mouse navigates."""

    @property
    def cursor(self) -> CursorSpec:
        """What the pointer looks like."""

    def pointer(self, event: PointerEvent) -> bool:
        """Take an event of the left button, or a hover; True when it was used."""

    def wheel(self, steps: int, modifiers: frozenset[Modifier]) -> bool:
        """Take a turn of the wheel; True when it was used."""

    def key(self, key: Key) -> bool:
        """Take Enter, Esc or Backspace; True when it was used."""

    def swap(self) -> None:
        """Take up the tool that was in the hand before."""
