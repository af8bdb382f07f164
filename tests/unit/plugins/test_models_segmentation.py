"""Any model of the store whose card names the runner ``segmentation`` is a task that keeps the contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medviewer.ai.card import Label, read_card
from medviewer.ai.weights import ModelStore
from medviewer.api import BoxResult, LabelResult, Volume, VolumeResult
from medviewer.api.testing import check_task
from medviewer.core.geometry import Geometry
from medviewer.jobs.job import NullContext
from medviewer.plugin_host import run_task
from medviewer.plugin_host.registry import PluginRegistry
from medviewer.plugin_host.run_task import RunPayload
from mv_models.runners.segmentation import Runner, SegmentationParams
from tests.model_makers import write_model

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDVIEWER_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    made = ModelStore(tmp_path / "shipped", tmp_path / "own")
    label = Label(value=1, name="thing", title="Thing", code=("113343008", "SCT", "Organ"), color=(1, 2, 3))
    write_model(made.shipped / "tiny", labels=(label,))
    return made


def registry(store: ModelStore) -> PluginRegistry:
    made = PluginRegistry()
    made.discover([PLUGINS], store)
    return made


def noise() -> Volume:
    geometry = Geometry((20, 24, 12), (1.5, 1.5, 3.0), (3.0, 2.0, 1.0))
    array = np.random.default_rng(0).normal(size=geometry.shape).astype(np.float32)
    return Volume(array, geometry, modality="CT")


def test_it_keeps_the_contract(store: ModelStore) -> None:
    info = registry(store).task("tiny")
    results = check_task(Runner(store.shipped / "tiny"), info, inputs={"image": noise()}, silence_s=5.0)
    assert isinstance(results[0], LabelResult)
    assert results[0].geometry == noise().geometry
    (segment,) = results[0].segments
    assert (segment.name, segment.color, segment.type.code_value) == ("Thing", (1, 2, 3), "113343008")


def test_maps_are_returned_when_asked_for(store: ModelStore) -> None:
    runner = Runner(store.shipped / "tiny")
    params = SegmentationParams(probability=True, uncertainty=True)
    results = runner.run(NullContext(), {"image": noise()}, params)
    names = [result.name for result in results if isinstance(result, VolumeResult)]
    assert names == ["Probability", "Uncertainty"]


def test_pieces_are_findings_where_the_card_says_so(store: ModelStore) -> None:
    label = Label(value=1, name="thing", title="Thing", code=("113343008", "SCT", "Organ"))
    folder = write_model(store.own / "list", "list", labels=(label,), settings={"findings": True})
    labels, boxes = Runner(folder).run(NullContext(), {"image": noise()}, SegmentationParams())
    assert isinstance(labels, LabelResult)
    assert isinstance(boxes, BoxResult)
    assert boxes.boxes
    scores = [box.score or 0.0 for box in boxes.boxes]
    assert scores == sorted(scores, reverse=True)
    assert all(0.4 < score <= 1 for score in scores)
    assert {(box.label, box.segment) for box in boxes.boxes} == {("Thing", 1)}
    assert (labels.labels > 0).any()


def test_R31_the_run_says_which_model_and_how(store: ModelStore) -> None:
    source = registry(store).source("tiny")
    run = run_task.run(NullContext(), RunPayload.of(source, {"image": noise()})).provenance
    assert run.model == "tiny"
    assert run.weights_sha256 == Runner(store.shipped / "tiny").weights_sha256 != ""
    assert run.record["windows"] > 0
    assert run.parameters["precision"] == "fast"


def test_what_was_asked_for_is_cleaned_away(store: ModelStore) -> None:
    steps = [{"step": "largest_component", "values": [1]}]
    card = read_card(write_model(store.own / "clean", "clean", postprocessing=steps))
    params = SegmentationParams(smooth_mm=2.0, fill_holes=True, largest_only=True, smallest_ml=0.5)
    names = [step["step"] for step in params.steps(card)]
    assert names == ["largest_component", "smooth", "fill_holes", "largest_component", "min_size"]
    assert SegmentationParams(clean=False).steps(card) == []


def test_a_segment_that_reaches_the_border_says_so(store: ModelStore) -> None:
    (result,) = Runner(store.shipped / "tiny").run(NullContext(), {"image": noise()}, SegmentationParams())
    assert isinstance(result, LabelResult)
    assert [(flag.code, flag.segment) for flag in result.flags] == [("Q_BORDER", 1)]
