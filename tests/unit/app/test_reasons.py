"""Why a task does not fit is said in a line that one reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medviewer.api.plugin import TaskInfo
from medviewer.app.run_tasks import cannot, run_task, why_not
from medviewer.core.errors import InputError
from medviewer.jobs.job import NullContext
from medviewer.phantoms import spheres_volume
from tests.picture_volumes import film, photo

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


def test_G14_a_task_for_volumes_refuses_a_slice_a_picture_and_a_film_in_words() -> None:
    volume = spheres_volume().volume
    i, j, _ = volume.geometry.size
    one = replace(volume, array=volume.array[:1], geometry=replace(volume.geometry, size=(i, j, 1)))
    assert cannot(TASK, volume) == why_not(TASK, volume) == ""
    assert cannot(TASK, one) == "needs a volume, this is a single slice"
    assert cannot(TASK, photo()) == "needs a volume, this is a picture"
    assert cannot(TASK, film()) == "needs a volume, this is a film"
    assert "size of a voxel" in cannot(TASK, replace(volume, in_mm=False))
    for_both = replace(TASK, pictures=True)
    assert not any(cannot(for_both, v) for v in (volume, one, photo(), film()))
    assert cannot(replace(for_both, min_size=(1, 1, 3)), one) == "needs at least 1×1×3 voxels"


def test_G14_a_run_is_refused_whoever_asks_for_it() -> None:
    with pytest.raises(InputError, match="T cannot run on “Run 1”: it needs a volume, this is a film") as refused:
        run_task(NullContext(), None, None, TASK, {"volume": film()})  # type: ignore[arg-type]  # not reached
    assert refused.value.code == "E_MODEL_INPUT"


def test_G23_a_volume_in_colour_is_nothing_for_a_task_on_grey_values() -> None:
    volume = spheres_volume().volume
    colors = np.repeat(np.zeros(volume.array.shape, np.uint8)[..., np.newaxis], 3, axis=-1)
    assert cannot(TASK, replace(volume, colors=colors)) == "works on grey values, this is in colour"


def test_a_volume_that_is_nowhere_in_the_patient_is_not_analyzed_unasked() -> None:
    loose = replace(spheres_volume().volume, in_patient=False)
    assert "place in the patient" in why_not(TASK, loose)
    assert cannot(TASK, loose) == ""


def test_a_classifier_of_pictures_is_not_run_on_a_volume() -> None:
    task = replace(TASK, kind="classification", pictures=True)
    deep = spheres_volume().volume
    assert why_not(task, deep) == "made for single pictures"
    assert why_not(task, replace(deep, stacking="number")) == ""
