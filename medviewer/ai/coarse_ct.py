"""A CT on blocks of voxels along the patient's axes, and back to its voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medviewer.ai.masks import (
    Mask,
    Spacing,
    dilated,
    eroded,
)
from medviewer.ai.patient_grid import PatientGrid, block_mean, refine
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobContext

Hounsfield = npt.NDArray[np.float32]

#: Fat is about -100 HU, skin folds and mattress foam below -350.
SOFT_HU = -350.0
#: Lung lies around -850; half-way to soft tissue.
AIR_HU = -450.0
#: Air in airways and bowel; lung tissue is denser, except in severe emphysema.
PURE_AIR_HU = -930.0


@dataclass(frozen=True, slots=True, eq=False)
class CoarseCt:
    """A CT on blocks of voxels, along the patient's axes.

    Attributes
    ----------
    hu : float32, shape (head, back, left)
        Mean of each block, clipped to -1024..1500 HU.
    spacing : (float, float, float)
        mm along (head, back, left).
    grid : PatientGrid
        How the volume was turned.
    factors : (int, int, int)
        Voxels in a block.
    """

    hu: Hounsfield
    spacing: Spacing
    grid: PatientGrid
    factors: tuple[int, int, int]

    @classmethod
    def of(cls, volume: Volume, target_mm: float) -> CoarseCt:
        """Return a volume on blocks of about `target_mm`."""
        grid = PatientGrid.of(volume.geometry)
        factors = grid.factors(target_mm)
        hu = block_mean(grid.turn(volume.array), factors, -1024.0, 1500.0)
        k, j, i = (mm * f for mm, f in zip(grid.spacing, factors, strict=True))
        return cls(hu, (k, j, i), grid, factors)

    def fine(self, mask: Mask) -> Mask:
        """Return a coarse mask on the voxels of the volume, along the patient's axes."""
        return refine(mask, self.factors, self.grid.shape)

    def coarser(self, target_mm: float) -> CoarseCt:
        """Return the same CT on blocks of blocks, of about `target_mm`; may be this one."""
        k, j, i = (min(max(1, round(target_mm / mm)), n) for mm, n in zip(self.spacing, self.hu.shape, strict=True))
        if (k, j, i) == (1, 1, 1):
            return self
        whole = (self.factors[0] * k, self.factors[1] * j, self.factors[2] * i)
        spacing = (self.spacing[0] * k, self.spacing[1] * j, self.spacing[2] * i)
        return CoarseCt(block_mean(self.hu, (k, j, i), -1024.0, 1500.0), spacing, self.grid, whole)

    def snapped(self, ctx: JobContext, mask: Mask, belongs: Mask) -> Mask:
        """Return a coarse mask on the voxels of the volume, its surface moved to where a fine condition ends.

        Parameters
        ----------
        ctx : JobContext
        mask : bool, shape of `hu`
        belongs : bool, shape (head, back, left) of the volume
            Decides within one block of the surface of `mask`; further inside and outside `mask` decides.
        """
        reach = max(self.spacing[1:]) + 1e-3
        surely = self.fine_smooth(ctx, eroded(ctx, mask, reach, self.spacing))
        # The block across a corner too.
        perhaps = self.fine(dilated(ctx, mask, 1.42 * reach, self.spacing))
        result: Mask = surely | (perhaps & belongs)
        return result

    def fine_smooth(self, ctx: JobContext, mask: Mask) -> Mask:
        """Return a coarse mask on the voxels of the volume with its steps smoothed by linear interpolation."""
        import torch
        from torch.nn.functional import interpolate

        whole = [n // f * f for n, f in zip(self.grid.shape, self.factors, strict=True)]
        fine = np.zeros(self.grid.shape, bool)
        source = torch.from_numpy(mask).to(ctx.device)
        step = 32
        # In slabs with one block of overlap: the whole grid as float is four times the volume.
        for start in range(0, mask.shape[0], step):
            ctx.check_cancelled()
            low, high = max(0, start - 1), min(mask.shape[0], start + step + 1)
            slab = source[low:high].float()[None, None]
            size = ((high - low) * self.factors[0], whole[1], whole[2])
            up = interpolate(slab, size=size, mode="trilinear", align_corners=False)[0, 0] > 0.5
            first, count = (start - low) * self.factors[0], min(step, mask.shape[0] - start) * self.factors[0]
            target = slice(start * self.factors[0], start * self.factors[0] + count)
            fine[target, : whole[1], : whole[2]] = up[first : first + count].cpu().numpy()
        for axis, n in enumerate(whole):
            rest = [slice(None)] * 3
            last = [slice(None)] * 3
            rest[axis], last[axis] = slice(n, None), slice(n - 1, n)
            fine[tuple(rest)] = fine[tuple(last)]
        return fine
