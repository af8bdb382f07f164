"""Hostile models: none of them runs anything."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from medviewer.ai.checkpoint import load_weights
from medviewer.ai.formats import read_any_card
from medviewer.ai.model_import import import_models
from medviewer.ai.nnunet import open_nnunet
from medviewer.ai.weights import ModelStore
from medviewer.core.errors import MedViewerError
from tests import hostile_models
from tests.archive_makers import HOSTILE_TARS
from tests.model_makers import write_nnunet
from tools.bar.bar import CTX, Bench, Figure, row

_OLD = "2.9.1"


@row("R-26b", "hostile models are refused, good ones load")
def hostile_models_are_refused(bench: Bench) -> Figure:
    """Pickles, configurations, archives and headers: all refused, and nothing of them ran."""
    folder = bench.folder / "models"
    canary = folder / "canary"
    counts: dict[str, list[int]] = {}
    loaded = []
    good = len(open_nnunet(write_nnunet(folder / "good")).networks) == 1
    for kind, name, read in _cases(folder, canary):
        count = counts.setdefault(kind, [0, 0])
        count[1] += 1
        try:
            read()
            loaded.append(name)
        except MedViewerError:
            count[0] += 1
    refused = all(count[0] == count[1] for count in counts.values())
    text = ", ".join(f"{kind} {count[0]}/{count[1]}" for kind, count in counts.items())
    ran = "" if not canary.exists() else "; SOMETHING RAN"
    figure = f"{text} refused, good one loads: {good}{ran} {loaded or ''}".strip()
    return Figure(figure, refused and good and not canary.exists())


def _cases(folder: Path, canary: Path) -> Iterator[tuple[str, str, Callable[[], object]]]:
    """Yield kind, name, and what would read it."""
    for n, (name, data) in enumerate(hostile_models.pickles(canary).items()):
        root = hostile_models.write_with_checkpoint(folder / f"pickle{n}", data)
        yield "pickles", name, lambda root=root: open_nnunet(root)  # type: ignore[misc]
    for n, (name, write) in enumerate(hostile_models.configs(canary).items()):
        root = write(folder / f"config{n}")
        yield "configurations", name, lambda root=root: read_any_card(root)  # type: ignore[misc]
    store = ModelStore(folder / "shipped", folder / "own")
    for n, (name, (data, _)) in enumerate(HOSTILE_TARS.items()):
        path = folder / f"archive{n}.tar"
        path.write_bytes(data)
        yield "archives", name, lambda path=path: import_models(CTX, store, path)  # type: ignore[misc]
    for n, (name, data) in enumerate(hostile_models.headers().items()):
        path = folder / f"header{n}.safetensors"
        path.write_bytes(data)
        yield "headers", name, lambda path=path: load_weights(path)  # type: ignore[misc]
    yield "old PyTorch", _OLD, lambda: _with_old_torch(write_nnunet(folder / "old"))


def _with_old_torch(root: Path) -> object:
    now = torch.__version__
    with contextlib.ExitStack() as stack:
        stack.callback(setattr, torch, "__version__", now)
        torch.__version__ = _OLD  # type: ignore[assignment]
        return open_nnunet(root)
