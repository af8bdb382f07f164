"""Distance fields, smooth noise and tubes on an axis-aligned slab: what the phantoms are drawn with.

Distances are in mm, negative inside. A slab is a few slices, so that a large phantom needs little memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Geometry, Points, Vec3
from medviewer.phantoms.model import Floats

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Slab:
    """Voxel centres of a block of an axis-aligned grid; `x`, `y`, `z` are float32 LPS mm."""

    x: Floats
    y: Floats
    z: Floats

    @classmethod
    def of(cls, geometry: Geometry, start: int = 0, stop: int | None = None) -> Slab:
        """Return slices ``start:stop`` of a grid with identity direction."""
        stop = geometry.size[2] if stop is None else stop
        counts = (range(geometry.size[0]), range(geometry.size[1]), range(start, stop))
        x, y, z = (
            (np.asarray(n) * s + o).astype(np.float32)
            for n, s, o in zip(counts, geometry.spacing, geometry.origin, strict=True)
        )
        return cls(x, y, z)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Array shape (k, j, i)."""
        return (len(self.z), len(self.y), len(self.x))

    @cached_property
    def grid(self) -> tuple[Floats, Floats, Floats]:
        """x, y, z that broadcast to `shape`."""
        return self.x[None, None, :], self.y[None, :, None], self.z[:, None, None]

    def full(self, value: float) -> Floats:
        """Return a float32 array of the slab's shape."""
        return np.full(self.shape, value, dtype=np.float32)

    def box(self, lower: Sequence[float], upper: Sequence[float]) -> tuple[Box, Slab] | None:
        """Return the index box of the voxels between two LPS corners and its slab, or None if empty."""
        cuts = []
        for values, a, b in zip((self.z, self.y, self.x), lower[::-1], upper[::-1], strict=True):
            start, stop = int(np.searchsorted(values, a)), int(np.searchsorted(values, b, side="right"))
            if stop <= start:
                return None
            cuts.append(slice(start, stop))
        k, j, i = cuts
        return (k, j, i), Slab(self.x[i], self.y[j], self.z[k])

    def ball(self, center: Vec3, reach: Vec3 | float) -> tuple[Box, Slab] | None:
        """Return `box` of everything within `reach` mm of a centre along each axis."""
        c, r = np.asarray(center), np.asarray(reach)
        return self.box(tuple(c - r), tuple(c + r))


def coverage(distance: Floats, width: float) -> Floats:
    """Return how much of a voxel of `width` mm lies inside: 1 inside, 0 outside, a ramp across the edge."""
    return np.asarray(np.clip(0.5 - distance * np.float32(1 / width), 0, 1), dtype=np.float32)


def blend(target: Floats, value: float | Floats, alpha: Floats) -> None:
    """Mix `value` into `target` in place."""
    target += alpha * (value - target)


def smooth_min(a: Floats, b: Floats, k: float) -> Floats:
    """Return the minimum with a rounded seam about `k` mm wide (polynomial smooth minimum)."""
    h = np.maximum(np.float32(k) - np.abs(a - b), 0)
    return np.asarray(np.minimum(a, b) - h * h * np.float32(0.25 / k), dtype=np.float32)


def smooth_max(a: Floats, b: Floats, k: float) -> Floats:
    """Return the maximum with a rounded seam about `k` mm wide."""
    return -smooth_min(-a, -b, k)


def ellipsoid(slab: Slab, center: Vec3, semi: Vec3, axes: Points | None = None) -> Floats:
    """Return the approximate distance to an ellipsoid.

    Parameters
    ----------
    semi : (float, float, float)
        Semi-axes in mm.
    axes : shape (3, 3), optional
        Rows are the unit vectors of the semi-axes; LPS axes by default.
    """
    p, q, r = (g - np.float32(c) for g, c in zip(slab.grid, center, strict=True))
    if axes is not None:
        p, q, r = (p * np.float32(a) + q * np.float32(b) + r * np.float32(c) for a, b, c in axes)
    a, b, c = (np.float32(s) for s in semi)
    near = np.sqrt((p / a) ** 2 + (q / b) ** 2 + (r / c) ** 2)
    far = (p / a**2) ** 2 + (q / b**2) ** 2 + (r / c**2) ** 2
    return np.asarray(near * (near - 1) / np.sqrt(far + np.float32(1e-12)), dtype=np.float32)


class SmoothNoise:
    """Band-limited random field of mean 0 and standard deviation 1: cubic B-splines on a periodic lattice.

    Parameters
    ----------
    seed : sequence of int
        Any number of integers; the same ones give the same field on every grid.
    spacing_mm : float
        Lattice spacing: about half the size of the blobs.
    """

    LATTICE = 72

    def __init__(self, seed: Sequence[int], spacing_mm: float) -> None:
        rng = np.random.default_rng(list(seed))
        self._spacing = spacing_mm
        # 151/315 is the integral of the squared cubic B-spline: one axis' share of the variance.
        scale = (151 / 315) ** -1.5
        self.values = rng.standard_normal((self.LATTICE,) * 3, dtype=np.float32) * np.float32(scale)

    def __call__(self, slab: Slab) -> Floats:
        """Return the field on a slab, shape (k, j, i)."""
        wz, wy, wx = (self._weights(values) for values in (slab.z, slab.y, slab.x))
        part = np.tensordot(wz, self.values, axes=(1, 0))
        part = np.matmul(wy[None], part)
        return np.asarray(np.matmul(part, wx.T), dtype=np.float32)

    def _weights(self, mm: Floats) -> Floats:
        u = mm.astype(np.float64) / self._spacing + 1000 * self.LATTICE
        cell = np.floor(u).astype(np.int64)
        t = u - cell
        taps = ((1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6)
        weights = np.zeros((len(mm), self.LATTICE), dtype=np.float32)
        for n, tap in enumerate(taps):
            weights[np.arange(len(mm)), (cell + n - 1) % self.LATTICE] += tap
        return weights


def smooth_chain(points: npt.ArrayLike, step_mm: float = 6.0) -> Points:
    """Return rows (x, y, z, r) along a smooth curve through the given rows."""
    from scipy.interpolate import CubicSpline

    p = np.asarray(points, dtype=np.float64)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(p[:, :3], axis=0), axis=1))])
    if len(p) < 3:
        return p
    count = max(int(length[-1] / step_mm), len(p))
    return np.asarray(CubicSpline(length, p)(np.linspace(0, length[-1], count + 1)), dtype=np.float64)


