from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medviewer.ai.formats import format_of, open_network
from medviewer.ai.formats.monai_bundle import read_card
from medviewer.ai.intensity import normalise
from medviewer.ai.models import Model
from medviewer.ai.predictor import PredictOptions, predict
from medviewer.core.errors import TaskError
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.jobs.job import NullContext
from tests.model_makers import bundle_config, write_bundle


def transforms(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"_target_": "Compose", "transforms": list(entries)}


def test_the_configuration_becomes_a_card(tmp_path: Path) -> None:
    root = write_bundle(tmp_path / "made_thing")
    card = read_card(root)
    assert format_of(root) == "monai_bundle"
    assert (card.id, card.version, card.title) == ("monai_made_thing", "0.3.1", "Made thing")
    assert (card.modalities, card.license, card.credit) == (("CT",), "Apache License 2.0", "Nobody")
    assert card.spacing_mm == (2.0, 1.5, 1.0)
    assert card.window == (20, 24, 16)
    assert card.settings["overlap"] == 0.5
    assert [(label.value, label.name) for label in card.labels] == [(1, "one"), (2, "two")]
    step = {"step": "scale_range", "a_min": -100, "a_max": 300, "b_min": 0.0, "b_max": 1.0, "clip": True}
    assert card.intensity == {"kind": "steps", "steps": [step]}


def test_the_network_sees_right_front_and_head_and_answers_on_our_grid(tmp_path: Path) -> None:
    root = write_bundle(tmp_path / "made")
    _, network, digest = open_network(root)
    x = torch.randn(1, 1, 12, 8, 16)
    ras = x.permute(0, 1, 4, 3, 2).flip((2, 3))
    with torch.inference_mode():
        expected = network.network(ras).flip((2, 3)).permute(0, 1, 4, 3, 2)
        assert torch.allclose(network(x), expected, atol=1e-6)
    assert len(digest) == 64


def test_a_bundle_gives_the_answer_of_monai(tmp_path: Path) -> None:
    from monai.inferers import sliding_window_inference

    root = write_bundle(tmp_path / "made")
    card, network, _ = open_network(root)
    rng = np.random.default_rng(0)
    array = rng.normal(100, 150, (20, 24, 32)).astype(np.float32)
    geometry = Geometry((32, 24, 20), (1.0, 1.5, 2.0), (0.0, 0.0, 0.0))
    volume = Volume(array, geometry, "case", modality="MR")
    model = Model(card=replace(card, modalities=()), network=network, weights_sha256="")
    found = predict(NullContext(), model, volume, PredictOptions(exact=True))
    scaled = np.clip((array + 100) / 400, 0, 1)
    ras = torch.from_numpy(scaled)[None, None].permute(0, 1, 4, 3, 2).flip((2, 3))
    with torch.inference_mode():
        theirs = sliding_window_inference(ras, (16, 24, 20), 1, network.network, overlap=0.5, mode="gaussian")
    expected = theirs.argmax(1)[0].flip((0, 1)).permute(2, 1, 0).numpy()
    assert np.mean(found.labels == expected) > 0.999


@pytest.mark.parametrize(("entry", "step"), [
    ({"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True, "channel_wise": True},
     {"step": "normalize", "nonzero": True}),
    ({"_target_": "monai.transforms.ScaleIntensityd", "keys": "image", "minv": -1}, {"step": "scale", "minv": -1}),
])  # fmt: skip
def test_intensities_are_monais(tmp_path: Path, entry: dict[str, Any], step: dict[str, Any]) -> None:
    import monai.transforms

    card = read_card(write_bundle(tmp_path / "made", preprocessing=transforms(entry)))
    assert card.intensity["steps"] == [step]
    values = np.random.default_rng(0).normal(100, 50, (6, 7, 8)).astype(np.float32)
    values[:2] = 0
    kind = getattr(monai.transforms, entry["_target_"].rsplit(".", 1)[-1])
    theirs = kind(**{k: v for k, v in entry.items() if k != "_target_"})({"image": torch.from_numpy(values)[None]})
    assert np.allclose(normalise(values, card.intensity), theirs["image"][0].numpy(), atol=1e-4)


def test_cleaning_and_overlapping_outputs(tmp_path: Path) -> None:
    after = transforms(
        {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
        {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5},
        {"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": [1, 2]},
    )
    card = read_card(write_bundle(tmp_path / "made", postprocessing=after))
    assert card.output == "sigmoid"
    assert [label.value for label in card.labels] == [1, 2, 3]
    assert card.postprocessing == [{"step": "largest_component", "values": [1, 2]}]


@pytest.mark.parametrize(("changes", "word"), [
    ({"preprocessing": transforms({"_target_": "MyOwnd"})}, "MyOwnd"),
    ({"network_def": {"_target_": "UNet", "in_channels": "@nowhere"}}, "nowhere"),
    ({"network_def": "@network_def"}, "refers to itself"),
    ({"inferer": {"_target_": "SaliencyInferer"}}, "SaliencyInferer"),
    ({"inferer": {"_target_": "SlidingWindowInferer", "roi_size": [0, "a", 2]}}, "windows"),
])  # fmt: skip
def test_what_is_not_known_is_named(tmp_path: Path, changes: dict[str, Any], word: str) -> None:
    with pytest.raises(TaskError, match=word) as refused:
        read_card(write_bundle(tmp_path / "made", **changes))
    assert refused.value.code in ("E_MODEL_FILE", "E_MODEL_CODE")


def test_M11_only_networks_of_the_table_are_built(tmp_path: Path) -> None:
    network = {**bundle_config()["network_def"], "_target_": "monai.networks.nets.Generator"}
    with pytest.raises(TaskError, match="Generator"):
        open_network(write_bundle(tmp_path / "made", network_def=network))
