"""Lung nodules by networks: one marks voxels, one judges each candidate, one draws it, on the image's own grid.

The networks see the patient's axes at 1 mm, whatever the image has. Only windows that touch a lung are run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.ai.coarse_ct import CoarseCt
from medviewer.ai.infer import infer
from medviewer.ai.lungs import find_lungs
from medviewer.ai.masks import dilated
from medviewer.ai.model_grid import ModelGrid, along, taps
from medviewer.ai.nodule_outline import outlined, step_for
from medviewer.ai.predictor import Model, prepared
from medviewer.core.geometry import Geometry, vec3
from medviewer.core.region import Region
from medviewer.core.segmentation import LabelArray
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobContext, SubContext

FloatArray = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: A field of view smaller than this is a piece of a lung: no chest to find lungs in.
CHEST_MM = 150.0
#: Around a lung and around a box, so that what lies at the border is seen in its surroundings.
MARGIN_MM = 24.0
#: Probability from which voxels belong together, and that at least one must have.
TOGETHER, PEAK = 0.25, 0.4
#: Probability of a voxel from which it is drawn, in the third network's answer.
DRAWN = 0.4
#: Candidates judged at most, surest first.
MOST = 120
#: Axes of (k, j, i) that are mirrored: a nodule is one from every side, and the mean is steadier than one look.
LOOKS: tuple[tuple[int, ...], ...] = ((), (-3,), (-2,), (-1,))
#: Cubes judged at a time.
BATCH = 8


@dataclass(frozen=True, slots=True, eq=False)
class Marked:
    """What the first network says about a part of an image.

    Attributes
    ----------
    region : Region
        The part of the image.
    grid : ModelGrid
        From that part to the network's grid and back.
    image : float32, shape (k, j, i)
        On the network's grid, as the networks want it.
    chance : float32, shape (k, j, i)
        Of each voxel to be nodule; 0 where nobody looked.
    inside : bool, shape (k, j, i)
        Lung, with what borders on it.
    """

    region: Region
    grid: ModelGrid
    image: FloatArray
    chance: FloatArray
    inside: Mask


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """Voxels that hang together.

    Attributes
    ----------
    box : (slice, slice, slice)
        On the network's grid.
    chance : float32, shape of `box`
        Of this candidate alone; 0 where another one is.
    level : float
        The chance at its outline.
    center : (float, float, float)
        Middle (k, j, i) on the network's grid.
    diameter_mm : float
        Of the ball of equal volume.
    features : mapping
        What the score is made of.
    """

    box: tuple[slice, slice, slice]
    chance: FloatArray
    level: float
    center: tuple[float, float, float]
    diameter_mm: float
    features: Mapping[str, float]

    @property
    def mask(self) -> Mask:
        """Voxels inside its outline."""
        result: Mask = self.chance > self.level
        return result


@dataclass(frozen=True, slots=True, eq=False)
class Nodule:
    """A nodule on the grid of the image.

    Attributes
    ----------
    score : float
        Probability, 0..1.
    diameter_mm : float
        Of the ball of equal volume.
    region : Region
        Box of its voxels in the image.
    mask : bool, shape of `region`; never empty
    lower, upper : (x, y, z)
        Corners of the box that holds its voxels, LPS mm.
    """

    score: float
    diameter_mm: float
    region: Region
    mask: Mask
    lower: tuple[float, float, float]
    upper: tuple[float, float, float]


def find_nodules(
    ctx: JobContext, model: Model, volume: Volume, least_mm: float = 3.0, least_score: float = 0.0
) -> list[Nodule] | None:
    """Return the nodules of a CT, most probable first; None when there is no lung in it.

    Parameters
    ----------
    ctx : JobContext
    model : Model
        Of the network ``nodule_detector``.
    volume : Volume
        CT in HU.
    least_mm, least_score : float
        Smaller and less probable ones are left out.
    """
    lung = lung_of(SubContext(ctx, 0.0, 0.25), volume)
    if lung is None:
        return None
    return nodules_in(SubContext(ctx, 0.25, 1.0), model, volume, lung, least_mm, least_score)


def nodules_in(
    ctx: JobContext, model: Model, volume: Volume, lung: Mask, least_mm: float = 3.0, least_score: float = 0.0
) -> list[Nodule]:
    """Return the nodules that touch a mask (k, j, i) of a CT, most probable first; see `find_nodules`."""
    marked = mark(SubContext(ctx, 0.0, 0.8), model, volume, lung)
    judged = judge(SubContext(ctx, 0.8, 0.98), model, marked, candidates(marked, least_mm))
    scored = sorted(((score(model, c.features), c) for c in judged), key=lambda pair: -pair[0])
    kept = _apart([pair for pair in scored if pair[0] >= least_score])
    if model.card.settings.get("outline"):
        kept = [(value, outline(ctx, model, marked, candidate)) for value, candidate in kept]
    return [drawn(volume.geometry, marked, candidate, value) for value, candidate in kept]


def lung_of(ctx: JobContext, volume: Volume) -> Mask | None:
    """Return where nodules are looked for, on the grid of the image; None when there is no lung.

    In a chest these are the lungs with what is closed into them. A small piece has no chest around it: there it is
    what is as thin as lung tissue and what borders on it.
    """
    ct = CoarseCt.of(volume, 1.5)
    if min(n * mm for n, mm in zip(ct.grid.shape[1:], ct.grid.spacing[1:], strict=True)) >= CHEST_MM:
        found = find_lungs(ctx, ct).both
    else:
        found = _thin(ctx, ct)
    if not found.any():
        return None
    near = dilated(ctx, found, 2.0, ct.spacing)
    result: Mask = ct.grid.turn_back(ct.fine(near))
    return result


def _thin(ctx: JobContext, ct: CoarseCt) -> Mask:
    """Return what is as thin as lung tissue and what borders on it; nothing where that is hardly anything."""
    from scipy import ndimage

    def mean(values: FloatArray, mm: float) -> FloatArray:
        return ndimage.uniform_filter(values, [max(1, round(mm / step)) for step in ct.spacing])

    smooth = mean(ct.hu, 4.0)
    thin = (smooth > -970) & (smooth < -600)
    thin &= mean(thin.astype(np.float32), 8.0) > 0.5
    if thin.mean() < 0.02:
        return np.zeros_like(thin)
    return dilated(ctx, thin, 12.0, ct.spacing)


def mark(
    ctx: JobContext, model: Model, volume: Volume, inside: Mask, looks: Sequence[tuple[int, ...]] = LOOKS
) -> Marked:
    """Return what the first network says about the part of an image around a mask (k, j, i) of it.

    Parameters
    ----------
    looks : sequence of tuple of int
        Mirror images to take the mean over; fewer are quicker.
    """
    import torch

    box = Region.of_mask(inside)
    assert box is not None
    k, j, i = (math.ceil(MARGIN_MM / mm) for mm in volume.geometry.spacing[::-1])
    region = box.grown((k, j, i)).clip(volume.geometry.region)
    part = Volume(
        id=volume.id,
        name=volume.name,
        array=volume.array[region.slices],
        geometry=volume.geometry.cropped(region),
        modality=volume.modality,
    )
    grid = ModelGrid.of(part.geometry, model.card.spacing_mm)
    image = prepared(model.card, grid, (part,))
    lung = grid.mask(inside[region.slices])
    ctx.check_cancelled()
    window, padded = _window(model.card.window, image)
    pad = [(0, a - b) for a, b in zip(padded.shape[1:], lung.shape, strict=True)]
    inner = np.pad(lung, pad)
    total = np.zeros(padded.shape[1:], np.float32)
    for n, axes in enumerate(looks):
        part_ctx = SubContext(ctx, n / len(looks), (n + 1) / len(looks))
        turned: FloatArray = np.ascontiguousarray(np.flip(padded, axes))
        within: Mask = np.ascontiguousarray(np.flip(inner, axes))
        logits = infer(part_ctx, model, turned, window, inside=within, outside=-20.0)[0]
        total += np.flip(logits, axes)
    logits = total / len(looks)
    chance = torch.from_numpy(logits).sigmoid_().numpy()[tuple(slice(n) for n in lung.shape)]
    return Marked(region, grid, image[0], chance, lung)


def _window(most: Sequence[int], image: FloatArray) -> tuple[tuple[int, ...], FloatArray]:
    """Return the window for an image (1, k, j, i), and the image with its last voxels repeated to hold one."""
    window = tuple(min(w, -(-n // 8) * 8) for n, w in zip(image.shape[1:], most, strict=True))
    pad = [(0, max(0, w - n)) for n, w in zip(image.shape[1:], window, strict=True)]
    return window, np.pad(image, [(0, 0), *pad], mode="edge")


def candidates(marked: Marked, least_mm: float) -> list[Candidate]:
    """Return what hangs together and touches the lung, surest first."""
    from scipy import ndimage

    labels, _ = ndimage.label(marked.chance > TOGETHER)
    touching = np.unique(labels[marked.inside])
    boxes = ndimage.find_objects(labels)
    found = []
    for n in touching[touching > 0]:
        box = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in boxes[n - 1])
        own = labels[box]
        chance = np.where((own == n) | (own == 0), marked.chance[box], 0).astype(np.float32)
        peak = float(chance.max())
        if peak < PEAK:
            continue
        level = 0.5 * peak
        mask = chance > level
        count = int(mask.sum())
        diameter = float(np.cbrt(6 * count * marked.grid.geometry.voxel_volume_mm3 / np.pi))
        if diameter < least_mm:
            continue
        k, j, i = np.argwhere(mask).mean(axis=0) + [s.start for s in box]
        top = np.sort(chance, axis=None)[-min(count, 33) :]
        features = {"peak": _logit(float(top.mean())), "size": math.log(diameter / 8)}
        found.append(Candidate((box[0], box[1], box[2]), chance, level, (k, j, i), diameter, features))
    return sorted(found, key=lambda c: -c.features["peak"])[:MOST]


def judge(ctx: JobContext, model: Model, marked: Marked, found: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates with what the second network says about each."""
    import torch

    size = int(model.card.settings["cube"])
    network: Any = model.network.to(ctx.device)
    values: list[float] = []
    with torch.inference_mode():
        for n in range(0, len(found), BATCH):
            ctx.progress(n / len(found), "Judging candidates")
            cubes = np.stack([_cube(marked.image, c.center, size) for c in found[n : n + BATCH]])
            x = torch.from_numpy(cubes)[:, None].to(ctx.device)
            values += torch.stack([network.judge(x.flip(axes)) for axes in LOOKS]).mean(0).float().cpu().tolist()
    return [replace(c, features={**c.features, "judged": value}) for c, value in zip(found, values, strict=True)]


