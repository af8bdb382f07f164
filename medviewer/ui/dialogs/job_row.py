"""One job in a dialog: its progress and a button that cancels it."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QWidget

from medviewer.jobs.job import Job, JobState
from medviewer.ui.bind import Links
from medviewer.ui.panels.panel import push_button
from medviewer.ui.text import label

SCALE = 1000


class JobRow(QWidget):
    """Shows the job it follows, and takes no room without one.

    Parameters
    ----------
    name : str
        Object name.
    ended : callable
        Called with the job when it has ended.
    """

    def __init__(self, name: str, ended: Callable[[Job], None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self._ended = ended
        self._job: Job | None = None
        self._links = Links()
        self.text = label("", name=f"{name}Text", role="soft")
        self.bar = QProgressBar()
        self.bar.setObjectName(f"{name}Bar")
        self.cancel_button = push_button(f"{name}Cancel", "Cancel", self._cancel)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.text)
        row.addWidget(self.bar, 1)
        row.addWidget(self.cancel_button)
        self.hide()

    def follow(self, job: Job) -> None:
        """Show a job until it has ended."""
        self._links.close()
        self._links = Links()
        self._job = job
        self.text.setText(job.title)
        self.bar.setRange(0, 0)
        self.show()
        self._links.connect(job.progress_changed, self._progress)
        self._links.connect(job.state_changed, self._changed)

    def close_row(self) -> None:
        """Let the job go on alone."""
        self._links.close()

    def _cancel(self) -> None:
        if self._job is not None:
            self._job.cancel()

    def _progress(self, fraction: float | None, text: str) -> None:
        self.bar.setRange(0, 0 if fraction is None else SCALE)
        if fraction is not None:
            self.bar.setValue(round(fraction * SCALE))
        if text and self._job is not None:
            self.text.setText(f"{self._job.title}: {text}")

    def _changed(self, state: JobState) -> None:
        if state.is_final and self._job is not None:
            self.hide()
            self._ended(self._job)
