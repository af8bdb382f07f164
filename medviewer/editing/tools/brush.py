"""Brush and eraser: a disc in the slice or a sphere, in millimetres or as a part of the view."""

from __future__ import annotations

from dataclasses import replace

from medviewer.core.geometry import Vec3
from medviewer.core.region import Kji, Region
from medviewer.core.segmentation import Mask
from medviewer.editing.round_tool import RoundTool
from medviewer.editing.stencil import capsule
from medviewer.editing.tool import PointerEvent, tool
from medviewer.imaging.adaptive import like_center
from medviewer.imaging.scissors import screen_depth, seen_point


class RoundBrush(RoundTool):
    """What brush and eraser share: a stroke from press to release, without gaps however fast the mouse moves."""

    erases = False

    def __init__(self) -> None:
        super().__init__()
        self._erasing = False
        #: How deep in the 3D view the stroke began: it goes on there, or it would climb on what it paints.
        self._depth = 0.0

    @property
    def in_3d(self) -> bool:
        """Whether it takes the left button in the 3D view too."""
        return self.options.on_surfaces

    def pointer(self, event: PointerEvent) -> bool:
        """Paint from press to release; Ctrl turns brush into eraser and back."""
        if event.sight is not None:
            if event.phase == "press":
                self._depth = screen_depth(event.sight.world_to_screen, event.lps)
            if self._depth <= 0.0:
                return False  # nothing is seen there: the camera turns
            event = replace(event, lps=seen_point(event.sight.world_to_screen, event.sight.point, self._depth))
        if self.ctx is None:
            return False
        self.look_at(event)
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
        flat = (self.options.shape == "disc" and event.sight is None) or self.ctx.editor.volume.stacking != "place"
        axis = event.axis if flat else None
        geometry = self.ctx.editor.target.geometry
        region, mask = capsule(geometry, start_lps, event.lps, self.radius_mm, axis, event.tilted)
        self._last = event.lps
        if self.options.adaptive and not region.is_empty:
            mask = self._like_middle(region, mask, geometry.voxel_at(event.lps))
        if not region.is_empty:
            self._stroke.paint(region, mask, value=0 if self._erasing else None)

    def _like_middle(self, region: Region, mask: Mask, middle: Kji | None) -> Mask:
        assert self.ctx is not None
        if middle is None or not region.contains(middle):
            return mask & False
        k, j, i = (m - low for m, low in zip(middle, region.lower, strict=True))
        values = self.ctx.editor.volume.array[region.slices]
        return like_center(values, mask, (k, j, i), self.options.tolerance or None)


@tool("brush", "Brush", shortcut="B")
class Brush(RoundBrush):
    """Adds to the active segment."""


@tool("eraser", "Eraser", shortcut="E")
class Eraser(RoundBrush):
    """Takes away from the active segment."""

    erases = True
