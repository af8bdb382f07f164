"""A second volume over the first, in colour."""

from __future__ import annotations

import numpy as np

from medviewer.core.suv import SUV_WINDOW, SUV_WINDOWED
from medviewer.core.view_state import WindowLevel
from medviewer.core.workspace import Overlay
from medviewer.render.colors import Pixels, fusion_table, window
from medviewer.render.plane import PlaneFrame
from medviewer.render.sampler import PlaneSampler


def sampled_window(overlay: Overlay) -> WindowLevel:
    """Return SUV 0 to 10, the window of the file, or the 1st to the 99th percentile of a sample of the voxels."""
    volume = overlay.volume
    if volume.suv is not None and volume.unit in SUV_WINDOWED:
        return WindowLevel(*SUV_WINDOW)
    if volume.window is not None and volume.window[1] > 0:
        return WindowLevel(*volume.window)
    k, j, i = (max(1, n // 64) for n in volume.array.shape)
    sample = volume.array[::k, ::j, ::i].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    if volume.padding is not None:
        sample = sample[sample != volume.padding]
    low, high = np.percentile(sample, [1.0, 99.0]) if sample.size else (0.0, 1.0)
    return WindowLevel(float(low + high) / 2, max(float(high - low), 1e-3))


class FusionLayer:
    """Draws an overlay, whatever its own grid is; where it has no voxel or is black, nothing is drawn."""

    def __init__(self, overlay: Overlay) -> None:
        self.overlay = overlay
        self._level = sampled_window(overlay)
        self._sampler = PlaneSampler(overlay.volume.array, "linear")

    @property
    def text(self) -> str:
        """What lies over the image, and the values from the first to the last colour."""
        volume = self.overlay.volume
        values = f"{self._level.lower:.4g} to {self._level.upper:.4g} {volume.unit}".rstrip()
        return f"over it {values}: {volume.name or volume.modality}"

    def fits(self, overlay: Overlay) -> bool:
        """Whether only the opacity of another overlay differs."""
        return overlay.volume is self.overlay.volume

    def draw(self, base: Pixels, frame: PlaneFrame) -> Pixels:
        """Return a picture (frame.height, frame.width) with the overlay laid over it."""
        matrix = self.overlay.volume.geometry.lps_to_index_matrix @ frame.pixel_to_lps
        values = self._sampler.sample(matrix, (0, 0, frame.width, frame.height))
        return fusion_table(self.overlay.opacity).over(base, window(values, self._level))
