"""A report as a tree of plain text; a double click goes to the image that a line is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from medviewer.io.report import ImageRef, Report
from medviewer.ui.icons import icon
from medviewer.ui.text import counted, label, plain_tip

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

IMAGE = Qt.ItemDataRole.UserRole
#: What has more lines than this starts folded: lists of every image of a study.
_MANY = 30


class ReportDialog(QDialog):
    """Shows a report beside the images; stays open while one works."""

    def __init__(self, app: AppContext, report: Report, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("reportDialog")
        self.setWindowTitle(report.file_name)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.app = app
        self.report = report
        layout = QVBoxLayout(self)
        layout.setSpacing(8)
        layout.addWidget(label(report.title, name="reportTitle", role="title", wrap=True))
        if report.facts:
            layout.addWidget(label("   ".join(report.facts), name="reportFacts", role="soft", wrap=True))
        for warning in report.warnings:
            layout.addWidget(label(warning, role="warning", wrap=True))
        self.tree = self._make_tree()
        layout.addWidget(self.tree, 1)
        if any(item.image is not None for item in report.items):
            hint = "Double click a line with a picture to go to its image."
            layout.addWidget(label(hint, name="reportHint", role="soft"))
        layout.addWidget(self._make_buttons())
        self.resize(640, 620)

    def _make_tree(self) -> QTreeWidget:
        tree = QTreeWidget()
        tree.setObjectName("reportTree")
        tree.setHeaderLabels(["Item", "Value"])
        tree.setWordWrap(True)
        tree.setAlternatingRowColors(True)
        tree.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Interactive)
        tree.header().resizeSection(0, 300)
        path: list[QTreeWidgetItem] = []
        rows: list[QTreeWidgetItem] = []
        for line in self.report.items:
            row = QTreeWidgetItem([line.name, line.value])
            row.setToolTip(1, plain_tip(line.value))
            if line.image is not None:
                row.setIcon(0, icon("volume", "accent"))
                row.setData(0, IMAGE, line.image)
            del path[line.depth :]
            if path:
                path[-1].addChild(row)
            else:
                tree.addTopLevelItem(row)
            path.append(row)
            rows.append(row)
        for row in rows:
            row.setExpanded(row.childCount() <= _MANY)
        tree.itemActivated.connect(self._go_to)
        return tree

    def _make_buttons(self) -> QDialogButtonBox:
        buttons = QDialogButtonBox()
        count = len(self.report.marks)
        if count:
            text = f"Show {counted(count, 'mark')} as findings"
            show = buttons.addButton(text, QDialogButtonBox.ButtonRole.ActionRole)
            show.setObjectName("reportMarks")
            show.clicked.connect(lambda: self.app.objects.place_marks(self.report))
        close = buttons.addButton("Close", QDialogButtonBox.ButtonRole.RejectRole)
        close.setObjectName("reportClose")
        buttons.rejected.connect(self.reject)
        return buttons

    def _go_to(self, row: QTreeWidgetItem) -> None:
        image = row.data(0, IMAGE)
        if isinstance(image, ImageRef):
            self.app.objects.go_to(image)
