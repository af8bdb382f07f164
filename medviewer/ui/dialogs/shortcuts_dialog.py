"""All commands with their keys, and other keys for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QKeySequenceEdit,
    QLineEdit,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from medviewer.app.keys import RESERVED, shipped_keys
from medviewer.ui.panels.panel import push_button
from medviewer.ui.text import label

if TYPE_CHECKING:
    from medviewer.app.actions import Action
    from medviewer.app.context import AppContext

COMMAND = Qt.ItemDataRole.UserRole
_IN_VIEWS = (
    "In the views: arrows, Page and wheel go through slices · Ctrl+wheel zooms · Space takes up the last tool, with a "
    "drag it moves the picture · Enter applies, Backspace takes the last point back · Shift and the pointer put the "
    "crosshair"
)


class ShortcutsDialog(QDialog):
    """A change holds at once; a key belongs to one command, the one it was given to last."""

    def __init__(self, app: AppContext, actions: Sequence[Action], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("shortcutsDialog")
        self.setWindowTitle("Keyboard shortcuts")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._keys = app.keys
        self._actions = {action.id: action for action in actions}
        self.search = QLineEdit()
        self.search.setObjectName("shortcutSearch")
        self.search.setPlaceholderText("Search: a command, a menu or a key")
        self.search.setClearButtonEnabled(True)
        self.tree = QTreeWidget()
        self.tree.setObjectName("shortcutTree")
        self.tree.setHeaderLabels(["Command", "Keys"])
        self.tree.setRootIsDecorated(True)
        self.tree.setColumnWidth(0, 330)
        self.edit = QKeySequenceEdit()
        self.edit.setObjectName("shortcutEdit")
        self.edit.setMaximumSequenceLength(1)
        self.edit.setClearButtonEnabled(True)
        self.note = label("", name="shortcutNote", role="soft", wrap=True)
        self.use = push_button("shortcutUse", "Use", self._use, tip="Give this key to the chosen command")
        self.clear = push_button("shortcutClear", "No key", lambda: self._choose([]), tip="Take its keys away")
        self.usual = push_button("shortcutUsual", "As shipped", self._reset, tip="Give its own keys back")
        #: The lines of the list, by menu and by command.
        self._menus: dict[str, QTreeWidgetItem] = {}
        self._lines: dict[str, QTreeWidgetItem] = {}
        self._lay_out()
        self.search.textChanged.connect(self._filter)
        self.tree.currentItemChanged.connect(self._chosen)
        self.edit.keySequenceChanged.connect(self._show)
        self._fill()
        self._show()

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.edit, 1)
        for button in (self.use, self.clear, self.usual):
            button.setAutoDefault(False)
            row.addWidget(button)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        everything = buttons.addButton("All as shipped", QDialogButtonBox.ButtonRole.ResetRole)
        everything.setObjectName("shortcutResetAll")
        everything.setAutoDefault(False)
        buttons.button(QDialogButtonBox.StandardButton.Close).setDefault(True)
        everything.clicked.connect(self._reset_all)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 18, 20, 16)
        layout.setSpacing(12)
        layout.addWidget(self.search)
        layout.addWidget(self.tree, 1)
        layout.addLayout(row)
        layout.addWidget(self.note)
        layout.addWidget(label(_IN_VIEWS, role="soft", wrap=True))
        layout.addWidget(buttons)
        self.resize(600, 640)

    def keys_of(self, command_id: str) -> tuple[str, ...]:
        """Return the keys of a command."""
        return self._keys.of(command_id, self._actions[command_id].shortcut)

    def _fill(self) -> None:
        for action in self._actions.values():
            menu = _menu(action)
            if menu not in self._menus:
                self._menus[menu] = QTreeWidgetItem(self.tree, [menu])
                self._menus[menu].setFlags(Qt.ItemFlag.ItemIsEnabled)
            self._lines[action.id] = line = QTreeWidgetItem(self._menus[menu], [action.title.rstrip("…"), ""])
            line.setData(0, COMMAND, action.id)
        self.tree.expandAll()
        self._show_keys()

    def _show_keys(self) -> None:
        for command_id, line in self._lines.items():
            line.setText(1, "   ".join(_native(key) for key in self.keys_of(command_id)))
            font = line.font(1)
            font.setBold(self._keys.is_own(command_id))
            line.setFont(1, font)
        self._show()

    def _filter(self, text: str) -> None:
        words = text.casefold().split()
        shown = set()
        for command_id, line in self._lines.items():
            menu = _menu(self._actions[command_id])
            said = f"{line.text(0)} {line.text(1)} {menu}".casefold()
            fits = all(word in said for word in words)
            line.setHidden(not fits)
            if fits:
                shown.add(menu)
        for menu, above in self._menus.items():
            above.setHidden(menu not in shown)

    @property
    def _current(self) -> str:
        item = self.tree.currentItem()
        return item.data(0, COMMAND) or "" if item is not None else ""

    def _chosen(self) -> None:
        keys = self.keys_of(self._current) if self._current else ()
        self.edit.setKeySequence(QKeySequence(keys[0] if keys else ""))
        self._show()

    def _wanted(self) -> str:
        return self.edit.keySequence().toString(QKeySequence.SequenceFormat.PortableText)

    def _holder(self, key: str) -> str:
        """Return the other command that a key runs now."""
        holders = (c for c in self._actions if c != self._current and key in self.keys_of(c))
        return next(holders, "")

    def _show(self) -> None:
        current, key = self._current, self._wanted()
        new = bool(current and key) and key not in self.keys_of(current) and key not in RESERVED
        self.edit.setEnabled(bool(current))
        self.use.setEnabled(new)
        self.clear.setEnabled(bool(current) and bool(self.keys_of(current)))
        self.usual.setEnabled(self._keys.is_own(current))
        note = "Choose a command, click the field and press a key." if not current else ""
        if current and key in RESERVED:
            note = f"{_native(key)} belongs to the views."
        elif new and (holder := self._holder(key)):
            note = f"{_native(key)} runs “{self._actions[holder].title.rstrip('…')}” now; Use takes it from there."
        self.note.setText(note)

    def _use(self) -> None:
        self._choose([self._wanted()])

    def _choose(self, keys: list[str]) -> None:
        chosen = {self._current: keys}
        for key in keys:
            if holder := self._holder(key):
                chosen[holder] = [k for k in self.keys_of(holder) if k != key]
        self._keys.choose(chosen)
        self._show_keys()

    def _reset(self) -> None:
        """Give the command its own keys; who has one of them meanwhile loses it."""
        current = self._current
        own = shipped_keys(current, self._actions[current].shortcut)
        taken = {
            holder: [k for k in self.keys_of(holder) if k not in own] for key in own if (holder := self._holder(key))
        }
        self._keys.choose(taken)
        self._keys.reset([current])
        self._show_keys()
        self._chosen()

    def _reset_all(self) -> None:
        self._keys.reset(list(self._actions))
        self._show_keys()
        self._chosen()


def _menu(action: Action) -> str:
    return action.menu.replace("/", " ▸ ") or "Other"


def _native(key: str) -> str:
    return QKeySequence(key).toString(QKeySequence.SequenceFormat.NativeText)
