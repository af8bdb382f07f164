"""From markers to regions: the watershed of the slope, and a random walker.

References
----------
Beucher and Meyer, The morphological approach to segmentation: the watershed transformation, 1993.
Grady, Random walks for image segmentation, PAMI 2006.
"""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

from medviewer.core.region import Kji
from medviewer.core.segmentation import LabelArray
from medviewer.core.volume import VoxelArray
from medviewer.imaging.blocks import Spacing, block_factors, block_max, block_mean, block_spacing
from medviewer.imaging.contour import slope

Image = npt.NDArray[np.float32]

#: A walk solves one equation a voxel and label: larger boxes are walked with coarser steps.
MOST_WALKED = 120_000


def watershed(image: VoxelArray, markers: LabelArray, spacing_kji: Spacing, blur_mm: float = 1.0) -> LabelArray:
    """Return for every voxel the label of the marker whose flood comes first when the slope of the image fills up.

    Parameters
    ----------
    image : array (k, j, i)
    markers : uint16 (k, j, i)
        Label values; 0 where nothing is drawn.
    spacing_kji : (float, float, float)
        mm.
    blur_mm : float
        Standard deviation of the Gaussian before the slope is taken.

    Returns
    -------
    uint16 (k, j, i)
        Markers keep their labels; no voxel is left without one, unless there are no markers.
    """
    from skimage.segmentation import watershed as flood

    if not markers.any():
        return markers.copy()
    steep = slope(image, spacing_kji, blur_mm)
    found = flood(steep, markers.astype(np.int32))  # type: ignore[no-untyped-call]  # scikit-image has no types
    return np.asarray(found, np.uint16)


def random_walk(
    image: VoxelArray, markers: LabelArray, spacing_kji: Spacing, edges: float = 1000.0, most: int = MOST_WALKED
) -> LabelArray:
    """Return for every voxel the label that a random walker, who shuns steps across edges, most likely comes to first.

    Parameters
    ----------
    image : array (k, j, i)
    markers : uint16 (k, j, i)
        Label values; 0 where nothing is drawn.
    spacing_kji : (float, float, float)
        mm.
    edges : float
        How much edges matter; Grady's beta.
    most : int
        Voxels that are walked over at most; a larger box is walked with coarser steps and smoothed in between.

    Returns
    -------
    uint16 (k, j, i)
        Markers keep their labels; no voxel is left without one, unless there are no markers.
    """
    factors = block_factors(markers.shape, spacing_kji, most)
    small, few = block_mean(image, factors), block_max(markers, factors)
    values = np.unique(few[few > 0])
    if values.size < 2:
        found = np.full_like(markers, values[0] if values.size else 0)
    else:
        chances = _chances(small, few, values, block_spacing(spacing_kji, factors), edges)
        found = _likeliest(chances, values, factors, markers.shape)
    np.copyto(found, markers, where=markers > 0)
    return found


def _chances(
    image: Image, markers: LabelArray, values: LabelArray, spacing: Spacing, edges: float
) -> npt.NDArray[np.float64]:
    """Return for every label the chance (k, j, i) that a walker comes to it first."""
    from skimage.segmentation import random_walker

    if (markers > 0).all():  # nobody walks: scikit-image gives the labels back then, not the chances
        return np.stack([markers == value for value in values]).astype(np.float64)
    ranks = np.where(markers > 0, np.searchsorted(values, markers) + 1, 0)
    low, high = (float(v) for v in np.percentile(image, (1, 99)))
    scaled = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    with warnings.catch_warnings():
        # It asks for a package that is faster where it is installed.
        warnings.filterwarnings("ignore", category=UserWarning)
        chances = random_walker(
            scaled, ranks, beta=edges, mode="cg_j", tol=1e-3, return_full_prob=True,
            spacing=np.array(spacing) / min(spacing),
        )  # fmt: skip
    return np.asarray(chances)


def _likeliest(
    chances: npt.NDArray[np.float64], values: LabelArray, factors: Kji, shape: tuple[int, ...]
) -> LabelArray:
    """Return the label with the highest chance for every voxel of the fine grid, linear between blocks."""
    from scipy.ndimage import zoom

    inside = tuple(slice(0, n) for n in shape)
    best = np.full(shape, -np.inf, np.float32)
    result = np.zeros(shape, np.uint16)
    for value, chance in zip(values, chances, strict=True):
        fine = chance.astype(np.float32)
        if factors != (1, 1, 1):
            fine = zoom(fine, factors, order=1, mode="nearest", grid_mode=True)[inside]
        more = fine > best
        best[more] = fine[more]
        result[more] = value
    return result
