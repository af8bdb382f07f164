"""The large surfaces of the thorax phantom: skin, chest wall, thoracic cavity, mediastinum, diaphragm, lungs.

The patient lies on the back: x to the left, y to the back, z to the head, mm; z = 0 is the middle of the scan.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Points, Vec3
from medviewer.phantoms.fields import Slab, SmoothNoise, Tubes, ellipsoid, smooth_chain, smooth_max, smooth_min
from medviewer.phantoms.model import Floats

#: Field of view of the thorax phantom in mm along x, y, z, whatever the matrix.
EXTENT_MM: Vec3 = (360.0, 360.0, 320.0)
TABLE_Y = 124.0

# z, half width, front, back, exponent of the superellipse
_BODY = np.array(
    [
        (-165, 151, -113, 114, 2.4), (-110, 152, -117, 119, 2.4), (-60, 154, -120, 123, 2.4),
        (-20, 157, -120, 124, 2.4), (20, 161, -115, 124, 2.4), (60, 166, -107, 122, 2.35), (100, 171, -94, 117, 2.25),
        (130, 173, -76, 112, 2.1), (165, 172, -58, 106, 2.0),
    ]
)  # fmt: skip
_CAVITY = np.array(
    [
        (-165, 121, -84, 84, 2.3), (-100, 126, -90, 91, 2.3), (-60, 127, -92, 96, 2.25), (-20, 126, -89, 98, 2.2),
        (20, 122, -81, 97, 2.2), (60, 113, -67, 92, 2.2), (95, 97, -48, 81, 2.15), (120, 80, -34, 68, 2.1),
        (145, 66, -24, 52, 2.0), (165, 62, -20, 48, 2.0),
    ]
)  # fmt: skip
# z, y of the centre of the vertebral bodies
_SPINE = np.array([(-165, 43), (-120, 49), (-80, 55), (-40, 60), (0, 62), (40, 60), (80, 54), (120, 44), (165, 28)])

AORTA = [
    (8, -20, 4, 15.5), (-4, -27, 22, 16.5), (-13, -31, 46, 16.5), (-9, -30, 66, 15.5), (3, -22, 81, 15),
    (16, -5, 89, 14), (26, 14, 86, 13.2), (31, 33, 73, 12.8), (29, 44, 54, 12.3), (27, 46, 20, 12), (24, 43, -20, 11.8),
    (19, 37, -60, 11.4), (12, 25, -100, 11), (6, 17, -140, 10.5), (3, 15, -170, 10),
]  # fmt: skip
PULMONARY_ARTERIES = [
    [(14, -48, 6, 14), (17, -42, 26, 14), (17, -27, 42, 13.5), (30, -6, 48, 11), (45, 9, 40, 9)],
    [(17, -27, 42, 13.5), (0, -8, 39, 11.5), (-22, 3, 34, 10.5), (-44, 8, 26, 9)],
]
VEINS = [
    [(-38, -14, 138, 7), (-31, -20, 116, 7.5), (-28, -23, 98, 8.5), (-30, -20, 60, 9.5), (-29, -17, 18, 10.5),
     (-27, -22, -4, 11)],
    [(40, -18, 132, 6.5), (30, -38, 112, 6.5), (8, -42, 103, 7), (-18, -32, 99, 7.5), (-28, -23, 95, 8.5)],
    [(-25, -8, -34, 13), (-27, 6, -62, 13), (-23, 16, -100, 12.5), (-17, 20, -170, 12)],
    [(14, 10, -4, 9), (32, -2, 4, 7.5), (48, -10, 10, 6)],
    [(14, 16, -10, 9), (32, 20, -14, 7.5), (49, 26, -18, 6)],
    [(-8, 6, 0, 9), (-26, -3, 5, 7.5), (-46, -8, 10, 6)],
    [(-6, 14, -8, 9), (-26, 16, -14, 7.5), (-48, 24, -20, 6)],
]  # fmt: skip
ARCH_BRANCHES = [
    [(2, -24, 84, 6.5), (-8, -18, 105, 6.3), (-17, -10, 126, 5.8), (-30, 2, 142, 5), (-58, 6, 148, 4.5)],
    [(-16, -10, 125, 4.2), (-21, -10, 145, 4), (-22, -8, 170, 4)],
    [(13, -11, 94, 4.5), (15, -8, 120, 4.2), (19, -8, 170, 4)],
    [(24, 6, 92, 5.5), (27, 12, 118, 5.2), (38, 8, 142, 5), (62, 6, 148, 4.5)],
]
TRACHEA = [(1, 3, 170, 9), (0, 7, 130, 9), (-3, 13, 90, 9), (-2, 16, 66, 8.8), (0, 18, 54, 8.2)]
MAIN_BRONCHI = [
    [(0, 18, 56, 7.6), (-15, 20, 42, 7.4), (-29, 21, 30, 7)],
    [(0, 18, 56, 7.2), (18, 20, 43, 6.6), (39, 22, 27, 6.2)],
]
#: Lobe name to the chain from the end of the main bronchus into the lobe.
LOBAR_BRONCHI = {
    "RUL": [(-26, 21, 34, 5.6), (-42, 19, 44, 5), (-54, 17, 52, 4.4)],
    "RML": [(-29, 21, 30, 6.2), (-36, 19, 8, 5.4), (-52, 0, -2, 4), (-62, -12, -6, 3.6)],
    "RLL": [(-36, 19, 8, 5.4), (-45, 29, -10, 5), (-54, 35, -26, 4.6)],
    "LUL": [(39, 22, 27, 5.8), (50, 10, 31, 5), (60, 2, 36, 4.5)],
    "LLL": [(39, 22, 27, 5.6), (45, 31, 6, 5.2), (54, 37, -14, 4.6)],
}
ESOPHAGUS = [
    (3, 22, 170, 7), (3, 25, 130, 7), (8, 30, 95, 7.5), (7, 34, 60, 7.5), (6, 38, 20, 7.5), (7, 38, -20, 8),
    (13, 27, -58, 8), (24, 10, -84, 8.5), (38, 4, -96, 9),
]  # fmt: skip


def profile(table: npt.NDArray[np.float64], z: npt.ArrayLike) -> Points:
    """Interpolate the columns of a table over its first column; shape (len(z), columns - 1)."""
    from scipy.interpolate import PchipInterpolator

    order = np.argsort(table[:, 0])
    curve = PchipInterpolator(table[order, 0], table[order, 1:], extrapolate=True)
    return np.asarray(curve(np.asarray(z, dtype=np.float64)), dtype=np.float64)


def spine_y(z: npt.ArrayLike) -> Points:
    """Return y of the centre of the vertebral bodies at heights `z`."""
    return profile(_SPINE, z)[..., 0]


def cavity_radius(angle: Points, z: Points) -> tuple[Points, Points]:
    """Return (radius, y of the axis) of the thoracic cavity; `angle` is 0 at the back and pi at the front."""
    half, front, back, power = profile(_CAVITY, z).T
    sine, cosine = np.abs(np.sin(angle)), np.abs(np.cos(angle))
    depth = (back - front) / 2
    return ((sine / half) ** power + (cosine / depth) ** power) ** (-1 / power), (back + front) / 2


def _superellipse(slab: Slab, table: npt.NDArray[np.float64]) -> Floats:
    columns = profile(table, slab.z).astype(np.float32)
    half, front, back, power = (c[:, None, None] for c in columns.T)
    gx, gy, _ = slab.grid
    middle, depth = (front + back) / 2, (back - front) / 2
    dy = gy - middle
    level = ((np.abs(gx) / half) ** power + (np.abs(dy) / depth) ** power) ** (1 / power)
    level = np.maximum(level, np.float32(1e-3))
    return np.asarray(np.sqrt(gx**2 + dy**2) * (1 - 1 / level), dtype=np.float32)


@dataclass(frozen=True)
class Chest:
    """One patient: the surfaces, with a little of the seed in their sizes.

    Attributes
    ----------
    seed : int
        Changes dome height, heart size, fat and every irregularity.
    """

    seed: int

    @cached_property
    def vary(self) -> Points:
        """Eight numbers in -1..1 that make this patient."""
        return np.random.default_rng([self.seed, 1]).uniform(-1, 1, 8)

    @cached_property
    def _bumps(self) -> SmoothNoise:
        return SmoothNoise((self.seed, 2), 22.0)

    def bumps(self, slab: Slab) -> Floats:
        """Return the irregularity shared by the soft surfaces, standard deviation 1, shape (k, j, i)."""
        return self._bumps(slab)

    def body(self, slab: Slab, bumps: Floats) -> Floats:
        """Return the distance to the skin, flattened where the patient lies on the table."""
        _, gy, _ = slab.grid
        d = _superellipse(slab, _BODY) + bumps * np.float32(0.9)
        groove = np.float32(5) * np.exp(-((slab.grid[0] / np.float32(16)) ** 2)) * (gy > 60)
        return smooth_max(d + groove, gy - np.float32(TABLE_Y - 5), 14)

    def cavity(self, slab: Slab, bumps: Floats) -> Floats:
        """Return the distance to the inner surface of the rib cage."""
        return _superellipse(slab, _CAVITY) + bumps * np.float32(0.7)

    def diaphragm(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return the height of the diaphragm (j, i) and the cosine of its slope."""
        gx, gy = x[None, :].astype(np.float64), y[:, None].astype(np.float64)
        sink = 52 + 46 / (1 + np.exp(-(gy - 14) / 20))
        domes = []
        for center, width, top in ((-62, 68, -36 + 5 * self.vary[0]), (64, 66, -47 + 5 * self.vary[1])):
            u2 = np.minimum(((gx - center) / width) ** 2 + ((gy + 2) / 96) ** 2, 1.0)
            fall = 0.45 * u2 + 0.55 * (1 - np.sqrt(1 - 0.98 * u2))
            domes.append(top - sink * fall + 1.5 * np.sin(gx / 17 + 3 * self.vary[2]))
        high = np.maximum(*domes)
        h = np.maximum(14 - np.abs(domes[0] - domes[1]), 0)
        height = high + h * h / 56
        slope_y = np.gradient(height, y.astype(np.float64), axis=0) if len(y) > 1 else np.zeros_like(height)
        slope_x = np.gradient(height, x.astype(np.float64), axis=1) if len(x) > 1 else np.zeros_like(height)
        cosine = 1 / np.sqrt(1 + slope_x**2 + slope_y**2)
        return height.astype(np.float32), cosine.astype(np.float32)

    @cached_property
    def heart_axes(self) -> Points:
        """Rows: long axis (to the left, front and down), and two across."""
        long = np.array([0.72, -0.50, -0.48])
        long /= np.linalg.norm(long)
        across = np.cross(long, [0.0, 0.0, 1.0])
        across /= np.linalg.norm(across)
        return np.array([long, across, np.cross(long, across)])

    @cached_property
    def chambers(self) -> dict[str, tuple[Vec3, Vec3, float, bool]]:
        """Name to (centre, semi-axes of the blood pool, wall thickness, along the long axis)."""
        g = 1 + 0.04 * float(self.vary[3])
        return {
            "LV": ((42, -24, -40), (42 * g, 22 * g, 22 * g), 10.0, True),
            "RV": ((8, -50, -34), (36 * g, 25 * g, 33 * g), 4.0, False),
            "RA": ((-26, -24, -24), (23 * g, 26 * g, 31 * g), 3.0, False),
            "LA": ((4, 6, -6), (31 * g, 19 * g, 22 * g), 3.0, False),
        }

    def chamber(self, slab: Slab, name: str) -> Floats:
        """Return the distance to the blood pool of one chamber."""
        center, semi, _, along = self.chambers[name]
        return ellipsoid(slab, center, semi, self.heart_axes if along else None)

    def blood(self, slab: Slab) -> dict[str, Floats]:
        """Return the distances to the four blood pools, with the walls between them left out."""
        pools = {name: self.chamber(slab, name) for name in self.chambers}
        septum = pools["LV"] - np.float32(self.chambers["LV"][2])
        for name in ("RV", "RA", "LA"):
            pools[name] = np.maximum(pools[name], -septum)
        pools["RA"] = np.maximum(pools["RA"], 2 - np.minimum(pools["RV"], pools["LA"]))
        pools["LA"] = np.maximum(pools["LA"], 2 - pools["RV"])
        return pools

    def heart(self, slab: Slab) -> Floats:
        """Return the distance to the outer surface of the heart muscle."""
        d = slab.full(60.0)
        for name, (_, _, wall, _) in self.chambers.items():
            d = smooth_min(d, self.chamber(slab, name) - np.float32(wall), 12)
        return d

    @cached_property
    def great_vessels(self) -> Tubes:
        """Aorta, its branches, pulmonary arteries, large veins: outer surface."""
        chains = [AORTA, *PULMONARY_ARTERIES, *VEINS, *ARCH_BRANCHES]
        return Tubes.join([Tubes.chain(smooth_chain(c)) for c in chains])

    @cached_property
    def trunk(self) -> Tubes:
        """Everything tubular that the mediastinum wraps."""
        airways = [Tubes.chain(c).grown(2.0) for c in (TRACHEA, *MAIN_BRONCHI)]
        return Tubes.join([self.great_vessels, *airways, Tubes.chain(ESOPHAGUS)])

    def mediastinum(self, slab: Slab, heart: Floats, bumps: Floats) -> Floats:
        """Return the distance to the surface of the mediastinum with the spine."""
        gx, gy, gz = slab.grid
        d = smooth_min(heart - np.float32(4), self.trunk.distance(slab, 24.0) - np.float32(3.5), 14)
        center = spine_y(slab.z).astype(np.float32)[:, None, None]
        radius = np.interp(slab.z, (-160, 40, 160), (25, 21, 17)).astype(np.float32)[:, None, None]
        spine = np.sqrt(gx**2 + (gy - center - 2) ** 2) - radius
        back = np.maximum(np.abs(gx) - np.float32(17) - np.float32(0.25) * (gy - center), center + 4 - gy)
        d = smooth_min(d, smooth_min(spine, back, 8), 12)
        # Upper mediastinum: fat and thymus behind the sternum; lower down only a leaf between the lungs.
        upper = np.clip((gz - 40) / 60, 0, 1)
        leaf = np.abs(gx + 3 * np.sin(gz / 31)) - (np.float32(2.2) + upper * np.float32(5))
        neck = np.float32(18) + np.float32(10) * np.clip((gz - 100) / 40, 0, 1) - np.abs(gx)
        d = smooth_min(d, leaf, 9)
        d = np.where(gz > 95, np.minimum(d, np.maximum(-neck, 95 - gz)), d)
        # The pericardial fat pads fill the corners between heart and diaphragm.
        pads = np.minimum(ellipsoid(slab, (58, -58, -64), (26, 20, 18)), ellipsoid(slab, (-34, -56, -62), (18, 18, 16)))
        return smooth_min(d, pads, 10) + bumps * np.float32(0.8)

    def lungs(self, slab: Slab, cavity: Floats, mediastinum: Floats) -> Floats:
        """Return the distance to the surface of the lungs; negative in either lung."""
        gx, gy, gz = slab.grid
        height, cosine = self.diaphragm(slab.x, slab.y)
        above = (height[None] - gz) * cosine[None]
        side = np.abs(gx)
        apex = 141 + 2 * self.vary[4] * np.sign(gx) - 0.018 * (side - 40) ** 2 - 0.016 * (gy - 22) ** 2
        top = (gz - apex.astype(np.float32)) * np.float32(0.75)
        d = smooth_max(cavity + np.float32(1.5), -mediastinum, 7)
        return smooth_max(smooth_max(d, above, 4), top, 16)
