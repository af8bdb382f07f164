"""Vessels and airways between points that were clicked: the cheapest path, and a tube around it.

References
----------
Cohen and Kimmel, Global minimum for active contour models: a minimal path approach, IJCV 1997.
Sato et al., Three-dimensional multi-scale line filter, MedIA 1998.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Geometry
from medviewer.core.region import Kji, Region
from medviewer.core.segmentation import Mask
from medviewer.core.volume import VoxelArray

Path = npt.NDArray[np.intp]
Guide = Literal["values at the points", "bright tubes", "dark tubes"]

#: What a step costs at best; below it, paths wander through what suits them.
_LEAST = 0.02


def track(
    image: VoxelArray,
    geometry: Geometry,
    points: Sequence[Kji],
    *,
    guide: Guide = "values at the points",
    radius_mm: float = 5.0,
    margin_mm: float = 20.0,
    check: Callable[[], None] = lambda: None,
) -> Path:
    """Return the voxels of the cheapest path through points, in order.

    Parameters
    ----------
    image : array (k, j, i)
    geometry : Geometry
        Of the image; paths are measured along its axes in mm.
    points : two or more (k, j, i)
    guide : Guide
        What a path likes: voxels with values like those at the points, or tubes brighter or darker than what is
        around them.
    radius_mm : float
        Of the widest tubes that are looked for.
    margin_mm : float
        How far a path may leave the box around its two points.
    check : callable
        Called between legs; may raise to end the work.

    Returns
    -------
    int array (n, 3) of (k, j, i)
        Neighbours share a face, an edge or a corner; the points are on it.
    """
    legs = []
    for first, last in itertools.pairwise(points):
        check()
        legs.append(_leg(image, geometry, first, last, guide, radius_mm, margin_mm))
    joined = [legs[0], *(leg[1:] for leg in legs[1:])]
    return np.concatenate(joined)


def _leg(
    image: VoxelArray, geometry: Geometry, first: Kji, last: Kji, guide: Guide, radius_mm: float, margin_mm: float
) -> Path:
    from skimage.graph import MCP_Geometric

    spacing = geometry.spacing[::-1]
    ends = np.array([first, last])
    margin = np.ceil(margin_mm / np.array(spacing)).astype(int)
    low, high = ends.min(axis=0) - margin, ends.max(axis=0) + margin + 1
    box = Region((int(low[0]), int(low[1]), int(low[2])), (int(high[0]), int(high[1]), int(high[2])))
    box = box.clip(geometry.region)
    part = image[box.slices].astype(np.float32)
    inside = np.asarray(ends - box.lower, np.intp)
    cost = _LEAST + 1 - _liking(part, inside, guide, spacing, radius_mm)
    finder = MCP_Geometric(cost, fully_connected=True, sampling=spacing)
    start, stop = (tuple(int(n) for n in end) for end in inside)
    finder.find_costs([start], [stop])
    return np.array(finder.traceback(stop), np.intp) + box.lower


def _liking(
    part: npt.NDArray[np.float32], ends: Path, guide: Guide, spacing: tuple[float, ...], radius_mm: float
) -> npt.NDArray[np.float32]:
    """Return 0..1 for every voxel of a box: how gladly a path goes through it."""
    if guide == "values at the points":
        near = np.concatenate([part[tuple(slice(max(0, n - 1), n + 2) for n in end)].ravel() for end in ends])
        centre = [float(part[tuple(end)]) for end in ends]
        low, high = min(centre), max(centre)
        width = max(float(np.std(near)), 1e-3 * float(np.ptp(part)), 1e-6)
        off = np.maximum(np.maximum(low - part, part - high), 0) / width
        return np.asarray(np.exp(-(off**2) / 2), np.float32)
    tubes = tubeness(part if guide == "bright tubes" else -part, spacing, radius_mm)
    best = max(float(tubes[tuple(end)]) for end in ends) or float(tubes.max()) or 1.0
    return np.asarray(np.clip(tubes / best, 0, 1), np.float32)


def tubeness(part: npt.NDArray[np.float32], spacing: tuple[float, ...], radius_mm: float) -> npt.NDArray[np.float32]:
    """Return how much every voxel lies in a bright tube: the larger of its two downward curvatures' smaller one.

    Of three scales up to `radius_mm`; in the unit of the image.
    """
    from scipy.ndimage import gaussian_filter

    best = np.zeros(part.shape, np.float32)
    for share in (0.3, 0.55, 1.0):
        sigma_mm = max(share * radius_mm, 0.6 * min(spacing))
        sigma = [sigma_mm / mm for mm in spacing]
        hessian = np.empty((*part.shape, 3, 3), np.float32)
        for a in range(3):
            for b in range(a, 3):
                order = [int(n == a) + int(n == b) for n in range(3)]
                second = gaussian_filter(part, sigma, order=order) / (spacing[a] * spacing[b])
                hessian[..., a, b] = hessian[..., b, a] = second * sigma_mm**2
        # Across a bright tube two of the three curvatures point down; the middle one is the weaker of them.
        np.maximum(best, -np.linalg.eigvalsh(hessian)[..., 1], out=best)
    return best


def tube(
    image: VoxelArray, geometry: Geometry, path: Path, radius_mm: float, tolerance: float | None = None
) -> tuple[Region, Mask]:
    """Return what lies within a radius of a path and is connected to it through values like those on the path.

    Parameters
    ----------
    image : array (k, j, i)
    geometry : Geometry
    path : int array (n, 3) of (k, j, i)
    radius_mm : float
    tolerance : float, optional
        How far values may lie from the range of those on the path; None takes all within the radius.

    Returns
    -------
    Region, bool array of its shape (k, j, i)
        The path is always inside.
    """
    from scipy.ndimage import binary_propagation

    per_axis = np.ceil(radius_mm * np.linalg.norm(geometry.lps_to_index_matrix[:3, :3], axis=1)[::-1]).astype(int)
    low, high = path.min(axis=0) - per_axis, path.max(axis=0) + per_axis + 1
    box = Region((int(low[0]), int(low[1]), int(low[2])), (int(high[0]), int(high[1]), int(high[2])))
    box = box.clip(geometry.region)
    on_path = np.zeros(box.shape, np.bool_)
    on_path[tuple((path - box.lower).T)] = True
    near = _within(on_path, geometry, radius_mm, per_axis)
    if tolerance is None:
        return box, near
    part = image[box.slices]
    # The middle of the values on the path: its ends may touch the wall.
    lower, upper = (float(v) for v in np.percentile(image[tuple(path.T)], (10, 90)))
    alike = near & (part >= lower - tolerance) & (part <= upper + tolerance)
    return box, binary_propagation(on_path, mask=alike | on_path)


def _within(on_path: Mask, geometry: Geometry, radius_mm: float, reach_kji: npt.NDArray[np.int_]) -> Mask:
    """Return the voxels within a radius of the path, in mm on any grid, sheared ones too."""
    from scipy.ndimage import distance_transform_edt

    if np.abs(geometry.direction_matrix.T @ geometry.direction_matrix - np.eye(3)).max() <= 1e-6:
        return np.asarray(distance_transform_edt(~on_path, sampling=geometry.spacing[::-1]) <= radius_mm)
    steps = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach_kji), indexing="ij"), axis=-1)
    offsets = steps[..., ::-1] @ geometry.index_to_lps_matrix[:3, :3].T
    ball = (offsets**2).sum(axis=-1) <= radius_mm**2
    result = np.zeros(on_path.shape, np.bool_)
    for offset in np.argwhere(ball) - reach_kji:
        into = tuple(slice(max(0, o), n + min(0, o)) for o, n in zip(offset, on_path.shape, strict=True))
        out_of = tuple(slice(max(0, -o), n - max(0, o)) for o, n in zip(offset, on_path.shape, strict=True))
        result[into] |= on_path[out_of]
    return result
