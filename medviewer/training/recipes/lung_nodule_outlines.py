"""Outlines of lung nodules: the third network of `lung_nodules`, learnt when the first two stand.

The first two are taken from the model that is shipped and stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import nn

from medviewer.ai.card import ModelCard
from medviewer.ai.nodule_outline import SIZE, channels, step_for
from medviewer.ai.nodules import candidates, judge, lung_of, mark, score
from medviewer.ai.predictor import Model, open_model
from medviewer.ai.weights import ModelStore
from medviewer.jobs.job import JobContext
from medviewer.training.recipe import Batch, Metrics, Table
from medviewer.training.recipes import lung_nodules
from medviewer.training.recipes._lung_mining import OnDevice, volume_of
from medviewer.training.recipes._lung_samples import draw_matrix, gathered, spoiled
from medviewer.training.recipes._lung_scenes import Scene, read_cubes
from medviewer.training.recipes.click_segment import segmentation_loss, soft_dice

BATCH = 8
FEATURES = (16, 32, 64)
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Marking:
    """A cube with a nodule, and what the first network takes for it.

    Attributes
    ----------
    scene : Scene
    chance : float32, shape of the cube
        Of the one candidate, of its highest; 0 elsewhere.
    center : (k, j, i)
    diameter_mm : float
    """

    scene: Scene
    chance: FloatArray
    center: npt.NDArray[np.float64]
    diameter_mm: float


class Recipe(lung_nodules.Recipe):
    """See `medviewer.training.recipe.TrainingRecipe`."""

    learning_rate = 2e-3

    def __init__(self, data: Path, work: Path) -> None:
        super().__init__(data, work)
        self.marked: dict[str, list[Marking]] = {"train": [], "tune": []}

    def prepare(self, ctx: JobContext) -> None:
        """Read cubes, and mark their nodules with the shipped model; made once and kept."""
        cubes = [(part, scene) for part, scene in read_cubes(self.data) if part != "test"]
        path = self.work / "marked.npz"
        if not path.is_file():
            model = open_model(ModelStore().find("lung_nodules").folder)
            made = []
            for n, (_, scene) in enumerate(cubes):
                ctx.progress(n / len(cubes), "Marking nodules")
                made.append(_marking(OnDevice(ctx), model, scene))
            self.work.mkdir(parents=True, exist_ok=True)
            chance, center, diameter = (np.array(part) for part in zip(*made, strict=True))
            np.savez(path, chance=chance, center=center, diameter=diameter)
        with np.load(path) as file:
            rows = zip(cubes, file["chance"], file["center"], file["diameter"], strict=True)
            for (part, scene), chance, center, diameter in rows:
                self.marked[part].append(Marking(scene, chance, center, float(diameter)))

    def evaluate(self, ctx: JobContext, folder: Path) -> Table:
        """Measure a finished model's folder, all three networks together."""
        whole = lung_nodules.Recipe(self.data, self.work.with_name("lung_nodules"))
        whole.prepare(ctx)
        return whole.evaluate(ctx, folder)

    def initialise(self, network: nn.Module) -> None:
        """Take the first two networks from the shipped model."""
        pair: Any = network
        shipped: Any = open_model(ModelStore().find("lung_nodules").folder).network
        pair.marker.load_state_dict(shipped.marker.state_dict())
        pair.judge.load_state_dict(shipped.judge.state_dict())

    def card(self) -> ModelCard:
        """Return the card of the model with three networks."""
        card = super().card()
        return replace(card, arguments={"outline": list(FEATURES)}, settings={**card.settings, "outline": True})

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return cubes around nodules, turned, scaled and spoiled, and their outlines."""
        made = [self._example(rng) for _ in range(BATCH)]
        image, label = (torch.stack(part) for part in zip(*made, strict=True))
        return {"image": image, "label": label[:, None]}

    def loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        """Return cross-entropy and overlap; the other two networks are not asked."""
        pair: Any = network
        return segmentation_loss(pair.outline(batch["image"]), batch["label"])

    def validate(self, network: nn.Module) -> Metrics:
        """Return the Dice on patients that are not learnt from and not tested on."""
        pair: Any = network
        dice = []
        for one in self.marked["tune"]:
            step = step_for(one.diameter_mm)
            values, _ = gathered(
                (one.scene.hu, one.scene.nodule, one.chance), one.center, step * np.eye(3) + 1e-9, SIZE
            )
            seen = channels(lung_nodules.scaled(values[0])[None, None], values[2][None, None])
            found = (pair.outline(seen) > 0).float()
            dice.append(float(soft_dice(found, (values[1] > 0.5).float()[None, None])))
        return {"dice": float(np.mean(dice)), "least_dice": float(np.min(dice))}

    def _example(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        one = self.marked["train"][int(rng.integers(len(self.marked["train"])))]
        matrix = draw_matrix(rng, 1.0) * step_for(one.diameter_mm * float(np.exp(rng.normal(0, 0.15))))
        center = one.center + rng.normal(0, 0.06 * one.diameter_mm, 3)
        values, _ = gathered((one.scene.hu, one.scene.nodule, one.chance), center, matrix, SIZE)
        chance = values[2]
        if rng.random() < 0.5:
            # The first network is sometimes surer and sometimes less sure than of what it has learnt from.
            chance = chance ** float(np.exp(rng.normal(0, 0.5)))
            chance = torch.roll(chance, [int(n) for n in rng.integers(-2, 3, 3)], (0, 1, 2))
        return channels(spoiled(rng, values[0])[None, None], chance[None, None])[0], (values[1] > 0.5).float()


def _marking(ctx: JobContext, model: Model, scene: Scene) -> tuple[FloatArray, npt.NDArray[np.float64], float]:
    """Return chance, middle and diameter of the surest candidate that touches a nodule.

    Of the nodule itself, blurred, where it was missed.
    """
    volume = volume_of(scene)
    lung = lung_of(ctx, volume)
    marked = mark(ctx, model, volume, np.ones(scene.hu.shape, bool) if lung is None else lung)
    chance = np.zeros(scene.hu.shape, np.float32)
    part = chance[marked.region.slices]
    found = judge(ctx, model, marked, candidates(marked, 3.0))
    truth = scene.nodule[marked.region.slices]
    touching = [c for c in found if (truth[c.box] & c.mask).any()]
    if not touching:
        blurred = ndimage.gaussian_filter(scene.nodule.astype(np.float32), 1.0)
        return blurred, scene.center, scene.diameter_mm
    best = max(touching, key=lambda c: score(model, c.features))
    part[best.box] = best.chance / best.chance.max()
    center = np.array(best.center) + marked.region.lower
    return chance, center, best.diameter_mm
