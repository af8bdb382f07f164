"""From volumes to labels by a model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from medviewer.ai.card import Label, ModelCard
from medviewer.ai.predictor import Model, PredictOptions, predict
from medviewer.core.errors import TaskError
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.jobs.job import NullContext

CTX = NullContext()


class Threshold(nn.Module):
    """Finds what is brighter than zero, and what is much brighter."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(x), 20 * x, 60 * x - 20], dim=1)


LABELS = (Label(value=1, name="bright", title="Bright"), Label(value=2, name="brighter", title="Brighter"))
CARD = ModelCard(
    id="threshold",
    version="1",
    title="Thresholds",
    network="unet",
    arguments={},
    modalities=["CT"],
    window=[16, 16, 16],
    intensity={"kind": "window", "low": -325.0, "high": 475.0},
    labels=LABELS,
)


def model_of(network: nn.Module | None = None, **changes: Any) -> Model:
    return Model(replace(CARD, **changes), network or Threshold(), "ab12")


def ball(radius: float = 9.0, geometry: Geometry | None = None) -> Volume:
    """A ball of 150 in 0 with a core of 400."""
    geometry = geometry or Geometry((30, 28, 12), (1.0, 1.0, 2.5), (4.0, 5.0, 6.0))
    kji = np.stack(np.meshgrid(*[np.arange(n) for n in geometry.shape], indexing="ij"), -1)
    far = np.linalg.norm(geometry.index_to_lps(kji[..., ::-1]) - geometry.center_lps, axis=-1)
    return Volume(
        np.where(far < radius / 2, 400, np.where(far < radius, 150, 0)).astype(np.int16), geometry, modality="CT"
    )


def expected(volume: Volume) -> np.ndarray:
    return np.where(volume.array > 275, 2, np.where(volume.array > 75, 1, 0))


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))


def test_labels_on_the_own_grid() -> None:
    volume = ball()
    found = predict(CTX, model_of(), volume)
    assert found.labels.dtype == np.uint16
    np.testing.assert_array_equal(found.labels, expected(volume))


@pytest.mark.parametrize("spacing", [(1.5, 1.5, 1.5), (2.5, 0.8, 1.0), (1.0, 1.0, 1.0)])
@pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), (0, 0, -1, 1, 0, 0, 0, -1, 0)])
def test_labels_come_back_from_another_grid(spacing, direction) -> None:
    volume = ball(geometry=Geometry((30, 28, 12), (1.0, 1.0, 2.5), (4.0, 5.0, 6.0), direction))
    found = predict(CTX, model_of(spacing_mm=spacing), volume)
    assert dice(found.labels > 0, expected(volume) > 0) > 0.93


def test_the_network_sees_the_patient_upright() -> None:
    class LeftHalf(nn.Module):
        """Finds the last columns of what it is given."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            left = torch.zeros_like(x)
            left[..., 8:] = 1.0
            return torch.cat([0.5 + torch.zeros_like(x), left], dim=1)

    # Columns run from left to right here: DICOM images lie the other way round.
    geometry = Geometry((16, 16, 16), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (-1, 0, 0, 0, 1, 0, 0, 0, 1))
    found = predict(CTX, model_of(LeftHalf(), labels=LABELS[:1]), ball(geometry=geometry))
    assert (found.labels[..., :8] == 1).all()
    assert not found.labels[..., 8:].any()


def test_probability_and_uncertainty() -> None:
    volume = ball()
    found = predict(CTX, model_of(), volume, PredictOptions(probability=True, uncertainty=True))
    assert found.probability is not None
    assert found.uncertainty is not None
    np.testing.assert_array_equal(found.probability > 0.5, found.labels > 0)
    assert 0.0 <= found.uncertainty.min() <= found.uncertainty.max() <= 1.0


def test_outputs_that_overlap_go_to_the_surest() -> None:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([20 * x, 60 * x - 20], dim=1)

    labels = (replace(LABELS[0], value=4), replace(LABELS[1], value=9))
    volume = ball()
    found = predict(CTX, model_of(Two(), output="sigmoid", labels=labels), volume)
    np.testing.assert_array_equal(found.labels, np.array([0, 4, 9])[expected(volume)])


def test_outside_the_region_nothing_is_found() -> None:
    volume = ball()
    inside = np.zeros(volume.array.shape, bool)
    inside[:, :4, :4] = True
    found = predict(CTX, model_of(window=[12, 8, 8]), volume, PredictOptions(inside=inside))
    assert not found.labels[:, 16:, 16:].any()
    assert found.record["windows_skipped"] > 0
    nothing = predict(CTX, model_of(), volume, PredictOptions(inside=np.zeros(volume.array.shape, bool)))
    assert not nothing.labels.any()


def test_a_network_for_slices() -> None:
    class Flat(Threshold):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert x.ndim == 4
            return super().forward(x)

    volume = ball()
    np.testing.assert_array_equal(predict(CTX, model_of(Flat(), window=[16, 16]), volume).labels, expected(volume))


def test_channels_come_onto_the_grid_of_the_first() -> None:
    class Second(Threshold):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x[:, 1:])

    first = ball()
    other = ball(geometry=Geometry((60, 56, 30), (0.5, 0.5, 1.0), (4.0, 5.0, 6.0)))
    other = replace(other, geometry=replace(other.geometry, origin=(4.0, 5.0, 6.0)))
    found = predict(CTX, model_of(Second(), channels=["T1", "T2"]), (first, other))
    near = dice(found.labels > 0, predict(CTX, model_of(), first).labels > 0)
    assert near > 0.85


def test_M04_volumes_that_do_not_fit_are_refused_before_the_run() -> None:
    volume = ball()
    with pytest.raises(TaskError, match=r"needs 4 channels \(T1, T1c, T2, FLAIR\), have 1") as refused:
        predict(CTX, model_of(channels=["T1", "T1c", "T2", "FLAIR"]), volume)
    assert refused.value.code == "E_MODEL_INPUT"
    with pytest.raises(TaskError, match="made for CT, not MR") as refused:
        predict(CTX, model_of(), replace(volume, modality="MR"))
    assert refused.value.code == "E_MODEL_INPUT"


class Gives(nn.Module):
    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        good = Threshold()(x)
        if self.what == "nan":
            good[:, 1, 3, 3, 3] = float("nan")
        elif self.what == "inf":
            good[:, 0, 3, 3, 3] = float("inf")
        elif self.what == "zero":
            good.zero_()
        elif self.what == "shape":
            good = good[..., :-1]
        elif self.what == "classes":
            good = torch.cat([good, good], dim=1)
        return good


@pytest.mark.parametrize("what", ["nan", "inf", "zero", "shape", "classes"])
def test_M05_what_cannot_be_labels_is_refused(what: str) -> None:
    with pytest.raises(TaskError, match="gave no usable result") as refused:
        predict(CTX, model_of(Gives(what)), ball())
    assert refused.value.code == "E_MODEL_OUTPUT"
