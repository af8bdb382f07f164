"""A MedViewer model: ``model.json`` and ``weights.safetensors``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medviewer.ai.card import CARD_NAME, WEIGHTS_NAME, ModelCard
from medviewer.ai.card import read_card as read_model_json
from medviewer.core.errors import TaskError

if TYPE_CHECKING:
    from torch import nn


def recognises(folder: Path) -> bool:
    """Whether the folder has a card, and no weights of another kind."""
    if (folder / WEIGHTS_NAME).is_file():
        return (folder / CARD_NAME).is_file()
    return (folder / CARD_NAME).is_file() and not any((*folder.glob("*.onnx"), *folder.glob("*.ts")))


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


def open_network(folder: Path, card: ModelCard) -> tuple[nn.Module, str]:
    """Return the network with its weights, and their SHA-256."""
    from medviewer.ai.checkpoint import load_network

    return load_network(folder, card), card.weights_sha256
