"""A journal that is made short: at every moment there is one whole journal, whatever fails."""

from __future__ import annotations

import errno
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from medviewer.app.documents import replay_entry
from medviewer.core.errors import WorkspaceError
from medviewer.io import journal_short
from medviewer.io.journal import Journal, JournalHeader, find_journals, read_journal
from medviewer.io.journal_owner import Owner, journal_path, this_process
from medviewer.io.journal_short import write_short
from medviewer.io.snapshot import restore_snapshot, take_snapshot
from tests.editing_moves import World, random_moves
from tests.failing_disk import FailingDisk


def begun(folder: Path, steps: int = 30) -> tuple[World, Journal]:
    """Work a little, with a journal."""
    world = World()
    journal = Journal.create(folder, JournalHeader(workspace_id="w"))
    world.history.pushed.connect(lambda step: journal.append_step(step.record()))
    world.history.undone.connect(lambda step: journal.append_undo(step.record))
    world.history.redone.connect(lambda step: journal.append_redo(step.record))
    for move in random_moves(random.Random(1), steps):
        world.do(move)
    return world, journal


def recovered(path: Path) -> World:
    """Return what a recovery makes of a journal."""
    content = read_journal(path)
    assert content.lost_bytes == 0
    base, entries = content.replay_from(lambda path: None)
    world = World()
    if base.state is not None:
        restore_snapshot(world.workspace, base.state)
    for entry in entries:
        replay_entry(world.workspace, world.history, entry, set())
    return world


def make_short(world: World, journal: Journal) -> None:
    mark, snapshot = journal.mark(None, ""), take_snapshot(world.workspace)
    short = write_short(journal.path, mark, snapshot, lambda: journal.nbytes, lambda: False)
    for move in random_moves(random.Random(2), 3):
        world.do(move)
    journal.switch_to(short)


class CrashingDisk(FailingDisk):
    """Copies the folder before every call to the disk: what a program that is killed there leaves behind."""

    def __init__(self, folder: Path, copies: Path) -> None:
        super().__init__()
        self.folder, self.copies = folder, copies
        self._copying = False

    def tick(self) -> None:
        if not self._copying:
            super().tick()
            self._copying = True
            shutil.copytree(self.folder, self.copies / str(self.count))
            self._copying = False


def test_a_crash_at_any_call_to_the_disk_leaves_one_whole_journal(tmp_path: Path) -> None:
    world, journal = begun(tmp_path / "j")
    states = [world.state()]
    world.history.pushed.connect(lambda step: states.append(world.state()))
    copies = tmp_path / "copies"
    with CrashingDisk(journal.path.parent, copies) as disk:
        make_short(world, journal)
    assert disk.count > 10
    reached = 0
    for n in range(1, disk.count + 1):
        (path,) = (copies / str(n)).glob("*.mvj")
        found = states.index(recovered(path).state())
        assert found >= reached, "nothing that was found is lost later"
        reached = found
    assert recovered(journal.path).state() == world.state() == states[-1]
    journal.close(delete=True)
    assert list(journal.path.parent.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_leaves_the_journal_as_it_was_or_short(tmp_path: Path, number: int) -> None:
    world, journal = begun(tmp_path)
    failed = 0
    with FailingDisk() as disk:
        disk.number = number
        for _ in disk.tries():
            mark, snapshot = journal.mark(None, ""), take_snapshot(world.workspace)
            try:
                journal.switch_to(write_short(journal.path, mark, snapshot, lambda: journal.nbytes, lambda: False))
            except WorkspaceError:
                failed += 1
            count, disk.count, disk.fail_at = disk.count, 0, -1
            assert os.listdir(tmp_path) == [journal.path.name]
            for move in random_moves(random.Random(failed), 1):
                world.do(move)
            assert recovered(journal.path).state() == world.state()
            disk.count, disk.fail_at = count, failed + 1
    assert failed > 5
    journal.close(delete=True)


def test_it_stays_as_long_as_its_work_and_keeps_undo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_short, "_KEPT_BYTES", 100)
    world, journal = begun(tmp_path, 8)
    sizes = []
    for n in range(12):
        for move in random_moves(random.Random(n), 150):
            if move.kind in ("paint", "erase"):
                world.do(move)
        make_short(world, journal)
        sizes.append(journal.nbytes)
    assert sizes[-1] < 2 * sizes[2], "it does not grow with what was done"
    again = recovered(journal.path)
    assert 20 <= len(again.history.done) < len(world.history.done)
    for _ in range(20):
        world.history.undo()
        again.history.undo()
        assert again.state() == world.state()
    journal.close(delete=True)


def test_what_is_not_wanted_any_more_is_removed(tmp_path: Path) -> None:
    world, journal = begun(tmp_path)
    mark, snapshot = journal.mark(None, ""), take_snapshot(world.workspace)
    with pytest.raises(WorkspaceError):
        write_short(journal.path, mark, snapshot, lambda: journal.nbytes, lambda: True)
    assert os.listdir(tmp_path) == [journal.path.name]
    journal.close(delete=True)


def test_what_a_killed_program_wrote_beside_its_journal_is_removed(tmp_path: Path) -> None:
    here = this_process()
    for name, owner in (("w", Owner(here.pid, here.started - 1000, here.host, here.node)), ("x", here)):
        path = journal_path(tmp_path, name, owner)
        path.with_name(path.name + journal_short.SUFFIX).write_bytes(b"MV")
    assert find_journals(tmp_path) == []
    (left,) = tmp_path.iterdir()
    assert left.name.startswith("x."), "that program still runs"


def test_the_offer_counts_from_the_last_save(tmp_path: Path) -> None:
    world, journal = begun(tmp_path, 12)
    path = tmp_path / "a.mvw"
    at = journal.begin_save()
    journal.append_saving(path, "id", at)
    journal.append_saved(path, "id", at)
    since = len(world.history.done)
    for move in random_moves(random.Random(5), 9):
        world.do(move)
    since = len(world.history.done) - since
    snapshot = take_snapshot(world.workspace)
    journal.switch_to(
        write_short(journal.path, journal.mark(path, "id"), snapshot, lambda: journal.nbytes, lambda: False)
    )
    content = read_journal(journal.path, arrays=False)
    assert (content.bases[-1].path, content.bases[-1].save_id) == (path, "id")
    assert content.unsaved(lambda path: None) == since > 0
    journal.close(delete=True)


def test_a_state_that_cannot_be_read_is_not_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, journal = begun(tmp_path)
    make_short(world, journal)
    journal.close(delete=False)
    before = journal.path.read_bytes()

    def broken(*_: Any) -> None:
        raise TypeError("a field that only a newer version knows")

    monkeypatch.setattr("medviewer.io.journal_content.from_manifest", broken)
    with pytest.raises(WorkspaceError):
        read_journal(journal.path)
    assert journal.path.read_bytes() == before
