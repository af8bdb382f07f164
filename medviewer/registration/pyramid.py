"""Both images at one resolution, as tensors that can be sampled at places in LPS mm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medviewer.core.geometry import Geometry, Points, vec3
from medviewer.core.volume import Volume

if TYPE_CHECKING:
    import torch

#: Along an axis with fewer blocks nothing can be told any more.
FEWEST = 8


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """An image on blocks of voxels, its values brought to 0..1.

    Attributes
    ----------
    values : float32 tensor, shape (k, j, i)
    lps_to_index : float32 tensor, shape (3, 4)
        From LPS mm, relative to `origin_lps`, to continuous index (k, j, i).
    geometry : Geometry
        Of the blocks.
    origin_lps : float64, shape (3,)
        Subtracted from places before they are mapped: single precision is then exact to micrometres.
    """

    values: torch.Tensor
    lps_to_index: torch.Tensor
    geometry: Geometry
    origin_lps: Points

    def index_of(self, places: torch.Tensor) -> torch.Tensor:
        """Return continuous indices (n, 3) in (k, j, i) of places (n, 3) in LPS mm relative to `origin_lps`."""
        matrix = self.lps_to_index
        return places @ matrix[:, :3].T + matrix[:, 3]

    def at(self, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return values (n,) and how far inside the image each place lies (n,): 1 inside, falling to 0 in one block.

        Both can be differentiated by `places`, (n, 3) in LPS mm relative to `origin_lps`.
        """
        import torch
        from torch.nn.functional import grid_sample

        index = self.index_of(places)
        size = torch.tensor(self.values.shape, dtype=torch.float32, device=index.device)
        inside = ((index + 1).clamp(0, 1) * (size - index).clamp(0, 1)).prod(dim=1)
        # grid_sample wants (x, y, z) = (i, j, k) in -1..1.
        grid = (2 * index / (size - 1).clamp(min=1) - 1).flip(1).reshape(1, -1, 1, 1, 3)
        values = grid_sample(self.values[None, None], grid, padding_mode="border", align_corners=True)
        return values.reshape(-1), inside


def tensor_of(volume: Volume, device: str) -> torch.Tensor:
    """Return the voxels of a volume as float32, brought to 0..1 between their 0.5th and 99.5th percentile."""
    import torch

    array = volume.array
    sample = array[:: max(1, array.shape[0] // 64), ::2, ::2] if array.size > 1_000_000 else array
    low, high = (float(v) for v in np.percentile(sample, [0.5, 99.5]))
    values = torch.from_numpy(np.array(array, np.float32)).to(device)
    return values.sub_(low).div_(max(high - low, 1e-6)).clamp_(0.0, 1.0)


def level_of(values: torch.Tensor, geometry: Geometry, target_mm: float, origin_lps: Points) -> Level:
    """Return an image on blocks of about `target_mm`.

    Parameters
    ----------
    values : float32 tensor, shape (k, j, i)
    geometry : Geometry
        Of `values`.
    target_mm : float
        Edge of a block.
    origin_lps : float64, shape (3,)
        What places are relative to.
    """
    import torch
    from torch.nn.functional import avg_pool3d

    spacing = geometry.spacing[::-1]
    factors = [max(1, min(round(target_mm / mm), n // FEWEST)) for mm, n in zip(spacing, values.shape, strict=True)]
    blocks = avg_pool3d(values[None, None], factors)[0, 0] if max(factors) > 1 else values
    i, j, k = factors[::-1]
    coarse = Geometry(
        size=(blocks.shape[2], blocks.shape[1], blocks.shape[0]),
        spacing=(geometry.spacing[0] * i, geometry.spacing[1] * j, geometry.spacing[2] * k),
        origin=vec3(geometry.index_to_lps([(i - 1) / 2, (j - 1) / 2, (k - 1) / 2])),
        direction=geometry.direction,
    )
    matrix = coarse.lps_to_index_matrix
    rows = np.concatenate([matrix[:3, :3], (matrix[:3, :3] @ origin_lps + matrix[:3, 3])[:, None]], axis=1)[::-1]
    to_index = torch.tensor(rows.copy(), dtype=torch.float32, device=values.device)
    return Level(blocks, to_index, coarse, origin_lps)
