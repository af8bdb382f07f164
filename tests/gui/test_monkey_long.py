"""Twenty minutes of a monkey that also runs tasks, cancels them, switches and closes studies while they run.

``MEDVIEWER_MONKEY_MINUTES`` says how long; ``make monkey`` takes the whole time.
"""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from medviewer.app.context import AppContext
from medviewer.app.documents import replay_entry
from medviewer.core.serial import segment_to_json
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.history import UndoStack
from medviewer.io.journal import read_journal
from medviewer.ui.main_window import MainWindow
from tests.gui.test_monkey import Monkey

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

MINUTES = float(os.environ.get("MEDVIEWER_MONKEY_MINUTES", "1"))
TASK = "tmp_air.air"


class BusyMonkey(Monkey):
    """A monkey with several studies and a model."""

    def __init__(self, qtbot: QtBot, window: MainWindow, first: Volume, seed: int) -> None:
        super().__init__(qtbot, window, seed)
        self.app = window.app
        self.first = first
        self.opened = 0
        self.runs = 0
        self.open_another()

    def open_another(self) -> None:
        """Open one more study; what is air in it is like in no other."""
        self.opened += 1
        rng = np.random.default_rng(self.opened)
        array = np.where(rng.random(self.first.array.shape) < 0.2, -1000, 40).astype(np.int16)
        name = f"study {self.opened}"
        self.app.workspace.add_volume(Volume(array, self.first.geometry, name, "CT", "HU", id=name))

    def act(self) -> None:
        """Do one thing, mostly with the mouse."""
        if self.rng.random() < 0.75:
            super().act()
            return
        self.rng.choice((self.analyze, self.analyze, self.cancel, self.switch, self.switch, self.close))()
        QApplication.processEvents()

    def analyze(self) -> None:
        """Start the task, as a double click does."""
        volume = self.app.workspace.active
        if volume is not None:
            first = self.app.analyze.start(volume.id, [TASK])
            assert self.app.analyze.start(volume.id, [TASK]) == first, "two clicks are one run"
            self.runs += 1

    def cancel(self) -> None:
        """Cancel something that runs."""
        running = [job for job in self.app.jobs.running if not job.quiet]
        if running:
            self.rng.choice(running).cancel()

    def switch(self) -> None:
        """Look at another study."""
        self.app.workspace.activate(self.rng.choice(self.app.workspace.volumes).id)

    def close(self) -> None:
        """Close a study that is not the first, now and then, and open another one in its place."""
        others = [volume for volume in self.app.workspace.volumes if volume is not self.first]
        if self.rng.random() < 0.2:
            self.app.documents.close_volume(self.rng.choice(others).id)
            self.open_another()

    def results_on_another_study(self) -> list[str]:
        """Return results that nobody edited and that are not what the task finds in their study."""
        wrong = []
        for volume in self.app.workspace.volumes:
            segmentation = self.app.workspace.segmentation(volume.id)
            air = volume.array < -400
            results = [s for s in segmentation.segments if s.provenance.task == TASK and not s.edited]
            wrong += [f"{s.name} of {volume.name}" for s in results if (segmentation.mask(s.value) != air).any()]
        return wrong


@pytest.mark.parametrize("seed", [21])
def test_a_busy_monkey_breaks_and_loses_nothing(
    qtbot: QtBot, app: AppContext, window: MainWindow, opened: Volume, seed: int
) -> None:
    app.router.ask = lambda text: seed % 2 == 0
    monkey = BusyMonkey(qtbot, window, opened, seed)
    end, events = time.monotonic() + 60 * MINUTES, 0
    while time.monotonic() < end:
        monkey.act()
        events += 1
        if events % 25 == 0:
            assert monkey.results_on_another_study() == []
    app.router.activate("")
    qtbot.waitUntil(lambda: not app.jobs.running, timeout=60_000)
    assert monkey.results_on_another_study() == []
    app.journaling.flush()
    assert app.journaling.journal is not None
    again = Workspace()
    for volume in app.workspace.volumes:
        again.add_volume(volume)
    entries = read_journal(app.journaling.journal.path).entries
    closed = {entry.volume_id for entry in entries if entry.kind == "closed"}
    history = UndoStack()
    for entry in entries:
        replay_entry(again, history, entry, closed)
    for volume in app.workspace.volumes:
        left, right = app.workspace.segmentation(volume.id), again.segmentation(volume.id)
        assert [segment_to_json(s) for s in left.segments] == [segment_to_json(s) for s in right.segments]
        for group in left.groups:
            np.testing.assert_array_equal(group.labels, right.group(group.id).labels)
    print(f"{events} events, {len(entries)} steps in the journal, {monkey.runs} runs, {monkey.opened} studies")
