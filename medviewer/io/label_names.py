"""Names of the values of a label map, from a file beside it: nnU-Net's and MONAI's dataset.json, or a labels.json."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

_MOST_BYTES: Final = 16 * 1024 * 1024
_SUFFIX: Final = re.compile(r"(\.seg)?\.(nii\.gz|nii|nrrd|nhdr|mha|mhd|png|jpe?g|tiff?|bmp|gif)$", re.IGNORECASE)
_FILES: Final = ("labels.json", "dataset.json")


def names_beside(path: Path) -> dict[int, str]:
    """Return value -> name for a label map; empty when no file beside it, or above its folder, says it.

    Looked at, in this order: ``<name>.json``, ``labels.json`` and ``dataset.json`` in its folder, ``dataset.json`` in
    the folder above, where nnU-Net and the Medical Segmentation Decathlon have it.
    """
    stem = _SUFFIX.sub("", path.name)
    places = [path.with_name(f"{stem}.json"), *(path.with_name(name) for name in _FILES)]
    for place in [*places, path.parent.parent / "dataset.json"]:
        names = _names(_read(place))
        if names:
            return names
    return {}


def single_name(path: Path) -> str:
    """Return what the only segment of a label map is called: the name in labels.json for its file, else its file's."""
    described = _read(path.with_name("labels.json"))
    segments = described.get("segments") if isinstance(described, dict) else None
    for entry in segments if isinstance(segments, list) else ():
        if isinstance(entry, dict) and entry.get("file") == path.name and isinstance(entry.get("name"), str):
            return str(entry["name"])
    return _SUFFIX.sub("", path.name)


def _read(path: Path) -> Any:
    """Return what a JSON file holds; None when it is absent, too large or broken: names are a courtesy."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _names(data: Any) -> dict[int, str]:
    """Return value -> name from ``{"labels": {…}}`` or the mapping itself, in either direction."""
    if not isinstance(data, dict):
        return {}
    labels = data.get("labels", data)
    if not isinstance(labels, dict):
        return {}
    names: dict[int, str] = {}
    for key, value in labels.items():
        number = _number(key)
        if number is not None and isinstance(value, str):
            names[number] = value
        elif isinstance(value, int) and not isinstance(value, bool):
            names[value] = key
        elif not isinstance(value, list):
            # Something else than a list of labels; nnU-Net's regions are lists.
            return {}
    names.pop(0, None)
    return names


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else None
