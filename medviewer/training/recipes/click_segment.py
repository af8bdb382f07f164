"""Click-to-segment: one object of any kind in any 3-D image, from clicks or a box.

A small U-Net learns by playing the game it is used for: a first click somewhere inside, then clicks in the middle of
its own largest error, each answered with the mask so far as an input.

References
----------
Sakinis et al., Interactive segmentation of medical images through fully convolutional neural networks, 2019.
Isensee et al., nnInteractive, 2025.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import avg_pool3d, binary_cross_entropy_with_logits, pad

from medviewer.ai.card import ModelCard
from medviewer.ai.click_input import CHANNELS, SIZE, encode, sample_cube
from medviewer.jobs.job import JobContext
from medviewer.training.recipe import Batch, Metrics, Table
from medviewer.training.recipes._click_sources import Item, read_items
from medviewer.training.recipes._click_synthesis import insert_blob, paint_labels, shapes, vary

BATCH = 8
MOST_CLICKS = 6
#: How often each source is drawn.
SHARES: Mapping[str, float] = {
    "nodule": 0.28,
    "hippocampus": 0.28,
    "sarcoma": 0.24,
    "brain": 0.09,
    "organ": 0.04,
    "shapes": 0.07,
}
#: How often a second look follows without another click.
SECOND_LOOKS = 0.35
#: Of cubes of real images, those whose object is a made-up lesion.
INSERTED = 0.15


class Recipe:
    """See `medviewer.training.recipe.TrainingRecipe`."""

    learning_rate = 2e-3
    weight_decay = 1e-4
    #: Whether sessions are played on all held-out objects instead of a few of each source.
    thorough = False

    def __init__(self, data: Path, work: Path) -> None:
        self.data, self.work = data, work
        self.items: list[Item] = []

    def prepare(self, ctx: JobContext) -> None:
        """Read the data, once."""
        self.items = read_items(ctx, self.data, self.work)

    def card(self) -> ModelCard:
        """Return the card without hash, training and metrics."""
        return ModelCard(
            id="click_segment",
            version="1.1",
            title="Click to segment",
            description="Outlines what is clicked, in any 3-D image: lesions, organs, parts of organs. "
            "Further clicks add or take away.",
            network="unet",
            arguments={
                "in_channels": CHANNELS,
                "out_channels": 1,
                "features": [16, 32, 64, 128],
                "strides": [[2, 2, 2]] * 4,
                "convs": [2, 2, 2, 2],
                "norm": "batch",
            },
            runner="click",
            task={"kind": "interactive"},
            window=(SIZE,) * 3,
            intensity={"kind": "click"},
            output="sigmoid",
            license="CC-BY-SA-4.0",
            credit="LIDC-IDRI (Armato 2011, CC BY 3.0); Medical Segmentation Decathlon Task04 Hippocampus (Antonelli "
            "2022, CC BY-SA 4.0); SynthSeg label maps (Billot 2023, Apache-2.0); TCIA Soft-tissue-Sarcoma (Vallières "
            "2015, CC BY 3.0); TotalSegmentator example (Wasserthal 2023, Apache-2.0).",
            data="84 lung nodules, 173 hippocampi, 38 images of 15 sarcomas in CT, MR and PET, 20 label maps of heads "
            "with random contrasts, one body CT with 117 structures, made-up lesions and shapes. Every fifth patient "
            "was held out, and the patient with multiple sclerosis.",
            failures=(
                "One click often takes too little of what has no clear border (hippocampus: half of it). Click again "
                "where it misses, or drag a box.",
                "A large mass of several parts (a sarcoma on CT) may be taken for one of its parts.",
                "Of a small lesion of the brain it may take what is around it: the scale of the first click is then "
                "wrong, and further clicks mend that little. Undo, and drag a box.",
                "Borders are no finer than about a thirtieth of the object.",
                "Small objects beside others of the same brightness may run together; Ctrl-click the other one.",
                "Learnt for an hour on one busy CPU core: it does not reach its bar after one, three and five clicks.",
            ),
        )

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return images, masks and first prompts of one step."""
        torch.manual_seed(int(rng.integers(2**31)))
        made = [self._example(rng) for _ in range(BATCH)]
        batch = {name: torch.cat([entry[name] for entry in made]) for name in made[0]}
        most = int(rng.choice([0, 1, 2, 4], p=[0.1, 0.35, 0.3, 0.25]))
        batch["rounds"] = torch.from_numpy(rng.integers(0, most + 1, BATCH))
        return batch

    def loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        """Play some clicks without learning, then learn from the answer to the last one."""
        image, target, box = batch["image"], batch["target"], batch["box"]
        points, inside, outside = batch["points"], batch["inside"].clone(), batch["outside"].clone()
        rounds, mask = batch["rounds"], batch["start"]
        # As sessions do it. Few and many clicks stand in one batch, or the batch norm would tell them apart.
        network.eval()
        for n in range(int(rounds.max())):
            with torch.no_grad():
                answer = torch.sigmoid(network(encode(image, points, inside, outside, box, mask)))
            goes_on = (rounds > n).to(mask.dtype)
            mask = torch.lerp(mask, answer, goes_on[:, None, None, None, None])
            clicks = add_click(points, inside, outside, mask, target, n + 1)
            # Sessions also look again without another click, in a better cube.
            told = goes_on[:, None] * (torch.rand(len(rounds), 1, device=mask.device) > SECOND_LOOKS)
            points = torch.lerp(points, clicks[0], told[..., None])
            inside, outside = torch.lerp(inside, clicks[1], told), torch.lerp(outside, clicks[2], told)
        network.train()
        logits = network(encode(image, points, inside, outside, box, mask))
        return segmentation_loss(logits, target)

    def validate(self, network: nn.Module) -> Metrics:
        """Return the Dice after one and three clicks in cubes around held-out objects."""
        rng = np.random.default_rng(1)
        torch.manual_seed(1)
        figures: dict[str, list[float]] = {}
        for source in ("nodule", "hippocampus", "sarcoma", "ms"):
            items = [item for item in self.items if item.source == source and item.held_out][:8]
            made = [self._real(rng, item, n % len(item.objects), vary_it=False) for n, item in enumerate(items)]
            batch = {name: torch.cat([entry[name] for entry in made]) for name in made[0]}
            mask, points = batch["start"] * 0, batch["points"]
            inside, outside = batch["inside"], batch["outside"]
            for n in range(3):
                logits = network(encode(batch["image"], points, inside, outside, batch["box"], mask))
                mask = torch.sigmoid(logits)
                dice = soft_dice((mask > 0.5).float(), batch["target"])
                figures.setdefault(f"{source}, Dice after {n + 1}", []).append(float(dice.mean()))
                points, inside, outside = add_click(points, inside, outside, mask, batch["target"], n + 1)
        return {name: float(np.mean(values)) for name, values in figures.items()}

    def evaluate(self, ctx: JobContext, folder: Path) -> Table:
        """Measure sessions with the model on the held-out cases."""
        from medviewer.training.recipes._click_game import CASES, evaluate_sessions

        held_out = [item for item in self.items if item.held_out]
        return evaluate_sessions(ctx, folder, held_out, 1000 if self.thorough else CASES)

    def _example(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        source = str(rng.choice(list(SHARES), p=list(SHARES.values())))
        if source == "shapes":
            image, mask = shapes(rng)
            return _prompted(rng, vary(rng, image), mask)
        items = [item for item in self.items if item.source == source and not item.held_out]
        while True:
            item = items[int(rng.integers(len(items)))]
            # The first object of an item is the whole, the others are its parts.
            number = 0 if source == "hippocampus" and rng.random() < 0.75 else int(rng.integers(len(item.objects)))
            example = self._real(rng, item, number)
            if example["target"].sum() >= 20:
                return example

    def _real(
        self, rng: np.random.Generator, item: Item, number: int, *, vary_it: bool = True
    ) -> dict[str, torch.Tensor]:
        """Return a cube of an item around one of its objects."""
        low, high = (np.array(corner, float) for corner in item.boxes[number])
        spacing = np.array(item.spacing_mm)
        extent = float(((high - low) * spacing).max())
        centred = rng.random() < 0.5 or not vary_it
        fill = float(rng.uniform(0.45, 0.9)) if centred else float(np.exp(rng.uniform(np.log(0.3), np.log(1.2))))
        if not vary_it:
            fill = 0.66
        step_mm = extent / (fill * SIZE)
        step = step_mm / spacing * (np.exp(rng.uniform(-0.1, 0.1, 3)) if vary_it else 1.0)
        centre = (low + high - 1) / 2 + (rng.uniform(-0.1, 0.1, 3) * (high - low) if vary_it else 0.0)
        if not centred:
            cut = item.labels[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]
            voxels = np.argwhere(np.isin(cut, item.objects[number]))
            centre = low + voxels[int(rng.integers(len(voxels)))] + rng.uniform(-1, 1, 3)
        labels = _labels(item, centre, step, item.objects[number])
        if item.image is None:
            image = paint_labels(rng, sample_cube(item.labels, centre.tolist(), step.tolist(), SIZE, nearest=True))
        else:
            image = sample_cube(item.image, centre.tolist(), step.tolist(), SIZE)
        if vary_it and rng.random() < (INSERTED if item.image is not None else 2 * INSERTED):
            image, labels = insert_blob(rng, image)
        if vary_it:
            order = [2 + int(n) for n in rng.permutation(3)]
            flips = [2 + n for n in range(3) if rng.random() < 0.5]
            image = image.permute(0, 1, *order).flip(flips)
            labels = labels.permute(0, 1, *order).flip(flips)
            image = vary(rng, image)
        return _prompted(rng, image, labels, middle=not centred, vary_it=vary_it)


def _labels(item: Item, centre: Any, step: Any, values: tuple[int, ...]) -> torch.Tensor:
    """Return the mask of an object in a cube; its edge lies where half of a voxel is the object's."""
    half = (SIZE - 1) / 2
    low = np.clip(np.floor(centre - half * step - step), 0, np.array(item.labels.shape) - 1).astype(int)
    high = np.clip(np.ceil(centre + half * step + step) + 1, low + 1, item.labels.shape).astype(int)
    part = np.isin(item.labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], values)
    return sample_cube(part.astype(np.float32), centre - low, step, SIZE) > 0.5


