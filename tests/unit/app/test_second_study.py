"""Opening something while an image is open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from medviewer.app.context import AppContext
from medviewer.core.volume import Volume
from medviewer.phantoms import spheres_volume, write_series


def _write(folder: Path, seed: int, count: int = 1) -> Path:
    for n in range(count):
        phantom = spheres_volume()
        changed = replace(phantom.volume, array=phantom.volume.array + seed + n)
        write_series(replace(phantom, volume=changed), folder / f"series{n}", seed=seed + n)
    return folder


def test_one_series_opens_beside_the_open_one(app: AppContext, pump: Any, opened: Volume, tmp_path: Path) -> None:
    pump.finish(app.studies.scan([_write(tmp_path / "second", 1)], open_best=True))
    pump.until(lambda: len(app.workspace.volumes) == 2 and not app.jobs.running)
    assert app.workspace.active is not opened
    assert app.workspace.has_volume(opened.id)


def test_an_empty_folder_is_not_recent(app: AppContext, pump: Any, opened: Volume, tmp_path: Path) -> None:
    recent = app.studies.recent
    (tmp_path / "empty").mkdir()
    pump.finish(app.studies.scan([tmp_path / "empty"], open_best=True))
    assert app.studies.recent == recent
    assert app.workspace.active is opened
    assert app.messages.messages[-1].level == "warning"
