"""The closed curve of equal value that passes by a pixel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medviewer.imaging.planes import SliceImage

Contour = npt.NDArray[np.float64]

#: Pixels to each side of the first look; it grows until the curve is closed or the slice ends.
START, TIMES = 96, 2

#: A longer curve, as there are in noise, is none that is meant, and could not follow the pointer.
MOST_POINTS = 10_000

#: A curve further from the pixel than this, in pixels, is not the one that is meant.
_NEAR = 1.5


def level_contour(image: SliceImage, pixel: tuple[int, int]) -> Contour | None:
    """Return the longest closed curve at the value of a pixel that passes by it.

    Parameters
    ----------
    image : array (rows, columns)
        No curve goes through what is not a number.
    pixel : (row, column)

    Returns
    -------
    float array (n, 2) of continuous (row, column), or None
        First and last point are the same. None where no closed curve passes by: in what is flat, and where every
        curve runs out of the image, or is longer than `MOST_POINTS`.
    """
    row, column = pixel
    if not (0 <= row < image.shape[0] and 0 <= column < image.shape[1]):
        return None
    half = START
    while True:
        r0, c0 = max(0, row - half), max(0, column - half)
        part = image[r0 : row + half + 1, c0 : column + half + 1]
        found, runs_out = _longest(part, (row - r0, column - c0))
        if found is not None:
            return np.asarray(found + np.array((r0, c0)), np.float64)
        if not runs_out or part.shape == image.shape:
            return None
        half *= TIMES


def _longest(part: npt.NDArray[np.generic], pixel: tuple[int, int]) -> tuple[Contour | None, bool]:
    """Return the closed curve that is meant, and whether an open one is near instead."""
    from skimage.measure import find_contours

    values = np.asarray(part, np.float64)
    near = []
    # A level on a pixel's own value is degenerate in marching squares: a step aside is the same curve, well defined.
    # Both sides, as what is flat has a curve on one of them only.
    for level in (np.nextafter(values[pixel], -np.inf), np.nextafter(values[pixel], np.inf)):
        alone = _alone(values, level, pixel)
        curves = [] if alone is None else find_contours(alone, level)  # type: ignore[no-untyped-call]  # no types
        near += [curve for curve in curves if float(np.hypot(*(curve - pixel).T).min()) <= _NEAR]
    closed = [curve for curve in near if _is_closed(curve)]
    # The longest is meant, not a loop around the noise of a pixel.
    return (max(closed, key=len), False) if closed else (None, bool(near))


def _alone(values: npt.NDArray[np.float64], level: float, pixel: tuple[int, int]) -> npt.NDArray[np.float64] | None:
    """Return the image with no curves at a level but those that may pass by a pixel; None when they are too long.

    The others, thousands in noise, would take longer to follow than the one that is looked for.
    """
    from scipy.ndimage import label

    square = tuple(slice(max(0, n - 2), n + 3) for n in pixel)
    high = values > level
    # As in marching squares: what is low is joined across corners.
    lows, _ = label(~high, np.ones((3, 3)))
    around = np.isin(lows, np.unique(lows[square][lows[square] > 0]))
    parts, _ = label(~around)
    here = parts[square][high[square]]
    inside = np.isin(parts, np.unique(here[here > 0]))
    length = np.count_nonzero(inside[1:] != inside[:-1]) + np.count_nonzero(inside[:, 1:] != inside[:, :-1])
    if length > MOST_POINTS:
        return None
    lowest, highest = np.nextafter(level, -np.inf), np.nextafter(level, np.inf)
    return np.where(inside, np.maximum(values, highest), np.minimum(values, lowest))


def _is_closed(curve: Contour) -> bool:
    return bool((curve[0] == curve[-1]).all())
