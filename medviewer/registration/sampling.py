"""Where two images are compared: places in and around the object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medviewer.core.geometry import Geometry, Points
from medviewer.registration.pyramid import Level, level_of

if TYPE_CHECKING:
    import torch

#: Share of the grey range above which something is object: skin and lung are, air is not.
OBJECT = 0.12


def center_of_mass(values: torch.Tensor, geometry: Geometry) -> Points:
    """Return the middle of the object in LPS mm; every voxel of it counts the same.

    Parameters
    ----------
    values : float32 tensor, shape (k, j, i)
        Values 0..1.
    geometry : Geometry
        Of `values`.
    """
    level = level_of(values, geometry, 8.0, np.zeros(3))
    inside = (level.values > OBJECT).nonzero().float().cpu().numpy()
    if not len(inside):
        return np.array(geometry.center_lps)
    return level.geometry.index_to_lps(inside.mean(axis=0)[::-1])


def sample(level: Level, count: int, generator: torch.Generator) -> torch.Tensor:
    """Return continuous indices (n, 3) in (k, j, i) of at most `count` places in the object and 8 mm around it.

    Places are jittered within their voxel: on the grid itself, interpolation would favour whole-voxel shifts.
    """
    import torch
    from torch.nn.functional import max_pool3d

    device = level.values.device
    near = (level.values > OBJECT).float()[None, None]
    reach = [min(max(1, round(8.0 / mm)), (n - 1) // 2) for mm, n in
             zip(level.geometry.spacing[::-1], level.values.shape, strict=True)]  # fmt: skip
    for axis in range(3):
        size = [2 * reach[axis] + 1 if a == axis else 1 for a in range(3)]
        padding = [reach[axis] if a == axis else 0 for a in range(3)]
        near = max_pool3d(near, size, stride=1, padding=padding)
    candidates = (near[0, 0] > 0).nonzero()
    if not len(candidates):
        candidates = torch.ones_like(level.values).nonzero()
    if len(candidates) > count:
        chosen = torch.randperm(len(candidates), generator=generator)[:count]
        candidates = candidates[chosen.to(device)]
    jitter = torch.rand(candidates.shape, generator=generator) - 0.5
    return candidates.float() + jitter.to(device)


def places_of(level: Level, index: torch.Tensor) -> torch.Tensor:
    """Return places (..., 3) in LPS mm relative to the level's origin of continuous indices (..., 3) in (k, j, i)."""
    import torch

    matrix = level.geometry.index_to_lps_matrix
    shift = matrix[:3, 3] - level.origin_lps
    # Columns for k, j, i instead of i, j, k.
    linear = torch.tensor(matrix[:3, 2::-1].copy(), dtype=torch.float32, device=index.device)
    return index @ linear.T + torch.tensor(shift, dtype=torch.float32, device=index.device)
