"""Bronchi, pulmonary arteries and veins: trees that reach every part of each lobe.

References
----------
Cuntz H et al. One rule to grow them all. PLoS Comput Biol 2010;6:e1000877 (trees that balance length and path).
Murray CD. The physiological principle of minimum work. PNAS 1926;12:207-14 (radii at a division).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Points
from medviewer.phantoms.fields import Slab, Tubes
from medviewer.phantoms.model import Floats
from medviewer.phantoms.thorax_shape import EXTENT_MM, LOBAR_BRONCHI, PULMONARY_ARTERIES, VEINS, Chest

_MURRAY = 2.3
_BALANCE = 0.42  # 0: shortest tree; 1: every point as straight from the root as can be
_RELAX = 3
_TIP_MM = 0.5
_VEIN_OF = {"RUL": VEINS[5], "RML": VEINS[5], "RLL": VEINS[6], "LUL": VEINS[3], "LLL": VEINS[4]}
_ARTERY_OF = {name: PULMONARY_ARTERIES[1 if name[0] == "R" else 0][-1] for name in LOBAR_BRONCHI}


@dataclass(frozen=True)
class LungTree:
    """Everything that branches inside the lungs.

    Attributes
    ----------
    arteries, veins : Tubes
        Blood, outer surface.
    airways : Tubes
        Lumen of the bronchi that are wide enough to be seen, without trachea and main bronchi.
    """

    arteries: Tubes
    veins: Tubes
    airways: Tubes


@dataclass
class _Growth:
    start: Points
    end: Points
    parent: npt.NDArray[np.int64]
    leaves: npt.NDArray[np.int64]


def oblique_fissure(slab: Slab) -> Floats:
    """Return the signed distance to the oblique fissures; positive above."""
    gx, gy, gz = slab.grid
    height = 10 + 0.92 * gy + 7 * np.sin(gy / 34) + 9 * np.cos((np.abs(gx) - 70) / 40) - 6
    return np.asarray((gz - height) * np.float32(0.74), dtype=np.float32)


def horizontal_fissure(slab: Slab) -> Floats:
    """Return the signed distance to the horizontal fissure of the right lung; positive above."""
    gx, gy, gz = slab.grid
    return np.asarray(gz - (27 - 0.0022 * (gx + 60) ** 2 + 0.10 * gy + 4 * np.sin(gy / 23)), dtype=np.float32)


def lobe_masks(slab: Slab, lungs: Floats) -> dict[str, npt.NDArray[np.bool_]]:
    """Return the five lobes (k, j, i) inside ``lungs < 0``."""
    upper, above = oblique_fissure(slab) > 0, horizontal_fissure(slab) > 0
    right, inside = slab.grid[0] < 0, lungs < 0
    return {
        "RUL": inside & right & upper & above,
        "RML": inside & right & upper & ~above,
        "RLL": inside & right & ~upper,
        "LUL": inside & ~right & upper,
        "LLL": inside & ~right & ~upper,
    }


def coarse_lungs(chest: Chest, step_mm: float = 4.0) -> tuple[Slab, Floats]:
    """Return a coarse slab of the whole field of view and the distance to the lungs on it."""
    x, y, z = (np.arange(step_mm / 2 - e / 2, e / 2, step_mm, dtype=np.float32) for e in EXTENT_MM)
    slab = Slab(x, y, z)
    return slab, lung_distance(chest, slab)


def lung_distance(chest: Chest, slab: Slab) -> Floats:
    """Return the distance to the lungs on any slab."""
    bumps = chest.bumps(slab)
    return chest.lungs(slab, chest.cavity(slab, bumps), chest.mediastinum(slab, chest.heart(slab), bumps))


def grow_tree(chest: Chest, coarse: tuple[Slab, Floats], points: int = 3600) -> LungTree:
    """Grow the trees of one patient.

    Parameters
    ----------
    coarse : (Slab, float32)
        See `coarse_lungs`.
    points : int
        Nodes of the arterial tree in both lungs together; the venous tree has three quarters of that.
    """
    slab, lungs = coarse
    masks = lobe_masks(slab, lungs + np.float32(2.5))
    total = sum(int(m.sum()) for m in masks.values())
    rng = np.random.default_rng([chest.seed, 10])
    arteries, veins, airways = [], [], []
    for name, mask in masks.items():
        share = mask.sum() / max(total, 1)
        bronchus = np.asarray(LOBAR_BRONCHI[name], dtype=np.float64)
        airways.append(Tubes.chain(bronchus))
        supplied = _sample(slab, mask, max(int(points * share), 8), rng)
        growth = _grow(supplied, bronchus[-1, :3])
        artery, airway = _bundle(growth, np.asarray(_ARTERY_OF[name], dtype=np.float64), rng)
        arteries.append(artery)
        airways.append(airway)
        gate = np.asarray(_VEIN_OF[name], dtype=np.float64)
        drained = _sample(slab, mask, max(int(points * share * 0.75), 8), rng)
        growth = _grow(drained, gate[-1, :3])
        radii = np.minimum(_TIP_MM * growth.leaves ** (1 / _MURRAY), 4.8)
        veins.append(_vessels(growth.start, growth.end, radii, rng))
    return LungTree(Tubes.join(arteries), Tubes.join(veins), Tubes.join(airways))


def _sample(slab: Slab, mask: npt.NDArray[np.bool_], count: int, rng: np.random.Generator) -> Points:
    k, j, i = (v.astype(np.int64) for v in np.nonzero(mask))
    chosen = rng.choice(len(k), size=min(count, len(k)), replace=False)
    points = np.stack([slab.x[i[chosen]], slab.y[j[chosen]], slab.z[k[chosen]]], axis=-1).astype(np.float64)
    return np.asarray(points + rng.uniform(-1.9, 1.9, points.shape), dtype=np.float64)


def _grow(points: Points, root: Points) -> _Growth:
    """Join points to a tree, always by the cheapest way: length of the new piece plus part of the way to the root."""
    count = len(points)
    position = np.vstack([root, points])
    parent = np.zeros(count + 1, dtype=np.int64)
    path = np.zeros(count + 1)
    joined = [0]
    best = np.linalg.norm(points - root, axis=1)
    via = np.zeros(count, dtype=np.int64)
    for _ in range(count):
        n = int(np.argmin(best))
        parent[n + 1] = via[n]
        path[n + 1] = path[via[n]] + np.linalg.norm(points[n] - position[via[n]])
        joined.append(n + 1)
        best[n] = np.inf
        cost = np.linalg.norm(points - points[n], axis=1) + _BALANCE * path[n + 1]
        better = (cost < best) & np.isfinite(best)
        best[better], via[better] = cost[better], n + 1
    return _finish(position, parent, joined)


def _finish(position: Points, parent: npt.NDArray[np.int64], joined: list[int]) -> _Growth:
    children = np.bincount(parent[joined[1:]], minlength=len(position))
    leaves = (children == 0).astype(np.int64)
    for n in reversed(joined[1:]):
        leaves[parent[n]] += leaves[n]
    # The widest child carries a vessel on; nodes move towards the line through it, so that stems run straight.
    heir = np.zeros(len(position), dtype=np.int64)
    for n in joined[1:]:
        if leaves[n] > leaves[heir[parent[n]]] or heir[parent[n]] == 0:
            heir[parent[n]] = n
    inner = np.array([n for n in joined[1:] if heir[n] > 0], dtype=np.int64)
    for _ in range(_RELAX):
        position[inner] += 0.5 * ((position[parent[inner]] + position[heir[inner]]) / 2 - position[inner])
    order = np.array(joined[1:], dtype=np.int64)
    place = np.full(len(position), -1, dtype=np.int64)
    place[order] = np.arange(len(order))
    return _Growth(position[parent[order]], position[order], place[parent[order]], leaves[order])


def _bundle(growth: _Growth, gate: Points, rng: np.random.Generator) -> tuple[Tubes, Tubes]:
    """Return the artery beside each bronchus, and the bronchi that can be seen."""
    artery = np.minimum(_TIP_MM * growth.leaves ** (1 / _MURRAY), 6.0)
    lumen = 0.72 * artery
    way = growth.end - growth.start
    way = way / np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-9)
    beside = np.cross(way, rng.normal(size=3))
    beside /= np.maximum(np.linalg.norm(beside, axis=1, keepdims=True), 1e-9)
    shift = beside * (artery + lumen + 0.6)[:, None]
    first = growth.parent < 0
    start = growth.start + np.where(first[:, None], 0.0, shift[growth.parent])
    start[first] = gate[:3]
    vessels = _vessels(start, growth.end + shift, artery, rng)
    seen = lumen > 0.95
    return vessels, Tubes(growth.start[seen], growth.end[seen], lumen[seen], 0.94 * lumen[seen])


def _vessels(start: Points, end: Points, radii: Points, rng: np.random.Generator) -> Tubes:
    varied = radii * rng.uniform(0.92, 1.08, radii.shape)
    return Tubes(start, end, varied, 0.92 * varied)
