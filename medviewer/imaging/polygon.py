"""Closed contours as pixels."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Mask2D = npt.NDArray[np.bool_]


def fill_even_odd(contours: Iterable[npt.ArrayLike], shape: tuple[int, int]) -> Mask2D:
    """Return the pixels whose centre lies inside an odd number of closed contours.

    Exact for any contours: holes as inner contours or through a keyhole, self-intersections, vertices on pixel
    centres. A centre on a left or upper edge counts as inside, on a right or lower one as outside, so that contours
    that share an edge share no pixel.

    Parameters
    ----------
    contours : iterable of (n, 2) arrays
        Continuous (i, j); pixel centres are at whole numbers.
    shape : (int, int)
        Rows j, columns i.

    Returns
    -------
    bool array (j, i)
    """
    rows, columns = shape
    toggles = np.zeros((rows, columns + 1), dtype=np.uint8)
    for contour in contours:
        points = np.asarray(contour, dtype=np.float64)
        if len(points) < 3:
            continue
        ends = np.stack([points, np.roll(points, -1, axis=0)])
        # From the upper end down, so that rounding is the same whichever way round the contour goes.
        (x0, y0), (x1, y1) = np.where(ends[0, :, 1:] <= ends[1, :, 1:], ends, ends[::-1]).transpose(0, 2, 1)
        # An edge crosses the rows from its upper end up to, but without, its lower end.
        first = np.clip(np.ceil(y0), 0, rows).astype(np.int64)
        stop = np.clip(np.ceil(y1), 0, rows).astype(np.int64)
        counts = stop - first
        edge = np.repeat(np.arange(len(points)), counts)
        row = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
        along = (row - y0[edge]) / (y1 - y0)[edge]
        crossing = np.ceil(x0[edge] + along * (x1 - x0)[edge])
        np.bitwise_xor.at(toggles, (row, np.clip(crossing, 0, columns).astype(np.int64)), 1)
    inside: Mask2D = np.bitwise_xor.accumulate(toggles, axis=1)[:, :columns].astype(np.bool_)
    return inside
