"""A MedViewer model: ``model.json`` and ``weights.safetensors``."""

from __future__ import annotations

from pathlib import Path

from medviewer.ai.card import CARD_NAME, WEIGHTS_NAME, ModelCard
from medviewer.ai.card import read_card as read_model_json
from medviewer.core.errors import TaskError


def recognises(folder: Path) -> bool:
    """Whether the folder has a card."""
    return (folder / CARD_NAME).is_file()


def read_card(folder: Path) -> ModelCard:
    """Return the card; the weights must be there."""
    card = read_model_json(folder)
    if not (folder / WEIGHTS_NAME).is_file():
        raise TaskError(
            f"The model {card.title} has no {WEIGHTS_NAME}.",
            hint="Import or download the model again.",
            code="E_MODEL_FILE",
        )
    return card
