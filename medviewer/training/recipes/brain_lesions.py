"""Lesions in one MR image of the brain: bright spots and patches on FLAIR, and masses, learnt from made heads.

Data: ``brain_label_maps_synthseg`` (Apache-2.0) with lesions put in; where it is at hand, one real patient with
multiple sclerosis (Lesjak 2017, CC BY) joins in once the made heads are learnt.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from medviewer.ai.card import Label, ModelCard
from medviewer.ai.predictor import open_model, predict
from medviewer.jobs.job import JobContext
from medviewer.training.recipe import Batch, Metrics, Table
from medviewer.training.recipes import _brain as brain
from medviewer.training.recipes import _brain_measures as measures
from medviewer.training.recipes._brain_lesions import LESION, MASS, Lesions, add_lesions

if TYPE_CHECKING:
    from torch import nn

PATCH = (64, 64, 64)
FINE = (40, 40, 40)
WINDOW = (96, 96, 96)
SCHEME = {"kind": "zscore"}
_VENTRICLE_RIM = 1
_GREY = ("cortex", "cerebellar_cortex", "hippocampus", "thalamus", "caudate", "putamen")
#: Contrasts and how often.
KINDS = {"flair": 0.82, "t2": 0.06, "t1c": 0.12}


class Recipe(brain.HeadRecipe):
    """See the module, and `medviewer.training.recipe.TrainingRecipe`."""

    def card(self) -> ModelCard:
        """Return the card."""
        return ModelCard(
            id="brain_lesions",
            version="1.0.0",
            title="Brain lesions",
            description="Bright lesions of the white matter on FLAIR, and masses, in one MR image of the brain.",
            network="pyramid_unet",
            arguments={"in_channels": 1, "out_channels": 3, "features": [8, 24, 48, 96, 128], "fine": 16},
            task={
                "auto": True,
                "order": 50,
                "min_size": [32, 32, 8],
                "min_extent_mm": [100.0, 100.0, 60.0],
                "seconds_per_megavoxel": 1.5,
            },
            modalities=("MR",),
            body_parts=("HEAD", "BRAIN"),
            channels=("FLAIR",),
            spacing_mm=(1.0, 1.0, 1.0),
            window=WINDOW,
            intensity=SCHEME,
            labels=(
                Label(
                    value=LESION,
                    name="lesion",
                    title="White-matter lesion or oedema",
                    code=("301766008", "SCT", "Lesion of Brain"),
                    color=(255, 80, 60),
                ),
                Label(
                    value=MASS,
                    name="mass",
                    title="Mass or enhancing lesion",
                    code=("4147007", "SCT", "Mass"),
                    color=(60, 220, 120),
                ),
            ),
            postprocessing=({"step": "min_size", "ml": 0.004},),
            settings={"overlap": 0.25, "category": "lesion", "quality": {"border": False}},
            license="Apache-2.0",
            credit="Label maps: SynthSeg, B. Billot et al., Medical Image Analysis 2023 (Apache-2.0).",
            data=(
                "18 whole-head label maps of SynthSeg (2 more held out), deformed, with lesions and masses put in, and "
                "images made of them: FLAIR mostly, T2, and T1 with contrast medium, with and without skull."
            ),
            intended_use=(
                "Research and education: a first outline of lesions for a person to correct. Not a medical device."
            ),
            failures=(
                "Faint lesions that are hardly brighter than grey matter, and lesions of two or three voxels.",
                "Lesions of the cortex, brain stem and cerebellum are found less often than those of the white matter.",
                "Bright artefacts of flow and of the skull base on FLAIR can be taken for lesions.",
                "T1 without contrast medium and CT: not made for them.",
            ),
        )

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return a patch of a head: ``image`` (n, 1, k, j, i) at 1 mm, ``label`` of it, the box for the fine loss."""
        pairs = [made(self.pool[rng.integers(len(self.pool))], rng)]
        corner = [2 * int(rng.integers(0, (n - f) // 2 + 1)) for n, f in zip(PATCH, FINE, strict=True)]
        return {
            "image": torch.from_numpy(np.stack([image for image, _ in pairs]))[:, None],
            "label": torch.from_numpy(np.stack([label for _, label in pairs])).long(),
            "corner": torch.tensor(corner),
        }

    def loss(self, network: Any, batch: Batch) -> torch.Tensor:
        """Return cross-entropy and soft Dice, coarse of the patches and fine of a box in them."""
        label, corner = batch["label"], [int(v) for v in batch["corner"]]
        coarse, fine = network.train_forward(batch["image"], corner, FINE)
        box = tuple(slice(v, v + n) for v, n in zip(corner, FINE, strict=True))
        truth = F.one_hot(label, 3).movedim(-1, 1).float()
        return 0.5 * _loss(coarse, F.avg_pool3d(truth, 2)) + _loss(fine, truth[(slice(None), slice(None), *box)])

    def validate(self, network: nn.Module) -> Metrics:
        """Return the Dice of both kinds over made patches of the maps held out."""
        rng = np.random.default_rng(11)
        both, total = np.zeros(3), np.zeros(3)
        for n in range(8):
            image, label = made(self.check[n % len(self.check)], rng)
            found = network(torch.from_numpy(image)[None, None])[0].argmax(0).numpy()
            for value in (LESION, MASS):
                both[value] += 2 * ((found == value) & (label == value)).sum()
                total[value] += (found == value).sum() + (label == value).sum()
        score = both / np.maximum(total, 1)
        return {"lesion_dice": float(score[LESION]), "mass_dice": float(score[MASS])}

    def evaluate(self, ctx: JobContext, folder: Path) -> Table:
        """Measure on the real patient with multiple sclerosis that lies beside the training data."""
        patient = self.data.parent / "data" / "nifti" / "ms_patient07"
        if not patient.is_dir():
            return []
        found = predict(ctx, open_model(folder), measures.open_volume(ctx, patient / "FLAIR.nii.gz")).labels == LESION
        truth = np.asarray(measures.open_volume(ctx, patient / "GOLD.nii.gz").array) > 0
        scores = zip(("Dice", "lesion-wise F1"), measures.lesion_scores(found, truth), strict=True)
        where = "one patient with multiple sclerosis, 1.3 ml of lesions"
        return [{"what": name, "on": where, "cases": 1, "figure": round(v, 3), "bar": 0.6} for name, v in scores]


def made(head: brain.Codes, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a patch of a head with lesions, normalised as the whole image would be, and its labels."""
    inside = brain.BRAIN_OF_CODE[head[::4, ::4, ::4]]
    center = np.array(np.unravel_index(int(rng.choice(np.flatnonzero(inside))), inside.shape)) * 4
    corner = [int(np.clip(c - n // 2, 0, have - n)) for c, n, have in zip(center, PATCH, head.shape, strict=True)]
    codes = head[tuple(slice(c, c + n) for c, n in zip(corner, PATCH, strict=True))]
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    mirror = rng.random() < 0.5
    codes = np.ascontiguousarray(codes[:, :, ::-1] if mirror else codes)
    lesions = add_lesions(codes, rng, masses=0.6 if kind == "t1c" else 0.2)
    stripped = rng.random() < 0.5
    _, mean, deviation = brain.contrast(rng, (kind,), random=0.0)
    image = _drawn(codes, lesions, kind, mean, deviation, rng)
    whole = mean[brain.TISSUE_OF_CODE][head[::4, ::4, ::4]]
    if stripped:
        kept = brain.strip(codes, rng, 1)
        image *= kept
        whole = whole[brain.OUTPUT_OF_CODE[head[::4, ::4, ::4]] > 0]
    whole = whole[whole > 0]
    ready = brain.spoil(torch.from_numpy(image), rng, 1.0, 5.0, gamma=0.0).numpy()
    if stripped and rng.random() < 0.8:
        ready *= kept
    ready = (ready - whole.mean() * np.exp(rng.normal(0, 0.05))) / (
        max(whole.std(), 0.05) * np.exp(rng.normal(0, 0.15))
    )
    label = lesions.label * (kept if stripped else True)
    return ready.astype(np.float32), np.where((label == LESION) & (kind == "t1c"), 0, label).astype(np.uint8)


def _drawn(
    codes: brain.Codes,
    lesions: Lesions,
    kind: str,
    mean: brain.Floats,
    deviation: brain.Floats,
    rng: np.random.Generator,
) -> brain.Floats:
    """Return a patch as its contrast shows it, before the scanner."""
    tissue = brain.TISSUE_OF_CODE[codes]
    names = list(brain.TISSUES)
    white, grey = float(mean[names.index("white")]), float(mean[names.index("cortex")])
    image = mean[tissue]
    texture = brain.white_noise(rng, codes.shape).numpy() * float(rng.uniform(0, 1))
    texture += brain.smooth_noise(rng, codes.shape, 10).numpy() * float(rng.uniform(0, 1))
    image = (image + texture * deviation[tissue] * 0.7).astype(np.float32)
    if kind != "t1c" and rng.random() < 0.5:
        rim = brain.grown(np.isin(codes, [brain.CODE[4], brain.CODE[43]]), _VENTRICLE_RIM) & (
            tissue == names.index("white")
        )
        image[rim] += float(rng.uniform(0.0, 0.2))
    noise = brain.smooth_noise(rng, codes.shape, 12).numpy()
    # T1 shows lesions of the white matter dark or not at all; all else shows them brighter than any brain around them.
    bright = (
        white - float(rng.uniform(0, 0.2))
        if kind == "t1c"
        else max(white, grey) + 0.07 + min(float(rng.exponential(0.15)), 0.6)
    )
    image += lesions.lesion * (bright + 0.04 * noise - image) * float(rng.uniform(0.75, 1.0))
    if lesions.mass.any():
        if kind == "t1c":
            rim, core = white + float(rng.uniform(0.15, 0.6)), float(rng.uniform(0.1, 1.0)) * white
            core = rim if rng.random() < 0.35 else core
        else:
            rim = grey + float(rng.uniform(0.08, 0.4))
            core = grey + float(rng.uniform(*((-0.35, -0.1) if rng.random() < 0.5 else (0.08, 0.4))))
        inside = np.clip(lesions.core * float(rng.uniform(1, 4)) - float(rng.uniform(0, 0.8)), 0, 1)
        image += lesions.mass * (rim + (core - rim) * inside + 0.06 * noise - image)
    return np.clip(image, 0, None).astype(np.float32)


def _loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    entropy = F.cross_entropy(logits, truth)
    chance, truth = logits.float().softmax(1)[:, 1:], truth[:, 1:]
    both = (chance * truth).sum((0, 2, 3, 4))
    total = (chance + truth).sum((0, 2, 3, 4))
    present = truth.sum((0, 2, 3, 4)) > 0
    soft = 1 - (2 * both + 1) / (total + 1)
    return entropy + (soft[present].mean() if present.any() else 0 * soft.mean())
