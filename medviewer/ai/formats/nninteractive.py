"""A model folder of nnInteractive: plans and a checkpoint as nnU-Net's, and a file that says how prompts are given.

``plans.json``, ``dataset.json``, ``fold_*/checkpoint_final.pth``, and ``inference_info.json`` or, of the first
published model, ``inference_session_class.json``. A ``LICENSE`` may lie beside them; its first line names it.

References
----------
Isensee, Rokuss, Krämer et al., nnInteractive: Redefining 3D Promptable Segmentation, 2025, and the documentation of
its inference session.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medviewer.ai.card import Label, ModelCard
from medviewer.ai.formats import nnunet
from medviewer.core.errors import TaskError

RUNNER = "nninteractive"
#: The file that says how prompts are given; the newer name first.
INFO_NAMES = ("inference_info.json", "inference_session_class.json")
#: Places of the published model's plans, whose licence its folder does not name.
_PUBLISHED = ("Dataset225_nnInteractiveV2", "3d_fullres_ps192_bs24")
_PUBLISHED_LICENSE = "CC-BY-NC-SA-4.0"
#: What the first published model does, which says nothing of it: which kinds of prompts, and the channels (inside,
#: outside) of each after the image; the object so far has one.
_SUPPORTED = {"points": True, "bbox2d": True, "bbox3d": False, "scribble": True, "lasso": True}
_CHANNELS: Mapping[str, Any] = {
    "prev_seg": 0, "bbox2d": (1, 2), "bbox3d": (1, 2), "lasso": (1, 2), "points": (3, 4), "scribble": (5, 6),
}  # fmt: skip
_DECAY, _OLD_DECAY = 0.98, 0.9
_RADIUS, _THICKNESS = 4, (2, 2, 2)


def roots(folder: Path) -> tuple[Path, ...]:
    """Return the model folders in a folder: itself, or those one or two levels below."""
    for pattern in ("plans.json", "*/plans.json", "*/*/plans.json"):
        found = sorted(path.parent for path in folder.glob(pattern) if _info_path(path.parent) is not None)
        if found:
            return tuple(found)
    return ()


def files(root: Path) -> tuple[Path, ...]:
    """Return what of a folder is needed to run it."""
    return nnunet.files(root)


def recognises(folder: Path) -> bool:
    """Whether plans, and how prompts are given, lie in the folder or below."""
    return bool(roots(folder))


def checkpoint(folder: Path) -> Path:
    """Return the one checkpoint of a model's folder; raises `TaskError` ``E_MODEL_FILE``."""
    found = nnunet.checkpoints(_root(folder))
    if len(found) != 1:
        raise refused(folder, f"it holds {len(found)} folds, and one is used")
    return found[0]


def read_card(folder: Path) -> ModelCard:
    """Return a card made from the plans."""
    root = _root(folder)
    plans, dataset = nnunet.read_json(root / "plans.json"), nnunet.read_json(root / "dataset.json")
    try:
        return _card(root, plans, dataset, _info(root))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise refused(
            root, f"its files are not as nnInteractive writes them ({type(error).__name__}: {error})"
        ) from error


def _card(root: Path, plans: Mapping[str, Any], dataset: Mapping[str, Any], info: Mapping[str, Any]) -> ModelCard:
    name = _configuration(root, plans)
    config = nnunet.inherited(plans["configurations"], name)
    channels = nnunet.channel_names(dataset)
    if len(channels) != 1 or len(config["patch_size"]) != 3:
        raise refused(root, "it is not for one three-dimensional image")
    settings = _settings(root, info)
    version = re.search(r"_v(\d[\w.]*)$", root.name)
    return ModelCard(
        id="nninteractive",
        version=version[1] if version else "1",
        title="nnInteractive",
        description="Outlines what is clicked, boxed, scribbled or lassoed in any 3-D image. Made for a graphics card.",
        network="dynamic_unet",
        # The object is always one: nothing and something, whatever labels the training data had.
        arguments=nnunet.network_arguments(root, config, 1 + int(settings["count"]), 2),
        runner=RUNNER,
        task={"kind": "interactive", "order": 320},
        channels=("image",),
        window=tuple(int(n) for n in config["patch_size"]),
        intensity={"kind": "nninteractive"},
        labels=(Label(value=1, name="object", title="Object"),),
        settings={**settings, "configuration": name},
        license=_license(root, plans, name),
        credit="Isensee, Rokuss, Krämer et al., nnInteractive: Redefining 3D Promptable Segmentation, 2025",
    )


