"""The window: docks and menus from data, views in the middle; no logic."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QByteArray, Qt, Signal
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDragLeaveEvent, QDropEvent, QGuiApplication
from PySide6.QtWidgets import QMainWindow

from medviewer.app.actions import ACTIONS
from medviewer.core.volume import Volume
from medviewer.jobs.job import Job, JobState
from medviewer.ui.actions import Commands
from medviewer.ui.bind import Links, Merged
from medviewer.ui.centre import Centre
from medviewer.ui.dialogs.questions import CloseAnswer, ask_before_closing
from medviewer.ui.icons import icon
from medviewer.ui.panels.status import StatusLine
from medviewer.ui.panels.tasks import TasksPanel
from medviewer.ui.panels.welcome import Welcome
from medviewer.ui.window_parts import Docks, MainToolBar, suggested_command
from medviewer.ui.window_ui import WindowUi

if TYPE_CHECKING:
    from medviewer.app.context import AppContext
    from medviewer.ui.views.layout import FourViews

log = logging.getLogger(__name__)

LAYOUT_VERSION = 1
FIRST_SIZE = (1600, 1000)


class MainWindow(QMainWindow):
    """The only window.

    Signals
    -------
    painted()
        The first picture of the window is on the screen.
    """

    painted = Signal()

    def __init__(self, app: AppContext) -> None:
        super().__init__()
        self.setObjectName("mainWindow")
        self.setWindowTitle("MedViewer")
        self.setWindowIcon(icon("app", "accent"))
        self.setAcceptDrops(True)
        self.setMinimumSize(960, 600)
        self.app = app
        self.views: FourViews | None = None
        self._closing = False
        self._links = Links()
        self.ui = WindowUi(app, self)
        app.attach.confirm = self.ui.confirm
        app.router.ask = self.ui.confirm
        app.attach.ask_threshold = self.ui.ask_threshold
        app.studies.ask_part = self.ui.ask_part
        self.commands = Commands(app, self, self.ui, ACTIONS)
        self.docks = Docks(self, app, self.commands.run)
        self.toolbar = MainToolBar(self.commands)
        self.addToolBar(Qt.ToolBarArea.TopToolBarArea, self.toolbar)
        self.welcome = Welcome(app, self.commands.run)
        self.centre = Centre(self.welcome)
        self.centre.painted.connect(self.painted)
        self.setCentralWidget(self.centre)
        self.status = StatusLine(app, self.commands.run)
        self.statusBar().setSizeGripEnabled(False)
        self.statusBar().addWidget(self.status, 1)
        self._add_view_menu()
        self._suggest = Merged(self, self._follow_up)
        self._listen()
        self._restore_layout()
        self._follow_up()

    # ---- building

    def _add_view_menu(self) -> None:
        menu = self.commands.menu("View")
        menu.addSeparator()
        panels = menu.addMenu("Panels")
        panels.setObjectName("menu.Panels")
        for dock in self.docks.by_id.values():
            panels.addAction(dock.toggleViewAction())

    def _listen(self) -> None:
        app, workspace = self.app, self.app.workspace
        self._links.connect(workspace.active_changed, self._active_changed)
        self._links.connect(workspace.boxes_changed, self._boxes_changed)
        self._links.connect(workspace.assessments_changed, self._boxes_changed)
        self._links.connect(workspace.registrations_changed, self._registrations_changed)
        self._links.connect(app.messages.added, self.centre.show_message)
        self._links.connect(app.objects.report_read, self.ui.show_report)
        self._links.connect(app.objects.document_read, self.ui.offer_document)
        for signal in (
            workspace.active_changed, workspace.volume_updated, workspace.boxes_changed, workspace.dirty_changed,
            workspace.assessments_changed,
            app.studies.changed, app.history.changed, app.router.changed,
        ):  # fmt: skip
            self._links.connect(signal, self._suggest)
        self._links.connect(app.jobs.job_added, self._job_added)

    def make_views(self) -> None:
        """Build the four views: after the first paint, because they bring VTK."""
        if self.views is not None:
            return
        from medviewer.ui.views.layout import FourViews

        router = self.app.router
        self.views = FourViews(self.app.workspace, router, self.app.volumes.show_time)
        self.views.setObjectName("fourViews")
        self.views.cursor_info.connect(self.status.show_point)
        self._links.connect(router.changed, self.views.set_cursor_dirty)
        if self.app.settings.views_state:
            self.views.restore_state(bytes(_decoded(self.app.settings.views_state).data()))
        self._show_centre()

    # ---- following the model

    def _active_changed(self, volume: Volume | None) -> None:
        self._show_centre()
        if volume is not None and len(self.app.workspace.volumes) == 1:
            found = self.app.workspace.boxes(volume.id) or self.app.workspace.assessments(volume.id)
            self.docks.show("findings" if found else "tasks")

    def _show_centre(self) -> None:
        if self.views is not None and self.app.workspace.active is not None:
            self.centre.show_page(self.views, self.views.room_above)
        else:
            self.centre.show_page(None)

    def _boxes_changed(self, volume_id: str) -> None:
        active = self.app.workspace.active
        found = self.app.workspace.boxes(volume_id) or self.app.workspace.assessments(volume_id)
        if active is not None and active.id == volume_id and found:
            self.docks.show("findings")

    def _registrations_changed(self) -> None:
        if self.app.workspace.registrations:
            self.docks.show("registration")

    def _job_added(self, job: Job) -> None:
        job.state_changed.connect(self._suggest)
        if not job.quiet and job.lane != "io":
            # What takes long is seen, with its button to cancel.
            self.docks.show("jobs")

    def _follow_up(self) -> None:
        self.centre.place_message()
        suggested = suggested_command(self.app)
        self.toolbar.suggest(suggested)
        for panel in self.docks.panels:
            if isinstance(panel, TasksPanel):
                panel.suggest(suggested == "analyze")
        volume = self.app.workspace.active
        # Other programs and the lists of the desktop see the title: nothing out of the files is in it.
        name = f"{volume.modality} — " if volume is not None and volume.modality.isalnum() else ""
        star = "*" if self.app.workspace.dirty else ""
        self.setWindowTitle(f"{star}{name}MedViewer")

    # ---- opening

    def open_paths(self, paths: Sequence[Path]) -> None:
        """Scan paths and open what is most likely wanted."""
        allowed = self.ui.allowed(paths)
        if allowed:
            self.app.studies.scan(allowed, open_best=True)

    # ---- layout that persists

    def _restore_layout(self) -> None:
        settings = self.app.settings
        screen = QGuiApplication.primaryScreen().availableGeometry()
        self.resize(min(FIRST_SIZE[0], screen.width()), min(FIRST_SIZE[1], screen.height()))
        if settings.window_geometry:
            self.restoreGeometry(_decoded(settings.window_geometry))
        else:
            self.setWindowState(Qt.WindowState.WindowMaximized)
        if settings.window_state:
            self.restoreState(_decoded(settings.window_state), LAYOUT_VERSION)

    def _save_layout(self) -> None:
        settings = self.app.settings
        settings.window_geometry = _encoded(self.saveGeometry())
        settings.window_state = _encoded(self.saveState(LAYOUT_VERSION))
        if self.views is not None:
            settings.views_state = _encoded(QByteArray(self.views.save_state()))

    # ---- closing

    def _ask_before_closing(self) -> CloseAnswer:
        """Ask; and again when a result has landed meanwhile, which nobody has agreed to lose."""
        while True:
            unsaved = self.app.has_unsaved_work
            running = [job.title for job in self.app.jobs.running if not job.quiet]
            answer = ask_before_closing(self, running, unsaved)
            if answer is not CloseAnswer.DISCARD or unsaved or not self.app.has_unsaved_work:
                return answer

    def _save_then_close(self) -> None:
        path = self.app.documents.path or self.ui.ask_save_path(".mvw")
        if path is None:
            return
        job = self.app.documents.save(path)

        def ended(state: JobState) -> None:
            if state is JobState.SUCCESS and not self.app.has_unsaved_work:
                self.close()

        job.state_changed.connect(ended)

    def _shut_down(self) -> None:
        """In order: connections, views before their widgets, jobs and workers, settings."""
        self._closing = True
        self.ui.close_dialogs()
        self._save_layout()
        self._links.close()
        self.commands.close()
        self._suggest.stop()
        self.docks.close_panels()
        self.status.close_panel()
        self.welcome.close_panel()
        if self.views is not None:
            self.views.close_views()
        self.app.close()

    # ---- Qt

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: D102
        if self._closing:
            event.accept()
            return
        answer = self._ask_before_closing()
        if answer is CloseAnswer.DISCARD:
            self._shut_down()
            event.accept()
            return
        event.ignore()
        if answer is CloseAnswer.SAVE:
            self._save_then_close()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: D102
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()
            self.welcome.highlight(True)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:  # noqa: D102
        self.welcome.highlight(False)

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: D102
        self.welcome.highlight(False)
        event.acceptProposedAction()
        self.open_paths([Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()])


def _encoded(data: QByteArray) -> str:
    return bytes(data.toBase64().data()).decode("ascii")


def _decoded(text: str) -> QByteArray:
    return QByteArray.fromBase64(QByteArray(text.encode("ascii", "ignore")))
