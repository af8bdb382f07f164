"""Scissors: cut a segment with an outline, in a slice or in the 3D view."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

import numpy as np

from medviewer.core.geometry import Geometry, Points, Vec3
from medviewer.core.params import Doc, Range, Unit
from medviewer.core.region import Region
from medviewer.core.segmentation import Mask
from medviewer.editing.change import Change, SegmentMask
from medviewer.editing.editor import EditRefused
from medviewer.editing.effect import Compute, EditScene
from medviewer.editing.tool import BaseTool, CursorLine, CursorSpec, Key, PointerEvent, ToolContext, tool
from medviewer.imaging.outline import circle, fill_outline, rectangle
from medviewer.imaging.planes import Slab, distance_from, plane_at
from medviewer.imaging.scissors import ScreenPoint, behind_screen, behind_slice, forward, looking, seen_box, seen_point
from medviewer.jobs.job import JobContext

Reach = Literal["everything", "both sides", "one side", "other side"]
#: Voxels that are looked at between two checks for cancel.
_AT_ONCE = 1 << 22
#: A slice belongs to itself: rounding must not take it out.
_ROUNDING_MM = 1e-3
#: Depth of the screen at which the outline is drawn in 3D.
_DRAWN_AT = 0.1


@dataclass(slots=True)
class ScissorsOptions:
    """Options of the scissors."""

    shape: Literal["free", "rectangle", "circle"] = "free"
    action: Annotated[Literal["erase", "fill"], Doc("Ctrl turns it round")] = "erase"
    where: Annotated[Literal["inside", "outside"], Doc("On which side of the outline")] = "inside"
    reach: Annotated[
        Reach,
        Doc("How deep it cuts. One side: from this slice to the head, anterior or left; in 3D before the crosshair"),
    ] = "everything"
    depth_mm: Annotated[float, Range(0.5, 500.0, 0.5), Unit("mm"), Doc("How deep, for both sides together")] = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """One outline, and what is to be done with it.

    Attributes
    ----------
    outline_lps : tuple of (float, float, float)
        Of a slice.
    axis : int
        Index axis normal to the slice.
    tilted : Geometry or None
        Grid of which the slice is, where the view is turned against the image's.
    outline : tuple of (float, float), and matrix : array (4, 4) or None
        Of a 3D view; see `Sight`.
    """

    fills: bool
    outside: bool
    reach: Reach
    depth_mm: float
    outline_lps: tuple[Vec3, ...] = ()
    axis: int = 2
    tilted: Geometry | None = None
    outline: tuple[ScreenPoint, ...] = ()
    matrix: Points | None = None

    def plane(self, geometry: Geometry, crosshair_lps: Vec3) -> Points | None:
        """Return the plane that depth is counted from, towards what "one side" means; None when it does not matter."""
        if self.reach == "everything":
            return None
        if self.matrix is None:
            return plane_at(self.outline_lps[0], forward(self.tilted or geometry, self.axis))
        x, y, z = looking(self.matrix)
        return plane_at(crosshair_lps, (-x, -y, -z))

    def box(self, geometry: Geometry) -> Region:
        """Return the box of voxels that lie behind the outline."""
        if self.matrix is not None:
            return seen_box(geometry, self.outline, self.matrix)
        if self.tilted is not None:
            slab = Slab(geometry, self.tilted, self.axis, self.outline_lps[0])
            ends = slab.distance(geometry.lps_to_index(geometry.corners_lps))
            return slab.box(self.outline_lps, depth_mm=(float(ends.min()), float(ends.max())))
        drawn, _ = fill_outline(geometry, self.outline_lps, self.axis)
        lower, upper = list(drawn.lower), list(drawn.upper)
        lower[2 - self.axis], upper[2 - self.axis] = 0, geometry.shape[2 - self.axis]
        return Region((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))

    def taken(self, geometry: Geometry, region: Region, where: Mask, plane: Points | None) -> Mask:
        """Return which true voxels of a mask the cut takes."""
        if self.matrix is None:
            behind = behind_slice(geometry, region, self.outline_lps, self.axis, self.tilted)
        else:
            behind = behind_screen(geometry, region, where, self.outline, self.matrix)
        taken: Mask = where & (behind != self.outside)
        if plane is not None:
            taken &= self._reached(distance_from(geometry, region, plane))
        return taken

    def _reached(self, distance_mm: Points) -> Mask:
        depth = {"both sides": -np.abs(distance_mm) + self.depth_mm / 2, "one side": distance_mm}
        reached: Mask = depth.get(self.reach, -distance_mm) >= -_ROUNDING_MM
        return reached


@tool("scissors", "Scissors", shortcut="C")
class Scissors(BaseTool):
    """Cuts when the button is released; costs as much as the segment is large, however long the outline."""

    in_3d = True
    hint: ClassVar[str] = "Draw around what goes, in a slice or in 3D; Ctrl fills instead, Shift and a drag turn in 3D."
    live: ClassVar[bool] = True
    stays: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.options = ScissorsOptions()
        self._path: list[PointerEvent] = []
        #: Drawn, and not yet carried out.
        self._cuts: list[Cut] = []

    @property
    def cursor(self) -> CursorSpec:
        """A cross, and the outline that is drawn."""
        if len(self._path) < 2 or self.ctx is None:
            return CursorSpec("cross", in_3d=True)
        sight = self._path[0].sight
        if sight is None:
            return CursorSpec("cross", lines=(CursorLine(self._on_slice(), closed=True),), in_3d=True)
        points = tuple(seen_point(sight.world_to_screen, point, _DRAWN_AT) for point in self._on_screen())
        return CursorSpec("cross", lines=(CursorLine(points, closed=True, in_3d=True),), in_3d=True)

    def activate(self, ctx: ToolContext) -> None:
        """Become the active tool."""
        super().activate(ctx)
        self._path.clear()
        self._cuts.clear()

    def pointer(self, event: PointerEvent) -> bool:
        """Draw from press to release, then cut."""
        if self.ctx is None or event.phase == "hover":
            return False
        if event.phase == "press":
            self._path = [event]
        elif event.phase == "move" and self._path:
            self._path.append(event)
        elif event.phase == "release" and self._path:
            self._path.append(event)
            cut = self._cut("ctrl" in event.modifiers)
            self._path = []
            if cut is not None:
                self._cuts.append(cut)
                self.ctx.apply()
        return True

    def key(self, key: Key) -> bool:
        """Esc drops the outline in the hand."""
        drawing = bool(self._path)
        if key == "cancel":
            self._path.clear()
            self._cuts.clear()
        return key == "cancel" and drawing

    def applied(self) -> None:
        """The cuts are made."""
        self._cuts.clear()

    def plan(self, scene: EditScene) -> Compute | None:
        """Return what carries the cuts out."""
        cuts = tuple(self._cuts)
        if not cuts:
            return None
        if scene.segment.locked:
            self._cuts.clear()
            raise EditRefused(f"“{scene.segment.name}” is locked.", hint="Unlock it in the segment list.")
        return partial(_carry_out, scene, cuts)

    def _on_slice(self) -> tuple[Vec3, ...]:
        assert self.ctx is not None
        geometry, axis = self.ctx.editor.target.geometry, self._path[0].axis
        start, end = self._path[0].lps, self._path[-1].lps
        if self.options.shape == "free":
            return tuple(event.lps for event in self._path)
        shape = rectangle if self.options.shape == "rectangle" else circle
        return shape(geometry, start, end, axis, self._path[0].tilted)

    def _on_screen(self) -> tuple[ScreenPoint, ...]:
        path = [event.sight.point for event in self._path if event.sight is not None]
        (x0, y0), (x1, y1) = path[0], path[-1]
        if self.options.shape == "free":
            return tuple(path)
        if self.options.shape == "rectangle":
            return ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
        radius, angles = np.hypot(x1 - x0, y1 - y0), np.linspace(0.0, 2 * np.pi, 72, endpoint=False)
        return tuple((float(x0 + radius * np.cos(a)), float(y0 + radius * np.sin(a))) for a in angles)

    def _cut(self, inverted: bool) -> Cut | None:
        """Return the outline that was drawn, or None when it encloses nothing."""
        first, options = self._path[0], self.options
        common = ((options.action == "fill") != inverted, options.where == "outside", options.reach, options.depth_mm)
        if len({event.lps for event in self._path}) < (3 if options.shape == "free" else 2):
            return None
        if first.sight is None:
            return Cut(*common, outline_lps=self._on_slice(), axis=first.axis, tilted=first.tilted)
        return Cut(*common, axis=first.axis, outline=self._on_screen(), matrix=first.sight.world_to_screen)


def _carry_out(scene: EditScene, cuts: tuple[Cut, ...], ctx: JobContext) -> Change:
    geometry, value = scene.geometry, scene.segment.value
    label = "Scissors fill" if all(cut.fills for cut in cuts) else "Scissors"
    box = scene.box()
    for cut in cuts:
        if cut.fills:
            drawn = geometry.region if cut.outside else cut.box(geometry)
            box = drawn if box is None else box.union(drawn)
    if box is None or box.is_empty:
        return Change(label, note=f"“{scene.segment.name}” is empty: there is nothing to cut.")
    mask = scene.mask(region=box).copy()
    for cut in cuts:
        plane = cut.plane(geometry, scene.crosshair_lps)
        for part, here in _slabs(box, ctx.check_cancelled):
            now = mask[here]
            taken = cut.taken(geometry, part, ~now if cut.fills else now, plane)
            now[taken] = cut.fills
    return Change(label, (SegmentMask(value, box, mask),))


def _slabs(box: Region, check: Callable[[], None]) -> list[tuple[Region, slice]]:
    """Return a box as slabs of so many voxels, each with its place in it."""
    check()
    (k0, j0, i0), (k1, j1, i1) = box.lower, box.upper
    step = max(1, _AT_ONCE // ((j1 - j0) * (i1 - i0)))
    return [
        (Region((k, j0, i0), (min(k + step, k1), j1, i1)), slice(k - k0, min(k + step, k1) - k0))
        for k in range(k0, k1, step)
    ]
