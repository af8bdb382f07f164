"""What a stroke changed: a box, a packed mask, the old values, the new value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medviewer.core.region import Region
from medviewer.core.segmentation import LabelArray, Mask


@dataclass(frozen=True, slots=True, eq=False)
class LabelPatch:
    """Voxels of one box that went from `before` to `after`.

    Attributes
    ----------
    region : Region
        Half-open box (k, j, i).
    packed : uint8
        `numpy.packbits` of the changed mask: one bit a voxel of the box.
    before : uint16, shape (changed,) or (1,)
        Old values in array order; one value when they are all the same.
    after : int
        New value.
    """

    region: Region
    packed: npt.NDArray[np.uint8]
    before: LabelArray
    after: int

    @classmethod
    def write(cls, labels: LabelArray, region: Region, mask: Mask, after: int) -> LabelPatch | None:
        """Write `after` where `mask` (of the region's shape) is true and the value differs; None if nothing did."""
        part = labels[region.slices]
        changed = mask & (part != after)
        tight = Region.of_mask(changed)
        if tight is None:
            return None
        inner = changed[tight.slices]
        target = part[tight.slices]
        before = target[inner]
        if (before == before[0]).all():
            before = before[:1].copy()
        target[inner] = after
        k, j, i = (int(n) for n in region.lower)
        absolute = Region(
            (tight.lower[0] + k, tight.lower[1] + j, tight.lower[2] + i),
            (tight.upper[0] + k, tight.upper[1] + j, tight.upper[2] + i),
        )
        return cls(absolute, np.packbits(inner), before, int(after))

    @property
    def nbytes(self) -> int:
        """Memory it holds."""
        return self.packed.nbytes + self.before.nbytes + 200

    @property
    def voxels(self) -> int:
        """How many voxels it changed."""
        return int(np.bitwise_count(self.packed).sum()) if self.before.size == 1 else self.before.size

    @property
    def mask(self) -> Mask:
        """The changed voxels, shape of the region."""
        bits = np.unpackbits(self.packed, count=self.region.size)
        mask: Mask = bits.reshape(self.region.shape).astype(np.bool_)
        return mask

    def undo(self, labels: LabelArray) -> None:
        """Put the old values back."""
        labels[self.region.slices][self.mask] = self.before if self.before.size > 1 else self.before[0]

    def redo(self, labels: LabelArray) -> None:
        """Write the new value again."""
        labels[self.region.slices][self.mask] = self.after
