"""Network architectures, one file each. A checkpoint names its architecture and arguments; nothing else is built.

Torch is imported by the files, and those only when a network is asked for: looking into this package costs nothing.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from medviewer.core.errors import TaskError

if TYPE_CHECKING:
    from torch import nn


class Builder(Protocol):
    """What an architecture's file offers: ``build(**arguments) -> nn.Module``, arguments being plain JSON values."""

    def __call__(self, **arguments: Any) -> nn.Module:
        """Return the network with fresh weights."""


@cache
def names() -> tuple[str, ...]:
    """Return the known architectures: the names of the files of this package."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def build_network(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Return a network with fresh weights.

    Parameters
    ----------
    name : str
        The file in this package, for example ``unet``.
    arguments : mapping
        Plain JSON values.

    Raises
    ------
    TaskError
        ``E_MODEL_FILE``: no such architecture, or arguments that it does not take.
    """
    if name not in names():
        raise TaskError(
            f"The network {name!r} is not one that this version builds.",
            hint=f"Known are {', '.join(names())}.",
            code="E_MODEL_FILE",
        )
    builder: Builder = importlib.import_module(f"{__name__}.{name}").build
    try:
        return builder(**arguments)
    except (TypeError, ValueError) as error:
        raise TaskError(
            f"The network {name!r} cannot be built: {error}.",
            hint="The model's card is damaged or from a newer version. Get the model again.",
            code="E_MODEL_FILE",
        ) from error
