"""Every open image keeps its own window: a CT and an MR that are looked at in turn share no greys."""

from __future__ import annotations

from medviewer.core.view_state import TRUE_COLOR, WindowLevel
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace


class Windows:
    """Remembers the window of each volume, and shows it again when the volume is looked at."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._known: dict[str, WindowLevel] = {}
        workspace.view.window_changed.connect(self._remember)
        workspace.active_changed.connect(self._show)
        workspace.volume_removed.connect(self._forget)

    def _remember(self, level: WindowLevel) -> None:
        active = self._workspace.active
        if active is not None:
            self._known[active.id] = level

    def _show(self, volume: Volume | None) -> None:
        if volume is not None:
            self._workspace.view.window = self._known.get(volume.id) or auto_window(volume)

    def _forget(self, volume: Volume) -> None:
        self._known.pop(volume.id, None)


def auto_window(volume: Volume) -> WindowLevel:
    """Return colours as stored, the window of the file, or one from the 1st to the 99th percentile of the voxels."""
    if volume.colors is not None:
        return TRUE_COLOR
    if volume.window is not None and volume.window[1] > 0:
        return WindowLevel(*volume.window)
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
