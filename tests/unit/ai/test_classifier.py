"""A classifier is calibrated, its evidence lies where the finding is, and it says when it should not know."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from medviewer.ai.card import Label, ModelCard
from medviewer.ai.classifier import Classification, calibrated, classify
from medviewer.ai.models import Model
from medviewer.ai.picture import network_picture
from medviewer.core.errors import TaskError
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.jobs.job import NullContext
from medviewer.training.recipes.chest_xray import usual_pictures

LABELS = (Label(value=0, name="none", title="None"), Label(value=1, name="bright", title="Bright"))


class BrightSpot(nn.Module):
    """Finds what is bright: features are blocks of 8 pixels; the second tells the top of a picture from its foot."""

    def features(self, x: torch.Tensor) -> torch.Tensor:
        blocks = nn.functional.avg_pool2d(x, 8) + 1
        down = torch.linspace(1, -1, blocks.shape[-2]).view(1, 1, -1, 1).expand_as(blocks)
        return torch.cat([blocks, blocks * down], 1)

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        bright = features.mean((-2, -1))[:, 0]
        return torch.stack([torch.zeros_like(bright), 20 * bright - 1], 1)


def model(network: nn.Module | None = None, **changes: Any) -> Model:
    values: dict[str, Any] = {
        "id": "spots",
        "version": "1",
        "title": "Spots",
        "network": "none",
        "arguments": {},
        "window": (64, 64),
        "intensity": {"kind": "window", "low": 0.0, "high": 100.0},
        "labels": LABELS,
        "settings": {"finding": 1},
        **changes,
    }
    return Model(ModelCard(**values), network or BrightSpot())


def pictures(*arrays: np.ndarray, **changes: Any) -> Volume:
    array = np.stack(arrays)
    k, j, i = array.shape
    geometry = Geometry((i, j, k), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    values: dict[str, Any] = {"stacking": "number", "in_patient": False, "in_mm": False, **changes}
    return Volume(array, geometry, **values)


def spot(row: int = 20, column: int = 90) -> np.ndarray:
    picture = np.zeros((128, 160), np.float32)
    picture[row - 15 : row + 15, column - 15 : column + 15] = 100
    return picture


def run(model: Model, volume: Volume) -> Classification:
    return classify(NullContext(), model, volume)


def test_evidence_lies_where_the_finding_is_and_is_as_strong_as_it_is_probable() -> None:
    found = run(model(), pictures(spot()))
    heat = found.heatmap
    assert heat is not None
    assert heat.shape == (1, 128, 160)
    assert heat.max() == pytest.approx(found.probabilities[0, 1], abs=0.02)
    inside = np.zeros(heat.shape, bool)
    inside[0, :45, 65:115] = True
    assert heat[inside].sum() > 0.8 * heat.sum()
    nothing = run(model(), pictures(np.zeros((128, 160), np.float32)))
    assert nothing.heatmap is not None
    assert nothing.heatmap.max() <= nothing.probabilities[0, 1] < 0.5


def test_probabilities_follow_the_calibration() -> None:
    card = model(settings={"calibration": {"temperature": 2.0, "bias": [0.0, 1.0]}}).card
    stated = calibrated(np.array([[0.0, 3.0]]), card)
    assert stated[0, 1] == pytest.approx(1 / (1 + np.exp(-2.5)))
    assert stated.sum() == pytest.approx(1.0)
    apart = calibrated(np.array([[0.0, 3.0]]), model(output="sigmoid", settings={}).card)
    assert apart[0].tolist() == pytest.approx([0.5, 1 / (1 + np.exp(-3.0))])


def test_the_most_suspicious_of_several_pictures_decides() -> None:
    found = run(model(), pictures(spot() * 0, spot(), spot() * 0.2))
    assert found.picture == 1
    assert found.probabilities.shape == (3, 2)


def test_an_inverted_picture_is_seen_as_it_is_shown() -> None:
    scheme = {"kind": "percentile", "low": 0.0, "high": 100.0}
    plain = run(model(intensity=scheme), pictures(spot() + 1))
    inverted = run(model(intensity=scheme), pictures(4095 - spot(), inverted=True))
    np.testing.assert_allclose(inverted.probabilities, plain.probabilities, atol=1e-5)


def test_what_a_shutter_and_padding_hide_is_black() -> None:
    picture = spot()
    picture[100:] = 3000
    shutter = np.ones(picture.shape, bool)
    shutter[100:] = False
    hidden = run(model(), pictures(picture, shutter=shutter))
    padded = run(model(), pictures(picture, padding=3000.0))
    plain = run(model(), pictures(spot()))
    np.testing.assert_allclose(hidden.probabilities, plain.probabilities)
    np.testing.assert_allclose(padded.probabilities, plain.probabilities)


def usual() -> dict[str, Any]:
    """Return settings for which spots in the upper half are usual."""
    places = np.random.default_rng(0).integers((18, 60), (30, 110), (120, 2))
    seen = np.stack([network_picture(spot(*place), (64, 64), model().card.intensity) for place in places])
    return {"usual": usual_pictures(seen[:60], seen[60:]), "finding": 1}


def test_an_unusual_picture_is_flagged() -> None:
    assert run(model(settings=usual()), pictures(spot(20))).flags == ()
    for strange in (100 - spot(20), spot(64, 80), np.zeros((128, 160), np.float32)):
        (flag,) = run(model(settings=usual()), pictures(strange)).flags
        assert flag.code == "Q_UNLIKE"


def test_an_unusual_picture_neither_decides_nor_has_a_map_beside_usual_ones() -> None:
    strange = spot(64, 80)
    both = np.stack([strange, spot(20)])
    found = run(model(settings=usual()), pictures(*both))
    assert found.unlike.tolist() == [True, False]
    assert found.picture == 1
    assert found.heatmap is not None
    assert not found.heatmap[0].any()
    alone = run(model(settings=usual()), pictures(strange))
    assert (alone.unlike.tolist(), alone.picture) == ([True], 0)


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_turned_picture_is_judged_upright_and_its_map_lies_on_it_as_it_is(turn: int) -> None:
    settings = usual()
    upright = run(model(settings=settings), pictures(spot(20, 80)))
    turned = run(model(settings=settings), pictures(np.ascontiguousarray(np.rot90(spot(20, 80), -turn))))
    assert upright.flags == ()
    assert [flag.code for flag in turned.flags] == ["Q_TURNED"]
    assert upright.heatmap is not None
    assert turned.heatmap is not None
    np.testing.assert_allclose(np.rot90(turned.heatmap[0], turn), upright.heatmap[0], atol=1e-4)


def test_a_network_without_features_gives_no_map() -> None:
    class Plain(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([x.mean((1, 2, 3)), -x.mean((1, 2, 3))], 1)

    found = run(model(Plain()), pictures(spot()))
    assert found.heatmap is None
    assert found.probabilities[0].sum() == pytest.approx(1.0)


def test_M04_a_volume_is_not_a_picture() -> None:
    with pytest.raises(TaskError) as refused:
        run(model(), pictures(spot(), spot(), stacking="place"))
    assert refused.value.code == "E_MODEL_INPUT"


@pytest.mark.parametrize("values", [[float("nan"), 0.0], [0.0, 0.0, 0.0]])
def test_M05_an_output_that_is_no_probability_is_refused(values: list[float]) -> None:
    class Bad(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tensor([values] * len(x))

    with pytest.raises(TaskError) as refused:
        run(model(Bad()), pictures(spot()))
    assert refused.value.code == "E_MODEL_OUTPUT"
