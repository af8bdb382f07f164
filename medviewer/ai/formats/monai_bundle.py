"""A MONAI bundle for segmentation: ``configs/metadata.json``, ``configs/inference.json``, ``models/model.pt``.

Transforms before and after the network are looked up in tables of our own; one that is not there is named, and the
bundle refused, because its answer would not be the bundle's.

References
----------
MONAI Bundle Specification.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medviewer.ai.card import Label, ModelCard
from medviewer.ai.formats._bundle_config import plain, read_config, refused, target_of

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = "models/model.pt"
#: Load, convert, or only make it quicker: nothing to do for an open volume.
_NOTHING = {
    "LoadImaged", "EnsureChannelFirstd", "AsChannelFirstd", "AddChanneld", "EnsureTyped", "ToTensord", "CastToTyped",
    "ToDeviced", "CropForegroundd", "SpatialPadd", "DivisiblePadd", "Identityd", "SaveImaged", "Invertd",
    "CopyItemsd", "DeleteItemsd", "SelectItemsd", "FgBgToIndicesd",
}  # fmt: skip
_INTENSITY: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "ScaleIntensityRanged": ("scale_range", ("a_min", "a_max", "b_min", "b_max", "clip")),
    "ScaleIntensityd": ("scale", ("minv", "maxv")),
    "ScaleIntensityRangePercentilesd": ("scale_percentiles", ("lower", "upper", "b_min", "b_max", "clip")),
    "NormalizeIntensityd": ("normalize", ("subtrahend", "divisor", "nonzero")),
}
_MODALITIES = {"CT": "CT", "MR": "MR", "MRI": "MR", "PT": "PT", "PET": "PT"}


def recognises(folder: Path) -> bool:
    """Whether the folder has the metadata of a bundle."""
    return (folder / "configs" / "metadata.json").is_file()


def files(root: Path) -> tuple[Path, ...]:
    """Return what of a bundle is needed to run it."""
    texts = [*(root / "configs").glob("*"), *root.glob("docs/*"), *root.glob("LICENSE*")]
    return (*sorted(path for path in texts if path.is_file()), root / WEIGHTS)


def read_card(folder: Path) -> ModelCard:
    """Return a card made from the configuration; see `medviewer.ai.formats`."""
    metadata, config = read_config(folder)
    if not (folder / WEIGHTS).is_file():
        raise refused(folder, f"it has no {WEIGHTS}")
    try:
        return _card(folder, metadata, config)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise refused(
            folder, f"its configuration is not as MONAI writes it ({type(error).__name__}: {error})"
        ) from error


def open_network(folder: Path, card: ModelCard) -> tuple[nn.Module, str]:
    """Return the network with its weights, and their SHA-256."""
    from medviewer.ai.networks import build_network
    from medviewer.ai.torch_file import damaged, load_torch_file, tensors_of

    path = folder / WEIGHTS
    state: Any = load_torch_file(path)
    for key in ("model", "state_dict", "network_weights"):
        if isinstance(state.get(key), dict):
            state = state[key]
    network = build_network(card.network, card.arguments)
    weights = tensors_of({f"network.{str(name).removeprefix('module.')}": value for name, value in state.items()}, path)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise damaged(path, "the weights do not fit the network of the bundle") from error
    with path.open("rb") as file:
        return network.eval(), hashlib.file_digest(file, "sha256").hexdigest()


def _card(root: Path, metadata: Mapping[str, Any], config: Mapping[str, Any]) -> ModelCard:
    def part(name: str) -> Any:
        return plain(root, config, config[name], name)

    network = part("network_def" if "network_def" in config else "network")
    net = target_of(network)
    arguments = {key: value for key, value in network.items() if key != "_target_"}
    orientation, spacing, steps = _before(root, _transforms(root, config, "preprocessing"))
    output, cleaning = _after(root, _transforms(root, config, "postprocessing"))
    window, overlap = _windows(root, part("inferer"), metadata)
    formats = metadata["network_data_format"]
    image = next(iter(formats["inputs"].values()))
    labels = _labels(next(iter(formats["outputs"].values())), output)
    title = str(metadata.get("name") or root.name.replace("_", " "))
    modality = _MODALITIES.get(str(image.get("modality", "")).upper(), "")
    return ModelCard(
        id=re.sub(r"\W", "_", f"monai_{title}").lower(),
        version=str(metadata.get("version", "1")),
        title=title,
        description=str(metadata.get("description", metadata.get("task", ""))),
        network="monai_net",
        arguments={"net": net, "arguments": arguments, "orientation": orientation},
        modalities=(modality,) if modality else (),
        channels=_channels(image),
        spacing_mm=spacing,
        window=window,
        intensity={"kind": "steps", "steps": steps},
        output=output,
        labels=labels,
        postprocessing=cleaning,
        settings={"overlap": overlap, "padding": 0.0},
        license=_license(root, metadata),
        credit=str(metadata.get("copyright") or metadata.get("authors") or ""),
        intended_use=str(metadata.get("intended_use") or "Research and education. Not a medical device."),
    )


def _transforms(root: Path, config: Mapping[str, Any], name: str) -> list[Any]:
    """Return the transforms of a part as plain values; of those that do nothing here only the name."""
    section = config.get(name, {})
    entries = section.get("transforms", []) if isinstance(section, dict) else plain(root, config, section, name)
    found = []
    for n, entry in enumerate(entries):
        if isinstance(entry, dict) and target_of(entry) in _NOTHING:
            found.append({"_target_": target_of(entry)})
        else:
            found += plain(root, config, [entry], f"{name}#transforms#{n}")
    return found


def _before(root: Path, transforms: list[Any]) -> tuple[str, tuple[float, ...], list[dict[str, Any]]]:
    """Return orientation, spacing (k, j, i) and intensity steps."""
    orientation = "RAS"
    pixdim: tuple[float, ...] = ()
    steps: list[dict[str, Any]] = []
    for entry in transforms:
        name = target_of(entry)
        if name == "Orientationd":
            orientation = str(entry["axcodes"]).upper()
        elif name == "Spacingd":
            pixdim = tuple(float(mm) for mm in entry["pixdim"])
        elif name in _INTENSITY:
            step, keys = _INTENSITY[name]
            steps.append({"step": step, **{key: entry[key] for key in keys if key in entry}})
        elif name not in _NOTHING:
            raise refused(root, f"before its network it runs {name or entry}, which this version does not know")
    # Spacings go along the network's axes; ours along head, back and left.
    axes = {"L": 2, "R": 2, "P": 1, "A": 1, "S": 0, "I": 0}
    spacing = [0.0, 0.0, 0.0]
    for letter, mm in zip(orientation, pixdim, strict=False):
        spacing[axes[letter]] = mm
    return orientation, tuple(spacing) if pixdim else (), steps


def _after(root: Path, transforms: list[Any]) -> tuple[Any, list[dict[str, Any]]]:
    """Return what the outputs are, and the cleaning of labels."""
    output = "softmax"
    cleaning: list[dict[str, Any]] = []
    for entry in transforms:
        name = target_of(entry)
        if name == "Activationsd":
            output = "sigmoid" if _first(entry.get("sigmoid")) else output
        elif name == "AsDiscreted":
            output = "sigmoid" if _first(entry.get("threshold")) not in (None, False) else output
        elif name == "KeepLargestConnectedComponentd":
            values = entry.get("applied_labels")
            cleaning.append({"step": "largest_component", **({"values": _each(values)} if values else {})})
        elif name == "FillHolesd":
            values = entry.get("applied_labels")
            cleaning.append({"step": "fill_holes", **({"values": _each(values)} if values else {})})
        elif name not in _NOTHING:
            raise refused(root, f"after its network it runs {name or entry}, which this version does not know")
    return output, cleaning


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _each(value: Any) -> list[int]:
    return [int(n) for n in value] if isinstance(value, list) else [int(value)]


def _windows(root: Path, inferer: Any, metadata: Mapping[str, Any]) -> tuple[tuple[int, ...], float]:
    """Return the window (k, j, i) and the overlap; MONAI's runs (x, y, z)."""
    name = target_of(inferer)
    if name == "SlidingWindowInferer":
        size = inferer["roi_size"]
        overlap = _first(inferer.get("overlap", 0.25))
    elif name == "SimpleInferer":
        image = next(iter(metadata["network_data_format"]["inputs"].values()))
        size, overlap = image["spatial_shape"], 0.25
    else:
        raise refused(root, f"its way of inference {name} is none that this version knows")
    if not isinstance(size, list) or len(size) != 3 or not all(isinstance(n, int) and n > 0 for n in size):
        raise refused(root, f"its windows {size} are not three numbers of voxels")
    return tuple(reversed(size)), float(overlap)


def _channels(image: Mapping[str, Any]) -> tuple[str, ...]:
    names = image.get("channel_def") or {}
    count = int(image.get("num_channels", 1))
    return tuple(str(names.get(str(n), f"channel {n}" if count > 1 else "image")) for n in range(count))


def _labels(pred: Mapping[str, Any], output: str) -> tuple[Label, ...]:
    names = {int(number): str(name) for number, name in pred["channel_def"].items()}
    # Of labels that exclude each other the first is the background; those that may overlap have none.
    first = 0 if output == "sigmoid" else 1
    return tuple(
        Label(value=n + 1 - first, name=re.sub(r"\W+", "_", name).lower(), title=name)
        for n, name in sorted(names.items())
        if n >= first
    )


def _license(root: Path, metadata: Mapping[str, Any]) -> str:
    if named := metadata.get("license"):
        return str(named)
    for path in (*root.glob("LICENSE*"), *root.glob("docs/license*")):
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if lines:
            return lines[0].strip()[:100]
    return "unknown"
