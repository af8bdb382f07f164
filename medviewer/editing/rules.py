"""What a stroke may change. Applied in one place, for every tool alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from medviewer.core.segmentation import LabelArray, Mask, Segmentation
from medviewer.core.volume import VoxelArray

Overwrite = Literal["all", "visible", "none"]


@dataclass(frozen=True, slots=True)
class EditRules:
    """Masking rules of the editor.

    Attributes
    ----------
    overwrite : "all", "visible" or "none"
        Which other segments of the same group a stroke may paint over. Locked ones never.
    intensity : (lower, upper) or None
        Only voxels whose value (in the unit of the volume) lies in the closed range are painted.
    """

    overwrite: Overwrite = "all"
    intensity: tuple[float, float] | None = None

    def protected_values(self, segmentation: Segmentation, group_id: int, active: int) -> list[int]:
        """Return the values of the group that a stroke of segment `active` must leave alone."""
        protected = []
        for segment in segmentation.segments:
            if segment.group != group_id or segment.value == active:
                continue
            keeps = self.overwrite == "none" or (self.overwrite == "visible" and not segment.visible)
            if segment.locked or keeps:
                protected.append(segment.value)
        return protected

    def allowed(self, labels: LabelArray, image: VoxelArray | None, protected: list[int]) -> Mask:
        """Return where a stroke may write; `labels` and `image` are the parts inside its box (k, j, i)."""
        mask = np.ones(labels.shape, dtype=np.bool_)
        if protected:
            mask &= ~np.isin(labels, protected)
        if self.intensity is not None and image is not None:
            lower, upper = self.intensity
            mask &= (image >= lower) & (image <= upper)
        return mask
