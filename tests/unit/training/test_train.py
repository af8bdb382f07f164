"""Slices of training add up; what fails leaves the last good checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from medviewer.ai.card import Label, ModelCard, read_card
from medviewer.ai.checkpoint import load_network, load_weights
from medviewer.core.errors import TaskError
from medviewer.jobs.job import JobCancelled, NullContext
from medviewer.training.train import BAD_STEPS, LOG_NAME, STATE_NAME, Trainer


class Blobs:
    """Voxels above zero, to be learnt from noise around them."""

    learning_rate = 1e-2
    weight_decay = 1e-4
    broken_from: int | None = None

    def prepare(self, ctx: object) -> None:
        return

    def card(self) -> ModelCard:
        arguments = {"in_channels": 1, "out_channels": 2, "features": [4, 8]}
        labels = (Label(value=1, name="blob", title="Blob"),)
        return ModelCard(id="blobs", version="1", title="Blobs", network="unet", arguments=arguments, labels=labels)

    def batch(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        image = torch.from_numpy(rng.normal(size=(2, 1, 8, 8, 8)).astype(np.float32))
        return {"image": image, "label": (image[:, 0] > 0).long()}

    def loss(self, network: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        loss = nn.functional.cross_entropy(network(batch["image"]), batch["label"])
        return loss * float("nan") if self.broken_from is not None else loss

    def validate(self, network: nn.Module) -> dict[str, float]:
        batch = self.batch(np.random.default_rng(99))
        found = network(batch["image"]).argmax(1)
        return {"accuracy": float((found == batch["label"]).float().mean())}

    def evaluate(self, ctx: object, folder: Path) -> list[dict[str, object]]:
        return []


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_two_slices_are_one_long_one(tmp_path: Path) -> None:
    whole = Trainer(Blobs(), tmp_path / "whole")
    whole.run(NullContext(), 60, max_steps=12)
    Trainer(Blobs(), tmp_path / "parts").run(NullContext(), 60, max_steps=5)
    Trainer(Blobs(), tmp_path / "parts").run(NullContext(), 60, max_steps=7)
    one, two = (load_weights(tmp_path / name / STATE_NAME) for name in ("whole", "parts"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-5, atol=1e-6)


def test_it_learns_and_its_folder_is_a_model(tmp_path: Path) -> None:
    trainer = Trainer(Blobs(), tmp_path / "model")
    log = trainer.run(NullContext(), 60, finish=True, max_steps=150)
    assert log.metrics[-1][1]["accuracy"] > 0.9
    card = read_card(tmp_path / "model")
    assert card.training["steps"] == 150
    network = load_network(tmp_path / "model", card)
    assert Blobs().validate(network)["accuracy"] > 0.9


def test_a_model_can_be_trained_on(tmp_path: Path) -> None:
    Trainer(Blobs(), tmp_path / "first").run(NullContext(), 60, max_steps=100)
    second = Trainer(Blobs(), tmp_path / "second", start=tmp_path / "first")
    second.run(NullContext(), 60, max_steps=1)
    assert second.log.metrics[-1][1]["accuracy"] > 0.8


def test_M13_a_loss_that_is_no_number_ends_it_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    Trainer(Blobs(), tmp_path / "model").run(NullContext(), 60, max_steps=3)
    kept = (tmp_path / "model" / STATE_NAME).read_bytes()
    broken = Blobs()
    broken.broken_from = 3
    with pytest.raises(TaskError) as caught:
        Trainer(broken, tmp_path / "model").run(NullContext(), 60, max_steps=BAD_STEPS + 5)
    assert caught.value.code == "E_TRAINING"
    assert (tmp_path / "model" / STATE_NAME).read_bytes() == kept


def test_M13_cancel_at_any_step_keeps_what_was_learnt(tmp_path: Path) -> None:
    class Impatient(NullContext):
        calls = 0

        def check_cancelled(self) -> None:
            self.calls += 1
            if self.calls > 4:
                raise JobCancelled

    with pytest.raises(JobCancelled):
        Trainer(Blobs(), tmp_path / "model").run(Impatient(), 60, max_steps=50)
    assert (tmp_path / "model" / LOG_NAME).exists()
    assert Trainer(Blobs(), tmp_path / "model").log.steps == 4


def test_a_recipe_may_give_the_first_weights(tmp_path: Path) -> None:
    class Begun(Blobs):
        def initialise(self, network: nn.Module) -> None:
            for value in network.parameters():
                value.data.fill_(0.5)

    trainer = Trainer(Begun(), tmp_path / "model")
    assert all((value == 0.5).all() for value in trainer.mean.values())
    trainer.run(NullContext(), 60, max_steps=2)
    again = Trainer(Begun(), tmp_path / "model")
    assert not all((value == 0.5).all() for value in again.network.parameters())
