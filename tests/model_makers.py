"""Models written by the tests: small, with weights that mean nothing, in the layouts of the real ones."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medviewer.ai.card import CARD_NAME, WEIGHTS_NAME, Label, ModelCard, read_card
from medviewer.ai.checkpoint import load_network, save_weights
from medviewer.ai.formats.nnunet import read_card as read_nnunet_card
from medviewer.ai.networks import build_network

ARGUMENTS: dict[str, Any] = {"in_channels": 1, "out_channels": 2, "features": [4, 8], "residual": False}


def write_model(folder: Path, model_id: str = "tiny", **changes: Any) -> Path:
    """Write a MedViewer model; `changes` are entries of its card."""
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    network = build_network("unet", changes.get("arguments", ARGUMENTS))
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
        else:
            torch.nn.init.constant_(parameter, float(parameter.detach().mean().round()))
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


def nnunet_plans(dims: int = 3, *, residual: bool = False, old: bool = False, **changes: Any) -> dict[str, Any]:
    """Return plans as nnU-Net writes them; `changes` are entries of the configuration."""
    name = {2: "2d", 3: "3d_fullres"}[dims]
    kernels, strides = [[3] * dims] * 3, [[1] * dims, [2] * dims, [2] * dims]
    blocks = [1, 2, 2] if residual else [2, 2, 2]
    network = "ResidualEncoderUNet" if residual else "PlainConvUNet"
    config: dict[str, Any] = {
        "data_identifier": f"nnUNetPlans_{name}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [16, 16, 16][:dims],
        "median_image_size_in_voxels": [30.0, 30.0, 30.0][:dims],
        "spacing": [1.5, 1.25, 1.25][-dims:],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
        "batch_dice": False,
    }
    if old:
        config |= {
            "UNet_class_name": network, "UNet_base_num_features": 4, "unet_max_num_features": 12,
            "n_conv_per_stage_encoder": blocks, "n_conv_per_stage_decoder": [2, 1], "conv_kernel_sizes": kernels,
            "pool_op_kernel_sizes": strides, "num_pool_per_axis": [2] * dims,
        }  # fmt: skip
    else:
        config["architecture"] = {
            "network_class_name": f"dynamic_network_architectures.architectures.unet.{network}",
            "arch_kwargs": {
                "n_stages": 3, "features_per_stage": [4, 8, 12], "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
                "kernel_sizes": kernels, "strides": strides,
                "n_blocks_per_stage" if residual else "n_conv_per_stage": blocks,
                "n_conv_per_stage_decoder": [2, 1], "conv_bias": True,
                "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
                "norm_op_kwargs": {"eps": 1e-05, "affine": True}, "dropout_op": None, "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        }  # fmt: skip
    statistics = {"mean": 50.0, "std": 120.0, "percentile_00_5": -300.0, "percentile_99_5": 400.0,
                  "max": 900.0, "min": -900.0, "median": 40.0}  # fmt: skip
    return {
        "dataset_name": "Dataset004_Made",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [1.5, 1.25, 1.25],
        "original_median_shape_after_transp": [30, 30, 30],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {name: {**config, **changes}},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(n): statistics for n in range(2)},
    }


def nnunet_dataset(**changes: Any) -> dict[str, Any]:
    """Return ``dataset.json``."""
    return {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "head": 1, "tail": 2},
        "numTraining": 3,
        "file_ending": ".nii.gz",
        "licence": "CC-BY 4.0",
        **changes,
    }


def write_nnunet(
    folder: Path,
    plans: dict[str, Any] | None = None,
    dataset: dict[str, Any] | None = None,
    folds: tuple[str, ...] = ("0",),
    mirror: tuple[int, ...] | None = (0, 1, 2),
    **extra: Any,
) -> Path:
    """Write a result folder of nnU-Net v2 as it lies on a disk; `extra` goes into the checkpoints."""
    plans, dataset = plans or nnunet_plans(), dataset or nnunet_dataset()
    name = next(iter(plans["configurations"]))
    root: Path = folder / plans["dataset_name"] / f"nnUNetTrainer__nnUNetPlans__{name}"
    root.mkdir(parents=True)
    (root / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    (root / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    for fold in folds:
        (root / f"fold_{fold}").mkdir()
        (root / f"fold_{fold}" / "checkpoint_final.pth").touch()
    card = read_nnunet_card(root)
    for n, fold in enumerate(folds):
        torch.manual_seed(n)
        weights = nnunet_weights(build_network(card.network, card.arguments))
        checkpoint = {
            "network_weights": weights,
            "optimizer_state": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4}]},
            "grad_scaler_state": {"scale": 65536.0, "_growth_tracker": 3},
            "logging": {"mean_fg_dice": [np.float64(0.5), np.float32(0.75)], "epoch_start_timestamps": [1.0]},
            "_best_ema": np.float64(0.75),
            "current_epoch": 1000,
            "init_args": {"plans": plans, "configuration": name, "fold": n, "dataset_json": dataset,
                          "device": torch.device("cpu")},
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": mirror,
            **extra,
        }  # fmt: skip
        torch.save(checkpoint, root / f"fold_{fold}" / "checkpoint_final.pth")
    return root


def nnunet_weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return weights under every name that nnU-Net's own modules give them."""
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    weights: dict[str, torch.Tensor] = {}
    for name, value in network.state_dict().items():
        head, _, tail = name.rpartition(".")
        layer = {"conv": "all_modules.0", "norm": "all_modules.1"}
        stem, _, kind = head.rpartition(".")
        again = f"{stem}.{layer[kind]}.{tail}" if kind in layer else ""
        names = [name, *([again] if again else [])]
        weights.update(dict.fromkeys(names, value))
        if name.startswith("encoder."):
            weights.update({f"decoder.{n}": value for n in names})
    return weights


