"""What the tools share that draw an outline with one drag."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from medviewer.core.geometry import Vec3
from medviewer.editing.outlines import OutlineTool, ShapeOptions, moved
from medviewer.editing.tool import CursorLine, PointerEvent
from medviewer.imaging.outline import fill_outline


class ShapeTool(OutlineTool, ABC):
    """An outline drawn from press to release; pressed inside it is moved, pressed outside it is filled first."""

    hint: ClassVar[str] = (
        "Drag to draw, drag points or the inside to change it; Enter or the next one fills, Ctrl erases."
    )

    def __init__(self) -> None:
        super().__init__()
        self.options: ShapeOptions = ShapeOptions()
        self._start: Vec3 | None = None
        #: Where the pointer was when the whole outline was last moved.
        self._moved_from: Vec3 | None = None

    @abstractmethod
    def start(self, lps: Vec3) -> None:
        """Begin a new outline."""

    @abstractmethod
    def stretch(self, start: Vec3, lps: Vec3) -> None:
        """Go on with the new outline."""

    def rubber(self) -> tuple[CursorLine, ...]:
        """A new outline is one drag: nothing is to be announced."""
        return ()

    def begin(self, event: PointerEvent) -> None:
        """Move what lies under the pointer, or begin anew."""
        if self.points and self._is_inside(event.lps):
            self._moved_from = event.lps
            return
        if self.points:
            self.apply()
            self.forget()
            self._erases = "ctrl" in event.modifiers
        self._start = event.lps
        self.start(event.lps)

    def pointer(self, event: PointerEvent) -> bool:
        """Draw, change, or move the outline."""
        if self.ctx is not None and event.phase == "move":
            if self._start is not None:
                self.stretch(self._start, event.lps)
            elif self._moved_from is not None:
                self.points = moved(self.points, self._moved_from, event.lps)
                self._moved_from = event.lps
        return super().pointer(event)

    def released(self, event: PointerEvent) -> None:
        """A click that drew nothing leaves nothing; what was drawn may be filled at once."""
        drawn, self._start, self._moved_from = self._start is not None, None, None
        if not drawn:
            return
        if self.is_nothing():
            self.forget()
        elif self.options.apply_at_once:
            self.apply()

    def is_nothing(self) -> bool:
        """Whether the new outline is too small to have been meant."""
        return len(self.outline()) < 3

    def forget(self) -> None:
        """Drop the outline."""
        super().forget()
        self._start = self._moved_from = None

    def _is_inside(self, lps: Vec3) -> bool:
        region, mask = fill_outline(self.grid, list(self.outline()), self.axis)
        kji = self.grid.voxel_at(lps)
        if kji is None or not region.contains(kji):
            return False
        k, j, i = (m - low for m, low in zip(kji, region.lower, strict=True))
        return bool(mask[k, j, i])
