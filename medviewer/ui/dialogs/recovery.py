"""What a crashed session left: recover it, throw it away, or decide later."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QHBoxLayout, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from medviewer.core.errors import MedViewerError
from medviewer.ui.icons import icon
from medviewer.ui.panels.panel import push_button
from medviewer.ui.text import counted, label, plain_tip

if TYPE_CHECKING:
    from medviewer.app.context import AppContext
    from medviewer.io.journal import JournalInfo


class RecoveryDialog(QDialog):
    """Lists what can be recovered, newest first."""

    def __init__(self, app: AppContext, left: Sequence[JournalInfo], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("recoveryDialog")
        self.setWindowTitle("Recover work")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._app = app
        self._left = list(left)
        self.list = QListWidget()
        self.list.setObjectName("recoveryList")
        self.list.itemActivated.connect(lambda _: self._recover())
        self.recover_button = push_button("recoverWork", "Recover", self._recover)
        self.recover_button.setProperty("next", True)
        self.recover_button.setDefault(True)
        self.discard_button = push_button("discardWork", "Throw away", self._discard)
        later = push_button("recoverLater", "Decide later", self.reject)
        row = QHBoxLayout()
        row.addWidget(self.discard_button)
        row.addStretch(1)
        row.addWidget(later)
        row.addWidget(self.recover_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 18, 20, 16)
        layout.setSpacing(12)
        layout.addWidget(label("The program ended while there was unsaved work.", role="heading", wrap=True))
        layout.addWidget(
            label("At most the stroke in the hand is lost. The images are read again.", role="soft", wrap=True)
        )
        layout.addWidget(self.list, 1)
        layout.addLayout(row)
        self.resize(560, 320)
        self._fill()

    @property
    def chosen(self) -> JournalInfo | None:
        """The selected entry."""
        row = self.list.currentRow()
        return self._left[row] if 0 <= row < len(self._left) else None

    def _fill(self) -> None:
        self.list.clear()
        for info in self._left:
            text = f"{info.title}\n{local_time(info.modified)}, {counted(info.steps, 'step')}"
            item = QListWidgetItem(icon("undo", "accent"), text)
            item.setToolTip(plain_tip(f"{text}\nBegun {local_time(info.created)}"))
            self.list.addItem(item)
        self.list.setCurrentRow(0)

    def _recover(self) -> None:
        info = self.chosen
        if info is None:
            return
        try:
            self._app.documents.recover(info)
        except MedViewerError as error:
            self._app.messages.error(error)
        self.accept()

    def _discard(self) -> None:
        info = self.chosen
        if info is None:
            return
        try:
            self._app.documents.discard(info)
        except MedViewerError as error:
            self._app.messages.error(error)
            return
        self._left.remove(info)
        self._fill()
        if not self._left:
            self.accept()


def local_time(iso: str) -> str:
    """Return an ISO 8601 time as a local one for people; anything else as it is."""
    try:
        return datetime.fromisoformat(iso).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return iso
