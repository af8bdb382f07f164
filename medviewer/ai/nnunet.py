"""Run an nnU-Net v2 result folder as nnU-Net itself would: its windows, folds, mirroring and resampling."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medviewer.ai.card import ModelCard
from medviewer.ai.formats import nnunet as folders
from medviewer.ai.networks import build_network
from medviewer.ai.nnunet_case import Case, logits_on_image, prepare
from medviewer.ai.predictor import Prediction, check_input
from medviewer.ai.sliding_window import Windows, slide
from medviewer.ai.torch_file import damaged, load_torch_file, tensors_of
from medviewer.core.errors import TaskError
from medviewer.core.volume import Volume
from medviewer.imaging.resample import resample_onto
from medviewer.jobs.job import JobContext, SubContext

if TYPE_CHECKING:
    import torch
    from torch import nn

FloatArray = npt.NDArray[np.float32]

#: nnU-Net's: how far windows are apart, in windows; and the sharpness of their weight.
STEP = 0.5
_SIGMA = 1 / 8


@dataclass(frozen=True, slots=True, eq=False)
class NnunetModel:
    """The folds of a model, ready.

    Attributes
    ----------
    card : ModelCard
    networks : tuple of nn.Module
        One for each fold; their logits are averaged.
    mirror_axes : tuple of int
        Axes of a window along which it was trained mirrored.
    weights_sha256 : str
        Of the checkpoint; of several, of their hashes.
    """

    card: ModelCard
    networks: tuple[nn.Module, ...]
    mirror_axes: tuple[int, ...]
    weights_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NnunetOptions:
    """How to run.

    Attributes
    ----------
    mirror : bool
        Whether to average over mirrored images, as nnU-Net does; up to eight times the work.
    step : float
        How far windows are apart, in windows.
    probability, uncertainty : bool
        Whether to return them as well.
    axes : "", "stored" or "RAS"
        Which way the image is turned for the network; empty as the model says.
    """

    mirror: bool = True
    step: float = STEP
    probability: bool = False
    uncertainty: bool = False
    axes: str = ""


def open_nnunet(folder: Path, *, first_fold: bool = False) -> NnunetModel:
    """Read a result folder; all folds, or the first. The last model is kept while its files stay as they are.

    Raises
    ------
    TaskError
        ``E_MODEL_FILE``, ``E_MODEL_CODE`` or ``E_TORCH_VERSION``.
    """
    root = folders.roots(folder)[0] if folders.recognises(folder) else folder
    used = (root / "plans.json", root / "dataset.json", *folders.checkpoints(root)[: 1 if first_fold else None])
    return _open(folder, tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in used))


@lru_cache(maxsize=1)
def _open(folder: Path, files: tuple[tuple[Path, int, int], ...]) -> NnunetModel:
    card = folders.read_card(folder)
    networks: list[nn.Module] = []
    hashes: list[str] = []
    axes: tuple[int, ...] = ()
    for path, _, _ in files[2:]:
        checkpoint = load_torch_file(path)
        if not networks:
            axes = _mirror_axes(checkpoint, path)
        networks.append(network_of(card, checkpoint, path))
        hashes.append(sha256_of(path))
    digest = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
    return NnunetModel(card, tuple(networks), axes, digest)


def _mirror_axes(checkpoint: Any, path: Path) -> tuple[int, ...]:
    axes = checkpoint.get("inference_allowed_mirroring_axes") or ()
    if not isinstance(axes, list | tuple) or not all(isinstance(a, int) and 0 <= a < 3 for a in axes):
        raise damaged(path, "its mirroring axes are no axes")
    return tuple(axes)


def network_of(card: ModelCard, checkpoint: Any, path: Path) -> nn.Module:
    """Return the network of a card with the weights of a checkpoint; raises `TaskError` ``E_MODEL_FILE``."""
    weights = checkpoint.get("network_weights")
    if not isinstance(weights, dict):
        raise damaged(path, "it holds no network_weights")
    kept = {}
    for name, value in weights.items():
        short = str(name).removeprefix("module.").removeprefix("_orig_mod.")
        # nnU-Net lists every layer up to four times under other names.
        if ".all_modules." not in short and not short.startswith("decoder.encoder."):
            kept[short] = value
    network = build_network(card.network, card.arguments)
    try:
        network.load_state_dict(tensors_of(kept, path))
    except RuntimeError as error:
        raise damaged(path, "the weights do not fit the network of the plans") from error
    return network.eval()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def predict_nnunet(
    ctx: JobContext, model: NnunetModel, volumes: Sequence[Volume], options: NnunetOptions | None = None
) -> Prediction:
    """Run a model on one case.

    Parameters
    ----------
    ctx : JobContext
        Names the device.
    model : NnunetModel
    volumes : sequence of Volume
        One per channel; all are brought onto the grid of the first.
    options : NnunetOptions, optional

    Raises
    ------
    TaskError
        ``E_MODEL_INPUT`` or ``E_MODEL_OUTPUT``.
    """
    options = options or NnunetOptions()
    card = model.card
    check_input(card, volumes)
    ctx.progress(0.0, "Preparing the image")
    first = volumes[0].geometry
    channels = [resample_onto(v.array, v.geometry, first, default=float(v.array.min())) for v in volumes]
    settings = {**card.settings, **({"axes": options.axes} if options.axes else {})}
    case = prepare(channels, first, card.spacing_mm, settings)
    windows = nnunet_windows(case.image.shape[1:], card.window, options.step)
    forward = _forward(model, ctx.device, options.mirror)
    drawing = _Drawing(card, case, options)
    part = SubContext(ctx, 0.1, 1.0)
    import torch

    with torch.inference_mode():
        slabs = slide(
            part, forward, case.image, windows, device=ctx.device, padding=0.0, weight=nnunet_weight(windows.window)
        )
        for start, logits in logits_on_image(case, slabs, settings["resample_logits"]):
            drawing.draw(start, logits)
    record = {
        "device": ctx.device,
        "windows": len(windows.starts),
        "folds": len(model.networks),
        "mirror_axes": list(model.mirror_axes) if options.mirror else [],
    }
    return Prediction(drawing.labels, drawing.probability, drawing.uncertainty, record=record)


def nnunet_windows(shape: Sequence[int], patch: Sequence[int], step: float = STEP) -> Windows:
    """Return windows evenly spread over an image, at most `step` windows apart; a flat patch is one slice."""
    window = (1,) * (3 - len(patch)) + tuple(patch)
    pad, lines = [], []
    for n, w in zip(shape, window, strict=True):
        lack = max(0, w - n)
        pad.append((lack // 2, lack - lack // 2))
        room = n + lack - w
        count = int(np.ceil(room / (w * step))) + 1 if w > 1 else room + 1
        lines.append([round(room * m / (count - 1)) if count > 1 else 0 for m in range(count)])
    starts = tuple((k, j, i) for k in lines[0] for j in lines[1] for i in lines[2])
    k, j, i = shape
    return Windows((k, j, i), (window[0], window[1], window[2]), tuple(pad), starts, len(starts))


def nnunet_weight(window: Sequence[int]) -> FloatArray:
    """Return nnU-Net's weight of the voxels of a window: a Gaussian around voxel n // 2, never quite nothing."""
    from scipy import ndimage

    weight = np.ones(1)
    for n in window:
        line = np.zeros(n)
        line[n // 2] = 1
        if n > 1:
            line = ndimage.gaussian_filter1d(line, n * _SIGMA, mode="constant")
        weight = weight[..., None] * (line / line.max())
    # Half precision, as nnU-Net holds it, ends where the corners begin.
    half: FloatArray = (10 * weight[0]).astype(np.float16).astype(np.float32)
    half[half == 0] = half[half > 0].min()
    return half


def _forward(model: NnunetModel, device: str, mirror: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    import torch

    networks = [network.to(device) for network in model.networks]
    flat = len(model.card.window) == 2
    axes = [axis + 2 for axis in model.mirror_axes] if mirror else []
    flips = [c for n in range(len(axes) + 1) for c in itertools.combinations(axes, n)]
    kind = device.split(":")[0]

    def run(x: torch.Tensor) -> torch.Tensor:
        x = x[:, :, 0] if flat else x
        total: Any = 0.0
        with torch.autocast(kind, enabled=kind == "cuda"):
            for network in networks:
                for flip in flips:
                    total = total + network(x.flip(flip)).flip(flip).float()
        total = total / (len(networks) * len(flips))
        return total[:, :, None] if flat else total  # type: ignore[no-any-return]

    return run


class _Drawing:
    """Labels, probability and uncertainty of the image, as its logits come in."""

    def __init__(self, card: ModelCard, case: Case, options: NnunetOptions) -> None:
        self._card = card
        self._case = case
        self._labels = np.zeros(case.whole, np.uint16)
        self._probability = np.zeros(case.whole, np.float32) if options.probability else None
        self._uncertainty = np.zeros(case.whole, np.float32) if options.uncertainty else None

    def _whole(self, array: FloatArray | None) -> FloatArray | None:
        return None if array is None else self._case.axes.back(array)

    def draw(self, start: int, logits: torch.Tensor) -> None:
        """Write slices of the crop, from `start` on."""
        if not bool(logits.isfinite().all()):
            raise TaskError(
                f"{self._card.title} gave no usable result: its output is not a number.",
                hint="Nothing was changed. Check that the image is what the model is made for.",
                code="E_MODEL_OUTPUT",
            )
        crop = self._case.crop
        begin = crop[0].start + start
        where = (slice(begin, begin + logits.shape[1]), crop[1], crop[2])
        values = [label.value for label in self._card.labels]
        if self._card.output == "sigmoid":
            labels = np.zeros(tuple(logits.shape[1:]), np.uint16)
            for value, output in zip(values, (logits > 0).cpu().numpy(), strict=True):
                labels[output] = value
        else:
            labels = np.array([0, *values], np.uint16)[logits.argmax(0).cpu().numpy()]
        self._labels[where] = labels
        if self._probability is None and self._uncertainty is None:
            return
        self._doubts(where, logits)

    def _doubts(self, where: tuple[slice, ...], logits: torch.Tensor) -> None:
        import torch

        if self._card.output == "sigmoid":
            chances = logits.sigmoid()
            found = chances.amax(0)
            doubt = (torch.special.entr(chances) + torch.special.entr(1 - chances)).amax(0) / np.log(2)
        else:
            chances = logits.softmax(0)
            found = 1 - chances[0]
            doubt = torch.special.entr(chances).sum(0) / np.log(max(2, len(chances)))
        if self._probability is not None:
            self._probability[where] = found.cpu().numpy()
        if self._uncertainty is not None:
            self._uncertainty[where] = doubt.cpu().numpy()

    @property
    def labels(self) -> npt.NDArray[np.uint16]:
        """On the image's grid."""
        return self._case.axes.back(self._labels)

    @property
    def probability(self) -> FloatArray | None:
        """On the image's grid."""
        return self._whole(self._probability)

    @property
    def uncertainty(self) -> FloatArray | None:
        """On the image's grid."""
        return self._whole(self._uncertainty)
