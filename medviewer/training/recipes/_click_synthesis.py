"""Images for click-to-segment that nobody took: contrasts for label maps, blobs in images, and how images vary."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import avg_pool3d, interpolate

from medviewer.ai.click_input import SIZE


def smooth_noise(rng: np.random.Generator, cells: int, size: int = SIZE) -> torch.Tensor:
    """Return noise of unit deviation with so many cells along each axis, shape (1, 1, size, size, size)."""
    coarse = torch.from_numpy(rng.standard_normal((1, 1, cells, cells, cells)).astype(np.float32))
    return interpolate(coarse, (size,) * 3, mode="trilinear", align_corners=True)


def paint_labels(rng: np.random.Generator, labels: torch.Tensor) -> torch.Tensor:
    """Return an image in which every label has a random brightness, texture and softness."""
    values = labels.long()
    means = torch.from_numpy(rng.uniform(0, 1, 256).astype(np.float32))
    spreads = torch.from_numpy(rng.uniform(0, 0.08, 256).astype(np.float32))
    image = means[values] + spreads[values] * torch.randn(labels.shape)
    if rng.random() < 0.7:
        image = blur(image, 3)
    return image


def blob(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an irregular solid, tube or shell: its soft membership and its mask, near the middle of the cube."""
    axis = torch.arange(SIZE, dtype=torch.float32)
    centre = SIZE / 2 + rng.uniform(-4, 4, 3)
    radii = rng.uniform(2.5, 15) * rng.uniform(0.45, 1.0, 3)
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    grid = torch.stack(torch.meshgrid(*(axis - float(c) for c in centre), indexing="ij"), dim=-1)
    grid = grid @ torch.from_numpy(turn.astype(np.float32)) / torch.from_numpy(radii.astype(np.float32))
    kind = rng.random()
    if kind < 0.2:
        bend = float(rng.uniform(-0.6, 0.6))
        grid[..., 0] += bend * grid[..., 2] ** 2
        distance = (grid[..., 0] ** 2 + grid[..., 1] ** 2 + (grid[..., 2] / float(rng.uniform(1, 4))) ** 2).sqrt()
    else:
        power = float(rng.uniform(1.6, 3.5))
        distance = (grid.abs() ** power).sum(-1) ** (1 / power)
    if kind > 0.92:
        distance = (distance - 0.7).abs() * 3
    field = distance[None, None] + float(rng.uniform(0, 0.35)) * smooth_noise(rng, int(rng.integers(4, 9)))
    width = float(rng.uniform(0.03, 0.25))
    return torch.sigmoid((1 - field) / width), field < 1


def shapes(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an image of several made-up things, one of them the object, and its mask."""
    soft, mask = blob(rng)
    image = float(rng.uniform(0, 0.5)) * smooth_noise(rng, int(rng.integers(3, 12)))
    for _ in range(int(rng.integers(0, 4))):
        other, _ = blob(rng)
        shift = [int(v) for v in rng.integers(-14, 15, 3)]
        image = image + float(rng.uniform(-2, 2)) * torch.roll(other, shift, (2, 3, 4))
    inner = torch.tensor(float(rng.uniform(0.5, 2.5)) * (1 if rng.random() < 0.5 else -1))
    if rng.random() < 0.5:
        inner = inner + float(rng.uniform(0, 0.4)) * smooth_noise(rng, int(rng.integers(6, 20)))
    return image * (1 - soft) + soft * (inner + image.mean()), mask


def insert_blob(rng: np.random.Generator, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the image with a lesion put in near its middle, and the lesion's mask."""
    soft, mask = blob(rng)
    near = image[:, :, 10:22, 10:22, 10:22]
    strength = float(near.std() + 0.3 * image.std()) * float(rng.uniform(1.0, 3.0))
    change = strength * (1 if rng.random() < 0.7 else -1)
    return image + soft * change * (1 + 0.15 * smooth_noise(rng, 10)), mask


def vary(rng: np.random.Generator, image: torch.Tensor) -> torch.Tensor:
    """Return the image as another scanner might give it: inverted, uneven, noisy, soft, in thick slices."""
    image = (image - image.mean()) / image.std().clamp_min(1e-6)
    if rng.random() < 0.15:
        image = -image
    if rng.random() < 0.3:
        power = float(rng.uniform(0.6, 1.6))
        image = image.sign() * image.abs() ** power
    if rng.random() < 0.3:
        image = image * (1 + float(rng.uniform(0.05, 0.3)) * smooth_noise(rng, 3))
    if rng.random() < 0.15:
        image = blur(image, 3)
    if rng.random() < 0.25:
        axis, thick = int(rng.integers(3)), int(rng.integers(2, 6))
        kernel = [thick if n == axis else 1 for n in range(3)]
        image = interpolate(avg_pool3d(image, kernel, ceil_mode=True), (SIZE,) * 3, mode="trilinear")
    if rng.random() < 0.4:
        image = image + float(rng.uniform(0.02, 0.25)) * torch.randn(image.shape)
    return image


def blur(image: torch.Tensor, width: int) -> torch.Tensor:
    """Return the mean over a small cube."""
    return avg_pool3d(image, width, stride=1, padding=width // 2, count_include_pad=False)
