"""Where the other two planes cut a slice, and where their lines can be taken hold of to turn them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import atan2, pi
from typing import Literal

import numpy as np

from medviewer.core.geometry import Points, Vec3
from medviewer.core.tilt import Tilt, turned
from medviewer.render.plane import PlaneFrame

#: Pixels of the desktop: from a handle to the edge of the view at most, the shortest half line with one, radius of what
#: is drawn, and how near one takes hold of it.
_FROM_EDGE, _SHORTEST, HANDLE_RADIUS, _NEAR = 58.0, 50.0, 5.0, 8.0
#: The same as a share of the half line, which counts in a small view.
_OUTER = 0.35


@dataclass(frozen=True, slots=True)
class Ray:
    """One half of a line of the crosshair, in display coordinates.

    Attributes
    ----------
    along : "across" or "down"
        Index axis of the view in whose direction it runs.
    start : (float, float)
        The crosshair.
    direction : (float, float)
        Unit vector.
    first, last : float
        Distances from the start between which it is in the view.
    """

    along: Literal["across", "down"]
    start: tuple[float, float]
    direction: tuple[float, float]
    first: float
    last: float

    def at(self, distance: float) -> tuple[float, float]:
        """Return the point at a distance from the start."""
        return self.start[0] + distance * self.direction[0], self.start[1] + distance * self.direction[1]

    def handle_distance(self, ratio: float) -> float | None:
        """Return how far from the start it can be taken hold of; None where it is too short."""
        if self.last - self.first < _SHORTEST * ratio:
            return None
        return self.last - min(_FROM_EDGE * ratio, _OUTER * self.last)


def crosshair_rays(frame: PlaneFrame, lps: Vec3, gap: float) -> Iterator[Ray]:
    """Yield the visible half lines of the other two planes through a point, from `gap` device pixels beside it."""
    x, y = frame.lps_to_display(lps)
    # On the middle of a pixel, so that a line one pixel wide stays sharp.
    start = float(np.floor(x)) + 0.5, float(np.floor(y)) + 0.5
    for along in ("down", "across"):
        for direction in _directions(frame, along):
            first, last = _clip(start, direction, gap, (frame.width, frame.height))
            if first < last:
                yield Ray(along, start, direction, first, last)


def _directions(frame: PlaneFrame, along: Literal["across", "down"]) -> tuple[tuple[float, float], ...]:
    if frame.grid.image is None:
        return ((-1.0, 0.0), (1.0, 0.0)) if along == "across" else ((0.0, -1.0), (0.0, 1.0))
    step = frame.grid.mm_per_index[:, 0 if along == "across" else 1]
    dx, dy = (round(float(v), 12) for v in step / np.linalg.norm(step))
    return (-dx, -dy), (dx, dy)


def _clip(
    start: tuple[float, float], direction: tuple[float, float], first: float, size: tuple[int, int]
) -> tuple[float, float]:
    last = float(sum(size)) + abs(start[0]) + abs(start[1])
    for at, step, end in zip(start, direction, size, strict=True):
        if step == 0:
            if not 0 <= at < end:
                return 0.0, 0.0
        else:
            low, high = sorted((-at / step, (end - at) / step))
            first, last = max(first, low), min(last, high)
    return first, last


def handle_at(frame: PlaneFrame, lps: Vec3, x: float, y: float, ratio: float) -> bool:
    """Whether a line of the crosshair through a point can be taken hold of at a display coordinate.

    That is from its handle to the edge of the view.
    """
    for ray in crosshair_rays(frame, lps, 0.0):
        handle = ray.handle_distance(ratio)
        offset: Points = np.array([x - ray.start[0], y - ray.start[1]])
        along = float(offset @ ray.direction)
        beside = abs(float(offset[0] * ray.direction[1] - offset[1] * ray.direction[0]))
        if handle is not None and beside <= _NEAR * ratio and along >= handle - _NEAR * ratio:
            return True
    return False


def turned_by_drag(
    frame: PlaneFrame, tilt: Tilt, lps: Vec3, start: tuple[float, float], end: tuple[float, float]
) -> Tilt:
    """Return a tilt after a drag of a line of the crosshair through a point: the plane of the view stays as it is.

    Parameters
    ----------
    frame : PlaneFrame
        The view as it was when the drag began.
    tilt : Tilt
        As it was then.
    lps : (float, float, float)
        LPS mm, the crosshair.
    start, end : (float, float)
        Display coordinates where the drag began and where the pointer is.
    """
    x, y = frame.lps_to_display(lps)
    before, after = (atan2(point[1] - y, point[0] - x) for point in (start, end))
    angle = (after - before + pi) % (2 * pi) - pi
    return turned(tilt, np.cross(frame.grid.right_lps, frame.grid.down_lps), angle)