def outline(ctx: JobContext, model: Model, marked: Marked, candidate: Candidate) -> Candidate:
    """Return a candidate as the third network draws it; as it was where that network sees nothing."""
    from scipy import ndimage

    ctx.check_cancelled()
    network: Any = model.network.to(ctx.device)
    mm = float(marked.grid.geometry.spacing[0])
    box, chance = outlined(
        network.outline,
        marked.image,
        candidate.box,
        candidate.chance,
        candidate.center,
        step_for(candidate.diameter_mm) / mm,
        LOOKS,
    )
    labels, count = ndimage.label(chance > DRAWN)
    if not count:
        return candidate
    largest = int(np.bincount(labels.ravel())[1:].argmax()) + 1
    own = np.where((labels == largest) | (labels == 0), chance, 0).astype(np.float32)
    diameter = float(np.cbrt(6 * (labels == largest).sum() * marked.grid.geometry.voxel_volume_mm3 / np.pi))
    return replace(candidate, box=box, chance=own, level=DRAWN, diameter_mm=diameter)


def _cube(image: FloatArray, center: Sequence[float], size: int) -> FloatArray:
    """Return a cube of an image around a place, the image's last voxels repeated beyond its border."""
    index = [
        np.clip(round(c) - size // 2 + np.arange(size), 0, n - 1) for c, n in zip(center, image.shape, strict=True)
    ]
    return image[np.ix_(*index)]


def score(model: Model, features: Mapping[str, float]) -> float:
    """Return the probability of a candidate: a logistic function of its features with the card's weights."""
    weights: Mapping[str, float] = model.card.settings["score"]
    total = weights["bias"] + sum(value * weights.get(name, 0.0) for name, value in features.items())
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))


