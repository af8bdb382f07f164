"""Lesions in one FLAIR image of the brain: bright spots and patches, and masses, learnt from made heads and real ones.

Data: ``brain_label_maps_synthseg`` (Apache-2.0) with lesions put in; and, where they lie beside the training data,
three real FLAIR images (CC BY) as backgrounds, see `_flair`. The patient that is measured on is none of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from medviewer.ai.card import Label, ModelCard
from medviewer.ai.predictor import open_model, predict
from medviewer.jobs.job import JobContext, SubContext
from medviewer.training.recipe import Batch, Metrics, Table
from medviewer.training.recipes import _brain as brain
from medviewer.training.recipes import _brain_measures as measures
from medviewer.training.recipes._brain_lesions import LESION, MASS
from medviewer.training.recipes._flair import SCHEME, UNSURE, made, read_real, real_patch

if TYPE_CHECKING:
    from torch import nn

PATCH = (48, 48, 48)
FINE = (32, 32, 32)
WINDOW = (64, 64, 64)
#: PyTorch takes its fast convolutions on a CPU only for two and more.
BATCH = 2
#: How often a patch comes from a real image, and how often there is a mass.
REAL, MASSES = 0.4, 0.15
CHANNELS = 3
#: Patches that `validate` looks at.
CHECKED = 24
#: What a voxel of a lesion counts beside one of the background: there are a hundred times fewer.
FOUND_WEIGHT = 5.0


class Recipe(brain.HeadRecipe):
    """See the module, and `medviewer.training.recipe.TrainingRecipe`."""

    learning_rate = 2e-3

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
                "kind": "detection",
                "auto": True,
                "contrasts": ["FLAIR"],
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
            settings={"overlap": 0.25, "category": "lesion", "findings": True, "quality": {"border": False}},
            license="Apache-2.0",
            credit=(
                "Label maps: SynthSeg, B. Billot et al., Medical Image Analysis 2023 (Apache-2.0). FLAIR images: "
                "Ž. Lesjak et al., Neuroinformatics 2016 (CC BY); Brain-Tumor-Progression, K. Schmainda, M. Prah, TCIA "
                "2018 (CC BY)."
            ),
            data=(
                "18 whole-head label maps of SynthSeg (2 more held out), deformed, as FLAIR images with lesions and "
                "masses put in, with and without skull; and lesions put into three real FLAIR images of two patients "
                "(one with multiple sclerosis at two visits, one with a glioblastoma). Nothing was learnt from where "
                "those may have lesions of their own. No lesion that a person drew was used to train."
            ),
            intended_use=(
                "Research and education: a first list and outline of lesions for a person to correct. Not a medical "
                "device."
            ),
            failures=(
                "Faint lesions that are hardly brighter than grey matter, and lesions of two or three voxels.",
                "Bright cortex, choroid plexus, and artefacts of flow and of the skull base are taken for lesions.",
                "Lesions of the cortex, brain stem and cerebellum are found less often than those of the white matter.",
                "Masses were learnt from made images only; there was no real one to measure on.",
                "FLAIR only: enhancing lesions of T1 with contrast medium are not looked for.",
            ),
        )

    def prepare(self, ctx: JobContext) -> None:
        """Deform the label maps, and read the real images that lie beside the training data."""
        super().prepare(SubContext(ctx, 0.0, 0.9))
        self.real = read_real(SubContext(ctx, 0.9, 1.0), self.data.parent / "data", self.work / "real")

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return patches: ``image`` (n, 1, k, j, i) at 1 mm, ``label`` of them, the corner of the fine box."""
        pairs = [self._patch(rng) for _ in range(BATCH)]
        label = np.stack([label for _, label in pairs])
        some = np.argwhere((label > 0) & (label != UNSURE))[:, 1:]
        center = some[rng.integers(len(some))] if len(some) and rng.random() < 0.7 else rng.integers(0, PATCH)
        corner = [2 * (int(np.clip(c - f // 2, 0, n - f)) // 2) for c, n, f in zip(center, PATCH, FINE, strict=True)]
        return {
            "image": torch.from_numpy(np.stack([image for image, _ in pairs]))[:, None],
            "label": torch.from_numpy(label).long(),
            "corner": torch.tensor(corner),
            "offset": torch.from_numpy(rng.integers(0, 2, 3)),
        }

    def _patch(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        if self.real and rng.random() < REAL:
            return real_patch(self.real[rng.integers(len(self.real))], rng, PATCH, MASSES)
        return made(self.pool[rng.integers(len(self.pool))], rng, PATCH, MASSES)

    def loss(self, network: Any, batch: Batch) -> torch.Tensor:
        """Return cross-entropy and soft Dice, coarse of the patches and fine of a box in them."""
        label, corner = batch["label"], [int(v) for v in batch["corner"]]
        coarse, fine = network.train_forward(batch["image"], corner, FINE)
        box = tuple(slice(v, v + n) for v, n in zip(corner, FINE, strict=True))
        a, b, c = (int(v) for v in batch["offset"])
        return 0.5 * _loss(coarse, label[:, a::2, b::2, c::2]) + _loss(fine, label[(slice(None), *box)])

    def validate(self, network: nn.Module) -> Metrics:
        """Return the Dice of both kinds over made patches of the maps held out."""
        rng = np.random.default_rng(11)
        both, total = np.zeros(CHANNELS), np.zeros(CHANNELS)
        for n in range(CHECKED):
            image, label = made(self.check[n % len(self.check)], rng, PATCH, MASSES)
            found = network(torch.from_numpy(image)[None, None])[0].argmax(0).numpy()
            for value in (LESION, MASS):
                both[value] += 2 * ((found == value) & (label == value)).sum()
                total[value] += (found == value).sum() + (label == value).sum()
        score = both / np.maximum(total, 1)
        return {"lesion_dice": float(score[LESION]), "mass_dice": float(score[MASS])}

    def evaluate(self, ctx: JobContext, folder: Path) -> Table:
        """Measure on made patches of the maps held out, and on a real patient where it lies beside the data."""
        model = open_model(folder)
        with torch.inference_mode():
            made_ones = self.validate(model.network)
        where = {"on": "made patches of 2 maps held out", "cases": CHECKED}
        table = [{"what": f"Dice, {name[:-5]}", **where, "figure": round(v, 3)} for name, v in made_ones.items()]
        patient = self.data.parent / "data" / "nifti" / "ms_patient07"
        if not patient.is_dir():
            return table
        found = predict(ctx, model, measures.open_volume(ctx, patient / "FLAIR.nii.gz")).labels == LESION
        truth = np.asarray(measures.open_volume(ctx, patient / "GOLD.nii.gz").array) > 0
        scores = zip(("Dice", "lesion-wise F1"), measures.lesion_scores(found, truth), strict=True)
        where = {"on": "one patient with multiple sclerosis, 1.3 ml of lesions", "cases": 1}
        return table + [{"what": name, **where, "figure": round(v, 3), "bar": 0.6} for name, v in scores]


def _loss(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Return cross-entropy and soft Dice over the voxels whose label is known."""
    known = (label != UNSURE)[:, None]
    truth = F.one_hot(torch.where(known[:, 0], label, 0), CHANNELS).movedim(-1, 1).float()
    sure = logits.float().log_softmax(1)
    weight = torch.where(truth[:, :1] > 0, 1.0, FOUND_WEIGHT) * known
    entropy = -(truth * sure * weight).sum() / weight.sum().clamp(min=1)
    chance, truth = (sure.exp() * known)[:, 1:], truth[:, 1:]
    both = (chance * truth).sum((0, 2, 3, 4))
    total = (chance + truth).sum((0, 2, 3, 4))
    present = truth.sum((0, 2, 3, 4)) > 0
    soft = 1 - (2 * both + 1) / (total + 1)
    return entropy + (soft[present].mean() if present.any() else 0 * soft.mean())
