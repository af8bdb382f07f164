"""Anterior and posterior hippocampus in MR crops of one hippocampus, 1 mm.

Data: `hippocampus_msd`, Medical Segmentation Decathlon Task04 (Antonelli et al., The Medical Segmentation Decathlon,
2022), CC BY-SA 4.0. All crops are of the left side by their header; `medviewer.ai.hippocampus`
shows the right one to the network in a mirror.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medviewer.ai.card import Label, ModelCard
from medviewer.ai.intensity import normalise
from medviewer.core.errors import InputError
from medviewer.jobs.job import JobContext, NullContext
from medviewer.training.measures import dice
from medviewer.training.recipe import Batch, Metrics, Table

if TYPE_CHECKING:
    import torch
    from torch import nn

SCHEME = {"kind": "zscore"}
WINDOW = (32, 48, 32)
HELD_OUT = 40
BATCH = 2
CLASSES = 3


@dataclass(slots=True)
class Recipe:
    """A small 3-D U-Net on windows of one hippocampus.

    Attributes
    ----------
    images : list of array (k, j, i), float32
        Normalised, on their own 1 mm grid, axes to head, back and left.
    labels : list of array (k, j, i), uint8
    """

    data: Path
    work: Path
    learning_rate: float = 1.5e-3
    weight_decay: float = 1e-3
    files: list[Path] = field(default_factory=list)
    images: list[npt.NDArray[np.float32]] = field(default_factory=list)
    labels: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    train: list[int] = field(default_factory=list)
    held_out: list[int] = field(default_factory=list)

    def prepare(self, ctx: JobContext) -> None:
        """Read all crops, a second or two; raises `InputError` ``E_TRAINING_DATA``."""
        import SimpleITK as sitk

        folder = self.data / "hippocampus_msd"
        self.files = sorted((folder / "images").glob("*.nii.gz"), key=lambda path: path.name)
        if not self.files:
            raise InputError(
                f"There are no images in {folder}.",
                hint="Give the folder that holds hippocampus_msd/images and hippocampus_msd/labels.",
                code="E_TRAINING_DATA",
            )
        for n, path in enumerate(self.files):
            ctx.progress(n / len(self.files), path.name)
            image, label = (
                sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(str(folder / part / path.name)), "LPS"))
                for part in ("images", "labels")
            )
            self.images.append(normalise(image, SCHEME))
            self.labels.append(label.astype(np.uint8))
        chosen = held_out_names([path.name for path in self.files])
        self.held_out = [n for n, path in enumerate(self.files) if path.name in chosen]
        self.train = [n for n, path in enumerate(self.files) if path.name not in chosen]

    def card(self) -> ModelCard:
        """Return the card without hash, training and metrics."""
        return ModelCard(
            id="hippocampus",
            version="1.0",
            title="Hippocampus, anterior and posterior",
            description="Finds the two parts of the hippocampus in T1-weighted MR: the anterior (head) and the "
            "posterior (body and tail). It looks at a box around one hippocampus.",
            network="unet",
            runner="hippocampus",
            task={"order": 60, "min_size": [16, 16, 16]},
            arguments={"in_channels": 1, "out_channels": CLASSES, "features": [16, 32, 64, 128]},
            modalities=("MR",),
            body_parts=("HEAD", "BRAIN"),
            channels=("T1",),
            spacing_mm=(1.0, 1.0, 1.0),
            window=WINDOW,
            intensity=SCHEME,
            labels=LABELS,
            postprocessing=({"step": "largest_component"},),
            settings={"overlap": 0.5, "padding": 0.0, "flips": [], "quality": {"volume_ml": USUAL_ML}},
            license="CC-BY-SA-4.0",
            credit="Medical Segmentation Decathlon, Task04 Hippocampus (Antonelli et al. 2022), Vanderbilt University "
            "Medical Center, CC BY-SA 4.0.",
            data=f"{len(self.train)} MR crops of one hippocampus each at 1 mm to train, {len(self.held_out)} held out "
            "by file: the data name no patients, so two crops may be of one person.",
            failures=FAILURES,
        )

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return ``image`` (n, 1, k, j, i) and ``label`` (n, k, j, i): moved, turned, scaled and recoloured windows."""
        import torch

        images, labels = [], []
        for n in rng.choice(self.train, BATCH):
            image, label = _moved(self.images[n], self.labels[n], rng)
            images.append(_recoloured(image, rng))
            labels.append(label)
        return {"image": torch.stack(images), "label": torch.stack(labels)}

    def loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        """Return cross-entropy plus one minus the soft Dice of the two parts."""
        import torch
        from torch.nn import functional

        logits = network(batch["image"]).float()
        truth = functional.one_hot(batch["label"], CLASSES).movedim(-1, 1).float()
        found = torch.softmax(logits, 1)
        axes = (0, 2, 3, 4)
        overlap = (found * truth).sum(axes)[1:]
        dice = (2 * overlap + 1) / (found.sum(axes)[1:] + truth.sum(axes)[1:] + 1)
        return functional.cross_entropy(logits, batch["label"]) + 1 - dice.mean()

    def validate(self, network: nn.Module) -> Metrics:
        """Return the mean Dice of both parts over the held-out crops, one window over the whole crop."""
        import torch

        device = next(network.parameters()).device
        rows = []
        for n in self.held_out:
            padded = _padded(self.images[n])
            logits = network(torch.from_numpy(padded)[None, None].to(device))[0]
            k, j, i = self.labels[n].shape
            found = logits.argmax(0).cpu().numpy()[:k, :j, :i]
            rows.append([dice(found == part, self.labels[n] == part) for part in (1, 2)])
        anterior, posterior = np.mean(rows, axis=0)
        return {"dice_anterior": float(anterior), "dice_posterior": float(posterior)}

    def evaluate(self, ctx: JobContext, folder: Path) -> Table:
        """Measure a finished model's folder on the held-out crops, through the code that users run."""
        from medviewer.ai.hippocampus import find_hippocampus_in_crop
        from medviewer.ai.models import open_model
        from medviewer.core.geometry import Geometry
        from medviewer.core.volume import Volume

        model = open_model(folder)
        rows = []
        for done, n in enumerate(self.held_out):
            ctx.progress(done / len(self.held_out), self.files[n].name)
            k, j, i = self.images[n].shape
            geometry = Geometry((i, j, k), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
            volume = Volume(self.images[n], geometry, modality="MR")
            found = find_hippocampus_in_crop(NullContext(), model, volume).labels
            rows.append([dice(found == part, self.labels[n] == part) for part in (1, 2)])
        return [_row(name, np.array(rows)[:, n]) for n, name in ((0, "anterior"), (1, "posterior"))] + [
            _row("both parts", np.mean(rows, axis=1))
        ]


def _row(part: str, values: npt.NDArray[np.float64]) -> dict[str, Any]:
    return {
        "what": f"Dice, {part}",
        "on": "held-out crops",
        "cases": len(values),
        "mean": round(float(values.mean()), 4),
        "deviation": round(float(values.std()), 4),
        "least": round(float(values.min()), 4),
        "bar": 0.89,
    }


def held_out_names(names: list[str]) -> set[str]:
    """Return the held-out file names: about every fifth, spread over the numbers; files name no patient."""
    numbered = sorted(names, key=lambda name: int(re.findall(r"\d+", name)[0]))
    step = max(len(numbered) / HELD_OUT, 2.0)
    return {numbered[int(n * step)] for n in range(int(len(numbered) / step))}


LABELS = (
    Label(
        value=1,
        name="anterior",
        title="anterior",
        code=("5366008", "SCT", "Hippocampus"),
        color=(230, 126, 34),
    ),
    Label(
        value=2,
        name="posterior",
        title="posterior",
        code=("5366008", "SCT", "Hippocampus"),
        color=(52, 152, 219),
    ),
)

#: Of one side of a grown-up.
USUAL_ML = {"anterior": [0.7, 3.5], "posterior": [0.6, 3.0]}

FAILURES = ("Trained on T1-weighted images only; other contrasts are not expected to work.",)


def _moved(
    image: npt.NDArray[np.float32], label: npt.NDArray[np.uint8], rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a window (1, k, j, i) and its labels (k, j, i), sampled through a random affine and a smooth bend."""
    import torch
    from torch.nn import functional

    size = np.array(image.shape)
    slack = np.maximum(size - np.array(WINDOW), 0) / 2 + 3
    centre = (size - 1) / 2 + rng.uniform(-slack, slack)
    matrix = _rotation(rng.normal(0, 0.12, 3)) * rng.uniform(0.85, 1.18, 3) * rng.choice((1.0, rng.uniform(0.9, 1.1)))
    axes = [np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in WINDOW]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1) @ matrix.T.astype(np.float32) + centre.astype(np.float32)
    points = torch.from_numpy(grid)
    bend = torch.from_numpy(rng.normal(0, 1.0, (1, 3, 4, 5, 4)).astype(np.float32))
    points += functional.interpolate(bend, WINDOW, mode="trilinear", align_corners=True)[0].movedim(0, -1)
    # grid_sample wants (x, y, z) from -1 to 1.
    scaled = (2 * points / torch.tensor(np.maximum(size - 1, 1), dtype=torch.float32) - 1).flip(-1)[None]
    sampled = functional.grid_sample(
        torch.from_numpy(image)[None, None], scaled, mode="bilinear", padding_mode="zeros", align_corners=True
    )[0]
    parts = torch.from_numpy(np.stack([label == 1, label == 2]).astype(np.float32))[None]
    soft = functional.grid_sample(parts, scaled, mode="bilinear", padding_mode="zeros", align_corners=True)[0]
    best, which = soft.max(0)
    inside = soft.sum(0) > 0.5
    return sampled, torch.where(inside & (best > 0), which + 1, 0)


def _rotation(angles: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        a, b = [n for n in range(3) if n != axis]
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


def _recoloured(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Return the window with another gain, offset, gamma, bias field, noise and sometimes sharpness."""
    import torch
    from torch.nn import functional

    if rng.random() < 0.3:
        low, high = image.amin(), image.amax()
        span = (high - low).clamp(min=1e-3)
        image = ((image - low) / span) ** float(np.exp(rng.normal(0, 0.25))) * span + low
    if rng.random() < 0.4:
        bias = torch.from_numpy(rng.normal(0, 0.12, (1, 1, 3, 3, 3)).astype(np.float32))
        image = image * functional.interpolate(bias, WINDOW, mode="trilinear", align_corners=True)[0].exp()
    if rng.random() < 0.2:
        weight = float(rng.uniform(0.3, 1.0))
        smooth = functional.avg_pool3d(image[None], 3, stride=1, padding=1, count_include_pad=False)[0]
        image = weight * smooth + (1 - weight) * image
    image = image * float(rng.uniform(0.8, 1.25)) + float(rng.normal(0, 0.15))
    if rng.random() < 0.5:
        noise = rng.standard_normal(WINDOW, dtype=np.float32)[None] * np.float32(rng.uniform(0, 0.2))
        image = image + torch.from_numpy(noise)
    return image


def _padded(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the crop with its far sides filled to multiples of what the strides need."""
    return np.pad(image, [(0, -n % 8) for n in image.shape])