def _prompted(
    rng: np.random.Generator, image: torch.Tensor, mask: torch.Tensor, *, middle: bool = False, vary_it: bool = True
) -> dict[str, torch.Tensor]:
    """Return an example with its first prompt: a click inside, more often deep than not, or a box.

    With `middle` the click is the middle of the cube, as at the first look of a session.
    """
    target = mask.float()
    points = torch.zeros(1, MOST_CLICKS, 3)
    inside, outside = torch.zeros(1, MOST_CLICKS), torch.zeros(1, MOST_CLICKS)
    box = torch.zeros(1, 6)
    voxels = torch.nonzero(mask[0, 0])
    with_box = vary_it and not middle and rng.random() < 0.3
    if with_box and len(voxels):
        low, high = voxels.amin(0).float(), voxels.amax(0).float()
        loose = torch.from_numpy(rng.uniform(-0.06, 0.12, 6).astype(np.float32)) * (high - low + 1).repeat(2)
        box[0] = torch.cat([low - loose[:3], high + loose[3:]])
    if len(voxels) and (not with_box or rng.random() < 0.2):
        if middle:
            chosen = int((voxels - (SIZE - 1) / 2).square().sum(1).argmin())
        else:
            depth = interior(target, 15)[0, 0][tuple(voxels.T)]
            power = float(rng.choice([0.5, 3.0, 30.0])) if vary_it else 1000.0
            chosen = int(torch.multinomial((depth / depth.max()) ** power + 1e-6, 1))
        points[0, 0] = voxels[chosen].float()
        inside[0, 0] = 1
    first = torch.zeros_like(target)
    if vary_it and rng.random() < 0.25:
        # A mask from a coarser cube, or from elsewhere.
        first = avg_pool3d(torch.roll(target, [int(v) for v in rng.integers(-4, 5, 3)], (2, 3, 4)), 5, 1, 2)
    return {
        "image": image,
        "target": target,
        "points": points,
        "inside": inside,
        "outside": outside,
        "box": box,
        "start": first,
        "rounds": torch.zeros(1, dtype=torch.long),
    }


