"""A TorchScript network with a card beside it: ``model.ts`` (or ``.pt``) and ``model.json``.

TorchScript is a program of PyTorch's own small language. It cannot call Python, but a few of its operators read or
write files: the program's text is looked through first, and one that names them is refused.
"""

from __future__ import annotations

import hashlib
import re
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medviewer.ai.card import ModelCard
from medviewer.ai.formats._opaque import network_file, opaque, read_card
from medviewer.ai.torch_file import damaged, require_safe_torch
from medviewer.core.errors import TaskError

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["open_network", "read_card", "recognises"]

_SUFFIXES = (".ts", ".pt", ".torchscript")
MAX_CODE_BYTES = 32 << 20
#: Operators that reach for files, and hooks that run while a file is being loaded.
_HOSTILE = re.compile(r"\b(from_file|save|load|_save|_load\w*|__setstate__|__torch__\.torch\.classes\.\w+)\b")
_OPERATORS = re.compile(r"\bops\.(\w+)\.\w+")
_KNOWN_OPERATORS = {"aten", "prim", "torchvision"}


def recognises(folder: Path) -> bool:
    """Whether one TorchScript archive lies in the folder."""
    path = network_file(folder, _SUFFIXES) if folder.is_dir() else None
    return path is not None and any("code/" in name for name in _names(path))


def open_network(folder: Path, card: ModelCard) -> tuple[nn.Module, str]:
    """Return the network, and the SHA-256 of its file."""
    import torch

    path = network_file(folder, _SUFFIXES)
    assert path is not None
    require_safe_torch(path)
    check_program(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            read: Any = torch.jit.load
            script = read(str(path), map_location="cpu").eval()
    # Whatever the reader says of a damaged file.
    except Exception as error:
        raise damaged(path, f"{type(error).__name__}") from error

    def run(x: torch.Tensor) -> torch.Tensor:
        out = script(x.cpu())
        return (out[0] if isinstance(out, list | tuple) else out).to(x.device)  # type: ignore[no-any-return]

    with path.open("rb") as file:
        return opaque(run), hashlib.file_digest(file, "sha256").hexdigest()


def check_program(path: Path) -> None:
    """Look through the text of a program.

    Raises
    ------
    TaskError
        ``E_MODEL_CODE``: it names what could reach for files. ``E_MODEL_FILE``: it is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            texts = [info for info in archive.infolist() if "/code/" in info.filename and info.filename.endswith(".py")]
            if sum(info.file_size for info in texts) > MAX_CODE_BYTES:
                raise damaged(path, "its program is too long")
            source = "\n".join(archive.read(info).decode("utf-8", "replace") for info in texts)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError) as error:
        raise damaged(path, "it is cut short or damaged") from error
    found = [match[0] for match in _HOSTILE.finditer(source)]
    found += [match[0] for match in _OPERATORS.finditer(source) if match[1] not in _KNOWN_OPERATORS]
    if found:
        raise TaskError(
            f"The program {path.parent.name}/{path.name} is not run: it names {found[0]}.",
            hint="Get the model from where it was published, or as ONNX.",
            code="E_MODEL_CODE",
        )


def _names(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError):
        return []
