"""What surrounds the networks: where they look, candidates, outlines on any grid. The network here is a threshold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from medviewer.ai.card import Label, ModelCard
from medviewer.ai.nodule_outline import outlined, step_for
from medviewer.ai.nodules import find_nodules, lung_of, painted
from medviewer.ai.predictor import Model
from medviewer.core.geometry import Geometry, vec3
from medviewer.core.volume import Volume
from medviewer.jobs.job import NullContext

CTX = NullContext()


class Threshold(nn.Module):
    """Marks what is denser than half-way between lung and soft tissue; all the surer, the larger a candidate is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 30 * (x + 0.15)

    def judge(self, cubes: torch.Tensor) -> torch.Tensor:
        return (cubes > -0.15).float().mean((1, 2, 3, 4)) * 20


MODEL = Model(
    ModelCard(
        id="lung_nodules",
        version="1",
        title="Lung nodules",
        network="nodule_detector",
        arguments={},
        modalities=("CT",),
        spacing_mm=(1.0, 1.0, 1.0),
        window=(64, 64, 64),
        intensity={"kind": "window", "low": -1000.0, "high": 400.0},
        output="sigmoid",
        labels=(Label(value=1, name="nodule", title="Nodule"),),
        settings={"cube": 32, "score": {"bias": 0.0, "judged": 1.0}},
    ),
    Threshold(),
)


def piece(
    balls: list[tuple[tuple[float, float, float], float]], geometry: Geometry, seed: int = 0
) -> tuple[Volume, np.ndarray]:
    """Return a piece of lung with balls (middle in LPS mm, diameter), and where they are (0, 1, 2, …)."""
    k, j, i = np.indices(geometry.shape)
    lps = geometry.index_to_lps(np.stack([i, j, k], axis=-1))
    hu = np.random.default_rng(seed).normal(-850, 15, geometry.shape)
    labels = np.zeros(geometry.shape, np.uint16)
    for value, (middle, diameter) in enumerate(balls, start=1):
        away = np.linalg.norm(lps - middle, axis=-1)
        hu += 900 * np.clip(diameter / 2 - away + 0.5, 0, 1)
        labels[away <= diameter / 2] = value
    return Volume(id="v", name="v", array=hu.astype(np.int16), geometry=geometry, modality="CT"), labels


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


BALLS = [((20.0, 22.0, 25.0), 14.0), ((45.0, 40.0, 40.0), 9.0)]
PLAIN = Geometry((64, 60, 56), (1.0, 1.0, 1.0))


def oblique(spacing: tuple[float, float, float], size: tuple[int, int, int], angle: float) -> Geometry:
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    middle = np.array([32.0, 30.0, 28.0])
    origin = middle - turn @ (np.array(spacing) * (np.array(size) - 1) / 2)
    return Geometry(size, spacing, vec3(origin), tuple(turn.ravel()))


@pytest.mark.parametrize(
    "geometry",
    [
        PLAIN,
        oblique((0.6, 0.6, 2.5), (106, 100, 22), 0.0),
        oblique((0.7, 0.7, 1.5), (110, 110, 37), 0.3),
        Geometry((64, 60, 56), (1.0, 1.0, 1.0), (63.0, 59.0, 55.0), (-1, 0, 0, 0, -1, 0, 0, 0, -1)),
        Geometry((56, 64, 60), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0, 1, 0, 0, 0, 1, 1, 0, 0)),
    ],
    ids=["1 mm", "2.5 mm slices", "oblique", "from the feet", "sagittal"],
)
def test_balls_are_found_and_drawn_on_any_grid(geometry: Geometry) -> None:
    volume, truth = piece(BALLS, geometry)
    found = find_nodules(CTX, MODEL, volume)
    assert found is not None
    assert len(found) == 2
    labels = painted(geometry.shape, found)
    for value, (nodule, (middle, diameter)) in enumerate(zip(found, BALLS, strict=True), start=1):
        assert nodule.diameter_mm == pytest.approx(diameter, rel=0.15)
        assert np.linalg.norm((np.array(nodule.lower) + nodule.upper) / 2 - middle) < 1.5
        assert dice(labels == value, truth == value) > (0.85 if max(geometry.spacing) < 2 else 0.75)


