"""Servers on the left, what they have on the right, what is on its way below."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QHBoxLayout,
    QHeaderView,
    QListWidget,
    QListWidgetItem,
    QSplitter,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from medviewer.core.errors import MedViewerError
from medviewer.io.network.query import MAX_ROWS, Found, SeriesRow, StudyRow
from medviewer.io.network.servers import Server
from medviewer.jobs.job import Job, JobState
from medviewer.ui.bind import Links
from medviewer.ui.dialogs.pacs_query import QueryForm
from medviewer.ui.dialogs.pacs_queue import RetrieveQueue
from medviewer.ui.dialogs.pacs_server import ServerDialog
from medviewer.ui.dialogs.questions import ask_yes_no
from medviewer.ui.icons import icon
from medviewer.ui.panels.panel import push_button
from medviewer.ui.text import dicom_date, label, person_name, plain_tip
from medviewer.ui.theme import restyle

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

ROW = Qt.ItemDataRole.UserRole
COLUMNS = ("Patient", "ID", "Born", "Date", "Modality", "Description", "Accession no.", "Series", "Images")
WIDTHS = (190, 110, 90, 90, 80, 220, 110, 60, 60)
SIZE = (1240, 800)


class PacsDialog(QDialog):
    """Searches servers and fetches from them; the window behind it stays usable."""

    def __init__(self, app: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("pacsDialog")
        self.setWindowTitle("PACS")
        self._app = app
        self._links = Links()
        self._job: Job | None = None
        #: Where the results are from; another server may be chosen since.
        self._shown_of: Server | None = None
        self.servers = QListWidget()
        self.servers.setObjectName("pacsServers")
        self.servers.itemDoubleClicked.connect(lambda _: self._edit())
        self.servers.currentRowChanged.connect(lambda _: self._enable())
        self.form = QueryForm(self._search)
        self.results = _results_tree()
        self.results.itemExpanded.connect(self._expanded)
        self.results.itemSelectionChanged.connect(self._enable)
        self.results.itemActivated.connect(lambda *_: self._retrieve())
        self.said = label("", name="pacsSaid", role="soft", wrap=True)
        self.queue = RetrieveQueue(app)
        self._buttons()
        self._arrange()
        self._links.connect(app.pacs.servers_changed, self._fill_servers)
        self._links.connect(app.workspace.active_changed, self._enable)
        self._fill_servers()
        self.resize(*SIZE)
        self.finished.connect(lambda _: self._close_down())
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)

    @property
    def server(self) -> Server | None:
        """The chosen server."""
        servers = self._app.pacs.servers
        row = self.servers.currentRow()
        return servers[row] if 0 <= row < len(servers) else None

    # ---- building

    def _buttons(self) -> None:
        self.add_button = push_button("pacsAdd", "Add…", self._add)
        self.edit_button = push_button("pacsEdit", "Edit…", self._edit)
        self.remove_button = push_button("pacsRemove", "Remove", self._remove)
        self.test_button = push_button("pacsTest", "Test", self._test, tip="Ask the server whether it is there")
        self.search_button = push_button("pacsSearch", "Search", self._search)
        self.search_button.setProperty("next", True)
        self.clear_button = push_button("pacsClear", "Clear", self.form.clear)
        self.priors_button = push_button(
            "pacsPriors", "Priors", self._priors, tip="Other studies of the patient who is open"
        )
        self.stop_button = push_button("pacsStop", "Stop", self._stop)
        self.fetch_button = push_button(
            "pacsFetch", "Fetch selected", self._retrieve, tip="Fetch the selected studies or series and open them"
        )

    def _arrange(self) -> None:
        left = QWidget()
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, 8, 0)
        column.addWidget(label("Servers", role="heading"))
        column.addWidget(self.servers, 1)
        for pair in ((self.add_button, self.edit_button), (self.remove_button, self.test_button)):
            row = QHBoxLayout()
            for button in pair:
                row.addWidget(button)
            column.addLayout(row)
        right = QWidget()
        main = QVBoxLayout(right)
        main.setContentsMargins(8, 0, 0, 0)
        main.addWidget(self.form)
        actions = QHBoxLayout()
        for button in (self.search_button, self.clear_button, self.priors_button, self.stop_button):
            actions.addWidget(button)
        actions.addWidget(self.said, 1)
        actions.addWidget(self.fetch_button)
        main.addLayout(actions)
        main.addWidget(self.results, 1)
        across = QSplitter(Qt.Orientation.Horizontal)
        across.addWidget(left)
        across.addWidget(right)
        across.setStretchFactor(1, 1)
        across.setSizes([230, SIZE[0] - 230])
        below = QWidget()
        under = QVBoxLayout(below)
        under.setContentsMargins(0, 6, 0, 0)
        under.addWidget(label("On the way", role="heading"))
        under.addWidget(self.queue, 1)
        down = QSplitter(Qt.Orientation.Vertical)
        down.addWidget(across)
        down.addWidget(below)
        down.setStretchFactor(0, 1)
        down.setSizes([SIZE[1] - 170, 170])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 14, 16, 12)
        layout.addWidget(down)

    def _close_down(self) -> None:
        self._stop()
        self._links.close()
        self.queue.close_queue()

    # ---- servers

    def _fill_servers(self) -> None:
        chosen = max(0, self.servers.currentRow())
        self.servers.clear()
        for server in self._app.pacs.servers:
            item = QListWidgetItem(server.name)
            safe = server.is_encrypted and server.verify
            item.setIcon(icon("lock" if safe else "unlock", "good" if safe else "warning"))
            how = "Encrypted and verified" if safe else "Certificate not verified" if server.is_encrypted else ""
            item.setToolTip(plain_tip("\n".join((server.place, how or "Not encrypted"))))
            self.servers.addItem(item)
        self.servers.setCurrentRow(min(chosen, self.servers.count() - 1))
        if not self._app.pacs.servers:
            self._tell("Add a server to search.")
        self._enable()

    def _add(self) -> None:
        dialog = ServerDialog(self._app, None, self)
        dialog.accepted.connect(lambda: self.servers.setCurrentRow(self.servers.count() - 1))
        dialog.open()

    def _edit(self) -> None:
        if self.server is not None:
            ServerDialog(self._app, self.server, self).open()

    def _remove(self) -> None:
        server = self.server
        if server is not None and ask_yes_no(self, f"Forget the server “{server.name}” and its password?"):
            self._app.pacs.remove_server(server.name)

    def _test(self) -> None:
        server = self.server
        if server is not None:
            self._ask("Asking the server…", lambda: self._app.pacs.test(server), lambda r: self._tell(str(r), "good"))

    # ---- searching

    def _search(self) -> None:
        server, fields = self.server, self.form.fields()
        if server is not None:
            self._ask("Searching…", lambda: self._app.pacs.query(server, fields), lambda f: self._show(server, f))

    def _priors(self) -> None:
        server, volume = self.server, self._app.workspace.active
        if server is not None and volume is not None:
            self._ask("Searching…", lambda: self._app.pacs.priors(server, volume), lambda f: self._show(server, f))

    def _ask(self, text: str, submit: Callable[[], Job], show: Callable[[object], None]) -> None:
        """Submit a job and show its result, unless another was asked for meanwhile."""
        self._stop()
        try:
            job = submit()
        except MedViewerError as error:
            self._tell(str(error), "error")
            return
        self._job = job
        self._tell(text)

        def ended(state: JobState) -> None:
            if not state.is_final or self._job is not job:
                return
            self._job = None
            if job.error is not None:
                self._tell(_told(job.error), "error")
            elif state is JobState.SUCCESS:
                show(job.result)
            else:
                self._tell("Stopped.")
            self._enable()

        self._links.connect(job.state_changed, ended)
        self._enable()

    def _stop(self) -> None:
        if self._job is not None:
            self._job.cancel()

    def _show(self, server: Server, found: object) -> None:
        assert isinstance(found, Found)
        self._shown_of = server
        self.results.clear()
        for row in found.studies:
            self.results.addTopLevelItem(_study_item(row))
        count = len(found.studies)
        if found.truncated:
            self._tell(f"The first {MAX_ROWS} studies; there are more. Narrow the search.", "warning")
        else:
            self._tell(f"{count} {'study' if count == 1 else 'studies'}." if count else "Nothing matches.")

    def _expanded(self, item: QTreeWidgetItem) -> None:
        row, server, first = item.data(0, ROW), self._shown_of, item.child(0)
        if not isinstance(row, StudyRow) or server is None or first is None or first.data(0, ROW) is not None:
            return

        def show(series: object) -> None:
            item.takeChildren()
            if isinstance(series, tuple):
                item.addChildren([_series_item(one) for one in series])
                self._tell(f"{len(series)} series.")

        self._ask("Listing series…", lambda: self._app.pacs.series(server, row), show)

    # ---- fetching

    def _retrieve(self) -> None:
        rows = [item.data(0, ROW) for item in self.results.selectedItems()]
        server = self._shown_of
        if server is not None and rows:
            self._app.pacs.retrieve(server, [row for row in rows if row is not None])

    def _tell(self, text: str, role: str = "soft") -> None:
        self.said.setText(text)
        self.said.setProperty("role", role)
        restyle(self.said)

    def _enable(self, *_: object) -> None:
        known = self.server is not None
        volume = self._app.workspace.active
        for button in (self.edit_button, self.remove_button, self.test_button, self.search_button):
            button.setEnabled(known)
        self.stop_button.setEnabled(self._job is not None)
        self.priors_button.setEnabled(known and volume is not None and bool(volume.patient_id))
        self.fetch_button.setEnabled(self._shown_of is not None and bool(self.results.selectedItems()))


def _told(error: BaseException) -> str:
    return str(error) if isinstance(error, MedViewerError) else f"{type(error).__name__}; the log has the details."


def _results_tree() -> QTreeWidget:
    tree = QTreeWidget()
    tree.setObjectName("pacsResults")
    tree.setHeaderLabels(list(COLUMNS))
    tree.setUniformRowHeights(True)
    tree.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
    tree.setExpandsOnDoubleClick(False)
    tree.setAlternatingRowColors(True)
    header = tree.header()
    for column, width in enumerate(WIDTHS):
        header.resizeSection(column, width)
    header.setSectionResizeMode(5, QHeaderView.ResizeMode.Stretch)
    header.setStretchLastSection(False)
    return tree


def _study_item(row: StudyRow) -> QTreeWidgetItem:
    texts = (
        person_name(row.patient_name), row.patient_id, dicom_date(row.patient_birth_date), dicom_date(row.study_date),
        ", ".join(row.modalities), row.description, row.accession_number, _count(row.series), _count(row.instances),
    )  # fmt: skip
    item = QTreeWidgetItem(list(texts))
    item.setData(0, ROW, row)
    item.setIcon(0, icon("study", "soft"))
    for column in (7, 8):
        item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    item.addChild(QTreeWidgetItem(["…"]))
    return item


def _series_item(row: SeriesRow) -> QTreeWidgetItem:
    number = "" if row.number is None else f"Series {row.number}"
    texts = (number, "", "", "", row.modality, row.description, row.body_part, "", _count(row.instances))
    item = QTreeWidgetItem(list(texts))
    item.setData(0, ROW, row)
    item.setIcon(0, icon("series", "soft"))
    item.setTextAlignment(8, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return item


def _count(number: int | None) -> str:
    return "" if number is None else str(number)
