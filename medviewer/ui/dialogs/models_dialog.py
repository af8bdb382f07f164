"""The models: what each finds, how well, under which licence; import, download, remove."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import (
    QDialog,
    QFileDialog,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from medviewer.ai.weights import StoredModel
from medviewer.core.errors import MedViewerError
from medviewer.jobs.job import Job
from medviewer.ui.bind import Links, Merged
from medviewer.ui.dialogs.job_row import JobRow
from medviewer.ui.dialogs.license_dialog import accept_license
from medviewer.ui.dialogs.model_card import CardView
from medviewer.ui.dialogs.model_download import DownloadDialog
from medviewer.ui.dialogs.questions import ask_yes_no
from medviewer.ui.icons import icon
from medviewer.ui.panels.panel import push_button
from medviewer.ui.text import label, plain_tip
from medviewer.ui.theme import color, restyle

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

FOLDER = Qt.ItemDataRole.UserRole
LIST_WIDTH = 330


class ModelsDialog(QDialog):
    """List on the left, card on the right. It does not stop work in the window."""

    def __init__(self, app: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("modelsDialog")
        self.setWindowTitle("Models")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setAcceptDrops(True)
        self._app = app
        self._links = Links()
        self._models: dict[str, StoredModel] = {}
        self.list = QListWidget()
        self.list.setObjectName("modelsList")
        self.list.setWordWrap(True)
        self.list.setIconSize(QSize(20, 20))
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.currentItemChanged.connect(lambda *_: self._chosen())
        self.card = CardView(app)
        self.said = label("", name="modelsSaid", role="soft", wrap=True)
        self.progress = JobRow("modelsProgress", self._ended)
        self.import_button = push_button(
            "modelImport", "Import", lambda: None, picture="add",
            tip="Add a model from a folder, a zip or a file (MedViewer, nnU-Net, MONAI bundle, TorchScript, ONNX); "
            "dropping it here does the same",
        )  # fmt: skip
        menu = QMenu(self)
        menu.setObjectName("modelImportMenu")
        menu.addAction("Folder…").triggered.connect(lambda _=False: self._import_folder())
        menu.addAction("Zip or file…").triggered.connect(lambda _=False: self._import_file())
        self.import_button.setMenu(menu)
        self.download_button = push_button("modelDownload", "Download…", self._download, picture="down")
        self.license_button = push_button("modelLicense", "Accept licence…", self._accept, picture="check")
        self.remove_button = push_button("modelRemove", "Remove…", self._remove, picture="remove")
        self._lay_out()
        self._refresh = Merged(self, self._fill)
        self._links.connect(app.models.changed, self._refresh)
        self._links.connect(app.workspace.active_changed, self._refresh)
        self._links.connect(app.workspace.run_added, self._refresh)
        self._fill()

    def _lay_out(self) -> None:
        middle = QSplitter(Qt.Orientation.Horizontal)
        middle.setChildrenCollapsible(False)
        middle.addWidget(self.list)
        middle.addWidget(self.card)
        middle.setStretchFactor(1, 1)
        middle.setSizes([LIST_WIDTH, 10_000])
        self.list.setMinimumWidth(240)
        buttons = QHBoxLayout()
        for button in (self.import_button, self.download_button, self.remove_button, self.license_button):
            buttons.addWidget(button)
        buttons.addStretch(1)
        buttons.addWidget(push_button("modelsClose", "Close", self.close))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 14, 16, 14)
        layout.setSpacing(10)
        layout.addWidget(middle, 1)
        layout.addWidget(self.progress)
        layout.addWidget(self.said)
        layout.addLayout(buttons)
        self.said.hide()
        room = self.screen().availableGeometry()
        self.resize(min(1060, room.width() - 60), min(820, room.height() - 80))

    # ---- looking

    @property
    def model(self) -> StoredModel | None:
        """The chosen model."""
        row = self.list.currentRow()
        return self._models.get(str(self.list.item(row).data(FOLDER))) if row >= 0 else None

    def _fill(self) -> None:
        chosen = self.model
        self._models = {str(entry.folder): entry for entry in self._app.models.all()}
        self.list.blockSignals(True)
        self.list.clear()
        for folder, model in self._models.items():
            self.list.addItem(self._row(model))
            if chosen is not None and folder == str(chosen.folder):
                self.list.setCurrentRow(self.list.count() - 1)
        if self.list.currentRow() < 0 and self.list.count():
            self.list.setCurrentRow(0)
        self.list.blockSignals(False)
        self._chosen()

    def _row(self, model: StoredModel) -> QListWidgetItem:
        task = self._app.models.task_of(model)
        card = model.card
        if card is None:
            item = QListWidgetItem(icon("warning", "warning"), f"{model.id}\nCannot be used")
        else:
            state = "shipped" if model.shipped else "yours"
            if task is None:
                state += ", not used"
            elif self._app.models.must_accept(task):
                state = "licence to accept"
            kind = str(card.task.get("kind", "segmentation"))
            about = " · ".join(part for part in (", ".join(card.modalities), card.version, state) if part)
            item = QListWidgetItem(icon(kind, "accent" if task is not None else "soft"), f"{card.title}\n{about}")
        if card is None or task is None:
            item.setForeground(color("soft"))
        item.setData(FOLDER, str(model.folder))
        item.setToolTip(plain_tip(model.problem or str(model.folder)))
        return item

    def _chosen(self) -> None:
        model = self.model
        self.card.show_model(model)
        task = self._app.models.task_of(model) if model is not None else None
        self.remove_button.setEnabled(model is not None and not model.shipped)
        self.license_button.setVisible(task is not None and self._app.models.must_accept(task))

    # ---- doing

    def _accept(self) -> None:
        model = self.model
        task = self._app.models.task_of(model) if model is not None else None
        if task is not None:
            accept_license(self._app, task, self)

    def _remove(self) -> None:
        model = self.model
        if model is None or not ask_yes_no(self, f"Remove the model {model.id} from this machine?"):
            return
        self._start(lambda: self._app.models.remove(model))

    def _import_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Import a model: its folder")
        if name:
            self.add(Path(name))

    def _import_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Import a model: a zip or a file")
        if name:
            self.add(Path(name))

    def add(self, path: Path) -> None:
        """Import the models of a folder, an archive or a file."""
        self._start(lambda: self._app.models.add(path))

    def _download(self) -> None:
        asked = DownloadDialog(self)
        asked.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        asked.accepted.connect(lambda: self._start(lambda: self._app.models.download(*asked.asked)))
        asked.open()

    def _start(self, request: Callable[[], Job]) -> None:
        """Start what takes a while; its progress stands here and among the jobs, and can be cancelled in both."""
        try:
            self.progress.follow(request())
        except MedViewerError as error:
            self._say(error.text, error.hint, "error")

    def _ended(self, job: Job) -> None:
        if not self._links.open:
            return
        if isinstance(job.error, MedViewerError):
            self._say(job.error.text, job.error.hint, "error")
        else:
            self.said.hide()

    def _say(self, text: str, hint: str, role: str) -> None:
        self.said.setText(f"{text} {hint}".strip())
        self.said.setProperty("role", role)
        restyle(self.said)
        self.said.show()

    # ---- Qt

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: D102
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: D102
        event.acceptProposedAction()
        for url in event.mimeData().urls():
            if url.isLocalFile():
                self.add(Path(url.toLocalFile()))

    def done(self, result: int) -> None:
        """Close, taking the connections back; what runs goes on."""
        self._links.close()
        self._refresh.stop()
        self.progress.close_row()
        super().done(result)
