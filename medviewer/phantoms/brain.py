"""A synthetic T1-weighted head: folded cortex, ventricles, skull, eyes, coil bias and Rician noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Ijk, Vec3
from medviewer.core.volume import Volume
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
from medviewer.phantoms.model import Floats, Labels, Phantom, Progress, centered_grid

#: Field of view of the brain phantom in mm along x, y, z.
EXTENT_MM: Vec3 = (192.0, 224.0, 176.0)
#: Label values of the brain phantom.
NAMES = {
    1: "head", 2: "csf", 3: "grey_matter", 4: "white_matter", 5: "ventricles", 6: "eyes", 7: "skull", 8: "cerebellum",
}  # fmt: skip
_SLAB_VOXELS = 1_000_000
_FAT, _MUSCLE, _BONE, _MARROW, _CSF, _GREY, _WHITE = 800.0, 360.0, 70.0, 430.0, 130.0, 440.0, 690.0
_CENTER: Vec3 = (0.0, 2.0, 14.0)
_SEMI: Vec3 = (66.0, 84.0, 68.0)
_FOLD_MM = 7.5
_LATERAL_VENTRICLE = [
    (7, -36, 8, 4), (9, -26, 17, 6), (11, -2, 23, 5), (16, 22, 20, 6), (24, 36, 10, 7), (26, 52, 6, 3),
]  # fmt: skip
_TEMPORAL_HORN = [(24, 36, 10, 6), (32, 28, -8, 4), (34, 6, -22, 2.6), (32, -8, -26, 1.5)]
_CALLOSUM = [(0, -36, 4, 4), (0, -38, 13, 5), (0, -22, 25, 4), (0, 4, 30, 3.5), (0, 28, 26, 4.5), (0, 36, 17, 5)]
_BRAINSTEM = [(0, 8, -10, 11), (0, 8, -24, 12), (0, 12, -36, 15), (0, 24, -56, 9), (0, 32, -72, 7), (0, 38, -95, 6)]


def make_brain(size: Ijk = (192, 224, 176), seed: int = 0, progress: Progress | None = None) -> Phantom:
    """Make a synthetic T1-weighted head.

    Parameters
    ----------
    size : (int, int, int)
        Voxels along (i, j, k); at least 16 each. The field of view is always 192 x 224 x 176 mm.
    seed : int
        The same seed and size give the same voxels; another seed another pattern of folds.
    progress : callable, optional
        Called with (0..1, text); what it raises stops the work.

    Returns
    -------
    Phantom
        Signal in arbitrary units, 0..4095, int16, on an axis-aligned grid around LPS (0, 0, 0); labels as in `NAMES`,
        disjoint, where ``head`` is all the rest of the head.

    Raises
    ------
    ValueError
        If a size is below 16 or the seed is negative.
    """
    if min(size) < 16 or seed < 0:
        raise ValueError(f"size must be at least 16 and seed not negative, got {size} and {seed}")
    report = progress or (lambda _fraction, _text: None)
    geometry = centered_grid(size, EXTENT_MM)
    array = np.empty(geometry.shape, dtype=np.int16)
    labels = np.zeros(geometry.shape, dtype=np.uint8)
    width = max(0.9, geometry.voxel_volume_mm3 ** (1 / 3))
    head = _Head(seed)
    step = max(1, _SLAB_VOXELS // (size[0] * size[1]))
    for start in range(0, size[2], step):
        stop = min(start + step, size[2])
        report(start / size[2], "Drawing slices")
        slab = Slab.of(geometry, start, stop)
        signal = head.draw(slab, width, labels[start:stop]) * head.bias(slab)
        for n in range(stop - start):
            rng = np.random.default_rng([seed, 70, start + n])
            real, imaginary = rng.normal(scale=14.0, size=(2, *signal[n].shape))
            array[start + n] = np.clip(np.rint(np.hypot(signal[n] + real, imaginary)), 0, 4095)
    report(1.0, "Done")
    volume = Volume(
        array,
        geometry,
        name="Synthetic brain T1",
        modality="MR",
        window=(450.0, 900.0),
        body_part_examined="BRAIN",
        patient_name="Demo^Brain",
        patient_id=f"DEMO-BRAIN-{seed}",
        id=f"brain-{seed}-{'x'.join(map(str, size))}",
    )
    return Phantom(volume, labels, dict(NAMES))


def _both_sides(chain: Sequence[tuple[float, float, float, float]]) -> Tubes:
    points = smooth_chain(chain, 4.0)
    return Tubes.join([Tubes.chain(points), Tubes.chain(points * (-1, 1, 1, 1))])


def _pair(slab: Slab, center: Vec3, semi: Vec3) -> Floats:
    """Return the distance to an ellipsoid and its mirror image."""
    x, y, z = center
    return np.minimum(ellipsoid(slab, center, semi), ellipsoid(slab, (-x, y, z), semi))


@dataclass(frozen=True)
class _Head:
    seed: int

    @cached_property
    def _fold(self) -> SmoothNoise:
        return SmoothNoise((self.seed, 71), _FOLD_MM)

    @cached_property
    def _wide(self) -> SmoothNoise:
        return SmoothNoise((self.seed, 72), 20.0)

    @cached_property
    def _ventricles(self) -> Tubes:
        return Tubes.join([_both_sides(_LATERAL_VENTRICLE), _both_sides(_TEMPORAL_HORN)])

    def bias(self, slab: Slab) -> Floats:
        """Return the sensitivity of the coil: smooth, within a fifth of 1."""
        a, b, c = np.random.default_rng([self.seed, 73]).uniform(0.5, 1, 3)
        gx, gy, gz = (g / np.float32(100) for g in slab.grid)
        field = 1 + 0.10 * a * gx - 0.08 * b * gy + 0.10 * c * gz + 0.09 * (gx**2 + gy**2 + gz**2 - 0.6)
        return np.asarray(field, dtype=np.float32)

    def _cerebrum(self, slab: Slab) -> Floats:
        """Return the distance to the smooth hull of the cerebrum."""
        _, gy, gz = slab.grid
        hull = ellipsoid(slab, _CENTER, _SEMI)
        base = -gz - (18 - 0.10 * np.clip(gy, 0, 90) + 0.12 * np.clip(-gy - 20, 0, 80))
        hull = smooth_max(hull, np.asarray(base, dtype=np.float32), 18)
        temporal = _pair(slab, (43, -4, -27), (24, 46, 22))
        return smooth_min(hull, temporal, 7)

    def _sulci(self, slab: Slab, hull: Floats, wide: Floats) -> Floats:
        """Return the distance to the sheets between the gyri: radial, some 20 mm deep, with the two great fissures."""
        gx, gy, gz = slab.grid
        # The cleft between the hemispheres, down to the corpus callosum.
        arch = 30 - ((gy - 2) / 36) ** 2 * 16
        cleft = np.hypot(gx - 2.0 * np.sin(gy / 23 + gz / 29), np.maximum(arch - gz, 0) * ((gy > -44) & (gy < 42)))
        depth = np.minimum(-hull, cleft)
        core = ellipsoid(slab, (0, 2, 10), (36, 56, 34))
        too_deep = np.maximum(np.maximum(depth - (17 + 4 * wide), 3 - core), 0)
        sheet = np.hypot(self._pattern(slab, (hull < 6) & (too_deep < 6)), too_deep)
        np.minimum(sheet, cleft + np.float32(0.1), out=sheet)
        lid = gz - (-10 + 0.34 * (gy + 8) + 3 * wide)
        reach = np.maximum(np.maximum(29 - np.abs(gx), np.abs(gy + 8) - 40), 0)
        return np.asarray(np.minimum(sheet, np.hypot(lid * np.float32(0.94), reach)), dtype=np.float32)

    def _pattern(self, slab: Slab, near: npt.NDArray[np.bool_]) -> Floats:
        """Return the distance to the nearest radial sheet of either hemisphere; far away outside `near`."""
        from scipy.ndimage import map_coordinates

        if not near.any():
            return slab.full(20.0)
        x, y, z = (np.broadcast_to(g, slab.shape)[near] for g in slab.grid)
        shift = np.where(x > 0, np.float32(31), np.float32(0))
        x = np.where(x > 0, x - 24, x + 24)
        y, z = y - np.float32(_CENTER[1]), z - np.float32(_CENTER[2])
        level = np.sqrt((x / 42) ** 2 + (y / _SEMI[1]) ** 2 + (z / _SEMI[2]) ** 2)
        level = np.maximum(level, np.float32(0.3)) ** np.float32(0.6) * np.float32(_FOLD_MM)
        field = slab.full(2.0)
        where = [z / level, y / level, x / level + shift]
        field[near] = map_coordinates(self._fold.values, where, order=3, mode="grid-wrap", prefilter=False)
        # The field divided by its slope is nearly a distance; the floor keeps flat places from becoming lakes.
        slope = np.zeros_like(field)
        for axis, mm in enumerate((slab.z, slab.y, slab.x)):
            if len(mm) > 1:
                slope += np.gradient(field, float(mm[1] - mm[0]), axis=axis) ** 2
        return np.asarray(np.abs(field) / np.maximum(np.sqrt(slope), np.float32(0.13)), dtype=np.float32)

    def draw(self, slab: Slab, width: float, labels: Labels) -> Floats:
        """Return the signal without bias and noise; fill `labels`."""
        wide = self._wide(slab)
        hull = self._cerebrum(slab)
        cerebellum = _pair(slab, (23, 51, -39), (31, 32, 27)) + 0.6 * wide
        cerebellum = smooth_max(smooth_min(cerebellum, ellipsoid(slab, (0, 50, -38), (14, 28, 26)), 8), 2.5 - hull, 3)
        stem = Tubes.chain(smooth_chain(_BRAINSTEM, 16.0)).distance(slab, 50.0)
        brain = smooth_min(smooth_min(hull, cerebellum, 12), stem, 12)
        signal = slab.full(0.0)
        head = self._paint_head(signal, slab, width, brain + 0.35 * wide, labels)
        inner = brain + 0.4 * wide - np.float32(3.2)
        blend(signal, _CSF, coverage(inner, width))
        labels[inner < 0] = 2
        sheet = self._sulci(slab, hull, wide)
        self._paint_cerebrum(signal, slab, width, (hull, sheet), labels)
        self._paint_below(signal, slab, width, (cerebellum, stem), labels)
        self._paint_deep(signal, slab, width, labels)
        blend(signal, 4.0, 1 - coverage(head, width))
        return signal

    def _paint_head(self, signal: Floats, slab: Slab, width: float, brain: Floats, labels: Labels) -> Floats:
        gx, gy, gz = slab.grid
        cranium = brain - np.float32(3.2)
        face = ellipsoid(slab, (0, -46, -66), (62, 54, 60))
        neck = np.maximum(np.hypot(gx * np.float32(0.95), gy - 30) - np.float32(58), gz + 58)
        nose = ellipsoid(slab, (0, -100, -58), (12, 11, 20))
        head = smooth_min(smooth_min(cranium - np.float32(13.5), face, 30), np.asarray(neck, dtype=np.float32), 26)
        head = smooth_min(head, nose, 12)
        labels[head < 0] = 1
        texture = self._fold(slab)
        blend(signal, _MUSCLE + 60 * texture, coverage(head, width))
        fat = np.maximum(head + np.float32(1.7), -head - np.float32(5.6)) + 0.5 * texture
        blend(signal, _FAT, coverage(fat, width))
        cheeks = _pair(slab, (42, -62, -72), (18, 26, 24)) + 3 * texture
        blend(signal, _FAT * 0.9, coverage(np.maximum(cheeks, head + 2), width))
        bone = np.maximum(np.maximum(cranium - np.float32(7.5), -cranium - 1), np.float32(-58) - gz + 0.25 * gy)
        blend(signal, _BONE, coverage(bone, width))
        blend(signal, _MARROW + 60 * texture, coverage(bone + np.float32(2.6), width))
        labels[bone < 0] = 7
        air = np.minimum(ellipsoid(slab, (0, -66, -56), (13, 34, 20)), _pair(slab, (29, -68, -60), (13, 16, 14)))
        air = np.minimum(air, ellipsoid(slab, (0, -92, -6), (18, 5, 10)))
        air = np.minimum(
            air, Tubes.chain(smooth_chain([(0, -34, -56, 9), (0, -22, -72, 9), (0, -18, -96, 8)])).distance(slab, 6.0)
        )
        turbinate = np.float32(1.6) - np.abs(np.abs(gx) - 6 - 2 * np.sin(gz / 5)) + 0 * gy
        air = np.maximum(air + 2 * texture, turbinate * (np.abs(gx) < 14) - 1)
        blend(signal, 12.0, coverage(air, width))
        self._paint_orbits(signal, slab, width, labels)
        return head

    def _paint_orbits(self, signal: Floats, slab: Slab, width: float, labels: Labels) -> None:
        fat = np.minimum(_pair(slab, (32, -68, -33), (19, 24, 17)), _pair(slab, (24, -48, -30), (11, 20, 10)))
        blend(signal, _FAT * 0.95, coverage(fat, width))
        nerves = _both_sides([(32, -70, -33, 2.4), (26, -52, -31, 2.2), (14, -30, -26, 2.2), (2, -16, -22, 2.5)])
        muscles = Tubes.join(
            [_both_sides([(32 + a, -74, -33 + b, 1.6), (28 + a, -60, -32 + b, 2.4), (20, -36, -29, 1.4)])
             for a, b in ((11, 0), (-11, 0), (0, 11), (0, -11))]
        )  # fmt: skip
        blend(signal, _MUSCLE, coverage(muscles.distance(slab, 4.0), width))
        blend(signal, 560.0, coverage(nerves.distance(slab, 4.0), width))
        eye = _pair(slab, (32, -82, -33), (12.2, 12.2, 12.2))
        blend(signal, 330.0, coverage(eye, width))
        blend(signal, 150.0, coverage(eye + np.float32(1.4), width))
        blend(signal, 360.0, coverage(_pair(slab, (32, -91.5, -33), (4.6, 2.0, 4.6)), width))
        labels[eye < 0] = 6

    def _paint_cerebrum(
        self, signal: Floats, slab: Slab, width: float, surfaces: tuple[Floats, Floats], labels: Labels
    ) -> None:
        hull, sheet = surfaces
        grey = np.maximum(hull, np.float32(0.85) - sheet)
        white = np.maximum(hull + np.float32(2.9), np.float32(3.7) - sheet)
        blend(signal, _GREY + 18 * self._wide(slab), coverage(grey, width))
        blend(signal, _WHITE + 12 * self._wide(slab), coverage(white, width))
        labels[(grey < 0) & (white >= 0)] = 3
        labels[white < 0] = 4

    def _paint_below(
        self, signal: Floats, slab: Slab, width: float, surfaces: tuple[Floats, Floats], labels: Labels
    ) -> None:
        cerebellum, stem = surfaces
        gx, gy, gz = slab.grid
        # Leaves of the cerebellum: shells around a point in front of it.
        shells = np.sqrt((gx * 0.5) ** 2 + (gy - 22) ** 2 + (gz + 40) ** 2) + 1.5 * self._wide(slab)
        leaf = np.abs((shells + 0.5 * gz) % np.float32(5.0) - np.float32(2.5))
        blend(signal, _GREY + 10, coverage(cerebellum, width))
        fissure = np.maximum(np.float32(2.2) - leaf, -cerebellum - 9)
        blend(signal, _CSF + 120, coverage(np.maximum(fissure, cerebellum), width))
        core = cerebellum + np.float32(10) + 1.2 * np.sin((shells + 0.5 * gz) * np.float32(2 * np.pi / 5))
        blend(signal, _WHITE, coverage(core, width + 1))
        labels[cerebellum < 0] = 8
        blend(signal, _WHITE * 0.95, coverage(stem, width))
        labels[stem < 0] = 4

    def _paint_deep(self, signal: Floats, slab: Slab, width: float, labels: Labels) -> None:
        band = Tubes.chain(smooth_chain(_CALLOSUM, 4.0))
        shifts = [np.array([x, 0.0, 0.0]) for x in (-9.0, 0.0, 9.0)]
        callosum = Tubes.join([Tubes(band.a + s, band.b + s, band.ra, band.rb) for s in shifts]).distance(slab, 6.0)
        blend(signal, _WHITE + 20, coverage(callosum, width))
        labels[callosum < 0] = 4
        nuclei = (((14, -18, 13), (6, 11, 8)), ((11, 10, 4), (10, 15, 9)), ((26, -8, 3), (6, 17, 10)))
        for center, semi in nuclei:
            d = _pair(slab, center, semi)
            blend(signal, 520.0, coverage(d, width + 0.6))
            labels[d < 0] = 3
        third = ellipsoid(slab, (0, 4, 0), (2.6, 17, 12))
        space = np.minimum(self._ventricles.distance(slab, 6.0), third)
        space = np.minimum(space, ellipsoid(slab, (0, 33, -44), (7, 5, 9)))
        blend(signal, _CSF, coverage(space, width))
        labels[space < 0] = 5
        cistern = np.minimum(ellipsoid(slab, (0, -12, -22), (13, 9, 7)), ellipsoid(slab, (0, 26, -12), (15, 7, 8)))
        free = np.maximum(cistern, np.float32(1) - Tubes.chain(smooth_chain(_BRAINSTEM, 5.0)).distance(slab, 4.0))
        blend(signal, _CSF, coverage(free, width))
        labels[free < 0] = 2
