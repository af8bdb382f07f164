"""The table of segments: what is in it, how it is taken away, and that it says when it is old."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QDialog, QLabel, QPushButton, QTableWidget
from pytestqt.qtbot import QtBot

from medviewer.app.context import AppContext
from medviewer.core.region import Region
from medviewer.core.segmentation import Segment
from medviewer.core.volume import Volume
from medviewer.editing.editor import LabelEditor
from medviewer.ui.dialogs.statistics_dialog import StatisticsDialog
from medviewer.ui.main_window import MainWindow

WAIT_MS = 30_000


def paint(app: AppContext, volume: Volume, value: int, box: Region) -> None:
    with LabelEditor(app.workspace, app.history, volume.id).stroke("Paint", value) as stroke:
        stroke.paint(box, np.ones(box.shape, bool))


@pytest.fixture
def segments(app: AppContext, opened: Volume) -> tuple[Segment, Segment]:
    one, two = app.segments.add(opened.id, "small"), app.segments.add(opened.id, "large")
    paint(app, opened, one.value, Region((2, 2, 2), (4, 5, 6)))
    paint(app, opened, two.value, Region((6, 6, 6), (12, 16, 20)))
    return one, two


@pytest.fixture
def dialog(qtbot: QtBot, window: MainWindow, opened: Volume, segments: tuple[Segment, Segment]) -> StatisticsDialog:
    qtbot.waitUntil(lambda: window.commands.by_id["statistics"].isEnabled())
    window.commands.run("statistics")
    found = window.findChild(QDialog, "statisticsDialog")
    assert isinstance(found, StatisticsDialog)
    qtbot.waitUntil(lambda: found.measured is not None, timeout=WAIT_MS)
    return found


def column(table: QTableWidget, title: str) -> int:
    names = [table.horizontalHeaderItem(n).text().split("\n")[0] for n in range(table.columnCount())]
    return names.index(title)


def test_every_segment_has_a_line_that_can_be_sorted(dialog: StatisticsDialog) -> None:
    table = dialog.findChild(QTableWidget, "statisticsTable")
    assert table.rowCount() == 2
    volume = column(table, "Voxels")
    table.sortItems(volume, Qt.SortOrder.DescendingOrder)
    assert [table.item(row, 0).text() for row in range(2)] == ["large", "small"]
    assert table.item(0, volume).text() == f"{6 * 10 * 14}"
    assert float(table.item(1, column(table, "Feret")).text()) > float(
        table.item(1, column(table, "Perpendicular")).text()
    )
    assert "PyRadiomics" in table.horizontalHeaderItem(column(table, "Flatness")).toolTip()


def test_a_double_click_goes_to_a_segment(
    app: AppContext, dialog: StatisticsDialog, segments: tuple[Segment, Segment]
) -> None:
    table = dialog.findChild(QTableWidget, "statisticsTable")
    table.sortItems(column(table, "Voxels"), Qt.SortOrder.AscendingOrder)
    table.cellDoubleClicked.emit(0, 0)
    assert dialog.measured is not None
    shape = dialog.measured.rows[0].shape
    assert shape is not None
    assert app.workspace.view.crosshair_lps == pytest.approx(shape.centroid_lps)
    assert app.workspace.active_segmentation is not None
    assert app.workspace.active_segmentation.active == segments[0].value


def test_the_table_is_copied_and_saved(dialog: StatisticsDialog, tmp_path: Path) -> None:
    dialog.findChild(QPushButton, "statisticsCopy").click()
    lines = QApplication.clipboard().text().splitlines()
    assert [line.split("\t")[1] for line in lines] == ["segment", "small", "large"]
    path = tmp_path / "segments.csv"
    dialog.save(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        saved = list(csv.DictReader(file))
    assert [row["voxels"] for row in saved] == ["24", "840"]
    dialog.save(tmp_path / "no" / "segments.csv")  # a message, no crash
    assert not (tmp_path / "no").exists()


def test_plots_show_the_sizes_and_the_chosen_intensities(dialog: StatisticsDialog) -> None:
    (bars,) = dialog.plots.sizes.getPlotItem().items
    assert list(bars.opts["width"]) == sorted((row.size for row in dialog.measured.rows), reverse=True)  # type: ignore[union-attr]
    curves = dialog.plots.intensities.getPlotItem().listDataItems
    assert len(curves()) == 2
    dialog.table.selectRow(0)
    assert len(curves()) == 1
    _, shares = curves()[0].getData()
    assert shares.sum() == pytest.approx(100)


def test_it_says_when_segments_have_changed(
    qtbot: QtBot, app: AppContext, opened: Volume, dialog: StatisticsDialog, segments: tuple[Segment, Segment]
) -> None:
    state = dialog.findChild(QLabel, "statisticsState")
    paint(app, opened, segments[0].value, Region((1, 1, 1), (2, 2, 2)))
    assert "changed" in state.text()
    before = dialog.measured
    dialog.findChild(QPushButton, "statisticsAgain").click()
    qtbot.waitUntil(lambda: dialog.measured is not before, timeout=WAIT_MS)
    assert "changed" not in state.text()
    assert dialog.measured is not None
    assert dialog.measured.rows[0].shape is not None
    assert dialog.measured.rows[0].shape.voxels == 25


def test_it_closes_with_its_image(qtbot: QtBot, app: AppContext, opened: Volume, dialog: StatisticsDialog) -> None:
    with qtbot.waitSignal(dialog.finished, timeout=WAIT_MS):
        app.workspace.remove_volume(opened.id)
