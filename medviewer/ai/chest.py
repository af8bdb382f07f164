"""The patient's body, airways and lungs in a CT, from densities and shapes alone.

All functions work on a CT turned into the patient's axes (head, back, left), see `PatientGrid`.

References
----------
Hu S, Hoffman EA, Reinhardt JM. Automatic lung segmentation for accurate quantitation of volumetric X-ray CT images.
IEEE Trans Med Imaging 2001;20:490-498 (threshold, airways out, sides apart, smoothing of the boundary).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medviewer.ai.masks import (
    Mask,
    Spacing,
    bounding_slices,
    closed,
    components,
    dilated,
    eroded,
    grown_within,
    holes,
    opened,
    small_slice_holes,
    touching,
)
from medviewer.ai.patient_grid import PatientGrid, block_mean, refine
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobContext, SubContext

Hounsfield = npt.NDArray[np.float32]

#: Fat is about -100 HU, skin folds and mattress foam below -350.
SOFT_HU = -350.0
#: Lung lies around -850; half-way to soft tissue.
AIR_HU = -450.0
#: Air in airways and bowel; lung tissue is denser, except in severe emphysema.
PURE_AIR_HU = -930.0


@dataclass(frozen=True, slots=True, eq=False)
class CoarseCt:
    """A CT on blocks of voxels, along the patient's axes.

    Attributes
    ----------
    hu : float32, shape (head, back, left)
        Mean of each block, clipped to -1024..1500 HU.
    spacing : (float, float, float)
        mm along (head, back, left).
    grid : PatientGrid
        How the volume was turned.
    factors : (int, int, int)
        Voxels in a block.
    """

    hu: Hounsfield
    spacing: Spacing
    grid: PatientGrid
    factors: tuple[int, int, int]

    @classmethod
    def of(cls, volume: Volume, target_mm: float) -> CoarseCt:
        """Return a volume on blocks of about `target_mm`."""
        grid = PatientGrid.of(volume.geometry)
        factors = grid.factors(target_mm)
        hu = block_mean(grid.turn(volume.array), factors, -1024.0, 1500.0)
        k, j, i = (mm * f for mm, f in zip(grid.spacing, factors, strict=True))
        return cls(hu, (k, j, i), grid, factors)

    def fine(self, mask: Mask) -> Mask:
        """Return a coarse mask on the voxels of the volume, along the patient's axes."""
        return refine(mask, self.factors, self.grid.shape)

    def coarser(self, target_mm: float) -> CoarseCt:
        """Return the same CT on blocks of blocks, of about `target_mm`; may be this one."""
        k, j, i = (min(max(1, round(target_mm / mm)), n) for mm, n in zip(self.spacing, self.hu.shape, strict=True))
        if (k, j, i) == (1, 1, 1):
            return self
        whole = (self.factors[0] * k, self.factors[1] * j, self.factors[2] * i)
        spacing = (self.spacing[0] * k, self.spacing[1] * j, self.spacing[2] * i)
        return CoarseCt(block_mean(self.hu, (k, j, i), -1024.0, 1500.0), spacing, self.grid, whole)

    def snapped(self, ctx: JobContext, mask: Mask, belongs: Mask) -> Mask:
        """Return a coarse mask on the voxels of the volume, its surface moved to where a fine condition ends.

        Parameters
        ----------
        ctx : JobContext
        mask : bool, shape of `hu`
        belongs : bool, shape (head, back, left) of the volume
            Decides within one block of the surface of `mask`; further inside and outside `mask` decides.
        """
        reach = max(self.spacing[1:]) + 1e-3
        surely = self.fine_smooth(ctx, eroded(ctx, mask, reach, self.spacing))
        perhaps = self.fine(dilated(ctx, mask, reach, self.spacing))
        result: Mask = surely | (perhaps & belongs)
        return result

    def fine_smooth(self, ctx: JobContext, mask: Mask) -> Mask:
        """Return a coarse mask on the voxels of the volume with its steps smoothed by linear interpolation."""
        import torch
        from torch.nn.functional import interpolate

        whole = [n // f * f for n, f in zip(self.grid.shape, self.factors, strict=True)]
        fine = np.zeros(self.grid.shape, bool)
        source = torch.from_numpy(mask).to(ctx.device)
        step = 32
        # In slabs with one block of overlap: the whole grid as float is four times the volume.
        for start in range(0, mask.shape[0], step):
            ctx.check_cancelled()
            low, high = max(0, start - 1), min(mask.shape[0], start + step + 1)
            slab = source[low:high].float()[None, None]
            size = ((high - low) * self.factors[0], whole[1], whole[2])
            up = interpolate(slab, size=size, mode="trilinear", align_corners=False)[0, 0] > 0.5
            first, count = (start - low) * self.factors[0], min(step, mask.shape[0] - start) * self.factors[0]
            target = slice(start * self.factors[0], start * self.factors[0] + count)
            fine[target, : whole[1], : whole[2]] = up[first : first + count].cpu().numpy()
        for axis, n in enumerate(whole):
            rest = [slice(None)] * 3
            last = [slice(None)] * 3
            rest[axis], last[axis] = slice(n, None), slice(n - 1, n)
            fine[tuple(rest)] = fine[tuple(last)]
        return fine


def find_body(ctx: JobContext, ct: CoarseCt) -> Mask:
    """Return the body without the table, its air-filled holes closed.

    Parameters
    ----------
    ctx : JobContext
    ct : CoarseCt
        Blocks of about 2 to 3 mm are enough.

    Returns
    -------
    bool, shape (head, back, left)
        Empty when there is nothing denser than fat that is thicker than a table top.
    """
    hu, spacing = ct.hu, ct.spacing
    soft = hu > SOFT_HU
    ctx.progress(0.1, "Finding the body")
    labels, sizes = components(opened(ctx, soft, 6.0, spacing))
    if sizes.size < 2:
        return np.zeros(hu.shape, bool)
    ctx.progress(0.4, "Finding the body")
    # Two legs are one body; a cushion or a table is much smaller than what lies on it.
    chosen = sizes >= 0.25 * sizes[1:].max()
    chosen[0] = False
    tissue = grown_within(ctx, chosen[labels], soft, 7.5, 2.5, spacing)
    ctx.progress(0.6, "Closing lungs and bowel gas in")
    outside = _outside(ctx, hu, tissue, spacing)
    ctx.progress(0.9, "Closing lungs and bowel gas in")
    body: Mask = ~outside
    labels, sizes = components(body)
    keep = np.zeros(sizes.size, bool)
    keep[np.unique(labels[tissue])] = True
    keep[0] = False
    result: Mask = keep[labels]
    return result


def _outside(ctx: JobContext, hu: Hounsfield, tissue: Mask, spacing: Spacing) -> Mask:
    """Return the room around the body: reached from the sides, but not through nostrils or a mouth."""
    room = touching(~tissue, _room_seeds(ctx, hu, tissue, spacing))
    # 7 mm from every surface, so that a path of 14 mm or less is closed; then back to the surface.
    free = eroded(ctx, ~tissue, 7.0, spacing) & room
    return grown_within(ctx, touching(free, _sides_of(hu.shape)), room, 16.0, 4.0, spacing)


def _sides_of(shape: tuple[int, ...]) -> Mask:
    """Return the faces of a grid (head, back, left) but those at head and feet, where a body may be cut."""
    border = np.zeros(shape, bool)
    border[:, [0, -1], :] = True
    border[:, :, [0, -1]] = True
    return border


def _room_seeds(ctx: JobContext, hu: Hounsfield, tissue: Mask, spacing: Spacing) -> Mask:
    """Return what is surely outside the body at the sides of the image.

    In a field of view that ends inside the chest, lung reaches the sides as well. The room is told from it by what
    only the room has: empty air, or the even foam of a mattress.
    """
    thin = eroded(ctx, ~tissue & (hu < SOFT_HU), 4.0, spacing)
    labels, sizes = components(thin)
    at_side = np.bincount(labels[_sides_of(hu.shape) & thin], minlength=sizes.size) > 0
    is_room = np.zeros(sizes.size, bool)
    for n in np.flatnonzero(at_side & (sizes * np.prod(spacing) > 1000.0)):
        if n:
            values = hu[labels == n]
            low, high = np.percentile(values[:: max(1, values.size // 100_000)], [5, 95])
            is_room[n] = (values < PURE_AIR_HU - 20).mean() > 0.2 or high - low < 100.0
    found: Mask = is_room[labels]
    return found


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
    airway = _airways(ctx, hu, body, tissue, spacing)
    ctx.progress(0.55, "Telling left from right")
    tissue = _lung_tissue(hu, tissue & ~dilated(ctx, airway, 1.5, spacing), spacing)
    middle = _middle(tissue, body)
    sides = _sides(SubContext(ctx, 0.55, 0.7), tissue, middle, spacing)
    parts = []
    for n, side in enumerate(sides):
        part = SubContext(ctx, 0.7 + 0.15 * n, 0.85 + 0.15 * n)
        allowed = body & ~sides[1 - n] & ~airway
        parts.append(_closed_lung(part, side, allowed, middle, spacing, (close_mm, nodule_mm)))
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
    found: Mask = lung[labels]
    return found


def _airways(ctx: JobContext, hu: Hounsfield, body: Mask, lungs: Mask, spacing: Spacing) -> Mask:
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
    airway[box] = lumen | small_slice_holes(lumen, 100.0, spacing)
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


def _closed_lung(
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
    filled |= small_slice_holes(filled, 350.0, spacing)
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
        missing = _convex_hull(source) & ~source
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


def _convex_hull(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
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
