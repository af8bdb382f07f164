"""The status bar: what to do next, what runs, and where the pointer is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QSizePolicy, QWidget

from medviewer.app.flags import has_frames
from medviewer.app.messages import Message
from medviewer.jobs.job import Job
from medviewer.ui.bind import Merged
from medviewer.ui.panels.panel import Command, Panel
from medviewer.ui.text import label, lps_text, voxel_text
from medviewer.ui.theme import restyle

if TYPE_CHECKING:
    from medviewer.app.context import AppContext
    from medviewer.ui.views.cursor_info import CursorInfo

NEWS_MS = 6000


def next_step(app: AppContext) -> str:
    """Say what to do next."""
    volume = app.workspace.active
    if volume is None:
        return "Choose a series in the tree." if app.studies.studies else "Open a study: drop it on the window."
    if volume.id in app.loading:
        return "Loading; you can look already."
    if app.router.hint:
        return app.router.hint
    if app.router.active_id == "click_segment":
        return "Click adds an object, Ctrl takes away, a drag draws a box; Esc when done."
    if app.router.active_id and app.router.effects.effect is not None:
        return "Enter or Apply makes the change, Esc drops what is shown."
    if app.router.active_id:
        return "Drag to draw; Ctrl turns brush into eraser and back; Esc when done."
    boxes = app.workspace.boxes(volume.id)
    running = [job for job in app.jobs.running if job.lane == "gpu" and not job.quiet]
    if running:
        return "Analyzing; you can go on reading."
    if any(box.review == "open" for box in boxes):
        return "Review the findings: click jumps, Enter accepts, Delete rejects."
    if boxes or app.workspace.segmentation(volume.id).segments:
        return "Correct the masks (B brush, E eraser), then save or export (Ctrl+E)."
    if any(item.fits for item in app.analyze.plan(volume.id)):
        return "Press Analyze (F5) to find organs and lesions."
    if has_frames(app):
        return "Step with , and . or play with P; draw with the brush (B)."
    if not volume.has_depth:
        return "Draw with the brush (B), then save or export (Ctrl+E)."
    return "No task fits. Draw with the brush (B) or register two series."


class StatusLine(Panel):
    """Fills the status bar."""

    def __init__(self, app: AppContext, command: Command, parent: QWidget | None = None) -> None:
        super().__init__(app, "statusLine", command, parent)
        self.hint = label("", name="nextStep", role="soft")
        self.hint.setMinimumWidth(120)
        self.hint.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.job = label("", name="statusJob", role="soft")
        self.bar = QProgressBar()
        self.bar.setObjectName("statusProgress")
        self.bar.setTextVisible(False)
        self.bar.setFixedSize(110, 12)
        self.segment = label("", name="statusSegment")
        self.value = label("", name="statusValue", role="number")
        self.voxel = label("", name="statusVoxel", role="number")
        self.position = label("", name="statusPosition", role="number")
        for widget, width in ((self.value, 78), (self.voxel, 150), (self.position, 236)):
            widget.setMinimumWidth(width)
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 0, 10, 0)
        row.setSpacing(14)
        row.addWidget(self.hint, 1)
        for part in (self.job, self.bar, self.segment, self.value, self.voxel, self.position):
            row.addWidget(part)
        self.refresh = Merged(self, self.show_now)
        workspace = app.workspace
        for signal in (
            workspace.active_changed,
            workspace.volume_updated,
            workspace.boxes_changed,
            app.studies.changed,
            app.router.changed,
            app.history.changed,
        ):
            self.links.connect(signal, self.refresh)
        self.links.connect(app.jobs.job_added, self._follow)
        self._news = QTimer(self)
        self._news.setSingleShot(True)
        self._news.timeout.connect(self.show_now)
        self.links.connect(app.messages.added, self._told)
        self.show_now()

    def close_panel(self) -> None:
        """Disconnect from everything."""
        self.refresh.stop()
        self._news.stop()
        super().close_panel()

    def show_point(self, info: CursorInfo | None) -> None:
        """Show what lies under the pointer: LPS mm, voxel (i, j, k), value with unit, segments.

        Of an image that lies nowhere in the patient only the voxel is known.
        """
        position = voxel = value = segments = ""
        if info is not None:
            position = lps_text(info.lps) if self.volume is None or self.volume.in_patient else ""
            segments = ", ".join(info.segments)
            if info.kji is not None:
                voxel = voxel_text(info.kji, self.volume)
            if info.value is not None:
                number = f"{info.value:.0f}" if info.value == round(info.value) else f"{info.value:.4g}"
                value = f"{number} {info.unit}".strip()
            if info.color is not None:
                value = "R {} G {} B {}".format(*info.color)
        for widget, text in (
            (self.position, position), (self.voxel, voxel), (self.value, value), (self.segment, segments),
        ):  # fmt: skip
            widget.setText(text)

    def show_now(self) -> None:
        """Show the next step and the running job."""
        if not self._news.isActive():
            self.hint.setText(next_step(self.app))
            self._say_role("soft")
        running = [job for job in self.app.jobs.running if not job.quiet]
        self.bar.setVisible(bool(running))
        self.job.setVisible(bool(running))
        if running:
            job = running[0]
            more = f"  +{len(running) - 1}" if len(running) > 1 else ""
            self.job.setText(f"{job.title}{more}")
            self.bar.setRange(0, 0 if job.fraction is None else 1000)
            self.bar.setValue(round((job.fraction or 0) * 1000))

    def _told(self, message: Message) -> None:
        if message.level == "info":
            self.hint.setText(f"{message.text}  {message.hint}".strip())
            self._say_role("text")
            self._news.start(NEWS_MS)

    def _say_role(self, role: str) -> None:
        if self.hint.property("role") != role:
            self.hint.setProperty("role", role)
            restyle(self.hint)

    def _follow(self, job: Job) -> None:
        job.state_changed.connect(self.refresh)
        job.progress_changed.connect(self.refresh)
        self.refresh()
