"""What the window is made of, as data: docks and the toolbar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QDockWidget, QMainWindow, QTabWidget, QToolBar, QToolButton, QVBoxLayout, QWidget

from medviewer.ui.actions import Commands
from medviewer.ui.icons import icon
from medviewer.ui.messages import MessagesPanel
from medviewer.ui.panels.assessments import AssessmentsPanel
from medviewer.ui.panels.findings import FindingsPanel
from medviewer.ui.panels.history import HistoryPanel
from medviewer.ui.panels.jobs import JobsPanel
from medviewer.ui.panels.panel import Command, Panel
from medviewer.ui.panels.registration import RegistrationPanel
from medviewer.ui.panels.segments import SegmentsPanel
from medviewer.ui.panels.study_browser import StudyBrowser
from medviewer.ui.panels.tasks import TasksPanel
from medviewer.ui.panels.tools import ToolsPanel
from medviewer.ui.panels.volumes import VolumesPanel
from medviewer.ui.theme import restyle

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

Area = Qt.DockWidgetArea
PanelType = Callable[["AppContext", Command], Panel]


@dataclass(frozen=True, slots=True)
class Dock:
    """One dock: its panels one above the other.

    Attributes
    ----------
    tab_of : str
        Id of the dock it shares its place with; empty for a place of its own.
    size : int
        First width or height in pixels.
    """

    id: str
    title: str
    area: Qt.DockWidgetArea
    panels: tuple[PanelType, ...]
    tab_of: str = ""
    size: int = 0


DOCKS: tuple[Dock, ...] = (
    Dock("studies", "Studies", Area.LeftDockWidgetArea, (StudyBrowser,), size=520),
    Dock("volumes", "Open images", Area.LeftDockWidgetArea, (VolumesPanel,), size=260),
    Dock("tasks", "Analyze", Area.RightDockWidgetArea, (TasksPanel,), size=250),
    Dock("findings", "Findings", Area.RightDockWidgetArea, (AssessmentsPanel, FindingsPanel), tab_of="tasks"),
    Dock("registration", "Register", Area.RightDockWidgetArea, (RegistrationPanel,), tab_of="tasks"),
    Dock("segments", "Segments", Area.RightDockWidgetArea, (ToolsPanel, SegmentsPanel), size=600),
    Dock("history", "History", Area.RightDockWidgetArea, (HistoryPanel,), tab_of="segments"),
    Dock("jobs", "Jobs", Area.BottomDockWidgetArea, (JobsPanel,), size=100),
    Dock("messages", "Messages", Area.BottomDockWidgetArea, (MessagesPanel,), tab_of="jobs"),
)
LEFT_WIDTH, RIGHT_WIDTH, BOTTOM_HEIGHT = 260, 340, 112

#: Commands of the toolbar in order; empty is a gap, ``>`` pushes what follows to the right.
TOOLBAR: tuple[str, ...] = (
    "open_folder", "open_files", "save", "", "analyze", "", "undo", "redo", "", "navigate", "brush", "eraser", "",
    "oblique", "reset_views",
)  # fmt: skip
WITH_TEXT = frozenset({"open_folder", "analyze", "export", "save"})


class Docks:
    """Builds the docks of a window and puts them where they belong."""

    def __init__(self, window: QMainWindow, app: AppContext, command: Command) -> None:
        self._window = window
        self.by_id: dict[str, QDockWidget] = {}
        self.panels: list[Panel] = []
        window.setDockNestingEnabled(True)
        window.setTabPosition(Area.AllDockWidgetAreas, QTabWidget.TabPosition.North)
        for corner, area in (
            (Qt.Corner.BottomLeftCorner, Area.LeftDockWidgetArea),
            (Qt.Corner.BottomRightCorner, Area.RightDockWidgetArea),
        ):
            window.setCorner(corner, area)
        for spec in DOCKS:
            self._add(spec, app, command)
        self.arrange()

    def arrange(self) -> None:
        """Put all docks to where they are at the first start."""
        window = self._window
        for spec in DOCKS:
            dock = self.by_id[spec.id]
            dock.setFloating(False)
            window.addDockWidget(spec.area, dock)
            dock.show()
        for spec in DOCKS:
            if spec.tab_of:
                window.tabifyDockWidget(self.by_id[spec.tab_of], self.by_id[spec.id])
        for first in {spec.tab_of for spec in DOCKS if spec.tab_of}:
            self.by_id[first].raise_()
        vertical = [spec for spec in DOCKS if spec.size and spec.area is not Area.BottomDockWidgetArea]
        window.resizeDocks([self.by_id[s.id] for s in vertical], [s.size for s in vertical], Qt.Orientation.Vertical)
        window.resizeDocks([self.by_id["jobs"]], [BOTTOM_HEIGHT], Qt.Orientation.Vertical)
        window.resizeDocks(
            [self.by_id["studies"], self.by_id["tasks"]], [LEFT_WIDTH, RIGHT_WIDTH], Qt.Orientation.Horizontal
        )

    def show(self, dock_id: str) -> None:
        """Bring a dock to the front of its tabs; one that the user closed stays closed."""
        dock = self.by_id[dock_id]
        if dock.toggleViewAction().isChecked():
            dock.raise_()

    def close_panels(self) -> None:
        """Let all panels take their connections back."""
        for panel in self.panels:
            panel.close_panel()

    def _add(self, spec: Dock, app: AppContext, command: Command) -> None:
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        for n, make in enumerate(spec.panels):
            panel = make(app, command)
            self.panels.append(panel)
            layout.addWidget(panel, 1 if n == len(spec.panels) - 1 else 0)
        dock = QDockWidget(spec.title, self._window)
        dock.setObjectName(f"dock.{spec.id}")
        dock.setWidget(inside)
        if spec.tab_of or any(other.tab_of == spec.id for other in DOCKS):
            # The tab is title enough.
            dock.setTitleBarWidget(QWidget())
        self.by_id[spec.id] = dock


class MainToolBar(QToolBar):
    """The commands one needs all the time; the one to take next stands out."""

    def __init__(self, commands: Commands) -> None:
        super().__init__("Toolbar")
        self.setObjectName("mainToolBar")
        self.setMovable(False)
        self.setIconSize(QSize(20, 20))
        self._buttons: dict[str, QToolButton] = {}
        for command_id in TOOLBAR:
            if command_id:
                self._add(commands, command_id)
            else:
                self.addSeparator()
        self._add_window_menu(commands)
        self.addSeparator()
        self._add(commands, "export")

    def suggest(self, command_id: str) -> None:
        """Make one command stand out; an empty id none."""
        for other, button in self._buttons.items():
            wanted = other == command_id
            if bool(button.property("next")) != wanted:
                button.setProperty("next", wanted)
                restyle(button)

    def _add(self, commands: Commands, command_id: str) -> None:
        action = commands.by_id[command_id]
        self.addAction(action)
        button = self.widgetForAction(action)
        assert isinstance(button, QToolButton)
        button.setObjectName(f"toolbar.{command_id}")
        if command_id in WITH_TEXT:
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._buttons[command_id] = button

    def _add_window_menu(self, commands: Commands) -> None:
        button = QToolButton()
        button.setObjectName("toolbar.window")
        button.setText("Window")
        button.setToolTip("Window and level presets")
        button.setIcon(icon("window"))
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        button.setMenu(commands.menu("View/Window"))
        self.addWidget(button)


def suggested_command(app: AppContext) -> str:
    """Return the command that most likely comes next."""
    volume = app.workspace.active
    if volume is None:
        return "open_folder" if not app.studies.studies else ""
    if any(not job.quiet for job in app.jobs.running) or app.router.active_id or volume.id in app.loading:
        return ""
    boxes = app.workspace.boxes(volume.id)
    if not (boxes or app.workspace.segmentation(volume.id).segments or app.workspace.assessments(volume.id)):
        return "analyze" if app.analyze.fits_any(volume.id) else ""
    return "" if any(box.review == "open" for box in boxes) else "export"
