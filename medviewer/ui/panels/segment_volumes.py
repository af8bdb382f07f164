"""Measures segments slice by slice, so that the window never waits and a change costs the slices it is in."""

from __future__ import annotations

import time

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal

from medviewer.core.region import Region
from medviewer.core.segmentation import Segmentation

#: Between two looks at the event loop.
TICK_S = 0.004
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
        #: Group and slice -> how many voxels each value has there.
        self._slices: dict[tuple[int, int], dict[int, int]] = {}
        self._waiting: dict[tuple[int, int], None] = {}
        self._voxels: dict[int, int] = {}
        self._told: dict[int, float] = {}
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._tick)

    def watch(self, segmentation: Segmentation | None, per_voxel: float = 1.0) -> None:
        """Count another segmentation from now on; a voxel counts for `per_voxel`."""
        self.close()
        self._per_voxel = per_voxel
        self._segmentation = segmentation
        for known in (self._slices, self._waiting, self._voxels, self._told):
            known.clear()
        if segmentation is not None:
            segmentation.labels_changed.connect(self._labels_changed)
            segmentation.segments_changed.connect(self._restart)
            for group in segmentation.groups:
                self._labels_changed(segmentation.geometry.region, group.id)
            self._restart()

    def size(self, value: int) -> float | None:
        """Return the size of a segment as it was counted last, or None while it is not known."""
        return self._told.get(value)

    def close(self) -> None:
        """Stop counting."""
        self._timer.stop()
        if self._segmentation is not None:
            self._segmentation.labels_changed.disconnect(self._labels_changed, missing_ok=True)
            self._segmentation.segments_changed.disconnect(self._restart, missing_ok=True)
            self._segmentation = None

    def _labels_changed(self, region: Region, group_id: int) -> None:
        self._waiting |= dict.fromkeys((group_id, k) for k in range(region.lower[0], region.upper[0]))
        self._restart()

    def _restart(self) -> None:
        self._timer.start(IDLE_MS)

    def _tick(self) -> None:
        self._timer.setInterval(0)
        end = time.perf_counter() + TICK_S
        while self._waiting:
            group_id, k = next(iter(self._waiting))
            del self._waiting[group_id, k]
            self._count(group_id, k)
            if time.perf_counter() > end:
                return
        self._timer.stop()
        self._tell()

    def _count(self, group_id: int, k: int) -> None:
        """Count one slice anew; a group that is gone has no voxels."""
        assert self._segmentation is not None
        now: dict[int, int] = {}
        if self._segmentation.has_group(group_id):
            counts = np.bincount(self._segmentation.group(group_id).labels[k].ravel())
            values = np.flatnonzero(counts)
            now = dict(zip(values.tolist(), counts[values].tolist(), strict=True))
            now.pop(0, None)
        for value, voxels in self._slices.pop((group_id, k), {}).items():
            self._voxels[value] -= voxels
        for value, voxels in now.items():
            self._voxels[value] = self._voxels.get(value, 0) + voxels
        if now:
            self._slices[group_id, k] = now

    def _tell(self) -> None:
        assert self._segmentation is not None
        for segment in self._segmentation.segments:
            size = self._voxels.get(segment.value, 0) * self._per_voxel
            if self._told.get(segment.value) != size:
                self._told[segment.value] = size
                self.counted.emit(segment.value, size)
