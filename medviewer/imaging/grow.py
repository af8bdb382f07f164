"""What is connected to a voxel within a range of values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from medviewer.core.geometry import Geometry
from medviewer.core.region import Kji, Region
from medviewer.core.segmentation import Mask
from medviewer.core.volume import VoxelArray
from medviewer.imaging.planes import Slab

#: Voxels to each side of the seed at the first look, and by how much the box grows where the mask comes to its faces.
START, TIMES = 24, 2


@dataclass(frozen=True, slots=True)
class Ball:
    """All voxels whose centre lies within a distance of another's, on any grid; of a slab only, if there is one."""

    geometry: Geometry
    radius_mm: float
    slab: Slab | None = None

    def around(self, centre: Kji, box: Region) -> Mask:
        """Return which voxels of a box lie within the radius of a voxel."""
        k, j, i = (np.arange(a, b, dtype=np.float32) - c for a, b, c in zip(box.lower, box.upper, centre, strict=True))
        steps = (k[:, None, None], j[None, :, None], i[None, None, :])
        matrix = self.geometry.index_to_lps_matrix[:3, 2::-1]
        squares = sum(float(matrix[:, a] @ matrix[:, b]) * steps[a] * steps[b] for a in range(3) for b in range(3))
        near = np.asarray(squares <= self.radius_mm**2)
        return near if self.slab is None else near & self.slab.holds(box)


def grow_region(
    image: VoxelArray,
    seed: Kji,
    lower: float,
    upper: float,
    *,
    within: Region | None = None,
    ball: Ball | None = None,
    check: Callable[[], None] = lambda: None,
) -> tuple[Region, Mask]:
    """Return what is connected to a seed through voxels whose value lies in a closed range.

    Works in a box around the seed that grows while the mask comes to its faces, so that a small structure costs
    little in a large image.

    Parameters
    ----------
    image : array (k, j, i)
    seed : (k, j, i)
    lower, upper : float
        In the unit of the image.
    within : Region, optional
        Where it may grow; one slice for growing in a plane. The whole image when left out.
    ball : Ball, optional
        How far from the seed it may grow.
    check : callable
        Called between looks; may raise to end the work.

    Returns
    -------
    Region, bool array of its shape (k, j, i)
        Voxels are neighbours when they share a face. Empty when the seed itself is out of range or outside `within`.
    """
    whole = Region.whole(image.shape)
    within = whole if within is None else within.clip(whole)
    if ball is not None:
        within = within.clip(reach(ball.geometry, seed, ball.radius_mm))
    if not within.contains(seed) or not lower <= image[seed] <= upper:
        return Region(seed, seed), np.zeros((0, 0, 0), np.bool_)
    box = Region(seed, _add(seed, (1, 1, 1))).grown(START).clip(within)
    while True:
        check()
        part = image[box.slices]
        alike = (part >= lower) & (part <= upper)
        if ball is not None:
            alike &= ball.around(seed, box)
        mask = _connected(alike, _sub(seed, box.lower))
        larger = _larger(mask, box, within)
        if larger == box:
            break
        box = larger
    tight = Region.of_mask(mask)
    assert tight is not None
    return Region(_add(tight.lower, box.lower), _add(tight.upper, box.lower)), mask[tight.slices]


def _connected(alike: Mask, seed: Kji) -> Mask:
    """Return the component that holds the seed."""
    from scipy.ndimage import label

    parts, _ = label(alike)
    mask: Mask = parts == parts[seed]
    return mask


def _larger(mask: Mask, box: Region, within: Region) -> Region:
    """Return the box, grown on the sides where the mask touches a face that is not yet the limit."""
    lower, upper = list(box.lower), list(box.upper)
    for axis in range(3):
        by = max(START, (TIMES - 1) * mask.shape[axis])
        if lower[axis] > within.lower[axis] and mask.take(0, axis=axis).any():
            lower[axis] = max(within.lower[axis], lower[axis] - by)
        if upper[axis] < within.upper[axis] and mask.take(-1, axis=axis).any():
            upper[axis] = min(within.upper[axis], upper[axis] + by)
    return Region((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))


def reach(geometry: Geometry, seed: Kji, radius_mm: float) -> Region:
    """Return the box that holds every voxel within a distance of a voxel, whatever the shear; clipped to the grid."""
    per_axis = radius_mm * np.linalg.norm(geometry.lps_to_index_matrix[:3, :3], axis=1)[::-1]
    k, j, i = (int(np.floor(n)) for n in per_axis)
    return Region(seed, _add(seed, (1, 1, 1))).grown((k, j, i)).clip(geometry.region)


def tolerance_around(image: VoxelArray, seed: Kji, times: float = 3.0) -> float:
    """Return a tolerance to begin with: so many standard deviations of the noise around a voxel.

    From its slice alone, as the next one may be another tissue; from the median deviation, as an edge may be near; and
    from the quieter of two sizes of surroundings, as something small is all edge in the larger one.
    """
    k, j, i = seed
    deviations = []
    for reach_voxels in (1, 2):
        rows, columns = (slice(max(0, n - reach_voxels), n + reach_voxels + 1) for n in (j, i))
        near = image[k, rows, columns].astype(np.float64)
        deviations.append(float(np.median(np.abs(near - np.median(near)))))
    return times * 1.4826 * min(deviations)


def _add(a: Kji, b: Kji) -> Kji:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2])


def _sub(a: Kji, b: Kji) -> Kji:
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])
