"""From a picture to what a classifier says of it: calibrated probabilities, where the evidence lies, and doubts.

The network offers ``features(x) -> (n, c, rows, columns)`` and ``classify(features) -> logits (n, labels)`` for a
heat-map; one that does not is asked for its logits only. The card's settings may hold

- ``calibration``: ``{"temperature": t, "bias": [one per label]}``, for logits / t + bias,
- ``finding``: value of the label whose evidence the heat-map shows; without it, that of the most probable label,
- ``usual``: what thumbnails of usual pictures are like, for `unusual`.

References
----------
Selvaraju et al., Grad-CAM, ICCV 2017. Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medviewer.ai.card import ModelCard
from medviewer.ai.models import Model
from medviewer.ai.picture import network_picture
from medviewer.core.errors import TaskError
from medviewer.core.finding import QualityFlag
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobContext

if TYPE_CHECKING:
    import torch

FloatArray = npt.NDArray[np.float32]

#: Shares of a feature's field by which the picture is moved, so that the coarse maps add up to a finer one.
_SHIFTS = (0.0, 0.5)
_TURNS = {1: "a quarter turn to the left", 2: "half a turn", 3: "a quarter turn to the right"}


@dataclass(frozen=True, slots=True, eq=False)
class Classification:
    """What a classifier says of the pictures of a volume.

    Attributes
    ----------
    probabilities : float64, shape (pictures, labels)
        Calibrated, in the order of the card's labels.
    unlike : bool, shape (pictures,)
        Of which pictures the probabilities mean nothing: they are unlike those that the model was trained on.
    picture : int
        The one that decides: of those that it knows, if any, where the finding is most probable.
    heatmap : float32, shape (k, j, i), or None
        0 .. 1 on the volume's grid: evidence times the probability of what it is evidence for.
    flags : tuple of QualityFlag
    """

    probabilities: npt.NDArray[np.float64]
    unlike: npt.NDArray[np.bool_]
    picture: int
    heatmap: FloatArray | None
    flags: tuple[QualityFlag, ...]


def classify(ctx: JobContext, model: Model, volume: Volume, *, heatmap: bool = True) -> Classification:
    """Return what a model says of every picture of a volume.

    Parameters
    ----------
    ctx : JobContext
    model : Model
    volume : Volume
    heatmap : bool
        Whether to show where the evidence lies.

    Raises
    ------
    TaskError
        ``E_MODEL_INPUT``: the volume is not made of pictures. ``E_MODEL_OUTPUT``: the network gave no probabilities.
    """
    card = model.card
    if volume.has_depth or len(card.window) != 2:
        raise TaskError(
            f"{card.title} looks at single pictures, and this is a volume.",
            hint="Choose a picture, for example a radiograph.",
            code="E_MODEL_INPUT",
        )
    network = model.network.to(ctx.device).eval()
    probabilities, maps, flags = [], [], []
    unlike = np.zeros(volume.geometry.shape[0], bool)
    pictures = volume.geometry.shape[0]
    rows, columns = card.window
    for k in range(pictures):
        ctx.progress(k / pictures, f"Picture {k + 1} of {pictures}")
        grey = _grey(volume, k)
        turn, doubts = _upright(card, network_picture(grey, (rows, columns), card.intensity))
        flags += [flag for flag in doubts if flag not in flags]
        unlike[k] = any(flag.code == "Q_UNLIKE" for flag in doubts)
        grey = np.rot90(grey, turn)
        seen = _Seen(card, network, ctx.device, network_picture(grey, (rows, columns), card.intensity))
        probabilities.append(seen.probabilities())
        if heatmap and seen.features is not None:
            maps.append(np.rot90(_resized(seen.heatmap(), grey.shape), -turn))
    ctx.progress(1.0, "Done")
    stated = np.stack(probabilities)
    if not np.isfinite(stated).all():
        raise _bad_output(card, "its output is not a number")
    evidence = np.ascontiguousarray(np.stack(maps)) if maps else None
    finding = _finding_index(card, stated)
    if evidence is not None:
        evidence[unlike] = 0
    counted = np.where(unlike & ~unlike.all(), -1.0, stated[:, finding])
    return Classification(stated, unlike, int(counted.argmax()), evidence, tuple(flags))


def calibrated(logits: npt.NDArray[Any], card: ModelCard) -> npt.NDArray[np.float64]:
    """Return probabilities (…, labels) of logits (…, labels), by the card's calibration."""
    calibration: Mapping[str, Any] = card.settings.get("calibration", {})
    values = logits.astype(np.float64) / float(calibration.get("temperature", 1.0))
    values = values + np.asarray(calibration.get("bias", 0.0), np.float64)
    if card.output == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-values)))
    powers = np.exp(values - values.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def unusual(pictures: npt.NDArray[Any], usual: Mapping[str, Any]) -> npt.NDArray[np.float64]:
    """Return how unlike usual ones network pictures (n, rows, columns) are: 1 is the most that is usual.

    What counts is a thumbnail, its contrast evened out: how far it lies along the directions in which usual ones
    differ, and what of it they do not explain.
    """
    off = thumbnails(pictures, int(usual["size"])) - np.asarray(usual["mean"])
    directions = np.asarray(usual["directions"])
    along = off @ directions.T
    rest = np.sqrt(((off - along @ directions) ** 2).mean(1)) / float(usual["rest"])
    far = np.sqrt(((along / np.asarray(usual["deviations"])) ** 2).mean(1)) / float(usual["along"])
    return np.asarray(np.maximum(rest, far))


def thumbnails(pictures: npt.NDArray[Any], size: int) -> npt.NDArray[np.float64]:
    """Return network pictures (n, rows, columns) as (n, size * size), each with mean 0 and deviation 1."""
    import torch
    from torch.nn import functional

    whole = torch.from_numpy(np.ascontiguousarray(pictures, dtype=np.float32))[:, None]
    small = functional.interpolate(whole, (size, size), mode="bilinear", antialias=True)
    values = small.flatten(1).double().numpy()
    values = values - values.mean(1, keepdims=True)
    return np.asarray(values / np.maximum(values.std(1, keepdims=True), 0.1))


class _Seen:
    """One picture, as a network sees it."""

    def __init__(self, card: ModelCard, network: Any, device: str, picture: FloatArray) -> None:
        import torch

        self._card, self._network = card, network
        self._image = torch.from_numpy(picture)[None, None].to(device)
        self.features: torch.Tensor | None = None
        with torch.no_grad():
            both = torch.cat([self._image, self._image.flip(-1)])
            if hasattr(network, "features"):
                self.features = network.features(both)
                logits = network.classify(self.features)
            else:
                logits = network(both)
        if tuple(logits.shape) != (2, len(card.labels)):
            raise _bad_output(card, f"its output has the shape {tuple(logits.shape)}")
        #: Mean of the picture and its mirror image.
        self._logits = logits.float().mean(0).cpu().numpy()

    def probabilities(self) -> npt.NDArray[np.float64]:
        return calibrated(self._logits, self._card)

    def heatmap(self) -> FloatArray:
        """Return the evidence (rows, columns), finer than the features, times the probability; 0 .. 1."""
        import torch
        from torch.nn import functional

        rows, columns = self._image.shape[-2:]
        stride = rows // self.features.shape[-2] if self.features is not None else 1
        total = torch.zeros((1, 1, rows, columns))
        stated = self.probabilities()
        label = _finding_index(self._card, stated[None])
        for down in _SHIFTS:
            for right in _SHIFTS:
                top, left = int(down * stride), int(right * stride)
                moved = functional.pad(self._image, (left, 0, top, 0), mode="replicate")[..., :rows, :columns]
                cam = functional.interpolate(self._cam(moved, label), (rows, columns), mode="bilinear")
                total += functional.pad(cam[..., top:, left:], (0, left, 0, top), mode="replicate").cpu()
        evidence: FloatArray = total[0, 0].numpy()
        evidence *= np.float32(stated[label] / max(float(evidence.max()), 1e-6))
        return evidence

    def _cam(self, image: torch.Tensor, label: int) -> torch.Tensor:
        """Return the gradient-weighted features (1, 1, r, c), what speaks against left out."""
        import torch

        with torch.no_grad():
            features = self._network.features(image)
        with torch.enable_grad():
            features = features.detach().requires_grad_()
            logits = self._network.classify(features)[0]
            others = [n for n in range(len(logits)) if n != label]
            score = logits[label] - (logits[others].mean() if others else 0.0)
            (gradient,) = torch.autograd.grad(score, features)
        weights = gradient.mean((-2, -1), keepdim=True)
        cam: torch.Tensor = (weights * features.detach()).sum(1, keepdim=True).clamp(min=0)
        return cam


def _upright(card: ModelCard, picture: FloatArray) -> tuple[int, list[QualityFlag]]:
    """Return the quarter turns after which an unusual network picture is a usual one, and what is doubtful."""
    usual = card.settings.get("usual")
    if usual is None or unusual(picture[None], usual)[0] <= 1:
        return 0, []
    for turn, how in _TURNS.items():
        if unusual(np.rot90(picture, turn)[None], usual)[0] <= 1:
            return turn, [QualityFlag("Q_TURNED", f"The picture was judged after {how}, where it looks upright.")]
    text = "The picture is unlike those that the model was trained on: no probability is stated."
    return 0, [QualityFlag("Q_UNLIKE", text)]


def _finding_index(card: ModelCard, stated: npt.NDArray[np.float64]) -> int:
    """Return which label is looked for: the card's ``finding``, else the most probable one."""
    value = card.settings.get("finding")
    for n, label in enumerate(card.labels):
        if label.value == value:
            return n
    return int(stated.max(0).argmax())


def _grey(volume: Volume, k: int) -> FloatArray:
    """Return a picture with bright for dense; what is outside the field of view is black."""
    grey = volume.array[k].astype(np.float32)
    outside = np.zeros(grey.shape, bool) if volume.shutter is None else ~volume.shutter
    if volume.padding is not None:
        outside |= grey == volume.padding
    if volume.inverted:
        grey = -grey
    if outside.any() and not outside.all():
        grey[outside] = grey[~outside].min()
    result: FloatArray = grey
    return result


def _resized(heat: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    import torch
    from torch.nn import functional

    scaled = functional.interpolate(torch.from_numpy(heat)[None, None], shape, mode="bilinear")
    result: FloatArray = scaled[0, 0].numpy()
    return result


def _bad_output(card: ModelCard, reason: str) -> TaskError:
    return TaskError(
        f"{card.title} gave no usable result: {reason}.",
        hint="Nothing was changed. Get the model again.",
        code="E_MODEL_OUTPUT",
    )
