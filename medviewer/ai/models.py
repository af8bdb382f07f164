"""Models that are loaded, kept warm in the worker: the least used goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from medviewer.ai.card import ModelCard
from medviewer.ai.formats import open_network

if TYPE_CHECKING:
    from torch import nn

    from medviewer.ai.backends import Backend


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A network that is ready, and its card.

    Attributes
    ----------
    card : ModelCard
    network : nn.Module
        On the CPU, in evaluation mode; windows (n, c, [k,] j, i) to logits (n, outputs, [k,] j, i).
    weights_sha256 : str
        Empty for weights that cannot be told from others: then nothing that was measured is kept.
    backends : dict
        What was made for it in this process, by `medviewer.ai.predictor`.
    """

    card: ModelCard
    network: nn.Module
    weights_sha256: str = ""
    backends: dict[Any, Backend] = field(default_factory=dict, repr=False)

    @property
    def nbytes(self) -> int:
        """Bytes of the weights, once for each back-end."""
        weights: int = sum(value.nbytes for value in self.network.state_dict().values())
        return weights * (1 + len(self.backends))


class ModelCache:
    """Loaded models, at most so many bytes; the one last asked for always stays.

    Parameters
    ----------
    most : int, optional
        Bytes; default is an eighth of this machine's memory.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = psutil.virtual_memory().total // 8 if most is None else most
        self._models: OrderedDict[tuple[object, ...], Model] = OrderedDict()

    def get(self, folder: Path, load: Callable[[Path], Model]) -> Model:
        """Return the model of a folder, loaded when it is not there or its files have changed."""
        key = (folder, *((p.stat().st_mtime_ns, p.stat().st_size) for p in _files(folder)))
        model = self._models.pop(key, None) or load(folder)
        self._models[key] = model
        while len(self._models) > 1 and sum(m.nbytes for m in self._models.values()) > self._most:
            self._models.popitem(last=False)
        return model

    def __len__(self) -> int:
        return len(self._models)

    def clear(self) -> None:
        """Forget all, when memory is short."""
        self._models.clear()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in (*folder.glob("*"), *folder.glob("*/*")) if path.is_file())


#: Of this process.
WARM = ModelCache()


def open_model(folder: Path) -> Model:
    """Return the model of a folder, warm when it was used before.

    Raises
    ------
    TaskError
        ``E_MODEL_FILE``, ``E_MODEL_CODE`` or ``E_MODEL_FORMAT``.
    """
    return WARM.get(folder, _load)


def _load(folder: Path) -> Model:
    return Model(*open_network(folder))
