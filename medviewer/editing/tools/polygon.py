"""Polygon: click from corner to corner."""

from __future__ import annotations

from medviewer.editing.outlines import OutlineOptions, OutlineTool
from medviewer.editing.tool import tool


@tool("polygon", "Polygon", shortcut="G")
class PolygonTool(OutlineTool):
    """Fills the polygon through the points that are clicked."""

    label = "Polygon"

    def __init__(self) -> None:
        super().__init__()
        self.options = OutlineOptions()
