"""Rectangle: drag from corner to corner."""

from __future__ import annotations

from medviewer.core.geometry import Vec3
from medviewer.editing.shapes import ShapeTool
from medviewer.editing.tool import tool
from medviewer.imaging.outline import rectangle


class CornerTool(ShapeTool):
    """A shape that four corners hold; one of them dragged, the opposite one stays."""

    def start(self, lps: Vec3) -> None:
        """Begin with nothing inside."""
        self.points = [lps] * 4

    def stretch(self, start: Vec3, lps: Vec3) -> None:
        """Reach from where the drag began to the pointer."""
        self.points = list(rectangle(self.geometry, start, lps, self.axis, self.tilted))

    def drag(self, held: int, lps: Vec3) -> None:
        """Move one corner."""
        ring = rectangle(self.geometry, lps, self.points[(held + 2) % 4], self.axis, self.tilted)
        same = held % 2 == 0
        # Sides keep their names: the ring goes on from the corner that is held, in the direction it had.
        order = ring if same else (ring[0], ring[3], ring[2], ring[1])
        self.points = [order[(n - held) % 4] for n in range(4)]

    def insert(self, edge: int, lps: Vec3) -> int:
        """It has four corners."""
        return -1

    def remove(self, place: int) -> None:
        """Without one corner there is none."""
        self.forget()

    def is_nothing(self) -> bool:
        """Whether the pointer has not moved along both sides."""
        return self.points[0] in self.points[1:]


@tool("rectangle", "Rectangle", shortcut="T")
class RectangleTool(CornerTool):
    """Fills a rectangle."""

    label = "Rectangle"
