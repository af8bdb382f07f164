"""Click to segment: clicks and boxes go to an interactive model, whose answer lands in the active segment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np

from medviewer.core.geometry import Geometry, Vec3
from medviewer.core.params import Doc, TaskChoice
from medviewer.core.prompt import Prompt
from medviewer.core.region import Region
from medviewer.core.segmentation import Mask
from medviewer.editing.stencil import capsule
from medviewer.editing.tool import BaseTool, CursorLine, CursorSpec, PointerEvent, tool
from medviewer.imaging.outline import fill_outline, rectangle, thinned

#: A drag shorter than this many voxels is a click.
_CLICK_VOXELS = 2.0


@dataclass(slots=True)
class ClickOptions:
    """Options of the tool."""

    model: Annotated[str, TaskChoice("interactive"), Doc("What answers the clicks")] = "click_segment"
    marks: Annotated[
        Literal["clicks and boxes", "scribbles", "lassos"], Doc("What a drag is: a box, a line inside, a line around")
    ] = "clicks and boxes"


@tool("click_segment", "Click", shortcut="K", group="model")
class ClickSegment(BaseTool):
    """Adds what is clicked, or lies in the box that is dragged, to the active segment; with Ctrl takes it away."""

    def __init__(self) -> None:
        super().__init__()
        self.options = ClickOptions()
        self._start: Vec3 | None = None
        self._last: Vec3 | None = None
        self._path: list[Vec3] = []

    @property
    def cursor(self) -> CursorSpec:
        """A cross, or the box that is dragged; the clicks so far."""
        prompts = self.ctx.prompts(self.options.model) if self.ctx is not None else ()
        if self._start is not None and self.options.marks != "clicks and boxes":
            line = CursorLine(tuple(self._path), closed=self.options.marks == "lassos")
            return CursorSpec("cross", prompts=prompts, lines=(line,))
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
            self._path = [event.lps]
            return True
        if self._start is None:
            return False
        self._last = event.lps
        self._path.append(event.lps)
        if event.phase == "release":
            prompt = self._prompt(self._start, event)
            self._start = self._last = None
            self.ctx.prompt(self.options.model, prompt)
        return True

    def _prompt(self, start: Vec3, event: PointerEvent) -> Prompt:
        """Return what was drawn; too short to be a line or a box, it is a click."""
        positive, marks = "ctrl" not in event.modifiers, self.options.marks
        if not any(self._is_far(start, place) for place in self._path):
            return Prompt(kind="point", positive=positive, points=(start,))
        if marks == "clicks and boxes":
            corners: tuple[Vec3, ...] = (start, event.lps)
            if event.tilted is not None:
                corners = rectangle(self._geometry, start, event.lps, event.axis, event.tilted)
            return Prompt(kind="box", positive=positive, points=corners)
        points = thinned(self._path, 0.5 * min(self._geometry.spacing))
        if marks == "lassos":
            crop = fill_outline(self._geometry, self._path, event.axis, event.tilted)
            if crop[1].any():
                return Prompt(kind="lasso", positive=positive, points=points, crop=crop)
        return Prompt(kind="scribble", positive=positive, points=points, crop=self._line(event))

    def _line(self, event: PointerEvent) -> tuple[Region, Mask]:
        """Return the voxels under the path."""
        strokes = [capsule(self._geometry, *ends, 0.0, event.axis, event.tilted) for ends in pairwise(self._path)]
        region = reduce(Region.union, (part for part, _ in strokes))
        mask = np.zeros(region.shape, np.bool_)
        for part, line in strokes:
            inside = tuple(
                slice(low - start, up - start)
                for low, up, start in zip(part.lower, part.upper, region.lower, strict=True)
            )
            if line.size:
                mask[inside] |= line
        return region, mask

    @property
    def _geometry(self) -> Geometry:
        assert self.ctx is not None
        return self.ctx.editor.target.geometry

    def _is_box(self) -> bool:
        assert self._start is not None
        assert self._last is not None
        return self._is_far(self._start, self._last)

    def _is_far(self, start: Vec3, place: Vec3) -> bool:
        return math.dist(self._geometry.lps_to_index(start), self._geometry.lps_to_index(place)) > _CLICK_VOXELS
