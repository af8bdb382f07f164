"""The segments of one image in numbers: a table, how large they are, how bright they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QDialog,
    QFileDialog,
    QHBoxLayout,
    QSplitter,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from medviewer.app.statistics import Column, SegmentStatistics, StatisticsTable
from medviewer.core.errors import InputError, MedViewerError
from medviewer.core.geometry import vec3
from medviewer.core.region import Region
from medviewer.core.shown_text import shown
from medviewer.io.atomic import atomic_write
from medviewer.jobs.job import Job
from medviewer.ui.bind import Links
from medviewer.ui.dialogs.statistics_plots import StatisticsPlots
from medviewer.ui.icons import swatch
from medviewer.ui.panels.panel import push_button
from medviewer.ui.text import counted, label, plain_tip

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

ROW = Qt.ItemDataRole.UserRole
_HINT = "Measured are the segments that are shown. A double click goes to the middle of one."
_CHANGED = "Segments have changed since this was measured."


class StatisticsDialog(QDialog):
    """Measures at once; stays open while one works, and says when it is out of date."""

    def __init__(self, app: AppContext, volume_id: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("statisticsDialog")
        self.setWindowTitle("Segment statistics")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._app = app
        self._volume_id = volume_id
        self._links = Links()
        self._job: Job | None = None
        self.measured: StatisticsTable | None = None
        self.state = label("", name="statisticsState", role="soft")
        self.table = self._make_table()
        self.plots = StatisticsPlots()
        self.again = push_button("statisticsAgain", "Measure again", self.measure, picture="reset")
        self.copy_button = push_button(
            "statisticsCopy", "Copy", self._copy, tip="Copy the table for a spreadsheet: columns parted by tabs"
        )
        self.save_button = push_button("statisticsSave", "Save as CSV…", self._ask_save, picture="save")
        self._lay_out()
        segmentation = app.workspace.segmentation(volume_id)
        self._links.connect(segmentation.labels_changed, self._labels_changed)
        self._links.connect(segmentation.segments_changed, self._out_of_date)
        self._links.connect(app.workspace.active_changed, lambda _: self.close())
        self.measure()

    def _make_table(self) -> QTableWidget:
        table = QTableWidget(0, 1)
        table.setObjectName("statisticsTable")
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(26)
        table.setShowGrid(False)
        table.setAlternatingRowColors(True)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        table.horizontalHeader().setHighlightSections(False)
        table.itemSelectionChanged.connect(self._selected)
        table.cellDoubleClicked.connect(lambda row, _: self._go_to(row))
        return table

    def _lay_out(self) -> None:
        split = QSplitter(Qt.Orientation.Vertical)
        split.addWidget(self.table)
        split.addWidget(self.plots)
        split.setSizes([330, 270])
        split.setChildrenCollapsible(False)
        buttons = QHBoxLayout()
        buttons.addWidget(self.again)
        buttons.addStretch(1)
        buttons.addWidget(self.copy_button)
        buttons.addWidget(self.save_button)
        buttons.addWidget(push_button("statisticsClose", "Close", self.close))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 14, 16, 14)
        layout.setSpacing(10)
        layout.addWidget(self.state)
        layout.addWidget(split, 1)
        layout.addLayout(buttons)
        self.resize(1120, 680)

    # --- measuring

    def measure(self) -> None:
        """Measure what is shown now."""
        self._stop()
        self._app.router.finish()
        self.state.setText("Measuring …")
        for button in (self.again, self.copy_button, self.save_button):
            button.setEnabled(False)
        self._job = self._app.statistics.start(self._volume_id, self._show)
        self._job.progress_changed.connect(self._progress)
        self._job.state_changed.connect(self._ended)

    def _progress(self, fraction: float | None, text: str) -> None:
        if self._links.open and fraction is not None:
            self.state.setText(f"Measuring … {fraction:.0%}  {shown(text)}")

    def _ended(self, _state: object) -> None:
        if self._links.open and self._job is not None and self._job.state.is_final:
            self.again.setEnabled(True)
            if self.measured is None:
                self.state.setText("Nothing was measured.")

    def _show(self, measured: StatisticsTable) -> None:
        if not self._links.open:
            return
        self.measured = measured
        self.state.setText(f"{counted(len(measured.rows), 'segment')}. {_HINT}")
        columns = measured.columns
        self.table.setSortingEnabled(False)
        self.table.setColumnCount(len(columns) + 1)
        self.table.setHorizontalHeaderItem(0, QTableWidgetItem("Segment"))
        for n, column in enumerate(columns, start=1):
            unit = column.unit or (measured.volume.unit if column.intensity else "")
            item = QTableWidgetItem(f"{column.title}\n{unit}" if unit else column.title)
            item.setToolTip(plain_tip(column.about))
            self.table.setHorizontalHeaderItem(n, item)
        self.table.setRowCount(len(measured.rows))
        for n, row in enumerate(measured.rows):
            self._fill(n, row, columns)
        self.table.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)  # as in the list, at first
        self.table.setSortingEnabled(True)
        self.table.resizeColumnsToContents()
        self.table.setColumnWidth(0, min(240, self.table.columnWidth(0)))
        self.plots.show_table(measured)
        self.copy_button.setEnabled(True)
        self.save_button.setEnabled(True)

    def _fill(self, n: int, row: SegmentStatistics, columns: tuple[Column, ...]) -> None:
        name = QTableWidgetItem(swatch(row.segment.color), row.name)
        name.setData(ROW, n)
        name.setToolTip(plain_tip(row.name))
        self.table.setItem(n, 0, name)
        for at, column in enumerate(columns, start=1):
            self.table.setItem(n, at, _Number(column.text(row), column.value(row)))

    def _out_of_date(self) -> None:
        if self.measured is not None:
            self.state.setText(_CHANGED)

    def _labels_changed(self, _region: Region, _group: int) -> None:
        self._out_of_date()

    # --- what one does with it

    def _chosen(self, row: int) -> SegmentStatistics | None:
        item = self.table.item(row, 0)
        return None if item is None or self.measured is None else self.measured.rows[int(item.data(ROW))]

    def _selected(self) -> None:
        rows = [self._chosen(index.row()) for index in self.table.selectionModel().selectedRows()]
        self.plots.show_histograms([row for row in rows if row is not None])

    def _go_to(self, row: int) -> None:
        chosen = self._chosen(row)
        segmentation = self._app.workspace.segmentation(self._volume_id)
        if chosen is None or chosen.shape is None:
            return
        if segmentation.find(chosen.segment.value) is not None:
            segmentation.active = chosen.segment.value
        self._app.workspace.view.crosshair_lps = vec3(chosen.shape.centroid_lps)

    def _copy(self) -> None:
        if self.measured is not None:
            QApplication.clipboard().setText(self.measured.to_csv("\t"))
            self._app.messages.add("info", f"Copied the statistics of {counted(len(self.measured.rows), 'segment')}.")

    def _ask_save(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save statistics", "segments.csv", "CSV (*.csv)")
        if name:
            self.save(Path(name if name.lower().endswith(".csv") else f"{name}.csv"))

    def save(self, path: Path) -> None:
        """Write the table as CSV (UTF-8 with its mark, which spreadsheets look for)."""
        if self.measured is None:
            return
        try:
            with atomic_write(path, InputError) as file:
                file.write(self.measured.to_csv().encode("utf-8-sig", "backslashreplace"))
        except MedViewerError as error:
            self._app.messages.error(error, f"Cannot save {path.name}")
        else:
            self._app.messages.add("info", f"Saved {path.name}.")

    def _stop(self) -> None:
        if self._job is not None and not self._job.state.is_final:
            self._job.cancel()

    def done(self, result: int) -> None:
        """Close; what is being measured is dropped."""
        self._stop()
        self._links.close()
        super().done(result)


class _Number(QTableWidgetItem):
    """A cell that is sorted by its number; none is the least."""

    def __init__(self, text: str, value: float | None) -> None:
        super().__init__(text)
        self._value = float("-inf") if value is None else float(value)
        self.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)

    def __lt__(self, other: QTableWidgetItem) -> bool:
        return self._value < other._value if isinstance(other, _Number) else super().__lt__(other)
