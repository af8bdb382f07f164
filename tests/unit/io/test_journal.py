from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.errors import WorkspaceError
from medviewer.core.geometry import Geometry
from medviewer.core.provenance import Provenance
from medviewer.core.record import StepRecord
from medviewer.core.volume import Volume
from medviewer.io import journal_owner
from medviewer.io.journal import Journal, JournalEntry, JournalHeader, discard_journal, find_journals, read_journal
from medviewer.io.journal_format import MAGIC
from medviewer.io.volume_ref import VolumeRef

GRID = Geometry((5, 4, 3), (0.7, 0.8, 2.5), (1.25, -3.0, 1e-9))


def _volume(tmp_path: Path) -> VolumeRef:
    series = SeriesRef(key="1.2#1", series_instance_uid="1.2", files=(tmp_path / "ä 1.dcm",), size=(5, 4, 3))
    return VolumeRef.of(Volume(np.zeros((3, 4, 5), np.int16), GRID, "CT", "CT", "HU", series), (tmp_path,))


def _step(n: int) -> StepRecord:
    rng = np.random.default_rng(n)
    arrays = {"m0": rng.integers(0, 255, 7).astype(np.uint8), "b0": rng.integers(0, 9, 3).astype(np.uint16)}
    return StepRecord("voxels", {"n": n, "label": f"Brush {n}"}, arrays)


def _header() -> JournalHeader:
    return JournalHeader(workspace_id="abc", title="CT chest, 133 slices")


def _carried(entries: tuple[JournalEntry, ...]) -> list[tuple[str, int | None]]:
    return [(e.kind, e.step.meta["n"] if e.step else None) for e in entries]


def _abandon(journal: Journal) -> Path:
    """Leave a journal as a killed program would: closed, and owned by a process that is gone."""
    journal.close(delete=False)
    owner = journal_owner.this_process()
    orphan = journal_owner.journal_path(
        journal.path.parent, "abc", journal_owner.Owner(owner.pid, owner.started - 1000, owner.host, owner.node)
    )
    os.rename(journal.path, orphan)
    return orphan


def test_everything_that_was_appended_is_read_again(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path / "j", _header(), [_volume(tmp_path)])
    journal.append_step(_step(1))
    journal.append_step(_step(2))
    journal.append_undo(lambda: _step(2))
    journal.append_redo(lambda: _step(2))
    journal.append_run(Provenance(task="lungs", parameters={"upper": -400.0}))
    journal.append_closed("v")
    journal.close(delete=False)

    content = read_journal(journal.path)
    assert content.header == _header() or content.header.created == _header().created
    assert [e.kind for e in content.entries] == ["volume", "push", "push", "undo", "redo", "run", "closed"]
    assert content.lost_bytes == 0
    volume = content.entries[0].volume
    assert volume is not None
    assert volume.geometry == GRID
    assert volume.series == _volume(tmp_path).series
    assert volume.sources == (tmp_path,)
    for n in (1, 2):
        step = content.entries[n].step
        assert step is not None
        assert (step.kind, step.meta) == ("voxels", _step(n).meta)
        for name, array in _step(n).arrays.items():
            np.testing.assert_array_equal(step.arrays[name], array)
            assert step.arrays[name].dtype == array.dtype
    assert content.entries[5].run == Provenance(task="lungs", parameters={"upper": -400.0})
    assert content.unsaved(lambda path: None) == 4