def test_boxes_hold_their_masks_exactly() -> None:
    volume, _ = piece(BALLS, oblique((0.7, 0.7, 1.5), (110, 110, 37), 0.3))
    for nodule in find_nodules(CTX, MODEL, volume) or []:
        places = np.argwhere(nodule.mask) + nodule.region.lower
        lps = volume.geometry.index_to_lps(places[:, ::-1])
        assert (lps >= np.array(nodule.lower) - 1e-6).all()
        assert (lps <= np.array(nodule.upper) + 1e-6).all()
        assert nodule.mask.shape == nodule.region.shape


@given(
    st.tuples(*[st.floats(14.0, 25.0)] * 3),
    st.floats(10.0, 16.0),
)
def test_an_outline_that_nothing_corrects_is_what_it_was(middle: tuple[float, float, float], diameter: float) -> None:
    shape = (40, 38, 36)
    away = np.sqrt(sum((n - m) ** 2 for n, m in zip(np.indices(shape), middle, strict=True)))
    chance = np.clip(diameter / 2 - away + 0.5, 0, 1).astype(np.float32)
    box, found = outlined(
        lambda x: 20 * x[:, 2:], np.zeros(shape, np.float32), (slice(0, 40), slice(0, 38), slice(0, 36)), chance,
        middle, step_for(diameter), ((), (-1,)),
    )  # fmt: skip
    mask = np.zeros(shape, bool)
    mask[box] = found > 0.5
    assert dice(mask, chance > 0.5) > 0.85


@settings(max_examples=4)
@given(st.tuples(*[st.floats(-300, 300)] * 3))
def test_moving_the_grid_moves_the_findings(shift: tuple[float, float, float]) -> None:
    volume, _ = piece(BALLS, PLAIN)
    moved = Volume(
        id="w", name="w", array=volume.array, geometry=Geometry(PLAIN.size, PLAIN.spacing, shift), modality="CT"
    )
    for before, after in zip(
        find_nodules(CTX, MODEL, volume) or [], find_nodules(CTX, MODEL, moved) or [], strict=True
    ):
        assert np.allclose(np.array(after.lower) - before.lower, shift, atol=1e-6)
        assert (after.mask == before.mask).all()
        assert after.score == pytest.approx(before.score)


def test_the_largest_of_what_is_left_out_is_too_small() -> None:
    volume, _ = piece([*BALLS, ((50.0, 15.0, 15.0), 4.0)], PLAIN)
    assert len(find_nodules(CTX, MODEL, volume, least_mm=3.0) or []) == 3
    assert len(find_nodules(CTX, MODEL, volume, least_mm=6.0) or []) == 2
    assert find_nodules(CTX, MODEL, volume, least_score=0.9999) == []


def test_a_nodule_between_thick_slices_still_has_a_voxel() -> None:
    geometry = Geometry((64, 60, 9), (1.0, 1.0, 7.0))
    volume, _ = piece([((30.0, 30.0, 28.0), 7.0)], geometry)
    found = find_nodules(CTX, MODEL, volume)
    assert found
    assert all(nodule.mask.any() for nodule in found)


@pytest.mark.parametrize("size", [(64, 60, 56), (80, 80, 30)])
def test_without_lungs_nothing_is_looked_for(size: tuple[int, int, int]) -> None:
    """A piece of the belly with a bubble of gas, and a whole field of view of it."""
    mm = 1.0 if size[2] == 56 else 4.0
    geometry = Geometry(size, (mm, mm, mm))
    hu = np.random.default_rng(0).normal(40, 20, geometry.shape)
    hu[10:20, 20:40, 20:40] = -990
    volume = Volume(id="v", name="v", array=hu.astype(np.int16), geometry=geometry, modality="CT")
    assert lung_of(CTX, volume) is None
    assert find_nodules(CTX, MODEL, volume) is None
