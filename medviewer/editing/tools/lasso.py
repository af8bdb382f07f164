"""Lasso: draw an outline by hand."""

from __future__ import annotations

from medviewer.core.geometry import Vec3
from medviewer.editing.shapes import ShapeTool
from medviewer.editing.tool import tool
from medviewer.imaging.outline import thinned

#: Points are left out that lie nearer to the line without them, in voxels.
_TOLERANCE_VOXELS = 0.3


@tool("lasso", "Lasso", shortcut="L")
class Lasso(ShapeTool):
    """Fills what is drawn around."""

    label = "Lasso"

    def __init__(self) -> None:
        super().__init__()
        self._drawn: list[Vec3] = []

    def start(self, lps: Vec3) -> None:
        """Begin a line."""
        self._drawn = [lps]
        self.points = [lps]

    def stretch(self, start: Vec3, lps: Vec3) -> None:
        """Go on with the line."""
        self._drawn.append(lps)
        self.points = list(thinned(self._drawn, _TOLERANCE_VOXELS * min(self.geometry.spacing)))
