"""S14 and D18: whatever files say is shown as text; it is no markup, fetches nothing, and does not stop the window."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QApplication, QLabel, QTableWidget, QTreeWidget, QTreeWidgetItem, QWidget
from pytestqt.qtbot import QtBot

from medviewer.app.context import AppContext
from medviewer.core.segmentation import Segment
from medviewer.phantoms import spheres_volume, write_series
from medviewer.ui.main_window import MainWindow
from medviewer.ui.text import plain_tip

WAIT_MS = 30_000
MARKUP = '<img src="http://127.0.0.1:9/x.png"><b>bold</b><a href="file:///etc/passwd">a</a>&amp;'
#: What makes Qt take a text for markup.
TAG = re.compile(r"<[a-zA-Z/!?]")
LONG = "x" * 60_000


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A series in which every text is hostile."""
    write_series(spheres_volume(), tmp_path / "study")
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    for path in (tmp_path / "study").rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.SpecificCharacterSet = "ISO_IR 192"
        for keyword in ("PatientName", "PatientID", "StudyDescription", "SeriesDescription", "AccessionNumber"):
            setattr(dataset, keyword, MARKUP)
        dataset.save_as(path)
    return tmp_path / "study"


def shown_as_markup() -> Iterator[str]:
    """Yield what Qt would take for markup, of every widget and action there is."""
    for widget in QApplication.allWidgets():
        # Qt looks at a text by itself where no format is set.
        may = isinstance(widget, QLabel) and widget.textFormat() is not Qt.TextFormat.PlainText
        if may and TAG.search(widget.text()):
            yield f"label {widget.objectName()}: {widget.text()[:60]}"
        yield from _tip(widget.objectName(), widget.toolTip())
        if isinstance(widget, QTreeWidget):
            for item in _items(widget.invisibleRootItem()):
                yield from _tip(item.text(0), item.toolTip(0))
        if isinstance(widget, QTableWidget):
            for row in range(widget.rowCount()):
                for column in range(widget.columnCount()):
                    cell = widget.item(row, column)
                    if cell is not None:
                        yield from _tip(cell.text(), cell.toolTip())
        for action in widget.actions():
            yield from _tip(action.objectName(), action.toolTip() if isinstance(action, QAction) else "")


def _items(item: QTreeWidgetItem) -> Iterator[QTreeWidgetItem]:
    for n in range(item.childCount()):
        yield item.child(n)
        yield from _items(item.child(n))


def _tip(name: str, tip: str) -> Iterator[str]:
    """Yield a tool tip with markup that is not ours: ours is one <qt> around escaped text with line breaks."""
    inner = tip.removeprefix("<qt>").removesuffix("</qt>").replace("<br>", "")
    if TAG.search(inner):
        yield f"tip of {name}: {tip[:60]}"


def texts_in(widget: QWidget) -> str:
    labels = [label.text() for label in widget.findChildren(QLabel)]
    trees = [item.text(0) for tree in widget.findChildren(QTreeWidget) for item in _items(tree.invisibleRootItem())]
    return "\n".join(labels + trees)


def test_S14_markup_is_shown_as_it_stands(qtbot: QtBot, app: AppContext, window: MainWindow, hostile: Path) -> None:
    window.open_paths([hostile])
    qtbot.waitUntil(lambda: app.workspace.active is not None and not app.jobs.running, timeout=WAIT_MS)
    volume = app.workspace.active
    assert volume is not None
    segmentation = app.workspace.segmentation(volume.id)
    group = segmentation.new_group(MARKUP)
    group.labels[:] = 1
    segmentation.put_group(group)
    segmentation.put_segment(Segment(1, MARKUP))
    app.segments.rename(volume.id, 1, f"{MARKUP}!")
    app.messages.add("warning", MARKUP, MARKUP, "W_TEST")
    app.messages.error(ValueError(MARKUP))
    canvas = window.findChild(QWidget, "axial_canvas")
    middle = QPointF(canvas.rect().center())
    canvas._mouse = middle  # type: ignore[attr-defined]
    canvas._tell_cursor()  # type: ignore[attr-defined]
    assert "&lt;img" in canvas.toolTip(), "the segment under the pointer is named"
    QApplication.processEvents()
    assert list(shown_as_markup()) == []
    assert MARKUP in texts_in(window), "it is shown, not swallowed"
    assert "<" not in window.windowTitle()


def test_S14_the_check_sees_markup(qtbot: QtBot, window: MainWindow) -> None:
    bad = QLabel("<b>bold</b>", window)
    bad.setToolTip("<i>x</i>")
    assert len(list(shown_as_markup())) == 2
    bad.setTextFormat(Qt.TextFormat.PlainText)
    bad.setToolTip(plain_tip("<i>x</i>\n<b>"))
    assert list(shown_as_markup()) == []


def test_D18_huge_values_do_not_stop_the_window(
    qtbot: QtBot, app: AppContext, window: MainWindow, hostile: Path
) -> None:
    for path in hostile.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        for keyword in ("PatientName", "PatientID", "StudyDescription", "SeriesDescription"):
            setattr(dataset, keyword, LONG)
        dataset.save_as(path)
    window.open_paths([hostile])
    qtbot.waitUntil(lambda: app.workspace.active is not None and not app.jobs.running, timeout=WAIT_MS)
    volume = app.workspace.active
    assert volume is not None
    assert len(volume.patient_name) == len(volume.name) == 1000
    started = time.perf_counter()
    window.resize(1281, 761)
    QApplication.processEvents()
    window.repaint()
    # A stall would be of another order: a megabyte takes seconds to lay out.
    assert time.perf_counter() - started < 2.0
