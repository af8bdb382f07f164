"""What computes a network: torch, or OpenVINO where that is faster. Measured once per machine and network, then kept.

Both notice a cancel inside a window. The exact mode is torch in single precision, whatever was measured.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import logging
import math
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from medviewer.ai.card import ModelCard
from medviewer.ai.models import Model
from medviewer.ai.speeds import Speed, key_of, remember, remembered
from medviewer.core.version import __version__
from medviewer.io.places import user_cache
from medviewer.jobs.job import JobCancelled, JobContext

if TYPE_CHECKING:
    import torch
    from torch import nn

log = logging.getLogger(__name__)

#: Below so many voxels in all windows together, a conversion takes longer than it saves.
WORTH_MEASURING = 3_000_000
#: Share of the voxels that another back-end must give the same label as torch in single precision.
SAME = 0.999
#: Converted networks kept on disk, bytes.
_MOST_CACHED = 1 << 30
#: A window of so many seconds is measured once.
_LONG = 2.0
#: How often a cancel is looked for while OpenVINO computes, milliseconds.
_WAIT_MS = 50


class Backend(Protocol):
    """Computes windows (n, c, [k,] j, i) to logits.

    Attributes
    ----------
    name : str
        ``torch`` or ``openvino``.
    precision : str
        ``f32``, ``bf16`` or ``f16``.
    """

    name: str
    precision: str

    def __call__(self, ctx: JobContext, x: torch.Tensor) -> torch.Tensor:
        """Return logits; valid until the next call. Raises `JobCancelled`."""


class TorchBackend:
    """torch, eager; half precision and channels last where the hardware computes in it."""

    name = "torch"

    def __init__(self, network: nn.Module, device: str, *, half: bool) -> None:
        import torch

        self._device = torch.device(device).type
        self.precision = "f32"
        # Another device or layout needs weights of its own: the exact mode goes on with the first ones.
        self._network = network if self._device == "cpu" and not half else copy.deepcopy(network).to(device)
        if half:
            bf16 = self._device == "cpu" or torch.cuda.is_bf16_supported()
            self.precision = "bf16" if bf16 else "f16"
            for module in self._network.modules():
                if isinstance(module, torch.nn.Conv3d | torch.nn.ConvTranspose3d):
                    module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last_3d)

    def __call__(self, ctx: JobContext, x: torch.Tensor) -> torch.Tensor:
        """Return logits; a cancel is noticed between layers."""
        import torch

        dtype = {"f32": None, "bf16": torch.bfloat16, "f16": torch.float16}[self.precision]
        if dtype is not None and x.ndim == 5:
            x = x.contiguous(memory_format=torch.channels_last_3d)
        leaves = [module for module in self._network.modules() if not any(module.children())]
        handles = [leaf.register_forward_pre_hook(lambda *_: ctx.check_cancelled()) for leaf in leaves]
        try:
            with torch.inference_mode(), torch.autocast(self._device, dtype, enabled=dtype is not None):
                logits: torch.Tensor = self._network(x)
        finally:
            for handle in handles:
                handle.remove()
        return logits


class OpenVinoBackend:
    """OpenVINO on the CPU; it takes bf16 by itself where the CPU has it."""

    name = "openvino"

    def __init__(self, network: nn.Module, sample: torch.Tensor, cached: Path | None) -> None:
        openvino = load_openvino()
        core = openvino.Core()
        if cached is not None and cached.is_file():
            converted = core.read_model(cached)
        else:
            converted = _converted(network, sample)
            if cached is not None:
                _keep(openvino, converted, cached)
        converted.reshape(list(sample.shape))
        compiled = core.compile_model(converted, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
        self.precision = str(compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
        self._request = compiled.create_infer_request()

    def __call__(self, ctx: JobContext, x: torch.Tensor) -> torch.Tensor:
        """Return logits; a cancel is noticed within 50 ms."""
        import torch

        self._request.start_async({0: x.contiguous().numpy()}, share_inputs=True)
        while not self._request.wait_for(_WAIT_MS):
            try:
                ctx.check_cancelled()
            except JobCancelled:
                self._request.cancel()
                # Waiting for what was cancelled is an error of its own.
                with contextlib.suppress(RuntimeError):
                    self._request.wait_for(1000)
                raise
        return torch.from_numpy(self._request.get_output_tensor(0).data)


def load_openvino() -> Any:
    """Import OpenVINO without its telemetry, which would send an event from every import; raises ImportError."""
    # None makes the import of that package fail; OpenVINO then uses its own empty stand-in.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def worth_measuring(window: Sequence[int], windows: int) -> bool:
    """Whether a run is so long that a conversion pays. Counted, not timed: the same run is always computed the same."""
    return windows * math.prod(window) >= WORTH_MEASURING


def choose_backend(ctx: JobContext, model: Model, sample: torch.Tensor, *, worth: bool, exact: bool) -> Backend:
    """Return what computes a network's windows.

    Parameters
    ----------
    model : Model
    sample : tensor, shape of a batch of windows
        To measure with.
    worth : bool
        Whether anything but torch may be taken, see `worth_measuring`.
    exact : bool
        torch in single precision.
    """
    card, network, weights_sha256 = model.card, model.network, model.weights_sha256
    if getattr(network, "opaque", False):
        return TorchBackend(network, "cpu", half=False)
    if ctx.device != "cpu" or exact:
        return TorchBackend(network, ctx.device, half=ctx.device != "cpu" and not exact)
    if not worth:
        return TorchBackend(network, "cpu", half=False)
    key = key_of(weights_sha256, (1,) * (5 - sample.ndim) + tuple(sample.shape[2:]), ctx.device)
    known = remembered(key) if weights_sha256 else None
    makers = _makers(card, network, weights_sha256, sample)
    if known is not None and known.backend in makers:
        try:
            return makers[known.backend]()
        # A package that was removed or updated, a cache that is damaged: measure anew.
        except Exception as error:  # noqa: BLE001
            log.warning("%s cannot be used any more (%s).", known.backend, error)
    backend, speed = _fastest(ctx, makers, sample, card)
    if weights_sha256:
        remember(key, speed)
    return backend


def _makers(
    card: ModelCard, network: nn.Module, weights_sha256: str, sample: torch.Tensor
) -> dict[str, Callable[[], Backend]]:
    makers: dict[str, Callable[[], Backend]] = {"torch": lambda: TorchBackend(network, "cpu", half=False)}
    if _cpu_has_bf16():
        makers["torch bf16"] = lambda: TorchBackend(network, "cpu", half=True)
    makers["openvino"] = lambda: OpenVinoBackend(network, sample, _cache_path(card, weights_sha256, sample))
    return makers


def _fastest(
    ctx: JobContext, makers: dict[str, Callable[[], Backend]], sample: torch.Tensor, card: ModelCard
) -> tuple[Backend, Speed]:
    """Return the fastest back-end that gives the labels that the first one, torch in single precision, gives."""
    ctx.progress(None, "Measuring how fast this machine is, once")
    best: tuple[Backend, Speed] | None = None
    labels = None
    for name, make in makers.items():
        try:
            backend = make()
            seconds, found = _timed(ctx, backend, sample, card)
        except Exception as error:
            # torch must work; anything else is a gift.
            if best is None:
                raise
            log.info("%s cannot run this network (%s).", name, error)
            continue
        labels = found if labels is None else labels
        same = float((found == labels).float().mean())
        log.info("%s: %.3f s a window, %.5f equal to torch.", name, seconds, same)
        if best is None or (seconds < best[1].seconds and same >= SAME):
            best = backend, Speed(name, seconds)
    assert best is not None
    return best


def _timed(ctx: JobContext, backend: Backend, sample: torch.Tensor, card: ModelCard) -> tuple[float, torch.Tensor]:
    """Return the seconds of a window and its labels; a first one that takes long is not repeated to be fair."""
    start = time.perf_counter()
    found = _labels(card, backend(ctx, sample))
    seconds = time.perf_counter() - start
    if seconds < _LONG:
        start = time.perf_counter()
        backend(ctx, sample)
        seconds = min(seconds, time.perf_counter() - start)
    return seconds, found


def _labels(card: ModelCard, logits: torch.Tensor) -> torch.Tensor:
    return logits > 0 if card.output == "sigmoid" else logits.argmax(1)


def _cpu_has_bf16() -> bool:
    import torch

    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def _converted(network: nn.Module, sample: torch.Tensor) -> Any:
    """Return a network as an OpenVINO model, by its PyTorch front end: `convert_model` takes ten times as long."""
    import torch
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, sample, check_trace=False)  # type: ignore[no-untyped-call]
        front_end = FrontEndManager().load_by_framework("pytorch")
        # Named: the front end does not keep them alive.
        decoder = TorchScriptPythonDecoder(traced, example_input=sample)
        read = front_end.load(decoder)
        return front_end.convert(read)


def _cache_path(card: ModelCard, weights_sha256: str, sample: torch.Tensor) -> Path | None:
    """Return where the converted network is kept; None for one that cannot be told from others."""
    if not weights_sha256:
        return None
    from importlib.metadata import version

    what = [weights_sha256, card.network, dict(card.arguments), list(sample.shape), __version__, version("openvino")]
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    return user_cache() / "networks" / f"{digest[:32]}.xml"


def _keep(openvino: Any, converted: Any, path: Path) -> None:
    """Write a converted network beside, then into place; drop the oldest when there are too many."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"_{path.name}")
        openvino.save_model(converted, beside, compress_to_fp16=False)
        beside.with_suffix(".bin").replace(path.with_suffix(".bin"))
        beside.replace(path)
        files = sorted(path.parent.glob("*.bin"), key=lambda file: file.stat().st_mtime, reverse=True)
        total = 0
        for file in files:
            total += file.stat().st_size
            if total > _MOST_CACHED and file.stem != path.stem:
                file.with_suffix(".xml").unlink(missing_ok=True)
                file.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:
        log.warning("The converted network cannot be kept (%s).", error)
