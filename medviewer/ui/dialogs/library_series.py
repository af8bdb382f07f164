"""The series of the chosen study as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap
from PySide6.QtWidgets import QListView, QListWidget, QListWidgetItem, QWidget

from medviewer.core.shown_text import shown
from medviewer.ui.icons import draw
from medviewer.ui.text import counted, plain_tip, size_texts
from medviewer.ui.theme import COLORS

if TYPE_CHECKING:
    from medviewer.io.catalogue_rows import SeriesRow

ROW = Qt.ItemDataRole.UserRole
SIZE = 96


class SeriesPictures(QListWidget):
    """Pictures side by side; double click or Enter opens a series."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("librarySeries")
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setFlow(QListView.Flow.LeftToRight)
        self.setWrapping(False)
        self.setMovement(QListView.Movement.Static)
        self.setUniformItemSizes(True)
        self.setWordWrap(True)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setIconSize(QSize(SIZE, SIZE))
        self.setGridSize(QSize(SIZE + 56, SIZE + 52))
        self.setFixedHeight(SIZE + 70)
        self.setAccessibleName("Series of the study")
        self._items: dict[int, QListWidgetItem] = {}
        self._empty = _on_black(draw("volume", COLORS["disabled"], 32))
        self.rows: tuple[SeriesRow, ...] = ()

    def show_series(self, rows: Sequence[SeriesRow]) -> None:
        """Show the series of another study."""
        self.clear()
        self._items.clear()
        self.rows = tuple(rows)
        for row in rows:
            item = QListWidgetItem(self._icon(row.thumbnail), _title(row))
            item.setData(ROW, row)
            item.setToolTip(plain_tip(_tip(row)))
            item.setTextAlignment(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop)
            self.addItem(item)
            self._items[row.id] = item

    def show_picture(self, series_id: int, data: bytes) -> None:
        """Show a picture that has been made meanwhile."""
        item = self._items.get(series_id)
        if item is not None:
            item.setIcon(self._icon(data))

    def _icon(self, data: bytes | None) -> QIcon:
        pixmap = QPixmap()
        shown = _on_black(pixmap) if data and pixmap.loadFromData(data, "PNG") else self._empty
        made = QIcon()
        # The same when chosen: a tint would change the greys.
        for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected):
            made.addPixmap(shown, mode)
        return made


def _on_black(picture: QPixmap) -> QPixmap:
    """Return a square with a picture in its middle."""
    square = QPixmap(SIZE, SIZE)
    square.fill(QColor("black"))
    painter = QPainter(square)
    size = picture.size().scaled(SIZE, SIZE, Qt.AspectRatioMode.KeepAspectRatio)
    if picture.width() < SIZE and picture.height() < SIZE:
        size = picture.size()
    place = QRect((SIZE - size.width()) // 2, (SIZE - size.height()) // 2, size.width(), size.height())
    painter.drawPixmap(place, picture)
    painter.end()
    return square


def _title(row: SeriesRow) -> str:
    series = row.series
    name = shown(series.description) or (f"Series {series.series_number}" if series.series_number is not None else "")
    return f"{shown(series.modality)}  {counted(row.images, 'image')}\n{name}".strip()


def _tip(row: SeriesRow) -> str:
    series = row.series
    facts = [series.title, series.body_part_examined, counted(row.images, "image")]
    if series.size:
        facts += size_texts(series.size, series.spacing, series.stacking)
    facts += [f"⚠ {warning.text}" for warning in series.warnings]
    return "\n".join(fact for fact in facts if fact)
