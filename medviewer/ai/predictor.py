"""From volumes to labels by a model: check, resample, windows, back onto the volume's grid, clean up, look it over."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.ai.backends import Backend
from medviewer.ai.body import find_body
from medviewer.ai.card import ModelCard
from medviewer.ai.coarse_ct import CoarseCt
from medviewer.ai.device import free_memory, named_memory_errors
from medviewer.ai.flips import flip_axes, flipped
from medviewer.ai.infer import backend_for
from medviewer.ai.intensity import normalise
from medviewer.ai.model_grid import ModelGrid
from medviewer.ai.models import WARM
from medviewer.ai.models import Model as Model
from medviewer.ai.models import open_model as open_model
from medviewer.ai.outputs import Outputs, Wanted, bad_output, output_count
from medviewer.ai.postprocess import postprocess
from medviewer.ai.quality import quality_flags
from medviewer.ai.run_plan import memory_needed, smaller_window, window_of
from medviewer.ai.sliding_window import OVERLAP, Forward, Windows, plan_windows, slide
from medviewer.ai.speeds import Speed, key_of, remember, remembered
from medviewer.core.errors import OutOfMemory, TaskError
from medviewer.core.finding import QualityFlag
from medviewer.core.segmentation import LabelArray
from medviewer.core.volume import Volume
from medviewer.imaging.resample import resample_onto
from medviewer.jobs.job import JobContext, SubContext

FloatArray = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: A body of less of the image than this is none.
_LEAST_BODY = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """How to run.

    Attributes
    ----------
    exact : bool
        torch in single precision, whatever is faster on this machine.
    overlap : float, optional
        Of windows, 0 .. 0.9; default is the card's setting ``overlap``, or 0.25.
    flips : bool
        The mean over mirrored windows.
    inside : bool, shape (k, j, i) of the first volume, optional
        Windows that do not touch it are left out; default for CT is the body.
    probability, uncertainty : bool
        Whether to return them as well.
    postprocessing : sequence of mapping, optional
        Steps of `medviewer.ai.postprocess`; default is the card's.
    batch : int
        Windows at a time on a graphics processor.
    """

    exact: bool = False
    overlap: float | None = None
    flips: bool = False
    inside: Mask | None = None
    probability: bool = False
    uncertainty: bool = False
    postprocessing: Sequence[Mapping[str, Any]] | None = None
    batch: int = 4


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
        Entropy, or with flips the spread of the probability over them, 0 .. 1.
    flags : tuple of QualityFlag
        What looks wrong.
    record : mapping
        How it was made, JSON-ready.
    """

    labels: LabelArray
    probability: FloatArray | None = None
    uncertainty: FloatArray | None = None
    flags: tuple[QualityFlag, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)


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
    OutOfMemory
        ``E_OOM``: not even small windows on the CPU have room.
    """
    options = options or PredictOptions()
    images = (volumes,) if isinstance(volumes, Volume) else tuple(volumes)
    ctx.progress(0.0, "Loading the model")
    ready = model if isinstance(model, Model) else open_model(model)
    card = ready.card
    check_input(card, images)
    ctx.progress(0.01, "Preparing the image")
    grid = ModelGrid.of(images[0].geometry, card.spacing_mm)
    with named_memory_errors("cpu", "Close other studies or programs, or crop the volume."):
        image = prepared(card, grid, images)
        inside = _region(SubContext(ctx, 0.02, 0.06), images[0], options)
        run = _Run(ready, grid, image, None if inside is None else grid.mask(inside), options)
        outputs, record = run.anyhow(SubContext(ctx, 0.06, 0.94))
        ctx.progress(0.94, "Back onto the image")
        steps = card.postprocessing if options.postprocessing is None else options.postprocessing
        k, j, i = images[0].geometry.spacing[::-1]
        labels = postprocess(SubContext(ctx, 0.95, 0.98), outputs.labels(), (k, j, i), steps)
        flags = quality_flags(card, labels, images[0].geometry, images[0].array, outputs.doubt())
        return Prediction(labels, outputs.probability(), outputs.uncertainty(), flags, record)


def predict_cases(
    ctx: JobContext, model: Model | Path, cases: Sequence[Sequence[Volume]], options: PredictOptions | None = None
) -> Iterator[Prediction]:
    """Run a model on several cases of any sizes, one after the other; see `predict`."""
    ready = model if isinstance(model, Model) else open_model(model)
    for n, volumes in enumerate(cases):
        yield predict(SubContext(ctx, n / len(cases), (n + 1) / len(cases)), ready, volumes, options)


def check_input(card: ModelCard, images: Sequence[Volume]) -> None:
    """Refuse volumes that the model does not take; raises `TaskError` ``E_MODEL_INPUT``."""
    need, have = len(card.channels), len(images)
    if need != have:
        channels = f"{need} {'channel' if need == 1 else 'channels'} ({', '.join(card.channels)})"
        raise _bad_input(f"{card.title} needs {channels}, have {have}.")
    deep = len(card.window) != 2
    for image in images:
        if card.modalities and image.modality and image.modality not in card.modalities:
            raise _bad_input(f"{card.title} is made for {' or '.join(card.modalities)}, not {image.modality}.")
        if deep and not image.has_depth:
            raise _bad_input(f"{card.title} needs a volume; “{image.name}” has no depth.")
        if deep and card.spacing_mm and not image.in_mm:
            raise _bad_input(f"{card.title} needs the size of a voxel, which “{image.name}” does not say.")
    for wanted, own in zip(card.spacing_mm, ModelGrid.of(images[0].geometry).geometry.spacing[::-1], strict=False):
        most = float(card.settings.get("coarsest", 8.0))
        if own > most * wanted > 0:
            raise _bad_input(f"{card.title} works on voxels of {wanted:g} mm; {own:.3g} mm are too coarse for it.")


def _bad_input(text: str) -> TaskError:
    return TaskError(text, hint="Choose another image, or another model.", code="E_MODEL_INPUT")


def prepared(card: ModelCard, grid: ModelGrid, images: Sequence[Volume]) -> FloatArray:
    """Return the channels (c, k, j, i) on the network's grid, as it was trained on them."""
    channels = []
    for image in images:
        array = resample_onto(image.array, image.geometry, grid.source, default=float(image.array.min()))
        values = grid.image(array)
        if not np.isfinite(values).all():
            values = np.nan_to_num(values, nan=float(np.nanmin(values)))
        channels.append(normalise(values, card.intensity, image.modality))
    return channels[0][None] if len(channels) == 1 else np.stack(channels)


