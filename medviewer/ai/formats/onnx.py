"""An ONNX network with a card beside it: ``model.onnx`` and ``model.json``; run by OpenVINO.

ONNX is data: operators by name, and numbers. What could reach out are numbers kept in other files, which must lie
beside it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from medviewer.ai.card import ModelCard
from medviewer.ai.formats._onnx_files import external_files
from medviewer.ai.formats._opaque import network_file, opaque, read_card
from medviewer.core.errors import TaskError

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["open_network", "read_card", "recognises"]

_SUFFIXES = (".onnx",)


def recognises(folder: Path) -> bool:
    """Whether one ONNX file lies in the folder."""
    return folder.is_dir() and network_file(folder, _SUFFIXES) is not None


def open_network(folder: Path, card: ModelCard) -> tuple[nn.Module, str]:
    """Return the network, and the SHA-256 of its file."""
    path = network_file(folder, _SUFFIXES)
    assert path is not None
    data = path.read_bytes()
    try:
        names = list(external_files(data))
    except ValueError as error:
        raise _refused(path, str(error)) from error
    for name in names:
        if name in ("", "..") or PurePosixPath(name).name != name or "\\" in name or ":" in name:
            raise _refused(path, f"it takes numbers from {name!r}, outside its folder", "E_MODEL_CODE")
    try:
        import openvino
    except ImportError as error:
        raise _refused(path, "it needs OpenVINO, which is not installed here", "E_NOT_READY") from error
    try:
        core: Any = openvino.Core()
        compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    # Whatever the reader says of a damaged file.
    except Exception as error:
        raise _refused(path, str(error).strip().splitlines()[-1][:200]) from error

    def run(x: torch.Tensor) -> torch.Tensor:
        import torch

        outputs = compiled(x.detach().cpu().float().numpy())
        return torch.from_numpy(outputs[0].copy()).to(x.device)

    return opaque(run), hashlib.sha256(data).hexdigest()


def _refused(path: Path, reason: str, code: str = "E_MODEL_FILE") -> TaskError:
    return TaskError(
        f"The network {path.parent.name}/{path.name} cannot be used: {reason}.",
        hint="Export it again, or get it from where it was published.",
        code=code,
    )
