"""What ONNX and TorchScript share: a network in a file, and a card beside it that says all the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from medviewer.ai.card import CARD_NAME, ModelCard
from medviewer.ai.card import read_card as read_model_json
from medviewer.core.errors import TaskError

if TYPE_CHECKING:
    import torch
    from torch import nn


def network_file(folder: Path, suffixes: tuple[str, ...]) -> Path | None:
    """Return the one file of a network in a folder."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.is_file()]
    return found[0] if len(found) == 1 else None


def read_card(folder: Path) -> ModelCard:
    """Return the card beside the network's file; its entries `network` and `arguments` are not used."""
    if not (folder / CARD_NAME).is_file():
        raise TaskError(
            f"The network in {folder.name} has no {CARD_NAME} beside it, so nobody knows what it takes and gives.",
            hint="Write one: channels, spacing, window, intensity and labels. docs/cli.md has an example.",
            code="E_MODEL_FILE",
        )
    return read_model_json(folder)


def opaque(run: Callable[[torch.Tensor], torch.Tensor]) -> nn.Module:
    """Return a module that calls a function: the engine neither copies, converts nor shortens it."""
    from torch import nn

    class Opaque(nn.Module):
        opaque = True

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Return logits."""
            return run(x)

    return Opaque().eval()
