"""Segments as pictures of numbers: a bar for the size of each, a curve for the intensities of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QWidget

from medviewer.app.statistics import SegmentStatistics, StatisticsTable
from medviewer.ui.theme import COLORS

#: More bars, or curves, than this cannot be told apart.
MOST_BARS, MOST_CURVES = 24, 12
_LONGEST_NAME = 16


class StatisticsPlots(QWidget):
    """Sizes on the left, intensities on the right."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("statisticsPlots")
        self.sizes, self.intensities = _plot(), _plot()
        self._rows: tuple[SegmentStatistics, ...] = ()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(10)
        row.addWidget(self.sizes, 1)
        row.addWidget(self.intensities, 1)

    def show_table(self, table: StatisticsTable) -> None:
        """Draw the sizes of all segments, largest first, and the intensities of the first few."""
        self._rows = table.rows
        self._draw_sizes(table)
        unit = f" / {table.volume.unit}" if table.volume.unit else ""
        self.intensities.setLabel("bottom", f"intensity{unit}", color=COLORS["soft"])
        self.show_histograms([])

    def _draw_sizes(self, table: StatisticsTable) -> None:
        import pyqtgraph

        self.sizes.clear()
        rows = sorted(table.rows, key=lambda row: -row.size)[:MOST_BARS]
        column = table.columns[0]
        title = f"{column.title} in {column.unit}"
        more = f", the {MOST_BARS} largest" if len(table.rows) > MOST_BARS else ""
        self.sizes.setTitle(f"{title}{more}", color=COLORS["text"], size="10pt")
        places = list(range(len(rows)))
        self.sizes.addItem(
            pyqtgraph.BarGraphItem(
                x0=0, y=places, height=0.7, width=[row.size for row in rows],
                brushes=[pyqtgraph.mkBrush(row.segment.color) for row in rows], pen=pyqtgraph.mkPen(None),
            )
        )  # fmt: skip
        names = [(place, _short(row.name)) for place, row in zip(places, rows, strict=True)]
        self.sizes.getAxis("left").setTicks([names])
        self.sizes.invertY(True)
        self.sizes.setYRange(-0.6, max(4.6, len(rows) - 0.4), padding=0)
        self.sizes.setXRange(0, max((row.size for row in rows), default=1.0) or 1.0, padding=0.03)

    def show_histograms(self, rows: Sequence[SegmentStatistics]) -> None:
        """Draw the intensities of some segments; of the largest ones where none is chosen."""
        import pyqtgraph

        chosen = list(rows) or sorted(self._rows, key=lambda row: -row.size)
        with_values = [row for row in chosen if row.intensity is not None][:MOST_CURVES]
        self.intensities.clear()
        left = len(chosen) - len(with_values)
        title = "Intensities, % of each segment" + (f" ({len(with_values)} of {len(chosen)})" if left > 0 else "")
        self.intensities.setTitle(title, color=COLORS["text"], size="10pt")
        for row in with_values:
            found = row.intensity
            assert found is not None
            share = 100 * found.counts / max(1, int(found.counts.sum()))
            pen = pyqtgraph.mkPen(row.segment.color, width=2)
            fill = pyqtgraph.mkBrush(*row.segment.color, 40)
            self.intensities.plot(found.edges, share, stepMode="center", pen=pen, fillLevel=0, brush=fill)
        self.intensities.autoRange()


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _plot() -> Any:
    import pyqtgraph

    plot = pyqtgraph.PlotWidget(background=COLORS["field"])
    plot.setMenuEnabled(False)
    plot.hideButtons()
    plot.setMouseEnabled(False, False)
    plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    plot.showGrid(x=True, y=False, alpha=0.15)
    for side in ("left", "bottom"):
        plot.getAxis(side).setPen(COLORS["border"])
        plot.getAxis(side).setTextPen(COLORS["soft"])
    return plot
