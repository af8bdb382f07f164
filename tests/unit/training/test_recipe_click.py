"""Click-to-segment learns from what a session will show it: cubes, first clicks, clicks in its own errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from medviewer.ai.click_input import CHANNELS, SIZE
from medviewer.ai.networks import build_network
from medviewer.jobs.job import NullContext
from medviewer.training.recipes._click_game import dice, next_click
from medviewer.training.recipes._click_sources import Item, read_items
from medviewer.training.recipes.click_segment import SHARES, Recipe, add_click


def item(source: str, *, held_out: bool = False) -> Item:
    """A bright box with a brighter half in a grey noise."""
    labels = np.zeros((40, 36, 30), np.uint8)
    labels[12:28, 10:20, 8:22] = 1
    labels[12:28, 20:24, 8:22] = 2
    image = np.random.default_rng(0).normal(0, 0.1, labels.shape).astype(np.float32) + labels
    boxes = (((12, 10, 8), (28, 24, 22)), ((12, 10, 8), (28, 20, 22)))
    image_or_none = None if source == "brain" else image
    return Item(source, "x", image_or_none, labels, (1.0, 1.0, 1.5), ((1, 2), (1,)), boxes, held_out)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    made = Recipe(tmp_path, tmp_path)
    made.items = [item(source) for source in SHARES if source != "shapes"]
    return made


def test_examples_are_cubes_with_a_prompt_inside_the_object(recipe: Recipe) -> None:
    clicks = boxes = 0
    for seed in range(4):
        batch = recipe.batch(np.random.default_rng(seed))
        assert batch["image"].shape[1:] == batch["target"].shape[1:] == (1, SIZE, SIZE, SIZE)
        for n in range(len(batch["image"])):
            target = batch["target"][n, 0]
            assert target.sum() > 0
            if batch["inside"][n, 0]:
                clicks += 1
                k, j, i = batch["points"][n, 0].round().long().tolist()
                assert target[k, j, i] == 1
            else:
                boxes += 1
                low, high = batch["box"][n, :3], batch["box"][n, 3:]
                middle = torch.nonzero(target).float().mean(0)
                assert bool(((low < middle) & (middle < high)).all())
    assert clicks > boxes > 0


def test_the_same_seed_draws_the_same_batch(recipe: Recipe) -> None:
    one, two = (recipe.batch(np.random.default_rng(3)) for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_loss_teaches_every_weight_and_leaves_the_network_in_training(recipe: Recipe) -> None:
    arguments = {**recipe.card().arguments, "features": [4, 8, 8, 8]}
    network = build_network("unet", arguments)
    batch = dict(recipe.batch(np.random.default_rng(0)))
    batch["rounds"] = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    torch.autograd.backward(recipe.loss(network.train(), batch))
    assert network.training
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_a_further_click_says_what_is_wrong_where_it_is_most_wrong() -> None:
    target = torch.zeros(2, 1, SIZE, SIZE, SIZE)
    target[:, :, 8:20, 8:20, 8:20] = 1
    mask = target.clone()
    mask[0, :, 8:20, 8:20, 14:20] = 0
    mask[1, :, 20:26, 8:20, 8:20] = 1
    nothing = torch.zeros(2, 3)
    points, inside, outside = add_click(torch.zeros(2, 3, 3), nothing, nothing, mask, target, 1)
    assert inside[:, 1].tolist() == [1, 0]
    assert outside[:, 1].tolist() == [0, 1]
    # In the middle where what is wrong is wide, at random where it is thin.
    wrong = (((11, 16), (11, 16), (14, 20)), ((20, 26), (11, 16), (11, 16)))
    for n, box in enumerate(wrong):
        assert all(low <= float(place) < high for place, (low, high) in zip(points[n, 1], box, strict=True))


def test_the_game_clicks_in_the_middle_of_the_largest_error() -> None:
    target = np.zeros((20, 20, 20), bool)
    target[4:13, 4:13, 4:13] = True
    assert next_click(np.zeros_like(target), target, (1, 1, 1)) == ((8, 8, 8), True)
    mask = target.copy()
    mask[4:13, 4:13, 13:18] = True
    place, positive = next_click(mask, target, (1, 1, 1))
    assert not positive
    assert place[2] == 15
    assert dice(target, target) == 1


def test_the_card_fits_the_network(recipe: Recipe) -> None:
    card = recipe.card()
    network: nn.Module = build_network(card.network, card.arguments)
    size = sum(p.numel() for p in network.parameters())
    assert size * 2 < 12e6
    assert card.arguments["in_channels"] == CHANNELS
    assert (card.id, card.runner, card.task["kind"]) == ("click_segment", "click", "interactive")


def test_no_patient_is_both_learnt_from_and_measured(shared_data: Path, tmp_path: Path) -> None:
    items = read_items(NullContext(), shared_data.parent / "training", tmp_path)
    for source in ("nodule", "hippocampus", "sarcoma"):
        # Images of one sarcoma share its patient's number.
        learnt, measured = (
            {one.name[:7] if source == "sarcoma" else one.name for one in items
             if one.source == source and one.held_out == held_out}
            for held_out in (False, True)
        )  # fmt: skip
        assert learnt
        assert measured
        assert learnt.isdisjoint(measured)
