"""The models there are: those that came with the program, and the user's own. Nothing here needs a network.

A model is a folder of a known format (`medviewer.ai.formats`). What was imported or downloaded has a ``stored.json``
beside its files: id, version, where it came from, and the SHA-256 of every file.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medviewer.ai.card import ModelCard
from medviewer.ai.formats import format_of, formats
from medviewer.core.errors import MedViewerError, TaskError
from medviewer.io.places import bundled, user_folder

log = logging.getLogger(__name__)

STORED_NAME = "stored.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """One model of the store.

    Attributes
    ----------
    id, version : str
        As in the card; of a broken model the folder's name, and empty.
    folder : Path
    format : str
        Name of the file in `medviewer.ai.formats`; empty when unknown.
    shipped : bool
        Whether it came with the program.
    card : ModelCard or None
        None when it cannot be used.
    problem : str
        Why it cannot be used.
    source : str
        Address or name it was imported from.
    files : mapping of str to str
        SHA-256 of every file by its path in the folder, when it was imported; empty for others.
    """

    id: str
    version: str
    folder: Path
    format: str = ""
    shipped: bool = False
    card: ModelCard | None = None
    problem: str = ""
    source: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


class ModelStore:
    """The shipped models and the user's.

    Parameters
    ----------
    shipped, own : Path, optional
        Folders of model folders; by default ``resources/models`` and the user's. Neither need exist.
    """

    def __init__(self, shipped: Path | None = None, own: Path | None = None) -> None:
        self.shipped = shipped or bundled("resources") / "models"
        self.own = own or user_folder() / "models"

    def models(self) -> tuple[StoredModel, ...]:
        """Return every model, broken ones included: by id, the newest version first, the user's before the shipped."""
        found = [*_in_folder(self.own, shipped=False), *_in_folder(self.shipped, shipped=True)]
        found.sort(key=lambda model: version_key(model.version), reverse=True)
        return tuple(sorted(found, key=lambda model: model.id))

    def newest(self) -> tuple[StoredModel, ...]:
        """Return the usable models, of each id the newest version."""
        models: dict[str, StoredModel] = {}
        for model in self.models():
            if model.card is not None:
                models.setdefault(model.id, model)
        return tuple(models.values())

    def find(self, model_id: str, version: str = "") -> StoredModel:
        """Return a usable model, by default its newest version.

        Raises
        ------
        TaskError
            ``E_NO_MODEL``: there is none; ``E_MODEL_FILE``: it is broken.
        """
        named = [m for m in self.models() if m.id == model_id and version in ("", m.version)]
        for model in named:
            if model.card is not None:
                return model
        if named:
            raise TaskError(named[0].problem, hint="Import or download the model again.", code="E_MODEL_FILE")
        raise TaskError(
            f"There is no model {model_id!r}{f' of version {version}' if version else ''}.",
            hint="`medviewer models list` says which there are.",
            code="E_NO_MODEL",
        )


def version_key(version: str) -> tuple[tuple[int, str], ...]:
    """Return what versions are ordered by: numbers as numbers."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"[.+_-]", version))


def _in_folder(folder: Path, *, shipped: bool) -> Iterator[StoredModel]:
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.is_dir() and not entry.name.startswith(("_", ".")):
            yield read_model(entry, shipped=shipped)


def read_model(folder: Path, *, shipped: bool = False) -> StoredModel:
    """Read what a model's folder says; one that cannot be used comes back with its `problem`."""
    model = StoredModel(id=folder.name, version="", folder=folder, shipped=shipped)
    try:
        stored = _stored(folder)
        model = replace(model, format=format_of(folder))
        card = formats()[model.format].read_card(folder)
        card = replace(card, id=stored.get("id", card.id), version=stored.get("version", card.version))
    except MedViewerError as error:
        return replace(model, problem=error.text)
    # A damaged file of a foreign format may break any of its readers: the others must still be listed.
    except Exception as error:
        log.warning("A model cannot be read.", exc_info=error)
        return replace(model, problem=f"The model in {folder.name} cannot be read ({type(error).__name__}: {error}).")
    files = stored.get("files", {})
    return replace(model, id=card.id, version=card.version, card=card, source=stored.get("source", ""), files=files)


def _stored(folder: Path) -> Mapping[str, Any]:
    path = folder / STORED_NAME
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TaskError(f"{STORED_NAME} of {folder.name} cannot be read.", code="E_MODEL_FILE") from error
    texts = isinstance(data, dict) and all(isinstance(data.get(key, ""), str) for key in ("id", "version", "source"))
    if not texts or not isinstance(data.get("files", {}), dict):
        raise TaskError(f"{STORED_NAME} of {folder.name} is damaged.", code="E_MODEL_FILE")
    return dict(data)
