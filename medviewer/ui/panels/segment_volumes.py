"""Measures segments a slab at a time, so that the window never waits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal

from medviewer.core.region import Region
from medviewer.core.segmentation import Segmentation

#: Voxels looked at between two looks at the event loop: a few milliseconds.
SLAB_VOXELS = 6_000_000
IDLE_MS = 350


class SegmentVolumes(QObject):
    """Keeps the size of every segment of one segmentation; starts counting when painting rests.

    Signals
    -------
    counted(int, float)
        Value of the segment, its size in the unit that `watch` was told.
    """

    counted = Signal(int, float)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._segmentation: Segmentation | None = None
        self._per_voxel = 1.0
        self._known: dict[int, float] = {}
        self._work: Iterator[None] | None = None
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._tick)

    def watch(self, segmentation: Segmentation | None, per_voxel: float = 1.0) -> None:
        """Count another segmentation from now on; a voxel counts for `per_voxel`."""
        self.close()
        self._per_voxel = per_voxel
        self._segmentation = segmentation
        self._known.clear()
        if segmentation is not None:
            segmentation.labels_changed.connect(self._labels_changed)
            segmentation.segments_changed.connect(self._segments_changed)
            self._restart()

    def size(self, value: int) -> float | None:
        """Return the size of a segment, or None while it is not known."""
        return self._known.get(value)

    def close(self) -> None:
        """Stop counting."""
        self._timer.stop()
        self._work = None
        if self._segmentation is not None:
            self._segmentation.labels_changed.disconnect(self._labels_changed, missing_ok=True)
            self._segmentation.segments_changed.disconnect(self._segments_changed, missing_ok=True)
            self._segmentation = None

    def _labels_changed(self, _region: Region, group_id: int) -> None:
        assert self._segmentation is not None
        for segment in self._segmentation.segments:
            if segment.group == group_id:
                self._known.pop(segment.value, None)
        self._restart()

    def _segments_changed(self) -> None:
        self._restart()

    def _restart(self) -> None:
        self._work = None
        self._timer.start(IDLE_MS)

    def _tick(self) -> None:
        if self._work is None:
            self._work = self._count()
            self._timer.setInterval(0)
        if next(self._work, self) is self:
            self._timer.stop()
            self._work = None

    def _count(self) -> Iterator[None]:
        segmentation = self._segmentation
        if segmentation is None:
            return
        depth, *plane = segmentation.geometry.shape
        slab = max(1, SLAB_VOXELS // (plane[0] * plane[1]))
        for segment in segmentation.segments:
            if segment.value in self._known:
                continue
            labels = segmentation.labels_of(segment.value)
            voxels = 0
            for k in range(0, depth, slab):
                voxels += int(np.count_nonzero(labels[k : k + slab] == segment.value))
                yield
            self._known[segment.value] = voxels * self._per_voxel
            self.counted.emit(segment.value, self._known[segment.value])
