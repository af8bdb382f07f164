"""What is on its way here or to a server: progress, cancel, resume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QProgressBar, QScrollArea, QVBoxLayout, QWidget

from medviewer.app.transfers import Retrieval, Sending, Transfer
from medviewer.jobs.job import JobState
from medviewer.ui.bind import Links
from medviewer.ui.panels.panel import push_button, tool_button
from medviewer.ui.text import label
from medviewer.ui.theme import restyle

if TYPE_CHECKING:
    from medviewer.app.context import AppContext


PART_HELP = "Open what has arrived. The series says that it is incomplete, and so does whatever is exported from it."


class TransferRow(QFrame):
    """One transfer."""

    def __init__(self, app: AppContext, entry: Transfer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.entry = entry
        self._app = app
        self.setObjectName("pacsTransfer")
        arrow = "↑" if isinstance(entry, Sending) else "↓"
        self.title = label(f"{arrow}  {entry.title}", name="pacsTransferTitle")
        self.said = label("", name="pacsTransferText", role="soft", wrap=True)
        self.bar = QProgressBar()
        self.bar.setObjectName("pacsTransferProgress")
        self.bar.setTextVisible(False)
        self.bar.setFixedWidth(160)
        self.bar.setMaximumHeight(12)
        self.part_button = push_button("pacsOpenPart", "Open part", self._open_part, tip=PART_HELP)
        self.resume_button = push_button("pacsResume", "Resume", self._resume, tip="Transfer what is missing")
        self.cancel_button = push_button("pacsCancel", "Cancel", self._cancel, tip="Stop; what has arrived is kept")
        self.forget_button = tool_button("pacsForget", "close", self._forget, "Take off the list")
        row = QHBoxLayout(self)
        row.setContentsMargins(6, 2, 6, 2)
        row.addWidget(self.title)
        row.addWidget(self.said, 1)
        for widget in (self.bar, self.part_button, self.resume_button, self.cancel_button, self.forget_button):
            row.addWidget(widget)
        self._links = Links()
        if entry.job is not None:
            self._links.connect(entry.job.progress_changed, self.show_state)
            self._links.connect(entry.job.state_changed, self.show_state)
        self.show_state()

    def close_row(self) -> None:
        """Disconnect from the job."""
        self._links.close()

    def show_state(self, *_: object) -> None:
        """Show how it stands."""
        entry, job = self.entry, self.entry.job
        fraction = job.fraction if job is not None else None
        self.said.setText(entry.said)
        state = job.state if job is not None else JobState.PENDING
        if state is JobState.SUCCESS and entry.can_resume:
            state = JobState.ERROR
        role = {JobState.ERROR: "error", JobState.SUCCESS: "good"}.get(state, "soft")
        if self.said.property("role") != role:
            self.said.setProperty("role", role)
            restyle(self.said)
        self.bar.setVisible(entry.is_running)
        self.bar.setRange(0, 1000 if fraction is not None else 0)
        self.bar.setValue(round((fraction or 0.0) * 1000))
        self.part_button.setVisible(isinstance(entry, Retrieval) and entry.has_part)
        self.resume_button.setVisible(entry.can_resume)
        self.cancel_button.setVisible(entry.is_running)
        self.forget_button.setVisible(not entry.is_running)

    def _open_part(self) -> None:
        if isinstance(self.entry, Retrieval):
            self._app.pacs.open_part(self.entry)

    def _resume(self) -> None:
        self._app.pacs.resume(self.entry)

    def _cancel(self) -> None:
        if self.entry.job is not None:
            self.entry.job.cancel()

    def _forget(self) -> None:
        self._app.pacs.forget(self.entry)


class RetrieveQueue(QWidget):
    """All transfers of this session, newest on top."""

    def __init__(self, app: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("pacsQueue")
        self._app = app
        self.rows: list[TransferRow] = []
        self._jobs: list[object] = []
        self._list = QVBoxLayout()
        self._list.setContentsMargins(2, 2, 2, 2)
        self._list.setSpacing(0)
        self.empty = label("Nothing is being fetched or sent.", name="pacsQueueEmpty", role="soft")
        self.empty.setMargin(6)
        self._list.addWidget(self.empty)
        self._list.addStretch(1)
        inside = QWidget()
        inside.setLayout(self._list)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inside)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(area)
        self._links = Links()
        self._links.connect(app.pacs.transfers_changed, self._fill)
        self._fill()

    def close_queue(self) -> None:
        """Disconnect from everything."""
        self._links.close()
        for row in self.rows:
            row.close_row()

    def _fill(self) -> None:
        jobs: list[object] = [entry.job for entry in self._app.pacs.transfers]
        if jobs == self._jobs:
            return
        self._jobs = jobs
        for row in self.rows:
            row.close_row()
            self._list.removeWidget(row)
            row.hide()
            row.deleteLater()
        self.rows = [TransferRow(self._app, entry) for entry in reversed(self._app.pacs.transfers)]
        for n, row in enumerate(self.rows):
            self._list.insertWidget(n, row)
        self.empty.setVisible(not self.rows)
