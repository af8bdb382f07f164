"""Every open image keeps its own window: a CT and an MR that are looked at in turn share no greys."""

from __future__ import annotations

from medviewer.core.suv import SUV_WINDOW, SUV_WINDOWED
from medviewer.core.view_state import TRUE_COLOR, WindowLevel
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace

#: A picture of 8 bits without a brighter pixel would be black: a mask, or one of fewer bits.
_DARK = 63


class Windows:
    """Remembers the window of each volume, and shows it again when the volume is looked at; PET is dark on white."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._known: dict[str, tuple[WindowLevel, bool]] = {}
        workspace.view.window_changed.connect(self._remember)
        workspace.active_changed.connect(self._show)
        workspace.volume_removed.connect(self._forget)

    def _remember(self, level: WindowLevel) -> None:
        active = self._workspace.active
        if active is not None:
            self._known[active.id] = (level, self._workspace.view.inverted)

    def _show(self, volume: Volume | None) -> None:
        if volume is not None:
            level, inverted = self._known.get(volume.id) or (auto_window(volume), volume.modality == "PT")
            self._workspace.view.inverted = inverted
            self._workspace.view.window = level

    def _forget(self, volume: Volume) -> None:
        self._known.pop(volume.id, None)


def auto_window(volume: Volume) -> WindowLevel:
    """Return how an image is opened.

    Colours and pictures of 8 bits as stored; SUV 0 to 10; else the window of the file, or, without one, from the 1st to
    the 99th percentile.
    """
    if volume.colors is not None:
        return TRUE_COLOR
    if volume.suv is not None and volume.unit in SUV_WINDOWED:
        # What the file says is the range of the scanner's Bq/ml, and another in each study.
        return WindowLevel(*SUV_WINDOW)
    if volume.window is not None and volume.window[1] > 0:
        return WindowLevel(*volume.window)
    if volume.stacking != "place" and volume.array.dtype == "uint8" and volume.array.max() > _DARK:
        return TRUE_COLOR  # of 8 bits: made to be looked at as it is
    return percentile_window(volume)


def percentile_window(volume: Volume) -> WindowLevel:
    """Return a window from the 1st to the 99th percentile of a sample of the voxels."""
    import numpy as np

    k, j, i = (max(1, n // 64) for n in volume.array.shape)
    sample = np.asarray(volume.array[::k, ::j, ::i], dtype=np.float64).ravel()
    sample = sample[np.isfinite(sample)]
    if volume.padding is not None:
        sample = sample[sample != volume.padding]
    if sample.size == 0:
        return WindowLevel(0.0, 1.0)
    low, high = np.percentile(sample, [1.0, 99.0])
    if high <= low:  # nearly all of one value: what differs is to be seen
        low, high = sample.min(), sample.max()
    return WindowLevel(float(low + high) / 2, max(float(high - low), 1e-3))
