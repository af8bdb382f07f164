"""Grow from seeds: labels compete for the voxels between them, and the nearest wins.

What is near is measured along the image: a step costs its change of contrast, and a little for its length. This is
what grow-cut converges to.

References
----------
Vezhnevets and Konouchine, GrowCut, 2005. Zhu et al., An effective interactive medical image segmentation method using
fast GrowCut, MICCAI IMIC 2014. Bai and Sapiro, A geodesic framework, ICCV 2007.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from medviewer.core.region import Kji, Region
from medviewer.core.segmentation import LabelArray
from medviewer.core.volume import VoxelArray
from medviewer.imaging.blocks import Spacing, block_factors, block_max, block_mean, block_spacing, enlarged

Image = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]
#: Where to, where from, and what it costs; numbers within the band.
Edges = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], Image]

#: More voxels than this are solved with coarser steps first, then exactly where labels meet.
MOST = 400_000

#: Sweeps until nothing changes; paths that turn more often than this are not in images.
_SWEEPS = 80


def extent(box: Region, bounds: Region, share: float = 0.1, least: int = 3) -> Region:
    """Return a box grown on every side by a share of its length, and at least by so many voxels; clipped."""
    k, j, i = (max(least, int(np.ceil(share * n))) for n in box.shape)
    return box.grown((k, j, i)).clip(bounds)


def compete(
    image: VoxelArray,
    seeds: LabelArray,
    spacing_kji: Spacing,
    *,
    locality: float = 0.01,
    most: int = MOST,
    check: Callable[[], None] = lambda: None,
) -> LabelArray:
    """Return for every voxel the label of the seed that is nearest along the image.

    Parameters
    ----------
    image : array (k, j, i)
    seeds : uint16 (k, j, i)
        Label values; 0 where nothing is drawn.
    spacing_kji : (float, float, float)
        mm.
    locality : float
        What a millimetre costs, where 1 is a change of value by about twice the spread inside the seeds. More keeps
        labels near their seeds.
    most : int
        Voxels that are solved at full resolution; larger boxes first with coarser steps.
    check : callable
        Called now and then; may raise to end the work.

    Returns
    -------
    uint16 (k, j, i)
        Seeds keep their labels; no voxel is left without one, unless there are no seeds at all.
    """
    if not seeds.any():
        return seeds.copy()
    middle, spread = _contrast(image, seeds)
    factors = block_factors(seeds.shape, spacing_kji, most)
    if factors == (1, 1, 1):
        return _sweep(_scaled(image, middle, spread), seeds, spacing_kji, locality, check)[0]
    coarse_image = _scaled(block_mean(image, factors), middle, spread)
    coarse_seeds = block_max(seeds, factors)
    coarse_spacing = block_spacing(spacing_kji, factors)
    labels, distance = _sweep(coarse_image, coarse_seeds, coarse_spacing, locality, check)
    check()
    return _Refinement(image, seeds, spacing_kji, locality, (middle, spread)).run(labels, distance, factors, check)


def _contrast(image: VoxelArray, seeds: LabelArray) -> tuple[float, float]:
    """Return the value that lies between the labels, and the spread inside one: medians over the labels."""
    where = seeds > 0
    values, labels = image[where].astype(np.float64), seeds[where]
    parts = [values[labels == label] for label in np.unique(labels)]
    middle = float(np.median([np.median(part) for part in parts]))
    spread = float(np.median([part.std() for part in parts]))
    return middle, max(spread, 1e-3 * float(np.ptp(values)), 1e-6)


def _scaled(image: VoxelArray, middle: float, spread: float) -> Image:
    """Return the image with its contrast where the seeds differ: linear around them, logarithmic far away.

    On CT the step from lung to tissue would otherwise outweigh every border between organs.
    """
    return np.asarray(np.arcsinh((image.astype(np.float32) - middle) / (2 * spread)), np.float32)


def _sweep(
    image: Image, seeds: LabelArray, spacing: Spacing, locality: float, check: Callable[[], None]
) -> tuple[LabelArray, Image]:
    """Return labels and distances: plane after plane, to and fro along each axis, until nothing gets nearer."""
    distance: Image = np.where(seeds > 0, 0, np.inf).astype(np.float32)
    labels = seeds.copy()
    costs = [_steps(image, axis, locality * spacing[axis]) for axis in range(3)]
    for _ in range(_SWEEPS):
        nearer = False
        for axis, cost in enumerate(costs):
            check()
            far = np.ascontiguousarray(np.moveaxis(distance, axis, 0))
            own = np.ascontiguousarray(np.moveaxis(labels, axis, 0))
            nearer |= _along(far, own, cost)
            distance, labels = np.moveaxis(far, 0, axis), np.moveaxis(own, 0, axis)
        if not nearer:
            break
    return np.ascontiguousarray(labels), np.ascontiguousarray(distance)


def _steps(image: Image, axis: int, length_cost: float) -> Image:
    """Return what it costs to go from each plane along an axis to the next."""
    return np.asarray(np.abs(np.diff(np.moveaxis(image, axis, 0), axis=0)) + length_cost, np.float32)


def _along(far: Image, own: LabelArray, cost: Image) -> bool:
    """Carry distances and labels from plane to plane, to and fro; whether any got nearer."""
    last = len(far) - 1
    nearer = False
    for planes, step in ((range(1, last + 1), 1), (range(last - 1, -1, -1), -1)):
        for plane in planes:
            other = plane - step
            through = far[other] + cost[min(plane, other)]
            better = through < far[plane]
            if better.any():
                nearer = True
                np.copyto(far[plane], through, where=better)
                np.copyto(own[plane], own[other], where=better)
    return nearer


class _Refinement:
    """The same competition at full resolution, only where labels meet."""

    def __init__(
        self, image: VoxelArray, seeds: LabelArray, spacing: Spacing, locality: float, contrast: tuple[float, float]
    ) -> None:
        self._image = image.reshape(-1)
        self._seeds = seeds
        self._spacing = spacing
        self._locality = locality
        self._contrast = contrast

    def run(self, coarse: LabelArray, coarse_distance: Image, factors: Kji, check: Callable[[], None]) -> LabelArray:
        """Return the labels of the fine grid."""
        shape = self._seeds.shape
        labels, distance = enlarged(coarse, factors, shape), enlarged(coarse_distance, factors, shape)
        seeded = self._seeds > 0
        # A seed that lost its block to another one has to win its surroundings here.
        lost = block_max((seeded & (labels != self._seeds)).astype(np.uint16), factors) > 0
        np.copyto(labels, self._seeds, where=seeded)
        distance[seeded] = 0
        places = np.flatnonzero(enlarged(_meeting(coarse, lost), factors, shape) & ~seeded)
        check()
        far, own, edges = self._band(places, labels.reshape(-1), distance.reshape(-1))
        for _ in range(2 * max(factors) + 2):
            check()
            if not _relax(far, own, edges):
                break
        # What no path has come to keeps the label of its block.
        reached = own > 0
        labels.reshape(-1)[places[reached]] = own[reached]
        return labels

    def _band(self, places: Places, labels: LabelArray, distance: Image) -> tuple[Image, LabelArray, list[Edges]]:
        """Return distances and labels of the band as they come in from outside, and the edges inside it."""
        number = np.full(labels.size, -1, np.int32)
        number[places] = np.arange(places.size, dtype=np.int32)
        far, own = np.full(places.size, np.inf, np.float32), np.zeros(places.size, np.uint16)
        here = _scaled(self._image[places], *self._contrast)
        index = np.unravel_index(places, self._seeds.shape)
        edges = []
        for axis, size in enumerate(self._seeds.shape):
            stride = int(np.prod(self._seeds.shape[axis + 1 :]))
            for step in (-1, 1):
                to = np.flatnonzero(index[axis] > 0 if step < 0 else index[axis] < size - 1).astype(np.int32)
                at = places[to] + step * stride
                change = np.abs(_scaled(self._image[at], *self._contrast) - here[to])
                cost = change + np.float32(self._locality * self._spacing[axis])
                of = number[at]
                outside = of < 0
                through = distance[at[outside]] + cost[outside]
                better = through < far[to[outside]]
                far[to[outside][better]] = through[better]
                own[to[outside][better]] = labels[at[outside][better]]
                edges.append((to[~outside], of[~outside], cost[~outside]))
        return far, own, edges


def _meeting(coarse: LabelArray, also: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the coarse voxels with a neighbour, diagonal ones too, of another label."""
    from scipy.ndimage import binary_dilation, maximum_filter, minimum_filter

    differs = maximum_filter(coarse, 3) != minimum_filter(coarse, 3)
    return np.asarray(differs | binary_dilation(also, np.ones((3, 3, 3), np.bool_)))


def _relax(far: Image, own: LabelArray, edges: list[Edges]) -> bool:
    """Let every place take the label of the neighbour it is nearest through; whether any got nearer."""
    nearer = False
    for to, of, cost in edges:
        through = far[of] + cost
        better = np.flatnonzero(through < far[to])
        if better.size:
            nearer = True
            far[to[better]] = through[better]
            own[to[better]] = own[of[better]]
    return nearer