def bundle_config(**changes: Any) -> dict[str, Any]:
    """Return ``inference.json`` as MONAI's model zoo writes it."""
    return {
        "imports": ["$import glob", "$import os"],
        "bundle_root": ".",
        "image_key": "image",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "datalist": "$list(sorted(glob.glob(@dataset_dir + '/imagesTs/*.nii.gz')))",
        "roi_size": [16, 24, 20],
        "network_def": {
            "_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [4, 8],
            "strides": [2], "num_res_units": 1, "norm": "batch",
        },
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "@image_key"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
                {"_target_": "Spacingd", "keys": "image", "pixdim": [1.0, 1.5, 2.0], "mode": "bilinear"},
                {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -100, "a_max": 300, "b_min": 0.0,
                 "b_max": 1.0, "clip": True},
                {"_target_": "EnsureTyped", "keys": "image"},
            ],
        },
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": "@roi_size", "sw_batch_size": 4, "overlap": 0.5},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image"},
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
                {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir"},
            ],
        },
        "handlers": [{"_target_": "CheckpointLoader", "load_path": "$@bundle_root + '/models/model.pt'"}],
        **changes,
    }  # fmt: skip


def write_bundle(folder: Path, **changes: Any) -> Path:
    """Write a MONAI bundle with a small network; `changes` are entries of ``inference.json``."""
    import monai.networks.nets

    nets: Any = monai.networks.nets
    config = bundle_config(**changes)
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "docs").mkdir()
    metadata = {
        "name": "Made thing", "version": "0.3.1", "description": "Finds things.", "copyright": "Nobody",
        "network_data_format": {
            "inputs": {"image": {"type": "image", "modality": "CT", "num_channels": 1, "channel_def": {"0": "image"}}},
            "outputs": {"pred": {"num_channels": 3, "channel_def": {"0": "background", "1": "one", "2": "two"}}},
        },
    }  # fmt: skip
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    (folder / "configs" / "inference.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "docs" / "license.txt").write_text("Apache License 2.0\nAnd so on.\n", encoding="utf-8")
    torch.manual_seed(0)
    arguments = {k: v for k, v in bundle_config()["network_def"].items() if k != "_target_"}
    torch.save(nets.UNet(**arguments).state_dict(), folder / "models" / "model.pt")
    return folder


def _beside_a_card(folder: Path, own: Path) -> torch.nn.Module:
    folder.mkdir()
    text = (own / CARD_NAME).read_text(encoding="utf-8").replace('"weights_sha256": "', '"weights_sha256": "x')
    (folder / CARD_NAME).write_text(text, encoding="utf-8")
    return load_network(own, read_card(own))


def write_torchscript(folder: Path, own: Path, script: Any = None) -> Path:
    """Write the network of a MedViewer model as TorchScript with a card, or another program in its place."""
    network = _beside_a_card(folder, own)
    trace: Any = torch.jit.trace
    script = script or trace(network, torch.zeros(1, 1, 16, 16, 16))
    script.save(str(folder / "model.ts"))
    return folder


def write_onnx(folder: Path, own: Path, elsewhere: str = "") -> Path:
    """Write the network of a MedViewer model as ONNX with a card; its first weights may lie `elsewhere`."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    network = _beside_a_card(folder, own)
    path = folder / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (torch.zeros(1, 1, 16, 16, 16),), str(path), dynamo=False, input_names=["x"],
            dynamic_axes={"x": {0: "n"}},
        )  # fmt: skip
    if elsewhere:
        model = onnx.load(path)
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=elsewhere)
        path.write_bytes(model.SerializeToString())
    return folder
