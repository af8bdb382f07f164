"""Ellipse: drag from corner to corner of the rectangle around it."""

from __future__ import annotations

from collections.abc import Sequence

from medviewer.core.geometry import Vec3
from medviewer.editing.tool import tool
from medviewer.editing.tools.rectangle import CornerTool
from medviewer.imaging.outline import ellipse


@tool("ellipse", "Ellipse")
class EllipseTool(CornerTool):
    """Fills an ellipse."""

    label = "Ellipse"

    def outline(self) -> Sequence[Vec3]:
        """Return the round line between the corners."""
        if not self.points:
            return ()
        return ellipse(self.geometry, self.points[0], self.points[2], self.axis, self.tilted)
