"""Brush and eraser: a disc in the slice or a sphere, in millimetres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from medviewer.core.geometry import Vec3
from medviewer.core.params import Range, Unit
from medviewer.editing.editor import Stroke
from medviewer.editing.stencil import capsule
from medviewer.editing.tool import BaseTool, CursorSpec, PointerEvent, tool


@dataclass(slots=True)
class BrushOptions:
    """Options of brush and eraser."""

    radius_mm: Annotated[float, Range(0.5, 100.0, 0.5), Unit("mm")] = 5.0
    shape: Literal["disc", "sphere"] = "disc"


class RoundBrush(BaseTool):
    """What brush and eraser share: a stroke from press to release, without gaps however fast the mouse moves."""

    erases = False
    #: One set of options: who makes the brush bigger wants the eraser bigger too.
    shared_options = BrushOptions()

    def __init__(self) -> None:
        super().__init__()
        self.options = self.shared_options
        self._stroke: Stroke | None = None
        self._erasing = False
        self._last: Vec3 | None = None

    @property
    def cursor(self) -> CursorSpec:
        """A circle as big as the brush."""
        return CursorSpec("circle", self.options.radius_mm)

    def deactivate(self) -> None:
        """Stop, keeping what was painted."""
        self._finish()
        super().deactivate()

    def pointer(self, event: PointerEvent) -> bool:
        """Paint from press to release; Ctrl turns brush into eraser and back."""
        if self.ctx is None:
            return False
        if event.phase == "press":
            self._finish()
            self._erasing = self.erases != ("ctrl" in event.modifiers)
            self._stroke = self.ctx.editor.begin("Eraser" if self._erasing else "Brush")
            self._paint(event.lps, event)
            return True
        if self._stroke is None:
            return False
        if event.phase == "move":
            self._paint(self._last or event.lps, event)
            return True
        if event.phase == "release":
            self._paint(self._last or event.lps, event)
            self._finish()
            return True
        return False

    def _paint(self, start_lps: Vec3, event: PointerEvent) -> None:
        assert self.ctx is not None
        assert self._stroke is not None
        # Frames of a film are not neighbours in space: a sphere there is a disc.
        flat = self.options.shape == "disc" or self.ctx.editor.volume.stacking != "place"
        axis = event.axis if flat else None
        geometry = self.ctx.editor.target.geometry
        region, mask = capsule(geometry, start_lps, event.lps, self.options.radius_mm, axis)
        self._last = event.lps
        if not region.is_empty:
            self._stroke.paint(region, mask, value=0 if self._erasing else None)

    def _finish(self) -> None:
        if self._stroke is not None:
            self._stroke = None
            self._last = None
            if self.ctx is not None:
                self.ctx.editor.commit()


@tool("brush", "Brush", shortcut="B")
class Brush(RoundBrush):
    """Adds to the active segment."""


@tool("eraser", "Eraser", shortcut="E")
class Eraser(RoundBrush):
    """Takes away from the active segment."""

    erases = True
