from __future__ import annotations

import numpy as np
import pytest
import torch

from medviewer.ai.device import choose_device, free_memory, named_memory_errors
from medviewer.core.errors import InputError, OutOfMemory, TaskError


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "", "CPU"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(InputError) as caught:
        choose_device(name)
    assert caught.value.code == "E_DEVICE"
    assert caught.value.hint


def test_auto_is_a_device_that_computes() -> None:
    device = choose_device("auto")
    assert torch.ones(2, device=device).sum().item() == 2
    assert free_memory(device) > 0


def test_a_missing_graphics_processor_is_named() -> None:
    with pytest.raises(TaskError) as caught:
        choose_device(f"cuda:{torch.cuda.device_count()}")
    assert caught.value.code == "E_NO_GPU"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
)
def test_an_exhausted_memory_has_a_name_and_a_hint(error: Exception) -> None:
    with pytest.raises(OutOfMemory) as caught, named_memory_errors("cpu", "Use a smaller box."):
        raise error
    assert caught.value.hint == "Use a smaller box."


def test_numpy_and_torch_really_raise_what_is_caught() -> None:
    with pytest.raises(OutOfMemory), named_memory_errors("cpu", ""):
        np.empty(1 << 62, np.uint8)
    with pytest.raises(OutOfMemory), named_memory_errors("cpu", ""):
        torch.empty(1 << 60, dtype=torch.uint8)


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="a fault"), named_memory_errors("cpu", ""):
        raise RuntimeError("a fault")
