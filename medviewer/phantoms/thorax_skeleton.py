"""The bones of the thorax phantom: ribs with their cartilage, spine, sternum, shoulder girdle."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from medviewer.core.geometry import Points
from medviewer.phantoms.fields import Slab, Tubes, smooth_chain
from medviewer.phantoms.model import Floats
from medviewer.phantoms.thorax_shape import cavity_radius, spine_y

#: Heights of the vertebral bodies T1..T12, L1, L2 and one above and below, mm.
LEVELS = np.array(
    [161.0, 143.0, 124, 104.5, 84.5, 64, 43, 21.5, -0.5, -23, -46.5, -71, -96.5, -123.5, -152, -181]
)  # fmt: skip
_FIRST_RIB = 1  # index of T1 in LEVELS
# Per rib 1..12: z at the front end of the bone, angle there, z where its cartilage meets the sternum (nan: none).
_RIB_FRONT = [
    (112, 2.45, 98), (88, 2.55, 80), (64, 2.60, 60), (40, 2.62, 42), (14, 2.60, 25), (-12, 2.54, 10), (-38, 2.44, -4),
    (-62, 2.30, np.nan), (-86, 2.12, np.nan), (-107, 1.90, np.nan), (-122, 1.55, np.nan), (-128, 1.0, np.nan),
]  # fmt: skip
_RIB_OUT = 6.0  # distance of the middle of a rib from the inner surface of the cage
_MIRROR = np.array([-1.0, 1.0, 1.0, 1.0])


def _both(chain: Points, step_mm: float = 5.0) -> list[Tubes]:
    smooth = smooth_chain(chain, step_mm)
    return [Tubes.chain(smooth), Tubes.chain(smooth * _MIRROR)]


def _on_cage(angle: Points, z: Points, out: float, cap_z: float = 200.0) -> Points:
    radius, axis = cavity_radius(angle, np.minimum(z, cap_z))
    return np.stack([np.sin(angle) * (radius + out), axis + np.cos(angle) * (radius + out), z], axis=-1)


def _rib(number: int) -> tuple[Points, Points | None]:
    head = LEVELS[_FIRST_RIB + number] + 7
    front, end_angle, sternum_z = _RIB_FRONT[number]
    t = np.linspace(0, 1, 26)
    angle = 0.47 + (end_angle - 0.47) * t
    z = head - 4 + (front - head + 4) * (0.75 * t**1.15 + 0.25 * t**2.4)
    curve = _on_cage(angle, z, _RIB_OUT)
    center = float(spine_y(head))
    neck = np.array([(15.0, center + 8, head), (26.0, center + 22, head + 1)])
    thick = np.interp(np.linspace(0, 1, 28), (0, 0.15, 0.6, 1), (3.2, 3.8, 3.6, 4.4))
    bone = np.column_stack([np.vstack([neck, curve]), thick])
    cartilage = None
    if np.isfinite(sternum_z):
        u = np.linspace(0, 1, 7)
        height = front + (sternum_z - front) * u + (-6 if number > 3 else -1) * np.sin(np.pi * u)
        path = _on_cage(end_angle + (2.96 - end_angle) * u, height, _RIB_OUT)
        cartilage = np.column_stack([path, np.full(7, 4.6)])
    return bone, cartilage


@dataclass(frozen=True)
class Skeleton:
    """Distances to bone, cartilage, disks and canal."""

    @cached_property
    def _ribs(self) -> tuple[Tubes, Tubes]:
        bones, cartilages, ends = [], [], []
        for number in range(12):
            bone, cartilage = _rib(number)
            bones += _both(bone)
            ends.append(bone[-1])
            if cartilage is not None:
                cartilages += _both(cartilage)
        # The false ribs 8 to 10 hang on the cartilage above them: the costal margin.
        for number in (7, 8, 9):
            above = ends[number - 1]
            middle = (ends[number] + above) / 2 + np.array([-4, -3, -4, 0])
            cartilages += _both(np.array([ends[number], middle, above]))
        return Tubes.join(bones), Tubes.join(cartilages)

    @cached_property
    def _shoulders(self) -> Tubes:
        parts = _both(np.array(
            [(15, -50, 103, 7), (40, -60, 110, 6), (72, -52, 120, 5.5), (104, -28, 132, 5.5), (136, -2, 146, 6)]
        ))  # fmt: skip
        rows = np.arange(2.0, 136.0, 3.0)
        medial = np.interp(rows, (0, 20, 90, 136), (0.86, 0.80, 0.80, 0.92))
        lateral = np.interp(rows, (0, 15, 110, 136), (0.98, 1.08, 1.36, 1.30))
        for z, low, high in zip(rows, medial, lateral, strict=True):
            line = _on_cage(np.linspace(low, high, 8), np.full(8, z), 17.0, cap_z=68.0)
            parts += _both(np.column_stack([line, np.linspace(2.2, 3.2, 8)]), 8.0)
        border = _on_cage(lateral, rows, 17.5, cap_z=68.0)[::4]
        parts += _both(np.column_stack([border, np.interp(border[:, 2], (0, 136), (3, 5.5))]))
        glenoid = border[-1]
        parts += _both(np.array([(*border[-1], 6), (glenoid[0] + 5, 22, 136, 9), (glenoid[0] + 8, 16, 140, 9)]))
        blade = _on_cage(np.array([0.86, 1.0, 1.14]), np.array([96.0, 108, 122]), 24.0, cap_z=68.0)
        parts += _both(np.vstack([np.column_stack([blade, [3, 3.5, 4]]), [(132, 58, 140, 4.5), (150, 40, 154, 5)]]))
        parts += _both(np.array([(144, 12, 146, 21), (148, 9, 154, 20), (152, 6, 176, 14)]), 40.0)
        return Tubes.join(parts)

    @cached_property
    def _arches(self) -> Tubes:
        parts = []
        for z in LEVELS:
            c = float(spine_y(z))
            parts += _both(np.array([(9, c + 9, z + 4, 4.2), (13, c + 22, z + 3, 4.4)]))
            parts += _both(np.array([(12.5, c + 23, z + 2, 3.6), (1, c + 34, z - 4, 3.8)]))
            parts += _both(np.array([(13, c + 24, z - 11, 3.6), (13, c + 22, z + 11, 3.6)]))
            parts += _both(np.array([(13, c + 24, z + 3, 4.4), (31, c + 33, z + 7, 4.2)]))
            parts.append(
                Tubes.chain(smooth_chain([(0, c + 33, z - 4, 3.6), (0, c + 42, z - 11, 2.9), (0, c + 49, z - 18, 3.4)]))
            )
        return Tubes.join(parts)

    @cached_property
    def ribs(self) -> Tubes:
        """The ribs' middle lines; tall in section, see `bones`."""
        return self._ribs[0]

    def cartilage(self, slab: Slab) -> Floats:
        """Return the distance to the costal cartilages."""
        return self._ribs[1].distance(slab, 6.0, flatten=0.75)

    def _sternum(self, slab: Slab, field: Floats) -> None:
        found = slab.box((-40, -130, -40), (40, 0, 120))
        if found is None:
            return
        box, part = found
        gx, gy, gz = part.grid
        z = np.linspace(-40, 120, 81)
        front = _on_cage(np.full(81, np.pi), z, 7.0)[:, 1]
        middle = np.interp(part.z, z, front).astype(np.float32)[:, None, None]
        width = np.interp(
            part.z, (-36, -30, -22, -14, 10, 50, 76, 82, 90, 104, 110), (1, 5, 6, 15, 18, 14, 13, 16, 24, 27, 22)
        )
        half = width.astype(np.float32)[:, None, None]
        ends = np.maximum(gz - 106, -32 - gz)
        seam = 1.5 - np.abs(gz - 80)  # the manubrium is joined to the body by cartilage
        plate = np.maximum(np.abs(gx) - (half - 4), np.abs(gy - middle - gx * gx * np.float32(0.006)) - 1.5)
        d = np.maximum(np.maximum(plate - 4, ends), seam)
        np.minimum(field[box], d, out=field[box])

    def _bodies(self, slab: Slab, bone: Floats) -> Floats:
        """Draw the vertebral bodies into `bone`; return the distance to the whole column (bodies and disks)."""
        disk = slab.full(8.0)
        found = slab.box((-34, 0, -400), (34, 110, 400))
        if found is None:
            return disk
        box, part = found
        gx, gy, _ = part.grid
        center = spine_y(part.z)
        level = np.argmin(np.abs(part.z[:, None] - LEVELS[None, :]), axis=1)
        pitch = np.abs(np.gradient(LEVELS))[level]
        rel = (part.z - LEVELS[level]) / (0.40 * pitch)
        waist = 1 - 0.09 * (1 - np.clip(rel, -1, 1) ** 2)
        rx = np.interp(part.z, (-160, 160), (21.0, 14.5)) * waist
        ry = np.interp(part.z, (-160, 160), (15.5, 11.0)) * waist
        rx, ry, cy, rel, half = (
            v.astype(np.float32)[:, None, None] for v in (rx, ry, center, rel, 0.40 * pitch)
        )  # fmt: skip
        level_set = np.sqrt((gx / rx) ** 2 + ((gy - cy) / ry) ** 2)
        notch = np.sqrt(gx**2 + (gy - cy - ry - 5) ** 2) - np.float32(7.5)
        column = np.maximum((level_set - 1) * np.minimum(rx, ry), -notch)
        ends = np.abs(rel) * half - half * (np.float32(0.9) + np.float32(0.1) * np.minimum(level_set, 1) ** 2)
        np.minimum(bone[box], np.maximum(column, ends), out=bone[box])
        disk[box] = column
        return disk

    def canal(self, slab: Slab) -> Floats:
        """Return the distance to the spinal canal."""
        gx, gy, _ = slab.grid
        ry = np.interp(slab.z, (-160, 160), (15.5, 11.0))
        center = (spine_y(slab.z) + ry + 7.0).astype(np.float32)[:, None, None]
        return np.sqrt((gx * np.float32(0.9)) ** 2 + (gy - center) ** 2) - np.float32(7.6)

    def bones(self, slab: Slab) -> tuple[Floats, Floats, Floats]:
        """Return the distances to bone, to the spinal column with its disks, and to the canal."""
        bone = self.ribs.distance(slab, 8.0, flatten=0.62)
        np.minimum(bone, self._shoulders.distance(slab, 8.0), out=bone)
        np.minimum(bone, self._arches.distance(slab, 8.0, flatten=0.85), out=bone)
        self._sternum(slab, bone)
        column = self._bodies(slab, bone)
        canal = self.canal(slab)
        return np.maximum(bone, -canal), np.maximum(column, -canal), canal
