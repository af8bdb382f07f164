"""Click to segment: clicks and boxes go to an interactive model, whose answer lands in the active segment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from medviewer.core.geometry import Vec3
from medviewer.core.params import Doc, TaskChoice
from medviewer.core.prompt import Prompt
from medviewer.editing.tool import BaseTool, CursorSpec, PointerEvent, tool

#: A drag shorter than this many voxels is a click.
_CLICK_VOXELS = 2.0


@dataclass(slots=True)
class ClickOptions:
    """Options of the tool."""

    model: Annotated[str, TaskChoice("interactive"), Doc("What answers the clicks")] = "click_segment"


@tool("click_segment", "Click", shortcut="K", group="model")
class ClickSegment(BaseTool):
    """Adds what is clicked, or lies in the box that is dragged, to the active segment; with Ctrl takes it away."""

    def __init__(self) -> None:
        super().__init__()
        self.options = ClickOptions()
        self._start: Vec3 | None = None
        self._last: Vec3 | None = None

    @property
    def cursor(self) -> CursorSpec:
        """A cross, or the box that is dragged; the clicks so far."""
        prompts = self.ctx.prompts(self.options.model) if self.ctx is not None else ()
        if self._start is not None and self._is_box():
            return CursorSpec("box", corner_lps=self._start, prompts=prompts)
        return CursorSpec("cross", prompts=prompts)

    def deactivate(self) -> None:
        """Stop; a drag that is not finished counts for nothing."""
        super().deactivate()
        self._start = self._last = None

    def pointer(self, event: PointerEvent) -> bool:
        """Ask the model when the button is released."""
        if self.ctx is None or event.phase == "hover":
            return False
        if event.phase == "press":
            self._start = self._last = event.lps
            return True
        if self._start is None:
            return False
        self._last = event.lps
        if event.phase == "release":
            start, boxed = self._start, self._is_box()
            self._start = self._last = None
            positive = "ctrl" not in event.modifiers
            points = (start, event.lps) if boxed else (start,)
            self.ctx.prompt(
                self.options.model, Prompt(kind="box" if boxed else "point", positive=positive, points=points)
            )
        return True

    def _is_box(self) -> bool:
        assert self.ctx is not None
        assert self._start is not None
        assert self._last is not None
        geometry = self.ctx.editor.target.geometry
        return math.dist(geometry.lps_to_index(self._start), geometry.lps_to_index(self._last)) > _CLICK_VOXELS
