"""Smoothing of masks, in millimetres on any grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Geometry
from medviewer.core.region import Kji, Region
from medviewer.imaging.morphology import Check, Mask, closed, go_on, opened, reach

Memberships = npt.NDArray[np.float32]
Method = Literal["median", "opening", "closing", "gaussian"]

#: A Gaussian is cut off here: what is left of it is less than what a float32 tells from 1/2.
_SIGMAS = 4.0
#: Two Gaussians of 1 and of this many sd make one of 2 sd.
_BACK = 3.0**0.5


def smooth(
    mask: Mask,
    geometry: Geometry,
    method: Method,
    size_mm: float,
    *,
    flat: int | None = None,
    check: Check = go_on,
) -> Mask:
    """Return the mask (k, j, i) smoothed by one of the methods.

    Parameters
    ----------
    size_mm : float
        Width of the kernel: of the box of a median, of the ball of opening and closing; of a Gaussian the standard
        deviation.
    flat : int, optional
        Index axis (0 = i, 1 = j, 2 = k) along which slices are no neighbours in space.
    check : callable
        Called now and then; may raise to end the work.
    """
    if method == "median":
        return median(mask, geometry, size_mm, flat=flat)
    if method == "gaussian":
        return gaussian(mask, geometry, size_mm, flat=flat)
    step = opened if method == "opening" else closed
    return step(mask, geometry, size_mm / 2, flat=flat, check=check)


def smooth_reach(geometry: Geometry, method: Method, size_mm: float, *, flat: int | None = None) -> Kji:
    """Return how far (k, j, i) lies what a smoothed voxel depends on."""
    if method == "median":
        k, j, i = (n // 2 for n in median_size(geometry, size_mm, flat=flat))
    elif method == "gaussian":
        k, j, i = gaussian_reach(geometry, size_mm, flat=flat)
    else:
        k, j, i = (2 * n for n in reach(geometry, size_mm / 2, flat=flat))
    return (k, j, i)


def median_size(geometry: Geometry, size_mm: float, *, flat: int | None = None) -> Kji:
    """Return the odd number of voxels (k, j, i) whose width comes closest to `size_mm` along each index axis.

    `flat` is an index axis (0 = i, 1 = j, 2 = k) along which slices are no neighbours in space.
    """
    sizes = [2 * int(size_mm / step / 2 + 1e-9) + 1 for step in geometry.spacing]
    if flat is not None:
        sizes[flat] = 1
    i, j, k = sizes
    return (k, j, i)


def median(mask: Mask, geometry: Geometry, size_mm: float, *, flat: int | None = None) -> Mask:
    """Return what most voxels of a box of `size_mm` around each voxel are; the box lies along the index axes.

    Parameters
    ----------
    mask : bool array (k, j, i)
        What lies outside the array is as its nearest voxel inside.
    """
    from scipy import ndimage

    share = ndimage.uniform_filter(mask.astype(np.float32), median_size(geometry, size_mm, flat=flat), mode="nearest")
    smooth: Mask = share > 0.5
    return smooth


def gaussian(mask: Mask, geometry: Geometry, sd_mm: float, *, flat: int | None = None) -> Mask:
    """Return where a mask blurred by a Gaussian is at least 1/2.

    Parameters
    ----------
    mask : bool array (k, j, i)
        What lies outside the array is as its nearest voxel inside.
    sd_mm : float
        Standard deviation, the same in all directions of space.
    """
    smooth: Mask = _blur(mask.astype(np.float32), geometry, sd_mm, flat) >= 0.5
    return smooth


def gaussian_reach(geometry: Geometry, sd_mm: float, *, flat: int | None = None) -> Kji:
    """Return how far (k, j, i) a voxel is blurred."""
    return reach(geometry, _SIGMAS * sd_mm, flat=flat)


def joint(
    labels: npt.NDArray[Any],
    values: Sequence[int],
    geometry: Geometry,
    sd_mm: float,
    *,
    flat: int | None = None,
    progress: Callable[[float], None] = lambda _done: None,
) -> npt.NDArray[Any]:
    """Smooth several labels that border on each other, without gaps or overlap between them and without shrinking.

    How far each voxel belongs to a label (0 or 1 at first) is filtered, and the label with the most wins, so the result
    is a label map as before. The filter is Taubin's: a step that smooths and shrinks, and one that takes the shrinking
    back. Here that is ``2 G(sd) - G(2 sd)`` with Gaussians G: where a surface has the curvature H, the line of 1/2 of
    G(sd) moves by sd²·H, because the part of the Gaussian that lies in the tangent plane weighs as its sd does; in
    this difference those parts weigh nothing.

    Parameters
    ----------
    labels : int array (k, j, i)
    values : sequence of int
        Labels to smooth; all others together are the background, and so is 0.
    sd_mm : float
        Standard deviation of the Gaussian.
    progress : callable
        Is told the part that is done; may raise to end the work.

    Returns
    -------
    array of the shape and type of `labels`
        `values` and, elsewhere, 0.

    References
    ----------
    Taubin, A signal processing approach to fair surface design, SIGGRAPH 1995.
    """
    best = np.zeros(labels.shape, dtype=labels.dtype)
    most = np.full(labels.shape, -np.inf, dtype=np.float32)
    background = np.ones(labels.shape, dtype=np.float32)
    margin = gaussian_reach(geometry, 2 * sd_mm, flat=flat)
    for n, value in enumerate(values):
        progress(n / len(values))
        mask = labels == value
        box = Region.of_mask(mask)
        if box is None:
            continue
        part = box.grown(margin).clip(Region.whole(labels.shape)).slices
        belongs = mask[part].astype(np.float32)
        once = _blur(belongs, geometry, sd_mm, flat)
        belongs = 2 * once - _blur(once, geometry, _BACK * sd_mm, flat)
        background[part] -= belongs
        wins = belongs > most[part]
        most[part][wins] = belongs[wins]
        best[part][wins] = value
    best[background > most] = 0
    return best


def _blur(image: Memberships, geometry: Geometry, sd_mm: float, flat: int | None) -> Memberships:
    from scipy import ndimage

    steps = geometry.index_to_lps_matrix[:3, :3]
    kept = [axis for axis in range(3) if axis != flat]
    products = steps.T @ steps
    slanted = np.abs(products - np.diag(np.diag(products))) > 1e-6 * float(np.min(np.diag(products)))
    if not slanted[np.ix_(kept, kept)].any():
        sd = [0.0 if axis == flat else sd_mm / geometry.spacing[axis] for axis in (2, 1, 0)]
        blurred: Memberships = ndimage.gaussian_filter(image, sd, mode="nearest", truncate=_SIGMAS)
        return blurred
    return _blur_slanted(image, geometry, sd_mm, flat)


def _blur_slanted(image: Memberships, geometry: Geometry, sd_mm: float, flat: int | None) -> Memberships:
    """Blur on a sheared grid, where a round Gaussian is no product of one along each axis."""
    from scipy import signal

    around = gaussian_reach(geometry, sd_mm, flat=flat)
    k, j, i = (np.arange(-n, n + 1.0) for n in around)
    squares = np.zeros((k.size, j.size, i.size))
    for row in geometry.index_to_lps_matrix[:3, :3]:
        squares += (row[0] * i + row[1] * j[:, None] + row[2] * k[:, None, None]) ** 2
    kernel = np.exp(-squares / (2 * sd_mm**2)).astype(np.float32)
    wide = np.pad(image, [(n, n) for n in around], mode="edge")
    blurred: Memberships = signal.oaconvolve(wide, kernel / kernel.sum(), mode="valid")
    return blurred
