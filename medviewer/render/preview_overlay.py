"""What a tool would change, over a slice: added voxels in the colour of their segment, removed ones dark."""

from __future__ import annotations

import numpy as np

from medviewer.core.region import Region
from medviewer.core.view_state import PreviewMask, ViewState
from medviewer.render.colors import BlendTable, Pixels
from medviewer.render.plane import PlaneFrame
from medviewer.render.sampler import PlaneSampler, Rect

_EDGE = (255, 255, 255)


class PreviewOverlay:
    """Draws the preview of a view state over pixels."""

    def __init__(self, view: ViewState) -> None:
        self._view = view
        self._drawn: dict[int, tuple[PreviewMask, PlaneSampler]] = {}

    def rect(self, frame: PlaneFrame) -> Rect | None:
        """Return the pixels that the preview covers in a slice, or None."""
        box: Region | None = None
        for part in self._view.preview:
            if frame.rect_of(part.region) is not None:
                box = part.region if box is None else box.union(part.region)
        return None if box is None else frame.rect_of(box)

    def draw(self, pixels: Pixels, frame: PlaneFrame, rect: Rect) -> None:
        """Lay the preview over a rectangle (x0, y0, x1, y1) of `pixels`, shape (frame.height, frame.width)."""
        self._drawn = {id(part): self._drawn.get(id(part), (part, _sampler(part))) for part in self._view.preview}
        x0, y0, x1, y1 = rect
        result = pixels[y0:y1, x0:x1]
        for part, sampler in self._drawn.values():
            if frame.rect_of(part.region) is None:
                continue
            matrix = frame.pixel_to_index.copy()
            matrix[:3, 3] -= part.region.lower[::-1]
            inside = sampler.sample(matrix, rect)
            if not inside.any():
                continue
            index = np.where(_edges(inside), np.uint8(2), inside)
            opacity = self._view.preview_opacity
            fill = (0, 0, 0) if part.removed else part.color
            result[...] = BlendTable([fill, fill, _EDGE], [0.0, opacity, 0.25 + 0.75 * opacity]).over(result, index)


def _sampler(part: PreviewMask) -> PlaneSampler:
    return PlaneSampler(np.ascontiguousarray(part.mask).view(np.uint8), "nearest")


def _edges(inside: np.ndarray) -> np.ndarray:
    """Return the pixels inside that have a neighbour outside."""
    padded = np.pad(inside, 1, mode="edge").astype(np.bool_)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside.astype(np.bool_) & ~core
