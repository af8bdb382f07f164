"""The outline of one nodule, drawn by a network of its own in a cube that fits the nodule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medviewer.ai.click_input import sample_cube

if TYPE_CHECKING:
    import torch

FloatArray = npt.NDArray[np.float32]
Box = tuple[slice, slice, slice]

#: Voxels of a cube along each axis; the part of it that a nodule fills; its finest and coarsest step in mm.
SIZE = 32
FILL, FINEST_MM, COARSEST_MM = 0.6, 0.5, 1.45
#: Between these values of an image of -1..1 (50 HU either way of 0 HU, about) a wall and a nodule differ.
SOFT_MIDDLE, SOFT_HALF = 0.43, 0.3


def step_for(diameter_mm: float) -> float:
    """Return the step, in mm, of a cube that a ball of this size fills as it should."""
    return float(np.clip(diameter_mm / (FILL * SIZE), FINEST_MM, COARSEST_MM))


def channels(image: torch.Tensor, chance: torch.Tensor) -> torch.Tensor:
    """Return what the network sees, (n, 3, k, j, i): density, density near that of soft tissue, the candidate.

    Parameters
    ----------
    image, chance : float tensor, shape (n, 1, k, j, i)
        Density as -1..1, and the chance that the first network gives the candidate, of its highest.
    """
    import torch

    return torch.cat([image, ((image - SOFT_MIDDLE) / SOFT_HALF).clamp(-1, 1), 2 * chance - 1], dim=1)


def outlined(
    network: Callable[[torch.Tensor], torch.Tensor],
    image: FloatArray,
    box: Box,
    chance: FloatArray,
    center: Sequence[float],
    step: float,
    looks: Sequence[tuple[int, ...]],
) -> tuple[Box, FloatArray]:
    """Return the box around a candidate that was looked at, and the chance of each of its voxels to be the nodule's.

    Parameters
    ----------
    network : callable
        From `channels` to logits (n, 1, k, j, i).
    image : float32, shape (k, j, i)
        Density as -1..1.
    box, chance : slices and float32
        Of the candidate.
    center : (k, j, i)
        Its middle.
    step : float
        Of the cube, in voxels of the image.
    looks : sequence of tuple of int
        Axes (negative) of the mirror images to take the mean over.
    """
    import torch
    from torch.nn.functional import grid_sample

    half = (SIZE - 1) / 2
    steps = (step,) * 3
    density = sample_cube(image, center, steps, SIZE)
    # A candidate's box ends in zeros, so nothing of it goes on beyond.
    around = np.pad(chance / chance.max(), 1)
    own = sample_cube(around, [c - s.start + 1 for c, s in zip(center, box, strict=True)], steps, SIZE)
    seen = channels(density, own)
    with torch.inference_mode():
        logits = torch.stack([network(seen.flip(axes)).flip(axes) for axes in looks]).mean(0)
    ranges = [
        (max(0, int(np.ceil(c - half * step))), min(n, int(np.floor(c + half * step)) + 1))
        for c, n in zip(center, image.shape, strict=True)
    ]
    rows = [
        (torch.arange(low, high, dtype=torch.float32) - c) / (step * half)
        for (low, high), c in zip(ranges, center, strict=True)
    ]
    at = torch.stack(torch.meshgrid(*rows, indexing="ij"), dim=-1).flip(-1)
    found = grid_sample(torch.sigmoid(logits.float().cpu()), at[None], align_corners=True)[0, 0]
    (a, b), (c, d), (e, f) = ranges
    return (slice(a, b), slice(c, d), slice(e, f)), found.numpy()
