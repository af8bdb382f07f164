"""Lesions for made heads: bright spots and patches of the white matter, and masses with swelling around them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from medviewer.training.recipes._brain import CODE, Floats, grown, smooth_noise

Mask = npt.NDArray[np.bool_]
LESION, MASS = 1, 2
_WHITE = tuple(CODE[label] for label in (2, 41, 25, 57))
_DEEP = tuple(CODE[label] for label in (7, 46, 10, 49, 12, 51, 16, 28, 60))
_CORTEX = tuple(CODE[label] for label in (3, 42))
_VENTRICLES = tuple(CODE[label] for label in (4, 43, 5, 44, 136, 163, 137, 164))


class Lesions(NamedTuple):
    """What was put into a head.

    Attributes
    ----------
    lesion, mass : float32, shape (k, j, i)
        How much of a voxel is white-matter lesion or swelling, and mass, 0..1.
    core : float32
        How far inside the mass a voxel lies: 0 at its rim, 1 in its middle.
    label : uint8
        `LESION` or `MASS`.
    """

    lesion: Floats
    mass: Floats
    core: Floats
    label: npt.NDArray[np.uint8]


def add_lesions(codes: npt.NDArray[np.uint8], rng: np.random.Generator, masses: float) -> Lesions:
    """Return lesions for a box of a head, all of them inside the brain.

    Parameters
    ----------
    codes : shape (k, j, i), 1 mm
    rng : Generator
    masses : float
        How often there is a mass.
    """
    white = np.isin(codes, _WHITE)
    brain = white | np.isin(codes, _DEEP) | np.isin(codes, _CORTEX)
    field = np.full(codes.shape, -1.0, np.float32)
    if rng.random() < 0.85:
        _spots(field, codes, white, rng)
    if rng.random() < 0.35:
        _around_ventricles(field, codes, white, rng)
    soft = float(rng.uniform(1.5, 6))
    allowed = white | (brain & (rough_noise(rng, codes.shape, 5) > rng.uniform(-1.0, 1.5)))
    lesion = np.clip(field * soft + 0.5, 0, 1) * allowed
    mass = core = np.zeros(codes.shape, np.float32)
    if rng.random() < masses and white.any():
        mass, core, swelling = _mass(brain, white, rng)
        lesion = np.maximum(lesion, swelling) * (1 - mass)
    label = np.where(mass > 0.5, MASS, np.where(lesion > 0.5, LESION, 0)).astype(np.uint8)
    return Lesions(lesion.astype(np.float32), mass, core, label)


def rough_noise(rng: np.random.Generator, shape: tuple[int, ...], step: int) -> Floats:
    """Return noise of deviation about 1 whose grains are `step` voxels wide."""
    noise: Floats = smooth_noise(rng, shape, [max(2, n // step) for n in shape]).numpy()
    return noise


def _spots(field: Floats, codes: npt.NDArray[np.uint8], white: Mask, rng: np.random.Generator) -> None:
    """Raise `field` above 0 inside rounded spots, most of them small, many of them beside the ventricles."""
    near = white & grown(np.isin(codes, _VENTRICLES), int(rng.integers(2, 7)))
    edge = white & grown(np.isin(codes, _CORTEX), 2)
    deep = np.isin(codes, _DEEP)
    places = [np.flatnonzero(mask) for mask in (near, edge, white, deep)]
    odds = np.array([0.4, 0.12, 0.4, 0.08]) * [p.size > 0 for p in places]
    if not odds.sum():
        return
    typical = float(rng.uniform(1.3, 3.5))
    for _ in range(1 + int(rng.exponential(4))):
        some = places[int(rng.choice(4, p=odds / odds.sum()))]
        center = np.array(np.unravel_index(int(rng.choice(some)), codes.shape))
        radii = np.clip(typical * np.exp(rng.normal(0, 0.45)) * np.exp(rng.normal(0, 0.25, 3)), 0.9, 14)
        _spot(field, center, radii, rng)


def _spot(
    field: Floats, center: npt.NDArray[np.intp], radii: npt.NDArray[np.float64], rng: np.random.Generator
) -> None:
    reach = np.ceil(radii * 1.6).astype(int) + 1
    low, high = np.maximum(center - reach, 0), np.minimum(center + reach + 1, field.shape)
    axes = np.ogrid[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    away = sum(((axis - c) / r) ** 2 for axis, c, r in zip(axes, center, radii, strict=True))
    box = field[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    height = (1 - np.sqrt(away)) * min(float(radii.mean()), 3.0)
    if radii.mean() > 2:
        height = height + rough_noise(rng, box.shape, 3) * float(rng.uniform(0, 0.8))
    np.maximum(box, height.astype(np.float32), out=box)


def _around_ventricles(field: Floats, codes: npt.NDArray[np.uint8], white: Mask, rng: np.random.Generator) -> None:
    """Raise `field` above 0 in caps and bands along the ventricles."""
    band = white & grown(np.isin(codes, _VENTRICLES), int(rng.integers(2, 8)))
    height = rough_noise(rng, codes.shape, int(rng.integers(5, 14))) - float(rng.uniform(0.0, 1.5))
    np.maximum(field, np.where(band, height * 1.5, -1.0).astype(np.float32), out=field)


def _mass(brain: Mask, white: Mask, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Return a mass with its core, and the swelling around it."""
    shape = brain.shape
    center = np.array(np.unravel_index(int(rng.choice(np.flatnonzero(white))), shape))
    radius = float(np.exp(rng.uniform(np.log(3), np.log(22))))
    stretch = np.exp(rng.normal(0, 0.2, 3)) * radius
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    away = np.sqrt(sum(((axis - c) / r) ** 2 for axis, c, r in zip(axes, center, stretch, strict=True)))
    bumps = rough_noise(rng, shape, max(3, int(radius / 1.5))) * float(rng.uniform(0.03, 0.2))
    depth = ((1 - away + bumps) * radius).astype(np.float32)
    mass = (np.clip(depth + 0.5, 0, 1) * brain).astype(np.float32)
    core = np.clip(depth / max(1.5, float(rng.uniform(0.2, 0.9)) * radius), 0, 1).astype(np.float32)
    swollen = float(rng.choice([0.0, rng.uniform(2, 18)]))
    swelling = np.clip((depth + swollen + 2 * bumps * radius) / 2, 0, 1) * white * (swollen > 0)
    return mass, core, swelling.astype(np.float32)
