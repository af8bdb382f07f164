"""An nnU-Net v2 result folder: ``plans.json``, ``dataset.json``, ``fold_*/checkpoint_*.pth``.

The folder is one trained configuration, ``<trainer>__<plans>__<configuration>``, or holds exactly one. Everything is
read as data: names of classes are looked up in tables of our own, and nothing is imported by name.

References
----------
nnU-Net v2 documentation, "explanation_plans_files.md" and "dataset_format.md".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medviewer.ai.card import Label, ModelCard
from medviewer.core.errors import TaskError

RUNNER = "nnunet"
#: Checkpoints by preference; nnU-Net predicts with the last.
CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")
MAX_BYTES = 64 << 20
SCHEMES = {
    "ZScoreNormalization": "zscore", "CTNormalization": "ct", "NoNormalization": "none",
    "RescaleTo01Normalization": "rescale", "RGBTo01Normalization": "rgb",
}  # fmt: skip
RESAMPLERS = {
    "resample_data_or_seg_to_shape": "spline",
    "resample_torch_fornnunet": "linear",
    "resample_torch_simple": "linear",
    "no_resampling_data_or_seg_to_shape": "none",
}
_MR = re.compile(r"(t1|t2|flair|mr|mri|adc|dwi|pd|dce|swi)", re.IGNORECASE)
_NORMS = {"InstanceNorm": "instance", "BatchNorm": "batch"}


def roots(folder: Path) -> tuple[Path, ...]:
    """Return the result folders in a folder: itself, or those one or two levels below."""
    for pattern in ("plans.json", "*/plans.json", "*/*/plans.json"):
        found = sorted(path.parent for path in folder.glob(pattern) if (path.parent / "dataset.json").is_file())
        if found:
            return tuple(found)
    return ()


def files(root: Path) -> tuple[Path, ...]:
    """Return what of a result folder is needed to run it: neither predictions nor training images."""
    texts = [path for path in root.iterdir() if path.is_file() and path.suffix.lower() in (".json", ".md", ".txt", "")]
    return (*sorted(texts), *checkpoints(root))


def recognises(folder: Path) -> bool:
    """Whether plans and dataset lie in the folder or below."""
    return bool(roots(folder))


def read_card(folder: Path) -> ModelCard:
    """Return a card made from the plans."""
    found = roots(folder)
    if len(found) != 1:
        raise refused(folder, f"it holds {len(found)} trained configurations; import them one by one")
    root = found[0]
    plans, dataset = read_json(root / "plans.json"), read_json(root / "dataset.json")
    try:
        return _card(root, plans, dataset)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise refused(root, f"its plans are not as nnU-Net writes them ({type(error).__name__}: {error})") from error


def _card(root: Path, plans: Mapping[str, Any], dataset: Mapping[str, Any]) -> ModelCard:
    name = configuration_name(root, plans)
    config = inherited(plans["configurations"], name)
    if config.get("previous_stage"):
        raise refused(root, f"{name} is the second stage of a cascade, which needs the result of the first")
    channels = channel_names(dataset)
    labels, regions = _labels(dataset)
    outputs = len(labels) if regions else 1 + len(labels)
    title = re.sub(r"^Dataset\d+_", "", str(plans.get("dataset_name", root.parent.name)))
    forward = [int(axis) for axis in plans["transpose_forward"]]
    return ModelCard(
        id=re.sub(r"\W", "_", f"nnunet_{title}_{name}").lower(),
        version=str(dataset.get("release") or "1"),
        title=f"{title.replace('_', ' ')} (nnU-Net {name})",
        description=str(dataset.get("description", "")),
        network="dynamic_unet",
        arguments=network_arguments(root, config, len(channels), outputs),
        runner=RUNNER,
        modalities=_modalities(channels),
        channels=channels,
        spacing_mm=tuple(float(v) for v in config["spacing"]),
        window=tuple(int(n) for n in config["patch_size"]),
        intensity={"kind": "nnunet"},
        output="sigmoid" if regions else "softmax",
        labels=labels,
        settings={
            "folds": [str(path.relative_to(root)) for path in checkpoints(root)],
            "transpose": forward,
            "schemes": [_known(root, SCHEMES, scheme) for scheme in config["normalization_schemes"]],
            "inside_only": [bool(flag) for flag in config["use_mask_for_norm"]],
            "intensities": _intensities(plans, len(channels)),
            "resample_image": _resampler(root, config, "resampling_fn_data", 3),
            "resample_logits": _resampler(root, config, "resampling_fn_probabilities", 1),
            "axes": "RAS" if "Reorient" in str(plans.get("image_reader_writer", "")) else "stored",
        },
        license=str(dataset.get("licence") or dataset.get("license") or "unknown"),
        credit=str(dataset.get("reference", "")),
    )


def configuration_name(root: Path, plans: Mapping[str, Any]) -> str:
    """Return which configuration of the plans was trained: the folder's name says so, or there is only one."""
    parts = root.name.split("__")
    if len(parts) == 3 and parts[2] in plans["configurations"]:
        return parts[2]
    if len(plans["configurations"]) == 1:
        return str(next(iter(plans["configurations"])))
    raise refused(root, "its name does not say which configuration it is (trainer__plans__configuration)")


