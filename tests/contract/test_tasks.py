"""Every bundled task keeps the plugin contract, on a small phantom."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.api import BoxResult, LabelResult, NullContext, Prompt, Region, TransformResult
from medviewer.api.testing import check_task
from medviewer.plugin_host.loader import TaskSource, load_task, params_type
from medviewer.plugin_host.manifest import read_manifest
from tests.nninteractive_server import Held, serving

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


def _sources() -> list[TaskSource]:
    manifests = [*sorted(PLUGINS.glob("*/plugin.toml")), *sorted(PLUGINS.glob("*.py"))]
    return [TaskSource(info, path.parent) for path in manifests for info in read_manifest(path).tasks]


SOURCES = [source for source in _sources() if source.info.kind != "interactive"]
INTERACTIVE = [source for source in _sources() if source.info.kind == "interactive"]
#: Coarse and quick: the contract is the same.
QUICK: dict[str, dict[str, object]] = {
    "lung_nodules_classic": {"smallest_mm": 16.0, "largest_mm": 20.0},
    "register_rigid": {"finest_mm": 6.0, "samples": 5000, "iterations": 10},
    "register_affine": {"finest_mm": 6.0, "samples": 5000, "iterations": 10},
}
#: What each kind of task must return.
RESULTS = {"segmentation": LabelResult, "detection": BoxResult, "registration": TransformResult}


@pytest.fixture
def server() -> Iterator[str]:
    with serving(Held()) as address:
        yield address


def test_the_bundled_tasks_are_known_by_their_ids() -> None:
    assert {source.info.id for source in SOURCES} >= {
        "ct_body", "ct_lungs", "ct_bones", "lung_nodules_classic", "lesion_mask", "register_rigid", "register_affine",
        "lung_threshold.lungs",
    }  # fmt: skip


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.info.id)
def test_task_keeps_the_contract(source: TaskSource) -> None:
    task = load_task(source)
    params = params_type(task, source.info)(**QUICK.get(source.info.id, {}))

    # Generous, because test machines are busy; on an idle one the longest silence is a third of a second.
    results = check_task(task, source.info, params=params, silence_s=5.0)

    assert len(results) == 1
    assert isinstance(results[0], RESULTS[source.info.kind])
    if isinstance(results[0], LabelResult):
        assert results[0].segments, "nothing was found on a phantom that has everything"


@pytest.mark.parametrize("source", INTERACTIVE, ids=lambda source: source.info.id)
def test_session_keeps_the_contract(source: TaskSource, server: str) -> None:
    from medviewer.phantoms import spheres_volume

    phantom = spheres_volume()
    task: Any = load_task(source)
    assert task.check().ok
    given = {"server": server, "may_send": True} if source.info.id == "nninteractive_server" else {}
    session = task.open(NullContext(), phantom.volume, params_type(task, source.info)(**given))
    assert "point" in session.prompts
    shown = np.zeros(phantom.volume.array.shape, bool)
    for nodule in phantom.nodules[:2]:
        region, mask = session.add(NullContext(), Prompt(kind="point", positive=True, points=(nodule.lps,)))
        assert region == region.clip(Region.whole(shown.shape))
        assert (mask.dtype, mask.shape) == (np.dtype(bool), region.shape)
        shown[region.slices] = mask
        assert shown.any()
    while (undone := session.undo()) is not None:
        shown[undone[0].slices] = undone[1]
    assert not shown.any()
    session.close()
