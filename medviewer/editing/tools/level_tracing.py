"""Level tracing: the closed curve of equal value under the pointer is shown, and a click fills it."""

from __future__ import annotations

import numpy as np

from medviewer.core.geometry import vec3
from medviewer.core.region import Region
from medviewer.core.segmentation import Mask
from medviewer.editing.tool import BaseTool, CursorLine, CursorSpec, PointerEvent, tool
from medviewer.imaging.level_tracing import level_contour
from medviewer.imaging.outline import fill_outline
from medviewer.imaging.planes import slice_image
from medviewer.imaging.polygon import fill_even_odd


@tool("level_tracing", "Level tracing", group="grow")
class LevelTracing(BaseTool):
    """Adds what lies inside the curve in the slice; with Ctrl takes it away."""

    def __init__(self) -> None:
        super().__init__()
        self._line: CursorLine | None = None

    @property
    def cursor(self) -> CursorSpec:
        """A cross and the curve."""
        return CursorSpec("cross", lines=() if self._line is None else (self._line,))

    def deactivate(self) -> None:
        """Stop."""
        super().deactivate()
        self._line = None

    def pointer(self, event: PointerEvent) -> bool:
        """Show the curve while hovering, fill it on a click."""
        if self.ctx is None or event.phase not in ("hover", "press"):
            return False
        found = self._trace(event)
        if found is None:
            return event.phase == "press"
        region, mask = found
        erasing = "ctrl" in event.modifiers
        with self.ctx.editor.stroke("Level tracing") as stroke:
            stroke.paint(region, mask, value=0 if erasing else None)
        return True

    def _trace(self, event: PointerEvent) -> tuple[Region, Mask] | None:
        """Find the curve by the pointer and show it; return what lies inside, if that is asked for."""
        assert self.ctx is not None
        self._line = None
        geometry, array = self.ctx.editor.target.geometry, self.ctx.editor.volume.array
        kji = geometry.voxel_at(event.lps)
        if kji is None:
            return None
        normal, grid = 2 - event.axis, event.tilted or geometry
        pixel = np.floor(grid.lps_to_index(event.lps)[::-1] + 0.5).astype(int).tolist()
        number = pixel.pop(normal)
        plane = slice_image(array, geometry, event.tilted, event.axis, number)
        row, column = pixel
        curve = level_contour(plane, (row, column))
        if curve is None:
            return None
        places = grid.index_to_lps(np.insert(curve[:-1], normal, number, axis=1)[:, ::-1])
        self._line = CursorLine(tuple(vec3(p) for p in places), closed=True)
        if event.phase == "hover":
            return None
        if event.tilted is not None:
            return fill_outline(geometry, self._line.points_lps, event.axis, event.tilted)
        filled = fill_even_odd([curve[:, ::-1]], (plane.shape[0], plane.shape[1]))
        filled[row, column] = True
        shape = list(array.shape)
        shape[normal] = 1
        lower, upper = [0, 0, 0], list(array.shape)
        lower[normal], upper[normal] = kji[normal], kji[normal] + 1
        return Region((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2])), filled.reshape(shape)
