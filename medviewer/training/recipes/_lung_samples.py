"""Crops to learn from: turned, scaled, blurred pieces of chest, with nodules that were there and nodules put in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import grid_sample

from medviewer.training.recipes._lung_scenes import Scene

Rng = np.random.Generator
#: -1000 HU is -1 and 400 HU is 1 for the networks.
LOW_HU, HIGH_HU = -1000.0, 400.0


def draw_matrix(rng: Rng, zoom: float) -> npt.NDArray[np.float64]:
    """Return a random matrix from offsets in the crop to offsets in the scene, (k, j, i).

    Turned about the long axis by anything and about the others a little, mirrored and scaled; every other time only
    turned by right angles and mirrored, which costs nothing and blurs nothing.
    """
    mirror = np.diag(rng.choice([-1.0, 1.0], 3))
    if rng.random() < 0.5:
        return np.asarray(mirror[:, [0, 2, 1]] if rng.random() < 0.5 else mirror, np.float64)
    a, b, c = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.15), rng.normal(0, 0.15)
    turn = _rotation(0, a) @ _rotation(1, b) @ _rotation(2, c)
    stretch = np.diag(np.exp(rng.normal(0, 0.06, 3)))
    return np.asarray(turn @ mirror @ stretch / zoom, np.float64)


def _rotation(axis: int, angle: float) -> npt.NDArray[np.float64]:
    a, b = [n for n in range(3) if n != axis]
    matrix = np.eye(3)
    matrix[a, a] = matrix[b, b] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix


def gathered(
    arrays: Sequence[npt.NDArray[np.generic]],
    center: npt.NDArray[np.float64],
    matrix: npt.NDArray[np.float64],
    size: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return values (arrays, size, size, size) around a place, linear, and where they lie inside; outside is repeated.

    Parameters
    ----------
    arrays : sequence of array, one shape
    center : (k, j, i)
    matrix : (3, 3)
        From offsets in the crop to offsets in the arrays.
    size : int
    """
    if (np.isin(matrix, (-1.0, 0.0, 1.0))).all():
        return _picked(arrays, center, matrix, size)
    reach = np.abs(matrix).sum(axis=1) * (size - 1) / 2
    shape = np.array(arrays[0].shape)
    low = np.clip(np.floor(center - reach).astype(int) - 1, 0, shape - 2)
    high = np.clip(np.ceil(center + reach).astype(int) + 2, low + 2, shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    source = torch.from_numpy(np.stack([np.asarray(array[box], np.float32) for array in arrays]))
    steps = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    k, j, i = (torch.outer(steps, torch.from_numpy(matrix[:, n]).float()) for n in range(3))
    start = torch.from_numpy(center - low).float()
    places = (k + start)[:, None, None] + j[None, :, None] + i[None, None]
    at = places * (2 / torch.from_numpy(high - low - 1).float()) - 1
    values = grid_sample(source[None], at.flip(-1)[None], mode="bilinear", padding_mode="border", align_corners=True)[0]
    inside = at.abs().amax(dim=-1) <= 1
    return values, inside


def _picked(
    arrays: Sequence[npt.NDArray[np.generic]],
    center: npt.NDArray[np.float64],
    matrix: npt.NDArray[np.float64],
    size: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the same for right angles: voxels as they are."""
    steps = np.arange(size) - size // 2
    order = np.abs(matrix).argmax(axis=1)
    places = [
        np.rint(c).astype(int) + int(matrix[a, b]) * steps for a, (b, c) in enumerate(zip(order, center, strict=True))
    ]
    index = [p.clip(0, n - 1) for p, n in zip(places, arrays[0].shape, strict=True)]
    inside = [p == q for p, q in zip(places, index, strict=True)]
    back = np.argsort(order)
    values = np.stack([array[np.ix_(*index)].astype(np.float32).transpose(back) for array in arrays])
    known = (inside[0][:, None, None] & inside[1][None, :, None] & inside[2][None, None]).transpose(back)
    return torch.from_numpy(values), torch.from_numpy(np.ascontiguousarray(known))


def put_nodule(
    rng: Rng, hu: torch.Tensor, label: torch.Tensor, donor: Scene, diameter_mm: float, at: npt.NDArray[np.float64]
) -> None:
    """Put another patient's nodule into a crop, in place, at a voxel of it (k, j, i)."""
    size = hu.shape[0]
    zoom = float(np.clip(diameter_mm / donor.diameter_mm, 0.35, 2.2))
    matrix = draw_matrix(rng, zoom)
    # The middle of the crop is so far from where the nodule goes; in the donor's own directions.
    middle = donor.center + matrix @ ((size - 1) / 2 - at)
    (values, mask), inside = gathered((donor.hu, donor.nodule), middle, matrix, size)
    # Walls and large vessels stay what they are; small vessels go into the nodule.
    wall = _box_mean(hu, (5, 5, 5)) > -250
    mask = mask * inside * ~wall
    # The reader's outline lies a little outside the edge; from full to none over about two voxels.
    alpha = (_box_mean(mask, (3, 3, 3)) * 1.3).clamp(0, 1)
    hu.lerp_(values, alpha)
    label[mask > 0.5] = 1.0


def spoiled(rng: Rng, hu: torch.Tensor) -> torch.Tensor:
    """Return a crop for the networks: -1..1, with another slice thickness, noise and calibration now and then."""
    if rng.random() < 0.35:
        hu = _box_mean(hu, (int(rng.choice([2, 3, 4, 5])), 1, 1))
    elif rng.random() < 0.25:
        hu = _box_mean(hu, (1, 3, 3))
    if rng.random() < 0.5:
        noise = torch.from_numpy(rng.standard_normal(hu.shape, dtype=np.float32)) * float(rng.uniform(5, 70))
        if rng.random() < 0.5:
            noise = 1.8 * _box_mean(noise, (1, 3, 3))
        hu = hu + noise
    hu = hu * float(rng.uniform(0.95, 1.05)) + float(rng.normal(0, 25))
    return ((hu - (LOW_HU + HIGH_HU) / 2) * (2 / (HIGH_HU - LOW_HU))).clamp(-1, 1)


def edges_repeated(rng: Rng, crop: torch.Tensor, nearest: int) -> torch.Tensor:
    """Return a crop (k, j, i) some of whose sides are repeated from a plane further in, as at the border of a scan.

    Cubes end near what lies beside a nodule; without this, a repeated border would tell that there is none.
    """
    n = crop.shape[0]
    for axis in range(3):
        for side in (0, 1):
            if rng.random() < 0.2:
                cut = int(rng.integers(1, n // 2 - nearest))
                index = torch.arange(n).clamp(min=cut) if side == 0 else torch.arange(n).clamp(max=n - 1 - cut)
                crop = crop.index_select(axis, index)
    return crop


def _box_mean(x: torch.Tensor, widths: tuple[int, int, int]) -> torch.Tensor:
    """Return means over boxes of voxels, borders repeated: sums of shifted images, cheaper than pooling."""
    for axis, width in enumerate(widths):
        if width == 1:
            continue
        n = x.shape[axis]
        index = torch.arange(-(width // 2), n + (width - 1) // 2).clamp(0, n - 1)
        wide = x.index_select(axis, index)
        x = wide.narrow(axis, 0, n).clone()
        for shift in range(1, width):
            x += wide.narrow(axis, shift, n)
        x /= width
    return x
