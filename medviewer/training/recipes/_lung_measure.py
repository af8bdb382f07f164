"""How well nodules are found and drawn: on cubes of held-out patients, in lungs that were held out, in a whole scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from medviewer.ai.nodules import Nodule, find_nodules, nodules_in
from medviewer.ai.predictor import Model
from medviewer.jobs.job import JobContext, SubContext
from medviewer.training.recipe import Table
from medviewer.training.recipes._lung_mining import volume_of
from medviewer.training.recipes._lung_samples import put_nodule
from medviewer.training.recipes._lung_scenes import SCANS, Scene, read_volume

Mask = npt.NDArray[np.bool_]
#: Consensus nodules from this size on must be found.
LEAST_MM = 6.0
#: Between nodules put into one lung, mm.
APART_MM = 45.0


@dataclass(frozen=True, slots=True, eq=False)
class Hit:
    """What became of one true nodule: the best finding that overlaps it.

    Attributes
    ----------
    scene : Scene
    score : float
        0 when it was missed.
    dice : float
        Of the finding's outline; 0 when it was missed.
    """

    scene: Scene
    score: float
    dice: float


@dataclass(slots=True, eq=False)
class Tally:
    """True nodules and false findings of several images.

    Attributes
    ----------
    hits : list of Hit
    wrong : list of float
        Scores of what overlaps no nodule.
    images : float
        How many images, for findings per image; a lung is half a scan.
    """

    hits: list[Hit]
    wrong: list[float]
    images: float

    def sensitivity(self, score: float) -> float:
        """Return the share of nodules found with at least a score."""
        return float(np.mean([hit.score >= score for hit in self.hits])) if self.hits else float("nan")

    def wrong_per_image(self, score: float) -> float:
        """Return false findings per image with at least a score."""
        return sum(value >= score for value in self.wrong) / self.images

    def at_wrong(self, per_image: float) -> float:
        """Return the sensitivity at the lowest score that leaves at most so many false findings per image."""
        allowed = int(per_image * self.images)
        ranked = sorted(self.wrong, reverse=True)
        return self.sensitivity(max(ranked[allowed] + 1e-9 if len(ranked) > allowed else 0.0, 1e-9))


def compared(found: Sequence[Nodule], truth: Mask, scene: Scene) -> tuple[Hit, list[float]]:
    """Return what became of a nodule, and the scores of findings that do not touch it."""
    hit, wrong = Hit(scene, 0.0, 0.0), []
    size = int(truth.sum())
    for nodule in found:
        both = int((truth[nodule.region.slices] & nodule.mask).sum())
        if not both:
            wrong.append(nodule.score)
        elif nodule.score > hit.score:
            hit = Hit(scene, nodule.score, 2 * both / (size + int(nodule.mask.sum())))
    return hit, wrong


def on_cubes(ctx: JobContext, model: Model, scenes: Sequence[Scene]) -> Tally:
    """Return what is found in cubes, each opened as an image."""
    tally = Tally([], [], len(scenes))
    for n, scene in enumerate(scenes):
        ctx.progress(n / len(scenes), f"Cube {n + 1} of {len(scenes)}")
        found = find_nodules(ctx, model, volume_of(scene)) or []
        hit, wrong = compared(found, scene.nodule, scene)
        tally.hits.append(hit)
        tally.wrong += wrong
    return tally


def on_lung(ctx: JobContext, model: Model, lung: Scene, donors: Sequence[Scene], seed: int = 0) -> Tally:
    """Return what is found of nodules put into a lung at their own size, and what is found where none was put."""
    tally = Tally([], [], 0.5)
    assert lung.lung is not None
    inside = ndimage.binary_dilation(lung.lung, iterations=2)
    # The lung's own nodule is neither right nor wrong here.
    own = ndimage.binary_dilation(lung.nodule, iterations=5) if lung.nodule.any() else lung.nodule
    plain = nodules_in(ctx, model, volume_of(lung), inside)
    tally.wrong += [f.score for f in plain if not (own[f.region.slices] & f.mask).any()]
    left = [donor for donor in donors if donor.diameter_mm >= LEAST_MM]
    rng = np.random.default_rng(seed)
    while left:
        filled, masks, left = _filled(rng, lung, left)
        found = nodules_in(ctx, model, volume_of(filled), inside)
        tally.hits += [compared(found, mask, donor)[0] for donor, mask in masks]
    return tally


def _filled(
    rng: np.random.Generator, lung: Scene, donors: Sequence[Scene]
) -> tuple[Scene, list[tuple[Scene, Mask]], list[Scene]]:
    """Return a lung with as many nodules as fit apart, where they are, and the nodules left over."""
    hu, places = lung.hu.copy(), np.empty((0, 3))
    masks: list[tuple[Scene, Mask]] = []
    half = 32
    for n, donor in enumerate(donors):
        free = lung.free[rng.permutation(len(lung.free))[:200]]
        for place in free:
            low = place - half
            if (low < 0).any() or (low + 2 * half > hu.shape).any():
                continue
            if len(places) and np.linalg.norm(places - place, axis=1).min() < APART_MM:
                continue
            break
        else:
            return replace(lung, hu=hu), masks, list(donors[n:])
        box = tuple(slice(a, a + 2 * half) for a in low)
        crop = torch.from_numpy(hu[box].astype(np.float32))
        label = torch.zeros_like(crop)
        put_nodule(rng, crop, label, donor, donor.diameter_mm, np.full(3, half, float))
        hu[box] = crop.round().short().numpy()
        mask = np.zeros(hu.shape, bool)
        mask[box] = label.numpy() > 0.5
        masks.append((donor, mask))
        places = np.vstack([places, place])
    return replace(lung, hu=hu), masks, []


def on_scan(ctx: JobContext, model: Model, data: Path) -> tuple[Hit, list[float]] | None:
    """Return what is found in the whole scan whose nodule four readers marked; None where it is not at hand."""
    folder = data.parent / "data" / "dicom"
    path = folder / f"{SCANS[0]}.zip"
    if not path.is_file():
        return None
    volume = read_volume(path)
    truth = read_volume(folder / f"{SCANS[0]}_nodule_consensus.nii.gz").array > 0
    found = find_nodules(ctx, model, volume) or []
    scene = Scene("", volume.array, truth, None, np.empty((0, 3), np.int32), np.empty((0, 3), np.int32))
    return compared(found, truth, scene)


def measured(ctx: JobContext, model: Model, cubes: Sequence[Scene], lungs: Sequence[Scene], data: Path) -> Table:
    """Return the table of a model."""
    least = float(model.card.settings["least_score"])
    table = _cube_rows(on_cubes(SubContext(ctx, 0.0, 0.3), model, cubes), least)
    for n, lung in enumerate(lungs):
        tally = on_lung(SubContext(ctx, 0.3 + 0.2 * n, 0.5 + 0.2 * n), model, lung, cubes, seed=n)
        table += _lung_rows(lung.name, tally, least)
    scan = on_scan(SubContext(ctx, 0.8, 1.0), model, data)
    if scan is not None:
        hit, wrong = scan
        on = "whole chest CT LIDC-IDRI-0001, nodule of 23 mm"
        table.append({"what": "score of the nodule", "on": on, "cases": 1, "figure": round(hit.score, 3)})
        table.append({"what": "Dice of the nodule", "on": on, "cases": 1, "figure": round(hit.dice, 3)})
        count = sum(value >= least for value in wrong)
        table.append({"what": "false findings", "on": on, "cases": 1, "figure": count, "bar": "<= 4"})
    return table


def _cube_rows(tally: Tally, least: float) -> Table:
    on = "cubes of held-out patients"
    rows: Table = [
        {"what": "mean Dice", "on": on, "figure": _mean([h.dice for h in tally.hits]), "bar": ">= 0.82"},
        {"what": "sensitivity", "on": on, "figure": round(tally.sensitivity(least), 3), "bar": ">= 0.95"},
        {"what": "false findings per cube", "on": on, "figure": round(tally.wrong_per_image(least), 3), "bar": "<= 1"},
    ]
    for per in (0.125, 0.25, 0.5, 1.0):
        rows.append(
            {"what": f"sensitivity at {per:g} false per cube", "on": on, "figure": round(tally.at_wrong(per), 3)}
        )
    for row in rows:
        row["cases"] = len(tally.hits)
    groups = {
        "under 10 mm": [h for h in tally.hits if h.scene.diameter_mm < 10],
        "10 to 20 mm": [h for h in tally.hits if 10 <= h.scene.diameter_mm < 20],
        "20 mm and more": [h for h in tally.hits if h.scene.diameter_mm >= 20],
        "ground glass (texture 1 to 2)": [h for h in tally.hits if h.scene.ratings.get("texture", 5) < 2.5],
        "part solid (3 to 4)": [h for h in tally.hits if 2.5 <= h.scene.ratings.get("texture", 5) < 4.5],
        "solid (5)": [h for h in tally.hits if h.scene.ratings.get("texture", 5) >= 4.5],
    }
    for name, hits in groups.items():
        if hits:
            rows.append(
                {
                    "what": "mean Dice",
                    "on": f"{on}, {name}",
                    "figure": _mean([h.dice for h in hits]),
                    "cases": len(hits),
                }
            )
    return rows


def _lung_rows(name: str, tally: Tally, least: float) -> Table:
    on = f"held-out nodules of 6 mm and more put into {name.replace('_', ' ')} lung"
    rows: Table = [
        {"what": "sensitivity", "on": on, "figure": round(tally.sensitivity(least), 3)},
        {
            "what": "false findings per scan (twice this lung)",
            "on": on,
            "figure": round(tally.wrong_per_image(least), 2),
            "bar": "<= 4",
        },
    ]
    for per in (2, 4, 8):
        rows.append({"what": f"sensitivity at {per} false per scan", "on": on, "figure": round(tally.at_wrong(per), 3)})
    for row in rows:
        row["cases"] = len(tally.hits)
    return rows


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 3) if values else float("nan")
