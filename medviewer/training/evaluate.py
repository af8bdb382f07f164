"""Measure a model through the code that users run, and write what came out into its card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from medviewer.ai.card import CARD_NAME, read_card
from medviewer.io.atomic import atomic_write
from medviewer.jobs.job import JobContext
from medviewer.training.recipe import Table, TrainingRecipe


def evaluate_model(ctx: JobContext, recipe: TrainingRecipe, folder: Path) -> Table:
    """Return the table of a model's folder on the recipe's held-out cases; its card gets the same rows."""
    table = recipe.evaluate(ctx, folder)
    card = replace(read_card(folder), metrics=table)
    with atomic_write(folder / CARD_NAME) as file:
        file.write(card.to_json().encode())
    return table
