"""The outline of the nodule in a box that a person drew, by the same networks that find nodules."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from medviewer.ai.nodules import MARGIN_MM, TOGETHER, Candidate, Nodule, candidates, drawn, judge, mark, score
from medviewer.ai.predictor import Model
from medviewer.core.annotation import Box3D
from medviewer.core.errors import InputError
from medviewer.core.region import Region
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobContext

#: How far beyond the box the nodule may reach, mm and as a share of the box.
REACH_MM, REACH = 3.0, 0.25


def nodule_in_box(ctx: JobContext, model: Model, volume: Volume, box: Box3D) -> Nodule:
    """Return the nodule in a box on the grid of the image; its score is that of the detector.

    Parameters
    ----------
    ctx : JobContext
    model : Model
        Of the network ``nodule_detector``.
    volume : Volume
        CT in HU.
    box : Box3D

    Raises
    ------
    InputError
        ``E_BOX``: the box lies outside the image. ``E_NO_NODULE``: the model sees none in it.
    """
    region = _region(volume, box)
    k, j, i = (math.ceil(MARGIN_MM / mm) for mm in volume.geometry.spacing[::-1])
    around = region.grown((k, j, i)).clip(volume.geometry.region)
    part = replace(volume, array=volume.array[around.slices], geometry=volume.geometry.cropped(around))
    inside = np.zeros(part.geometry.shape, bool)
    inside[tuple(slice(a - o, b - o) for a, b, o in zip(region.lower, region.upper, around.lower, strict=True))] = True
    marked = mark(ctx, model, part, inside)
    within = np.where(marked.inside, marked.chance, 0)
    best = max((c for c in candidates(marked, 0.0)), key=lambda c: float(within[c.box][c.mask].sum()), default=None)
    top = float(within.max(initial=0.0))
    if best is None and top < 0.5 * TOGETHER:
        raise InputError(
            "The model sees no nodule in this box.",
            hint="Use Mask of a marked lesion, which grows a mask from the middle of the box, or draw it.",
            code="E_NO_NODULE",
        )
    if best is None:
        where = np.argwhere(within > 0.5 * top)
        low, high = np.maximum(where.min(axis=0) - 1, 0), where.max(axis=0) + 2
        cut = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
        a, b, c = where.mean(axis=0)
        best = Candidate(cut, within[cut], 0.5 * top, (a, b, c), {"peak": math.log(top / (1 - top)), "size": 0.0})
    (best,) = judge(ctx, model, marked, [best])
    found = drawn(part.geometry, marked, best, score(model, best.features))
    lower, upper = (
        tuple(a + o for a, o in zip(corner, around.lower, strict=True))
        for corner in (found.region.lower, found.region.upper)
    )
    return replace(found, region=Region((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2])))


def _region(volume: Volume, box: Box3D) -> Region:
    """Return the voxels in and close around a box."""
    half = np.abs(np.array(box.upper) - np.array(box.lower)) / 2
    half = np.maximum(half * (1 + REACH), half + REACH_MM)
    signs = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    corners = volume.geometry.lps_to_index(np.array(box.center_lps) + signs * half)[:, ::-1]
    low, high = np.floor(corners.min(axis=0) + 0.5).astype(int), np.ceil(corners.max(axis=0) + 0.5).astype(int)
    region = Region((int(low[0]), int(low[1]), int(low[2])), (int(high[0]), int(high[1]), int(high[2])))
    region = region.clip(volume.geometry.region)
    if region.is_empty:
        raise InputError("A box lies outside the image.", hint="Move the box into the image.", code="E_BOX")
    return region