def test_a_step_is_in_the_file_when_append_returns(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, _header())
    for n in range(3):
        journal.append_step(_step(n))
        assert len(read_journal(journal.path).entries) == n + 1
    journal.close(delete=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_only_the_user_may_read_it(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path / "j", _header())
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(journal.path.parent.stat().st_mode) == 0o700
    journal.close(delete=True)


def test_steps_around_a_save_can_be_replayed_from_both_bases(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, _header())
    journal.append_step(_step(1))
    journal.append_step(_step(2))
    journal.append_undo(lambda: _step(2))
    journal.append_saved(tmp_path / "a.mvw", "first", journal.begin_save())
    journal.append_redo(lambda: _step(2))
    journal.append_undo(lambda: _step(2))
    journal.append_undo(lambda: _step(1))
    journal.append_redo(lambda: _step(1))
    journal.close(delete=False)

    content = read_journal(journal.path)
    base, entries = content.replay_from(lambda path: "first")
    assert base.path == tmp_path / "a.mvw"
    assert _carried(entries) == [("redo", 2), ("undo", None), ("undo", 1), ("redo", None)]
    base, entries = content.replay_from(lambda path: None)
    assert base.path is None
    assert len(entries) == 7
    assert content.unsaved(lambda path: None) == 4


def test_work_during_a_save_comes_after_its_snapshot(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, _header())
    journal.append_step(_step(1))
    at = journal.begin_save()
    journal.append_undo(lambda: _step(1))
    journal.append_step(_step(2))
    journal.append_saved(tmp_path / "a.mvw", "id", at)
    journal.append_undo(lambda: _step(2))
    journal.close(delete=False)
    content = read_journal(journal.path)
    assert _carried(content.replay_from(lambda path: "id")[1]) == [("undo", 1), ("push", 2), ("undo", None)]
    assert content.unsaved(lambda path: None) == 3


def test_a_save_that_failed_leaves_the_old_base(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, _header())
    journal.append_step(_step(1))
    journal.begin_save()
    journal.append_undo(lambda: _step(1))
    journal.append_redo(lambda: _step(1))
    journal.close(delete=False)
    content = read_journal(journal.path)
    assert [base.path for base in content.bases] == [None]
    assert [e.kind for e in content.entries] == ["push", "undo", "redo"]


@pytest.mark.parametrize("reached", [True, False])
def test_a_save_that_was_cut_off_is_the_base_if_it_reached_the_disk(tmp_path: Path, reached: bool) -> None:
    path = tmp_path / "a.mvw"
    journal = Journal.create(tmp_path, JournalHeader(workspace_id="abc", base_path=path, base_save_id="old"))
    journal.append_step(_step(1))
    journal.append_saving(path, "new", journal.begin_save())
    journal.append_undo(lambda: _step(1))
    journal.close(delete=False)
    content = read_journal(journal.path)
    there = "new" if reached else "old"
    base, entries = content.replay_from(lambda path: there)
    assert base.save_id == there
    assert _carried(entries) == ([("undo", 1)] if reached else [("push", 1), ("undo", 1)])
    assert content.unsaved(lambda path: there) == len(entries)


def test_a_journal_of_the_version_before_goes_on_as_one_of_this(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, _header())
    journal.append_step(_step(1))
    orphan = _abandon(journal)
    data = bytearray(orphan.read_bytes())
    data[7] = 1
    orphan.write_bytes(data)
    taken, content = Journal.take_over(orphan)
    assert len(content.entries) == 1
    taken.append_step(_step(2))
    taken.close(delete=False)
    assert taken.path.read_bytes()[:8] == MAGIC
    assert len(read_journal(taken.path).entries) == 2


def test_a_journal_that_cannot_be_recovered_now_is_offered_again(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, _header())
    journal.append_step(_step(1))
    taken, _ = Journal.take_over(_abandon(journal))
    taken.give_back()
    assert [info.steps for info in find_journals(tmp_path)] == [1]


def test_a_base_that_was_changed_by_others_is_refused(tmp_path: Path) -> None:
    header = JournalHeader(workspace_id="abc", base_path=tmp_path / "a.mvw", base_save_id="one")
    journal = Journal.create(tmp_path, header)
    journal.append_step(_step(1))
    journal.close(delete=False)
    content = read_journal(journal.path)
    with pytest.raises(WorkspaceError, match=r"a\.mvw") as caught:
        content.replay_from(lambda path: "two")
    assert caught.value.code == "E_BASE_CHANGED"


def test_journals_of_running_programs_are_not_offered(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, _header())
    journal.append_step(_step(1))
    assert find_journals(tmp_path) == []
    orphan = _abandon(journal)
    (info,) = find_journals(tmp_path)
    assert (info.path, info.steps, info.title) == (orphan, 1, "CT chest, 133 slices")


def test_a_journal_without_unsaved_steps_is_removed(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, _header())
    journal.append_step(_step(1))
    journal.append_saved(tmp_path / "a.mvw", "id", journal.begin_save())
    orphan = _abandon(journal)
    assert find_journals(tmp_path) == []
    assert not orphan.exists()


def test_taking_over_goes_on_where_it_ended_and_only_one_can(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, _header())
    journal.append_step(_step(1))
    journal.append_step(_step(2))
    orphan = _abandon(journal)
    with orphan.open("ab") as file:
        file.write(b"MvRc torn")
    taken, content = Journal.take_over(orphan)
    assert content.lost_bytes == 9
    assert len(content.entries) == 2
    with pytest.raises(WorkspaceError):
        Journal.take_over(orphan)
    taken.append_undo(lambda: _step(2))
    taken.append_step(_step(3))
    taken.close(delete=False)
    again = read_journal(taken.path)
    assert [e.kind for e in again.entries] == ["push", "push", "undo", "push"]
    assert again.lost_bytes == 0


def test_a_crash_in_recovery_leaves_the_journal_as_it_was(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, _header())
    journal.append_step(_step(1))
    orphan = _abandon(journal)
    for _ in range(3):
        taken, content = Journal.take_over(orphan)
        assert len(content.entries) == 1
        orphan = _abandon(taken)
    assert find_journals(tmp_path)[0].steps == 1


def test_a_journal_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, _header())
    journal.append_step(_step(1))
    orphan = _abandon(journal)
    data = bytearray(orphan.read_bytes())
    data[7] += 1
    orphan.write_bytes(data)
    with pytest.raises(WorkspaceError) as caught:
        read_journal(orphan)
    assert caught.value.code == "E_NEWER"
    assert find_journals(tmp_path) == []
    assert orphan.read_bytes() == data


