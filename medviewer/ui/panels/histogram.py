"""The histogram of an image with a range of values on it: its ends are dragged, the wheel looks closer."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QHelpEvent, QMouseEvent, QPainter, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from medviewer.core.volume import VoxelArray
from medviewer.editing.effect import RangeTool, ValueRange
from medviewer.imaging.histogram import Histogram, histogram, thresholds
from medviewer.jobs.job import Job, JobContext
from medviewer.jobs.runner import JobRunner
from medviewer.ui.bind import Links
from medviewer.ui.text import plain_tip
from medviewer.ui.theme import color

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

_HEIGHT = 84
_FOOT = 14
#: So near to a line, in pixels, the pointer means it.
_NEAR = 4
_ZOOM = 1.25
_TIP = "Drag the ends of the range; the wheel looks closer, a double click shows all. Fine lines: automatic methods."


class HistogramView(QWidget):
    """Counts on a logarithmic scale, the ends of a range, and lines at what automatic methods find.

    Signals
    -------
    range_dragged(float, float)
        The user moved an end; lower and upper.
    """

    range_dragged = Signal(float, float)

    def __init__(self, jobs: JobRunner, links: Links) -> None:
        super().__init__()
        self.setObjectName("histogram")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self.setAccessibleName("Histogram")
        self._jobs, self._links = jobs, links
        self._job: Job | None = None
        self._looked_at: object = None
        self.histogram: Histogram | None = None
        self.marks: Mapping[str, float] = {}
        self._range = ValueRange(0.0, 0.0)
        #: What of the values is in view.
        self._from, self._to = 0.0, 1.0
        self._held = -1

    def sizeHint(self) -> QSize:
        """As wide as there is room."""
        return QSize(120, _HEIGHT)

    # ---- what is shown

    def look_at(self, values: VoxelArray, *, marked: bool = False) -> None:
        """Count the values of an array (k, j, i) in a job, and find their thresholds; nothing to do for the same."""
        # Parts of an image are known by their place; what was put together for this, by what it holds.
        where = zlib.crc32(values.tobytes()) if values.base is None else values.__array_interface__["data"]
        place = (where, values.shape, values.strides)
        if place == self._looked_at:
            return
        self._looked_at = place
        if self._job is not None:
            self._job.cancel()

        def counted(job: Job) -> None:
            if job is not self._job or not self._links.open:
                return
            self.show_histogram(job.result if isinstance(job.result, Histogram) else None)
            if self.histogram is not None and marked:
                self._find(values)

        self._job = self._jobs.submit("Histogram", lambda _: histogram(values), lane="cpu", done=counted, quiet=True)

    def _find(self, values: VoxelArray) -> None:
        def work(ctx: JobContext) -> dict[str, float]:
            return thresholds(values, ctx.check_cancelled)

        def found(job: Job) -> None:
            if job is self._job and self._links.open and isinstance(job.result, dict):
                self.marks = job.result
                self.update()

        self._job = self._jobs.submit("Thresholds", work, lane="cpu", done=found, quiet=True)

    def show_histogram(self, found: Histogram | None) -> None:
        """Show counts, all of them."""
        self.histogram, self.marks = found, {}
        self._show_all()

    def show_range(self, chosen: ValueRange) -> None:
        """Show which values are taken."""
        if chosen != self._range:
            self._range = chosen
            self.update()

    def _show_all(self) -> None:
        if self.histogram is not None:
            self._from, self._to = float(self.histogram.edges[0]), float(self.histogram.edges[-1])
        self.update()

    def limits(self) -> tuple[float, float]:
        """Return the range that is shown; of an automatic method once it is known what that finds."""
        mark = self.marks.get(self._range.method)
        if mark is not None:
            return (mark, np.inf) if self._range.bright else (-np.inf, mark)
        return self._range.lower, self._range.upper

    def x_of(self, value: float) -> float:
        """Return where a value is drawn, in pixels; at the border if it is out of view."""
        share = (value - self._from) / (self._to - self._from)
        return min(max(share, 0.0), 1.0) * (self.width() - 1)

    def _value_at(self, x: float) -> float:
        """Return the value at a pixel, as round as pixels are wide."""
        width = (self._to - self._from) / max(1, self.width() - 1)
        step = 10.0 ** np.floor(np.log10(width))
        value = self._from + min(max(x, 0.0), self.width() - 1) * width
        return float(round(round(value / step) * step, 6))

    # ---- the user

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Take the nearer end of the range."""
        if event.button() is Qt.MouseButton.LeftButton and self.histogram is not None:
            x = event.position().x()
            lower, upper = (self.x_of(value) for value in self.limits())
            # Where both ends lie on one place, the side that was pressed says which.
            self._held = 0 if abs(x - lower) < abs(x - upper) or (lower == upper and x < lower) else 1
            self._drag(x)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Move the end that is held."""
        if self._held >= 0:
            self._drag(event.position().x())
            return
        near = any(abs(event.position().x() - self.x_of(value)) <= _NEAR for value in self.limits())
        self.setCursor(Qt.CursorShape.SizeHorCursor if near else Qt.CursorShape.ArrowCursor)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Let go."""
        self._held = -1

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Show all values again."""
        self._show_all()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Look closer at the values under the pointer, or from further away."""
        if self.histogram is None or not event.angleDelta().y():
            return
        share = min(max(event.position().x() / self.width(), 0.0), 1.0)
        least, most = float(self.histogram.edges[0]), float(self.histogram.edges[-1])
        factor = _ZOOM ** (-event.angleDelta().y() / 120)
        room = min(max((self._to - self._from) * factor, (most - least) / 1000), most - least)
        start = self._from + share * (self._to - self._from - room)
        self._from = min(max(start, least), most - room)
        self._to = self._from + room
        event.accept()
        self.update()

    def event(self, event: QEvent) -> bool:
        """Name the line under the pointer in the tool tip."""
        if isinstance(event, QHelpEvent):
            near = [f"{m}: {v:.4g}" for m, v in self.marks.items() if abs(self.x_of(v) - event.pos().x()) <= _NEAR]
            QToolTip.showText(event.globalPos(), plain_tip("\n".join(near) or _TIP), self)
            return True
        return super().event(event)

    def _drag(self, x: float) -> None:
        value, (lower, upper) = self._value_at(x), self.limits()
        lower, upper = (min(value, upper), upper) if self._held == 0 else (lower, max(value, lower))
        # A range without an end ends where the values do.
        assert self.histogram is not None
        least, most = float(self.histogram.edges[0]), float(self.histogram.edges[-1])
        self.range_dragged.emit(least if np.isinf(lower) else lower, most if np.isinf(upper) else upper)

    # ---- painting

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw bars, range, lines, and the values at both ends."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), color("field"))
        if self.histogram is None:
            return
        floor = self.height() - _FOOT
        heights = self._heights(self.histogram) * (floor - 2)
        lower, upper = (round(self.x_of(value)) for value in self.limits())
        for x, height in enumerate(heights):
            taken = (lower <= x <= upper) != self._range.outside
            painter.setPen(color("accent" if taken else "disabled"))
            if height > 0:
                painter.drawLine(QPointF(x, floor), QPointF(x, floor - height))
        for method, value in self.marks.items():
            if self._from <= value <= self._to:
                painter.setPen(color("warning" if method == self._range.method else "border"))
                painter.drawLine(QPointF(self.x_of(value), 0), QPointF(self.x_of(value), floor))
        painter.setPen(color("text"))
        for x in (lower, upper):
            painter.drawLine(x, 0, x, floor)
            painter.fillRect(QRectF(x - 2, 0, 5, 7), color("text"))
        self._write_ends(painter)

    def _write_ends(self, painter: QPainter) -> None:
        font = self.font()
        font.setPixelSize(_FOOT - 4)
        painter.setFont(font)
        painter.setPen(color("soft"))
        foot = QRectF(2, self.height() - _FOOT, self.width() - 4, _FOOT)
        for value, side in ((self._from, Qt.AlignmentFlag.AlignLeft), (self._to, Qt.AlignmentFlag.AlignRight)):
            painter.drawText(foot, int(side | Qt.AlignmentFlag.AlignVCenter), f"{value:.4g}")

    def _heights(self, found: Histogram) -> np.ndarray:
        """Return the height of each column of pixels, 0 to 1: the highest bin in it, on a logarithmic scale."""
        columns = self._from + (np.arange(self.width() + 1) - 0.5) * (self._to - self._from) / max(1, self.width() - 1)
        last = len(found.counts) - 1
        first = np.clip(np.searchsorted(found.edges, columns[:-1], "right") - 1, 0, last)
        counts = np.append(np.log1p(found.counts), 0.0)
        until = np.maximum(np.clip(np.searchsorted(found.edges, columns[1:], "left"), 1, last + 1), first + 1)
        highest = np.maximum.reduceat(counts, np.stack([first, until], axis=1).ravel())[::2]
        heights: np.ndarray = highest / max(float(counts.max()), 1e-9)
        return heights


class ToolHistogram(HistogramView):
    """Shown while a tool computes from a range of values; either moves with the other."""

    def __init__(self, app: AppContext, links: Links) -> None:
        super().__init__(app.jobs, links)
        self.setObjectName("toolHistogram")
        self._app = app
        self.range_dragged.connect(self._take)
        links.connect(app.router.changed, self._show)
        links.connect(app.router.effects.changed, self._show)
        self._show()

    def _show(self) -> None:
        scene, tool = self._app.router.effects.scene(), self._tool()
        self.setVisible(tool is not None and scene is not None)
        if tool is not None and scene is not None:
            self.look_at(tool.looked_at(scene), marked=True)
            self.show_range(tool.value_range)

    def _take(self, lower: float, upper: float) -> None:
        tool = self._tool()
        if tool is not None:
            tool.take_range(lower, upper)
            self._app.router.options_changed()

    def _tool(self) -> RangeTool | None:
        tool: object = self._app.router.effects.effect
        return tool if isinstance(tool, RangeTool) else None
