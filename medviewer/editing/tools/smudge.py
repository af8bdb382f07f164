"""Smudge: push the border of a segment like a finger pushes paint."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from medviewer.core.geometry import Geometry
from medviewer.core.region import Region
from medviewer.core.segmentation import Mask
from medviewer.editing.round_tool import RoundTool
from medviewer.editing.tool import PointerEvent, tool
from medviewer.imaging.planes import Slab, in_plane_axes
from medviewer.imaging.smudge import Field, Metric, crossed, push, signed_distance, turned_field


@tool("smudge", "Smudge", shortcut="U")
class Smudge(RoundTool):
    """Moves the border of the active segment in the slice, from press to release."""

    hint: ClassVar[str] = "Push the border of the segment with a drag; Shift and the wheel change the size."

    def __init__(self) -> None:
        super().__init__()
        self._axis = 0
        self._slice = 0
        #: Where the view is turned against the image: what its slice passes through.
        self._slab: Slab | None = None
        #: The segment in the slice, as its distance from the border.
        self._field: Field = np.zeros((0, 0), np.float32)
        #: Continuous index (i, j, k) of the view's grid where the finger was.
        self._finger = np.zeros(3)

    def pointer(self, event: PointerEvent) -> bool:
        """Push from press to release."""
        if self.ctx is None:
            return False
        self.look_at(event)
        if event.phase == "press":
            self._finish()
            self._begin(event)
            return True
        if self._stroke is None:
            return False
        if event.phase in ("move", "release"):
            self._push(event)
        if event.phase == "release":
            self._finish()
        return True

    def _begin(self, event: PointerEvent) -> None:
        assert self.ctx is not None
        geometry = self.ctx.editor.target.geometry
        self._axis = event.axis
        self._slab = None if event.tilted is None else Slab(geometry, event.tilted, event.axis, event.lps)
        self._finger = np.asarray(self._grid.lps_to_index(event.lps))
        last_slice = self._grid.size[event.axis] - 1
        self._slice = int(np.clip(np.floor(self._finger[event.axis] + 0.5), 0, last_slice))
        self._stroke = self.ctx.editor.begin("Smudge")
        if self._slab is not None:
            labels = self._stroke.group.labels
            self._field = turned_field(self._slab, labels, self._stroke.segment.value)
            return
        self._field = signed_distance(np.squeeze(self._mask(self._region()), axis=2 - self._axis))

    def _push(self, event: PointerEvent) -> None:
        assert self.ctx is not None
        assert self._stroke is not None
        here = np.asarray(self._grid.lps_to_index(event.lps))
        rows_columns = list(in_plane_axes(self._axis)[::-1])
        steps = self._grid.index_to_lps_matrix[:3, rows_columns]
        metric: Metric = steps.T @ steps
        start, end = (tuple(float(v) for v in place[rows_columns]) for place in (self._finger, here))
        earlier = None if self._slab is None else self._field.copy()
        box = push(self._field, (start[0], start[1]), (end[0], end[1]), self.radius_mm, metric)
        self._finger = here
        if box is None:
            return
        if self._slab is not None and earlier is not None:
            region, gained, lost = crossed(self._slab, earlier, self._field, box)
            self._stroke.paint(region, gained)
            self._stroke.paint(region, lost, 0)
            return
        region = self._region(box)
        wanted = np.expand_dims(self._field[box] > 0, 2 - self._axis)
        before = self._mask(region)
        self._stroke.paint(region, wanted & ~before)
        self._stroke.paint(region, before & ~wanted, 0)

    @property
    def _grid(self) -> Geometry:
        """Grid on a slice of which is pushed."""
        assert self.ctx is not None
        return self.ctx.editor.target.geometry if self._slab is None else self._slab.tilted

    def _region(self, box: tuple[slice, slice] | None = None) -> Region:
        """Return a box (rows, columns) of the slice, or the whole of it, as a region."""
        assert self.ctx is not None
        shape = self.ctx.editor.target.geometry.shape
        rows, columns = box or (slice(0, None), slice(0, None))
        ranges = [(part.start, part.stop) for part in (rows, columns)]
        ranges.insert(2 - self._axis, (self._slice, self._slice + 1))
        (k0, k1), (j0, j1), (i0, i1) = (
            (low, n if up is None else up) for (low, up), n in zip(ranges, shape, strict=True)
        )
        return Region((k0, j0, i0), (k1, j1, i1))

    def _mask(self, region: Region) -> Mask:
        assert self._stroke is not None
        mask: Mask = self._stroke.group.labels[region.slices] == self._stroke.segment.value
        return mask
