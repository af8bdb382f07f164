"""Small, fast test phantoms: balls of known volume on an oblique grid, and the letter F for orientation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medviewer.core.geometry import Geometry, Ijk, Points, Vec3, vec3
from medviewer.core.volume import Volume
from medviewer.phantoms.model import Floats, Nodule, Phantom, rotation

#: A grid that hides no mistake: three different sizes, three different spacings, turned about every axis.
OBLIQUE_SIZE: Ijk = (60, 52, 40)
OBLIQUE_SPACING: Vec3 = (0.9, 1.1, 1.7)
OBLIQUE_DEGREES: Vec3 = (17.0, -11.0, 23.0)
#: Balls as (centre LPS mm, diameter mm), inside the default grid and apart from each other.
SPHERES: tuple[tuple[Vec3, float], ...] = (
    ((-9.0, -6.0, 8.0), 18.0),
    ((11.0, 8.0, -9.0), 12.0),
    ((9.0, -11.0, 10.0), 8.0),
)


def oblique_geometry(
    size: Ijk = OBLIQUE_SIZE,
    spacing: Vec3 = OBLIQUE_SPACING,
    degrees: Vec3 = OBLIQUE_DEGREES,
    center: Vec3 = (0.0, 0.0, 0.0),
) -> Geometry:
    """Return a grid turned about the x, then y, then z axis, with its middle at `center` (LPS mm)."""
    matrix = rotation(degrees)
    half = (np.asarray(size) - 1) / 2 * np.asarray(spacing)
    return Geometry(size, spacing, vec3(np.asarray(center) - matrix @ half), tuple(matrix.ravel()))


def spheres_volume(
    geometry: Geometry | None = None,
    spheres: Sequence[tuple[Vec3, float]] = SPHERES,
    *,
    inside: float = 60.0,
    outside: float = -850.0,
    noise: float = 0.0,
    seed: int = 0,
) -> Phantom:
    """Make balls of known place and volume, with partial volume at their edges.

    Parameters
    ----------
    geometry : Geometry, optional
        Any grid; oblique and anisotropic by default.
    spheres : sequence of (centre, diameter)
        LPS mm and mm.
    inside, outside : float
        HU.
    noise : float
        Standard deviation in HU of white noise.

    Returns
    -------
    Phantom
        CT in HU (int16); label ``n`` is ball ``n`` (voxels whose centre lies inside), listed as `Phantom.nodules`.
    """
    grid = geometry or oblique_geometry()
    centers = _centers(grid)
    fraction = np.zeros(grid.shape, dtype=np.float32)
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for value, (center, diameter) in enumerate(spheres, 1):
        distance = np.linalg.norm(centers - np.asarray(center), axis=-1) - diameter / 2
        np.maximum(fraction, _ball_fraction(grid, centers, distance, (center, diameter)), out=fraction)
        labels[distance <= 0] = value
    hu = outside + (inside - outside) * fraction
    if noise > 0:
        hu += np.random.default_rng([seed, 60]).normal(scale=noise, size=grid.shape)
    volume = Volume(
        np.clip(np.rint(hu), -1024, 3071).astype(np.int16), grid, name="Spheres", modality="CT", unit="HU",
        window=(-200.0, 1600.0), patient_name="Demo^Spheres", patient_id="DEMO-SPHERES",
    )  # fmt: skip
    names = {n: f"sphere_{n}" for n in range(1, len(spheres) + 1)}
    balls = tuple(Nodule(f"N{n}", vec3(c), float(d), "solid") for n, (c, d) in enumerate(spheres, 1))
    return Phantom(volume, labels, names, balls)


def letter_f(size: Ijk = (24, 20, 16), spacing: Vec3 = (1.0, 1.2, 2.0)) -> Phantom:
    """Make a solid letter F that shows every flip: no symmetry along any axis.

    Seen from the feet as axial slices are (patient's left at the right, back below), the F reads as written; it lies
    in the lower (inferior) half of the volume, and a small dot marks the patient's left, posterior, superior corner.

    Returns
    -------
    Phantom
        CT in HU (int16) on an axis-aligned grid around LPS (0, 0, 0); labels 1 ``letter_f`` and 2 ``dot``.

    Raises
    ------
    ValueError
        If an axis has fewer than 12 voxels.
    """
    if min(size) < 12:
        raise ValueError(f"size must be at least 12, got {size}")
    ni, nj, nk = size
    labels = np.zeros((nk, nj, ni), dtype=np.uint8)
    left, right, top, bottom = ni // 6, ni // 6 + ni // 2, nj // 8, nj - nj // 8
    thick_i, thick_j, half = max(ni // 8, 2), max(nj // 8, 2), nk // 2
    depth = slice(nk // 8, half)
    labels[depth, top:bottom, left : left + thick_i] = 1
    labels[depth, top : top + thick_j, left:right] = 1
    middle = top + (bottom - top) * 2 // 5
    labels[depth, middle : middle + thick_j, left : left + (right - left) * 2 // 3] = 1
    labels[nk - 3 : nk - 1, nj - 3 : nj - 1, ni - 3 : ni - 1] = 2
    hu = np.where(labels == 1, 500, np.where(labels == 2, 1000, -1000)).astype(np.int16)
    origin = vec3(-(n - 1) / 2 * s for n, s in zip(size, spacing, strict=True))
    volume = Volume(
        hu, Geometry(size, spacing, origin), name="Letter F", modality="CT", unit="HU", window=(0.0, 2000.0),
        patient_name="Demo^Letter", patient_id="DEMO-LETTER",
    )  # fmt: skip
    return Phantom(volume, labels, {1: "letter_f", 2: "dot"})


def _centers(grid: Geometry) -> Points:
    """Return LPS mm (k, j, i, 3) of the voxel centres."""
    k, j, i = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in grid.shape), indexing="ij")
    return grid.index_to_lps(np.stack([i, j, k], axis=-1))


def _ball_fraction(grid: Geometry, centers: Points, distance: Points, ball: tuple[Vec3, float]) -> Floats:
    """Return how much of each voxel lies in a ball; voxels at its surface are sampled at 125 points."""
    steps = grid.index_to_lps_matrix[:3, :3]
    reach = float(np.abs(steps).sum(axis=1).max()) * 0.9
    fraction = (distance <= 0).astype(np.float32)
    edge = np.abs(distance) < reach
    offsets = (np.stack(np.meshgrid(*[np.arange(5)] * 3), axis=-1).reshape(-1, 1, 3) / 5 - 0.4) @ steps.T
    points = centers[edge][None] + offsets - np.asarray(ball[0])
    fraction[edge] = ((points**2).sum(axis=-1) <= (ball[1] / 2) ** 2).mean(axis=0)
    return fraction
