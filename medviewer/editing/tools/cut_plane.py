"""Cut by plane: two clicks make a line, and the plane behind it cuts a part of the segment off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

import numpy as np

from medviewer.core.geometry import Points, Vec3
from medviewer.core.params import Doc
from medviewer.core.region import Region
from medviewer.editing.change import Change, NewSegment, SegmentMask
from medviewer.editing.effect import Compute, EditScene
from medviewer.editing.tool import BaseTool, CursorLine, CursorSpec, Key, PointerEvent, ToolContext, tool
from medviewer.imaging.planes import distance_from
from medviewer.imaging.scissors import plane_of_line, screen_points, seen_point, slice_to_screen
from medviewer.jobs.job import JobContext

#: Pixels within which an end of the line is taken hold of.
_GRASP = 9.0
#: Depth of the screen at which the line is drawn in 3D.
_DRAWN_AT = 0.1


@dataclass(slots=True)
class CutPlaneOptions:
    """Options of the cut."""

    part: Annotated[
        Literal["smaller", "larger"], Doc("Which part is cut off; Ctrl with the second click takes the other")
    ] = "smaller"
    becomes: Annotated[Literal["nothing", "a new segment"], Doc("What the part becomes that is cut off")] = "nothing"


@tool("cut_plane", "Cut by plane")
class CutPlane(BaseTool):
    """Cuts along a plane perpendicular to the view, through a line whose ends can be dragged until Enter."""

    in_3d = True
    hint: ClassVar[str] = (
        "Click twice for a line, drag its ends; Enter cuts, Ctrl with the second click takes the other part."
    )
    live: ClassVar[bool] = True
    stays: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.options = CutPlaneOptions()
        self._ends: list[Vec3] = []
        self._held: int | None = None
        self._pointer: Vec3 | None = None
        self._other = False
        #: The view as a screen, as it was when the line was last changed.
        self._matrix: Points = np.eye(4)
        self._in_3d = False

    @property
    def cursor(self) -> CursorSpec:
        """A cross, and the line."""
        ends = self._ends
        if len(ends) == 1 and self._pointer is not None:
            ends = [*ends, self._pointer]
        if self.ctx is None or not ends:
            return CursorSpec("cross", in_3d=True)
        return CursorSpec("cross", lines=(CursorLine(tuple(ends), handles=True, in_3d=self._in_3d),), in_3d=True)

    def activate(self, ctx: ToolContext) -> None:
        """Become the active tool."""
        super().activate(ctx)
        self._forget()

    def pointer(self, event: PointerEvent) -> bool:
        """Click twice, or drag; then drag the ends, double-click to cut."""
        if self.ctx is None:
            return False
        place = self._place(event)
        if event.phase == "hover":
            self._pointer = place if self._ends and self._in_3d == (event.sight is not None) else None
            return False
        if event.phase == "double":
            if len(self._ends) == 2:
                self.ctx.apply()
            return True
        if event.phase == "press":
            self._press(event, place)
        elif self._held is not None:
            self._ends[self._held] = place
            self._look(event)
        if event.phase == "release":
            self._held = None
        return True

    def key(self, key: Key) -> bool:
        """Backspace takes the last end back, Esc the line."""
        if not self._ends or key == "apply":
            return False
        if key == "back":
            self._ends.pop()
            self._held = None
        else:
            self._forget()
        return True

    def applied(self) -> None:
        """The cut is made."""
        self._forget()

    def plan(self, scene: EditScene) -> Compute | None:
        """Return what parts the segment, once there is a line."""
        if len(self._ends) < 2 or math.dist(*self._ends) == 0.0:
            return None
        start, end = screen_points(self._matrix, self._ends)
        plane = plane_of_line(start, end, self._matrix)
        larger = (self.options.part == "larger") != self._other
        return partial(_part, scene, plane, larger, self.options.becomes == "a new segment")

    def _press(self, event: PointerEvent, place: Vec3) -> None:
        reach = _GRASP if event.sight is not None else max(_GRASP * event.mm_per_pixel, 0.5)
        distances = [self._apart(event, end, place) for end in self._ends]
        if self._in_3d == (event.sight is not None) and distances and min(distances) <= reach:
            self._held = int(np.argmin(distances))
            return
        if len(self._ends) == 2 or self._in_3d != (event.sight is not None):
            self._forget()
        self._ends.append(place)
        self._held = len(self._ends) - 1
        self._other = "ctrl" in event.modifiers
        self._look(event)

    def _look(self, event: PointerEvent) -> None:
        assert self.ctx is not None
        self._in_3d = event.sight is not None
        grid = event.tilted or self.ctx.editor.target.geometry
        self._matrix = slice_to_screen(grid, event.axis) if event.sight is None else event.sight.world_to_screen

    def _place(self, event: PointerEvent) -> Vec3:
        sight = event.sight
        return event.lps if sight is None else seen_point(sight.world_to_screen, sight.point, _DRAWN_AT)

    def _apart(self, event: PointerEvent, end: Vec3, place: Vec3) -> float:
        """Distance in mm on a slice, in pixels in 3D."""
        if event.sight is None:
            return math.dist(end, place)
        return math.dist(*screen_points(event.sight.world_to_screen, (end, place)))

    def _forget(self) -> None:
        self._ends = []
        self._held = self._pointer = None


def _part(scene: EditScene, plane: Points, larger: bool, keep: bool, ctx: JobContext) -> Change:
    box = scene.box()
    if box is None:
        return Change("Cut by plane", note=f"“{scene.segment.name}” is empty: there is nothing to cut.")
    mask = scene.mask(region=box)
    above = np.empty_like(mask)
    (k0, *low), (_, *up) = box.lower, box.upper
    for n, part in enumerate(mask):
        ctx.check_cancelled()
        layer = Region((k0 + n, low[0], low[1]), (k0 + n + 1, up[0], up[1]))
        above[n] = part & (distance_from(scene.geometry, layer, plane)[0] > 0)
    below = mask & ~above
    first, second = (above, below) if np.count_nonzero(above) <= np.count_nonzero(below) else (below, above)
    cut_off, kept = (second, first) if larger else (first, second)
    new = (NewSegment(f"{scene.segment.name} 2", box, cut_off),) if keep and cut_off.any() else ()
    return Change("Cut by plane", (SegmentMask(scene.segment.value, box, kept),), new)
