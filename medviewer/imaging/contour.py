"""Active contours: a surface that moves from what is drawn until edges or the end of a range of values stop it.

References
----------
Caselles, Kimmel and Sapiro, Geodesic active contours, IJCV 1997.
Yushkevich et al., User-guided 3D active contour segmentation (ITK-SNAP), NeuroImage 2006.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medviewer.core.segmentation import Mask
from medviewer.core.volume import VoxelArray

if TYPE_CHECKING:
    import SimpleITK as sitk

Spacing = tuple[float, float, float]
Speed = npt.NDArray[np.float32]

#: Voxels of the cubic grid that the surface moves on; larger boxes get larger steps. The level is continuous, so that
#: the surface lies between them.
MOST = 120_000

#: Iterations between two looks at whether the work was cancelled.
_ROUND = 40


@dataclass(frozen=True, slots=True)
class Motion:
    """How the surface moves.

    Attributes
    ----------
    outwards : bool
        Whether it grows or shrinks where nothing stops it.
    smoothness : float
        Weight of the curvature: 0 keeps every corner.
    attraction : float
        How strongly an edge nearby draws the surface to itself.
    iterations : int
        At most; it ends when it stands still.
    """

    outwards: bool = True
    smoothness: float = 0.3
    attraction: float = 1.0
    iterations: int = 200


def edge_speed(steep: Speed, edge: float) -> Speed:
    """Return 1 where an image is flat, one half where its `slope` is `edge`, and towards 0 where it is steeper."""
    return np.asarray(1 / (1 + (steep / edge) ** 4), np.float32)


def slope(image: VoxelArray, spacing_kji: Spacing, blur_mm: float) -> Speed:
    """Return how steep an image is after a Gaussian of standard deviation `blur_mm`: finer edges are noise.

    Parameters
    ----------
    image : array (k, j, i)
    spacing_kji : (float, float, float)
        mm.
    blur_mm : float

    Returns
    -------
    float32 (k, j, i), in the unit of the image per mm
    """
    from scipy.ndimage import gaussian_filter

    blurred = gaussian_filter(image.astype(np.float32), [blur_mm / mm for mm in spacing_kji])
    squares = np.zeros(image.shape, np.float32)
    for axis, mm in enumerate(spacing_kji):
        # Differences, not derivatives of the Gaussian: those are wrong where it is narrower than a voxel.
        if image.shape[axis] > 1:
            squares += np.gradient(blurred, mm, axis=axis) ** 2
    return np.asarray(np.sqrt(squares), np.float32)


def contour_to_edges(
    speed: Speed,
    start: Mask,
    spacing_kji: Spacing,
    motion: Motion,
    progress: Callable[[float], None] = lambda _: None,
) -> Mask:
    """Move the border of a mask until edges stop it.

    Parameters
    ----------
    speed : float32 (k, j, i)
        0..1, from `edge_speed`.
    start : bool array (k, j, i)
        One or more bubbles.
    spacing_kji : (float, float, float)
        mm.
    motion : Motion
    progress : callable
        Told 0..1; may raise to end the work.

    Returns
    -------
    bool array (k, j, i)
        Growing keeps the bubbles, shrinking stays inside them.
    """
    import SimpleITK as sitk

    flow = sitk.GeodesicActiveContourLevelSetImageFilter()
    flow.SetPropagationScaling(1.0 if motion.outwards else -1.0)
    flow.SetAdvectionScaling(motion.attraction)
    moved = _flow(flow, speed, start, spacing_kji, motion, progress)
    return np.asarray(moved | start if motion.outwards else moved & start)


def contour_to_range(
    image: VoxelArray,
    start: Mask,
    spacing_kji: Spacing,
    lower: float,
    upper: float,
    motion: Motion,
    progress: Callable[[float], None] = lambda _: None,
) -> Mask:
    """Move the border of a mask outwards through values in a closed range, and back from others.

    Parameters
    ----------
    image : array (k, j, i)
    start : bool array (k, j, i)
        One or more bubbles; what lies out of the range may be lost.
    spacing_kji : (float, float, float)
        mm.
    lower, upper : float
        In the unit of the image.
    motion : Motion
        Its direction and attraction mean nothing here.
    progress : callable
        Told 0..1; may raise to end the work.

    Returns
    -------
    bool array (k, j, i)
    """
    import SimpleITK as sitk

    # The speed is the distance to the nearer end of the range: 1 in its middle, and no faster far outside.
    half = max((upper - lower) / 2, 1e-6)
    scaled = np.clip((image.astype(np.float32) - (upper + lower) / 2) / half, -2, 2).astype(np.float32)
    flow = sitk.ThresholdSegmentationLevelSetImageFilter()
    flow.SetLowerThreshold(-1.0)
    flow.SetUpperThreshold(1.0)
    return _flow(flow, scaled, start, spacing_kji, motion, progress)


def _flow(
    flow: Any, feature: Speed, start: Mask, spacing: Spacing, motion: Motion, progress: Callable[[float], None]
) -> Mask:
    """Run a level set of ITK in rounds, so that it can be ended between them."""
    import SimpleITK as sitk

    if not start.any():
        return start.copy()
    shape, steps = _grid(start.shape, spacing)
    inside = sitk.SignedMaurerDistanceMap(_image(start.view(np.uint8), spacing), False, False, True)
    level = _image(_onto(sitk.GetArrayFromImage(inside), shape), steps)
    over = _image(_onto(feature, shape), steps)
    flow.SetCurvatureScaling(motion.smoothness)
    flow.SetMaximumRMSError(0.002)
    flow.SetNumberOfIterations(_ROUND)
    for done in range(0, motion.iterations, _ROUND):
        progress(done / motion.iterations)
        level = flow.Execute(level, over)
        if flow.GetElapsedIterations() < _ROUND:
            break
    return np.asarray(_onto(sitk.GetArrayFromImage(level), start.shape) <= 0)


def _grid(shape: tuple[int, ...], spacing: Spacing) -> tuple[tuple[int, ...], Spacing]:
    """Return the size and the steps in mm of a grid of about cubes over the same box, with few enough of them."""
    step = max(min(spacing), float(np.prod(shape) * np.prod(spacing) / MOST) ** (1 / 3))
    few = tuple(max(1, round(n * mm / step)) for n, mm in zip(shape, spacing, strict=True))
    k, j, i = (n * mm / m for n, mm, m in zip(shape, spacing, few, strict=True))
    return few, (k, j, i)


def _onto(array: npt.NDArray[np.float32], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return the same box with another number of voxels, linear in between."""
    from scipy.ndimage import zoom

    if array.shape == shape:
        return np.ascontiguousarray(array, np.float32)
    factors = [n / m for n, m in zip(shape, array.shape, strict=True)]
    return np.asarray(zoom(array, factors, order=1, mode="nearest", grid_mode=True), np.float32)


def _image(array: VoxelArray, spacing: Spacing) -> sitk.Image:
    """Return an image with spacing only: a level set needs no place in the patient, and shear is no part of it."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing(spacing[::-1])
    return image
