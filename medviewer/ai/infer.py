"""A model's network on an array that is ready, with what computes it fastest here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medviewer.ai.backends import Backend, choose_backend, worth_measuring
from medviewer.ai.models import Model
from medviewer.ai.sliding_window import OVERLAP, FloatArray, Mask, Windows, plan_windows, sliding_window
from medviewer.jobs.job import JobContext


def backend_for(ctx: JobContext, model: Model, image: FloatArray, windows: Windows, *, exact: bool = False) -> Backend:
    """Return what computes a model's windows: the one of an earlier run, or one measured on a window of this image.

    Parameters
    ----------
    ctx : JobContext
        Names the device.
    image : float32, shape (c, k, j, i)
        As the network wants it.
    windows : Windows
        At least one.
    exact : bool
        torch in single precision.
    """
    import torch

    worth = worth_measuring(windows.window, len(windows.starts))
    key = (ctx.device, windows.window, exact, worth)
    if key not in model.backends:
        start = windows.starts[len(windows.starts) // 2]
        at = [max(0, s - pad[0]) for s, pad in zip(start, windows.pad, strict=True)]
        part = image[(slice(None), *(slice(a, a + w) for a, w in zip(at, windows.window, strict=True)))]
        short = [(0, 0), *((0, w - n) for w, n in zip(windows.window, part.shape[1:], strict=True))]
        sample = torch.from_numpy(np.pad(part, short, mode="edge"))[None]
        if len(model.card.window) == 2:
            sample = sample[:, :, 0]
        model.backends[key] = choose_backend(ctx, model, sample, worth=worth, exact=exact)
    return model.backends[key]


def infer(
    ctx: JobContext,
    model: Model,
    image: FloatArray,
    window: Sequence[int],
    *,
    overlap: float = OVERLAP,
    inside: Mask | None = None,
    outside: float = 0.0,
    exact: bool = False,
) -> FloatArray:
    """Return the logits (outputs, k, j, i) of a 3-D model's network on a whole image.

    Parameters
    ----------
    ctx : JobContext
        Device, progress by window, cancel.
    model : Model
    image : float32, shape (c, k, j, i)
        As the network wants it, see `medviewer.ai.predictor.prepared`.
    window : (k, j, i)
    overlap : float
    inside : bool, shape (k, j, i), optional
        Only windows that touch it are computed; what they give inside is the same as without it.
    outside : float
        What stands where no window was computed.
    exact : bool
        torch in single precision.
    """
    import torch

    windows = plan_windows(image.shape[1:], window, overlap, inside)
    backend = backend_for(ctx, model, image, windows, exact=exact)
    with torch.inference_mode():
        return sliding_window(
            ctx, lambda x: backend(ctx, x), image, window,
            overlap=overlap, inside=inside, outside=outside, device=ctx.device,
        )  # fmt: skip
