"""Where the spinal canal and the vertebral bodies are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medviewer.api import JobContext, Mask
from medviewer.api.inference import CoarseCt, closed, slice_holes

Line = npt.NDArray[np.float64]


def vertebral_bodies(ct: CoarseCt, canal: Line) -> Mask:
    """Return where vertebral bodies lie: about 45 mm wide, 32 mm deep, 8 mm in front of the middle of the canal."""
    return _ellipses(ct, canal, ahead=22.0, deep=17.0, wide=22.0)


def near_spine(ct: CoarseCt, canal: Line) -> Mask:
    """Return the surroundings of the spine: vertebrae with their processes, and the heads of the ribs."""
    return _ellipses(ct, canal, ahead=5.0, deep=50.0, wide=42.0)


def _ellipses(ct: CoarseCt, canal: Line, *, ahead: float, deep: float, wide: float) -> Mask:
    """Return an ellipse in every slice, its middle `ahead` mm in front of the canal, with half axes in mm."""
    slices, rows, columns = ct.hu.shape
    found = np.zeros((slices, rows, columns), bool)
    j = (np.arange(rows) * ct.spacing[1])[:, None]
    i = (np.arange(columns) * ct.spacing[2])[None, :]
    for k, (back, left) in enumerate(canal):
        found[k] = ((j - back + ahead) / deep) ** 2 + ((i - left) / wide) ** 2 < 1.0
    return found


def find_canal(ctx: JobContext, ct: CoarseCt, dense: Mask, body: Mask) -> Line | None:
    """Return the middle of the spinal canal in every slice (back, left in mm); None when it is not seen.

    In the slices with a closed arch it is a hole in bone, as dense as the cord, near the middle; elsewhere it runs
    straight between those.
    """
    ring = closed(ctx, dense, 3.0, ct.spacing)
    rooms = slice_holes(ctx, ring, 700.0, ct.spacing)
    middle = float(np.flatnonzero(body.any(axis=(0, 1))).mean()) * ct.spacing[2]
    pixel = ct.spacing[1] * ct.spacing[2]
    seen = []
    for k, room in enumerate(rooms):
        ctx.check_cancelled()
        labels, count = ndimage.label(room)
        for n in range(1, int(count) + 1):
            part = labels == n
            back, left = np.argwhere(part).mean(axis=0) * ct.spacing[1:]
            if part.sum() * pixel > 80.0 and abs(left - middle) < 50.0 and -40.0 < ct.hu[k][part].mean() < 110.0:
                seen.append((float(k), float(back), float(left)))
    if len(seen) < 3:
        return None
    places = np.array(seen)
    # Holes between ribs and heart are scattered; the canal is where most of them are.
    center = np.median(places[:, 1:], axis=0)
    places = places[np.linalg.norm(places[:, 1:] - center, axis=1) < 45.0]
    if len(places) < 3:
        return None
    smooth = np.array([np.median(places[max(0, n - 3) : n + 4], axis=0) for n in range(len(places))])
    slices = np.arange(dense.shape[0])
    return np.stack([np.interp(slices, smooth[:, 0], smooth[:, axis]) for axis in (1, 2)], axis=1)
