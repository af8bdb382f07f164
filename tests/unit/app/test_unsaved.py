"""What is being saved is not saved yet; what has a mask gets no second one."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from medviewer.app.context import AppContext
from medviewer.core.annotation import Box3D
from medviewer.core.geometry import vec3
from medviewer.core.volume import Volume


def test_work_counts_as_unsaved_until_the_file_was_read_back(
    app: AppContext, pump: Any, opened: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.segments.add(opened.id, "Mine")
    leave = threading.Event()
    monkeypatch.setattr("medviewer.io.workspace_file.write_workspace", lambda *_: leave.wait(20))
    job = app.documents.save(tmp_path / "w.mvw")
    assert not app.workspace.dirty
    assert app.has_unsaved_work, "closing now would lose it"
    leave.set()
    pump.finish(job)
    assert job.error is None
    assert not app.has_unsaved_work


def test_a_finding_with_a_mask_gets_no_second_one(app: AppContext, opened: Volume) -> None:
    first, second = (app.segments.add(opened.id, name) for name in ("Nodule", "Other"))
    center = opened.geometry.center_lps
    box = Box3D(label="Nodule", lower=center, upper=vec3([c + 5 for c in center]), segment=first.value)
    app.workspace.set_boxes(opened.id, [box])
    segmentation = app.workspace.segmentation(opened.id)
    assert segmentation.active == second.value
    assert app.findings.make_mask(opened.id, box.id) is None
    assert segmentation.active == first.value
    assert len(segmentation.segments) == 2
