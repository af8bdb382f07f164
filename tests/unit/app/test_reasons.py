"""Why a task does not fit is said in a line that one reads."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from medviewer.ai.body_check import BodyLook
from medviewer.api.plugin import TaskInfo
from medviewer.app.run_tasks import cannot, plan, run_task, why_not
from medviewer.core.errors import InputError
from medviewer.jobs.job import NullContext
from medviewer.phantoms import spheres_volume
from medviewer.plugin_host.registry import PluginRegistry
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


@pytest.mark.parametrize(
    ("name", "seen", "reason"),
    [
        ("AX T2 FLAIR", "T1", ""),
        ("T1 post", "FLAIR", "made for FLAIR, this looks like T1"),
        ("Series 4", "FLAIR", ""),
        ("Series 4", "T2", "made for FLAIR, this looks like T2"),
        ("Series 4", "", "made for FLAIR, this does not look like it"),
        ("Series 4", None, ""),
    ],
)
def test_a_task_for_one_contrast(name: str, seen: str | None, reason: str) -> None:
    volume = replace(spheres_volume().volume, name=name, modality="MR")
    look = None if seen is None else BodyLook(frozenset(), "", "", seen)
    assert why_not(replace(TASK, contrasts=frozenset({"FLAIR"})), volume, look) == reason


@pytest.mark.parametrize(
    ("auto", "modality", "wanted"),
    [(True, "MR", True), (False, "MR", False), ({"MR"}, "MR", True), ({"MR"}, "CT", False), ({"MR"}, "", False)],
)
def test_a_task_runs_by_itself_for_the_modalities_it_names(auto: bool | set[str], modality: str, wanted: bool) -> None:
    task = replace(TASK, auto=auto if isinstance(auto, bool) else frozenset(auto))
    volume = replace(spheres_volume().volume, modality=modality)
    registry = cast("PluginRegistry", SimpleNamespace(tasks=(task,)))
    (item,) = plan(registry, volume, every=True)
    assert item.fits
    assert item.chosen == item.by_itself == wanted
    assert len(plan(registry, volume)) == wanted


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
