"""Both hippocampi of a head come out on their sides, a crop of either side is read, and what is neither is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from medviewer.ai.card import Label, ModelCard
from medviewer.ai.hippocampus import (
    RIGHT_HIPPOCAMPUS,
    find_hippocampi_in_head,
    find_hippocampus_in_crop,
    refuse_hippocampus_size,
)
from medviewer.ai.predictor import Model
from medviewer.core.errors import TaskError
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.jobs.job import NullContext

#: Value of each tissue of the made head.
TISSUES = {
    "background": 0.0,
    "left_cerebral_white_matter": 100.0,
    "right_cerebral_white_matter": 104.0,
    "left_cerebral_cortex": 70.0,
    "right_cerebral_cortex": 74.0,
    "left_lateral_ventricle": 20.0,
    "right_lateral_ventricle": 24.0,
    "left_hippocampus": 50.0,
    "right_hippocampus": 54.0,
}


class ByValue(nn.Module):
    """The label whose value is nearest."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = torch.tensor(list(TISSUES.values())).view(1, -1, 1, 1, 1)
        return -((x - (values / 100 - 1)) ** 2) * 1e5


class LeftOnly(nn.Module):
    """Knows what is brighter towards the left (larger i): there it finds the front part ahead, the other behind."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rise = torch.zeros_like(x)
        rise[..., 1:-1] = x[..., 2:] - x[..., :-2]
        found = 200 * rise.clamp(-0.1, 0.1) - 2
        ahead = torch.linspace(-1, 1, x.shape[-2]).view(1, 1, 1, -1, 1)
        return torch.cat([torch.zeros_like(x), found - 1.5 * ahead, found + 1.5 * ahead], 1)


def card(**changes: Any) -> ModelCard:
    values: dict[str, Any] = {
        "id": "m",
        "version": "1",
        "title": "Made",
        "network": "none",
        "arguments": {},
        "modalities": ("MR",),
        "window": (16, 16, 16),
        "intensity": {"kind": "window", "low": 0.0, "high": 200.0},
        **changes,
    }
    return ModelCard(**values)


def anatomy() -> Model:
    labels = tuple(Label(value=n, name=name, title=name) for n, name in enumerate(TISSUES) if n)
    return Model(card(labels=labels), ByValue())


def parts() -> Model:
    labels = tuple(Label(value=n + 1, name=name, title=name) for n, name in enumerate(("anterior", "posterior")))
    return Model(
        card(labels=labels, window=(32, 32, 32), settings={"quality": {"volume_ml": {"anterior": [0.5, 5]}}}),
        LeftOnly(),
    )


def volume(array: np.ndarray, spacing: float = 1.0, direction: tuple[float, ...] | None = None) -> Volume:
    k, j, i = array.shape
    extra = {} if direction is None else {"direction": direction}
    geometry = Geometry((i, j, k), (spacing,) * 3, (0.0, 0.0, 0.0), **extra)
    return Volume(array.astype(np.float32), geometry, modality="MR", name="head")


def head() -> np.ndarray:
    """Return a head of 32 × 40 × 40 voxels; i runs to the patient's left."""
    array = np.zeros((32, 40, 40))
    for side, block in (("right", array[2:30, 2:38, 19:1:-1]), ("left", array[2:30, 2:38, 20:38])):
        block[:] = TISSUES[f"{side}_cerebral_cortex"]
        block[3:-3, 3:-3, 3:-3] = TISSUES[f"{side}_cerebral_white_matter"]
        block[20:24, 6:30, 6:10] = TISSUES[f"{side}_lateral_ventricle"]
        block[8:16, 8:24, 6:12] = TISSUES[f"{side}_hippocampus"]
    return array


def test_each_side_comes_out_on_its_side_the_right_one_as_in_a_mirror() -> None:
    array = head()
    mirrored = array[..., ::-1].copy()
    found = find_hippocampi_in_head(NullContext(), parts(), anatomy(), volume(array, 3.0))
    assert found.both
    left, right = found.labels[..., 20:], found.labels[..., :20]
    assert set(np.unique(left)) == {0, 1, 2}
    assert set(np.unique(right)) == {0, 1 + RIGHT_HIPPOCAMPUS, 2 + RIGHT_HIPPOCAMPUS}
    # The head is its own mirror image but for the values that name the sides.
    assert np.abs(mirrored - array).max() <= 4
    folded = np.where(right > 0, right - RIGHT_HIPPOCAMPUS, 0)[..., ::-1]
    assert (folded == left).mean() > 0.995


def test_the_axes_of_the_file_do_not_matter() -> None:
    straight = find_hippocampi_in_head(NullContext(), parts(), anatomy(), volume(head(), 3.0)).labels
    flipped = volume(np.ascontiguousarray(head()[:, ::-1, ::-1]), 3.0, (-1, 0, 0, 0, -1, 0, 0, 0, 1))
    other = find_hippocampi_in_head(NullContext(), parts(), anatomy(), flipped).labels
    np.testing.assert_array_equal(other[:, ::-1, ::-1], straight)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_crop_of_either_side_is_read(side: str) -> None:
    array = np.full((20, 24, 20), 100.0)
    array[6:14, 6:18, 6:14] += 12 * np.arange(8)
    array = array if side == "left" else array[..., ::-1]
    found = find_hippocampus_in_crop(NullContext(), parts(), volume(np.ascontiguousarray(array)))
    assert not found.both
    assert set(np.unique(found.labels)) == {0, 1, 2}
    inside = np.zeros(array.shape, bool)
    inside[6:14, 6:18, 5:15] = True
    assert not found.labels[~inside].any()
    front, back = (np.argwhere(found.labels == part)[:, 1].mean() for part in (1, 2))
    assert front < back
    assert [(flag.code, flag.segment) for flag in found.flags] == [("Q_VOLUME", 1)]


def test_M04_a_head_that_is_not_t1_weighted_is_refused() -> None:
    array = 124 - head()
    inverted = Model(anatomy().card, ByInverse())
    with pytest.raises(TaskError, match="T1-weighted") as refused:
        find_hippocampi_in_head(NullContext(), parts(), inverted, volume(array, 3.0))
    assert refused.value.code == "E_MODEL_INPUT"


class ByInverse(ByValue):
    """The same labels for the other order of brightness."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(124 / 100 - 2 - x)


def test_M04_an_image_without_a_brain_is_refused() -> None:
    array = np.zeros((32, 40, 40))
    array[0, 0, 0] = TISSUES["left_hippocampus"]
    with pytest.raises(TaskError, match="no brain") as refused:
        find_hippocampi_in_head(NullContext(), parts(), anatomy(), volume(array, 3.0))
    assert refused.value.code == "E_MODEL_INPUT"


def test_M04_a_slab_is_neither_a_head_nor_a_crop() -> None:
    refuse_hippocampus_size(parts().card, volume(np.zeros((36, 50, 35))))
    refuse_hippocampus_size(parts().card, volume(np.zeros((60, 80, 80)), 3.0))
    with pytest.raises(TaskError, match="200 × 90 × 90 mm"):
        refuse_hippocampus_size(parts().card, volume(np.zeros((45, 45, 100)), 2.0))
