"""The history: every step by name; a click goes back or forward to just after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QAbstractListModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtWidgets import QAbstractItemView, QListView, QVBoxLayout, QWidget

from medviewer.editing.history import UndoStack
from medviewer.ui.bind import Merged
from medviewer.ui.icons import icon
from medviewer.ui.panels.panel import Command, Panel
from medviewer.ui.theme import color

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

Index = QModelIndex | QPersistentModelIndex
FIRST = "As it was opened"
FORGOTTEN = "Earlier steps are no longer kept"


class HistoryPanel(Panel):
    """Lists the steps, oldest first; undone ones are grey."""

    def __init__(self, app: AppContext, command: Command, parent: QWidget | None = None) -> None:
        super().__init__(app, "historyPanel", command, parent)
        self.model = HistoryModel(app.history)
        self.view = QListView()
        self.view.setObjectName("historyList")
        self.view.setModel(self.model)
        self.view.setUniformItemSizes(True)
        self.view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.view.setAccessibleName("History of steps")
        self.view.clicked.connect(lambda index: self.app.go_to_step(index.row()))
        self.view.activated.connect(lambda index: self.app.go_to_step(index.row()))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.addWidget(self.view)
        self._refresh = Merged(self, self._show)
        self.links.connect(app.history.changed, self._refresh)
        self._show()

    def close_panel(self) -> None:
        """Disconnect from everything."""
        self._refresh.stop()
        super().close_panel()

    def _show(self) -> None:
        self.model.reload()
        at = self.model.index(len(self.app.history.done), 0)
        self.view.setCurrentIndex(at)
        self.view.scrollTo(at)


class HistoryModel(QAbstractListModel):
    """The rows: what was there before the first step, then every step."""

    def __init__(self, history: UndoStack) -> None:
        super().__init__()
        self._history = history
        self._labels: list[str] = []
        self._done = 0

    def reload(self) -> None:
        """Take the steps as they are now."""
        self.beginResetModel()
        done, ahead = self._history.done, self._history.ahead
        first = FORGOTTEN if self._history.forgotten else FIRST
        self._labels = [first, *(step.label for step in (*done, *reversed(ahead)))]
        self._done = len(done)
        self.endResetModel()

    def rowCount(self, parent: Index | None = None) -> int:
        """Return how many rows there are."""
        return 0 if parent is not None and parent.isValid() else len(self._labels)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Return name, colour or icon of a row."""
        if not index.isValid():
            return None
        done = index.row() <= self._done
        if role == Qt.ItemDataRole.DisplayRole:
            return self._labels[index.row()]
        if role == Qt.ItemDataRole.ForegroundRole and not done:
            return color("disabled")
        if role == Qt.ItemDataRole.DecorationRole:
            return icon("check", "soft") if done else icon("dot", "disabled")
        return None
