"""Icons: our own line drawings, in the colour of the text, sharp on every screen."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from medviewer.ui.resources import has_resource, resource_text
from medviewer.ui.theme import COLORS

#: Drawn at the start, so only as many as lists (16) and buttons (20) need, and twice that for sharp screens.
SIZES = (16, 20, 40)
DISABLED_SIZES = (20, 40)


#: What a series or image is drawn as, by what its images are stacked along.
PICTURES: Mapping[str, str] = {"place": "volume", "time": "film", "number": "picture"}


def draw(name: str, color: str, size: int) -> QPixmap:
    """Return a drawing, `size` pixels square, with ``currentColor`` replaced by `color`."""
    svg = resource_text(f"icons/{name}.svg").replace("currentColor", color)
    pixmap = QPixmap(size, size)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    QSvgRenderer(QByteArray(svg.encode())).render(painter, QRectF(0, 0, size, size))
    painter.end()
    return pixmap


@cache
def icon(name: str, color: str = "text") -> QIcon:
    """Return an icon by its file name without suffix; one that does not exist is drawn as a plain dot.

    Parameters
    ----------
    color : str
        Name of a colour of the theme.
    """
    drawn = name if has_resource(f"icons/{name}.svg") else "dot"
    made = QIcon()
    for size in SIZES:
        made.addPixmap(draw(drawn, COLORS[color], size))
    for size in DISABLED_SIZES:
        made.addPixmap(draw(drawn, COLORS["disabled"], size), QIcon.Mode.Disabled)
    return made


@cache
def swatch(color: tuple[int, int, int], size: int = 16) -> QIcon:
    """Return a filled square with a fine border."""
    pixmap = QPixmap(size, size)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QColor(COLORS["border"]))
    painter.setBrush(QColor(*color))
    painter.drawRoundedRect(QRectF(0.5, 0.5, size - 1, size - 1), 3, 3)
    painter.end()
    return QIcon(pixmap)
