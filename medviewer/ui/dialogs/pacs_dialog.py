"""Servers on the left, what they have on the right, what is on its way below."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QSplitter,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from medviewer.core.errors import MedViewerError
from medviewer.io.network.query import Found, PatientRow, StudyRow
from medviewer.io.network.servers import Server
from medviewer.jobs.job import Job, JobState
from medviewer.ui.bind import Links
from medviewer.ui.dialogs.pacs_quarantine import QuarantineDialog
from medviewer.ui.dialogs.pacs_query import HELP, QueryForm
from medviewer.ui.dialogs.pacs_queue import RetrieveQueue
from medviewer.ui.dialogs.pacs_results import ResultsTree, row_of
from medviewer.ui.dialogs.pacs_server import ServerDialog
from medviewer.ui.dialogs.questions import ask_yes_no
from medviewer.ui.icons import icon
from medviewer.ui.panels.panel import push_button
from medviewer.ui.text import counted, label, plain_tip
from medviewer.ui.theme import restyle

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

SIZE = (1320, 800)


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
        #: Fetches the rest of a search that a server has more rows for.
        self._next: Callable[[], None] | None = None
        self.servers = QListWidget()
        self.servers.setObjectName("pacsServers")
        self.servers.itemDoubleClicked.connect(lambda _: self._edit())
        self.servers.currentRowChanged.connect(lambda _: self._enable())
        self.form = QueryForm(self._search)
        self.results = ResultsTree()
        self.results.itemExpanded.connect(self._expanded)
        self.results.itemSelectionChanged.connect(self._enable)
        self.results.itemActivated.connect(lambda *_: self._retrieve())
        self.said = label("", name="pacsSaid", role="soft", wrap=True)
        self.queue = RetrieveQueue(app)
        self._buttons()
        self._arrange()
        self._links.connect(app.pacs.servers_changed, self._fill_servers)
        self._links.connect(app.workspace.active_changed, self._enable)
        self._links.connect(app.pacs.transfers_changed, self._count_quarantine)
        self._fill_servers()
        self._count_quarantine()
        room = self.screen().availableGeometry()
        self.resize(min(SIZE[0], room.width() - 60), min(SIZE[1], room.height() - 80))
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
            "pacsPriors", "Priors", self.find_priors, tip="Other studies of the patient who is open"
        )
        self.more_button = push_button("pacsMore", "More", self._more, tip="Ask the server for the next rows")
        self.more_button.hide()
        self.quarantine_button = push_button(
            "pacsQuarantine", "Quarantine…", self._quarantine, tip="What was sent here without being asked for"
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
        actions.addWidget(self.more_button)
        actions.addWidget(self.fetch_button)
        main.addLayout(actions)
        main.addWidget(self.results, 1)
        across = QSplitter(Qt.Orientation.Horizontal)
        across.addWidget(left)
        across.addWidget(right)
        across.setStretchFactor(1, 1)
        across.setSizes([210, SIZE[0] - 210])
        below = QWidget()
        under = QVBoxLayout(below)
        under.setContentsMargins(0, 6, 0, 0)
        title = QHBoxLayout()
        title.addWidget(label("On the way", role="heading"), 1)
        title.addWidget(self.quarantine_button)
        under.addLayout(title)
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
        elif self._shown_of is None:
            self._tell(HELP)
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
            pacs = self._app.pacs
            submit = pacs.patients if self.form.lists_patients else pacs.query
            self._show_page(server, lambda offset: submit(server, fields, offset), 0)

    def find_priors(self) -> None:
        """Search the chosen server for other studies of the patient who is open."""
        server, volume = self.server, self._app.workspace.active
        if server is not None and volume is not None:
            self._show_page(server, lambda offset: self._app.pacs.priors(server, volume, offset), 0)

    def _show_page(self, server: Server, submit: Callable[[int], Job], offset: int) -> None:
        """Ask for rows from `offset` on, and show them; remember how to ask for more."""

        def show(found: object) -> None:
            assert isinstance(found, Found)
            self._shown_of = server
            self.results.show_rows(found.rows, more=offset > 0)
            more = found.next_offset
            self._next = None if more is None else lambda: self._show_page(server, submit, more)
            self._tell_count(server, self.results.topLevelItemCount())

        if not offset:
            # What another search found must not be taken for what this one finds.
            self.results.clear()
            self._next = None
        self._ask("Searching…", lambda: submit(offset), show)

    def _tell_count(self, server: Server, count: int) -> None:
        name = "patient" if isinstance(row_of(self.results.topLevelItem(0)), PatientRow) else "study"
        many = {"patient": "patients", "study": "studies"}[name]
        said = f"{count} {name if count == 1 else many} at {server.name}"
        if self._next is not None:
            self._tell(f"The first {said}; there are more. Narrow the search, or ask for more.", "warning")
        else:
            self._tell(f"{said}." if count else f"Nothing matches at {server.name}.")

    def _more(self) -> None:
        if self._next is not None:
            self._next()

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

    def _expanded(self, item: QTreeWidgetItem) -> None:
        row, server, first = row_of(item), self._shown_of, item.child(0)
        if server is None or first is None or row_of(first) is not None:
            return

        def show(found: object) -> None:
            if isinstance(found, tuple):
                self.results.show_below(item, found)
                studies = "study" if len(found) == 1 else "studies"
                self._tell(f"{len(found)} {studies if isinstance(row, PatientRow) else 'series'}.")

        pacs = self._app.pacs
        if isinstance(row, PatientRow):
            self._ask("Listing studies…", lambda: pacs.studies_of(server, row), show)
        elif isinstance(row, StudyRow):
            self._ask("Listing series…", lambda: pacs.series(server, row), show)

    # ---- fetching

    def _retrieve(self) -> None:
        if self._shown_of is not None and self.results.chosen:
            self._app.pacs.retrieve(self._shown_of, self.results.chosen)

    def _quarantine(self) -> None:
        dialog = QuarantineDialog(self._app, self)
        dialog.finished.connect(self._count_quarantine)
        dialog.open()

    def _count_quarantine(self, *_: object) -> None:
        count = self._app.pacs.quarantine.count
        self.quarantine_button.setText(f"Quarantine: {counted(count, 'object')}…")
        self.quarantine_button.setVisible(count > 0)

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
        self.more_button.setVisible(self._next is not None)
        self.more_button.setEnabled(self._job is None)
        self.fetch_button.setEnabled(self._shown_of is not None and bool(self.results.chosen))


def _told(error: BaseException) -> str:
    return str(error) if isinstance(error, MedViewerError) else f"{type(error).__name__}; the log has the details."
