"""Size, shape and intensities of a mask, in mm on any affine grid.

References
----------
Shape: PyRadiomics 3.1 (van Griethuysen et al., Cancer Res 77(21), 2017) and IBSI (Zwanenburg et al., arXiv 1612.07003):
surface from the triangles of marching cubes at 0.5; maximum diameter between its vertices; elongation and flatness from
the covariance of voxel centres. The triangles are those of scikit-image (Lewiner et al. 2003).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Geometry, Points, Vec3, vec3
from medviewer.core.region import Region
from medviewer.imaging.diameters import largest_distance, plane_diameters, rim_of

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.integer[Any]]

PERCENTILES = (5, 25, 50, 75, 95)
_SLAB_VOXELS = 16_000_000
_BINS = 128


@dataclass(frozen=True, slots=True)
class ShapeStatistics:
    """What is measured of a mask that has a voxel.

    Attributes
    ----------
    voxels : int
    volume_mm3 : float
        Of all voxels.
    surface_mm2 : float
        Of the triangles of marching cubes.
    centroid_lps : (float, float, float)
        Mean of the voxel centres, LPS mm.
    feret_mm : float
        Maximum 3D diameter: the largest distance between two vertices of the surface.
    longest_mm : float
        The largest distance within one slice (RECIST).
    perpendicular_mm : float
        The longest line in that slice at a right angle to it (WHO, with `longest_mm`).
    slice_index : int
        That slice, counted along its axis in the array.
    sphericity : float
        Surface of a ball as large as what the triangles enclose, by their surface; 1 for a ball.
    elongation, flatness : float
        Root of the second, and of the third, principal moment by the first; 1 is round, 0 flat; 1 for one voxel.
    """

    voxels: int
    volume_mm3: float
    surface_mm2: float
    centroid_lps: Vec3
    feret_mm: float
    longest_mm: float
    perpendicular_mm: float
    slice_index: int
    sphericity: float
    elongation: float
    flatness: float

    @property
    def who_mm2(self) -> float:
        """Product of the longest diameter and its perpendicular."""
        return self.longest_mm * self.perpendicular_mm


@dataclass(frozen=True, slots=True, eq=False)
class IntensityStatistics:
    """Values of an image within a mask; those that are no number are left out.

    Attributes
    ----------
    sd : float
        Of the voxels themselves (divided by their number).
    percentiles : tuple of float
        In the order of `PERCENTILES`.
    edges, counts : arrays (n + 1,) and (n,)
        Histogram over all values.
    """

    mean: float
    sd: float
    minimum: float
    maximum: float
    percentiles: tuple[float, ...]
    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]


def label_boxes(labels: Labels, check: Callable[[float], None] = lambda _: None) -> dict[int, Region]:
    """Return the box (k, j, i) of every value but 0, in one pass.

    Parameters
    ----------
    labels : integer, shape (k, j, i)
    check : callable
        Called with 0..1 between slabs; may raise to stop.
    """
    step = max(1, _SLAB_VOXELS // max(1, labels[0].size))
    boxes: dict[int, Region] = {}
    for k in range(0, labels.shape[0], step):
        check(k / labels.shape[0])
        for value, part in _slab_boxes(labels[k : k + step], k):
            boxes[value] = boxes[value].union(part) if value in boxes else part
    return boxes


def _slab_boxes(slab: Labels, k: int) -> Iterator[tuple[int, Region]]:
    """Yield values and their boxes, from the runs of equal values along i: far fewer than voxels."""
    changes = np.empty(slab.shape, np.bool_)
    changes[:, :, 0] = True
    np.not_equal(slab[:, :, 1:], slab[:, :, :-1], out=changes[:, :, 1:])
    starts = np.flatnonzero(changes)
    values = slab.reshape(-1)[starts] if slab.flags.c_contiguous else slab[changes]
    ends = np.append(starts[1:], slab.size) - 1
    order = np.flatnonzero(values)
    order = order[np.argsort(values[order], kind="stable")]
    if not order.size:
        return
    found, first = np.unique(values[order], return_index=True)
    at = np.stack(np.unravel_index(starts[order], slab.shape))
    last = ends[order] % slab.shape[2]
    lower = np.minimum.reduceat(at, first, axis=1)
    upper = np.maximum.reduceat(np.stack([at[0], at[1], last]), first, axis=1) + 1
    for value, (a, b, c), (d, e, f) in zip(found.tolist(), lower.T.tolist(), upper.T.tolist(), strict=True):
        yield value, Region((a + k, b, c), (d + k, e, f))


def axial_axis(geometry: Geometry) -> int:
    """Return the array axis (0 = k) whose slices are nearest to axial."""
    return 2 - int(np.argmax(np.abs(geometry.direction_matrix[2])))


def intensity_statistics(values: npt.NDArray[Any]) -> IntensityStatistics | None:
    """Return statistics of values of any shape; None where there is no number among them."""
    flat = values.ravel()
    if flat.dtype.kind == "f":
        flat = flat[np.isfinite(flat)]
    if flat.size == 0:
        return None
    if flat.dtype.kind in "iu" and flat.dtype.itemsize <= 2:
        levels, counts = _levels(flat)
        mean = float(counts @ levels / flat.size)
        sd = float(np.sqrt(counts @ (levels - mean) ** 2 / flat.size))
        cumulated = np.cumsum(counts)
        at = np.array(PERCENTILES) / 100 * (flat.size - 1)
        below, above = (levels[np.searchsorted(cumulated, p, "right")] for p in (np.floor(at), np.ceil(at)))
        percentiles = below + (at - np.floor(at)) * (above - below)
    else:
        levels, counts = flat, np.broadcast_to(np.int64(1), flat.shape)
        mean, sd = float(flat.mean(dtype=np.float64)), float(flat.std(dtype=np.float64))
        percentiles = np.percentile(flat.astype(np.float64), PERCENTILES)
    low, high = float(levels.min()), float(levels.max())
    edges = _edges(low, high, whole=flat.dtype.kind in "iu")
    histogram, _ = np.histogram(levels, edges, weights=counts)
    return IntensityStatistics(
        mean, sd, low, high, tuple(float(p) for p in percentiles), edges, histogram.astype(np.int64)
    )


def _levels(values: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the distinct values of an array of small whole numbers, in order, and how often each is there."""
    low = int(values.min())
    counts = np.zeros(int(values.max()) - low + 1, np.int64)
    for n in range(0, values.size, _SLAB_VOXELS // 8):
        part = values[n : n + _SLAB_VOXELS // 8].astype(np.int64) - low
        counts += np.bincount(part, minlength=counts.size)
    there = np.flatnonzero(counts)
    return (there + low).astype(np.float64), counts[there]


def _edges(low: float, high: float, *, whole: bool) -> npt.NDArray[np.float64]:
    """Return the edges of the bins; those of whole numbers hold equally many, else a histogram of a CT has gaps."""
    if not whole:
        return np.linspace(low, high, _BINS + 1) if high > low else np.array([low - 0.5, low + 0.5])
    width = np.ceil((high - low + 1) / _BINS)
    edges: npt.NDArray[np.float64] = low - 0.5 + width * np.arange(np.ceil((high - low + 1) / width) + 1)
    return edges


def shape_statistics(mask: Mask, geometry: Geometry, normal: int | None = None) -> ShapeStatistics | None:
    """Measure a mask.

    Parameters
    ----------
    mask : bool, shape (k, j, i)
    geometry : Geometry
        Of `mask`; may be left-handed or sheared.
    normal : int, optional
        Array axis through the slices in which diameters are measured; default `axial_axis`.

    Returns
    -------
    ShapeStatistics or None
        None for an empty mask.
    """
    if geometry.shape != mask.shape:
        raise ValueError(f"mask {mask.shape} does not fit the grid {geometry.shape}")
    axis = axial_axis(geometry) if normal is None else normal
    order = (axis, *(n for n in range(3) if n != axis))
    turned = mask.transpose(order)
    # Millimetres for one step along each axis of `turned`.
    steps = geometry.index_to_lps_matrix[:3, [2 - n for n in order]]
    voxels, mean, covariance = _moments(turned)
    if not voxels:
        return None
    surface, enclosed = _surface(mask, geometry.index_to_lps_matrix[:3, 2::-1])
    rim = rim_of(turned)
    longest, perpendicular, at = plane_diameters(turned, rim, steps[:, 1:])
    spread = np.sort(np.linalg.eigvalsh(steps @ covariance @ steps.T))[::-1].clip(min=0.0)
    ratios = np.sqrt(spread / spread[0]) if spread[0] > 0 else np.ones(3)
    return ShapeStatistics(
        voxels=voxels,
        volume_mm3=voxels * geometry.voxel_volume_mm3,
        surface_mm2=surface,
        centroid_lps=vec3(steps @ mean + geometry.index_to_lps((0, 0, 0))),
        feret_mm=largest_distance(rim, steps),
        longest_mm=longest,
        perpendicular_mm=perpendicular,
        slice_index=at,
        sphericity=float((36 * np.pi * enclosed**2) ** (1 / 3) / surface),
        elongation=float(ratios[1]),
        flatness=float(ratios[2]),
    )


def _moments(mask: Mask) -> tuple[int, Points, Points]:
    """Return the number of voxels, their mean index and the covariance of their indices."""
    # From projections: as many numbers as the box has on its faces, whatever it holds.
    down = np.zeros(mask.shape[1:], np.int64)
    rows, columns = np.zeros((mask.shape[0], mask.shape[1])), np.zeros((mask.shape[0], mask.shape[2]))
    for n, plane in enumerate(mask):
        down += plane
        rows[n] = np.count_nonzero(plane, axis=1)
        columns[n] = np.count_nonzero(plane, axis=0)
    voxels = int(down.sum())
    if not voxels:
        return 0, np.zeros(3), np.zeros((3, 3))
    along = (rows.sum(axis=1), rows.sum(axis=0), columns.sum(axis=0))
    mean = np.array([np.arange(len(a)) @ a / voxels for a in along])
    offsets = [np.arange(len(a)) - m for a, m in zip(along, mean, strict=True)]
    covariance = np.diag([o**2 @ a / voxels for o, a in zip(offsets, along, strict=True)])
    for (a, b), counts in (((0, 1), rows), ((0, 2), columns), ((1, 2), down)):
        covariance[a, b] = covariance[b, a] = offsets[a] @ counts @ offsets[b] / voxels
    return voxels, mean, covariance


@cache
def _cells() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the triangles (n, 3 corners, 3) of marching cubes for all cells of 2 x 2 x 2 voxels, and whose each is.

    A cell is known by its code: bit ``4 a + 2 b + c`` is the voxel (a, b, c). Between 0 and 1 nothing depends on what
    is outside of the cell, so the triangles of a mask are those of its cells.
    """
    from skimage.measure import marching_cubes

    triangles, codes = [], []
    for code in range(1, 255):
        cell = np.array([code >> bit & 1 for bit in range(8)], np.float32).reshape(2, 2, 2)
        points, faces, _, _ = marching_cubes(  # type: ignore[no-untyped-call]  # no types
            cell, 0.5, allow_degenerate=False
        )
        triangles.append(points[faces].astype(np.float64))
        codes.append(np.full(len(faces), code))
    return np.concatenate(triangles), np.concatenate(codes)


def _surface(mask: Mask, steps: Points) -> tuple[float, float]:
    """Return the surface, mm², and the volume that it encloses, mm³."""
    triangles, codes = _cells()
    counts = np.stack([np.bincount(plane.ravel(), minlength=256) for plane in _codes(mask)])
    one, two = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    areas = np.linalg.norm(np.cross(one @ steps.T, two @ steps.T), axis=1) / 2
    surface = float(counts.sum(axis=0)[codes] @ areas)
    # Gauss: the flux of (x, 0, 0) through the triangles, in voxels; x grows from plane to plane.
    facing = np.cross(one, two)[:, 0] / 2
    middle = triangles[:, :, 0].mean(axis=1)
    planes = np.arange(len(counts))
    flux = (planes @ counts)[codes] @ facing + counts.sum(axis=0)[codes] @ (middle * facing)
    return surface, float(abs(flux) * abs(np.linalg.det(steps)))


def _codes(mask: Mask) -> Any:
    """Yield the codes of the cells between each two planes, with the rim of nothing around the mask."""
    shape = (mask.shape[1] + 2, mask.shape[2] + 2)
    padded = np.zeros(shape, np.uint8)
    below = np.zeros((shape[0] - 1, shape[1] - 1), np.uint8)
    for n in range(len(mask) + 1):
        above = np.zeros_like(below)
        if n < len(mask):
            padded[1:-1, 1:-1] = mask[n]
            pairs = padded[:, :-1] | padded[:, 1:] << 1
            above = pairs[:-1] | pairs[1:] << 2
        yield below | above << 4
        below = above
