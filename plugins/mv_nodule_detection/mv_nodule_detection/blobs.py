"""Where something round is: a multi-scale, three-dimensional dot filter.

References
----------
Li Q, Sone S, Doi K. Selective enhancement filters for nodules, vessels, and airway walls in two- and
three-dimensional CT scans. Med Phys 2003;30:2040-2051.
Lindeberg T. Feature detection with automatic scale selection. Int J Comput Vis 1998;30:79-116.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import avg_pool3d, max_pool3d

from medviewer.api import JobContext
from mv_nodule_detection.field import LungField

#: Diameters looked for, mm; each a third larger than the one before.
DIAMETERS_MM = (4.5, 6.0, 8.0, 10.7, 14.2, 19.0, 25.3, 34.0)
#: A ball answers the Laplacian of a Gaussian most where sigma is its radius over the square root of three.
SIGMA_PER_DIAMETER = 1 / (2 * math.sqrt(3))


@dataclass(frozen=True, slots=True)
class Blob:
    """A local maximum of the dot response.

    Attributes
    ----------
    kji : (float, float, float)
        Voxel of the lung field.
    diameter_mm : float
        Of the scale that answered most.
    response : float
        HU.
    ratio : float
        Smallest over largest curvature: 1 ball, 0 tube or plate.
    """

    kji: tuple[float, float, float]
    diameter_mm: float
    response: float
    ratio: float


def find_blobs(ctx: JobContext, field: LungField, smallest_mm: float, largest_mm: float, least: float) -> list[Blob]:
    """Return maxima of the response in place, at the scales asked for, strongest first.

    Parameters
    ----------
    field : LungField
    smallest_mm, largest_mm : float
        Range of diameters.
    least : float
        Smallest response, HU.
    """
    scales = [d for d in DIAMETERS_MM if smallest_mm / 1.2 <= d <= largest_mm * 1.2] or [smallest_mm]
    found: list[Blob] = []
    for n, diameter in enumerate(scales):
        ctx.progress(n / len(scales), "Looking for round shapes")
        found += _at_scale(ctx, field, diameter, least)
    return sorted(found, key=lambda blob: -blob.response)


def _at_scale(ctx: JobContext, field: LungField, diameter_mm: float, least: float) -> Iterator[Blob]:
    """Yield maxima of the response at one scale."""
    sigma_mm = diameter_mm * SIGMA_PER_DIAMETER
    # Coarse structure needs no fine grid: sigma stays at 1.3 to 2.6 voxels.
    pool = 1
    while sigma_mm / (2 * pool * field.step_mm) >= 1.3:
        pool *= 2
    step = pool * field.step_mm
    image, lung = field.hu[None, None], field.lung[None, None].float()
    if min(image.shape[2:]) < 4 * pool:
        return
    if pool > 1:
        image, lung = avg_pool3d(image, pool), max_pool3d(lung, pool)
    # A mean over a block is a smoothing already.
    sigma = math.sqrt(max((sigma_mm / step) ** 2 - (pool * pool - 1) / (12.0 * pool * pool), 0.25))
    smooth = _gaussian(ctx, image[0, 0], sigma)
    response, ratio = _dot_response(smooth, lung[0, 0] > 0, (sigma_mm / step) ** 2, least)
    ctx.check_cancelled()
    reach = max(1, round(0.35 * diameter_mm / step))
    peak = _local_maximum(ctx, response, reach)
    places = torch.nonzero((response == peak) & (response > 0))
    values = response[tuple(places.T)].tolist()
    ratios = ratio[tuple(places.T)].tolist()
    middle = (pool - 1) / 2
    for (k, j, i), value, roundness in zip(places.tolist(), values, ratios, strict=True):
        kji = (k * pool + middle, j * pool + middle, i * pool + middle)
        yield Blob(kji, diameter_mm, value, roundness)


def _gaussian(ctx: JobContext, image: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return an image (k, j, i) smoothed; `sigma` in voxels. Values beyond the border are those at it.

    Sums of shifted images, pairs of equal weight together: on a CPU many times faster than a convolution of one
    channel.
    """
    radius = math.ceil(3.5 * sigma)
    weights = [math.exp(-0.5 * (x / sigma) ** 2) for x in range(radius + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    for axis in range(3):
        n = image.shape[axis]
        first, last = image.narrow(axis, 0, 1), image.narrow(axis, n - 1, 1)
        repeats = [radius if a == axis else 1 for a in range(3)]
        padded = torch.cat([first.repeat(repeats), image, last.repeat(repeats)], dim=axis)
        image = image * (weights[0] / total)
        for x in range(1, radius + 1):
            ctx.check_cancelled()
            image.add_(padded.narrow(axis, radius - x, n), alpha=weights[x] / total)
            image.add_(padded.narrow(axis, radius + x, n), alpha=weights[x] / total)
    return image


def _local_maximum(ctx: JobContext, image: torch.Tensor, reach: int) -> torch.Tensor:
    """Return the largest value within `reach` voxels along every axis."""
    for axis in range(3):
        source = image
        image = source.clone()
        n = source.shape[axis]
        for shift in range(1, min(reach, n - 1) + 1):
            ctx.check_cancelled()
            for to, start in ((shift, 0), (0, shift)):
                part = image.narrow(axis, to, n - shift)
                torch.maximum(part, source.narrow(axis, start, n - shift), out=part)
    return image


def _dot_response(
    smooth: torch.Tensor, lung: torch.Tensor, scale2: float, least: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the dot response, zero where below `least`, and the ratio of curvatures.

    Second derivatives are taken only where the Laplacian can reach `least`: a few per cent of the lung.
    """
    inner = smooth[1:-1, 1:-1, 1:-1]
    laplace = -6 * inner
    for axis in range(3):
        for shift in (0, 2):
            part = smooth
            for a in range(3):
                part = part.narrow(a, shift if a == axis else 1, inner.shape[a])
            laplace = laplace + part
    hot = torch.nonzero((laplace * scale2 < -2.0 * least) & lung[1:-1, 1:-1, 1:-1]) + 1
    response = torch.zeros_like(smooth)
    ratio = torch.zeros_like(smooth)
    if not len(hot):
        return response, ratio
    values = _eigenvalues(_hessian(smooth, hot)) * scale2
    low, high = values[:, 0], values[:, 2]
    round_ = torch.where(high < 0, high / low.clamp(max=-1e-6), torch.zeros_like(high))
    strength = torch.where(high < 0, -high * round_, torch.zeros_like(high))
    strength = torch.where(strength >= least, strength, torch.zeros_like(strength))
    index = tuple(hot.T)
    response[index], ratio[index] = strength, round_
    return response, ratio


def _hessian(smooth: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """Return second differences (n, 6): kk, jj, ii, kj, ki, ji at voxels (n, 3)."""

    def value(dk: int, dj: int, di: int) -> torch.Tensor:
        return smooth[at[:, 0] + dk, at[:, 1] + dj, at[:, 2] + di]

    def step(axis: int, by: int) -> list[int]:
        return [by if a == axis else 0 for a in range(3)]

    middle = value(0, 0, 0)
    same = [value(*step(a, 1)) + value(*step(a, -1)) - 2 * middle for a in range(3)]
    mixed = []
    for a, b in ((0, 1), (0, 2), (1, 2)):
        total = torch.zeros_like(middle)
        for sa in (1, -1):
            for sb in (1, -1):
                shift = [x + y for x, y in zip(step(a, sa), step(b, sb), strict=True)]
                total = total + sa * sb * value(*shift)
        mixed.append(total / 4)
    return torch.stack([*same, *mixed], dim=1)


def _eigenvalues(hessian: torch.Tensor) -> torch.Tensor:
    """Return the eigenvalues (n, 3), smallest first, of symmetric 3x3 matrices (n, 6), in closed form.

    References
    ----------
    Smith OK. Eigenvalues of a symmetric 3 x 3 matrix. Commun ACM 1961;4:168.
    """
    a, b, c, d, e, f = hessian.double().unbind(1)
    mean = (a + b + c) / 3
    off = d * d + e * e + f * f
    p = torch.sqrt(((a - mean) ** 2 + (b - mean) ** 2 + (c - mean) ** 2 + 2 * off) / 6).clamp(min=1e-12)
    a, b, c, d, e, f = ((x - m) / p for x, m in ((a, mean), (b, mean), (c, mean), (d, 0), (e, 0), (f, 0)))
    det = a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)
    phi = torch.acos((det / 2).clamp(-1.0, 1.0)) / 3
    high = mean + 2 * p * torch.cos(phi)
    low = mean + 2 * p * torch.cos(phi + 2 * math.pi / 3)
    return torch.stack([low, 3 * mean - high - low, high], dim=1).float()


def merged(blobs: Sequence[Blob], step_mm: float, most: int) -> list[Blob]:
    """Return blobs without those whose middle lies inside a stronger one, at most `most`."""
    kept: list[Blob] = []
    places = np.empty((0, 3))
    radii: npt.NDArray[np.float64] = np.empty(0)
    for blob in blobs:
        place = np.array(blob.kji) * step_mm
        distance = np.linalg.norm(places - place, axis=1)
        if (distance < 0.5 * np.maximum(radii, 0.5 * blob.diameter_mm)).any():
            continue
        kept.append(blob)
        places = np.vstack([places, place])
        radii = np.append(radii, blob.diameter_mm / 2)
        if len(kept) >= most:
            break
    return kept
