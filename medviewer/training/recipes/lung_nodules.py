"""Lung nodules on CT: where they are, how sure it is, and their outline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from medviewer.ai.card import CARD_NAME, Label, ModelCard
from medviewer.ai.predictor import open_model
from medviewer.jobs.job import JobContext, NullContext
from medviewer.training.recipe import Batch, Metrics, Table
from medviewer.training.recipes._lung_mining import OnDevice, mine
from medviewer.training.recipes._lung_samples import (
    HIGH_HU,
    LOW_HU,
    draw_matrix,
    edges_repeated,
    gathered,
    put_nodule,
    spoiled,
)
from medviewer.training.recipes._lung_scenes import Scene, read_cubes, read_lungs

CROP, CUBE = 40, 32
CROPS, CUBES_OF_ONE_STEP = 4, 8
#: Share of samples from whole lungs; the others come from the cubes of many patients.
FROM_LUNGS = 0.35


class Recipe:
    """See `medviewer.training.recipe.TrainingRecipe`."""

    learning_rate = 3e-3
    weight_decay = 1e-4
    #: Whether the held-out lungs are measured on as well; that lasts long.
    thorough = False

    def __init__(self, data: Path, work: Path) -> None:
        self.data, self.work = data, work
        self.cubes: dict[str, list[Scene]] = {}
        self.lungs: list[Scene] = []
        self.mined: dict[str, npt.NDArray[np.int32]] | None = None

    def prepare(self, ctx: JobContext) -> None:
        """Read cubes and lungs."""
        self.cubes = {"train": [], "tune": [], "test": []}
        for part, scene in read_cubes(self.data):
            self.cubes[part].append(scene)
        self.lungs = read_lungs(ctx, self.data, self.work, "right")

    def card(self) -> ModelCard:
        """Return the card without what training and measuring add."""
        return ModelCard(
            id="lung_nodules",
            version="1.1",
            title="Lung nodules",
            description="Finds nodules of 4 to 32 mm in the lungs, draws them, and says how sure it is of each.",
            network="nodule_detector",
            arguments={},
            runner="nodules",
            task={
                "kind": "detection",
                "auto": False,
                "order": 45,
                "min_size": [24, 24, 8],
                "min_extent_mm": [30.0, 30.0, 30.0],
                "seconds_per_megavoxel": 0.5,
            },
            modalities=("CT",),
            body_parts=BODY_PARTS,
            channels=("CT",),
            spacing_mm=(1.0, 1.0, 1.0),
            window=(64, 64, 64),
            intensity={"kind": "window", "low": LOW_HU, "high": HIGH_HU},
            output="sigmoid",
            labels=(
                Label(value=1, name="nodule", title="Nodule", code=("27925004", "SCT", "Nodule"), color=(230, 75, 53)),
            ),
            settings={"cube": CUBE, "score": SCORE, "least_score": LEAST_SCORE},
            license="Apache-2.0",
            credit="LIDC-IDRI (Armato 2011, doi:10.7937/K9/TCIA.2015.LO9QL9SX, CC BY 3.0); "
            "Colorectal-Liver-Metastases (Simpson 2023, CC BY 4.0).",
            data=DATA,
            failures=FAILURES,
        )

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return crops with outlines for the marker, and cubes around candidates for the judge."""
        if self.mined is None:
            # What an earlier slice took for nodules; looked for when training begins, not to measure.
            known = (self.work / "model" / CARD_NAME).is_file()
            scenes = [*self.cubes["train"], *self.lungs]
            self.mined = mine(OnDevice(NullContext()), open_model(self.work / "model"), scenes) if known else {}
        crops = [self._crop(rng) for _ in range(CROPS)]
        cubes = [self._candidate(rng, n % 2 == 0) for n in range(CUBES_OF_ONE_STEP)]
        image, label, weight = (torch.stack(part)[:, None] for part in zip(*crops, strict=True))
        truth = torch.tensor([float(n % 2 == 0) for n in range(CUBES_OF_ONE_STEP)])
        return {"image": image, "label": label, "weight": weight, "cube": torch.stack(cubes)[:, None], "truth": truth}

    def loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        """Return the sum of the marker's and the judge's loss."""
        pair: Any = network
        logits = pair.marker(batch["image"]).float()
        verdicts = pair.judge(batch["cube"]).float()
        smooth = batch["truth"] * 0.94 + 0.03
        judged = binary_cross_entropy_with_logits(verdicts, smooth)
        return _marker_loss(logits, batch["label"], batch["weight"]) + judged

    def validate(self, network: nn.Module) -> Metrics:
        """Return Dice and the judge's accuracy on patients that are not learnt from and not tested on."""
        dice, right = [], []
        pair: Any = network
        rng = np.random.default_rng(1)
        for scene in self.cubes["tune"]:
            logits = pair.marker(_whole(scene))
            found = logits[0, 0].numpy() > 0
            truth = np.pad(scene.nodule, ((0, 5),) * 3)
            dice.append(2 * float((found & truth).sum()) / max(1.0, float(found.sum() + truth.sum())))
            for good in (True, False):
                for _ in range(4):
                    cube = self._judged(rng, scene, good, plain=True)
                    right.append(float((pair.judge(cube[None, None])[0] > 0) == good))
        return {"dice": float(np.mean(dice)), "least_dice": float(np.min(dice)), "judged_right": float(np.mean(right))}

    def evaluate(self, ctx: JobContext, folder: Path) -> Table:
        """Measure a finished model's folder."""
        from medviewer.training.recipes._lung_measure import measured

        lungs = read_lungs(ctx, self.data, self.work, "left") if self.thorough else []
        return measured(OnDevice(ctx), open_model(folder), self.cubes["test"], lungs, self.data)

    def _scene(self, rng: np.random.Generator) -> Scene:
        if self.lungs and rng.random() < FROM_LUNGS:
            # The first is a chest, the others bases of lungs in thick slices.
            return self.lungs[0] if rng.random() < 0.7 else _any(rng, self.lungs)
        return _any(rng, self.cubes["train"])

    def _crop(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        scene = self._scene(rng)
        whole = scene.lung is not None
        if whole:
            center = _one(rng, self._hard(rng, scene)) + rng.normal(0, 6, 3)
        else:
            center = scene.center + rng.uniform(-14, 14, 3)
        matrix = draw_matrix(rng, float(np.exp(rng.uniform(-0.4, 0.35))))
        values, inside = gathered((scene.hu, scene.nodule), center, matrix, CROP)
        hu, label = values[0], (values[1] > 0.5).float()
        if whole or rng.random() < 0.25:
            for _ in range(int(rng.choice([0, 1, 2], p=[0.3, 0.5, 0.2])) if whole else 1):
                self._put(rng, hu, label)
        return spoiled(rng, hu), label, inside.float()

    def _put(self, rng: np.random.Generator, hu: torch.Tensor, label: torch.Tensor) -> None:
        """Put a nodule where the crop is thin."""
        donor = _any(rng, self.cubes["train"])
        diameter = float(np.exp(rng.uniform(np.log(4), np.log(26))))
        thin = torch.nonzero((hu < -600) & (label == 0)).numpy()
        if len(thin):
            put_nodule(rng, hu, label, donor, diameter, _one(rng, thin))

    def _hard(self, rng: np.random.Generator, scene: Scene) -> npt.NDArray[np.int32]:
        """Return places to look at: what was taken for a nodule, what is dense, or anywhere."""
        mined = (self.mined or {}).get(scene.name)
        kind = rng.random()
        if mined is not None and len(mined) and kind < 0.5:
            return mined
        if len(scene.bright) and (kind < 0.75 or not len(scene.free)):
            return scene.bright
        return scene.free if len(scene.free) else np.array([[25, 25, 25]], np.int32)

    def _candidate(self, rng: np.random.Generator, good: bool) -> torch.Tensor:
        return self._judged(rng, self._scene(rng), good)

    def _judged(self, rng: np.random.Generator, scene: Scene, good: bool, *, plain: bool = False) -> torch.Tensor:
        """Return a cube around a nodule, there or put in, or around what is none."""
        matrix = np.eye(3) if plain else draw_matrix(rng, float(np.exp(rng.uniform(-0.3, 0.3))))
        put = good and (scene.lung is not None or (not plain and rng.random() < 0.3 and len(scene.free) > 50))
        if good and not put:
            center = scene.center + rng.normal(0, 0.12 * scene.diameter_mm, 3)
        elif put:
            center = _one(rng, scene.free if rng.random() < 0.7 or not len(scene.bright) else scene.bright).astype(
                float
            )
        else:
            center = _one(rng, self._hard(rng, scene)) + rng.normal(0, 1, 3)
        values, _ = gathered((scene.hu, scene.nodule), center, matrix, CUBE)
        hu = values[0]
        if put:
            diameter = float(np.exp(rng.uniform(np.log(4), np.log(26))))
            at = (CUBE - 1) / 2 + rng.normal(0, 0.12 * diameter, 3)
            put_nodule(rng, hu, torch.zeros_like(hu), _any(rng, self.cubes["train"]), diameter, at)
        if plain:
            return scaled(hu)
        return edges_repeated(rng, spoiled(rng, hu), 6)


def _marker_loss(logits: torch.Tensor, label: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return overlap plus cross entropy over nodules and the voxels most wrongly taken for one."""
    probability = torch.sigmoid(logits) * weight
    label = label * weight
    axes = (1, 2, 3, 4)
    both, total = (probability * label).sum(axes), probability.sum(axes) + label.sum(axes)
    there = label.sum(axes) > 0
    dice = 1 - (2 * both + 1) / (total + 1)
    overlap = (dice * there).sum() / there.sum().clamp(min=1)
    entropy = binary_cross_entropy_with_logits(logits, label, reduction="none") * weight
    inside = label > 0.5
    right, wrong = entropy[inside], entropy[~inside]
    hardest = wrong.topk(max(1, wrong.numel() // 200)).values
    return overlap + 0.5 * right.sum() / max(1, right.numel()) + wrong.mean() + 0.3 * hardest.mean()


def scaled(hu: torch.Tensor) -> torch.Tensor:
    """Return density in HU as the networks want it, -1..1."""
    return ((hu - (LOW_HU + HIGH_HU) / 2) * (2 / (HIGH_HU - LOW_HU))).clamp(-1, 1)


def _whole(scene: Scene) -> torch.Tensor:
    """Return a cube as the marker wants it, (1, 1, k, j, i), its borders repeated to a size it can halve."""
    hu = torch.from_numpy(np.pad(scene.hu, ((0, 5),) * 3, mode="edge").astype(np.float32))
    return scaled(hu)[None, None]


def _one(rng: np.random.Generator, places: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    return np.asarray(places[int(rng.integers(len(places)))], np.float64)


def _any(rng: np.random.Generator, scenes: list[Scene]) -> Scene:
    return scenes[int(rng.integers(len(scenes)))]


#: Below this a finding is not shown.
LEAST_SCORE = 0.3
#: Weights of `medviewer.ai.nodules.score`.
SCORE = {"bias": -2.0, "peak": 2.5, "judged": 1.0, "size": 0.0}
BODY_PARTS = (
    "CHEST", "THORAX", "LUNG", "CHEST_TO_ABDOMEN", "CHESTABDOMEN", "CHESTABDPELVIS", "CHEST_ABDOMEN",
    "CHEST_ABDOMEN_PELVIS", "TSPINE", "HEART", "BREAST", "WHOLEBODY", "BODY",
)  # fmt: skip
DATA = (
    "72 nodules of 72 patients of LIDC-IDRI (cubes of 51 mm, consensus masks), learnt in place and put into other "
    "patients' cubes, one right lung of a chest CT (LIDC-IDRI-0001, slices of 2.5 mm) and one right lung base of an "
    "abdomen CT (CRLM-CT-1004, slices of 5 mm). Held out by patient: 26 nodules for the table, 8 that only weigh the "
    "score, and both left lungs."
)
FAILURES = (
    "Trained for 19 minutes on one busy core: it misses its bar, Dice 0.82. The 26 held-out patients are not measured.",
    "False findings in whole scans were not measured: expect many.",
    "Outlines of nodules under 8 mm and of ground glass are often too small or missing.",
    "Junctions of vessels, bronchi filled with mucus, scars and thickened pleura are taken for nodules.",
    "Larger masses (over 32 mm) and consolidations are drawn in parts or missed.",
    "Slices further apart than 5 mm hide small nodules; the finding list says so.",
    "Contrast-enhanced vessels near the hilum were seen little in training.",
)
