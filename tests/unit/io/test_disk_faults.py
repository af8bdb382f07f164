"""Every n-th call to the disk fails, for every n until all goes well: the old file or the new one, never neither."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from medviewer.core.errors import MedViewerError, WorkspaceError
from medviewer.core.geometry import Geometry
from medviewer.core.record import StepRecord
from medviewer.core.segmentation import Segment
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.export.case import cases_of
from medviewer.export.exporter import run_export
from medviewer.io.journal import Journal, JournalHeader, read_journal
from medviewer.io.journal_owner import this_process
from medviewer.io.workspace_file import read_workspace, take_snapshot, write_workspace
from medviewer.jobs.job import NullContext
from tests.failing_disk import FailingDisk

Enter = Callable[[FailingDisk], FailingDisk]
GRID = Geometry((6, 5, 4), (1.0, 1.0, 2.0))


@pytest.fixture
def enter() -> Iterator[Enter]:
    """Enter a disk until the end of the test."""
    with contextlib.ExitStack() as stack:
        yield stack.enter_context


def _workspace(fill: int) -> Workspace:
    workspace = Workspace()
    workspace.add_volume(Volume(np.zeros(GRID.shape, np.int16), GRID, modality="CT", id="v"))
    segmentation = workspace.segmentation("v")
    labels = np.zeros(GRID.shape, np.uint16)
    labels[:fill] = 1
    segmentation.put_group(segmentation.new_group("g", labels))
    segmentation.put_segment(Segment(1, "s"))
    return workspace


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_save_gives_the_old_file_or_the_new_one(tmp_path: Path, enter: Enter, number: int) -> None:
    path = tmp_path / "w.mvw"
    old, new = take_snapshot(_workspace(1)), take_snapshot(_workspace(3))
    write_workspace(path, old)
    disk = enter(FailingDisk())
    disk.number = number
    codes: list[str] = []
    for _ in disk.tries():
        try:
            write_workspace(path, new)
        except WorkspaceError as error:
            codes.append(error.code)
        assert read_workspace(path).save_id in (old.save_id, new.save_id)
        assert os.listdir(tmp_path) == ["w.mvw"], "nothing is left over"
    assert len(codes) > 8
    assert set(codes) == {{errno.ENOSPC: "E_DISK_FULL", errno.EIO: "E_WRITE", errno.EACCES: "E_READ_ONLY"}[number]}
    assert read_workspace(path).save_id == new.save_id


@pytest.mark.parametrize("format_id", ["nifti", "nnunet"])
def test_an_export_is_there_or_not(tmp_path: Path, enter: Enter, format_id: str) -> None:
    cases = cases_of(_workspace(2))
    run_export(NullContext(), format_id, cases, tmp_path / "warm up")
    disk = enter(FailingDisk())
    out = tmp_path / "new" / "out"
    codes: list[str] = []
    for _ in disk.tries():
        try:
            report = run_export(NullContext(), format_id, cases, out)
        except MedViewerError as error:
            codes.append(error.code)
            assert not (tmp_path / "new").exists()  # not about the error
        else:
            assert all(path.is_file() for path in report.files)
            shutil.rmtree(tmp_path / "new")
    assert len(codes) > 8
    assert set(codes) == {"E_DISK_FULL"}


def test_what_a_killed_program_was_exporting_is_removed_by_the_next_export(tmp_path: Path) -> None:
    here = this_process()
    dead = f".1a.{here.pid}.{here.started - 1000}.{here.host}.{here.node}.partial"
    alive = f".1b.{here.pid}.{here.started}.{here.host}.{here.node}.partial"
    for name in (dead, alive, ".mine.partial"):
        (tmp_path / name / "inner").mkdir(parents=True)
    run_export(NullContext(), "nifti", cases_of(_workspace(2)), tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {alive, ".mine.partial", "out"}


def test_a_new_folder_appears_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one rename, so that no kill can come between two."""
    renamed: list[tuple[str, str]] = []
    rename = os.rename

    def watched(source: str, target: str) -> None:
        renamed.append((str(source), str(target)))
        rename(source, target)

    monkeypatch.setattr(os, "rename", watched)
    run_export(NullContext(), "nnunet", cases_of(_workspace(2)), tmp_path / "new" / "out")
    ((source, target),) = renamed
    assert target == str(tmp_path / "new" / "out")
    assert Path(source).parent == tmp_path / "new"


def test_a_journal_holds_what_it_took_and_goes_on(tmp_path: Path, enter: Enter) -> None:
    journal = Journal.create(tmp_path, JournalHeader(workspace_id="w"))
    disk = enter(FailingDisk())
    taken: list[int] = []
    rng = np.random.default_rng(0)
    for n in range(60):
        disk.count, disk.fail_at = 0, int(rng.integers(0, 3))
        with contextlib.suppress(WorkspaceError):
            journal.append_step(StepRecord("voxels", {"n": n}, {"a": np.arange(n)}))
            taken.append(n)
        content = read_journal(journal.path)
        assert [e.step.meta["n"] for e in content.entries if e.step] == taken
        assert content.lost_bytes == 0
    assert 0 < len(taken) < 60
    journal.close(delete=False)


@pytest.mark.parametrize("delay", range(6))
def test_kill_9_while_saving_leaves_a_whole_file(tmp_path: Path, delay: int) -> None:
    """A child saves over and over; it is killed at some moment after its n-th save."""
    path = tmp_path / "w.mvw"
    script = textwrap.dedent("""
        import os, sys
        from pathlib import Path
        import numpy as np
        from medviewer.core.geometry import Geometry
        from medviewer.core.segmentation import Segment
        from medviewer.core.volume import Volume
        from medviewer.core.workspace import Workspace
        from medviewer.io.workspace_file import take_snapshot, write_workspace
        grid = Geometry((60, 50, 40), (1, 1, 1))
        workspace = Workspace()
        workspace.add_volume(Volume(np.zeros(grid.shape, np.int16), grid, id="v"))
        s = workspace.segmentation("v")
        group = s.new_group()
        s.put_group(group)
        s.put_segment(Segment(1, "s"))
        for n in range(1, 10_000):
            group.labels[:] = np.random.default_rng(n).integers(0, 2, grid.shape)
            workspace.id = str(n)
            write_workspace(Path(sys.argv[1]), take_snapshot(workspace))
            os.write(1, f"{n}\\n".encode())
    """)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    for _ in range(delay * 3 + 1):
        process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    snapshot = read_workspace(path)
    expected = np.random.default_rng(int(snapshot.id)).integers(0, 2, (40, 50, 60))
    np.testing.assert_array_equal(snapshot.segmentations["v"].groups[0].labels, expected)
    assert int(snapshot.id) >= delay * 3 + 1
