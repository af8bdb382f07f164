"""From volumes to labels by a model: check, resample, windows, back onto the volume's grid, post-process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medviewer.ai.card import ModelCard, read_card
from medviewer.ai.checkpoint import load_network
from medviewer.ai.intensity import normalise
from medviewer.ai.model_grid import ModelGrid
from medviewer.ai.outputs import Outputs, Wanted, bad_output, output_count
from medviewer.ai.sliding_window import OVERLAP, Forward, Windows, plan_windows, slide
from medviewer.core.errors import TaskError
from medviewer.core.segmentation import LabelArray
from medviewer.core.volume import Volume
from medviewer.imaging.resample import resample_onto
from medviewer.jobs.job import JobContext, SubContext

if TYPE_CHECKING:
    from torch import nn

FloatArray = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A network that is ready, and its card.

    Attributes
    ----------
    card : ModelCard
    network : nn.Module
        On the CPU, in evaluation mode; windows (n, c, [k,] j, i) to logits (n, outputs, [k,] j, i).
    weights_sha256 : str
    """

    card: ModelCard
    network: nn.Module
    weights_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """How to run.

    Attributes
    ----------
    overlap : float, optional
        Of windows, 0 .. 0.9; default is the card's setting ``overlap``, or 0.25.
    inside : bool, shape (k, j, i) of the first volume, optional
        Windows that do not touch it are left out.
    probability, uncertainty : bool
        Whether to return them as well.
    """

    overlap: float | None = None
    inside: Mask | None = None
    probability: bool = False
    uncertainty: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a model found, on the grid of the first volume.

    Attributes
    ----------
    labels : uint16, shape (k, j, i)
        Values of the card's labels; 0 is background.
    probability : float32, shape (k, j, i), or None
        Of there being anything but background.
    uncertainty : float32, shape (k, j, i), or None
        Entropy, 0 .. 1.
    quality : tuple of str
        What looks wrong, a sentence each.
    record : mapping
        How it was made, JSON-ready.
    """

    labels: LabelArray
    probability: FloatArray | None = None
    uncertainty: FloatArray | None = None
    quality: tuple[str, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)


def open_model(folder: Path) -> Model:
    """Return the model of a folder; raises `TaskError` ``E_MODEL_FILE``."""
    card = read_card(folder)
    return Model(card, load_network(folder, card), card.weights_sha256)


def predict(
    ctx: JobContext, model: Model | Path, volumes: Volume | Sequence[Volume], options: PredictOptions | None = None
) -> Prediction:
    """Run a segmentation model on one case.

    Parameters
    ----------
    ctx : JobContext
        Names the device.
    model : Model or Path
        Or the folder of a MedViewer model.
    volumes : Volume or sequence of Volume
        One per channel of the card, in that order; all are brought onto the grid of the first.
    options : PredictOptions, optional

    Raises
    ------
    TaskError
        ``E_MODEL_FILE``: the folder holds no such model. ``E_MODEL_INPUT``: the volumes are not what the model takes.
        ``E_MODEL_OUTPUT``: the network gave what cannot be labels.
    """
    options = options or PredictOptions()
    images = (volumes,) if isinstance(volumes, Volume) else tuple(volumes)
    ctx.progress(0.0, "Loading the model")
    ready = model if isinstance(model, Model) else open_model(model)
    card = ready.card
    check_input(card, images)
    ctx.progress(0.02, "Preparing the image")
    grid = ModelGrid.of(images[0].geometry, card.spacing_mm)
    image = prepared(card, grid, images)
    inside = None if options.inside is None else grid.mask(options.inside)
    windows = windows_of(card, image, inside, options.overlap)
    wanted = Wanted(probability=options.probability, uncertainty=options.uncertainty)
    outputs = Outputs(card, grid, wanted)
    if windows.starts:
        _run(SubContext(ctx, 0.05, 0.95), ready, image, windows, outputs)
    ctx.progress(0.95, "Back onto the image")
    return Prediction(
        outputs.labels(),
        outputs.probability(),
        outputs.uncertainty(),
        record={
            "device": ctx.device,
            "windows": len(windows.starts),
            "windows_skipped": windows.total - len(windows.starts),
        },
    )


def check_input(card: ModelCard, images: Sequence[Volume]) -> None:
    """Refuse volumes that the model does not take; raises `TaskError` ``E_MODEL_INPUT``."""
    need, have = len(card.channels), len(images)
    if need != have:
        channels = f"{need} {'channel' if need == 1 else 'channels'} ({', '.join(card.channels)})"
        raise _bad_input(f"{card.title} needs {channels}, have {have}.")
    for image in images:
        if card.modalities and image.modality and image.modality not in card.modalities:
            raise _bad_input(f"{card.title} is made for {' or '.join(card.modalities)}, not {image.modality}.")


def _bad_input(text: str) -> TaskError:
    return TaskError(text, hint="Choose another image, or another model.", code="E_MODEL_INPUT")


def prepared(card: ModelCard, grid: ModelGrid, images: Sequence[Volume]) -> FloatArray:
    """Return the channels (c, k, j, i) on the network's grid, as it was trained on them."""
    channels = []
    for image in images:
        array = resample_onto(image.array, image.geometry, grid.source, default=float(image.array.min()))
        channels.append(normalise(grid.image(array), card.intensity, image.modality))
    result: FloatArray = np.stack(channels)
    return result


def windows_of(card: ModelCard, image: FloatArray, inside: Mask | None, overlap: float | None = None) -> Windows:
    """Return where the windows of a model lie on a prepared image; a 2-D window is one slice."""
    window = tuple(card.window) or image.shape[1:]
    window = (1,) * (3 - len(window)) + window
    share = float(card.settings.get("overlap", OVERLAP)) if overlap is None else overlap
    return plan_windows(image.shape[1:], window, share, inside)


def _run(ctx: JobContext, model: Model, image: FloatArray, windows: Windows, outputs: Outputs) -> None:
    import torch

    network = model.network.to(ctx.device)
    card = model.card
    flat = len(card.window) == 2
    forward = _checked(card, lambda x: network(x[:, :, 0])[:, :, None] if flat else network(x))
    padding = card.settings.get("padding")
    with torch.inference_mode():
        for slab in slide(ctx, forward, image, windows, device=ctx.device, padding=padding, outside=outputs.background):
            outputs.put(slab)
    outputs.check()


def _checked(card: ModelCard, forward: Callable[[Any], Any]) -> Forward:
    """Return a forward pass that refuses what cannot be logits of this card's labels."""

    def run(x: Any) -> Any:
        logits = forward(x)
        expected = (len(x), output_count(card), *x.shape[2:])
        if tuple(logits.shape) != expected:
            raise bad_output(card, f"its output has the shape {tuple(logits.shape)} instead of {expected}")
        return logits

    return run
