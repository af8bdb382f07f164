"""The lungs in a CT, from densities and shapes alone.

All functions work on a CT turned into the patient's axes (head, back, left), see `PatientGrid`.

References
----------
Hu S, Hoffman EA, Reinhardt JM. Automatic lung segmentation for accurate quantitation of volumetric X-ray CT images.
IEEE Trans Med Imaging 2001;20:490-498 (threshold, airways out, sides apart, smoothing of the boundary).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medviewer.ai.airways import find_airways
from medviewer.ai.body import find_body
from medviewer.ai.coarse_ct import AIR_HU, PURE_AIR_HU, CoarseCt, Hounsfield
from medviewer.ai.masks import (
    Mask,
    Spacing,
    bounding_slices,
    components,
    dilated,
    eroded,
    grown_within,
    opened,
)
from medviewer.ai.patient_grid import refine
from medviewer.ai.pleura import closed_lung
from medviewer.jobs.job import JobContext, SubContext


@dataclass(frozen=True, slots=True, eq=False)
class Lungs:
    """Lungs and large airways, masks of one shape (head, back, left); all empty when there are none."""

    left: Mask
    right: Mask
    trachea: Mask

    @property
    def found(self) -> bool:
        """Whether there is at least one lung."""
        return bool(self.left.any() or self.right.any())

    @property
    def both(self) -> Mask:
        """Left and right as one mask."""
        result: Mask = self.left | self.right
        return result


def find_lungs(ctx: JobContext, ct: CoarseCt, close_mm: float = 8.0, nodule_mm: float = 32.0) -> Lungs:
    """Return lungs, with vessels and nodules closed in, and the trachea with the main bronchi.

    Parameters
    ----------
    ctx : JobContext
    ct : CoarseCt
        Blocks of about 1.5 mm: walls of airways must be seen.
    close_mm : float
        Radius of the ball that rolls along the inside of the chest wall.
    nodule_mm : float
        Widest notch in the outer surface that is taken for a nodule at the pleura.

    Returns
    -------
    Lungs
        Masks on the grid of `ct`.
    """
    hu, spacing = ct.hu, ct.spacing
    empty = Lungs(*(np.zeros(hu.shape, bool) for _ in range(3)))
    rough = ct.coarser(2.5)
    body = find_body(SubContext(ctx, 0.0, 0.3), rough)
    steps = [b // a for a, b in zip(ct.factors, rough.factors, strict=True)]
    body = refine(body, (steps[0], steps[1], steps[2]), hu.shape)
    air: Mask = body & (hu < AIR_HU)
    air &= ~_bowel_gas(ctx, hu, air, spacing)
    box = bounding_slices(air, 15.0, spacing)
    if box is None:
        return empty
    hu, air, body = hu[box], air[box], body[box]
    ctx.progress(0.3, "Looking for lung tissue")
    tissue = _lung_tissue(hu, air, spacing)
    if not tissue.any():
        return empty
    ctx.progress(0.4, "Following the airways")
    airway = find_airways(ctx, hu, body, tissue, spacing)
    ctx.progress(0.55, "Telling left from right")
    tissue = _lung_tissue(hu, tissue & ~dilated(ctx, airway, 1.5, spacing), spacing)
    middle = _middle(tissue, body)
    sides = _sides(SubContext(ctx, 0.55, 0.7), tissue, middle, spacing)
    parts = []
    for n, side in enumerate(sides):
        part = SubContext(ctx, 0.7 + 0.15 * n, 0.85 + 0.15 * n)
        allowed = body & ~sides[1 - n] & ~airway
        parts.append(closed_lung(part, side, allowed, middle, spacing, (close_mm, nodule_mm)))
    left, right = parts[0] & ~parts[1], parts[1]
    whole = Lungs(*(np.zeros(ct.hu.shape, bool) for _ in range(3)))
    whole.left[box], whole.right[box], whole.trachea[box] = left, right, airway
    return whole


def _bowel_gas(ctx: JobContext, hu: Hounsfield, air: Mask, spacing: Spacing) -> Mask:
    """Return gas under the diaphragm (and in large airways) with its blurred rim: pure, and in a wall of soft tissue.

    In thick slices the diaphragm between lung and stomach is blurred to less than the density of lung, so the two
    would be one component. A bulla in the lung is pure gas too, but has lung around it.
    """
    gas = opened(ctx, air & (hu < PURE_AIR_HU), 3.0, spacing)
    near = components(dilated(ctx, gas, 6.0, spacing))[0]
    shell = (near > 0) & ~dilated(ctx, gas, 3.0, spacing)
    count = np.bincount(near[shell], minlength=near.max() + 1)
    soft = np.bincount(near[shell], weights=hu[shell] > AIR_HU, minlength=count.size)
    walled = soft > 0.6 * np.maximum(count, 1)
    walled[0] = False
    pocket: Mask = walled[near] & gas
    return grown_within(ctx, pocket, air, 6.0, 2.0, spacing)


def _lung_tissue(hu: Hounsfield, air: Mask, spacing: Spacing) -> Mask:
    """Return the components of air that look like lung: large, and not pure gas as in the bowel."""
    labels, sizes = components(air)
    voxel_ml = float(np.prod(spacing)) / 1000
    inside = labels.ravel()[air.ravel()]
    pure = np.bincount(inside, weights=hu[air] < PURE_AIR_HU, minlength=sizes.size)
    mean = np.bincount(inside, weights=hu[air], minlength=sizes.size) / np.maximum(sizes, 1)
    lung = (sizes * voxel_ml > 25.0) & (pure < 0.75 * sizes) & (mean < -600.0)
    lung[0] = False
    # Whole lungs may be emphysematous; a small piece that is largely pure gas is bowel.
    largest = int(sizes[lung].max(initial=0))
    lung &= (sizes > 0.2 * largest) | (pure < 0.3 * sizes)
    found: Mask = lung[labels]
    return found


def _sides(ctx: JobContext, tissue: Mask, middle: float, spacing: Spacing) -> tuple[Mask, Mask]:
    """Return lung tissue of the left and of the right side; lungs that touch are cut where they are thinnest."""
    labels, sizes = components(tissue)
    total = float(tissue.sum())
    left, right = np.zeros(tissue.shape, bool), np.zeros(tissue.shape, bool)
    for n in np.flatnonzero(sizes[1:]) + 1:
        part = labels == n
        across = part.sum(axis=(0, 1))
        share_left = across[int(middle) + 1 :].sum() / sizes[n]
        if 0.15 < share_left < 0.85 and sizes[n] > 0.1 * total:
            a, b = _split(ctx, part, middle, spacing)
            left |= a
            right |= b
        elif share_left >= 0.5:
            left |= part
        else:
            right |= part
    return left, right


def _middle(tissue: Mask, body: Mask) -> float:
    """Return the index along the left axis that parts the sides: where least lung lies between the two lungs."""
    across = tissue.sum(axis=(0, 1)).astype(float)
    extent = np.flatnonzero(body.any(axis=(0, 1)))
    low, high = (int(extent[0] + share * (extent[-1] - extent[0])) for share in (0.35, 0.65))
    window = across[low : high + 1]
    smooth = np.convolve(window, np.ones(5) / 5, mode="same")
    # Many equal minima (no lung at all in the middle): take the one nearest the middle of the body.
    best = np.flatnonzero(smooth <= smooth.min() + 1e-9)
    center = (high - low) / 2
    return float(low + best[np.abs(best - center).argmin()])


def _split(ctx: JobContext, part: Mask, middle: float, spacing: Spacing) -> tuple[Mask, Mask]:
    """Return the left and right part of lungs that touch, cut at the junction."""
    i_index = np.arange(part.shape[2])
    for radius in (1.5, 3.0, 4.5, 6.0):
        labels, sizes = components(eroded(ctx, part, radius, spacing))
        big = [n for n in np.flatnonzero(sizes > 0.15 * part.sum()) if n]
        if len(big) < 2:
            continue
        places = [float((labels == n).sum(axis=(0, 1)) @ i_index / sizes[n]) for n in big]
        seeds = [
            np.isin(labels, [n for n, x in zip(big, places, strict=True) if (x > middle) is side])
            for side in (True, False)
        ]
        if seeds[0].any() and seeds[1].any():
            return _share_out(ctx, part, (seeds[0], seeds[1]), radius, middle, spacing)
    left = part.copy()
    left[:, :, : int(middle) + 1] = False
    return left, part & ~left


def _share_out(
    ctx: JobContext, part: Mask, seeds: tuple[Mask, Mask], radius_mm: float, middle: float, spacing: Spacing
) -> tuple[Mask, Mask]:
    """Return `part` shared out between two seeds that grow in turns; what neither reaches goes by its side."""
    left, right = seeds
    step = max(spacing) + 1e-3
    for _ in range(int(np.ceil(2.5 * radius_mm / step)) + 1):
        left = dilated(ctx, left, step, spacing) & part & ~right
        right = dilated(ctx, right, step, spacing) & part & ~left
    rest = part & ~left & ~right
    labels, sizes = components(rest)
    if sizes.size > 1:
        weight = np.broadcast_to(np.arange(part.shape[2]), part.shape)[rest]
        place = np.bincount(labels[rest], weights=weight, minlength=sizes.size) / np.maximum(sizes, 1)
        is_left = place > middle
        left |= rest & is_left[labels]
    return left, part & ~left
