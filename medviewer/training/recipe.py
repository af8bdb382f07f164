"""What a recipe says: one file under `recipes/` per model, with a class ``Recipe`` that follows this contract."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from medviewer.ai.card import ModelCard
from medviewer.core.errors import InputError
from medviewer.jobs.job import JobContext

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

Batch = Mapping[str, "torch.Tensor"]
Metrics = Mapping[str, float]
#: Rows of the table of a model: what, on what, how many cases, figure, bar.
Table = list[dict[str, Any]]


class TrainingRecipe(Protocol):
    """One model: its data, network, loss and measure.

    A recipe is made with ``Recipe(data, work)``: the folder of training data and a folder of its own for what it
    prepares. What is held out is chosen by patient and the same in every run. It may also have
    ``initialise(network)``, which gives a fresh network its first weights, and ``thorough``, which is set where
    `evaluate` is to take all held-out cases, not as many as ten minutes allow; `card` may say what `validate` found.

    Attributes
    ----------
    learning_rate : float
    weight_decay : float
    """

    learning_rate: float
    weight_decay: float

    def prepare(self, ctx: JobContext) -> None:
        """Read the data, once; a second call is quick."""

    def card(self) -> ModelCard:
        """Return the card without hash, training and metrics: `train` and `evaluate` fill those in."""

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return the tensors of one step, on the CPU."""

    def loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        """Return the loss of one step; the batch is on the network's device."""

    def validate(self, network: nn.Module) -> Metrics:
        """Return a few quick figures on held-out cases for the curves."""

    def evaluate(self, ctx: JobContext, folder: Path) -> Table:
        """Measure a finished model's folder on what was held out, through the same code that users run."""


@cache
def names() -> tuple[str, ...]:
    """Return the recipes there are."""
    import medviewer.training.recipes as package

    return tuple(sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")))


def open_recipe(name: str, data: Path, work: Path) -> TrainingRecipe:
    """Return a recipe by name; raises `InputError` ``E_RECIPE``."""
    if name not in names():
        raise InputError(f"There is no recipe {name!r}.", hint=f"Known are {', '.join(names())}.", code="E_RECIPE")
    recipe: TrainingRecipe = importlib.import_module(f"medviewer.training.recipes.{name}").Recipe(data, work)
    return recipe
