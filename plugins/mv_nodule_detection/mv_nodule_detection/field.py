"""The image of one lung at 1 mm in every direction, with everything outside the lung painted over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from medviewer.api import Geometry, JobContext, Mask, Volume, vec3
from medviewer.api.inference import CoarseCt, bounding_slices

#: Denser than soft tissue tells nothing more about a nodule; bone and contrast agent must not outshine it.
HIGHEST_HU = 150.0
LOWEST_HU = -1000.0


@dataclass(frozen=True, slots=True, eq=False)
class LungField:
    """One lung on an isotropic grid along the patient's axes.

    Attributes
    ----------
    hu : float32 tensor, shape (head, back, left)
        Clipped densities; outside the lung the density of its tissue, so that the chest wall is no edge.
    raw : float32 tensor
        Densities as they are.
    lung : bool tensor
        The lung with what is closed in.
    background : float
        Density of the lung tissue, HU.
    geometry : Geometry
        Where the voxels lie, LPS mm.
    """

    hu: torch.Tensor
    raw: torch.Tensor
    lung: torch.Tensor
    background: float
    geometry: Geometry

    @property
    def step_mm(self) -> float:
        """Edge of a voxel."""
        return self.geometry.spacing[0]


def resampled(source: torch.Tensor, positions: list[npt.NDArray[np.float64]]) -> torch.Tensor:
    """Return values at the crossings of three sets of index positions, linear in between, clamped at the border."""
    for places in positions:
        n = source.shape[0]
        place = np.clip(places, 0.0, n - 1.0)
        low = np.minimum(place.astype(np.int64), max(n - 2, 0))
        rows = np.arange(len(place))
        weights = np.zeros((len(place), n), np.float32)
        weights[rows, low] = 1.0
        weights[rows, np.minimum(low + 1, n - 1)] += place - low
        weights[rows, low] -= place - low
        # A product with a matrix, most of it zero, is still many times faster than gathering along an axis.
        matrix = torch.from_numpy(weights).to(source.device)
        source = torch.tensordot(source, matrix, dims=([0], [1]))
    # Each product moves its axis to the end, so that three of them restore the order.
    return source


def lung_field(ctx: JobContext, volume: Volume, ct: CoarseCt, lung: Mask, step_mm: float = 1.0) -> LungField | None:
    """Return one lung of a volume on an isotropic grid; None when the mask is empty.

    Parameters
    ----------
    volume : Volume
        CT in HU.
    ct : CoarseCt
        The same on blocks.
    lung : bool, shape of ``ct.hu``
    step_mm : float
        Spacing of the grid to make.
    """
    box = bounding_slices(lung, 8.0, ct.spacing)
    if box is None:
        return None
    fine_spacing = ct.grid.spacing
    turned = ct.grid.turned(volume.geometry)
    starts, counts = [], []
    for part, factor, mm in zip(box, ct.factors, fine_spacing, strict=True):
        starts.append(part.start * factor)
        counts.append(max(2, int((part.stop - part.start) * factor * mm / step_mm)))
    fine = [start + np.arange(n) * step_mm / mm for start, n, mm in zip(starts, counts, fine_spacing, strict=True)]
    # A block's middle is half a block behind its first voxel.
    coarse = [(places - (f - 1) / 2) / f for places, f in zip(fine, ct.factors, strict=True)]
    ends = [int(places[-1]) + 2 for places in fine]
    crop = ct.grid.turn(volume.array)[starts[0] : ends[0], starts[1] : ends[1], starts[2] : ends[2]]
    values = torch.from_numpy(np.ascontiguousarray(crop, np.float32)).to(ctx.device)
    ctx.check_cancelled()
    raw = resampled(values, [places - start for places, start in zip(fine, starts, strict=True)])
    del values
    ctx.check_cancelled()
    inner = resampled(torch.from_numpy(lung[box].astype(np.float32)).to(ctx.device),
                      [places - part.start for places, part in zip(coarse, box, strict=True)])  # fmt: skip
    hu = raw.clamp(LOWEST_HU, HIGHEST_HU)
    tissue = hu[(inner > 0.99) & (hu < -600.0)]
    background = float(tissue[:: max(1, tissue.numel() // 200_000)].median()) if tissue.numel() else -850.0
    hu = torch.lerp(torch.full_like(hu, background), hu, inner)
    geometry = Geometry(
        size=(counts[2], counts[1], counts[0]),
        spacing=(step_mm, step_mm, step_mm),
        origin=vec3(turned.index_to_lps(starts[::-1])),
        direction=turned.direction,
    )
    return LungField(hu, raw, inner > 0.5, background, geometry)