def test_discarding_leaves_journals_in_use_alone(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, _header())
    discard_journal(journal.path)
    assert journal.path.exists()
    orphan = _abandon(journal)
    discard_journal(orphan)
    assert not orphan.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_named_and_the_next_append_works(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, _header())
    journal.append_step(_step(1))
    assert journal._file is not None
    file = journal._file
    with open("/dev/full", "r+b", buffering=0) as full:
        journal._file = full
        with pytest.raises(WorkspaceError) as caught:
            journal.append_step(_step(2))
    assert caught.value.code == "E_DISK_FULL"
    journal._file = file
    journal.append_step(_step(3))
    journal.close(delete=False)
    content = read_journal(journal.path)
    assert [e.step.meta["n"] for e in content.entries if e.step] == [1, 3]
    assert content.lost_bytes == 0


def test_kill_9_loses_nothing_that_was_appended(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import os, sys
        from pathlib import Path
        import numpy as np
        from medviewer.core.record import StepRecord
        from medviewer.io.journal import Journal, JournalHeader
        journal = Journal.create(Path(sys.argv[1]), JournalHeader(workspace_id="abc", title="t"))
        n = 0
        while True:
            journal.append_step(StepRecord("voxels", {"n": n}, {"a": np.arange(n % 5000, dtype=np.uint16)}))
            os.write(1, f"{n}\\n".encode())
            n += 1
    """)
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    seen = -1
    while seen < 200:
        seen = int(process.stdout.readline())
    assert find_journals(tmp_path) == [], "it is in use"
    process.kill()
    rest = process.stdout.read().split()
    process.stdout.close()
    process.wait()
    last = int(rest[-1]) if rest else seen
    (info,) = find_journals(tmp_path)
    content = read_journal(info.path)
    numbers = [e.step.meta["n"] for e in content.entries if e.step]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= last + 1
    for n, entry in enumerate(content.entries):
        assert entry.step is not None
        np.testing.assert_array_equal(entry.step.arrays["a"], np.arange(n % 5000, dtype=np.uint16))