@dataclass(frozen=True)
class Tubes:
    """Straight tubes with round ends and a radius that changes along them.

    Attributes
    ----------
    a, b : shape (n, 3)
        Ends, LPS mm.
    ra, rb : shape (n,)
        Radii at the ends, mm.
    """

    a: Points
    b: Points
    ra: Points
    rb: Points

    @classmethod
    def chain(cls, points: npt.ArrayLike) -> Tubes:
        """Return the tubes along rows of (x, y, z, radius)."""
        p = np.asarray(points, dtype=np.float64)
        return cls(p[:-1, :3], p[1:, :3], p[:-1, 3], p[1:, 3])

    @classmethod
    def join(cls, parts: Sequence[Tubes]) -> Tubes:
        """Return all tubes of all parts."""
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("a", "b", "ra", "rb")))

    def __len__(self) -> int:
        return len(self.ra)

    def select(self, keep: npt.NDArray[np.bool_]) -> Tubes:
        """Return some of the tubes."""
        return Tubes(self.a[keep], self.b[keep], self.ra[keep], self.rb[keep])

    def grown(self, mm: float) -> Tubes:
        """Return the tubes with other radii."""
        return Tubes(self.a, self.b, self.ra + mm, self.rb + mm)

    def near(self, slab: Slab, margin: float) -> Tubes:
        """Return the tubes that come within `margin` mm of the slices of a slab."""
        r = np.maximum(self.ra, self.rb) + margin
        low = np.minimum(self.a[:, 2], self.b[:, 2]) - r
        high = np.maximum(self.a[:, 2], self.b[:, 2]) + r
        return self.select((low <= slab.z[-1]) & (high >= slab.z[0]))

    def distances(self, slab: Slab, margin: float, flatten: float = 1.0) -> Iterator[tuple[Box, Floats, float]]:
        """Yield (box, distance to the surface within that box, mean radius) for each tube.

        Parameters
        ----------
        margin : float
            How far from the surface the box reaches, mm.
        flatten : float
            z is multiplied by this before measuring, so that 0.6 makes tubes taller than wide.
        """
        near = self.near(slab, margin / flatten)
        for a, b, ra, rb in zip(near.a, near.b, near.ra, near.rb, strict=True):
            reach = np.array([1, 1, 1 / flatten]) * (max(ra, rb) + margin)
            found = slab.box(tuple(np.minimum(a, b) - reach), tuple(np.maximum(a, b) + reach))
            if found is None:
                continue
            box, part = found
            yield box, _capsule(part, a, b, (float(ra), float(rb)), flatten), float(ra + rb) / 2

    def distance(self, slab: Slab, margin: float, flatten: float = 1.0) -> Floats:
        """Return the distance to the nearest tube, shape (k, j, i), cut off at about `margin` mm."""
        field = slab.full(margin)
        for box, d, _ in self.distances(slab, margin, flatten):
            np.minimum(field[box], d, out=field[box])
        return field

    def thin_coverage(self, slab: Slab, width: float) -> Floats:
        """Return the coverage by tubes that may be thinner than a voxel of `width` mm, shape (k, j, i).

        A thinner tube keeps its cross-section: it is drawn as wide as the voxel and fainter.
        """
        field = slab.full(0.0)
        # Below a seventh of a voxel a tube changes it by less than two percent.
        visible = self.select(np.maximum(self.ra, self.rb) > width / 14)
        for box, d, r in visible.distances(slab, width):
            if 2 * r >= width:
                alpha = coverage(d, width)
            else:
                alpha = coverage(d + np.float32(r - width / 2), width) * np.float32((2 * r / width) ** 2)
            np.maximum(field[box], alpha, out=field[box])
        return field


def _capsule(slab: Slab, a: Points, b: Points, radii: tuple[float, float], flatten: float) -> Floats:
    scale = np.array([1.0, 1.0, flatten])
    axis = ((b - a) * scale).astype(np.float32)
    gx, gy, gz = slab.grid
    px, py, pz = gx - np.float32(a[0]), gy - np.float32(a[1]), (gz - np.float32(a[2])) * np.float32(flatten)
    inverse = np.float32(1 / max(float(axis @ axis), 1e-9))
    t = np.clip((px * axis[0] + py * axis[1] + pz * axis[2]) * inverse, 0, 1)
    squared = (px - t * axis[0]) ** 2 + (py - t * axis[1]) ** 2 + (pz - t * axis[2]) ** 2
    return np.asarray(np.sqrt(squared) - (np.float32(radii[0]) + t * np.float32(radii[1] - radii[0])), dtype=np.float32)
