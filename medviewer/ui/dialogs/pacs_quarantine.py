"""What was sent to this machine without being asked for."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QHBoxLayout,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from medviewer.core.shown_text import shown
from medviewer.io.network.quarantine import Unasked
from medviewer.ui.dialogs.questions import ask_yes_no
from medviewer.ui.panels.panel import push_button
from medviewer.ui.text import dicom_date, label, person_name

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

ENTRY = Qt.ItemDataRole.UserRole
COLUMNS = ("From", "Received", "Patient", "ID", "Date", "Modality", "Description", "Objects", "MB")
WIDTHS = (190, 130, 150, 100, 90, 70, 160, 60, 60)
TEXT = (
    "Servers pushed these objects without being asked, and were told that they are not taken. They are mixed into no "
    "study and cannot be opened from here. If a study is wanted after all, search for it and fetch it."
)


class QuarantineDialog(QDialog):
    """Lists what is kept apart; what is deleted is gone for good."""

    def __init__(self, app: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("pacsQuarantineDialog")
        self.setWindowTitle("Quarantine")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._app = app
        self.tree = QTreeWidget()
        self.tree.setObjectName("pacsQuarantineList")
        self.tree.setRootIsDecorated(False)
        self.tree.setHeaderLabels(list(COLUMNS))
        self.tree.setUniformRowHeights(True)
        self.tree.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        for column, width in enumerate(WIDTHS):
            self.tree.header().resizeSection(column, width)
        self.tree.itemSelectionChanged.connect(self._enable)
        self.delete_button = push_button("pacsQuarantineDelete", "Delete selected", self._delete)
        row = QHBoxLayout()
        row.addWidget(push_button("pacsQuarantineAll", "Select all", self.tree.selectAll))
        row.addWidget(self.delete_button)
        row.addStretch(1)
        row.addWidget(push_button("pacsQuarantineClose", "Close", self.accept))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 18, 20, 16)
        layout.setSpacing(12)
        layout.addWidget(label(TEXT, role="soft", wrap=True))
        layout.addWidget(self.tree, 1)
        layout.addLayout(row)
        self.resize(1060, 420)
        self._fill()

    def _fill(self) -> None:
        self.tree.clear()
        for entry in self._app.pacs.quarantine.entries():
            self.tree.addTopLevelItem(_item(entry))
        self._enable()

    def _enable(self) -> None:
        self.delete_button.setEnabled(bool(self.tree.selectedItems()))

    def _delete(self) -> None:
        entries = [item.data(0, ENTRY) for item in self.tree.selectedItems()]
        count = sum(len(entry.files) for entry in entries)
        if ask_yes_no(self, f"Delete {count} objects for good?"):
            self._app.pacs.quarantine.delete(entries)
            self._fill()


def _item(entry: Unasked) -> QTreeWidgetItem:
    received = datetime.fromtimestamp(entry.received).astimezone()
    texts = (
        entry.sender, f"{received:%Y-%m-%d %H:%M}", person_name(entry.patient_name), entry.patient_id,
        dicom_date(entry.study_date), entry.modality, entry.description, str(len(entry.files)),
        f"{entry.size / 1e6:.1f}",
    )  # fmt: skip
    item = QTreeWidgetItem([shown(text) for text in texts])
    item.setData(0, ENTRY, entry)
    for column in (7, 8):
        item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return item
