"""Closing vessels and nodules into a lung."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medviewer.ai.masks import (
    Mask,
    Spacing,
    bounding_slices,
    closed,
    holes,
    slice_holes,
)
from medviewer.jobs.job import JobContext


def closed_lung(
    ctx: JobContext, tissue: Mask, allowed: Mask, middle: float, spacing: Spacing, limits_mm: tuple[float, float]
) -> Mask:
    """Return one lung with its vessels, and nodules at its outer surface, closed in."""
    close_mm, nodule_mm = limits_mm
    lung = np.zeros(tissue.shape, bool)
    box = bounding_slices(tissue, 2 * close_mm, spacing)
    if box is None:
        return lung
    ctx.progress(0.0, "Closing vessels in")
    filled = closed(ctx, tissue[box], close_mm, spacing)
    filled |= holes(filled)
    # The dome of the diaphragm is a hole in axial slices too: only small ones are vessels.
    filled |= slice_holes(ctx, filled, 350.0, spacing)
    ctx.progress(0.5, "Closing nodules at the pleura in")
    filled |= _pleural_notches(ctx, filled, middle - box[2].start, spacing, nodule_mm)
    lung[box] = (filled & allowed[box]) | tissue[box]
    return lung


def _pleural_notches(ctx: JobContext, lung: Mask, middle: float, spacing: Spacing, widest_mm: float) -> Mask:
    """Return the narrow notches in the outer (costal) surface of one lung, found slice by slice.

    The costal surface bulges outward everywhere, so what is missing from the convex hull there is a nodule or a
    bit of pleural thickening. Towards the mediastinum and the diaphragm the lung is truly concave: left alone.
    """
    from scipy import ndimage

    found = np.zeros(lung.shape, bool)
    pixel = spacing[1] * spacing[2]
    for k, (source, target) in enumerate(zip(lung, found, strict=True)):
        if k % 8 == 0:
            ctx.progress(0.5 + 0.5 * k / lung.shape[0], "Closing nodules at the pleura in")
        missing = convex_hull(source) & ~source
        labels, _ = ndimage.label(missing)
        sizes = np.bincount(labels.ravel()) * pixel
        for n, where in enumerate(ndimage.find_objects(labels), start=1):
            extent = max((part.stop - part.start) * mm for part, mm in zip(where, spacing[1:], strict=True))
            if not 25.0 < sizes[n] < 0.6 * widest_mm**2 or extent > 1.5 * widest_mm:
                continue
            piece = labels[where] == n
            # Slivers along a gently curved wall are chest wall; a notch is deep for its width.
            if sizes[n] > 0.16 * extent**2 and _faces_outward(source, piece, where, middle, spacing):
                target[where] |= piece
    return found


def convex_hull(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the pixels inside the convex hull of a 2-D mask."""
    from scipy.spatial import ConvexHull, QhullError

    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size < 3:
        return mask
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - 1 - mask[rows][:, ::-1].argmax(axis=1)
    ends = np.concatenate([np.stack([rows, first], 1), np.stack([rows, last], 1)])
    try:
        hull = ConvexHull(ends)
    except QhullError:  # all on one line
        return mask
    j, i = (np.arange(n, dtype=np.float64) for n in mask.shape)
    inside = np.ones(mask.shape, bool)
    for a, b, c in hull.equations:
        inside &= (a * j)[:, None] + (b * i)[None, :] + c <= 1e-6
    return inside


def _faces_outward(
    lung: npt.NDArray[np.bool_], piece: npt.NDArray[np.bool_], where: tuple[slice, ...], middle: float, spacing: Spacing
) -> bool:
    """Whether the straight way from a piece to the mediastinum leads through at least 6 mm of lung.

    `lung` is a slice (back, left), `piece` lies at `where` in it, `middle` is the index that parts the sides.
    """
    start = np.argwhere(piece).mean(axis=0) + np.array([where[0].start, where[1].start])
    end = np.array([np.flatnonzero(lung.any(axis=1)).mean(), np.clip(middle, 0, lung.shape[1] - 1)])
    way = np.linspace(start, end, 128)
    length_mm = float(np.hypot(*((end - start) * spacing[1:])))
    hit = lung[tuple(way.round().astype(int).T)].mean()
    return float(hit) * length_mm >= 6.0