def _apart(scored: Sequence[tuple[float, Candidate]]) -> list[tuple[float, Candidate]]:
    """Return candidates without those whose middle lies in the box of a better one."""
    kept: list[tuple[float, Candidate]] = []
    for value, candidate in scored:
        inside = (
            all(s.start <= c < s.stop for c, s in zip(candidate.center, better.box, strict=True)) for _, better in kept
        )
        if not any(inside):
            kept.append((value, candidate))
    return kept


def drawn(geometry: Geometry, marked: Marked, candidate: Candidate, value: float) -> Nodule:
    """Return a candidate on the grid of the image; at least the voxel in its middle."""
    grid = marked.grid
    base = np.zeros(grid.base.shape, np.uint8)
    where, chance = _on_base(grid, candidate)
    base[where] = chance > candidate.level
    if not base.any():
        at = [int(np.abs(grid.places(axis) - c).argmin()) for axis, c in enumerate(candidate.center)]
        base[tuple(at)] = 1
    source = grid.to_source(base) > 0
    box = Region.of_mask(source)
    if box is None:  # a tilted grid has no voxel there
        k, j, i = (int(v) for v in np.argwhere(base)[0])
        lps = grid.base.index_to_lps((i, j, k))
        near = np.clip(np.rint(grid.source.lps_to_index(lps)), 0, np.array(grid.source.size) - 1).astype(int)
        source[tuple(near[::-1])] = True
        box = Region.of_mask(source)
    assert box is not None
    mask = source[box.slices]
    region = Region(_sum(box.lower, marked.region.lower), _sum(box.upper, marked.region.lower))
    ends = [(low - 0.5, high - 0.5) for low, high in zip(region.lower, region.upper, strict=True)][::-1]
    corners = geometry.index_to_lps([(x, y, z) for x in ends[0] for y in ends[1] for z in ends[2]])
    return Nodule(
        value,
        candidate.diameter_mm,
        region,
        mask,
        vec3(corners.min(axis=0)),
        vec3(corners.max(axis=0)),
    )