def interior(mask: torch.Tensor, width: int = 11) -> torch.Tensor:
    """Return how deep every voxel lies in a mask, 0..1: the part of a cube around it that is the mask's."""
    size, half = mask.shape[-1], width // 2
    for axis in (2, 3, 4):
        # Differences of running sums: several times quicker than pooling along one axis.
        pads = [0] * 6
        pads[2 * (4 - axis)], pads[2 * (4 - axis) + 1] = half + 1, half
        sums = pad(mask, pads).cumsum(axis)
        mask = (sums.narrow(axis, width, size) - sums.narrow(axis, 0, size)) / width
    return mask


def add_click(
    points: torch.Tensor,
    inside: torch.Tensor,
    outside: torch.Tensor,
    mask: torch.Tensor,
    target: torch.Tensor,
    number: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the clicks with one more, in the middle of the largest error."""
    missed, extra = (target > 0.5) & (mask < 0.5), (target < 0.5) & (mask >= 0.5)
    wrong = missed | extra
    depth = torch.maximum(interior(missed.float()), interior(extra.float()))
    depth = (depth + 0.02 * torch.rand_like(depth)) * wrong
    best = depth.flatten(1).argmax(1)
    size = mask.shape[-1]
    where = torch.stack([best // size**2, best // size % size, best % size], dim=1).float()
    points, inside, outside = points.clone(), inside.clone(), outside.clone()
    points[:, number] = where
    rows = torch.arange(len(best), device=best.device)
    inside[:, number] = missed.flatten(1)[rows, best].float()
    outside[:, number] = extra.flatten(1)[rows, best].float()
    return points, inside, outside


def soft_dice(probability: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the Dice of every case."""
    both = (probability * target).flatten(1).sum(1)
    return (2 * both + 1) / (probability.flatten(1).sum(1) + target.flatten(1).sum(1) + 1)


def segmentation_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return cross-entropy and Dice, halves."""
    logits = logits.float()
    return binary_cross_entropy_with_logits(logits, target) + (1 - soft_dice(torch.sigmoid(logits), target)).mean()
