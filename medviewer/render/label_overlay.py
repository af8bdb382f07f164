"""Labels over a slice: fill and outline, at the resolution of the screen, and only where something changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.core.region import Region
from medviewer.core.segmentation import MAX_VALUE, Color, Group, Segment, Segmentation
from medviewer.core.view_state import ViewState
from medviewer.render.colors import BlendTable, Gray, Pixels, pack
from medviewer.render.plane import PlaneFrame
from medviewer.render.sampler import PlaneSampler, Rect

Index = npt.NDArray[np.uint16]
#: Pixels of a dash of a neighbouring slice's outline, and of the gap behind it.
_DASH = 5


class LabelOverlay:
    """Draws the groups of a segmentation over pixels, later groups on top.

    It reads the label maps where they are; `labels_changed` and `style_changed` tell it that they, or the looks of
    the segments, are no longer what they were.
    """

    def __init__(self, segmentation: Segmentation, view: ViewState) -> None:
        self.segmentation = segmentation
        self._view = view
        self._samplers: dict[int, PlaneSampler] = {}
        self._styles: dict[int, tuple[Index, BlendTable, int] | None] = {}

    @property
    def rim(self) -> int:
        """Pixels beside changed voxels in which the picture changes too."""
        return self._view.look.width

    def rect_of(self, frame: PlaneFrame, region: Region) -> Rect | None:
        """Return the pixels that show something of a region: in the slice, or in those whose outlines lie over it."""
        beside = (-1, 0, 1) if self._view.look.neighbors else (0,)
        rects = [replace(frame, slice_index=frame.slice_index + n).rect_of(region) for n in beside]
        found = [rect for rect in rects if rect is not None]
        if not found:
            return None
        x0, y0, x1, y1 = zip(*found, strict=True)
        return min(x0), min(y0), max(x1), max(y1)

    def labels_changed(self, group_id: int) -> None:
        """Voxels of a group have changed, or the group came or went."""
        sampler = self._samplers.get(group_id)
        if sampler is not None:
            sampler.touch()

    def style_changed(self) -> None:
        """Colours, visibility, opacity or the list of segments have changed."""
        self._styles.clear()

    def draw(self, pixels: Pixels, base: Pixels, grey: Gray | None, frame: PlaneFrame, rect: Rect) -> None:
        """Write `base` with labels over it into a rectangle of `pixels`.

        Parameters
        ----------
        pixels : uint32, shape (frame.height, frame.width)
            Written inside the rectangle.
        base : uint32, same shape
            The image without labels.
        grey : uint8, same shape, optional
            The same as greys 0..255, where it has no colours.
        frame : PlaneFrame
            What is on the screen.
        rect : (x0, y0, x1, y1)
            Half-open, device pixels.
        """
        x0, y0, x1, y1 = rect
        result = pixels[y0:y1, x0:x1]
        result[...] = base[y0:y1, x0:x1]
        below = grey[y0:y1, x0:x1] if grey is not None else None
        for group in self.segmentation.groups:
            if self._draw_group(result, below, group, frame, rect):
                below = None  # from here on there are colours
        active = self.segmentation.find(self.segmentation.active)
        if active is not None and self._view.look.neighbors and self._view.look.shows(active, active.value):
            for beside in (-1, 1):
                self._draw_neighbor(result, active, frame, rect, beside)

    def _draw_group(self, result: Pixels, grey: Gray | None, group: Group, frame: PlaneFrame, rect: Rect) -> bool:
        style = self._style(group.id)
        if style is None:
            return False
        lookup, table, count = style
        x0, y0, x1, y1 = rect
        wide = _wider(rect, frame, self.rim)
        labels = self._sampler(group).sample(frame.pixel_to_index, wide)
        box = _box_of(labels)
        if box is None:
            return False
        top, bottom, left, right = box
        shown = lookup.take(labels[top:bottom, left:right], mode="clip")
        if self._view.look.style != "fill":
            shown[_edges(shown, self._view.look.width)] += np.uint16(count)
        # Back from the wider rectangle to the one asked for.
        row, column = wide[1] + top - y0, wide[0] + left - x0
        r0, c0 = max(0, row), max(0, column)
        r1, c1 = min(y1 - y0, row + shown.shape[0]), min(x1 - x0, column + shown.shape[1])
        if r0 < r1 and c0 < c1:
            part, index = result[r0:r1, c0:c1], shown[r0 - row : r1 - row, c0 - column : c1 - column]
            part[...] = table.over(part, index) if grey is None else table.over_grey(grey[r0:r1, c0:c1], index)
        return True

    def _draw_neighbor(self, result: Pixels, segment: Segment, frame: PlaneFrame, rect: Rect, beside: int) -> None:
        """Dash the outline that a segment has in another slice; before and behind, the gaps of one are the other's."""
        index = frame.slice_index + beside
        if not 0 <= index < frame.grid.count:
            return
        x0, y0, x1, y1 = rect
        wide = _wider(rect, frame, 1)
        matrix = replace(frame, slice_index=index).pixel_to_index
        inside = self._sampler(self.segmentation.group(segment.group)).sample(matrix, wide) == segment.value
        if not inside.any():
            return
        edge = _edges(inside.astype(np.uint16), 1)[y0 - wide[1] :, x0 - wide[0] :][: y1 - y0, : x1 - x0]
        rows, columns = np.arange(y0, y1)[:, np.newaxis], np.arange(x0, x1)
        # Dashes stay where they are on the screen, whatever part is drawn.
        edge &= ((rows + columns) // _DASH % 2 == 0) == (beside < 0)
        result[edge] = pack(_toward(segment.color, 255 if beside > 0 else 0))

    def _sampler(self, group: Group) -> PlaneSampler:
        sampler = self._samplers.get(group.id)
        if sampler is None or sampler.array is not group.labels:
            sampler = self._samplers[group.id] = PlaneSampler(group.labels, "nearest")
        return sampler

    def _style(self, group_id: int) -> tuple[Index, BlendTable, int] | None:
        """Table value -> position, blend table of positions (fill, then outline), and number of positions."""
        if group_id not in self._styles:
            self._styles[group_id] = self._make_style(group_id)
        return self._styles[group_id]

    def _make_style(self, group_id: int) -> tuple[Index, BlendTable, int] | None:
        look, active = self._view.look, self.segmentation.active
        shown = [s for s in self.segmentation.segments if s.group == group_id and look.shows(s, active)]
        if not shown:
            return None
        lookup: Index = np.zeros(MAX_VALUE + 1, dtype=np.uint16)
        for position, segment in enumerate(shown, start=1):
            lookup[segment.value] = position
        colors: list[Color] = [(0, 0, 0), *(s.color for s in shown)]
        strength = 0.0 if look.style == "outline" else self._view.overlay_opacity
        fill = [0.0, *(s.opacity * strength for s in shown)]
        line = [0.0, *(s.opacity for s in shown)]
        return lookup, BlendTable(colors * 2, fill + line), len(colors)


def _box_of(labels: npt.NDArray[Any]) -> tuple[int, int, int, int] | None:
    """Rows and columns, half-open, that hold every label and a rim of one pixel; None without labels."""
    rows = np.flatnonzero(labels.any(axis=1))
    if rows.size == 0:
        return None
    top, bottom = max(0, int(rows[0]) - 1), min(labels.shape[0], int(rows[-1]) + 2)
    columns = np.flatnonzero(labels[top:bottom].any(axis=0))
    left, right = max(0, int(columns[0]) - 1), min(labels.shape[1], int(columns[-1]) + 2)
    return top, bottom, left, right


def _wider(rect: Rect, frame: PlaneFrame, by: int) -> Rect:
    """Return a rectangle with as many more pixels on every side as exist: an outline depends on its neighbours."""
    x0, y0, x1, y1 = rect
    return max(0, x0 - by), max(0, y0 - by), min(frame.width, x1 + by), min(frame.height, y1 + by)


def _toward(color: Color, grey: int) -> Color:
    """Return a colour half way to a grey."""
    red, green, blue = ((channel + grey) // 2 for channel in color)
    return red, green, blue


def _edges(index: Index, width: int) -> npt.NDArray[np.bool_]:
    """Return the pixels of a shown label that are at most `width` away from another one or the background."""
    edge = np.zeros(index.shape, dtype=bool)
    differs = index[1:] != index[:-1]
    edge[1:] |= differs
    edge[:-1] |= differs
    differs = index[:, 1:] != index[:, :-1]
    edge[:, 1:] |= differs
    edge[:, :-1] |= differs
    for _ in range(width - 1):
        before = edge.copy()
        edge[1:] |= before[:-1]
        edge[:-1] |= before[1:]
        edge[:, 1:] |= before[:, :-1]
        edge[:, :-1] |= before[:, 1:]
    edge &= index != 0
    return edge
