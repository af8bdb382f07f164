"""Trachea and main bronchi in a CT."""

from __future__ import annotations

import numpy as np

from medviewer.ai.coarse_ct import AIR_HU, PURE_AIR_HU, Hounsfield
from medviewer.ai.masks import (
    Mask,
    Spacing,
    bounding_slices,
    components,
    dilated,
    opened,
    slice_holes,
    touching,
)
from medviewer.jobs.job import JobContext


def find_airways(ctx: JobContext, hu: Hounsfield, body: Mask, lungs: Mask, spacing: Spacing) -> Mask:
    """Return the lumen of trachea and main bronchi; empty when no trachea is seen."""
    trachea = _trachea(hu, body, lungs, spacing)
    airway = np.zeros(hu.shape, bool)
    box = bounding_slices(trachea, 0.0, spacing)
    if box is None:
        return airway
    reach = (130.0, 60.0, 80.0)
    box = _grown_box(box, reach, spacing, hu.shape)
    crop, seeds = hu[box], trachea[box]
    lumen = _grow_until_leak(crop, body[box], seeds, spacing)
    # Segmental bronchi belong to the lung; a ball of 2.2 mm radius does not fit into them.
    wide = opened(ctx, lumen, 2.2, spacing) & lumen
    # Partial volume at the wall: up to half-way between air and wall.
    lumen = dilated(ctx, wide | seeds, 1.5, spacing) & (crop < AIR_HU) & body[box]
    airway[box] = lumen | slice_holes(ctx, lumen, 100.0, spacing)
    return airway


def _grown_box(
    box: tuple[slice, slice, slice], reach_mm: Spacing, spacing: Spacing, shape: tuple[int, ...]
) -> tuple[slice, slice, slice]:
    """Return a box grown by another distance along each axis, clipped to the array."""
    grown = [
        slice(max(0, part.start - round(mm / step)), min(n, part.stop + round(mm / step)))
        for part, mm, step, n in zip(box, reach_mm, spacing, shape, strict=True)
    ]
    return (grown[0], grown[1], grown[2])


def _trachea(hu: Hounsfield, body: Mask, lungs: Mask, spacing: Spacing) -> Mask:
    """Return the pure air of the most likely trachea: a long tube near the middle, round in axial slices."""
    from scipy import ndimage

    gas = body & (hu < PURE_AIR_HU + 20)
    tube = np.zeros(hu.shape, bool)
    pixel = spacing[1] * spacing[2]
    middle = float(np.argwhere(body.any(axis=(0, 1))).mean())
    reach = round(3.0 / spacing[2]) + 1
    for k in range(hu.shape[0]):
        labels, _ = ndimage.label(gas[k])
        sizes = np.bincount(labels.ravel())
        for n, where in enumerate(ndimage.find_objects(labels), start=1):
            height, width = ((part.stop - part.start) * mm for part, mm in zip(where, spacing[1:], strict=True))
            area = sizes[n] * pixel
            off_middle = abs((where[1].start + where[1].stop) / 2 - middle) * spacing[2]
            round_enough = max(height, width) < 2.5 * min(height, width) and area > 0.5 * height * width
            if not (40.0 < area < 900.0 and off_middle < 45.0 and round_enough):
                continue
            around = tuple(slice(max(0, part.start - reach), part.stop + reach) for part in where)
            part = labels[around] == n
            ring = ndimage.binary_dilation(part, iterations=reach) & ~ndimage.binary_dilation(part)
            if (hu[k][around][ring] > -650.0).mean() > 0.5:
                tube[k][where] |= labels[where] == n
    labels, sizes = components(tube)
    best, best_length = 0, 25.0
    for n, where in enumerate(ndimage.find_objects(labels), start=1):
        length = (where[0].stop - where[0].start) * spacing[0]
        # The oesophagus and the bowel hold gas too, but not over such a length with lung at the same height.
        beside_lung = lungs[where[0]].any(axis=(1, 2)).mean()
        if length > best_length and beside_lung > 0.25:
            best, best_length = n, length
    found: Mask = (labels == best) if best else np.zeros(hu.shape, bool)
    return found


def _grow_until_leak(hu: Hounsfield, body: Mask, seeds: Mask, spacing: Spacing) -> Mask:
    """Return the air connected to the seeds at the highest threshold before it breaks through into the lung."""
    voxel_ml = float(np.prod(spacing)) / 1000
    lumen = seeds
    for limit in np.arange(-960.0, -780.0, 20.0):
        grown = touching(body & (hu < limit) | seeds, seeds)
        before, now = lumen.sum() * voxel_ml, grown.sum() * voxel_ml
        if now > 180.0 or (before > 5.0 and now > 1.35 * before + 4.0 and limit > -960.0):
            break
        lumen = grown
    return lumen
