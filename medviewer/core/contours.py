"""The contours that segments were made from, as they stood in their file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Geometry, Points

#: ContourGeometricType (DICOM PS3.3 C.8.8.6.1), by the number that stands for it in the array.
KINDS = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "OPEN_PLANAR", "OPEN_NONPLANAR", "POINT")
_VALUE, _CONTOUR, _KIND, _X = range(4)


@dataclass(frozen=True, slots=True, eq=False)
class Contour:
    """One contour of a segment: its kind and its points (n, 3), LPS mm."""

    segment: int
    kind: str
    points: Points


#: A contour, its points as (i, j, k), and their extent.
_Placed = tuple[Contour, Points, Points, Points]


@dataclass(frozen=True, eq=False)
class Contours:
    """Contours of the segments of one group, in the order of the file.

    They say what a segment is as long as nobody has edited it.

    Attributes
    ----------
    array : float64, shape (n, 6)
        A row for each point: segment value, number of the contour, number of its kind in `KINDS`, LPS mm.
    """

    array: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.array.ndim != 2 or self.array.shape[1] != 6 or self.array.dtype != np.float64:
            raise ValueError("contours are rows of six float64")
        if len(self.array) and not 0 <= self.array[:, _KIND].min() <= self.array[:, _KIND].max() < len(KINDS):
            raise ValueError("a contour of an unknown kind")

    @classmethod
    def of(cls, contours: Iterable[Contour]) -> Contours:
        """Build from contours in their order."""
        rows = [
            np.column_stack([np.tile([c.segment, n, KINDS.index(c.kind)], (len(c.points), 1)), c.points])
            for n, c in enumerate(contours)
        ]
        return cls(np.concatenate(rows) if rows else np.empty((0, 6)))

    def renumbered(self, mapping: Mapping[int, int]) -> Contours:
        """Return the contours of the segments in `mapping`, under their new values."""
        values = self.array[:, _VALUE].astype(np.int64)
        array = self.array[np.isin(values, list(mapping))].copy()
        array[:, _VALUE] = [mapping[int(value)] for value in array[:, _VALUE]]
        return Contours(array)

    @cached_property
    def all(self) -> tuple[Contour, ...]:
        """Every contour."""
        starts = np.flatnonzero(np.diff(self.array[:, _CONTOUR], prepend=-1.0))
        return tuple(
            Contour(int(rows[0, _VALUE]), KINDS[int(rows[0, _KIND])], rows[:, _X:])
            for rows in np.split(self.array, starts[1:])
            if len(rows)
        )

    def on_slice(self, geometry: Geometry, axis: int, index: int) -> list[tuple[Contour, Points]]:
        """Return the contours that lie within half a slice of a grid, with their points as (i, j, k).

        Parameters
        ----------
        axis : int
            Index axis (0 = i, 1 = j, 2 = k) at right angles to the slice.
        """
        found = []
        for contour, points, lower, upper in self._indices(geometry):
            if index - 0.5 <= lower[axis] and upper[axis] < index + 0.5:
                found.append((contour, points))
        return found

    def _indices(self, geometry: Geometry) -> list[_Placed]:
        """Return every contour with its place on a grid; kept for the grid asked for last."""
        if not self.all:
            return []
        if geometry not in self._placed:
            contours = self.all
            ijk = geometry.lps_to_index(self.array[:, _X:])
            starts = np.cumsum([0, *(len(contour.points) for contour in contours)])[:-1]
            lower, upper = (extreme.reduceat(ijk, starts) for extreme in (np.minimum, np.maximum))
            self._placed.clear()
            self._placed[geometry] = list(zip(contours, np.split(ijk, starts[1:]), lower, upper, strict=True))
        return self._placed[geometry]

    @cached_property
    def _placed(self) -> dict[Geometry, list[_Placed]]:
        return {}