def checkpoints(root: Path) -> tuple[Path, ...]:
    """Return one checkpoint for each fold; ``fold_all`` only where no other is."""
    for name in CHECKPOINTS:
        numbered = sorted(root.glob(f"fold_[0-9]*/{name}"))
        found = numbered or sorted(root.glob(f"fold_all/{name}"))
        if found:
            return tuple(found)
    raise refused(root, f"no fold has a {CHECKPOINTS[0]}")


def refused(folder: Path, reason: str) -> TaskError:
    """Return the refusal of a folder."""
    return TaskError(
        f"The nnU-Net model in {folder.name} cannot be used: {reason}.",
        hint="Copy the whole result folder of nnU-Net v2 again.",
        code="E_MODEL_FILE",
    )


def read_json(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file of a result folder; raises `TaskError` ``E_MODEL_FILE``."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise refused(path.parent, f"{path.name} is too large")
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise refused(path.parent, f"{path.name}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise refused(path.parent, f"{path.name} is not JSON") from error
    if not isinstance(data, dict):
        raise refused(path.parent, f"{path.name} is not an object")
    return data


def inherited(configurations: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a configuration with what it inherits from others."""
    chain = [name]
    while parent := configurations[chain[-1]].get("inherits_from"):
        if parent in chain:
            raise ValueError(f"{parent} inherits from itself")
        chain.append(parent)
    merged: dict[str, Any] = {}
    for entry in reversed(chain):
        merged.update(configurations[entry])
    return merged


def channel_names(dataset: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what ``dataset.json`` calls the input images, in order."""
    names = dataset.get("channel_names") or dataset["modality"]
    return tuple(str(names[key]) for key in sorted(names, key=int))


def _modalities(channels: Sequence[str]) -> tuple[str, ...]:
    if all(name.upper() == "CT" for name in channels):
        return ("CT",)
    return ("MR",) if all(_MR.match(name) for name in channels) else ()


def _labels(dataset: Mapping[str, Any]) -> tuple[tuple[Label, ...], bool]:
    """Return the labels in the order of the network's outputs, and whether they are regions that overlap."""
    entries = {name: value for name, value in dataset["labels"].items() if name != "ignore"}
    regions = any(isinstance(value, list) and len(value) > 1 for value in entries.values())
    found = []
    order = iter(dataset["regions_class_order"] if regions else ())
    for name, value in entries.items():
        values = set(value) if isinstance(value, list) else {value}
        if values != {0}:
            number = int(next(order)) if regions else int(next(iter(values)))
            found.append(Label(value=number, name=re.sub(r"\W+", "_", str(name)).lower(), title=str(name)))
    if not regions:
        found.sort(key=lambda label: label.value)
    return tuple(found), regions


def _intensities(plans: Mapping[str, Any], count: int) -> list[dict[str, float]]:
    table = plans.get("foreground_intensity_properties_per_channel")
    table = table or plans.get("foreground_intensity_properties_by_modality") or {}
    wanted = ("mean", "std", "percentile_00_5", "percentile_99_5")
    return [{key: float(table[str(n)][key]) for key in wanted} if str(n) in table else {} for n in range(count)]


def _known(root: Path, table: Mapping[str, str], name: str) -> str:
    if name not in table:
        raise refused(root, f"it asks for {name}, which this version does not know")
    return table[name]


def _resampler(root: Path, config: Mapping[str, Any], key: str, order: int) -> dict[str, Any]:
    arguments = config.get(f"{key}_kwargs", {})
    apart = arguments.get("force_separate_z")
    return {
        "kind": _known(root, RESAMPLERS, config.get(key, "resample_data_or_seg_to_shape")),
        "order": int(arguments.get("order", order)),
        "order_apart": int(arguments.get("order_z", 0)),
        "apart": None if apart is None else bool(apart),
    }


def network_arguments(root: Path, config: Mapping[str, Any], inputs: int, outputs: int) -> dict[str, Any]:
    """Return the arguments of `medviewer.ai.networks.dynamic_unet`."""
    architecture = config.get("architecture") or _old_architecture(config)
    kind = str(architecture["network_class_name"]).rsplit(".", 1)[-1]
    if kind not in ("PlainConvUNet", "ResidualEncoderUNet"):
        raise refused(root, f"its network {kind} is none that this version builds")
    given = architecture["arch_kwargs"]
    dims = len(config["patch_size"])
    residual = kind == "ResidualEncoderUNet"
    stages = int(given["n_stages"])
    if residual and str(given.get("block") or "BasicBlockD").rsplit(".", 1)[-1] not in ("BasicBlockD", "BottleneckD"):
        raise refused(root, f"its blocks {given['block']} are none that this version builds")
    narrow = given.get("bottleneck_channels")
    return {
        "dims": dims,
        "in_channels": inputs,
        "out_channels": outputs,
        "features": _each(given["features_per_stage"], stages),
        "kernels": _steps(given["kernel_sizes"], stages, dims),
        "strides": _steps(given["strides"], stages, dims),
        "blocks": _each(given["n_blocks_per_stage" if residual else "n_conv_per_stage"], stages),
        "convs_decoder": _each(given["n_conv_per_stage_decoder"], stages - 1),
        "residual": residual,
        "narrow": None if narrow is None else _each(narrow, stages),
        "stem_channels": given.get("stem_channels"),
        "bias": bool(given.get("conv_bias", False)),
        "norm": _norm(root, given.get("norm_op")),
        "norm_arguments": dict(given.get("norm_op_kwargs") or {}),
        "activation": str(given["nonlin"]).rsplit(".", 1)[-1],
        "activation_arguments": dict(given.get("nonlin_kwargs") or {}),
        "activation_first": bool(given.get("nonlin_first", False)),
    }


def _norm(root: Path, name: str | None) -> str | None:
    if name is None:
        return None
    return _known(root, _NORMS, re.sub(r"\dd$", "", name.rsplit(".", 1)[-1]))


def _each(value: Any, count: int) -> list[int]:
    return [int(n) for n in value] if isinstance(value, list) else [int(value)] * count


def _steps(value: Any, stages: int, dims: int) -> list[list[int]]:
    values = value if isinstance(value, list) else [value] * stages
    return [_each(step, dims) for step in values]


def _old_architecture(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what plans before version 2.2 said in other words."""
    blocks = config["n_conv_per_stage_encoder"]
    plain = config["UNet_class_name"] == "PlainConvUNet"
    widest = int(config["unet_max_num_features"])
    dims = len(config["patch_size"])
    return {
        "network_class_name": config["UNet_class_name"],
        "arch_kwargs": {
            "n_stages": len(blocks),
            "features_per_stage": [min(config["UNet_base_num_features"] * 2**n, widest) for n in range(len(blocks))],
            "kernel_sizes": config["conv_kernel_sizes"],
            "strides": config["pool_op_kernel_sizes"],
            "n_conv_per_stage" if plain else "n_blocks_per_stage": blocks,
            "n_conv_per_stage_decoder": config["n_conv_per_stage_decoder"],
            "conv_bias": True,
            "norm_op": f"InstanceNorm{dims}d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "nonlin": "LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
    }
