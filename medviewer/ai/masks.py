"""Morphology of masks in millimetres, in torch, and connected components.

A dilation by an exact Euclidean ball is a minimum of squared distances taken axis by axis, so it costs a few shifts
per axis on any device, at any spacing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medviewer.jobs.job import JobContext

if TYPE_CHECKING:
    import torch

Mask = npt.NDArray[np.bool_]
Spacing = tuple[float, float, float]

#: Voxels share a face, not only an edge or corner: what leaks through corners is noise.
FACES = np.array(
    [[[0, 0, 0], [0, 1, 0], [0, 0, 0]], [[0, 1, 0], [1, 1, 1], [0, 1, 0]], [[0, 0, 0], [0, 1, 0], [0, 0, 0]]], bool
)


def _near(ctx: JobContext, mask: torch.Tensor, radius_mm: float, spacing: Spacing) -> torch.Tensor:
    """Return where the nearest true voxel lies within `radius_mm`."""
    import torch

    limit = radius_mm * radius_mm + 1e-3
    far = 4 * limit
    squared = torch.where(mask, 0.0, far)
    for axis, step in enumerate(spacing):
        source = squared
        squared = source.clone()
        n = source.shape[axis]
        for shift in range(1, min(int(radius_mm / step + 1e-6), n - 1) + 1):
            ctx.check_cancelled()
            cost = (shift * step) ** 2
            moved = source + cost
            for to, start in ((shift, 0), (0, shift)):
                part = squared.narrow(axis, to, n - shift)
                torch.minimum(part, moved.narrow(axis, start, n - shift), out=part)
    return squared <= limit


def dilated(ctx: JobContext, mask: Mask, radius_mm: float, spacing: Spacing) -> Mask:
    """Return a mask (k, j, i) grown by a ball of `radius_mm`; `spacing` in mm along (k, j, i)."""
    import torch

    source = torch.from_numpy(np.ascontiguousarray(mask)).to(ctx.device)
    grown: Mask = _near(ctx, source, radius_mm, spacing).cpu().numpy()
    return grown


def eroded(ctx: JobContext, mask: Mask, radius_mm: float, spacing: Spacing) -> Mask:
    """Return a mask (k, j, i) shrunk by a ball of `radius_mm`; the border of the array does not shrink it."""
    shrunk: Mask = ~dilated(ctx, ~mask, radius_mm, spacing)
    return shrunk


def opened(ctx: JobContext, mask: Mask, radius_mm: float, spacing: Spacing) -> Mask:
    """Return a mask without what a ball of `radius_mm` does not fit into."""
    return dilated(ctx, eroded(ctx, mask, radius_mm, spacing), radius_mm, spacing)


def closed(ctx: JobContext, mask: Mask, radius_mm: float, spacing: Spacing) -> Mask:
    """Return a mask with gaps filled that a ball of `radius_mm` does not fit into."""
    # A closing that may not grow out of the array would eat the mask at its border: pad by the radius.
    pad = [(int(radius_mm / step) + 1,) * 2 for step in spacing]
    inner = tuple(slice(low, low + n) for (low, _), n in zip(pad, mask.shape, strict=True))
    grown = dilated(ctx, np.pad(mask, pad, mode="edge"), radius_mm, spacing)
    result: Mask = eroded(ctx, grown, radius_mm, spacing)[inner] | mask
    return result


def components(mask: Mask) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return face-connected components (0 is background) and how many voxels each label has."""
    from scipy import ndimage

    labels = np.empty(mask.shape, np.int32)
    count = ndimage.label(mask, structure=FACES, output=labels)
    return labels, np.bincount(labels.ravel(), minlength=int(count) + 1)


def largest_component(mask: Mask) -> Mask:
    """Return the largest component of a mask; empty stays empty."""
    labels, sizes = components(mask)
    if sizes.size < 2:
        return mask.copy()
    found: Mask = labels == int(sizes[1:].argmax()) + 1
    return found


def touching(mask: Mask, seeds: Mask) -> Mask:
    """Return the components of a mask that hold at least one seed."""
    labels, sizes = components(mask)
    chosen = np.zeros(sizes.size, bool)
    chosen[np.unique(labels[seeds & mask])] = True
    chosen[0] = False
    found: Mask = chosen[labels]
    return found


def grown_within(ctx: JobContext, seeds: Mask, area: Mask, radius_mm: float, step_mm: float, spacing: Spacing) -> Mask:
    """Return seeds grown through an area, at most by about `radius_mm`.

    Growth goes in steps of `step_mm`, or of the widest voxel where that is more, so that it crosses slices.
    """
    step = max(step_mm, *spacing) + 1e-3
    grown = seeds & area
    for _ in range(max(1, round(radius_mm / step))):
        grown = dilated(ctx, grown, step, spacing) & area
    return grown


def holes(mask: Mask) -> Mask:
    """Return the room that a mask (2-D or 3-D) encloses, reached from the border by no path over faces."""
    from scipy import ndimage

    labels, count = ndimage.label(~mask)
    enclosed = np.ones(int(count) + 1, bool)
    enclosed[0] = False
    for axis in range(mask.ndim):
        for end in (0, -1):
            enclosed[np.unique(labels.take(end, axis=axis))] = False
    found: Mask = enclosed[labels]
    return found


def slice_holes(ctx: JobContext, mask: Mask, largest_mm2: float, spacing: Spacing) -> Mask:
    """Return the holes up to `largest_mm2` in the slices (j, i) of a mask (k, j, i)."""
    from scipy import ndimage

    found = np.zeros(mask.shape, bool)
    for source, target in zip(mask, found, strict=True):
        ctx.check_cancelled()
        if not source.any():
            continue
        labels, _ = ndimage.label(holes(source))
        small = np.bincount(labels.ravel()) * (spacing[1] * spacing[2]) <= largest_mm2
        small[0] = False
        target[:] = small[labels]
    return found


def bounding_slices(mask: Mask, margin_mm: float, spacing: Spacing) -> tuple[slice, slice, slice] | None:
    """Return the box around a mask with a margin, clipped to the array; None for an empty mask."""
    box: list[slice] = []
    for axis, step in enumerate(spacing):
        others = tuple(a for a in range(3) if a != axis)
        hit = np.flatnonzero(mask.any(axis=others))
        if hit.size == 0:
            return None
        margin = int(np.ceil(margin_mm / step))
        box.append(slice(max(0, int(hit[0]) - margin), min(mask.shape[axis], int(hit[-1]) + 1 + margin)))
    return (box[0], box[1], box[2])


def fine_box(box: Sequence[slice], factors: tuple[int, int, int], shape: tuple[int, ...]) -> tuple[slice, slice, slice]:
    """Return the fine voxels under a box of coarse blocks; a box that ends at the last block takes the rest too."""
    fine = [
        slice(part.start * f, n if part.stop * f + f > n else part.stop * f)
        for part, f, n in zip(box, factors, shape, strict=True)
    ]
    return (fine[0], fine[1], fine[2])
