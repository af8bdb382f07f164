"""From commands as data to QActions: menus, shortcuts, and what is enabled when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QMainWindow, QMenu

from medviewer.jobs.job import Job
from medviewer.ui.bind import Links, Merged
from medviewer.ui.icons import icon
from medviewer.ui.text import plain_menu

if TYPE_CHECKING:
    from medviewer.app.actions import Action, Ui
    from medviewer.app.context import AppContext

MENU_ORDER = ("File", "Edit", "View", "Tools", "Analyze", "Help")

PICTURES: Mapping[str, str] = {
    "open_folder": "open",
    "open_files": "files",
    "library": "study",
    "load_segments": "mask",
    "save": "save",
    "export": "export",
    "undo": "undo",
    "redo": "redo",
    "analyze": "analyze",
    "navigate": "tools/navigate",
    "brush": "tools/brush",
    "eraser": "tools/eraser",
    "play": "run",
    "reset_views": "reset",
    "oblique": "oblique",
    "reset_layout": "layout",
    "settings": "settings",
    "about": "info",
    "add_segment": "add",
    "delete_segment": "remove",
    "describe_segment": "pencil",
    "close_volume": "close",
}

#: Why a command is not possible, where its name does not say it.
REASONS: Mapping[str, str] = {"oblique": "only an image with depth has planes to turn"}


class Commands:
    """The QActions of a window, by id.

    Parameters
    ----------
    app : AppContext
    window : QMainWindow
        Gets the menus; answers the commands' questions.
    ui : Ui
    actions : sequence of Action
    """

    def __init__(self, app: AppContext, window: QMainWindow, ui: Ui, actions: Sequence[Action]) -> None:
        self._app = app
        self._ui = ui
        self._items = {action.id: action for action in actions}
        self.by_id: dict[str, QAction] = {}
        self._menus: dict[str, QMenu] = {}
        self._links = Links()
        bar = window.menuBar()
        for name in sorted({a.menu.split("/")[0] for a in actions if a.menu} | {"View"}, key=_menu_rank):
            self._menus[name] = bar.addMenu(plain_menu(name))
            self._menus[name].setObjectName(f"menu.{name}")
        for action in actions:
            self._add(action, window)
        self.refresh = Merged(window, self.refresh_now)
        self._listen()
        self.refresh_now()

    def menu(self, name: str) -> QMenu:
        """Return a menu; ``"View/Window"`` is the submenu Window of View."""
        if name not in self._menus:
            above, _, last = name.rpartition("/")
            self._menus[name] = self.menu(above).addMenu(plain_menu(last))
            self._menus[name].setObjectName(f"menu.{name}")
        return self._menus[name]

    def run(self, action_id: str) -> None:
        """Run a command as its menu entry does; nothing happens when it is not possible now."""
        action = self._items[action_id]
        if action.enabled(self._app):
            action.run(self._app, self._ui)

    def refresh_now(self) -> None:
        """Show what is possible now."""
        for action_id, action in self._items.items():
            self.by_id[action_id].setEnabled(action.enabled(self._app))
            if action_id in REASONS:
                self._show_keys(action)
        if "oblique" in self.by_id:
            self.by_id["oblique"].setChecked(self._app.workspace.view.tilt is not None)
        for action_id, what in (("undo", self._app.history.undo_label), ("redo", self._app.history.redo_label)):
            if action_id in self.by_id:
                self.by_id[action_id].setText(plain_menu(f"{self._items[action_id].title} {what}".strip()))

    def close(self) -> None:
        """Disconnect."""
        self.refresh.stop()
        self._links.close()

    def _add(self, action: Action, window: QMainWindow) -> None:
        made = QAction(plain_menu(action.title), window)
        made.setObjectName(f"action.{action.id}")
        if action.id in PICTURES:
            made.setIcon(icon(PICTURES[action.id]))
        made.setCheckable(action.id == "oblique")
        made.triggered.connect(lambda _checked=False: self.run(action.id))
        self.by_id[action.id] = made
        self._show_keys(action)
        if action.menu:
            self.menu(action.menu).addAction(made)
        else:
            window.addAction(made)

    def _show_keys(self, action: Action) -> None:
        keys = self._app.keys.of(action.id, action.shortcut)
        made, tip = self.by_id[action.id], action.title.rstrip("…")
        made.setShortcuts([QKeySequence(key) for key in keys])
        tip = f"{tip} ({keys[0]})" if keys else tip
        reason = "" if made.isEnabled() else REASONS.get(action.id, "")
        made.setToolTip(f"{tip}: {reason}" if reason else tip)

    def _keys_changed(self) -> None:
        for action in self._items.values():
            self._show_keys(action)

    def _listen(self) -> None:
        app, workspace = self._app, self._app.workspace
        for signal in (
            workspace.volume_added,
            workspace.volume_removed,
            workspace.volume_updated,
            workspace.active_changed,
            workspace.boxes_changed,
            workspace.registrations_changed,
            workspace.dirty_changed,
            app.history.changed,
            app.studies.changed,
            app.router.changed,
            workspace.view.tilt_changed,
        ):
            self._links.connect(signal, self.refresh)
        self._links.connect(app.jobs.job_added, self._follow)
        self._links.connect(app.keys.changed, self._keys_changed)

    def _follow(self, job: Job) -> None:
        job.state_changed.connect(self.refresh)
        self.refresh()


def _menu_rank(name: str) -> int:
    return MENU_ORDER.index(name) if name in MENU_ORDER else len(MENU_ORDER) - 1
