"""Soft tissue of the thorax phantom: chest wall, heart, vessels and the organs under the diaphragm, in HU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medviewer.phantoms.fields import (
    Slab,
    SmoothNoise,
    Tubes,
    blend,
    coverage,
    ellipsoid,
    smooth_chain,
    smooth_max,
    smooth_min,
)
from medviewer.phantoms.model import Floats
from medviewer.phantoms.thorax_shape import (
    AORTA,
    ARCH_BRANCHES,
    ESOPHAGUS,
    PULMONARY_ARTERIES,
    TABLE_Y,
    VEINS,
    Chest,
)

AIR, FAT, MUSCLE, SKIN = -1000.0, -104.0, 56.0, 12.0
MYOCARDIUM, LIVER, SPLEEN, KIDNEY = 98.0, 106.0, 122.0, 165.0
_BLOOD = {"LV": 205.0, "LA": 205.0, "RV": 180.0, "RA": 175.0}


@dataclass(frozen=True)
class Noise:
    """The random fields that the tissues share."""

    coarse: SmoothNoise
    middle: SmoothNoise
    fine: SmoothNoise

    @classmethod
    def of(cls, seed: int) -> Noise:
        """Return the fields of one patient."""
        return cls(SmoothNoise((seed, 30), 16.0), SmoothNoise((seed, 31), 6.5), SmoothNoise((seed, 32), 3.0))


@dataclass(frozen=True)
class Fields:
    """What is known about one slab while it is drawn, shape (k, j, i) each."""

    slab: Slab
    width: float
    body: Floats
    cavity: Floats
    heart: Floats
    coarse: Floats
    middle: Floats


def paint_table(hu: Floats, slab: Slab, width: float) -> None:
    """Draw the mattress and the table top: two thin shells around foam."""
    gx, gy, _ = slab.grid
    top = np.float32(TABLE_Y + 18) - np.float32(22 / 180**2) * gx**2
    depth = np.broadcast_to(gy - top, slab.shape)
    side = np.abs(gx) - np.float32(176)
    mattress = np.maximum(np.maximum(-depth - 22, depth), np.abs(gx) - np.float32(150))
    blend(hu, -955.0, coverage(mattress, width))
    core = np.maximum(np.maximum(-depth, depth - np.float32(16)), side)
    blend(hu, -930.0, coverage(core, width))
    for shell in (1.0, 15.0):
        sheet = np.maximum(np.abs(depth - np.float32(shell)) - np.float32(1.1), side)
        blend(hu, -180.0, coverage(sheet, width) * np.float32(min(1.0, 2.2 / width)))


def paint_chest_wall(hu: Floats, f: Fields) -> None:
    """Draw skin, fat under it, the muscles over the rib cage and the fat between them."""
    gx, gy, gz = f.slab.grid
    blend(hu, FAT + 7 * f.middle, coverage(f.body, f.width))
    blend(hu, SKIN, coverage(np.abs(f.body + np.float32(1.0)) - np.float32(0.9), f.width))
    side = np.abs(gx)
    upper = 1 / (1 + np.exp(-(gz - 22) / 14))
    shoulder = np.clip((gz - 62) / 45, 0, 1)
    chest = np.exp(-(((side - 62) / 38) ** 2)) * (gy < 0) * 13 * upper
    flank = np.exp(-(((gy - 18) / 42) ** 2)) * (3 + 9 * upper)
    back = np.clip((gy - 20) / 40, 0, 1) * (8 + 8 * upper)
    erector = np.exp(-(((side - 26) / 22) ** 2)) * (gy > 40) * 16
    thick = 12.5 + chest + flank + back + erector + shoulder * np.float32(62) + 1.6 * f.coarse
    muscle = np.maximum(f.cavity - thick.astype(np.float32), f.body + (8 + 3 * np.clip(gz / -60, 0, 1)) + 2 * f.coarse)
    # Fat planes: between cage and outer muscles, and irregular ones between the bundles.
    outer = f.cavity - (np.float32(13.5) + f.coarse)
    alpha = coverage(muscle, f.width)
    blend(hu, MUSCLE + 5 * f.middle, alpha)
    plane = np.float32(0.8) - np.abs(outer + 0.6 * f.middle)
    layers = np.abs((f.cavity + 7 * f.coarse - 6) % np.float32(22) - np.float32(11))
    sheet = (np.float32(0.6) + np.float32(0.7) * f.middle) - layers
    fatty = np.maximum(coverage(-plane, f.width), coverage(-sheet, f.width) * (f.cavity > 16))
    bundles = np.float32(0.7) - 7 * np.abs(f.coarse + np.float32(0.9))
    fatty = np.maximum(fatty, coverage(-bundles, f.width) * (f.cavity > 14) * np.float32(0.6))
    for place, semi in (((126, -14, 96), (20, 30, 46)), ((66, -28, 150), (34, 22, 24)), ((96, 6, 128), (22, 18, 20))):
        axilla = np.minimum(ellipsoid(f.slab, place, semi), ellipsoid(f.slab, (-place[0], place[1], place[2]), semi))
        fatty = np.maximum(fatty, coverage(axilla + 6 * f.coarse, f.width + 2))
    blend(hu, FAT + 10 * f.middle, fatty * alpha * np.float32(0.92))


def paint_inside(hu: Floats, f: Fields) -> None:
    """Draw the fat inside the cage, later covered by organs and lungs; a thin muscle layer lines it."""
    blend(hu, FAT + 9 * f.middle, coverage(f.cavity + np.float32(1.5), f.width))


def paint_abdomen(hu: Floats, f: Fields, chest: Chest, fine: Floats) -> None:
    """Draw diaphragm, liver, spleen, stomach with its air bubble, kidneys."""
    _, gy, gz = f.slab.grid
    height, cosine = chest.diaphragm(f.slab.x, f.slab.y)
    if f.slab.z[0] > float(height.max()) + 5:
        return
    below = (gz - height[None]) * cosine[None]
    inside = smooth_max(f.cavity + 3, below + 3, 6)
    blend(hu, MUSCLE, coverage(np.maximum(np.abs(below + 1.6) - 1.6, f.cavity + 1), f.width))
    right = ellipsoid(f.slab, (-62, -8, -104), (88, 90, 82))
    left = ellipsoid(f.slab, (8, -46, -86), (62, 34, 32))
    liver = smooth_max(smooth_min(right, left, 22), inside, 6)
    notch = np.minimum(
        ellipsoid(f.slab, (-10, 40, -120), (30, 46, 70)), ellipsoid(f.slab, (-46, 56, -158), (32, 30, 50))
    )
    liver = smooth_max(liver, 2 - notch, 8) + f.coarse
    blend(hu, LIVER + 4 * fine, coverage(liver, f.width))
    _paint_liver_vessels(hu, f, liver)
    stomach = smooth_max(ellipsoid(f.slab, (56, -16, -104), (34, 46, 42)), inside + 2, 8) + f.coarse
    stomach = np.maximum(stomach, 2 - liver)
    blend(hu, 62.0, coverage(stomach, f.width))
    blend(hu, 18 + 10 * f.middle, coverage(stomach + np.float32(4), f.width))
    blend(hu, AIR + 20, coverage(np.maximum(stomach + np.float32(4), gy + np.float32(26)), f.width))
    spleen = smooth_max(ellipsoid(f.slab, (84, 42, -98), (32, 42, 40)), inside + 1, 8) + f.coarse
    spleen = np.maximum(spleen, 3 - stomach)
    blend(hu, SPLEEN + 4 * fine, coverage(spleen, f.width))
    for center in ((54, 50, -168), (-56, 52, -176)):
        kidney = np.maximum(ellipsoid(f.slab, center, (25, 24, 46)), 3 - np.minimum(liver, spleen))
        blend(hu, KIDNEY, coverage(kidney, f.width))
        blend(hu, 118.0, coverage(kidney + np.float32(7), f.width + 2))
    _paint_bowel(hu, f, np.minimum(np.minimum(liver, stomach), spleen), inside)
    crura = Tubes.chain(smooth_chain([(18, 18, -92, 4), (16, 26, -120, 5.5), (20, 34, -170, 6.5)]))
    other = Tubes(crura.a * (-1, 1, 1), crura.b * (-1, 1, 1), crura.ra, crura.rb)
    blend(hu, MUSCLE, coverage(Tubes.join([crura, other]).distance(f.slab, 4.0), f.width))


def _paint_bowel(hu: Floats, f: Fields, organs: Floats, inside: Floats) -> None:
    """Draw colon and small bowel in what the other organs leave free."""
    colon = Tubes.chain(smooth_chain(
        [(92, -6, -118, 15), (94, -34, -128, 17), (76, -58, -140, 18), (44, -68, -152, 17), (8, -70, -162, 16),
         (-30, -66, -172, 15)]
    ))  # fmt: skip
    loops = Tubes.chain(smooth_chain(
        [(58, 10, -150, 12), (84, 8, -156, 12), (92, -20, -164, 12), (66, -30, -168, 12), (40, -22, -160, 12),
         (24, -38, -168, 12), (2, -40, -172, 11)]
    ))  # fmt: skip
    free = np.maximum(3 - organs, inside)
    wall = np.maximum(loops.distance(f.slab, 6.0) + 1.2 * f.coarse, free)
    blend(hu, 62.0, coverage(wall, f.width))
    blend(hu, 24 + 8 * f.middle, coverage(wall + 3, f.width))
    # Haustra: the colon is pinched at intervals; gas in front, stool behind.
    wall = np.maximum(colon.distance(f.slab, 6.0) + 2.4 * f.coarse, np.maximum(free, 1.5 - wall))
    blend(hu, 55.0, coverage(wall, f.width))
    blend(hu, -60 + 75 * f.middle, coverage(wall + np.float32(2.2), f.width))
    gas = np.maximum(wall + np.float32(2.2), f.slab.grid[1] + 50 + 9 * f.coarse)
    blend(hu, AIR + 30, coverage(gas, f.width))


def _paint_liver_vessels(hu: Floats, f: Fields, liver: Floats) -> None:
    hub, gate = (-24, 8, -66), (-22, -4, -122)
    ends = [
        (hub, (-92, -14, -72)), (hub, (-62, -52, -66)), (hub, (-70, 34, -96)), (hub, (6, -44, -74)),
        (gate, (-62, -6, -116)), (gate, (-96, 14, -128)), (gate, (-76, -44, -134)), (gate, (-2, -40, -96)),
        ((-62, -6, -116), (-104, -30, -112)), ((-62, -6, -116), (-84, 40, -118)), ((-92, -14, -72), (-112, -2, -96)),
    ]  # fmt: skip
    tubes = Tubes(
        np.array([e[0] for e in ends], float), np.array([e[1] for e in ends], float),
        np.linspace(5.0, 3.2, len(ends)), np.linspace(2.2, 1.2, len(ends)),
    )  # fmt: skip
    inside = coverage(liver + np.float32(3), f.width)
    blend(hu, 150.0, coverage(tubes.distance(f.slab, 3.0) + 0.7 * f.middle, f.width) * inside)


def paint_mediastinum(hu: Floats, f: Fields, chest: Chest) -> None:
    """Draw heart, great vessels, oesophagus, and small lymph nodes in the mediastinal fat."""
    gz = f.slab.grid[2]
    blend(hu, MYOCARDIUM, coverage(f.heart, f.width))
    for name, pool in chest.blood(f.slab).items():
        blend(hu, _BLOOD[name], coverage(pool + 0.9 * f.middle, f.width) * coverage(f.heart + 2, f.width))
    esophagus = Tubes.chain(smooth_chain(ESOPHAGUS))
    d = esophagus.distance(f.slab, 4.0)
    blend(hu, 44.0, coverage(d, f.width))
    blend(hu, -550.0, coverage(d + np.float32(5.2), f.width) * (f.coarse > 0.4) * (gz > -40))
    groups = ((VEINS, 160.0), (PULMONARY_ARTERIES, 195.0), ([AORTA, *ARCH_BRANCHES], 212.0))
    outside = 1 - coverage(f.heart + np.float32(3), f.width)  # where a vein opens into the heart it has no wall
    for chains, value in groups:
        tubes = Tubes.join([Tubes.chain(smooth_chain(c)) for c in chains])
        d = tubes.distance(f.slab, 4.0)
        blend(hu, 70.0, coverage(d, f.width) * outside)
        blend(hu, value, coverage(d + np.float32(0.9), f.width))


def paint_spine_soft(hu: Floats, slab: Slab, column: Floats, canal: Floats, width: float) -> None:
    """Draw disks, and cord and fluid in the canal."""
    blend(hu, 82.0, coverage(column, width))
    blend(hu, -40.0, coverage(canal, width))
    blend(hu, 12.0, coverage(canal + np.float32(1.4), width))
    blend(hu, 42.0, coverage(canal + np.float32(3.4), width))


def paint_bone(hu: Floats, bone: Floats, fine: Floats, width: float) -> None:
    """Draw bone: a dense shell around spongy bone."""
    blend(hu, 640.0, coverage(bone, width))
    blend(hu, 150 + 34 * fine, coverage(bone + np.float32(1.5), max(width, 1.2)))