def usual_settings() -> dict[str, Any]:
    """Return how prompts are given to the first published model."""
    return _settings(Path("nnInteractive"), {})


def _settings(root: Path, info: Mapping[str, Any]) -> dict[str, Any]:
    """Return how prompts are given to the network."""
    if str(info.get("pad_mode_image", "constant")) != "constant":
        raise refused(root, f"it pads images in another way ({info['pad_mode_image']})")
    channels = {**_CHANNELS, **info.get("channel_mapping", {})}
    supported = {**_SUPPORTED, **info.get("supported_interactions", {})}
    if unknown := sorted((set(channels) - set(_CHANNELS)) | (set(supported) - set(_SUPPORTED))):
        raise refused(root, f"it takes {unknown[0]}, which this version does not know")
    pairs = {key: [int(n) for n in value] for key, value in channels.items() if key != "prev_seg"}
    places = [int(channels["prev_seg"]), *(n for pair in pairs.values() for n in pair)]
    count = int(info["interaction_channels"]) + 1 if "interaction_channels" in info else max(places) + 1
    if any(len(pair) != 2 for pair in pairs.values()) or not all(-count <= n < count for n in places):
        raise refused(root, "its prompts have no channels in the network")
    thickness = info.get("preferred_scribble_thickness", _THICKNESS)
    decay = float(info.get("interaction_decay", _DECAY))
    if not 0 < decay <= 1:
        raise refused(root, f"its prompts fade by {decay}")
    return {
        "count": count,
        "object": int(channels["prev_seg"]) % count,
        "channels": {key: [n % count for n in pair] for key, pair in pairs.items()},
        "supported": sorted(key for key, can in supported.items() if can),
        "radius": int(info.get("point_radius", _RADIUS)),
        "thickness": [int(n) for n in thickness] if isinstance(thickness, list | tuple) else [int(thickness)] * 3,
        "decay": decay,
    }


def _configuration(root: Path, plans: Mapping[str, Any]) -> str:
    """Return which configuration of the plans was trained; what its checkpoint says is compared when it is opened."""
    if plans.get("dataset_name") == _PUBLISHED[0] and _PUBLISHED[1] in plans["configurations"]:
        return _PUBLISHED[1]
    return nnunet.configuration_name(root, plans)


def _license(root: Path, plans: Mapping[str, Any], configuration: str) -> str:
    try:
        lines = (root / "LICENSE").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = next((line.strip()[:80] for line in lines if line.strip()), "")
    if not named and (plans.get("dataset_name"), configuration) == _PUBLISHED:
        return _PUBLISHED_LICENSE
    return named or "unknown"


def refused(folder: Path, reason: str) -> TaskError:
    """Return the refusal of a folder."""
    return TaskError(
        f"The nnInteractive model in {folder.name} cannot be used: {reason}.",
        hint="Get the whole model folder of nnInteractive again.",
        code="E_MODEL_FILE",
    )


def _root(folder: Path) -> Path:
    found = roots(folder)
    if len(found) != 1:
        raise refused(folder, f"it holds {len(found)} models; import them one by one")
    return found[0]


def _info_path(root: Path) -> Path | None:
    return next((root / name for name in INFO_NAMES if (root / name).is_file()), None)


def _info(root: Path) -> Mapping[str, Any]:
    path = _info_path(root)
    assert path is not None
    # The oldest models have a mere name in it.
    try:
        if path.stat().st_size < 4096 and isinstance(json.loads(path.read_text(encoding="utf-8")), str):
            return {"interaction_decay": _OLD_DECAY}
    except (OSError, ValueError) as error:
        raise refused(root, f"{path.name} is not JSON") from error
    return nnunet.read_json(path)
