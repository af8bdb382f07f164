from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from medviewer.ai.formats.totalsegmentator import known, usual_folder
from medviewer.ai.model_import import import_models
from medviewer.ai.weights import ModelStore
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.io.places import bundled
from medviewer.jobs.job import NullContext
from medviewer.plugin_host import run_task
from medviewer.plugin_host.registry import PluginRegistry
from medviewer.plugin_host.run_task import RunPayload
from tests.model_makers import nnunet_dataset, nnunet_plans, write_nnunet

PARTS = {291: ["spleen", "liver"], 292: ["sacrum"], 293: ["heart"], 294: ["brain"], 295: ["sternum"]}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder as TotalSegmentator makes it, with small weights that mean nothing."""
    home = tmp_path / ".totalsegmentator"
    for number, names in PARTS.items():
        labels = {"background": 0, **{name: n for n, name in enumerate(names, 1)}}
        plans = {**nnunet_plans(spacing=[1.5, 1.5, 1.5]), "dataset_name": f"Dataset{number}_TotalSegmentator_part"}
        write_nnunet(home / "nnunet" / "results", plans, nnunet_dataset(labels=labels), mirror=None)
    return home


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "shipped", tmp_path / "own")


def test_every_structure_has_one_place() -> None:
    assert {name: len(classes) for name, classes in known()["classes"].items()} == {
        "total": 117, "total_mr": 50, "body": 2,
    }  # fmt: skip
    assert all(len(set(classes)) == len(classes) for classes in known()["classes"].values())
    assert known()["classes"]["total"][51 - 1] == "heart"


def test_its_folder_becomes_tasks_without_a_copy(store: ModelStore, home: Path) -> None:
    (model,) = import_models(NullContext(), store, home)
    assert model.id == "totalsegmentator_total"
    assert model.card is not None
    assert (model.card.modalities, model.card.license) == (("CT",), "Apache-2.0")
    assert [label.value for label in model.card.labels] == [1, 5, 25, 51, 90, 116]
    assert not list(store.own.rglob("*.pth"))
    shutil.rmtree(home / "nnunet" / "results" / "Dataset293_TotalSegmentator_part")
    assert "Dataset293" in store.models()[0].problem


def test_the_parts_are_drawn_together(store: ModelStore, home: Path) -> None:
    import_models(NullContext(), store, home)
    registry = PluginRegistry()
    registry.discover([bundled("plugins")], store)
    array = np.random.default_rng(0).normal(scale=200, size=(12, 18, 20)).astype(np.float32)
    volume = Volume(array, Geometry((20, 18, 12), (1.5, 1.5, 1.5), (0.0, 0.0, 0.0)), "case", modality="CT")
    payload = RunPayload.of(registry.source("totalsegmentator_total"), {"image": volume})
    output = run_task.run(NullContext(), payload)
    (result,) = output.results
    found = {segment.value: segment.name for segment in result.segments}  # type: ignore[union-attr]
    assert set(found) <= {1, 5, 25, 51, 90, 116}
    assert found.get(116) == "Sternum"
    assert (output.provenance.model, output.provenance.model_version) == ("totalsegmentator_total", "2")
    assert len(output.provenance.weights_sha256) == 64


@pytest.mark.parametrize("text", ["{", "[]", '{"task": "total"}', '{"task": "nothing", "results": "x"}'])
def test_M09_a_damaged_link_is_a_broken_model(store: ModelStore, text: str) -> None:
    (store.own / "x").mkdir(parents=True)
    (store.own / "x" / "totalsegmentator.json").write_text(text, encoding="utf-8")
    assert store.models()[0].problem


def test_where_it_keeps_its_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(tmp_path))
    assert usual_folder() == tmp_path
    monkeypatch.delenv("TOTALSEG_HOME_DIR")
    assert usual_folder().name == ".totalsegmentator"
