"""Export: format and its options, folder, segments; then what was written and that it was read back and compared."""

from __future__ import annotations

from collections.abc import Callable
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
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from medviewer.core.errors import MedViewerError
from medviewer.export.exporter import ExportReport
from medviewer.jobs.job import Job, JobState
from medviewer.ui.bind import Links
from medviewer.ui.dialogs.export_choice import ExportChoice
from medviewer.ui.forms.param_form import ParamForm
from medviewer.ui.icons import icon
from medviewer.ui.panels.panel import push_button
from medviewer.ui.text import counted, label, plain_tip
from medviewer.ui.theme import restyle

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

SHOWN_FILES = 200


class ExportDialog(QDialog):
    """Starts an export and shows its result. Closing it does not stop a running one."""

    def __init__(self, app: AppContext, show_pacs: Callable[[], None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("exportDialog")
        self.setWindowTitle("Export")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._app = app
        self._show_pacs = show_pacs
        self._job: Job | None = None
        self._report: ExportReport | None = None
        self._links = Links()
        self.format = self._make_formats()
        self.folder = QLineEdit(app.settings.last_export_folder)
        self.folder.setObjectName("exportFolder")
        self.folder.setPlaceholderText("An empty or new folder")
        self.folder.textChanged.connect(lambda _: self._enable())
        self.choice = ExportChoice(app.workspace)
        self.choice.setMinimumHeight(120)
        self.choice.edited.connect(self._enable)
        self.options: ParamForm | None = None
        self._form = QFormLayout()
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
        self.send_button = push_button("sendExport", "Send to PACS…", self._send)
        self.close_button = push_button("closeExport", "Close", self.close)
        self._lay_out()
        self._show_options()
        self.format.currentIndexChanged.connect(lambda _: self._show_options())
        self._state_shown()

    def _make_formats(self) -> QComboBox:
        combo = QComboBox()
        combo.setObjectName("exportFormat")
        for info in self._app.exports.formats:
            combo.addItem(info.title, info.id)
        combo.setCurrentIndex(max(0, combo.findData(self._app.settings.last_export_format)))
        return combo

    def _show_options(self) -> None:
        """Show the options of the chosen format; what was entered for another is not kept."""
        if self.options is not None:
            self._form.removeRow(self.options)
            self.options = None
        if self.format.count() == 0:
            return
        specs = self._app.exports.form(str(self.format.currentData()))
        if specs:
            self.options = ParamForm(specs)
            self.options.setObjectName("exportOptions")
            self.options.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
            self._form.insertRow(1, "Options", self.options)

    def _lay_out(self) -> None:
        place = QHBoxLayout()
        place.addWidget(self.folder, 1)
        place.addWidget(push_button("browseExport", "Choose…", self._browse))
        form = self._form
        form.setVerticalSpacing(10)
        form.setHorizontalSpacing(18)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Format", self.format)
        form.addRow("Folder", place)
        form.addRow("Segments", self.choice)
        row = QHBoxLayout()
        row.addWidget(self.open_button)
        row.addWidget(self.send_button)
        row.addStretch(1)
        row.addWidget(self.close_button)
        row.addWidget(self.export_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 18, 20, 16)
        layout.setSpacing(12)
        layout.addLayout(form, 2)
        layout.addWidget(self.bar)
        layout.addWidget(self.said)
        layout.addWidget(self.files, 1)
        layout.addLayout(row)
        self.resize(620, 600)

    def _browse(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Export into a folder", self.folder.text() or str(Path.home()))
        if name:
            self.folder.setText(name)

    def _start(self) -> None:
        folder = Path(self.folder.text().strip()).expanduser()
        self._report = None
        self.files.clear()
        chosen = self.choice.chosen
        try:
            self._job = self._app.exports.start(
                str(self.format.currentData()),
                folder,
                list(chosen),
                options=self.options.values() if self.options is not None else None,
                segments=chosen,
            )
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
        elif isinstance(job.error, MedViewerError):
            self._say(str(job.error), "error")
        elif job.error is not None:
            self._say("This is a fault in the program; the log has the details. Nothing was kept.", "error")
        else:
            self._say("Cancelled; nothing was kept.", "soft")
        self.files.setVisible(self.files.count() > 0)
        self.open_button.setVisible(self._report is not None)
        self.send_button.setVisible(bool(self._dicom_files))
        self._enable()

    def _show_report(self, report: ExportReport) -> None:
        self._report = report
        checks = counted(len(report.checks), "check")
        files = counted(len(report.files), "file")
        self._say(f"✓ Verified by reading back: {files}, {checks}, no difference.", "good")
        # In the list, which scrolls: with many segments there are many.
        for note in list(dict.fromkeys(report.notes))[:SHOWN_FILES]:
            item = QListWidgetItem(icon("warning", "warning"), note)
            item.setToolTip(plain_tip(note))
            self.files.addItem(item)
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
            not busy and bool(self.folder.text().strip()) and bool(self.choice.chosen) and self.format.count() > 0
        )

    def _show_folder(self) -> None:
        if self._report is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._report.folder)))

    @property
    def _dicom_files(self) -> tuple[Path, ...]:
        files = self._report.files if self._report is not None else ()
        return tuple(path for path in files if path.suffix == ".dcm")

    def _send(self) -> None:
        from medviewer.ui.dialogs.pacs_send import Sendable, SendDialog

        files = self._dicom_files
        things = [Sendable(f"What was exported, {counted(len(files), 'DICOM file')}", files)]
        SendDialog(self._app, things, self._show_pacs, self).open()

    def done(self, result: int) -> None:
        """Let go of the job; it goes on."""
        self._links.close()
        super().done(result)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: D102
        self._links.close()
        super().closeEvent(event)
