"""G32: one study in two windows, one saved file in two programs: nothing of either is written over unasked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.app.context import AppContext
from medviewer.core.segmentation import Segment
from medviewer.io.workspace_file import read_save_id, read_workspace


def label(app: AppContext, name: str) -> None:
    """Add a segment of one voxel as a step of work."""
    volume = app.workspace.active
    assert volume is not None
    segmentation = app.workspace.segmentation(volume.id)
    group = segmentation.new_group(name)
    value = len(segmentation.segments) + 1
    group.labels[0, 0, value] = value
    segmentation.put_group(group)
    segmentation.put_segment(Segment(value, name, group=group.id))


def names(path: Path) -> set[str]:
    snapshot = read_workspace(path)
    return {segment.name for _, found in snapshot.segmentations.items() for segment in found.segments}


def open_in(app: AppContext, pump: Any, path: Path) -> None:
    assert pump.finish(app.documents.open(path)).error is None
    pump.until(lambda: not app.jobs.running)


@pytest.fixture
def saved(app: AppContext, pump: Any, opened: object, tmp_path: Path) -> Path:
    label(app, "first")
    path = tmp_path / "work.mvw"
    assert pump.finish(app.documents.save(path)).error is None
    return path


def test_G32_the_second_to_save_is_told_and_nothing_is_lost(
    app: AppContext, make_app: Callable[[], AppContext], pump: Any, saved: Path
) -> None:
    other = make_app()
    open_in(other, pump, saved)
    label(other, "from the other window")
    assert pump.finish(other.documents.save(saved)).error is None

    label(app, "from this window")
    app.workspace.dirty = True
    job = pump.finish(app.documents.save(saved))
    assert job.error is not None
    assert getattr(job.error, "code", "") == "E_CHANGED"
    assert app.workspace.dirty, "the work of this window is still unsaved"
    assert names(saved) == {"first", "from the other window"}
    elsewhere = saved.with_name("mine.mvw")
    assert pump.finish(app.documents.save(elsewhere)).error is None
    assert names(elsewhere) == {"first", "from this window"}
    assert pump.finish(app.documents.save(elsewhere)).error is None, "its own file may be saved again"


def test_G32_a_file_that_is_gone_is_saved_again(app: AppContext, pump: Any, saved: Path) -> None:
    saved.unlink()
    assert pump.finish(app.documents.save(saved)).error is None
    assert read_save_id(saved)


ELSEWHERE = """
import sys
from pathlib import Path
from medviewer.io.journal import Journal
from medviewer.io.journal_content import JournalHeader
header = JournalHeader(workspace_id="w" * 32, base_path=Path(sys.argv[2]), base_save_id="x")
journal = Journal.create(Path(sys.argv[1]), header)
print("ready", flush=True)
sys.stdin.read()
"""


def test_G32_opening_what_another_program_has_open_warns(app: AppContext, pump: Any, saved: Path) -> None:
    assert app.journaling.folder is not None
    program = subprocess.Popen(
        [sys.executable, "-c", ELSEWHERE, str(app.journaling.folder), str(saved)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert program.stdout is not None
    try:
        assert program.stdout.readline() == "ready\n"
        open_in(app, pump, saved)
        assert [m.details for m in app.messages.messages].count("W_OPEN_TWICE") == 1
    finally:
        program.communicate("")
    open_in(app, pump, saved)
    assert [m.details for m in app.messages.messages].count("W_OPEN_TWICE") == 1, "that program is gone"


def test_G32_one_study_in_two_windows_has_two_journals(
    app: AppContext, make_app: Callable[[], AppContext], pump: Any, opened: object, study: Path
) -> None:
    other = make_app()
    pump.finish(other.studies.scan([study], open_best=True))
    pump.until(lambda: other.workspace.active is not None and not other.jobs.running)
    label(app, "here")
    label(other, "there")
    for found, name in ((app, "here"), (other, "there")):
        volume = found.workspace.active
        assert volume is not None
        assert [s.name for s in found.workspace.segmentation(volume.id).segments] == [name]
        assert np.count_nonzero(found.workspace.segmentation(volume.id).mask(1)) == 1
    assert app.documents.recoverable() == other.documents.recoverable() == ()
