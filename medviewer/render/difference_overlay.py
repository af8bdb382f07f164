"""How two masks differ, over a slice: only the first, only the second, both."""

from __future__ import annotations

import numpy as np

from medviewer.core.segmentation import Color
from medviewer.core.view_state import MaskDifference
from medviewer.render.colors import BlendTable, Pixels
from medviewer.render.plane import PlaneFrame
from medviewer.render.sampler import PlaneSampler

#: Only first, only second, both: told apart by all who see colours otherwise, too (Okabe and Ito, 2008).
COLORS: tuple[Color, Color, Color] = (230, 159, 0), (86, 180, 233), (0, 158, 115)
_TABLE = BlendTable([(0, 0, 0), *COLORS], [0.0, 0.75, 0.75, 0.4])


class DifferenceOverlay:
    """Draws one difference."""

    def __init__(self, difference: MaskDifference) -> None:
        self.difference = difference
        self._sampler = PlaneSampler(np.ascontiguousarray(difference.codes), "nearest")

    def draw(self, base: Pixels, frame: PlaneFrame) -> Pixels:
        """Return a picture (frame.height, frame.width) with the difference over it."""
        matrix = frame.pixel_to_index.copy()
        matrix[:3, 3] -= self.difference.region.lower[::-1]
        codes = self._sampler.sample(matrix, (0, 0, frame.width, frame.height))
        return _TABLE.over(base, codes) if codes.any() else base.copy()
