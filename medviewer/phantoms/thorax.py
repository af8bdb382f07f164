"""A synthetic chest CT: one slab of slices after the other, so that any size fits into memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Ijk, vec3
from medviewer.core.volume import Volume
from medviewer.phantoms import thorax_organs as organs
from medviewer.phantoms.fields import Slab, Tubes, blend, coverage, smooth_chain
from medviewer.phantoms.model import Floats, Labels, Phantom, Progress, centered_grid
from medviewer.phantoms.nodules import NoduleShape, place_nodules
from medviewer.phantoms.thorax_shape import EXTENT_MM, MAIN_BRONCHI, TRACHEA, Chest
from medviewer.phantoms.thorax_skeleton import Skeleton
from medviewer.phantoms.thorax_tree import LungTree, coarse_lungs, grow_tree, horizontal_fissure, oblique_fissure

#: Label values of the thorax phantom.
NAMES = {1: "body", 2: "lung_left", 3: "lung_right", 4: "trachea", 5: "bones", 6: "heart", 7: "nodules"}
_SLAB_VOXELS = 2_000_000
_WALL = 1.3  # mm


def make_thorax(size: Ijk = (256, 256, 128), seed: int = 0, progress: Progress | None = None) -> Phantom:
    """Make a synthetic chest CT with contrast medium and lung nodules of known place and size.

    Parameters
    ----------
    size : (int, int, int)
        Voxels along (i, j, k); at least 16 each. The field of view is always 360 x 360 x 320 mm.
    seed : int
        The same seed and size give the same voxels; another seed another patient.
    progress : callable, optional
        Called with (0..1, text); what it raises stops the work.

    Returns
    -------
    Phantom
        HU as int16 on an axis-aligned grid around LPS (0, 0, 0); labels as in `NAMES`, disjoint, where ``body`` is
        the rest of the body, lungs hold their vessels and ``trachea`` includes the main bronchi.

    Raises
    ------
    ValueError
        If a size is below 16 or the seed is negative.
    """
    if min(size) < 16 or seed < 0:
        raise ValueError(f"size must be at least 16 and seed not negative, got {size} and {seed}")
    report = progress or (lambda _fraction, _text: None)
    geometry = centered_grid(size, EXTENT_MM)
    report(0.0, "Growing vessels")
    patient = _Patient(seed)
    shapes = patient.nodules
    array = np.empty(geometry.shape, dtype=np.int16)
    labels = np.zeros(geometry.shape, dtype=np.uint8)
    width = max(0.9, geometry.voxel_volume_mm3 ** (1 / 3))
    step = max(1, _SLAB_VOXELS // (size[0] * size[1]))
    for start in range(0, size[2], step):
        stop = min(start + step, size[2])
        report(0.08 + 0.92 * start / size[2], "Drawing slices")
        slab = Slab.of(geometry, start, stop)
        hu, body = patient.draw(slab, width, labels[start:stop])
        add_ct_noise(hu, body, vec3(geometry.spacing), seed, start)
        array[start:stop] = np.clip(np.rint(hu), -1024, 3071)
    report(1.0, "Done")
    volume = Volume(
        array,
        geometry,
        name="Synthetic thorax CT",
        modality="CT",
        unit="HU",
        window=(40.0, 400.0),
        body_part_examined="CHEST",
        patient_name="Demo^Thorax",
        patient_id=f"DEMO-THORAX-{seed}",
        id=f"thorax-{seed}-{'x'.join(map(str, size))}",
    )
    return Phantom(volume, labels, dict(NAMES), tuple(s.nodule for s in shapes))


@dataclass(frozen=True)
class _Patient:
    """Everything that does not depend on the grid."""

    seed: int

    @cached_property
    def chest(self) -> Chest:
        return Chest(self.seed)

    @cached_property
    def coarse(self) -> tuple[Slab, Floats]:
        return coarse_lungs(self.chest)

    @cached_property
    def tree(self) -> LungTree:
        return grow_tree(self.chest, self.coarse)

    @cached_property
    def nodules(self) -> tuple[NoduleShape, ...]:
        return place_nodules(self.chest, self.tree, self.coarse)

    @cached_property
    def noise(self) -> organs.Noise:
        return organs.Noise.of(self.seed)

    @cached_property
    def skeleton(self) -> Skeleton:
        return Skeleton()

    @cached_property
    def airway(self) -> Tubes:
        return Tubes.join([Tubes.chain(smooth_chain(c, 4.0)) for c in (TRACHEA, *MAIN_BRONCHI)])

    def draw(self, slab: Slab, width: float, labels: Labels) -> tuple[Floats, Floats]:
        """Return HU without noise and the distance to the skin; fill `labels`."""
        chest = self.chest
        bumps, fine = chest.bumps(slab), self.noise.fine(slab)
        heart = chest.heart(slab)
        f = organs.Fields(
            slab, width, chest.body(slab, bumps), chest.cavity(slab, bumps), heart,
            self.noise.coarse(slab), self.noise.middle(slab),
        )  # fmt: skip
        lungs = chest.lungs(slab, f.cavity, chest.mediastinum(slab, heart, bumps))
        bone, column, canal = self.skeleton.bones(slab)
        hu = slab.full(organs.AIR)
        organs.paint_table(hu, slab, width)
        organs.paint_chest_wall(hu, f)
        organs.paint_inside(hu, f)
        organs.paint_abdomen(hu, f, chest, fine)
        organs.paint_mediastinum(hu, f, chest)
        organs.paint_spine_soft(hu, slab, column, canal, width)
        blend(hu, 96.0, coverage(self.skeleton.cartilage(slab), width))
        self._paint_lungs(hu, f, lungs, fine)
        organs.paint_bone(hu, bone, fine, width)
        airway = self._paint_airways(hu, slab, width)
        self._label(labels, slab, f.body, lungs, bone, heart, airway)
        self._paint_nodules(hu, slab, width, lungs, labels)
        return hu, f.body

    def _paint_lungs(self, hu: Floats, f: organs.Fields, lungs: Floats, fine: Floats) -> None:
        slab = f.slab
        gx, gy, _ = slab.grid
        alpha = coverage(lungs, f.width)
        texture = -866 + 0.33 * gy + 13 * fine + 9 * f.middle + 7 * f.coarse
        dependent = 70 * np.clip((gy - 62) / 30, 0, 1) * np.clip(1 + lungs / 9, 0, 1)
        blend(hu, np.asarray(texture + dependent, dtype=np.float32), alpha)
        across = np.where(gx < 0, np.abs(horizontal_fissure(slab)) + 99 * (oblique_fissure(slab) < 0), np.float32(99))
        fissure = np.minimum(np.abs(oblique_fissure(slab)), across) + np.float32(0.25) * np.abs(f.coarse)
        thin = np.float32(min(1.0, 0.9 / f.width))
        blend(hu, -640.0, coverage(fissure - np.float32(f.width / 2), f.width) * alpha * thin)
        tree = self.tree
        blood = tree.veins.thin_coverage(slab, f.width)
        np.maximum(blood, tree.arteries.thin_coverage(slab, f.width), out=blood)
        blend(hu, 150.0, blood * np.maximum(alpha, _hilum(slab)))

    def _paint_airways(self, hu: Floats, slab: Slab, width: float) -> Floats:
        small = self.tree.airways
        wall = Tubes(small.a, small.b, small.ra * 1.18 + 0.35, small.rb * 1.18 + 0.35).thin_coverage(slab, width)
        blend(hu, 10.0, wall)
        blend(hu, organs.AIR + 10, small.thin_coverage(slab, width))
        large = self.airway.distance(slab, 8.0)
        blend(hu, 52.0, coverage(large - np.float32(_WALL), width))
        blend(hu, organs.AIR, coverage(large, width))
        return large

    def _label(
        self, labels: Labels, slab: Slab, body: Floats, lungs: Floats, bone: Floats, heart: Floats, airway: Floats
    ) -> None:
        left = slab.grid[0] > 0
        labels[body < 0] = 1
        labels[heart < 0] = 6
        labels[(lungs < 0) & left] = 2
        labels[(lungs < 0) & ~left] = 3
        labels[bone < 0] = 5
        labels[airway < 0] = 4

    def _paint_nodules(self, hu: Floats, slab: Slab, width: float, lungs: Floats, labels: Labels) -> None:
        for shape in self.nodules:
            nodule = shape.nodule
            found = slab.ball(nodule.lps, shape.reach * 1.9 + 2)
            if found is None:
                continue
            box, part = found
            view = hu[box]
            inside = coverage(lungs[box], width)
            if shape.spikes is not None:
                blend(view, 20.0, shape.spikes.thin_coverage(part, width) * inside)
            d = shape.distance(part)
            if nodule.kind == "ground-glass":
                blend(view, np.maximum(view, -610.0), coverage(d, width + 1.5) * inside)
            else:
                blend(view, 62.0, coverage(d, width))
            labels[box][(d < 0) & (lungs[box] < 0)] = 7


def _hilum(slab: Slab) -> Floats:
    """Return 1 near the hila, where vessels run outside the lungs, fading to 0."""
    gx, gy, gz = slab.grid
    distance = np.sqrt((np.abs(gx) - 42) ** 2 + (gy - 12) ** 2 + ((gz - 14) * np.float32(0.7)) ** 2)
    return np.clip((38 - distance) / 8, 0, 1)


def add_ct_noise(hu: Floats, body: Floats, spacing: tuple[float, float, float], seed: int, first: int) -> None:
    """Add noise with the texture of filtered back-projection to slices ``first``, ``first + 1``, … in place.

    The noise power rises with frequency and falls towards the resolution limit; it is stronger in the middle of
    the body, streaked from side to side through the shoulders, and lower in thick slices.
    """
    nz, ny, nx = hu.shape
    f2 = np.fft.fftfreq(ny, spacing[1])[:, None] ** 2 + np.fft.rfftfreq(nx, spacing[0])[None, :] ** 2
    frequency = np.sqrt(f2)
    shape = np.sqrt(frequency) * np.exp(-((frequency / 0.38) ** 2))
    fy = np.abs(np.fft.fftfreq(ny, spacing[1]))[:, None]
    streak = shape * np.exp(-((np.fft.rfftfreq(nx, spacing[0])[None, :] / 0.03) ** 2)) * (fy > 0.03)
    level = float(np.clip(11.0 * np.sqrt(2.5 / spacing[2]), 8.0, 24.0))
    for n in range(nz):
        white = np.random.default_rng([seed, 40, first + n]).standard_normal((ny, nx), dtype=np.float32)
        spectrum = np.fft.rfft2(white)
        depth = np.clip(-body[n], 0, 110) / 110
        amount = level * (0.55 + 0.65 * depth)
        hu[n] += _scaled(spectrum * shape, (ny, nx)) * amount
        # Shoulders: the upper fifth of the scan.
        z = (first + n + 0.5) * spacing[2] / EXTENT_MM[2]
        wide = float(np.clip((z - 0.80) / 0.12, 0, 1))
        if wide > 0:
            hu[n] += _scaled(spectrum * streak, (ny, nx)) * (wide * level * 1.1 * depth**0.5)


def _scaled(spectrum: npt.NDArray[np.complexfloating], shape: tuple[int, int]) -> Floats:
    field = np.fft.irfft2(spectrum, shape).astype(np.float32)
    return field / max(float(field.std()), 1e-6)
