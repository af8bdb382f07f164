"""Paint marks over a slice: sharp lines and words at the resolution of the screen."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPen, QPolygonF

from medviewer.render.marks import Circle, Line, Mark, Polygon, Words

_MARGIN = 8.0
#: Room for the scale bar under the letter at the bottom.
_SCALE_ROOM = 34.0
_SHADOW = QColor(0, 0, 0, 200)


class MarkPainter:
    """Paints in device pixels.

    Parameters
    ----------
    painter : QPainter
        Its transformation maps device pixels to the widget.
    width, height : float
        Device pixels.
    ratio : float
        Device pixels for one pixel of the desktop.
    """

    def __init__(self, painter: QPainter, width: float, height: float, ratio: float) -> None:
        self._painter = painter
        self._width, self._height, self._ratio = width, height, ratio
        self._fonts = {bold: self._font(bold) for bold in (False, True)}

    def _font(self, bold: bool) -> QFont:
        font = QFont(self._painter.font())
        font.setPixelSize(round((14 if bold else 12) * self._ratio))
        font.setBold(bold)
        return font

    def paint(self, marks: Iterable[Mark]) -> None:
        """Paint marks in their order."""
        for mark in marks:
            match mark:
                case Line():
                    (x0, y0), (x1, y1) = mark.start, mark.end
                    self._pen(mark, smooth=x0 != x1 and y0 != y1)
                    self._painter.drawLine(QPointF(*mark.start), QPointF(*mark.end))
                case Polygon():
                    self._pen(mark)
                    self._painter.drawPolygon(QPolygonF([QPointF(*p) for p in mark.points]))
                case Circle():
                    self._pen(mark, smooth=True)
                    self._painter.drawEllipse(QPointF(*mark.center), *mark.radius)
                case Words():
                    self._words(mark)

    def _pen(self, mark: Line | Polygon | Circle, *, smooth: bool = False) -> None:
        pen = QPen(QColor(*mark.color), mark.width * self._ratio)
        pen.setCapStyle(Qt.PenCapStyle.FlatCap)
        pen.setJoinStyle(Qt.PenJoinStyle.MiterJoin)
        self._painter.setPen(pen)
        self._painter.setBrush(Qt.BrushStyle.NoBrush)
        self._painter.setRenderHint(QPainter.RenderHint.Antialiasing, smooth)

    def _words(self, words: Words) -> None:
        font = self._fonts[words.bold]
        metrics = QFontMetricsF(font)
        step = metrics.height()
        texts = words.text
        if " " in words.place:  # two corners share an edge, with a letter between them
            room = 0.44 * self._width - _MARGIN * self._ratio
            texts = tuple(metrics.elidedText(text, Qt.TextElideMode.ElideRight, room) for text in texts)
        widths = [metrics.horizontalAdvance(text) for text in texts]
        x, y = self._corner(words, max(widths), step * len(words.text))
        self._painter.setFont(font)
        right = words.place in ("top right", "bottom right")
        for row, (text, width) in enumerate(zip(texts, widths, strict=True)):
            left = x + max(widths) - width if right else x
            base = QPointF(round(left), round(y + row * step + metrics.ascent()))
            shift = max(1.0, round(self._ratio))
            self._painter.setPen(_SHADOW)
            for dx, dy in ((-shift, 0.0), (shift, 0.0), (0.0, -shift), (0.0, shift)):
                self._painter.drawText(base + QPointF(dx, dy), text)
            self._painter.setPen(QColor(*words.color))
            self._painter.drawText(base, text)

    def _corner(self, words: Words, width: float, height: float) -> tuple[float, float]:
        """Top left corner of a block of text."""
        margin, place = _MARGIN * self._ratio, words.place
        if place == "point":
            # A name beside a finding stays inside the view.
            x = min(max(words.at[0] + margin / 2, 0.0), max(0.0, self._width - width))
            return x, min(max(words.at[1], 0.0), max(0.0, self._height - height))
        middle = QRectF(0, 0, self._width, self._height).center()
        x, y = middle.x() - width / 2, middle.y() - height / 2
        if "left" in place:
            x = margin
        elif "right" in place:
            x = self._width - margin - width
        if "top" in place:
            y = margin / 2
        elif "bottom" in place:
            y = self._height - margin / 2 - height
            if place == "bottom":
                y -= (_SCALE_ROOM - _MARGIN) * self._ratio
        return x, y
