"""Choose where to compute, and turn an exhausted memory into a named error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from medviewer.core.errors import InputError, OutOfMemory, TaskError


def choose_device(name: str = "auto") -> str:
    """Return the device to compute on.

    Parameters
    ----------
    name : str
        ``auto`` (a CUDA device that works, otherwise the CPU), ``cpu``, ``cuda`` or ``cuda:<n>``.

    Returns
    -------
    str
        ``cpu`` or ``cuda:<n>``, as torch names it.

    Raises
    ------
    InputError
        ``E_DEVICE``: the name is not one of these.
    TaskError
        ``E_NO_GPU``: a CUDA device was asked for by name and is not there or does not answer.
    """
    match = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", name)
    if match is None:
        raise InputError(f"Unknown device {name!r}.", hint="Use auto, cpu, cuda or cuda:<number>.", code="E_DEVICE")
    if name == "cpu":
        return "cpu"
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return _roomiest(count)
    number = int(match.group(1) or 0)
    device = f"cuda:{number}"
    if number >= count or not _answers(device):
        raise TaskError(
            f"The graphics processor {device} is not available ({count} found).",
            hint="Choose the device cpu or auto, or check the driver with 'medviewer doctor'.",
            code="E_NO_GPU",
        )
    return device


def free_memory(device: str) -> int:
    """Return the free memory of a device in bytes: of the graphics processor, or of this machine."""
    if device == "cpu":
        return int(psutil.virtual_memory().available)
    import torch

    return int(torch.cuda.mem_get_info(device)[0])


@contextmanager
def named_memory_errors(device: str, hint: str) -> Iterator[None]:
    """Turn an exhausted memory inside the block into `OutOfMemory`.

    Parameters
    ----------
    device : str
        ``cpu`` or ``cuda:<n>``; named in the message.
    hint : str
        What the user can do about it in this task.

    Raises
    ------
    OutOfMemory
        NumPy, torch on the CPU or torch on CUDA could not get the memory they asked for.
    """
    where = "memory" if device == "cpu" else "memory on the graphics processor"
    try:
        yield
    except MemoryError as error:
        raise OutOfMemory(f"Not enough {where} for this step.", hint=hint) from error
    except RuntimeError as error:
        # torch's CPU allocator raises a plain RuntimeError; its CUDA one a subclass of it.
        if not re.search(
            r"out of memory|not enough memory|can't allocate memory|bad.?alloc", str(error), re.IGNORECASE
        ):
            raise
        if device != "cpu":
            import torch

            torch.cuda.empty_cache()
        raise OutOfMemory(f"Not enough {where} for this step.", hint=hint) from error


def _answers(device: str) -> bool:
    """Whether a CUDA device can compute; a driver that does not fit the build is there but does not answer."""
    import torch

    try:
        return bool((torch.ones(2, device=device).sum() == 2).item())
    except RuntimeError:
        return False


def _roomiest(count: int) -> str:
    """Return the answering CUDA device with the most free memory, or the CPU."""
    devices = [device for n in range(count) if _answers(device := f"cuda:{n}")]
    return max(devices, key=free_memory, default="cpu")
