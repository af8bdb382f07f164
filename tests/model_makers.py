"""Models written by the tests: small, with weights that mean nothing, in the layouts of the real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from medviewer.ai.card import CARD_NAME, WEIGHTS_NAME, Label, ModelCard
from medviewer.ai.checkpoint import save_weights
from medviewer.ai.networks import build_network

ARGUMENTS: dict[str, Any] = {"in_channels": 1, "out_channels": 2, "features": [4, 8], "residual": False}


def write_model(folder: Path, model_id: str = "tiny", **changes: Any) -> Path:
    """Write a MedViewer model; `changes` are entries of its card."""
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    network = build_network("unet", changes.get("arguments", ARGUMENTS))
    digest = save_weights(folder / WEIGHTS_NAME, network.state_dict())
    values: dict[str, Any] = {
        "id": model_id,
        "version": "1.0",
        "title": "Tiny",
        "network": "unet",
        "arguments": ARGUMENTS,
        "modalities": ["CT"],
        "spacing_mm": (2.0, 2.0, 2.0),
        "window": (16, 16, 16),
        "labels": (Label(value=1, name="thing", title="Thing"),),
        "license": "Apache-2.0",
        "weights_sha256": digest,
        **changes,
    }
    (folder / CARD_NAME).write_text(ModelCard(**values).to_json(), encoding="utf-8")
    return folder