def _region(ctx: JobContext, image: Volume, options: PredictOptions) -> Mask | None:
    """Return where to look: what was asked for, or the body on a CT; None for everywhere."""
    if options.inside is not None or image.modality != "CT" or not image.has_depth:
        return options.inside
    ct = CoarseCt.of(image, 5.0)
    # A second on the CPU; the memory of a graphics processor is for the network.
    body = find_body(_On(ctx, "cpu"), ct)
    return ct.grid.turn_back(ct.fine(body)) if body.mean() > _LEAST_BODY else None


class _Run:
    """One case through the network: with the windows and the device that have room."""

    def __init__(
        self, model: Model, grid: ModelGrid, image: FloatArray, inside: Mask | None, options: PredictOptions
    ) -> None:
        self._model = model
        self._card = model.card
        self._grid = grid
        self._image = image
        self._inside = inside
        self._options = options

    def anyhow(self, ctx: JobContext) -> tuple[Outputs, dict[str, Any]]:
        """Run; when memory runs out, with smaller windows, then on the CPU. Returns what came out, and how."""
        window = window_of(self._card, self._image.shape[1:])
        tries = [(ctx.device, window), (ctx.device, smaller_window(self._card, window))]
        if ctx.device != "cpu":
            tries += [("cpu", window), ("cpu", tries[1][1])]
        notes: list[str] = []
        for n, (device, size) in enumerate(tries):
            if n:
                notes.append(f"windows of {'×'.join(map(str, size))} on {device}")
                ctx.progress(None, f"Not enough memory: going on with {notes[-1]}")
            try:
                return self._once(_On(ctx, device), size, notes)
            except OutOfMemory:
                # What other models hold may be just what is missing.
                WARM.clear()
                self._model.backends.clear()
        need = memory_needed(self._card, self._image.shape[1:], tries[-1][1])
        free = free_memory("cpu")
        raise OutOfMemory(
            f"{self._card.title} needs about {need / 1e9:.1f} GB of memory; {free / 1e9:.1f} GB are free.",
            hint="Close other studies or programs, or crop the volume.",
        )

    def _once(self, ctx: JobContext, window: tuple[int, int, int], notes: list[str]) -> tuple[Outputs, dict[str, Any]]:
        options, card = self._options, self._card
        share = float(card.settings.get("overlap", OVERLAP)) if options.overlap is None else options.overlap
        windows = plan_windows(self._image.shape[1:], window, share, self._inside)
        asks = options.uncertainty or "entropy" in card.settings.get("quality", {})
        outputs = Outputs(card, self._grid, Wanted(probability=options.probability, uncertainty=asks))
        record: dict[str, Any] = {
            "device": ctx.device,
            "window": list(window),
            "windows": len(windows.starts),
            "windows_skipped": windows.total - len(windows.starts),
            "overlap": share,
            "flips": list(flip_axes(card)) if options.flips else [],
        }
        if notes:
            record["memory_ran_out"] = list(notes)
        if not windows.starts:
            return outputs, record
        with named_memory_errors(ctx.device, ""):
            backend = backend_for(ctx, self._model, self._image, windows, exact=options.exact)
            record |= {"backend": backend.name, "precision": backend.precision}
            start = time.perf_counter()
            self._slabs(ctx, backend, windows, outputs)
            self._learn(ctx, backend, windows, time.perf_counter() - start)
        outputs.check()
        return outputs, record

    def _slabs(self, ctx: JobContext, backend: Backend, windows: Windows, outputs: Outputs) -> None:
        import torch

        options, card = self._options, self._card
        forward = self._checked(ctx, backend)
        outside = outputs.background
        if options.flips:
            spread = options.uncertainty
            forward = flipped(card, forward, spread=spread)
            outside = (*outside, 0.0) if spread else outside
        with torch.inference_mode():
            for slab in slide(
                ctx,
                forward,
                self._image,
                windows,
                device=ctx.device,
                batch=self._batch(ctx),
                padding=card.settings.get("padding"),
                outside=outside,
            ):
                outputs.put(slab)

    def _batch(self, ctx: JobContext) -> int:
        return 1 if ctx.device == "cpu" else self._options.batch

    def _checked(self, ctx: JobContext, backend: Backend) -> Forward:
        """Return a forward pass that refuses what cannot be logits of this card's labels."""
        card, flat = self._card, len(self._card.window) == 2

        def forward(x: Any) -> Any:
            logits = backend(ctx, x[:, :, 0])[:, :, None] if flat else backend(ctx, x)
            expected = (len(x), output_count(card), *x.shape[2:])
            if tuple(logits.shape) != expected:
                raise bad_output(card, f"its output has the shape {tuple(logits.shape)} instead of {expected}")
            return logits

        return forward

    def _learn(self, ctx: JobContext, backend: Backend, windows: Windows, seconds: float) -> None:
        """Keep how long a window took, for the next plan."""
        if not self._model.weights_sha256 or self._options.exact or self._options.flips:
            return
        key = key_of(self._model.weights_sha256, windows.window, ctx.device)
        known = remembered(key)
        chosen = known.backend if known is not None else ""
        remember(key, Speed(chosen, seconds / len(windows.starts)))


class _On:
    """A context on another device than its parent's."""

    def __init__(self, parent: JobContext, device: str) -> None:
        self.device = device
        self.progress = parent.progress
        self.check_cancelled = parent.check_cancelled
