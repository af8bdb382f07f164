"""Changes of pictures for training classifiers, on whole batches (n, 1, rows, columns) with values -1..1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

#: Kinds of change that `shifted` makes, one after the other.
SHIFTS = 5


def changed(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Return the pictures turned, scaled, cropped, mirrored, recoloured, blurred, noised and partly hidden."""
    import torch

    n = len(images)
    mirror = rng.choice((-1.0, 1.0), n)
    images = _warped(
        images,
        angle=rng.normal(0, 0.1, n),
        zoom=np.exp(rng.normal(0.03, 0.1, n))[:, None] * np.exp(rng.normal(0, 0.06, (n, 2))),
        shift=rng.uniform(-0.1, 0.1, (n, 2)),
        mirror=mirror,
    )
    images = _gamma(images, np.exp(rng.normal(0, 0.35, n)))
    images = images + _column(rng.normal(0, 0.15, n)) * torch.linspace(-1, 1, images.shape[-1])
    images = images + _column(rng.normal(0, 0.15, n)) * torch.linspace(-1, 1, images.shape[-2])[:, None]
    images = images * _column(rng.uniform(0.75, 1.15, n)) + _column(rng.normal(0, 0.1, n))
    images = _blurred(images, _column(rng.uniform(0, 1, n) * (rng.random(n) < 0.5)))
    noise = rng.standard_normal(images.shape, dtype=np.float32)
    images = images + torch.from_numpy(noise) * _column(rng.uniform(0, 0.12, n) * (rng.random(n) < 0.5))
    images = images.clamp(-1, 1)
    for image in images:
        for _ in range(rng.integers(0, 3)):
            _hide(image, rng)
    return images


def shifted(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Return the pictures darker, brighter, cropped, with margins, or unsharp."""
    import torch

    n = len(images)
    kind = np.arange(n) % SHIFTS
    zoom = np.select([kind == 2, kind == 3], [1.22, 0.82], 1.0)
    images = _warped(images, rng.normal(0, 0.05, n), np.stack([zoom, zoom], 1), rng.uniform(-0.04, 0.04, (n, 2)))
    images = _gamma(images, np.select([kind == 0, kind == 1], [1.8, 0.55], 1.0))
    unsharp = _column((kind == 4).astype(float))
    images = _blurred(images, unsharp)
    noise = torch.from_numpy(rng.standard_normal(images.shape, dtype=np.float32))
    return (images + 0.06 * noise * unsharp).clamp(-1, 1)


def _column(values: np.ndarray) -> torch.Tensor:
    import torch

    return torch.from_numpy(values.astype(np.float32))[:, None, None, None]


def _warped(
    images: torch.Tensor,
    angle: np.ndarray,
    zoom: np.ndarray,
    shift: np.ndarray,
    mirror: np.ndarray | float = 1.0,
) -> torch.Tensor:
    """Return the pictures through an affine map; what comes in from outside is black (-1)."""
    import torch
    from torch.nn import functional

    c, s = np.cos(angle), np.sin(angle)
    rows = np.stack([c * mirror / zoom[:, 0], -s / zoom[:, 0], shift[:, 0]], 1)
    columns = np.stack([s * mirror / zoom[:, 1], c / zoom[:, 1], shift[:, 1]], 1)
    theta = torch.from_numpy(np.stack([rows, columns], 1).astype(np.float32))
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images + 1, grid, mode="bilinear", align_corners=False) - 1


def _gamma(images: torch.Tensor, gamma: np.ndarray) -> torch.Tensor:
    return ((images.clamp(-1, 1) + 1) / 2) ** _column(gamma) * 2 - 1


def _blurred(images: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return a mix with the pictures at half their resolution."""
    from torch.nn import functional

    coarse = functional.avg_pool2d(images, 2, ceil_mode=True)
    smooth = functional.interpolate(coarse, images.shape[-2:], mode="bilinear", align_corners=False)
    return images + weight * (smooth - images)


def _hide(image: torch.Tensor, rng: np.random.Generator) -> None:
    """Draw a rectangle over a picture (1, rows, columns): a marker, an edge of the film, a tube."""
    sides = np.array(image.shape[-2:])
    size = np.maximum((sides * rng.uniform(0.03, 0.25, 2)).astype(int), 1)
    row, column = (int(rng.integers(0, n)) for n in sides - size)
    image[:, row : row + int(size[0]), column : column + int(size[1])] = float(rng.uniform(-1, 1))
