"""Anatomy of the brain in a scan of any contrast and resolution, learnt from images made of label maps.

Data: ``brain_label_maps_synthseg``, 20 whole heads (Apache-2.0). Two maps are held out; real images are only ever used
to measure.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from medviewer.ai.card import ModelCard
from medviewer.ai.intensity import normalise
from medviewer.ai.predictor import Model, open_model, predict
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobContext
from medviewer.training.recipe import Batch, Metrics, Table
from medviewer.training.recipes import _brain as brain
from medviewer.training.recipes import _brain_measures as measures
from medviewer.training.recipes._brain_labels import labels, volume_ranges

if TYPE_CHECKING:
    from torch import nn

SCHEME = {"kind": "percentile", "low": 0.5, "high": 99.5}
#: Made CT is 0..1 between these; real CT between 0 and 80 HU.
CT = {"kind": "window", "low": 0.0, "high": 1.0}
SMALL, LARGE = (64, 80, 64), (80, 96, 80)
FINE = (24, 32, 24)
#: PyTorch takes its fast convolutions on a CPU only for two and more.
BATCH = 2
#: How often a contrast is drawn that no scanner ever made.
RANDOM = 0.08
#: What is imitated otherwise; twice what is used most.
IMITATED = ("t1", "t1", "flair", "flair", "t2", "t1c", "ct")
WINDOW = (96, 112, 96)
#: Labels that are one piece.
SOLID = [value for label, value in brain.OUTPUTS.items() if label not in (5, 44, 24)]
CHANNELS = len(brain.OUTPUTS) + 1


class Recipe(brain.HeadRecipe):
    """See the module, and `medviewer.training.recipe.TrainingRecipe`."""

    def card(self) -> ModelCard:
        """Return the card."""
        return ModelCard(
            id="brain_anatomy",
            version="1.0.0",
            title="Brain anatomy",
            description="32 structures of the brain, left and right, in MR of any contrast.",
            network="pyramid_unet",
            arguments={
                "in_channels": 1,
                "out_channels": CHANNELS,
                "features": [8, 24, 48, 96, 128],
                "fine": 24,
                "places": True,
            },
            task={
                "auto": True,
                "order": 40,
                "min_size": [32, 32, 8],
                "min_extent_mm": [100.0, 100.0, 60.0],
                "seconds_per_megavoxel": 1.0,
            },
            modalities=("MR",),
            body_parts=("HEAD", "BRAIN"),
            spacing_mm=(2.0, 2.0, 2.0),
            window=WINDOW,
            intensity={**SCHEME, "by_modality": {"CT": {"kind": "window", "low": 0.0, "high": 80.0}}},
            labels=labels(),
            postprocessing=({"step": "largest_component", "values": SOLID},),
            settings={"quality": {"volume_ml": volume_ranges(), "border": False}, "overlap": 0.25},
            license="Apache-2.0",
            credit="Label maps: SynthSeg, B. Billot et al., Medical Image Analysis 2023 (Apache-2.0).",
            data=(
                "18 whole-head label maps of SynthSeg (2 more held out), deformed; every training image was made from "
                "them: imitated contrast (T1, T1 with contrast medium, T2, FLAIR, CT), one in twelve at random, slices "
                "up to 7 mm thick, coil bias, blur, noise, skull stripping, lesions. No real image was used to train."
            ),
            intended_use="Research and education: volumes and borders of brain structures. Not a medical device.",
            failures=(
                "Large masses, resections and haemorrhage: structures near them are pushed into normal places.",
                "Children under about five years: the label maps are of adults.",
                "Slices of 6 mm and more: nucleus accumbens, amygdala and inferior horns are rough.",
                "Amygdala, nucleus accumbens and inferior horns are rough in any image.",
                "CT, though learnt from made images: fluid and cortex spill into the skull, so it is not offered.",
                "Borders are drawn on a grid of 2 mm: thin sulci and the cortical ribbon are smoothed.",
            ),
        )

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return heads: ``image`` (n, 1, k, j, i) at 2 mm, ``label`` of them, the box for the fine loss."""
        size = LARGE if rng.random() < 0.2 else SMALL
        pairs = [self._head(rng, size) for _ in range(BATCH)]
        corner = [2 * int(rng.integers(0, (n - f) // 2 + 1)) for n, f in zip(size, FINE, strict=True)]
        return {
            "image": torch.from_numpy(np.stack([image for image, _ in pairs]))[:, None],
            "label": torch.from_numpy(np.stack([label for _, label in pairs])).long(),
            "corner": torch.tensor(corner),
            "offset": torch.from_numpy(rng.integers(0, 2, 3)),
        }

    def _head(self, rng: np.random.Generator, size: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
        codes = crop(self.pool[rng.integers(len(self.pool))], rng, tuple(2 * n for n in size))
        if rng.random() < 0.5:
            codes = brain.MIRROR_OF_CODE[codes[:, :, ::-1]]
        return paint(codes, rng)

    def loss(self, network: Any, batch: Batch) -> torch.Tensor:
        """Return cross-entropy and soft Dice: coarse of the whole field, fine of a box in it."""
        label = batch["label"]
        corner = [int(v) for v in batch["corner"]]
        coarse, fine = network.train_forward(batch["image"], corner, FINE)
        a, b, c = (int(v) for v in batch["offset"])
        box = tuple(slice(v, v + n) for v, n in zip(corner, FINE, strict=True))
        return _loss(coarse, label[:, a::2, b::2, c::2]) + _loss(fine, label[(slice(None), *box)])

    def validate(self, network: nn.Module) -> Metrics:
        """Return the mean Dice on made images of the maps held out."""
        rng = np.random.default_rng(7)
        scores = []
        for codes in self.check:
            image, label = paint(crop(codes, rng, tuple(2 * n for n in LARGE)), rng)
            found = network(torch.from_numpy(image)[None, None])[0].argmax(0).numpy()
            scores.append(dice(found, label))
        return {"dice": float(np.nanmean(scores))}

    def evaluate(self, ctx: JobContext, folder: Path) -> Table:
        """Measure on made images of the maps held out, and on real images that lie beside the training data."""
        model = open_model(folder)
        table = [self._made(ctx, model)]
        real = self.data.parent / "data"
        if (real / "nifti").is_dir():
            table += measures.anatomy_of_real(ctx, model, real, self.work / "icbm")
        return table

    def _made(self, ctx: JobContext, model: Model) -> dict[str, Any]:
        rng = np.random.default_rng(8)
        scores = []
        for codes in [*self.check, *self.check]:
            kind = "ct"
            while kind == "ct":  # the card does not offer it
                kind, image, label = drawn(crop(codes, rng, tuple(2 * n for n in LARGE)), rng)
            grid = Geometry(image.shape[::-1], (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
            volume = Volume(image * 80, grid, modality="MR")
            scores.append(dice(predict(ctx, model, volume).labels, label))
        figure = round(float(np.nanmean(scores)), 3)
        return {
            "what": "mean Dice of 32 structures",
            "on": "made images of 2 maps held out",
            "cases": 8,
            "figure": figure,
        }


def crop(codes: np.ndarray, rng: np.random.Generator, size: tuple[int, ...]) -> brain.Codes:
    """Return a box at random of a map."""
    corner = [int(rng.integers(0, have - want + 1)) for have, want in zip(codes.shape, size, strict=True)]
    return np.ascontiguousarray(codes[tuple(slice(c, c + n) for c, n in zip(corner, size, strict=True))])


def paint(codes: brain.Codes, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return an image of 2 mm, normalised, and its labels, of a map of 1 mm."""
    kind, image, label = drawn(codes, rng)
    return normalise(image, CT if kind == "ct" else SCHEME), label


def drawn(codes: brain.Codes, rng: np.random.Generator) -> tuple[str, np.ndarray, np.ndarray]:
    """Return what was imitated, an image of 2 mm, 0..1, and its labels, of a map of 1 mm.

    The label of a voxel is that of one of the eight it is made of, at random: so the borders that are learnt lie in the
    middle.
    """
    kind, mean, deviation = brain.contrast(rng, IMITATED, RANDOM)
    a, b, c = rng.integers(0, 2, 3)
    some = np.ascontiguousarray(codes[a::2, b::2, c::2])
    tissue = brain.TISSUE_OF_CODE[some]
    shape = some.shape
    fine = torch.from_numpy(mean[brain.TISSUE_OF_CODE][codes])
    image = F.avg_pool3d(fine[None, None], 2)[0, 0]
    texture = brain.white_noise(rng, shape) + brain.smooth_noise(rng, shape, 20) * float(rng.uniform(0, 1))
    image = image + texture * torch.from_numpy(deviation[tissue])
    label = brain.OUTPUT_OF_CODE[some]
    if rng.random() < 0.2:
        image = torch.where(
            _blots(rng, shape) & torch.from_numpy(brain.BRAIN_OF_CODE[some]), float(rng.random()), image
        )
    kept = None
    if rng.random() < 0.3:
        kept = brain.strip(some, rng, 2)
    if rng.random() < 0.25:
        kept = np.ones(shape, bool) if kept is None else kept
        axis = int(rng.integers(3))
        part = [slice(None)] * 3
        missing = int(rng.integers(1, shape[axis] // 4))
        part[axis] = slice(0, missing) if rng.random() < 0.5 else slice(-missing, None)
        kept[tuple(part)] = False
    if kept is not None:
        image = image * torch.from_numpy(kept)
        label = label * kept
    image = brain.spoil(image.clamp(min=0), rng, 2.0)
    if kept is not None and rng.random() < 0.7:
        image = image * torch.from_numpy(kept)
    return kind, image.numpy(), label


def _blots(rng: np.random.Generator, shape: tuple[int, ...]) -> torch.Tensor:
    """Return where something lies that is none of the anatomy: lesions of any size."""
    return brain.smooth_noise(rng, shape, int(rng.integers(6, 24))) > float(rng.uniform(1.2, 2.2))


def _loss(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Return cross-entropy and soft Dice of the labels that are there, without the truth ever being spread out."""
    sure = logits.float().log_softmax(1)
    chance = sure.exp()
    right = chance.gather(1, label[:, None]).ravel()
    both = torch.zeros(CHANNELS, device=logits.device).index_add(0, label.ravel(), right)
    count = torch.bincount(label.ravel(), minlength=CHANNELS)
    soft = (2 * both + 1) / (chance.sum((0, 2, 3, 4)) + count + 1)
    return F.nll_loss(sure, label) + 1 - soft[count > 0].mean()


def dice(found: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return the Dice of every output; nan where the label has none."""
    scores = np.full(CHANNELS - 1, np.nan)
    for n in range(1, CHANNELS):
        truth = label == n
        if truth.sum() > 10:
            scores[n - 1] = 2 * (truth & (found == n)).sum() / (truth.sum() + (found == n).sum())
    return scores
