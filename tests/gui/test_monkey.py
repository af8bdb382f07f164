"""A monkey at the window: whatever it does, nothing raises, and the journal holds what is in memory.

``MEDVIEWER_MONKEY`` says how many things it does; twenty minutes are about 10 000.
"""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QAbstractButton, QApplication, QTableWidget
from pytestqt.qtbot import QtBot

from medviewer.app.context import AppContext
from medviewer.app.documents import replay_entry
from medviewer.core.serial import segment_to_json
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.history import UndoStack
from medviewer.io.journal import read_journal
from medviewer.render.crosshair import crosshair_rays
from medviewer.ui.main_window import MainWindow
from medviewer.ui.views.slice_canvas import SliceCanvas

EVENTS = int(os.environ.get("MEDVIEWER_MONKEY", "60"))
COMMANDS = (
    "undo", "undo", "redo", "add_segment", "delete_segment", "new_instance", "next_segment", "previous_segment",
    "navigate", "reset_views", "toggle_crosshair", "window_soft", "invert",
    "oblique", "straighten",
)  # fmt: skip
KEYS = (Qt.Key.Key_Return, Qt.Key.Key_Escape, Qt.Key.Key_Backspace, Qt.Key.Key_B, Qt.Key.Key_E)
MODIFIERS = (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier)


class Monkey:
    """Does something random to a window, the same for the same seed."""

    def __init__(self, qtbot: QtBot, window: MainWindow, seed: int) -> None:
        self.qtbot, self.window = qtbot, window
        self.rng = random.Random(seed)
        self.canvases = [c for c in window.findChildren(SliceCanvas) if c.isVisible()]

    def act(self) -> None:
        """Do one thing."""
        acts = (self.drag, self.drag, self.drag, self.command, self.tool, self.key, self.cell, self.jump, self.turn)
        self.rng.choice(acts)()
        QApplication.processEvents()

    def _point(self, canvas: SliceCanvas) -> QPoint:
        return QPoint(self.rng.randrange(canvas.width()), self.rng.randrange(canvas.height()))

    def drag(self) -> None:
        canvas = self.rng.choice(self.canvases)
        modifier = self.rng.choice(MODIFIERS)
        start = self._point(canvas)
        self.qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, modifier, start)
        for _ in range(self.rng.randrange(4)):
            self.qtbot.mouseMove(canvas, self._point(canvas))
        if self.rng.random() < 0.2:
            # What a person does with the other hand while drawing.
            self.command()
        self.qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, modifier, self._point(canvas))

    def turn(self) -> None:
        """Take hold of a line of the crosshair where it is, if the planes can be turned."""
        canvas = self.rng.choice(self.canvases)
        frame, ratio = canvas.scene.frame, canvas.devicePixelRatioF()
        assert frame is not None
        rays = list(crosshair_rays(frame, self.window.app.workspace.view.crosshair_lps, 0.0))
        if rays:
            ray = self.rng.choice(rays)
            x, y = ray.at(ray.last - 8.0)
            self.qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=QPoint(round(x / ratio), round(y / ratio)))
            self.qtbot.mouseMove(canvas, self._point(canvas))
            self.qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=self._point(canvas))

    def command(self) -> None:
        action = self.window.commands.by_id[self.rng.choice(COMMANDS)]
        if action.isEnabled():
            action.trigger()

    def tool(self) -> None:
        buttons = [b for b in self.window.findChildren(QAbstractButton) if b.objectName().startswith("tool.")]
        button = self.rng.choice(buttons)
        if button.isEnabled():
            button.click()

    def key(self) -> None:
        self.qtbot.keyClick(self.window, self.rng.choice(KEYS))

    def cell(self) -> None:
        table: Any = self.window.findChild(QTableWidget, "segmentsTable")
        if table.rowCount():
            row, column = self.rng.randrange(table.rowCount()), self.rng.choice((1, 4, 5))
            table.setCurrentCell(row, 1)
            table.cellClicked.emit(row, column)

    def jump(self) -> None:
        count = len(self.window.app.history.done) + len(self.window.app.history.ahead)
        self.window.app.go_to_step(self.rng.randint(0, count))


@pytest.mark.parametrize("seed", [20])
def test_nothing_a_monkey_does_raises_or_is_lost(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, seed: int
) -> None:
    app.router.ask = lambda text: seed % 2 == 0
    monkey = Monkey(qtbot, window, seed)
    for _ in range(EVENTS):
        monkey.act()
    app.router.activate("")
    qtbot.waitUntil(lambda: not app.jobs.running, timeout=30_000)
    app.journaling.flush()
    assert app.journaling.journal is not None
    again = Workspace()
    again.add_volume(opened)
    history = UndoStack()
    for entry in read_journal(app.journaling.journal.path).entries:
        replay_entry(again, history, entry, set())
    left, right = app.workspace.segmentation(opened.id), again.segmentation(opened.id)
    assert [segment_to_json(s) for s in left.segments] == [segment_to_json(s) for s in right.segments]
    assert [g.id for g in left.groups] == [g.id for g in right.groups]
    for group in left.groups:
        np.testing.assert_array_equal(group.labels, right.group(group.id).labels)
    while app.history.can_undo:
        app.history.undo()
    assert left.segments == ()
