"""Menus of the segment list: how far the work is, what a segment is, presets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, get_args

from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QWidget

from medviewer.core.segmentation import Segment, Status
from medviewer.ui.icons import icon
from medviewer.ui.panels.panel import Command
from medviewer.ui.text import counted, plain_menu

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

#: Drawing and colour of each status.
STATUS_ICONS: Mapping[Status, tuple[str, str]] = {
    "not started": ("status/not_started", "disabled"),
    "in progress": ("status/in_progress", "accent"),
    "done": ("status/done", "good"),
    "flagged": ("status/flagged", "warning"),
}

Attempt = Callable[[Callable[[], object]], None]


def status_menu(app: AppContext, volume_id: str, segment: Segment, attempt: Attempt, parent: QWidget) -> QMenu:
    """Return a menu that says how far the work on a segment is."""
    menu = QMenu("Status", parent)
    menu.setObjectName("segmentStatusMenu")
    for status in get_args(Status):
        action = QAction(icon(*STATUS_ICONS[status]), status.capitalize(), menu)
        action.setObjectName(f"status.{status.replace(' ', '_')}")
        action.setCheckable(True)
        action.setChecked(status == segment.status)
        change = partial(app.segments.set_status, volume_id, segment.value, status)
        action.triggered.connect(lambda _=False, change=change: attempt(change))
        menu.addAction(action)
    return menu


def segment_menu(
    app: AppContext, volume_id: str, segment: Segment, attempt: Attempt, command: Command, parent: QWidget
) -> QMenu:
    """Return the menu of a row."""
    menu = QMenu(parent)
    menu.setObjectName("segmentMenu")
    _add(menu, "Describe…", "pencil", lambda: command("describe_segment"))
    _add(menu, "New instance", "add", lambda: command("new_instance"))
    menu.addMenu(status_menu(app, volume_id, segment, attempt, menu))
    menu.addSeparator()
    _add(menu, "Delete", "remove", lambda: command("delete_segment"))
    return menu


def fill_presets(menu: QMenu, app: AppContext, volume_id: str, attempt: Attempt, save: Callable[[], None]) -> None:
    """Fill a menu with the presets there are; each adds its segments."""
    from medviewer.io.presets import Preset, all_presets

    def use(preset: Preset) -> None:
        added = app.segments.add_preset(volume_id, preset)
        text = f"Added {counted(added, 'segment')} of “{preset.name}”." if added else f"“{preset.name}” is there."
        app.messages.add("info", text, preset.about)

    menu.clear()
    for preset in all_presets():
        _add(menu, preset.name, "", partial(attempt, partial(use, preset)))
        menu.actions()[-1].setToolTip(preset.about)
    menu.setToolTipsVisible(True)
    menu.addSeparator()
    _add(menu, "Save these segments as a preset…", "save", save)


def _add(menu: QMenu, text: str, picture: str, slot: Callable[[], object]) -> None:
    action = QAction(plain_menu(text), menu)
    if picture:
        action.setIcon(icon(picture))
    action.triggered.connect(lambda _=False: slot())
    menu.addAction(action)
