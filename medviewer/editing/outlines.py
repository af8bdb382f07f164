"""What the outline tools share: points that can be changed until the outline is filled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from medviewer.core.geometry import Geometry, Points, Vec3, vec3
from medviewer.core.params import Doc
from medviewer.editing.tool import BaseTool, CursorLine, CursorSpec, Key, PointerEvent, ToolContext
from medviewer.imaging.outline import fill_outline

#: Pixels of the desktop within which a point or an edge is taken hold of.
_GRASP = 7.0


@dataclass(slots=True)
class OutlineOptions:
    """Options of an outline."""

    action: Annotated[Literal["add", "erase"], Doc("What the inside becomes; Ctrl turns it round")] = "add"


@dataclass(slots=True)
class ShapeOptions(OutlineOptions):
    """Options of an outline that is drawn with one drag."""

    apply_at_once: Annotated[bool, Doc("Fill it on release, without time to change its points")] = False


class OutlineTool(BaseTool):
    """Points on one slice, and the closed outline through them, which Enter or a double click fills.

    What is not filled yet stays where it is when another tool is used; drawing on another slice fills it first.

    Attributes
    ----------
    points : list of (float, float, float)
        LPS mm, of the points that can be taken hold of.
    """

    hint: ClassVar[str] = (
        "Click from point to point, drag points and edges; Enter or a double click fills, X goes back."
    )
    label = "Outline"
    options: OutlineOptions

    def __init__(self) -> None:
        super().__init__()
        self.points: list[Vec3] = []
        self.axis = 2
        #: Grid of the view that is drawn in, where it is turned against the image's.
        self.tilted: Geometry | None = None
        self._erases = False
        self._held: int | None = None
        self._pointer: Vec3 | None = None
        self._volume_id = ""

    # --- what a kind of outline says

    def outline(self) -> Sequence[Vec3]:
        """Return the closed outline, LPS mm."""
        return self.points

    def begin(self, event: PointerEvent) -> None:
        """Take a press beside the outline."""
        self.points.append(event.lps)
        self._held = len(self.points) - 1

    def drag(self, held: int, lps: Vec3) -> None:
        """Move a point that is held."""
        self.points[held] = lps

    def insert(self, edge: int, lps: Vec3) -> int:
        """Add a point on the edge behind a point, and return its place; -1 where that is not possible."""
        self.points.insert(edge + 1, lps)
        return edge + 1

    def remove(self, place: int) -> None:
        """Take a point out."""
        del self.points[place]

    def rubber(self) -> tuple[CursorLine, ...]:
        """Return what would be drawn if the pointer were pressed now."""
        if len(self.points) and self._pointer is not None and self._held is None:
            return (CursorLine((self.points[-1], self._pointer)),)
        return ()

    # --- the grammar of all of them

    @property
    def geometry(self) -> Geometry:
        """Grid of the masks."""
        assert self.ctx is not None
        return self.ctx.editor.target.geometry

    @property
    def grid(self) -> Geometry:
        """Grid on a slice of which is drawn."""
        return self.tilted or self.geometry

    @property
    def cursor(self) -> CursorSpec:
        """A cross, the outline, its points."""
        if self.ctx is None or not self.points:
            return CursorSpec("cross")
        lines = (CursorLine(tuple(self.outline()), closed=True), *(CursorLine((p,), handles=True) for p in self.points))
        return CursorSpec("cross", lines=(*lines, *self.rubber()))

    def activate(self, ctx: ToolContext) -> None:
        """Become the active tool; an outline that was begun on this image is still there."""
        super().activate(ctx)
        if ctx.editor.volume_id != self._volume_id:
            self.forget()
        self._volume_id = ctx.editor.volume_id

    def deactivate(self) -> None:
        """Stop; the outline waits."""
        self._held = self._pointer = None
        super().deactivate()

    def forget(self) -> None:
        """Drop the outline."""
        self.points.clear()
        self._held = self._pointer = None

    def pointer(self, event: PointerEvent) -> bool:
        """Press on a point to drag it, on an edge to add one, with Shift on a point to take it out."""
        if self.ctx is None:
            return False
        if event.phase == "press":
            self._press(event)
            return True
        if event.phase == "hover":
            self._pointer = event.lps if self._is_here(event) else None
            return False
        if event.phase == "double":
            return self.apply(inverted="ctrl" in event.modifiers)
        if event.phase == "move" and self._held is not None:
            self.drag(self._held, event.lps)
        if event.phase == "release":
            self.released(event)
            self._held = None
        return True

    def released(self, event: PointerEvent) -> None:
        """The button is up again."""

    def key(self, key: Key) -> bool:
        """Enter fills, Backspace takes the last point out, Esc drops the outline."""
        if self.ctx is None or not self.points:
            return False
        if key == "apply":
            return self.apply()
        if key == "back":
            self.remove(len(self.points) - 1)
            self._held = None
        else:
            self.forget()
        return True

    def apply(self, *, inverted: bool = False) -> bool:
        """Fill the outline, or erase what is inside, as one step; True when there is one."""
        assert self.ctx is not None
        outline = list(self.outline())
        if len(outline) < 3:
            return False
        region, mask = fill_outline(self.geometry, outline, self.axis, self.tilted)
        erases = (self.options.action == "erase") != (self._erases or inverted)
        with self.ctx.editor.stroke(f"{self.label} erase" if erases else self.label) as stroke:
            if not region.is_empty:
                stroke.paint(region, mask, 0 if erases else None)
        self.forget()
        return True

    def _press(self, event: PointerEvent) -> None:
        if self.points and not self._is_here(event):
            self.apply()
            self.forget()
        if not self.points:
            self.axis, self.tilted = event.axis, event.tilted
            self._erases = "ctrl" in event.modifiers
        reach = self.reach_mm(event)
        near = self._nearest_point(event.lps)
        if near is not None and near[1] <= reach:
            if "shift" in event.modifiers:
                self.remove(near[0])
            else:
                self._held = near[0]
            return
        edge = self.nearest_edge(event.lps)
        if edge is not None and edge[1] <= reach:
            place = self.insert(edge[0], event.lps)
            if place >= 0:
                self._held = place
                return
        self.begin(event)

    def reach_mm(self, event: PointerEvent) -> float:
        """Return how near a point or an edge must be to be taken hold of."""
        return max(_GRASP * event.mm_per_pixel, 0.25 * min(self.geometry.spacing))

    def _is_here(self, event: PointerEvent) -> bool:
        """Whether an event is on the slice of the outline."""
        if not self.points:
            return True
        here, there = self.grid.lps_to_index([event.lps, self.points[0]])
        same_view = event.axis == self.axis and event.tilted == self.tilted
        return same_view and abs(float(here[self.axis] - there[self.axis])) <= 0.5

    def _nearest_point(self, lps: Vec3) -> tuple[int, float] | None:
        distances = [math.dist(point, lps) for point in self.points]
        return None if not distances else (int(np.argmin(distances)), min(distances))

    def nearest_edge(self, lps: Vec3) -> tuple[int, float] | None:
        """Return the edge between two points, as drawn so far, that is nearest, and how near."""
        if len(self.points) < 3:
            return None
        starts = np.array(self.points)
        steps = np.roll(starts, -1, axis=0) - starts
        distances = from_edges(starts, steps, lps)
        return int(np.argmin(distances)), float(distances.min())


def from_edges(starts: Points, steps: Points, lps: Vec3) -> Points:
    """Return how far a point is from edges, given as their starts and the steps to their ends (n, 3), in mm."""
    length2 = np.maximum((steps**2).sum(axis=1), 1e-12)
    along = np.clip(((np.array(lps) - starts) * steps).sum(axis=1) / length2, 0.0, 1.0)
    distances: Points = np.linalg.norm(starts + along[:, np.newaxis] * steps - np.array(lps), axis=1)
    return distances


def moved(points: Sequence[Vec3], start: Vec3, end: Vec3) -> list[Vec3]:
    """Return points moved along with a pointer."""
    return [vec3(np.array(point) + end - np.array(start)) for point in points]
