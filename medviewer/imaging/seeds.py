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
from medviewer.imaging.blocks import (
    Spacing,
    block_factors,
    block_max,
    block_mean,
    block_min,
    block_spacing,
    enlarged,
    padded,
)

Image = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]

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
    image, drawn = padded(image, factors), padded(seeds, factors)
    coarse_image = _scaled(block_mean(image, factors), middle, spread)
    coarse_seeds = block_max(drawn, factors)
    labels, distance = _sweep(coarse_image, coarse_seeds, block_spacing(spacing_kji, factors), locality, check)
    check()
    fine = enlarged(labels, factors, drawn.shape)
    np.copyto(fine, drawn, where=drawn > 0)
    # A seed that lost its block to another one has to win its surroundings here.
    lost = (block_max(fine, factors) != labels) | (block_min(fine, factors) != labels)
    band = _Band(_meeting(labels, lost), factors)
    band.fill(_scaled(image.reshape(-1)[band.voxels], middle, spread), drawn.reshape(-1)[band.voxels], labels, distance)
    band.settle(tuple(locality * mm for mm in spacing_kji), max(factors) + 3, check)
    band.write(fine.reshape(-1))
    return np.ascontiguousarray(fine[tuple(slice(0, n) for n in seeds.shape)])


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
    value = (image.astype(np.float32) - np.float32(middle)) / np.float32(2 * spread)
    # The inverse hyperbolic sine; NumPy's own takes ten times as long.
    size = np.log(np.abs(value) + np.sqrt(value * value + np.float32(1)))
    return np.asarray(np.copysign(size, value), np.float32)


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
            nearer |= _carry(far[other], own[other], cost[min(plane, other)], far[plane], own[plane])
    return nearer


class _Band:
    """The same competition at full resolution, only where labels meet: in some blocks, against their neighbours.

    Voxels lie as (k, j, i of the block, block), so that one step of NumPy is the same step in all blocks. Behind the
    blocks of the band come those beside them, which stay as they are, and at the end one that stands for what is
    outside of the box.

    Parameters
    ----------
    inside : bool (k, j, i)
        Which blocks are in the band.
    factors : (int, int, int)
        Voxels of a block.

    Attributes
    ----------
    voxels : intp (fk, fj, fi, blocks)
        Where they lie in the flat fine grid.
    """

    def __init__(self, inside: npt.NDArray[np.bool_], factors: Kji) -> None:
        from scipy.ndimage import binary_dilation

        beside = binary_dilation(inside) & ~inside
        self._blocks = np.concatenate((np.flatnonzero(inside), np.flatnonzero(beside)))
        self._inside = int(np.count_nonzero(inside))
        at = np.array(np.unravel_index(self._blocks, inside.shape))
        numbers = np.full([n + 2 for n in inside.shape], self._blocks.size, np.intp)
        numbers[tuple(at + 1)] = np.arange(self._blocks.size)
        #: Along each axis, which block comes before each, and which after it.
        self._next = []
        for axis in range(3):
            step = np.zeros((3, 1), np.intp)
            step[axis] = 1
            here = at[:, : self._inside] + 1
            self._next.append((numbers[tuple(here - step)], numbers[tuple(here + step)]))
        k, j, i = (n * f + np.arange(f)[:, None] for n, f in zip(at, factors, strict=True))
        height, width = (n * f for n, f in zip(inside.shape[1:], factors[1:], strict=True))
        self.voxels = (k[:, None, None] * height + j[:, None]) * width + i

    def fill(self, values: Image, seeds: LabelArray, coarse: LabelArray, distance: Image) -> None:
        """Take the values and seeds of all voxels, and for blocks beside the band their label and distance."""
        shape = (*seeds.shape[:3], seeds.shape[3] + 1)
        self._values, self._far = np.zeros(shape, np.float32), np.full(shape, np.inf, np.float32)
        self._own = np.zeros(shape, np.uint16)
        beside = self._blocks[self._inside :]
        self._far[..., self._inside : -1] = distance.reshape(-1)[beside]
        self._own[..., self._inside : -1] = coarse.reshape(-1)[beside]
        self._values[..., :-1] = values
        self._far[..., :-1][seeds > 0] = 0
        np.copyto(self._own[..., :-1], seeds, where=seeds > 0)

    def settle(self, length_costs: tuple[float, ...], most: int, check: Callable[[], None]) -> None:
        """Let every voxel take the label of the neighbour it is nearest through, until nothing gets nearer."""
        costs = [self._costs(axis, cost) for axis, cost in enumerate(length_costs)]
        for _ in range(most):
            nearer = False
            for axis, cost in enumerate(costs):
                check()
                nearer |= self._along(axis, cost)
            if not nearer:
                break

    def _costs(self, axis: int, length_cost: float) -> Image:
        """Return what it costs to come to each plane of the blocks from the one before, and to leave the last one."""
        values, (before, after) = np.moveaxis(self._values, axis, 0), self._next[axis]
        row = np.concatenate((values[-1:][..., before], values[..., : self._inside], values[:1][..., after]))
        return np.asarray(np.abs(np.diff(row, axis=0)) + np.float32(length_cost))

    def _along(self, axis: int, cost: Image) -> bool:
        """Carry distances and labels from plane to plane, to and fro; whether any got nearer."""
        far, own = np.moveaxis(self._far, axis, 0), np.moveaxis(self._own, axis, 0)
        (before, after), inside, last = self._next[axis], slice(self._inside), len(far) - 1
        nearer = False
        for plane in range(last + 1):
            of, at = (plane - 1, inside) if plane else (last, before)
            nearer |= _carry(
                far[of][..., at], own[of][..., at], cost[plane], far[plane][..., inside], own[plane][..., inside]
            )
        for plane in range(last, -1, -1):
            of, at = (plane + 1, inside) if plane < last else (0, after)
            nearer |= _carry(
                far[of][..., at], own[of][..., at], cost[plane + 1], far[plane][..., inside], own[plane][..., inside]
            )
        return nearer

    def write(self, labels: LabelArray) -> None:
        """Write into the flat fine grid; what no path has come to keeps the label of its block."""
        own, places = self._own[..., : self._inside], self.voxels[..., : self._inside]
        reached = own > 0
        labels[places[reached]] = own[reached]


def _carry(from_far: Image, from_own: LabelArray, cost: Image, far: Image, own: LabelArray) -> bool:
    """Take distances and labels over from another plane where that is nearer; whether it was anywhere."""
    through = from_far + cost
    better = through < far
    if not better.any():
        return False
    np.copyto(far, through, where=better)
    np.copyto(own, from_own, where=better)
    return True


def _meeting(coarse: LabelArray, also: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the coarse voxels with a neighbour, diagonal ones too, of another label."""
    from scipy.ndimage import binary_dilation, maximum_filter, minimum_filter

    differs = maximum_filter(coarse, 3) != minimum_filter(coarse, 3)
    return np.asarray(differs | binary_dilation(also, np.ones((3, 3, 3), np.bool_)))
