"""What runs and what ran: progress, cancel, seconds, errors with what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QProgressBar, QScrollArea, QVBoxLayout, QWidget

from medviewer.core.errors import MedViewerError
from medviewer.jobs.job import Job, JobState
from medviewer.ui.bind import Links
from medviewer.ui.icons import icon
from medviewer.ui.panels.panel import Command, Panel, tool_button
from medviewer.ui.text import duration, label
from medviewer.ui.theme import restyle

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

MAX_ENDED = 30
ENDED: dict[JobState, tuple[str, str, str]] = {
    JobState.SUCCESS: ("check", "good", "Done"),
    JobState.ERROR: ("error", "error", "Failed"),
    JobState.CANCELLED: ("stop", "soft", "Cancelled"),
}


class JobRow(QFrame):
    """One job."""

    def __init__(self, job: Job, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.job = job
        self.setObjectName(f"job.{job.id}")
        self.picture = QLabel()
        self.picture.setFixedWidth(20)
        self.title = label(job.title, name="jobTitle")
        self.said = label("Waiting", name="jobText", role="soft")
        self.bar = QProgressBar()
        self.bar.setObjectName("jobProgress")
        self.bar.setTextVisible(False)
        self.bar.setFixedWidth(180)
        self.bar.setMaximumHeight(12)
        self.cancel_button = tool_button("cancelJob", "close", job.cancel, f"Cancel {job.title}")
        row = QHBoxLayout(self)
        row.setContentsMargins(6, 1, 6, 1)
        for widget, stretch in (
            (self.picture, 0), (self.title, 0), (self.said, 1), (self.bar, 0), (self.cancel_button, 0),
        ):  # fmt: skip
            row.addWidget(widget, stretch)
        self._links = Links()
        self._links.connect(job.state_changed, self._show)
        self._links.connect(job.progress_changed, self._show)
        self._show()

    def close_row(self) -> None:
        """Disconnect from the job."""
        self._links.close()

    def _show(self, *_: object) -> None:
        job = self.job
        ended = ENDED.get(job.state)
        self.bar.setVisible(ended is None)
        self.cancel_button.setVisible(ended is None)
        if ended is None:
            running = job.state is JobState.RUNNING
            self.picture.setPixmap(icon("run", "accent" if running else "soft").pixmap(16))
            self.said.setText(job.text if running else "Waiting")
            known = job.fraction is not None and running
            self.bar.setRange(0, 1000 if known or not running else 0)
            self.bar.setValue(round((job.fraction or 0.0) * 1000))
            return
        picture, role, said = ended
        self.picture.setPixmap(icon(picture, role).pixmap(16))
        self.said.setText(_ended_text(job, said))
        self.said.setProperty("role", "error" if job.state is JobState.ERROR else "soft")
        restyle(self.said)


def _ended_text(job: Job, said: str) -> str:
    if job.error is None:
        return f"{said} in {duration(job.seconds)}" if job.state is JobState.SUCCESS else said
    if isinstance(job.error, MedViewerError):
        return str(job.error)
    return f"{type(job.error).__name__}: {job.error}"


class JobsPanel(Panel):
    """Jobs: what runs on top."""

    def __init__(self, app: AppContext, command: Command, parent: QWidget | None = None) -> None:
        super().__init__(app, "jobsPanel", command, parent)
        self.rows: list[JobRow] = []
        self._list = QVBoxLayout()
        self._list.setContentsMargins(2, 2, 2, 2)
        self._list.setSpacing(0)
        self.empty = label("Nothing is running.", name="jobsEmpty", role="soft")
        self.empty.setMargin(8)
        self._list.addWidget(self.empty)
        self._list.addStretch(1)
        inside = QWidget()
        inside.setLayout(self._list)
        area = QScrollArea()
        area.setObjectName("jobsArea")
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inside)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.addWidget(area)
        self.links.connect(app.jobs.job_added, self._add)
        for job in app.jobs.jobs:
            self._add(job)

    def close_panel(self) -> None:
        """Disconnect from everything."""
        for row in self.rows:
            row.close_row()
        super().close_panel()

    def _sort(self, *_: object) -> None:
        """What runs, then what waits, then what has ended, newest first."""
        active = [row for row in self.rows if not row.job.state.is_final]
        running = [row for row in active if row.job.state is JobState.RUNNING]
        ended = [row for row in self.rows if row.job.state.is_final]
        ordered = [*running, *(row for row in active if row not in running), *reversed(ended)]
        for n, row in enumerate(ordered):
            if self._list.indexOf(row) != n:
                self._list.insertWidget(n, row)

    def _add(self, job: Job) -> None:
        if job.quiet:
            return
        self.empty.hide()
        row = JobRow(job)
        self.rows.append(row)
        job.state_changed.connect(self._sort)
        self._sort()
        ended = [r for r in self.rows if r.job.state.is_final]
        for old in ended[:-MAX_ENDED]:
            self.rows.remove(old)
            old.close_row()
            self.app.jobs.forget(old.job)
            old.deleteLater()
