"""From volumes to labels by a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from medviewer.ai import predictor
from medviewer.ai.card import Label, ModelCard
from medviewer.ai.models import Model
from medviewer.ai.predictor import PredictOptions, predict, predict_cases
from medviewer.ai.run_plan import plan_run, smaller_window
from medviewer.core.errors import OutOfMemory, TaskError
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobCancelled, NullContext

CTX = NullContext()


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDVIEWER_DATA_DIR", str(tmp_path))


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


def test_M04_no_depth_no_size_and_much_too_coarse() -> None:
    flat = ball(geometry=Geometry((30, 28, 1), (1.0, 1.0, 1.0)))
    coarse = ball(geometry=Geometry((20, 20, 20), (1.0, 1.0, 30.0)))
    unsized = replace(ball(), in_mm=False)
    for volume, why in ((flat, "no depth"), (coarse, "too coarse"), (unsized, "size of a voxel")):
        with pytest.raises(TaskError, match=why) as refused:
            predict(CTX, model_of(spacing_mm=(1.0, 1.0, 1.0)), volume)
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


class Hungry(Threshold):
    """Has room for windows of at most so many voxels."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.refused = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x[0].numel() > self.most:
            self.refused += 1
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.")
        return super().forward(x)


def test_M06_smaller_windows_when_memory_runs_out_and_it_says_so() -> None:
    told: list[str] = []

    class Telling(NullContext):
        def progress(self, fraction: float | None, text: str = "") -> None:
            told.append(text)

    network = Hungry(8**3)
    found = predict(Telling(), model_of(network), ball())
    assert network.refused == 1
    np.testing.assert_array_equal(found.labels, expected(ball()))
    assert found.record["window"] == [8, 8, 8]
    assert found.record["memory_ran_out"] == ["windows of 8×8×8 on cpu"]
    assert "Not enough memory: going on with windows of 8×8×8 on cpu" in told


def test_M06_at_the_end_of_the_road_it_says_what_it_needs_and_what_is_free() -> None:
    network = Hungry(0)
    with pytest.raises(OutOfMemory, match=r"Thresholds needs about 0\.\d GB of memory; \d+\.\d GB are free") as refused:
        predict(CTX, model_of(network), ball())
    assert refused.value.code == "E_OOM"
    assert network.refused == 2


def test_M06_from_the_graphics_processor_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that has no room for any window stands for a full graphics processor."""
    devices: list[tuple[str, int]] = []
    real = predictor._Run._once

    def once(self, ctx, window, notes):
        devices.append((ctx.device, window[0]))
        if ctx.device != "cpu":
            raise OutOfMemory("full")
        return real(self, ctx, window, notes)

    monkeypatch.setattr(predictor._Run, "_once", once)
    found = predict(NullContext("cuda:0"), model_of(), ball())
    assert devices == [("cuda:0", 16), ("cuda:0", 8), ("cpu", 16)]
    assert found.record["device"] == "cpu"
    assert found.record["memory_ran_out"] == ["windows of 8×8×8 on cuda:0", "windows of 16×16×16 on cpu"]


def test_a_smaller_window_is_one_that_the_network_can_take() -> None:
    card = replace(CARD, arguments={"features": [4, 8, 16], "strides": [[2, 2, 2], [2, 2, 2], [1, 2, 2]]})
    assert smaller_window(card, (16, 48, 40)) == (8, 24, 40)


def test_M08_a_cancel_is_noticed_inside_a_window() -> None:
    class Cancelled(NullContext):
        layers = 0

        def check_cancelled(self) -> None:
            if self.layers:
                raise JobCancelled

    ctx = Cancelled()

    class Slow(Threshold):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Identity(), nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            ctx.layers += 1
            return super().forward(self.second(x))

    with pytest.raises(JobCancelled):
        predict(ctx, model_of(Slow()), ball())
    assert ctx.layers == 1


@pytest.mark.parametrize("exact", [True, False])
def test_M14_R31_the_same_run_gives_the_same_mask_twenty_times(exact: bool) -> None:
    torch.manual_seed(0)
    from medviewer.ai.networks import build_network

    network = build_network("unet", {"in_channels": 1, "out_channels": 3, "features": [4, 8]}).eval()
    model, volume = model_of(network), ball(6.0, Geometry((16, 16, 16), (1.0, 1.0, 1.0)))
    options = PredictOptions(exact=exact, flips=True, uncertainty=True)
    first = predict(CTX, model, volume, options)
    assert first.labels.any()
    for _ in range(19):
        again = predict(CTX, model, volume, options)
        np.testing.assert_array_equal(again.labels, first.labels)
        np.testing.assert_array_equal(again.uncertainty, first.uncertainty)


def test_flips_of_a_network_that_sees_single_voxels_change_nothing() -> None:
    volume = ball()
    plain = predict(CTX, model_of(), volume)
    card = {"settings": {"flips": ["k", "j", "i"]}}
    found = predict(CTX, model_of(**card), volume, PredictOptions(flips=True, uncertainty=True))
    np.testing.assert_array_equal(found.labels, plain.labels)
    assert found.uncertainty is not None
    assert found.uncertainty.max() < 1e-3
    assert found.record["flips"] == ["k", "j", "i"]


def test_the_air_around_the_body_is_left_out() -> None:
    """A water cylinder in a wide field of view."""
    geometry = Geometry((100, 100, 24), (4.0, 4.0, 4.0))
    j, i = np.ogrid[:100, :100]
    disc = (j - 30) ** 2 + (i - 30) ** 2 < 18**2
    array = np.broadcast_to(np.where(disc, 60, -1000), geometry.shape).astype(np.int16)
    card = {"intensity": {"kind": "window", "low": -100.0, "high": 140.0}}
    found = predict(CTX, model_of(**card), Volume(array, geometry, modality="CT"))
    everything = predict(CTX, model_of(**card), Volume(array, geometry, modality=""))
    assert found.record["windows_skipped"] > 0.6 * everything.record["windows"]
    np.testing.assert_array_equal(found.labels, everything.labels)


def test_several_cases_in_one_call() -> None:
    cases = [[ball(9.0)], [ball(6.0, Geometry((20, 20, 20), (1.0, 1.0, 1.0)))]]
    for found, case in zip(predict_cases(CTX, model_of(), cases), cases, strict=True):
        np.testing.assert_array_equal(found.labels, expected(case[0]))


def test_a_plan_is_what_the_run_then_does() -> None:
    volume = replace(ball(), modality="")
    model = model_of(spacing_mm=(1.5, 1.5, 1.5))
    before = plan_run(model.card, volume.geometry)
    assert not before.measured
    found = predict(CTX, Model(replace(model.card, weights_sha256="ab12"), model.network, "ab12"), volume)
    after = plan_run(replace(model.card, weights_sha256="ab12"), volume.geometry)
    assert after.measured
    assert before.windows == after.windows == found.record["windows"]
    assert after.seconds < 30


def test_steps_of_the_card_and_flags_of_the_result() -> None:
    volume = ball(40.0)
    found = predict(CTX, model_of(postprocessing=[{"step": "min_size", "ml": 1000.0}]), volume)
    assert not found.labels.any()
    assert {flag.code for flag in predict(CTX, model_of(), volume).flags} == {"Q_BORDER"}
    assert predict(CTX, model_of(postprocessing=[{"step": "largest_component"}]), ball()).flags == ()
