"""What the click-to-segment network sees: a cube around the object, and the prompts drawn into it.

Training and sessions call the same functions, so that both see the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import avg_pool3d, grid_sample

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: Voxels of the cube along each axis.
SIZE = 32
#: Channels of the network's input: image, image near the clicks, likeness to the clicks, clicks in, clicks out, box,
#: mask so far.
CHANNELS = 7
#: Spread of a click in the maps, in voxels of the cube, and of the neighbourhood that says what the object looks like.
CLICK_SIGMA, NEAR_SIGMA = 1.5, 4.0


def sample_cube(
    array: npt.NDArray[np.generic],
    centre: Sequence[float],
    step: Sequence[float],
    size: int = SIZE,
    *,
    nearest: bool = False,
) -> torch.Tensor:
    """Return a cube of a volume, with the values at its faces going on beyond them.

    Parameters
    ----------
    array : array, shape (k, j, i)
    centre : (k, j, i)
        Index of the volume at the middle of the cube.
    step : (k, j, i)
        Steps of the cube, in voxels of the volume.

    Returns
    -------
    float32 tensor, shape (1, 1, size, size, size)
    """
    import numpy as np

    half = (size - 1) / 2
    slices, axes = [], []
    for n, length in enumerate(array.shape):
        low = int(np.clip(np.floor(centre[n] - half * step[n]) - step[n], 0, length - 1))
        # Two steps more: averaging below drops what does not fill a last block.
        high = int(np.clip(np.ceil(centre[n] + (half + 2) * step[n]) + 2, low + 1, length))
        slices.append(slice(low, high))
        axes.append((torch.arange(size, dtype=torch.float32) - half) * step[n] + (centre[n] - low))
    part = torch.from_numpy(np.ascontiguousarray(array[tuple(slices)], dtype=np.float32))[None, None]
    # What lies between the steps counts too: otherwise a coarse cube of a fine image is noise.
    thin = [1 if nearest else max(1, round(s)) for s in step]
    thin = [min(t, d) for t, d in zip(thin, part.shape[2:], strict=True)]
    if max(thin) > 1:
        part = avg_pool3d(part, thin)
        axes = [(axis - (t - 1) / 2) / t for axis, t in zip(axes, thin, strict=True)]
    grid = torch.stack(
        torch.meshgrid(
            *(2 * axis / max(d - 1, 1) - 1 for axis, d in zip(axes, part.shape[2:], strict=True)), indexing="ij"
        ),
        dim=-1,
    ).flip(-1)
    mode = "nearest" if nearest else "bilinear"
    return grid_sample(part, grid[None], mode=mode, padding_mode="border", align_corners=True)


def click_map(points: torch.Tensor, weights: torch.Tensor, sigma: float, size: int = SIZE) -> torch.Tensor:
    """Return a bell of height `weights` at every click, the highest where they meet.

    Parameters
    ----------
    points : float tensor, shape (n, clicks, 3)
        Indices (k, j, i) of the cube.
    weights : float tensor, shape (n, clicks)
        0 for a click that is not there.

    Returns
    -------
    float tensor, shape (n, 1, size, size, size)
    """
    if not points.shape[1]:
        return points.new_zeros((len(points), 1, size, size, size))
    grid = torch.arange(size, dtype=points.dtype, device=points.device)
    bells = torch.exp(-((grid - points[..., None]) ** 2) / (2 * sigma**2))
    product = torch.einsum("nma,nmb,nmc->nmabc", bells[:, :, 0] * weights[..., None], bells[:, :, 1], bells[:, :, 2])
    return product.amax(dim=1, keepdim=True)


def encode(
    image: torch.Tensor,
    points: torch.Tensor,
    inside: torch.Tensor,
    outside: torch.Tensor,
    box: torch.Tensor,
    mask: torch.Tensor,
) -> torch.Tensor:
    """Return the network's input.

    Parameters
    ----------
    image : float tensor, shape (n, 1, size, size, size)
        In any unit: it is scaled here, once by its spread and once by what it looks like at the clicks.
    points : float tensor, shape (n, clicks, 3)
        Indices (k, j, i) of the cube.
    inside, outside : float tensor, shape (n, clicks)
        1 where a click is of that kind.
    box : float tensor, shape (n, 6)
        Lower and upper corner in indices of the cube; all 0 for none.
    mask : float tensor, shape (n, 1, size, size, size)
        Probability so far; 0 for none.
    """
    size = image.shape[-1]
    few = image[:, 0, ::3, ::3, ::3].flatten(1)
    low, high = torch.quantile(few, torch.tensor([0.01, 0.99], device=image.device), dim=1)
    spread = (high - low).clamp_min(1e-6)[:, None, None, None, None]
    scaled = ((image - low[:, None, None, None, None]) / spread * 2 - 1).clamp(-1.5, 1.5)

    with_box = (box[:, 3:] > box[:, :3]).all(dim=1)
    middle = (box[:, :3] + box[:, 3:])[:, None] / 2
    # A box shows what the object looks like at its middle, when there is no click inside.
    alone = (with_box & (inside.sum(dim=1) == 0)).to(image.dtype)[:, None]
    near = click_map(torch.cat([points, middle], 1), torch.cat([inside, alone], 1), NEAR_SIGMA, size)
    core = near**4
    weight = core.sum((2, 3, 4), keepdim=True).clamp_min(1e-6)
    centre = (scaled * core).sum((2, 3, 4), keepdim=True) / weight
    variance = ((scaled - centre) ** 2 * near).sum((2, 3, 4), keepdim=True)
    deviation = (variance / near.sum((2, 3, 4), keepdim=True).clamp_min(1e-6)).sqrt()
    contrast = torch.tanh((scaled - centre) / (1.5 * deviation + 0.02))
    grain = (((scaled - centre) ** 2 * core).sum((2, 3, 4), keepdim=True) / weight).sqrt()
    likeness = torch.exp(-(((scaled - centre) / (2.5 * grain + 0.04)) ** 2))

    grid = torch.arange(size, dtype=image.dtype, device=image.device)
    rows = [((grid >= box[:, n, None]) & (grid <= box[:, n + 3, None])).to(image.dtype) for n in range(3)]
    filled = torch.einsum("na,nb,nc->nabc", rows[0] * with_box[:, None], rows[1], rows[2])[:, None]
    return torch.cat(
        [
            scaled,
            contrast,
            likeness,
            click_map(points, inside, CLICK_SIGMA, size),
            click_map(points, outside, CLICK_SIGMA, size),
            filled,
            mask,
        ],
        dim=1,
    )
