"""The patient in a CT, without the table."""

from __future__ import annotations

import numpy as np

from medviewer.ai.coarse_ct import PURE_AIR_HU, SOFT_HU, CoarseCt, Hounsfield
from medviewer.ai.masks import (
    Mask,
    Spacing,
    components,
    eroded,
    grown_within,
    opened,
    touching,
)
from medviewer.jobs.job import JobContext


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
