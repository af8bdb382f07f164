"""The runners ``classification`` and ``hippocampus``, made with a model's folder, keep the contract of a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medviewer.ai.card import CARD_NAME, WEIGHTS_NAME, Label, ModelCard
from medviewer.ai.checkpoint import save_weights
from medviewer.ai.networks import build_network
from medviewer.api import FindingResult, InputError, LabelResult, TaskError
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.jobs.job import NullContext
from mv_models.runners.classification import ClassificationParams
from mv_models.runners.classification import Runner as Classifier
from mv_models.runners.hippocampus import HippocampusParams
from mv_models.runners.hippocampus import Runner as HippocampusRunner

SHIPPED = Path(__file__).resolve().parents[3] / "resources" / "models"


def write(folder: Path, network: str, arguments: dict[str, Any], **changes: Any) -> Path:
    torch.manual_seed(0)
    folder.mkdir()
    digest = save_weights(folder / WEIGHTS_NAME, build_network(network, arguments).state_dict())
    values = {"id": "made", "version": "1", "title": "Made", "weights_sha256": digest, **changes}
    card = ModelCard(network=network, arguments=arguments, **values)
    (folder / CARD_NAME).write_text(card.to_json(), encoding="utf-8")
    return folder


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    labels = (
        Label(value=0, name="normal", title="Normal", code=("17621005", "SCT", "Normal")),
        Label(value=1, name="strange", title="Strange"),
    )
    arguments = {"in_channels": 1, "out_channels": 2}
    return write(tmp_path / "model", "efficientnet_lite", arguments, window=(64, 64), labels=labels)


def picture(k: int = 1, **changes: Any) -> Volume:
    array = np.random.default_rng(0).integers(0, 255, (k, 90, 70)).astype(np.uint8)
    geometry = Geometry((70, 90, k), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    return Volume(array, geometry, **{"stacking": "number", "in_patient": False, "in_mm": False, **changes})


def test_findings_have_codes_probabilities_and_a_map_on_the_picture(classifier: Path) -> None:
    runner = Classifier(classifier)
    (result,) = runner.run(NullContext(), {"image": picture()}, ClassificationParams())
    assert isinstance(result, FindingResult)
    assert sum(finding.probability for finding in result.findings) == pytest.approx(1.0)
    assert result.findings[0].probability >= result.findings[1].probability
    codes = {finding.concept.code_value: finding.concept.coding_scheme_designator for finding in result.findings}
    assert codes == {"17621005": "SCT", "strange": "99MEDVIEWER"}
    assert result.heatmap is not None
    assert result.heatmap.geometry.is_close(picture().geometry)
    assert 0 <= result.heatmap.array.min() <= result.heatmap.array.max() <= 1
    assert not result.heatmap.in_patient
    assert len(runner.weights_sha256) == 64
    (plain,) = runner.run(NullContext(), {"image": picture()}, ClassificationParams(heatmap=False))
    assert isinstance(plain, FindingResult)
    assert plain.heatmap is None


def test_M14_the_same_picture_gives_the_same_findings(classifier: Path) -> None:
    runs = [Classifier(classifier).run(NullContext(), {"image": picture()}, ClassificationParams()) for _ in range(2)]
    assert runs[0][0].findings == runs[1][0].findings  # type: ignore[union-attr]


def test_of_several_pictures_it_says_which_one_decides(classifier: Path) -> None:
    (result,) = Classifier(classifier).run(NullContext(), {"image": picture(3)}, ClassificationParams())
    assert isinstance(result, FindingResult)
    assert "Q_ONE_OF_SEVERAL" in [flag.code for flag in result.flags]


def test_of_a_picture_that_the_shipped_model_cannot_know_no_probability_is_stated() -> None:
    runner = Classifier(SHIPPED / "chest_xray")
    (result,) = runner.run(NullContext(), {"image": picture()}, ClassificationParams())
    assert isinstance(result, FindingResult)
    assert result.findings == ()
    assert result.heatmap is None
    (flag,) = result.flags
    assert flag.code == "Q_UNLIKE"
    assert "no probability is stated" in flag.text


def test_a_classifier_wants_a_picture(classifier: Path) -> None:
    with pytest.raises(InputError):
        Classifier(classifier).run(NullContext(), {}, ClassificationParams())


@pytest.fixture
def hippocampus(tmp_path: Path) -> Path:
    labels = tuple(Label(value=n + 1, name=name, title=name) for n, name in enumerate(("anterior", "posterior")))
    arguments = {"in_channels": 1, "out_channels": 3, "features": [4, 8]}
    return write(tmp_path / "hippocampus", "unet", arguments, window=(16, 16, 16), labels=labels, modalities=("MR",))


def mr(shape: tuple[int, int, int], spacing: float = 1.0) -> Volume:
    array = np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)
    k, j, i = shape
    geometry = Geometry((i, j, k), (spacing,) * 3, (0.0, 0.0, 0.0))
    return Volume(array, geometry, modality="MR")


def test_a_crop_gives_the_two_parts_by_name(hippocampus: Path) -> None:
    (result,) = HippocampusRunner(hippocampus).run(NullContext(), {"image": mr((30, 40, 30))}, HippocampusParams())
    assert isinstance(result, LabelResult)
    assert result.labels.shape == (30, 40, 30)
    assert {segment.name for segment in result.segments} <= {"anterior", "posterior"}
    assert {segment.value for segment in result.segments} == set(np.unique(result.labels).tolist()) - {0}


def test_a_head_without_the_model_that_finds_the_hippocampi_is_refused(
    hippocampus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mv_models.runners.hippocampus.ANATOMY", "a_model_that_is_not_there")
    with pytest.raises(TaskError, match="a_model_that_is_not_there") as refused:
        HippocampusRunner(hippocampus).run(NullContext(), {"image": mr((40, 50, 50), 4.0)}, HippocampusParams())
    assert refused.value.code == "E_MODEL_NEEDED"


def test_M04_a_slab_is_refused_before_anything_is_loaded(hippocampus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mv_models.runners.hippocampus.open_model", lambda folder: pytest.fail("it was loaded"))
    with pytest.raises(TaskError) as refused:
        HippocampusRunner(hippocampus).run(NullContext(), {"image": mr((20, 50, 90), 1.0)}, HippocampusParams())
    assert refused.value.code == "E_MODEL_INPUT"


def test_M01_without_weights_no_runner_is_made(hippocampus: Path) -> None:
    (hippocampus / WEIGHTS_NAME).unlink()
    with pytest.raises(TaskError, match=WEIGHTS_NAME) as refused:
        HippocampusRunner(hippocampus)
    assert refused.value.code == "E_MODEL_FILE"
