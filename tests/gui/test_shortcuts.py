"""Other keys for commands: chosen in the dialog, used in the window, kept between sessions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import shiboken6
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from pytestqt.qtbot import QtBot

from medviewer.app.actions import ACTIONS
from medviewer.app.context import AppContext
from medviewer.app.keys import RESERVED, Keys, shipped_keys
from medviewer.app.settings import Settings
from medviewer.core.volume import Volume
from medviewer.ui.dialogs.shortcuts_dialog import ShortcutsDialog
from medviewer.ui.main_window import MainWindow


@pytest.fixture
def dialog(qtbot: QtBot, app: AppContext, window: MainWindow) -> Iterator[ShortcutsDialog]:
    window.commands.run("shortcuts")
    found = window.findChild(ShortcutsDialog)
    assert found is not None
    yield found
    if shiboken6.isValid(found):
        found.close()


def choose(dialog: ShortcutsDialog, command_id: str) -> None:
    dialog.tree.setCurrentItem(dialog._lines[command_id])


def press(qtbot: QtBot, dialog: ShortcutsDialog, key: str) -> None:
    dialog.edit.setFocus()
    combination = QKeySequence(key)[0]
    qtbot.keyClick(dialog.edit, combination.key(), combination.keyboardModifiers())


def test_no_shipped_key_runs_two_commands_and_none_is_the_views_own() -> None:
    keys = [QKeySequence(key).toString() for action in ACTIONS for key in shipped_keys(action.id, action.shortcut)]
    assert len(keys) == len(set(keys))
    assert not RESERVED & set(keys)


def test_a_chosen_key_runs_the_command_and_is_taken_from_the_other(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, dialog: ShortcutsDialog
) -> None:
    choose(dialog, "brush")
    press(qtbot, dialog, "E")
    assert "Eraser" in dialog.note.text()
    dialog.use.click()
    with qtbot.waitSignal(dialog.destroyed):
        dialog.close()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    assert app.keys.of("brush", "B") == ("E",)
    assert app.keys.of("eraser", "E") == ()
    qtbot.keyClick(window, Qt.Key.Key_E)
    assert app.router.active_id == "brush"
    assert "(E)" in window.commands.by_id["brush"].toolTip()
    assert app.settings.path is not None
    assert Settings.load(app.settings.path).shortcuts == {"brush": ["E"], "eraser": []}


def test_a_key_of_the_views_cannot_be_taken(qtbot: QtBot, dialog: ShortcutsDialog) -> None:
    choose(dialog, "brush")
    press(qtbot, dialog, "Home")
    assert not dialog.use.isEnabled()
    assert "belongs to the views" in dialog.note.text()


def test_as_shipped_gives_a_key_back_and_takes_it_from_who_has_it(
    qtbot: QtBot, app: AppContext, dialog: ShortcutsDialog
) -> None:
    choose(dialog, "brush")
    press(qtbot, dialog, "E")
    dialog.use.click()
    choose(dialog, "eraser")
    dialog.usual.click()
    assert app.keys.of("eraser", "E") == ("E",)
    assert app.keys.of("brush", "B") == ()
    dialog._reset_all()
    assert app.settings.shortcuts == {}


def test_the_list_is_searched_by_name_menu_and_key(dialog: ShortcutsDialog) -> None:
    for text, expected in (("eras", {"eraser"}), ("f10", {"window_liver"}), ("edit q", {"previous_segment"})):
        dialog.search.setText(text)
        shown = {name for name, line in dialog._lines.items() if not line.isHidden()}
        assert expected <= shown
        assert len(shown) < 12


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["brush", "eraser", "undo"]), st.sampled_from("ABCDE")), max_size=12))
def test_a_key_never_belongs_to_two_commands(
    dialog: ShortcutsDialog, app: AppContext, moves: list[tuple[str, str]]
) -> None:
    dialog._reset_all()
    for n, (command_id, key) in enumerate(moves):
        choose(dialog, command_id)
        dialog.edit.setKeySequence(QKeySequence(key))
        if dialog.use.isEnabled():
            dialog.use.click()
        elif n % 2 and dialog.usual.isEnabled():
            dialog.usual.click()
        held = [key for action in ACTIONS for key in dialog.keys_of(action.id)]
        assert len(held) == len(set(held))


def test_damaged_settings_leave_the_shipped_keys(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('shortcuts = {brush = ["F3"], eraser = 5}\n')
    keys = Keys(Settings.load(path))
    assert keys.of("brush", "B") == ("F3",)
    assert keys.of("eraser", "E") == ("E",)
