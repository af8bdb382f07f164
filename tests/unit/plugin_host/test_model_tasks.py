from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from medviewer.ai.model_import import import_models
from medviewer.ai.weights import ModelStore
from medviewer.core.errors import TaskError
from medviewer.core.geometry import Geometry
from medviewer.core.provenance import Provenance
from medviewer.core.volume import Volume
from medviewer.jobs.job import NullContext
from medviewer.plugin_host import run_task
from medviewer.plugin_host.registry import PluginRegistry
from medviewer.plugin_host.run_task import RunPayload
from tests.model_makers import write_model

RUNNER = """
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medviewer.api import Input, JobContext, LabelResult, Readiness, Result, Segment, TaskError


@dataclass(frozen=True, slots=True)
class Params:
    flips: bool = False


class Runner:
    weights_sha256 = "ab" * 32

    def __init__(self, folder: Path) -> None:
        if not (folder / "weights.safetensors").stat().st_size:
            raise TaskError("The weights are empty.", code="E_MODEL_FILE")
        self.folder = folder

    def check(self) -> Readiness:
        return Readiness(ok=True)

    def run(self, ctx: JobContext, inputs: Mapping[str, Input], params: Params) -> Sequence[Result]:
        image = inputs["image"]
        labels = np.ones(image.array.shape, np.uint16)
        return [LabelResult(self.folder.name, labels, image.geometry, (Segment(1, "Thing"),))]
"""


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "shipped", tmp_path / "own")


@pytest.fixture
def plugins(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "plugins"
    runners = folder / "tmp_models" / "tmp_models" / "runners"
    runners.mkdir(parents=True)
    (folder / "tmp_models" / "plugin.toml").write_text(
        'id = "tmp_models"\nversion = "3"\napi = 1\nrunners = "tmp_models.runners"\n', encoding="utf-8"
    )
    for package in (runners.parent, runners):
        (package / "__init__.py").write_text("", encoding="utf-8")
    (runners / "segmentation.py").write_text(RUNNER, encoding="utf-8")
    paths, modules = list(sys.path), set(sys.modules)
    yield folder
    sys.path[:] = paths
    for name in {name for name in set(sys.modules) - modules if name.startswith("tmp_models")}:
        del sys.modules[name]


def registry(plugins: Path, store: ModelStore) -> PluginRegistry:
    made = PluginRegistry()
    made.discover([plugins], store)
    return made


def volume() -> Volume:
    geometry = Geometry((4, 4, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    return Volume(id="v", name="v", array=np.zeros((4, 4, 4), np.int16), geometry=geometry)


def test_a_model_is_a_task_by_its_card(plugins: Path, store: ModelStore) -> None:
    task = {"auto": True, "order": 7, "min_size": [8, 8, 8], "kind": "detection"}
    write_model(store.shipped / "tiny", description="Finds things.", body_parts=["HEAD"], task=task)
    info = registry(plugins, store).task("tiny")
    assert (info.title, info.kind, info.order, info.auto, info.min_size) == ("Tiny", "detection", 7, True, (8, 8, 8))
    assert (info.modalities, info.body_parts, info.license) == ({"CT"}, {"HEAD"}, "Apache-2.0")
    assert dict(info.inputs) == {"image": "volume"}
    assert (info.plugin, info.plugin_version, info.model_version) == ("tmp_models", "3", "1.0")
    assert info.model == str(store.shipped / "tiny")


def test_a_model_of_several_channels_has_as_many_inputs(plugins: Path, store: ModelStore) -> None:
    write_model(store.own / "two", "two", channels=("T1", "2nd FLAIR"))
    assert list(registry(plugins, store).task("two").inputs) == ["T1", "image_2nd_FLAIR"]


def test_a_run_says_which_model_made_the_result(plugins: Path, store: ModelStore) -> None:
    write_model(store.own / "tiny", version="2.1")
    made = registry(plugins, store)
    assert [spec.name for spec in run_task.describe(NullContext(), made.source("tiny"))] == ["flips"]
    output = run_task.run(NullContext(), RunPayload.of(made.source("tiny"), {"image": volume()}))
    run = output.provenance
    assert (run.task, run.version, run.model, run.model_version) == ("tiny", "3", "tiny", "2.1")
    assert run.weights_sha256 == "ab" * 32
    assert Provenance.from_json(run.to_json()) == run


def test_M09_broken_models_stand_beside_good_ones(plugins: Path, store: ModelStore, tmp_path: Path) -> None:
    write_model(store.own / "good", "good")
    write_model(store.own / "strange", "strange", runner="not_there")
    write_model(store.own / "loud", "loud", task={"entry": "os:system"})
    write_model(store.own / "wrong", "wrong", task={"order": "first"})
    write_model(store.own / "bad id", "../bad id")
    (store.own / "no_card").mkdir()
    made = registry(plugins, store)
    assert [task.id for task in made.tasks] == ["good"]
    reasons = {broken.name: broken.reason for broken in made.broken}
    assert set(reasons) == {"strange", "loud", "wrong", "../bad id", "no_card"}
    assert "'not_there'" in reasons["strange"]
    assert "task.entry" in reasons["loud"]
    assert "`order`" in reasons["wrong"]


def test_a_model_does_not_take_the_id_of_a_task(plugins: Path, store: ModelStore) -> None:
    (plugins / "one.py").write_text(
        "# /// script\n# [tool.medviewer]\n# id = 'one'\n# version = '1'\n# api = 1\n# [[tool.medviewer.task]]\n"
        "# id = 'tiny'\n# title = 'T'\n# kind = 'segmentation'\n# entry = 'one:One'\n"
        "# inputs = { image = 'volume' }\n# ///\n",
        encoding="utf-8",
    )
    write_model(store.own / "tiny")
    made = registry(plugins, store)
    assert made.task("tiny").plugin == "one"
    assert "already taken" in made.broken[0].reason


def test_M01_what_a_runner_says_of_its_model_is_what_the_user_reads(plugins: Path, store: ModelStore) -> None:
    folder = write_model(store.own / "tiny")
    (folder / "weights.safetensors").write_bytes(b"")
    source = registry(plugins, store).source("tiny")
    assert run_task.check(NullContext(), source).missing == ("The weights are empty.",)
    with pytest.raises(TaskError) as refused:
        run_task.run(NullContext(), RunPayload.of(source, {"image": volume()}))
    assert refused.value.code == "E_MODEL_FILE"


def test_a_plugin_of_runners_names_a_package_that_is_there(plugins: Path, store: ModelStore) -> None:
    manifest = plugins / "tmp_models" / "plugin.toml"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("tmp_models.runners", "tmp_models.none"))
    assert "tmp_models.none" in registry(plugins, store).broken[0].reason


def test_S20_a_model_whose_files_have_changed_since_its_import_is_not_run(
    plugins: Path, store: ModelStore, tmp_path: Path
) -> None:
    (model,) = import_models(NullContext(), store, write_model(tmp_path / "tiny"))
    payload = RunPayload.of(registry(plugins, store).source("tiny"), {"image": volume()})
    assert run_task.run(NullContext(), payload).results
    weights = model.folder / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(TaskError, match=r"weights\.safetensors") as refused:
        run_task.run(NullContext(), payload)
    assert refused.value.code == "E_MODEL_FILE"
