"""What a display shutter leaves of an image.

References
----------
DICOM PS3.3 C.7.6.11 (Display Shutter).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medviewer.imaging.polygon import fill_even_odd


@dataclass(frozen=True, slots=True)
class Shutter:
    """Shapes in pixels; what lies inside all of them is shown.

    Attributes
    ----------
    rectangle : (left, right, upper, lower) or None
        Last columns and rows that are shown, continuous (i, j) with pixel centres at whole numbers.
    circle : (i, j, radius) or None
    polygon : tuple of (i, j)
        Empty for none.
    """

    rectangle: tuple[float, float, float, float] | None = None
    circle: tuple[float, float, float] | None = None
    polygon: tuple[tuple[float, float], ...] = ()

    def mask(self, rows: int, columns: int) -> npt.NDArray[np.bool_]:
        """Return the pixels (j, i) that are shown."""
        j, i = np.mgrid[:rows, :columns]
        shown = np.ones((rows, columns), dtype=np.bool_)
        if self.rectangle is not None:
            left, right, upper, lower = self.rectangle
            shown &= (i >= left) & (i <= right) & (j >= upper) & (j <= lower)
        if self.circle is not None:
            x, y, radius = self.circle
            shown &= (i - x) ** 2 + (j - y) ** 2 <= radius**2
        if self.polygon:
            shown &= fill_even_odd([self.polygon], (rows, columns))
        return shown
