"""Model folders of nnInteractive written by the tests: small networks in the layout of the published one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from medviewer.ai.formats.nninteractive import read_card
from medviewer.ai.networks import build_network
from tests.model_makers import nnunet_dataset, nnunet_plans, nnunet_weights

#: As in the published model's ``inference_session_class.json``.
PUBLISHED_INFO = {
    "inference_class": "nnInteractiveInferenceSession", "point_radius": 4, "preferred_scribble_thickness": 2,
}  # fmt: skip


def nninteractive_plans(patch: int = 32) -> dict[str, Any]:
    """Plans with several configurations that inherit from each other, of which one was trained."""
    plans = nnunet_plans(
        residual=True,
        patch_size=[patch] * 3,
        resampling_fn_data="no_resampling_hack",
        resampling_fn_probabilities="no_resampling_hack",
        normalization_schemes=["ZScoreNormalization"],
    )
    full = plans["configurations"].pop("3d_fullres")
    plans["configurations"] = {
        "3d_fullres": {**full, "patch_size": [2 * patch] * 3},
        "3d_fullres_ps192": {"inherits_from": "3d_fullres", "patch_size": [patch] * 3},
        "3d_fullres_ps192_bs24": {"inherits_from": "3d_fullres_ps192", "batch_size": 24},
    }
    return {**plans, "dataset_name": "Dataset225_nnInteractiveV2", "plans_name": "nnUNetResEncUNetLPlans_noResampling"}


def write_nninteractive(
    folder: Path,
    *,
    info: Any = None,
    info_name: str = "inference_session_class.json",
    license_text: str = "",
    plans: dict[str, Any] | None = None,
    like_the_click: bool = False,
    **extra: Any,
) -> Path:
    """Write a model folder; `extra` goes into the checkpoint.

    With `like_the_click` its weights are set so that the object is what is bright and near a click.
    """
    root = folder / "nnInteractive_v1.0"
    (root / "fold_0").mkdir(parents=True)
    plans = plans or nninteractive_plans()
    dataset = nnunet_dataset(channel_names={"0": "image"}, labels={"background": 0, "1": 1, "2": 2, "3": 3}, licence="")
    (root / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    (root / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    (root / info_name).write_text(json.dumps(PUBLISHED_INFO if info is None else info), encoding="utf-8")
    if license_text:
        (root / "LICENSE").write_text(license_text, encoding="utf-8")
    (root / "fold_0" / "checkpoint_final.pth").touch()
    card = read_card(root)
    torch.manual_seed(0)
    weights = nnunet_weights(build_network(card.network, card.arguments))
    if like_the_click:
        _make_simple(weights)
    checkpoint = {
        "network_weights": weights,
        "grad_scaler_state": {"scale": 65536.0},
        "logging": {"epoch_start_timestamps": [1.0]},
        "current_epoch": 5000,
        "init_args": {"plans": plans, "configuration": card.settings["configuration"], "fold": 0},
        "trainer_name": "nnInteractiveTrainer_stub",
        "inference_allowed_mirroring_axes": (0, 1, 2),
        **extra,
    }
    torch.save(checkpoint, root / "fold_0" / "checkpoint_final.pth")
    return root


def _make_simple(weights: dict[str, torch.Tensor]) -> None:
    """Set weights so that the object is what is brighter than its surroundings, where no click says no."""
    for value in weights.values():
        value.zero_()
    for name, value in weights.items():
        if name.endswith("norm.weight"):
            value.fill_(1)
    middle = (1, 1, 1)
    # The image is the first channel of the input, clicks outside are the sixth; both go to the end by the first skip.
    stem = weights["encoder.stem.convs.0.conv.weight"]
    stem[(0, 0, *middle)] = stem[(1, 5, *middle)] = 1
    last = weights["decoder.stages.1.convs.0.conv.weight"]
    last[(0, 4, *middle)] = last[(1, 5, *middle)] = 1
    weights["decoder.seg_layers.1.weight"][1, :2, 0, 0, 0] = torch.tensor([1.0, -1.0])
    weights["decoder.seg_layers.1.bias"][1] = -1.0