def _on_base(grid: ModelGrid, candidate: Candidate) -> tuple[tuple[slice, ...], FloatArray]:
    """Return a candidate's chance on the image's voxels along the patient's axes, and where they lie."""
    import torch

    values = torch.from_numpy(candidate.chance)
    where = []
    for axis, part in enumerate(candidate.box):
        places = grid.places(axis)
        first, stop = (int(np.searchsorted(places, edge)) for edge in (part.start - 0.5, part.stop - 0.5))
        where.append(slice(first, stop))
        values = along(values, axis, taps(places[first:stop] - part.start, part.stop - part.start))
    return tuple(where), values.numpy()


def _sum(a: tuple[int, int, int], b: tuple[int, int, int]) -> tuple[int, int, int]:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2])


def painted(shape: tuple[int, int, int], nodules: Sequence[Nodule]) -> LabelArray:
    """Return a label map with the values 1, 2, … in the order of the nodules; where they meet the first one stays."""
    labels: LabelArray = np.zeros(shape, np.uint16)
    for value, nodule in enumerate(nodules, start=1):
        part = labels[nodule.region.slices]
        part[nodule.mask & (part == 0)] = value
    return labels


def _logit(p: float) -> float:
    p = min(max(p, 1e-6), 1 - 1e-6)
    return math.log(p / (1 - p))
