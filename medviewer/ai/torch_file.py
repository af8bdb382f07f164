"""Checkpoints of PyTorch (``.pth``, ``.pt``) as numbers: the one place in this program that reads such files.

A checkpoint is a zip with a pickle in it, and a pickle is a program. PyTorch's own restricted reader
(``weights_only=True``) runs none of it, from version 2.10 on without known ways around it; what it may build beside
tensors and plain containers is the list below. Nothing else is ever tried.

References
----------
CVE-2025-32434 and CVE-2026-24747 (``weights_only`` before 2.6 and 2.10).
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from medviewer.core.errors import TaskError

if TYPE_CHECKING:
    import torch

#: The restricted reader of older versions can be made to run code.
OLDEST_TORCH: Final = (2, 10)
#: A pickle holds names and places of tensors; the tensors lie beside it.
MOST_PICKLE_BYTES: Final = 64 << 20
_MEMBER: Final = re.compile(r"[^/]+/(data\.pkl|byteorder|version|\.format_version|\.storage_alignment|"
                            r"\.data/serialization_id|data/\d+)")  # fmt: skip


def load_torch_file(path: Path) -> Mapping[str, Any]:
    """Read a checkpoint: a mapping of plain values and tensors on the CPU.

    Raises
    ------
    TaskError
        ``E_MODEL_FILE``: missing, cut, damaged, or no checkpoint. ``E_MODEL_CODE``: it holds more than numbers.
        ``E_TORCH_VERSION``: the installed PyTorch cannot read it safely.
    """
    import pickle

    import torch

    require_safe_torch(path)
    _check_archive(path)
    try:
        with torch.serialization.safe_globals(_allowed()):
            data = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _holds_code(path, error) from error
    # A damaged file ends in whatever its reader stumbles over.
    except Exception as error:
        raise damaged(path, f"{type(error).__name__}: {error}".splitlines()[0]) from error
    if not isinstance(data, Mapping):
        raise damaged(path, "it does not hold named weights")
    return data


def require_safe_torch(path: Path) -> None:
    """Refuse checkpoints where PyTorch is too old to read them safely; raises `TaskError` ``E_TORCH_VERSION``."""
    import torch

    numbers = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if numbers < OLDEST_TORCH:
        raise TaskError(
            f"{path.name} cannot be read safely by PyTorch {torch.__version__}.",
            hint="Update PyTorch to 2.10 or newer, or get the weights as safetensors.",
            code="E_TORCH_VERSION",
        )


def tensors_of(values: Mapping[str, Any], path: Path) -> dict[str, torch.Tensor]:
    """Return a mapping of names to tensors; raises `TaskError` ``E_MODEL_FILE`` when it is something else."""
    import torch

    if not values or not all(isinstance(value, torch.Tensor) for value in values.values()):
        raise damaged(path, "it does not hold named weights")
    return {str(name): value.float() if value.is_floating_point() else value for name, value in values.items()}


def damaged(path: Path, reason: str) -> TaskError:
    """Return the refusal of a file that cannot be used."""
    return TaskError(
        f"The weights {path.parent.name}/{path.name} cannot be read: {reason}.",
        hint="Import or download the model again.",
        code="E_MODEL_FILE",
    )


def _holds_code(path: Path, error: Exception) -> TaskError:
    named = re.search(r"GLOBAL ([\w.]+)|`([\w.]+)`", str(error))
    what = f" ({next(group for group in named.groups() if group)})" if named else ""
    return TaskError(
        f"The weights {path.parent.name}/{path.name} hold more than numbers{what}; nothing of it was run.",
        hint="Get the model from where it was published, or as safetensors.",
        code="E_MODEL_CODE",
    )


def _check_archive(path: Path) -> None:
    """Refuse what is not a plain checkpoint, before anything of it is interpreted."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except OSError as error:
        raise damaged(path, error.strerror or "it is missing") from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise damaged(path, "it is cut short, or of a format older than PyTorch 1.6") from error
    size = path.stat().st_size
    for member in members:
        if re.search(r"(^|/)(constants\.pkl|code/)", member.filename):
            raise TaskError(
                f"{path.parent.name}/{path.name} is a TorchScript program, not a checkpoint.",
                hint="Import it as a TorchScript model.",
                code="E_MODEL_CODE",
            )
        packed = member.compress_type != zipfile.ZIP_STORED or member.file_size > size
        if not _MEMBER.fullmatch(member.filename) or packed:
            raise damaged(path, f"its part {member.filename!r} does not belong in a checkpoint")
        if member.filename.endswith("data.pkl") and member.file_size > MOST_PICKLE_BYTES:
            raise damaged(path, "its list of weights is too large")


def _allowed() -> list[Any]:
    """Return what a pickle may name beside tensors: numbers of NumPy, which nnU-Net keeps of its training."""
    import codecs

    import numpy as np
    from numpy._core.multiarray import scalar

    numbers = (np.float16, np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_)
    # Checkpoints written under NumPy 1 name the old place of the same function.
    old_name = (scalar, "numpy.core.multiarray.scalar")
    return [scalar, old_name, np.dtype, codecs.encode, *(type(np.dtype(number)) for number in numbers)]
