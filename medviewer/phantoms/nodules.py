"""Lung nodules: where they may lie, and their shape."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from medviewer.core.geometry import Points, Vec3, vec3
from medviewer.phantoms.fields import Slab, Tubes
from medviewer.phantoms.model import Floats, Nodule
from medviewer.phantoms.thorax_shape import Chest
from medviewer.phantoms.thorax_tree import LungTree, lung_distance

#: Diameter in mm and kind of the nodules, largest first.
PLAN = (
    (23.0, "solid"), (19.0, "ground-glass"), (16.0, "pleural"), (12.0, "vascular"), (9.5, "solid"), (8.0, "pleural"),
    (6.5, "vascular"), (5.5, "solid"),
)  # fmt: skip
_LOBULATION = 0.045
_HILA: tuple[Vec3, Vec3] = ((-40.0, 14.0, 20.0), (42.0, 14.0, 20.0))


@dataclass(frozen=True)
class NoduleShape:
    """A slightly lobulated ball with the volume of the sphere of its diameter."""

    nodule: Nodule
    seed: int

    @cached_property
    def _waves(self) -> tuple[Points, Points, float]:
        rng = np.random.default_rng([self.seed, 21, int(self.nodule.label[1:])])
        waves, phase = rng.normal(scale=2.6, size=(5, 3)), rng.uniform(0, 2 * np.pi, 5)
        n = np.arange(2000) + 0.5
        polar, turn = np.arccos(1 - n / 1000), np.pi * (1 + 5**0.5) * n
        unit = np.stack([np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)], axis=-1)
        shape = 1 + _LOBULATION * np.sin(unit @ waves.T + phase).sum(axis=1)
        return waves, phase, float(np.mean(shape**3) ** (-1 / 3))

    @property
    def reach(self) -> float:
        """No part is further than this from the centre, mm."""
        return self.nodule.diameter_mm / 2 * (1 + 5 * _LOBULATION) * self._waves[2]

    def distance(self, slab: Slab) -> Floats:
        """Return the distance to the surface."""
        waves, phase, scale = self._waves
        px, py, pz = (g - np.float32(c) for g, c in zip(slab.grid, self.nodule.lps, strict=True))
        r = np.sqrt(px**2 + py**2 + pz**2)
        inverse = 1 / np.maximum(r, np.float32(1e-3))
        shape = np.zeros(slab.shape, dtype=np.float32)
        for (a, b, c), p in zip(waves.astype(np.float32), phase.astype(np.float32), strict=True):
            shape += np.sin((px * a + py * b + pz * c) * inverse + p)
        radius = np.float32(self.nodule.diameter_mm / 2 * scale)
        return np.asarray(r - radius * (1 + np.float32(_LOBULATION) * shape), dtype=np.float32)

    @cached_property
    def spikes(self) -> Tubes | None:
        """Thin strands around a large solid nodule; not part of its truth."""
        if self.nodule.kind != "solid" or self.nodule.diameter_mm < 15:
            return None
        rng = np.random.default_rng([self.seed, 22])
        way = rng.normal(size=(16, 3))
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        radius = self.nodule.diameter_mm / 2
        a = np.asarray(self.nodule.lps) + way * radius * 0.8
        b = a + way * radius * rng.uniform(0.5, 0.95, (16, 1)) + rng.normal(scale=1.0, size=(16, 3))
        return Tubes(a, b, np.full(16, 1.1), np.full(16, 0.25))


def place_nodules(chest: Chest, tree: LungTree, coarse: tuple[Slab, Floats]) -> tuple[NoduleShape, ...]:
    """Place the nodules of `PLAN`: wholly inside a lung, apart from each other and from the hila.

    `coarse` is what `coarse_lungs` returned.
    """
    from scipy.ndimage import distance_transform_edt

    slab, lungs = coarse
    step = float(slab.x[1] - slab.x[0])
    depth = distance_transform_edt(lungs < 0) * step
    rng = np.random.default_rng([chest.seed, 20])
    vessels = Tubes.join([tree.arteries, tree.veins])
    placed: list[NoduleShape] = []
    for number, (diameter, kind) in enumerate(PLAN, 1):
        radius = diameter / 2
        if kind == "vascular":
            candidates = _beside_vessels(vessels, radius, rng)
        else:
            low, high = (radius, radius + step) if kind == "pleural" else (radius * 1.15 + 4, np.inf)
            k, j, i = np.nonzero((depth > low) & (depth < high))
            candidates = np.stack([slab.x[i], slab.y[j], slab.z[k]], axis=-1).astype(np.float64)
            candidates = candidates[rng.permutation(len(candidates))]
        for point in candidates:
            shape = NoduleShape(Nodule(f"N{number}", vec3(np.round(point, 2)), diameter, kind), chest.seed)
            fitted = _fit(chest, shape, placed)
            if fitted is not None:
                placed.append(fitted)
                break
    return tuple(placed)


def _beside_vessels(vessels: Tubes, radius: float, rng: np.random.Generator) -> Points:
    thick = np.flatnonzero((vessels.ra > 1.0) & (vessels.ra < 2.2))
    chosen = rng.permutation(thick)
    away = rng.normal(size=(len(chosen), 3))
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    return np.asarray(vessels.b[chosen] + away * (0.8 * radius), dtype=np.float64)


def _fit(chest: Chest, shape: NoduleShape, placed: list[NoduleShape]) -> NoduleShape | None:
    """Return the nodule, moved to touch the pleura if it is a pleural one, or None where it may not lie."""
    center = np.asarray(shape.nodule.lps)
    if any(np.linalg.norm(center - np.asarray(p.nodule.lps)) < shape.reach + p.reach + 18 for p in placed):
        return None
    if any(np.linalg.norm(center - np.asarray(h)) < shape.reach + 24 for h in _HILA):
        return None
    if len(placed) < 4 and sum(np.sign(p.nodule.lps[0]) == np.sign(center[0]) for p in placed) >= 2:
        return None  # the large ones: two on each side
    clear, toward = _clearance(chest, center, shape.reach + 5)
    if shape.nodule.kind != "pleural":
        return shape if clear > shape.reach + 1.5 else None
    outer = np.abs(toward[0]) > 85 or toward[1] > 70 or toward[1] < -60
    level = abs(toward[2] - center[2]) < 0.6 * clear  # the chest wall, not the diaphragm
    if not outer or not level or not np.isfinite(clear):
        return None
    center = center + (toward - center) / max(clear, 1e-6) * (clear - shape.reach - 0.2)
    moved = NoduleShape(
        Nodule(shape.nodule.label, vec3(np.round(center, 2)), shape.nodule.diameter_mm, shape.nodule.kind), chest.seed
    )
    clear, _ = _clearance(chest, center, shape.reach + 5)
    return moved if shape.reach <= clear < shape.reach + 1.5 else None


def _clearance(chest: Chest, center: Points, reach: float) -> tuple[float, Points]:
    """Return the distance from a point to the nearest voxel of a 1 mm grid outside the lungs, and that voxel."""
    axes = [np.arange(c - reach, c + reach, 1.0, dtype=np.float32) for c in center]
    slab = Slab(*axes)
    k, j, i = np.nonzero(lung_distance(chest, slab) > np.float32(-0.3))
    if len(k) == 0:
        return float("inf"), center
    points = np.stack([slab.x[i], slab.y[j], slab.z[k]], axis=-1).astype(np.float64)
    distance = np.linalg.norm(points - center, axis=1)
    nearest = int(np.argmin(distance))
    return float(distance[nearest]), points[nearest]
