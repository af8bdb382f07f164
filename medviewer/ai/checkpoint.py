"""Weights as safetensors: numbers and names, nothing that runs. Stored in half precision, used in single."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from medviewer.ai.card import WEIGHTS_NAME, ModelCard
from medviewer.ai.networks import build_network
from medviewer.core.errors import TaskError
from medviewer.io.atomic import atomic_write

if TYPE_CHECKING:
    import torch
    from torch import nn


def save_weights(path: Path, state: Mapping[str, torch.Tensor], *, half: bool = True) -> str:
    """Write tensors as safetensors, whole or not at all; return the file's SHA-256.

    Parameters
    ----------
    path : Path
    state : mapping of name to tensor
    half : bool
        Whether floating-point tensors are stored as float16.
    """
    from safetensors.torch import save

    tensors = {
        name: (value.half() if half and value.is_floating_point() else value).detach().cpu().contiguous()
        for name, value in state.items()
    }
    data = save(tensors)
    with atomic_write(path) as file:
        file.write(data)
    return hashlib.sha256(data).hexdigest()


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file; half precision comes back as float32.

    Raises
    ------
    TaskError
        ``E_MODEL_FILE``: missing, cut, or not safetensors.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise TaskError(
            f"The weights {path.parent.name}/{path.name} cannot be read: {error}.",
            hint="Import or download the model again.",
            code="E_MODEL_FILE",
        ) from error
    return {
        name: value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
        for name, value in state.items()
    }


def load_network(folder: Path, card: ModelCard) -> nn.Module:
    """Return the network of a MedViewer model's folder with its weights, on the CPU, in evaluation mode.

    Raises
    ------
    TaskError
        ``E_MODEL_FILE``: the file is damaged, is not the one the card names, or does not fit the network.
    """
    path = folder / WEIGHTS_NAME
    state = load_weights(path)
    if card.weights_sha256 and hashlib.sha256(path.read_bytes()).hexdigest() != card.weights_sha256:
        raise TaskError(
            f"The weights of {card.title} are not the ones that its card names.",
            hint="Import or download the model again.",
            code="E_MODEL_FILE",
        )
    network = build_network(card.network, card.arguments)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise TaskError(
            f"The weights of {card.title} do not fit its network.",
            hint="Import or download the model again.",
            code="E_MODEL_FILE",
        ) from error
    return network.eval()
