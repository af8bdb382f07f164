"""Laws of the journal: what was done is what is replayed, from any base, and damage costs the tail only."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medviewer.app.documents import replay_entry
from medviewer.core.errors import WorkspaceError
from medviewer.io.array_codec import decode, encode
from medviewer.io.journal import Journal, JournalContent, JournalHeader, read_journal
from medviewer.io.journal_short import write_short
from medviewer.io.snapshot import WorkspaceSnapshot, restore_snapshot, take_snapshot
from medviewer.io.workspace_file import read_workspace, write_workspace
from tests.editing_moves import Move, World, moves

QUICK = settings(max_examples=40, deadline=None)


@contextmanager
def journaled(world: World) -> Iterator[Journal]:
    """Write a journal of everything that happens in a world."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal.create(Path(folder), JournalHeader(workspace_id="w"))
        world.history.pushed.connect(lambda step: journal.append_step(step.record()))
        world.history.undone.connect(lambda step: journal.append_undo(step.record))
        world.history.redone.connect(lambda step: journal.append_redo(step.record))
        try:
            yield journal
        finally:
            journal.close(delete=True)


def make_short(journal: Journal, world: World, during: list[Move]) -> None:
    """Make a journal short while work goes on."""
    mark = journal.mark(None, "")
    snapshot = take_snapshot(world.workspace)
    for move in during[::2]:
        world.do(move)
    short = write_short(journal.path, mark, snapshot, lambda: journal.nbytes, lambda: False)
    for move in during[1::2]:
        world.do(move)
    journal.switch_to(short)


def replayed(content: JournalContent, start: int, snapshot: WorkspaceSnapshot | None = None) -> World:
    """Return a world in which the entries from `start` on were replayed."""
    world = World()
    if snapshot is not None:
        restore_snapshot(world.workspace, snapshot)
    for entry in content.entries[start:]:
        replay_entry(world.workspace, world.history, entry, set())
    return world


@QUICK
@given(moves("undo", "undo", "undo", "redo", "redo"))
def test_replay_equals_memory(work: list[Move]) -> None:
    world = World()
    with journaled(world) as journal:
        for move in work:
            world.do(move)
        again = replayed(read_journal(journal.path), 0)
        assert again.state() == world.state()
        assert [s.label for s in again.history.done] == [s.label for s in world.history.done]
        while world.history.can_undo:
            assert again.history.undo() == world.history.undo()
            assert again.state() == world.state()


@QUICK
@given(moves("undo", "redo"), moves("undo", "undo", "redo"), moves("undo", "undo", "redo", "redo"))
def test_a_saved_file_and_the_journal_after_it_equal_memory(
    before: list[Move], during: list[Move], after: list[Move]
) -> None:
    """Work goes on while the file is written; undo and redo reach back over the save."""
    world = World()
    with journaled(world) as journal, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w.mvw"
        for move in before:
            world.do(move)
        at = journal.begin_save()
        snapshot = take_snapshot(world.workspace)
        for move in during:
            world.do(move)
        write_workspace(path, snapshot)
        journal.append_saved(path, snapshot.save_id, at)
        for move in after:
            world.do(move)
        content = read_journal(journal.path)
        saved = replayed(content, content.bases[-1].position, read_workspace(path))
    assert saved.state() == world.state()
    assert replayed(content, 0).state() == world.state(), "and from the beginning"


@QUICK
@given(st.lists(st.tuples(moves("undo", "undo", "redo"), moves("undo", "undo", "redo")), min_size=1, max_size=3))
def test_a_journal_that_was_made_short_equals_memory(work: list[tuple[list[Move], list[Move]]]) -> None:
    """Made short again and again, while work goes on; undo reaches back over it."""
    world = World()
    with journaled(world) as journal:
        for before, during in work:
            for move in before:
                world.do(move)
            while world.history.can_redo:
                world.history.redo()
            make_short(journal, world, during)
        content = read_journal(journal.path)
        (base,) = content.bases
        again = replayed(content, base.position, base.state)
        assert again.state() == world.state()
        assert content.unsaved(lambda path: None) >= len(world.history.done)
        assert [s.label for s in again.history.done] == [s.label for s in world.history.done]
        while world.history.can_undo:
            assert again.history.undo() == world.history.undo()
            assert again.state() == world.state()
        while world.history.can_redo:
            assert again.history.redo() == world.history.redo()
            assert again.state() == world.state()


