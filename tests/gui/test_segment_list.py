"""Status, codes, instances and presets in the list of segments; the history; three hundred segments."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QLineEdit, QListView, QListWidget, QMenu, QTableWidget, QToolButton
from pytestqt.qtbot import QtBot

from medviewer.app.context import AppContext
from medviewer.core.region import Region
from medviewer.core.segmentation import Segment
from medviewer.core.volume import Volume
from medviewer.editing.editor import LabelEditor
from medviewer.io.presets import Preset, all_presets
from medviewer.io.terminology import Term
from medviewer.ui.dialogs.terms_dialog import TermsDialog
from medviewer.ui.main_window import MainWindow
from medviewer.ui.panels.segments import NAME, SIZE, STATUS


def table_of(window: MainWindow) -> QTableWidget:
    return window.findChild(QTableWidget, "segmentsTable")


def test_a_click_on_the_status_offers_all_four(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume
) -> None:
    segment = app.segments.add(opened.id)
    table = table_of(window)
    qtbot.waitUntil(lambda: table.rowCount() == 1)
    table.cellClicked.emit(0, STATUS)
    menu = window.findChild(QMenu, "segmentStatusMenu")
    assert [a.text() for a in menu.actions()] == ["Not started", "In progress", "Done", "Flagged"]
    assert [a.isChecked() for a in menu.actions()] == [False, True, False, False]
    menu.actions()[2].trigger()
    menu.close()
    assert app.workspace.segmentation(opened.id).segment(segment.value).status == "done"
    qtbot.waitUntil(lambda: table.item(0, STATUS).toolTip().startswith("<qt>Done"))


def test_a_segment_is_described_by_searching(qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume) -> None:
    segment = app.segments.add(opened.id)
    window.commands.run("describe_segment")
    dialog = window.findChild(TermsDialog)
    listed = dialog.findChild(QListWidget, "termList")
    everything = listed.count()
    assert everything > 1000
    dialog.findChild(QLineEdit, "termSearch").setText("kidney left")
    assert 0 < listed.count() < 10
    assert all("kidney" in listed.item(n).text().lower() for n in range(listed.count()))
    found = [n for n in range(listed.count()) if listed.item(n).text() == "kidney cyst left"]
    listed.setCurrentRow(found[0])
    region = dialog.findChild(QComboBox, "termRegion")
    assert region.currentText() == "Kidney"
    assert dialog.findChild(QComboBox, "termRegionModifier").currentText() == "Left"
    dialog.findChild(QLineEdit, "termName").setText("cyst")
    dialog.accept()
    described = app.workspace.segmentation(opened.id).segment(segment.value)
    assert (described.name, described.type.code_value, described.region.code_value) == ("cyst", "367643001", "64033007")
    assert described.color == (83, 175, 221)
    assert app.history.undo_label == "Describe Segment 1"


def test_presets_are_offered_and_instances_are_a_command(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume
) -> None:
    menu = window.findChild(QToolButton, "segmentPresets").menu()
    menu.aboutToShow.emit()
    names = [action.text() for action in menu.actions()]
    assert names[:-2] == [preset.name for preset in all_presets()]
    menu.actions()[names.index("Metastases")].trigger()
    table = table_of(window)
    qtbot.waitUntil(lambda: table.rowCount() == 1)
    window.commands.run("new_instance")
    qtbot.waitUntil(lambda: table.rowCount() == 2)
    assert [table.item(row, NAME).text() for row in range(2)] == ["metastasis 1", "metastasis 2"]
    assert table.currentRow() == 1


def test_the_history_goes_to_any_step(qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume) -> None:
    for name in ("one", "two", "three"):
        app.segments.add(opened.id, name)
    view = window.findChild(QListView, "historyList")
    model = view.model()
    qtbot.waitUntil(lambda: model.rowCount() == 4)
    rows = [model.index(n, 0) for n in range(4)]
    assert [row.data() for row in rows] == ["As it was opened", "Add one", "Add two", "Add three"]
    view.clicked.emit(rows[1])
    assert [s.name for s in app.workspace.segmentation(opened.id).segments] == ["one"]
    qtbot.waitUntil(lambda: view.currentIndex().row() == 1)
    grey = [model.index(n, 0).data(Qt.ItemDataRole.ForegroundRole) is not None for n in range(4)]
    assert grey == [False, False, True, True]
    view.clicked.emit(model.index(3, 0))
    assert len(app.workspace.segmentation(opened.id).segments) == 3
    view.clicked.emit(model.index(0, 0))
    assert app.workspace.segmentation(opened.id).segments == ()


def test_sizes_follow_a_change_of_any_segment(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume
) -> None:
    """The one that was painted over, too; and undo puts both back."""
    one, two = app.segments.add(opened.id, "one").value, app.segments.add(opened.id, "two").value
    editor = LabelEditor(app.workspace, app.history, opened.id)
    table = table_of(window)

    def fill(value: int, region: Region) -> None:
        with editor.stroke("Fill", value) as stroke:
            stroke.paint(region, np.ones(region.shape, np.bool_))

    def sizes() -> list[str]:
        return [table.item(row, SIZE).text() for row in range(table.rowCount())]

    fill(one, Region((0, 0, 0), (10, 20, 20)))
    qtbot.waitUntil(lambda: len(sizes()) == 2 and float(sizes()[0].replace("…", "0")) > 0)
    before = sizes()
    fill(two, Region((0, 0, 0), (5, 20, 20)))
    qtbot.waitUntil(lambda: sizes()[0] == sizes()[1] != "0")
    app.undo()
    qtbot.waitUntil(lambda: sizes() == before)


def test_one_change_among_three_hundred_segments_fills_one_row(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume
) -> None:
    app.segments.add_preset(opened.id, Preset("Many", {n: Term(name=f"s{n}") for n in range(1, 301)}))
    table = table_of(window)
    qtbot.waitUntil(lambda: table.rowCount() == 300)
    items = [table.item(row, NAME) for row in range(300)]
    app.segments.set_status(opened.id, 150, "done")
    qtbot.waitUntil(lambda: table.item(149, STATUS).toolTip().startswith("<qt>Done"))
    kept = [row for row in range(300) if table.item(row, NAME) is items[row]]
    assert len(kept) == 299
    segments: tuple[Segment, ...] = app.workspace.segmentation(opened.id).segments
    assert len({s.value for s in segments}) == 300
