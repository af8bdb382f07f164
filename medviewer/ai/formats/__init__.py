"""Kinds of model folders, one file each, told apart by what lies in the folder. Reading a card imports no torch.

A file offers ``recognises(folder) -> bool``, quick, and ``read_card(folder) -> ModelCard``, which raises `TaskError`
``E_MODEL_FILE`` for a folder that is of its kind and cannot be used. The card's `runner` names what runs it. A format
whose networks run by the program's own engine also offers ``open_network(folder, card) -> (nn.Module, SHA-256)``.
Optional are ``files(folder)``, what of it is worth keeping, and ``roots(folder)``, where one folder holds several.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from medviewer.ai.card import ModelCard
from medviewer.core.errors import TaskError

if TYPE_CHECKING:
    from torch import nn


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


def read_any_card(folder: Path) -> ModelCard:
    """Return the card of a model of any format; raises `TaskError`."""
    return formats()[format_of(folder)].read_card(folder)


def open_network(folder: Path) -> tuple[ModelCard, nn.Module, str]:
    """Return card, network with weights, and the SHA-256 of these, of a model that the engine runs.

    Raises
    ------
    TaskError
        ``E_MODEL_FILE``, ``E_MODEL_CODE``; ``E_MODEL_FORMAT``: of a format with a runner of its own.
    """
    name = format_of(folder)
    module: Any = formats()[name]
    if not hasattr(module, "open_network"):
        raise TaskError(
            f"{folder.name} is a model of the format {name}, with a runner of its own.", code="E_MODEL_FORMAT"
        )
    card = module.read_card(folder)
    network, digest = module.open_network(folder, card)
    return card, network, digest
