"""Kinds of model folders, one file each, told apart by what lies in the folder. Reading a card imports no torch.

A file offers ``recognises(folder) -> bool``, quick, and ``read_card(folder) -> ModelCard``, which raises `TaskError`
``E_MODEL_FILE`` for a folder that is of its kind and cannot be used. The card's `runner` names what runs it.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path
from typing import Protocol

from medviewer.ai.card import ModelCard
from medviewer.core.errors import TaskError


class Format(Protocol):
    """What the file of a format offers."""

    def recognises(self, folder: Path) -> bool:
        """Whether a folder is of this kind; neither reads weights nor raises."""

    def read_card(self, folder: Path) -> ModelCard:
        """Say what the model is."""


@cache
def formats() -> dict[str, Format]:
    """Return the known formats by name: the files of this package."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    return {name: importlib.import_module(f"{__name__}.{name}") for name in names}


def format_of(folder: Path) -> str:
    """Return the format of a model's folder.

    Raises
    ------
    TaskError
        ``E_MODEL_FORMAT``: it is none of the known ones.
    """
    for name, module in formats().items():
        if module.recognises(folder):
            return name
    raise TaskError(
        f"{folder.name} is not a model of a known format.",
        hint=f"Known are {', '.join(formats())}.",
        code="E_MODEL_FORMAT",
    )
