"""The mean over mirrored windows."""

from __future__ import annotations

from dataclasses import replace

import torch

from medviewer.ai.card import Label, ModelCard
from medviewer.ai.flips import exchanged, flip_axes, flipped

LEFT = Label(value=1, name="left_lung", title="Left lung", laterality="left")
RIGHT = Label(value=2, name="right_lung", title="Right lung", laterality="right")
MIDDLE = Label(value=3, name="trachea", title="Trachea")
CARD = ModelCard(id="m", version="1", title="M", network="unet", arguments={}, labels=(LEFT, RIGHT, MIDDLE))


def sides(x: torch.Tensor) -> torch.Tensor:
    """Left is what is bright in the last columns, right what is bright in the first ones."""
    columns = torch.linspace(-1, 1, x.shape[-1])
    return torch.cat([torch.zeros_like(x), x * columns, -x * columns, x], dim=1)


def test_a_network_that_knows_its_sides_is_the_same_flipped() -> None:
    x = torch.randn(2, 1, 4, 5, 6)
    torch.testing.assert_close(flipped(CARD, sides)(x), sides(x))
    every = replace(CARD, settings={"flips": ["k", "j", "i"]})
    torch.testing.assert_close(flipped(every, sides)(x), sides(x))


def test_left_and_right_are_exchanged() -> None:
    assert exchanged(CARD) == [0, 2, 1, 3]
    assert exchanged(replace(CARD, output="sigmoid")) == [1, 0, 2]


def test_a_side_without_its_counterpart_is_not_flipped() -> None:
    alone = replace(CARD, labels=(LEFT, MIDDLE))
    assert flip_axes(alone) == ()
    x = torch.randn(1, 1, 4, 4, 4)
    torch.testing.assert_close(flipped(alone, sides)(x), sides(x))


def test_the_spread_is_nothing_where_flips_agree_and_one_where_they_contradict() -> None:
    card = replace(CARD, labels=(replace(MIDDLE, value=1),), settings={"flips": ["i"]})

    def first_half(x: torch.Tensor) -> torch.Tensor:
        sure = torch.full_like(x, -50.0)
        sure[..., : x.shape[-1] // 2] = 50.0
        return torch.cat([torch.zeros_like(x), sure], dim=1)

    x = torch.zeros(1, 1, 2, 2, 8)
    torch.testing.assert_close(flipped(card, first_half, spread=True)(x)[:, 2], torch.ones(1, 2, 2, 8))
    same = flipped(card, lambda x: torch.cat([x, x + 1], dim=1), spread=True)(x)
    torch.testing.assert_close(same[:, 2], torch.zeros(1, 2, 2, 8))