@QUICK
@given(moves("undo", "redo"), moves("undo", "redo"), moves("undo", "undo", "redo"))
def test_a_save_that_begins_before_the_switch_and_ends_after_it_is_a_base(
    before: list[Move], during: list[Move], after: list[Move]
) -> None:
    world = World()
    with journaled(world) as journal, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w.mvw"
        for move in before:
            world.do(move)
        while world.history.can_redo:
            world.history.redo()
        mark, snapshot = journal.mark(None, ""), take_snapshot(world.workspace)
        for move in during:
            world.do(move)
        saved, at = take_snapshot(world.workspace), journal.begin_save()
        journal.append_saving(path, saved.save_id, at)
        journal.switch_to(write_short(journal.path, mark, snapshot, lambda: journal.nbytes, lambda: False))
        for move in after:
            world.do(move)
        write_workspace(path, saved)
        journal.append_saved(path, saved.save_id, at)
        content = read_journal(journal.path)
        assert replayed(content, content.bases[0].position, content.bases[0].state).state() == world.state()
        assert [base.save_id for base in content.bases[1:]] == [saved.save_id] * 2
        for base in content.bases[1:]:
            assert replayed(content, base.position, read_workspace(path)).state() == world.state()


@QUICK
@given(st.integers(2, 6), st.integers(0, 6), st.lists(st.booleans(), max_size=10))
def test_undo_and_redo_reach_back_over_a_save(steps: int, undone: int, then: list[bool]) -> None:
    world = World()
    with journaled(world) as journal:
        for n in range(steps):
            world.do(Move("result", (n, n, n, n, 0, 0, 0, 0)))
        for _ in range(min(undone, steps)):
            world.history.undo()
        snapshot = take_snapshot(world.workspace)
        journal.append_saved(Path("w.mvw"), snapshot.save_id, journal.begin_save())
        for redo in then:
            world.do(Move("redo" if redo else "undo", (0,) * 8))
        content = read_journal(journal.path)
        again = replayed(content, content.bases[-1].position, snapshot)
        assert again.state() == world.state()
        while again.history.can_undo:
            assert again.history.undo() == world.history.undo()
            assert again.state() == world.state()


@QUICK
@given(moves("undo", "redo"), st.data())
def test_damage_costs_the_tail_only(work: list[Move], data: st.DataObject) -> None:
    world = World()
    states: list[dict[str, Any]] = [world.state()]
    with journaled(world) as journal:
        for move in work:
            entries = len(read_journal(journal.path, arrays=False).entries)
            world.do(move)
            if len(read_journal(journal.path, arrays=False).entries) > entries:
                states.append(world.state())
        good = journal.path.read_bytes()
        head = read_journal(journal.path).good_bytes if len(states) == 1 else None
        damage = data.draw(st.sampled_from(["cut", "flip", "zero", "repeat"]))
        position = data.draw(st.integers(0, len(good) - 1))
        bad = bytearray(good)
        if damage == "cut":
            del bad[position:]
        elif damage == "flip":
            bad[position] ^= 1 << data.draw(st.integers(0, 7))
        elif damage == "zero":
            bad[position : position + 512] = bytes(len(bad[position : position + 512]))
        else:
            bad[position:position] = bad[max(0, position - 512) : position]
        journal.path.write_bytes(bad)
        try:
            content = read_journal(journal.path)
        except WorkspaceError:
            return
    assert head is None or content.good_bytes <= head
    assert good.startswith(bytes(bad[: content.good_bytes])), "nothing that was read had been damaged"
    assert content.lost_bytes == len(bad) - content.good_bytes
    assert replayed(content, 0).state() == states[len(content.entries)]


@settings(max_examples=150, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.int16, np.int32, np.float32, np.bool_]),
        hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=40),
        fill=st.just(0),
    ),
    st.booleans(),
)
def test_arrays_come_back_as_they_were(array: np.ndarray, compress: bool) -> None:
    description, data = encode(array, compress)
    again = decode(description, data, array.shape)
    assert again.dtype == array.dtype
    np.testing.assert_array_equal(again, array)
    assert again.flags.writeable


@pytest.mark.parametrize("runs", [1, 7, 5000, 400_000])
def test_label_maps_are_stored_as_runs_when_that_pays(runs: int) -> None:
    labels = np.zeros(1_000_000, np.uint16)
    labels[np.random.default_rng(runs).integers(0, labels.size, runs)] = 3
    description, data = encode(labels.reshape(100, 100, 100))
    np.testing.assert_array_equal(decode(description, data).ravel(), labels)
    assert len(data) < labels.nbytes


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_damaged_arrays_are_refused_or_whole(data: st.DataObject) -> None:
    labels = np.zeros((20, 30, 40), np.uint16)
    labels[3:9, 4:20, 5:30] = 7
    description, good = encode(labels)
    bad = bytearray(good)
    bad[data.draw(st.integers(0, len(bad) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    description = description | data.draw(
        st.sampled_from([{}, {"runs": 10**9}, {"shape": [10**6, 10**6, 10**6]}, {"dtype": "O"}, {"coding": "x"}])
    )
    try:
        again = decode(description, bytes(bad))
    except WorkspaceError:
        return
    assert again.nbytes == labels.nbytes
