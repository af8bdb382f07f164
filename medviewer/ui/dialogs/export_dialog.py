"""Export: format, folder, images; then what was written and that it was read back and compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QCloseEvent, QDesktopServices
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)

from medviewer.core.errors import MedViewerError
from medviewer.core.volume import Volume
from medviewer.export.exporter import ExportReport
from medviewer.jobs.job import Job, JobState
from medviewer.ui.bind import Links
from medviewer.ui.icons import icon
from medviewer.ui.panels.panel import push_button
from medviewer.ui.panels.volumes import volume_title
from medviewer.ui.text import label, plain_tip
from medviewer.ui.theme import restyle

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

VOLUME_ID = Qt.ItemDataRole.UserRole
SHOWN_FILES = 200


class ExportDialog(QDialog):
    """Starts an export and shows its result. Closing it does not stop a running one."""

    def __init__(self, app: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("exportDialog")
        self.setWindowTitle("Export")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._app = app
        self._job: Job | None = None
        self._report: ExportReport | None = None
        self._links = Links()
        self.format = self._make_formats()
        self.folder = QLineEdit(app.settings.last_export_folder)
        self.folder.setObjectName("exportFolder")
        self.folder.setPlaceholderText("An empty or new folder")
        self.folder.textChanged.connect(lambda _: self._enable())
        self.volumes = self._make_volumes()
        self.said = label("", name="exportResult", wrap=True)
        self.bar = QProgressBar()
        self.bar.setObjectName("exportProgress")
        self.bar.setTextVisible(False)
        self.files = QListWidget()
        self.files.setObjectName("exportFiles")
        self.export_button = push_button("startExport", "Export", self._start, picture="export")
        self.export_button.setProperty("next", True)
        self.export_button.setDefault(True)
        self.open_button = push_button("openExport", "Show folder", self._show_folder, picture="folder")
        self.close_button = push_button("closeExport", "Close", self.close)
        self._lay_out()
        self._state_shown()

    def _make_formats(self) -> QComboBox:
        combo = QComboBox()
        combo.setObjectName("exportFormat")
        for info in self._app.exports.formats:
            combo.addItem(info.title, info.id)
        combo.setCurrentIndex(max(0, combo.findData(self._app.settings.last_export_format)))
        return combo

    def _make_volumes(self) -> QListWidget:
        volumes = QListWidget()
        volumes.setObjectName("exportVolumes")
        volumes.setMaximumHeight(110)
        active = self._app.workspace.active
        for volume in self._app.workspace.volumes:
            volumes.addItem(self._volume_item(volume, checked=volume is active))
        volumes.itemChanged.connect(lambda _: self._enable())
        return volumes

    def _volume_item(self, volume: Volume, *, checked: bool) -> QListWidgetItem:
        segments = self._app.workspace.segmentation(volume.id).segments
        boxes = self._app.workspace.boxes(volume.id)
        what = f"{_count(len(segments), 'segment')}, {_count(len(boxes), 'finding')}"
        item = QListWidgetItem(f"{volume_title(volume)}   {what}")
        item.setToolTip(plain_tip("\n".join(segment.name for segment in segments)))
        item.setData(VOLUME_ID, volume.id)
        has_work = bool(segments or boxes)
        item.setFlags(
            Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable if has_work else Qt.ItemFlag.NoItemFlags
        )
        item.setCheckState(Qt.CheckState.Checked if checked and has_work else Qt.CheckState.Unchecked)
        return item

    def _lay_out(self) -> None:
        place = QHBoxLayout()
        place.addWidget(self.folder, 1)
        place.addWidget(push_button("browseExport", "Choose…", self._browse))
        form = QFormLayout()
        form.setVerticalSpacing(10)
        form.setHorizontalSpacing(18)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Format", self.format)
        form.addRow("Folder", place)
        form.addRow("Images", self.volumes)
        row = QHBoxLayout()
        row.addWidget(self.open_button)
        row.addStretch(1)
        row.addWidget(self.close_button)
        row.addWidget(self.export_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 18, 20, 16)
        layout.setSpacing(12)
        layout.addLayout(form)
        layout.addWidget(self.bar)
        layout.addWidget(self.said)
        layout.addWidget(self.files, 1)
        layout.addLayout(row)
        self.resize(620, 460)

    @property
    def chosen(self) -> list[str]:
        """Ids of the ticked images."""
        items = (self.volumes.item(row) for row in range(self.volumes.count()))
        return [str(item.data(VOLUME_ID)) for item in items if item.checkState() is Qt.CheckState.Checked]

    def _browse(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Export into a folder", self.folder.text() or str(Path.home()))
        if name:
            self.folder.setText(name)

    def _start(self) -> None:
        folder = Path(self.folder.text().strip()).expanduser()
        self._report = None
        self.files.clear()
        try:
            self._job = self._app.exports.start(str(self.format.currentData()), folder, self.chosen)
        except MedViewerError as error:
            self._say(str(error), "error")
            return
        self._links.close()
        self._links.connect(self._job.state_changed, self._state_shown)
        self._links.connect(self._job.progress_changed, self._progress)
        self._state_shown()

    def _progress(self, fraction: float | None, text: str) -> None:
        self.bar.setRange(0, 0 if fraction is None else 1000)
        self.bar.setValue(round((fraction or 0.0) * 1000))
        self._say(text, "soft")

    def _state_shown(self, *_: object) -> None:
        job = self._job
        running = job is not None and not job.state.is_final
        self.bar.setVisible(running)
        if running:
            self.bar.setRange(0, 0)
            self._say("Exporting", "soft")
        elif job is None:
            self._say("Every file is read back and compared before success is reported.", "soft")
        elif job.state is JobState.SUCCESS and isinstance(job.result, ExportReport):
            self._show_report(job.result)
        elif job.error is not None:
            self._say(str(job.error), "error")
        else:
            self._say("Cancelled; nothing was kept.", "soft")
        self.files.setVisible(self.files.count() > 0)
        self.open_button.setVisible(self._report is not None)
        self._enable()

    def _show_report(self, report: ExportReport) -> None:
        self._report = report
        checks = _count(len(report.checks), "check")
        files = _count(len(report.files), "file")
        notes = "".join(f"\n{note}" for note in report.notes)
        self._say(f"✓ Verified by reading back: {files}, {checks}, no difference.{notes}", "good")
        for path in report.files[:SHOWN_FILES]:
            shown = path.relative_to(report.folder) if path.is_relative_to(report.folder) else path
            self.files.addItem(QListWidgetItem(icon("files", "soft"), str(shown)))
        self.files.setToolTip(plain_tip("\n".join(f"{c.name}: {c.detail}" for c in report.checks[:12])))

    def _say(self, text: str, role: str) -> None:
        self.said.setText(text)
        if self.said.property("role") != role:
            self.said.setProperty("role", role)
            restyle(self.said)

    def _enable(self) -> None:
        busy = self._job is not None and not self._job.state.is_final
        self.export_button.setEnabled(
            not busy and bool(self.folder.text().strip()) and bool(self.chosen) and self.format.count() > 0
        )

    def _show_folder(self) -> None:
        if self._report is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._report.folder)))

    def done(self, result: int) -> None:
        """Let go of the job; it goes on."""
        self._links.close()
        super().done(result)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: D102
        self._links.close()
        super().closeEvent(event)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
