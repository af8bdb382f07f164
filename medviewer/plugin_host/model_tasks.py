"""A model of the store as a task: what its card says, run by the runner that it names.

A plugin offers runners with ``runners = "package.of.runners"`` in its manifest: every file of that package is one, with
a class ``Runner``, a task that is made with the model's folder.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from medviewer.ai.card import ModelCard
from medviewer.ai.model_import import verify_files
from medviewer.ai.weights import StoredModel, read_model
from medviewer.api.plugin import TaskInfo
from medviewer.core.errors import PluginError
from medviewer.plugin_host.manifest import PluginManifest, read_task

#: What a card may say for the list of tasks.
TASK_KEYS = frozenset(
    {"kind", "auto", "contrasts", "order", "min_extent_mm", "min_size", "pictures", "seconds_per_megavoxel", "lane"}
)


def model_task(model: StoredModel, plugin: PluginManifest) -> TaskInfo:
    """Return the task of a usable model, run by a runner of a plugin.

    Raises
    ------
    PluginError
        ``E_MANIFEST``: the card says something about its task that a manifest must not say.
    """
    card = model.card
    assert card is not None
    if unknown := sorted(set(card.task) - TASK_KEYS):
        raise PluginError(f"Its card has the unknown entry task.{unknown[0]}.", code="E_MANIFEST")
    table = {
        "id": model.id,
        "title": card.title,
        "kind": "segmentation",
        "entry": plugin.runners[card.runner],
        "inputs": input_names(card),
        "modalities": list(card.modalities),
        "body_parts": list(card.body_parts),
        "license": card.license,
        **({"description": card.description} if card.description else {}),
        **card.task,
    }
    info = read_task(table, "the card's ", plugin.id, plugin.version)
    return replace(info, model=str(model.folder), model_version=card.version)


def input_names(card: ModelCard) -> dict[str, str]:
    """Return the task's inputs: ``image`` for one channel, otherwise the channels' names as identifiers, in order."""
    if len(card.channels) == 1:
        return {"image": "volume"}
    names = [re.sub(r"\W", "_", channel) for channel in card.channels]
    return {name if name.isidentifier() else f"image_{name}": "volume" for name in names}


#: Folders whose files are those that were imported, with the size and time of each.
_verified: dict[Path, list[tuple[str, int, int]]] = {}


def require_unchanged(info: TaskInfo) -> None:
    """Compare the files of a task's model with what was imported: in full at first, then by size and time.

    Raises
    ------
    TaskError
        ``E_MODEL_FILE``: a file is missing or is another one.
    """
    folder = Path(info.model)
    model = read_model(folder) if info.model else None
    if model is None or not model.files:
        return
    stamps = []
    for name in sorted(model.files):
        path = folder / name
        if path.is_file():
            stamps.append((name, path.stat().st_size, path.stat().st_mtime_ns))
    if _verified.get(folder) != stamps:
        verify_files(model)
        _verified[folder] = stamps
