"""Live wire: the outline follows the edges of the image from click to click."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Vec3, vec3
from medviewer.editing.outlines import OutlineOptions, OutlineTool, from_edges
from medviewer.editing.tool import CursorLine, CursorSpec, PointerEvent, tool
from medviewer.imaging.livewire import LiveWire, edge_cost
from medviewer.imaging.planes import in_plane_axes, slice_image

#: Voxels on each side of an anchor within which the wire follows edges; beyond, it is a straight line.
_REACH = 80
#: Voxels around two anchors that the wire between them may go round.
_MARGIN = 16

Pixel = tuple[int, int]


@tool("livewire", "Live wire", shortcut="V")
class LiveWireTool(OutlineTool):
    """Clicks set anchors; the cheapest way along edges joins them, and is shown to the pointer while it moves."""

    label = "Live wire"

    def __init__(self) -> None:
        super().__init__()
        self.options = OutlineOptions()
        #: The wire from each anchor to the next one, without the anchors themselves.
        self._wires: list[list[Vec3]] = []
        #: Where the wires of the last anchor start, to be followed by the pointer; made when first needed.
        self._live: tuple[Vec3, Pixel, LiveWire] | None = None
        self._closing: tuple[tuple[Vec3, Vec3], list[Vec3]] | None = None

    @property
    def cursor(self) -> CursorSpec:
        """A cross, the wire so far and to the pointer, its anchors."""
        if self.ctx is None or not self.points:
            return CursorSpec("cross")
        anchors = (CursorLine((point,), handles=True) for point in self.points)
        return CursorSpec("cross", lines=(CursorLine(tuple(self._so_far())), *self.rubber(), *anchors))

    def outline(self) -> Sequence[Vec3]:
        """Return the whole wire, closed along edges too."""
        if len(self.points) < 2:
            return self.points
        ends = (self.points[-1], self.points[0])
        if self._closing is None or self._closing[0] != ends:
            self._closing = ends, self._between(*ends)
        return [*self._so_far(), *self._closing[1]]

    def rubber(self) -> tuple[CursorLine, ...]:
        """The wire from the last anchor to the pointer."""
        if not self.points or self._pointer is None or self._held is not None:
            return ()
        return (CursorLine((self.points[-1], *self._to_pointer(self._pointer), self._pointer)),)

    def begin(self, event: PointerEvent) -> None:
        """Set an anchor at the end of the wire."""
        if self.points:
            self._wires.append(self._to_pointer(event.lps))
        self.points.append(event.lps)

    def drag(self, held: int, lps: Vec3) -> None:
        """Move an anchor; the wires to its neighbours follow."""
        self.points[held] = lps
        for place in (held - 1, held):
            if 0 <= place < len(self._wires):
                self._wires[place] = self._between(self.points[place], self.points[place + 1])

    def insert(self, edge: int, lps: Vec3) -> int:
        """Set an anchor on the wire."""
        self.points.insert(edge + 1, lps)
        before, after = (self._between(*self.points[n : n + 2]) for n in (edge, edge + 1))
        self._wires[edge : edge + 1] = [before, after]
        return edge + 1

    def remove(self, place: int) -> None:
        """Take an anchor out; its neighbours are joined."""
        del self.points[place]
        if self._wires:
            del self._wires[max(place - 1, 0)]
        if 0 < place < len(self.points):
            self._wires[place - 1] = self._between(*self.points[place - 1 : place + 1])

    def forget(self) -> None:
        """Drop the wire."""
        super().forget()
        self._wires.clear()
        self._live = self._closing = None

    def nearest_edge(self, lps: Vec3) -> tuple[int, float] | None:
        """Return the anchor behind which the wire comes nearest, and how near."""
        near: list[float] = []
        for n, wire in enumerate(self._wires):
            places = np.array([self.points[n], *wire, self.points[n + 1]])
            near.append(float(from_edges(places[:-1], np.diff(places, axis=0), lps).min()))
        return (int(np.argmin(near)), min(near)) if near else None

    def _so_far(self) -> list[Vec3]:
        places = [self.points[0]]
        for wire, anchor in zip(self._wires, self.points[1:], strict=True):
            places += [*wire, anchor]
        return places

    def _to_pointer(self, lps: Vec3) -> list[Vec3]:
        """Return the wire from the last anchor to a point; cheap, for it is asked for at every move."""
        anchor = self.points[-1]
        if self._live is None or self._live[0] != anchor:
            at = self._pixel(anchor)
            low = (max(0, at[0] - _REACH), max(0, at[1] - _REACH))
            self._live = anchor, low, self._wire(at, low, (at[0] + _REACH + 1, at[1] + _REACH + 1))
        _, low, wire = self._live
        row, column = self._pixel(lps)
        return self._places(wire.path((row - low[0], column - low[1])), low)

    def _between(self, start: Vec3, end: Vec3) -> list[Vec3]:
        """Return the wire between two anchors; a straight line where they are too far apart."""
        ends = np.array([self._pixel(start), self._pixel(end)])
        low, high = np.maximum(ends.min(axis=0) - _MARGIN, 0), ends.max(axis=0) + _MARGIN + 1
        if (high - low).max() > 2 * _REACH + 2 * _MARGIN:
            return []
        first: Pixel = (int(low[0]), int(low[1]))
        wire = self._wire((int(ends[0, 0]), int(ends[0, 1])), first, (int(high[0]), int(high[1])))
        return self._places(wire.path((int(ends[1, 0] - low[0]), int(ends[1, 1] - low[1]))), first)

    def _wire(self, anchor: Pixel, low: Pixel, high: Pixel) -> LiveWire:
        """Return the wires from a pixel (row, column) inside a box of the slice."""
        assert self.ctx is not None
        across, down = in_plane_axes(self.axis)
        spacing = (self.grid.spacing[down], self.grid.spacing[across])
        array = self.ctx.editor.volume.array
        image = slice_image(array, self.geometry, self.tilted, self.axis, self._slice(), goes_on=True)
        values = image[low[0] : high[0], low[1] : high[1]]
        rows, columns = (n - 1 for n in values.shape)
        inside = (min(anchor[0] - low[0], rows), min(anchor[1] - low[1], columns))
        return LiveWire(edge_cost(values, spacing), inside, spacing)

    def _slice(self) -> int:
        index = float(self.grid.lps_to_index(self.points[0])[self.axis])
        return int(min(max(np.floor(index + 0.5), 0), self.grid.size[self.axis] - 1))

    def _pixel(self, lps: Vec3) -> Pixel:
        """Return the row and column nearest to a point, inside the slice."""
        index = np.floor(self.grid.lps_to_index(lps) + 0.5)
        across, down = in_plane_axes(self.axis)
        row, column = (int(min(max(index[a], 0), self.grid.size[a] - 1)) for a in (down, across))
        return row, column

    def _places(self, path: npt.NDArray[np.int64], low: Pixel) -> list[Vec3]:
        """Return the inner pixels of a path as LPS mm."""
        across, down = in_plane_axes(self.axis)
        index = np.empty((max(len(path) - 2, 0), 3))
        index[:, self.axis] = self._slice()
        index[:, down], index[:, across] = path[1:-1, 0] + low[0], path[1:-1, 1] + low[1]
        return [vec3(place) for place in self.grid.index_to_lps(index)]
