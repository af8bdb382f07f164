"""Why a task does not fit is said in a line that one reads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medviewer.api.plugin import TaskInfo
from medviewer.app.run_tasks import why_not
from medviewer.phantoms import spheres_volume

TASK = TaskInfo(id="t", title="T", kind="segmentation", inputs={"volume": "volume"}, entry="m:f")


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"CHEST"}, "made for chest, this is head"),
        ({"CHEST", "HEAD"}, ""),
        ({"CHEST", "LUNG", "THORAX", "CHESTABDOMEN"}, "made for other parts of the body, this is head"),
    ],
)
def test_a_task_for_other_parts_of_the_body(parts: set[str], reason: str) -> None:
    volume = replace(spheres_volume().volume, body_part_examined="HEAD")
    assert why_not(replace(TASK, body_parts=frozenset(parts)), volume) == reason


def test_a_part_that_names_none_excludes_no_task() -> None:
    volume = replace(spheres_volume().volume, body_part_examined="PARTIALBODY")
    assert why_not(replace(TASK, body_parts=frozenset({"CHEST"})), volume) == ""
