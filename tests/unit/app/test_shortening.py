"""A long session without a save: its journal stays short, and a crash loses nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.app import shortening
from medviewer.app.context import AppContext
from medviewer.core.provenance import Provenance
from medviewer.core.volume import Volume
from medviewer.editing.tool import PointerEvent
from medviewer.io.journal import read_journal
from tests.crashes import crash

LONG = 30_000


def dab(app: AppContext, volume: Volume, n: int, phases: tuple[str, ...] = ("press", "release")) -> None:
    lps = tuple(float(v) for v in volume.geometry.index_to_lps((8 + n * 7 % 40, 8 + n * 5 % 40, n % 20)))
    modifiers = frozenset({"ctrl"}) if n // 40 % 2 else frozenset()
    for phase in phases:
        app.router.pointer(PointerEvent(phase, lps, 2, modifiers))  # type: ignore[arg-type]  # literals


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortening, "LONG_BYTES", LONG)


def is_short(app: AppContext) -> bool:
    assert app.journaling.journal is not None
    return read_journal(app.journaling.journal.path, arrays=False).bases[-1].inside


def let_happen(app: AppContext, pump: Any) -> None:
    """Let what was posted so far happen."""
    posted: list[bool] = []
    app.post(lambda: posted.append(True))
    pump.until(lambda: bool(posted))


def begin(app: AppContext, pump: Any, study: Path) -> Volume:
    pump.finish(app.studies.scan([study], open_best=True))
    pump.until(lambda: app.workspace.active is not None and not app.jobs.running)
    volume = app.workspace.active
    assert volume is not None
    app.router.activate("brush")
    return volume


def draw_until_long(app: AppContext, volume: Volume) -> None:
    n = 0
    while app.journaling.journal is None or app.journaling.journal.nbytes <= LONG:
        assert n < 1000
        dab(app, volume, n)
        n += 1


def test_a_crash_after_the_journal_was_made_short_loses_nothing(
    short: None, make_app: Callable[[], AppContext], pump: Any, study: Path, tmp_path: Path
) -> None:
    app = make_app()
    volume = begin(app, pump, study)
    app.workspace.add_run(Provenance(task="lungs"))
    app.segments.add(volume.id, "Lesion")
    pump.finish(app.documents.save(tmp_path / "a.mvw"))
    pump.until(lambda: app.documents.path is not None)
    done = len(app.history.done)
    draw_until_long(app, volume)
    pump.until(lambda: is_short(app))
    dab(app, volume, 50)
    steps = len(app.history.done) - done
    app.undo()
    app.undo()
    before = [group.labels.copy() for group in app.workspace.segmentation(volume.id).groups]
    names = [step.label for step in app.history.done]
    crash(app)

    again = make_app()
    (found,) = again.documents.recoverable()
    assert found.steps == steps + 2
    again.documents.recover(found)
    pump.until(lambda: again.documents.path == tmp_path / "a.mvw")
    now = [group.labels for group in again.workspace.segmentation(volume.id).groups]
    assert all(np.array_equal(a, b) for a, b in zip(before, now, strict=True))
    kept = [step.label for step in again.history.done]
    assert len(kept) >= 20
    assert kept == names[-len(kept) :]
    assert again.workspace.runs[0].task == "lungs"
    assert pump.finish(again.documents.save(tmp_path / "a.mvw")).error is None, "it is the file it knows"


def test_a_stroke_in_the_hand_and_a_step_taken_back_wait_for_the_next(
    short: None, make_app: Callable[[], AppContext], pump: Any, study: Path
) -> None:
    app = make_app()
    volume = begin(app, pump, study)
    draw_until_long(app, volume)
    dab(app, volume, 3, ("press",))
    let_happen(app, pump)
    assert not is_short(app)
    app.router.key("cancel")
    dab(app, volume, 4)
    app.history.undo()
    let_happen(app, pump)
    assert not is_short(app)
    dab(app, volume, 5)
    pump.until(lambda: is_short(app))


def test_nothing_is_left_when_the_work_ends_meanwhile(
    short: None, make_app: Callable[[], AppContext], pump: Any, study: Path
) -> None:
    app = make_app()
    volume = begin(app, pump, study)
    draw_until_long(app, volume)
    folder = app.journaling.folder
    assert folder is not None
    let_happen(app, pump)
    app.close()
    assert list(folder.iterdir()) == []
