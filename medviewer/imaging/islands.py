"""Parts of a mask that do not touch each other, and what they enclose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from medviewer.core.region import Kji, Region

Mask = npt.NDArray[np.bool_]
Touch = Literal["faces", "edges", "corners"]
_RANK = {"faces": 1, "edges": 2, "corners": 3}


@dataclass(frozen=True, slots=True, eq=False)
class Islands:
    """The connected components of a mask.

    Attributes
    ----------
    labels : int array (k, j, i)
        0 outside the mask, else the number of the island.
    sizes : int array (islands + 1,)
        Voxels of each; that of 0 is 0.
    """

    labels: npt.NDArray[np.int32]
    sizes: npt.NDArray[np.int64]

    @classmethod
    def of(cls, mask: Mask, touch: Touch = "faces", *, flat: int | None = None) -> Islands:
        """Find the islands of a mask (k, j, i).

        Parameters
        ----------
        touch : "faces", "edges" or "corners"
            What two voxels share that belong together.
        flat : int, optional
            Index axis (0 = i, 1 = j, 2 = k) along which nothing touches: every slice by itself.
        """
        from scipy import ndimage

        structure = ndimage.generate_binary_structure(3, _RANK[touch])
        if flat is not None:
            beside = np.moveaxis(structure, 2 - flat, 0)
            beside[0] = beside[2] = False
        labels, count = ndimage.label(mask, structure)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        sizes[0] = 0
        return cls(labels.astype(np.int32, copy=False), sizes)

    @property
    def count(self) -> int:
        """How many there are."""
        return self.sizes.size - 1

    @property
    def by_size(self) -> list[int]:
        """Their numbers, largest first; of two of one size the one that comes first in the array."""
        return [int(n) + 1 for n in np.argsort(-self.sizes[1:], kind="stable")]

    def largest(self) -> Mask:
        """Return the mask of the largest; empty when there is none."""
        return self.labels == self.by_size[0] if self.count else np.zeros(self.labels.shape, np.bool_)

    def at_least(self, voxels: float) -> Mask:
        """Return the mask of those with as many voxels or more."""
        keep = self.sizes >= voxels
        keep[0] = False
        mask: Mask = keep[self.labels]
        return mask

    def at(self, places: list[Kji]) -> Mask:
        """Return the mask of those that array indices (k, j, i) lie in; an index beside them all counts nothing."""
        keep = np.zeros(self.sizes.size, dtype=np.bool_)
        box = Region.whole(self.labels.shape)
        keep[[int(self.labels[kji]) for kji in places if box.contains(kji)]] = True
        keep[0] = False
        mask: Mask = keep[self.labels]
        return mask

    def boxes(self) -> list[Region]:
        """Return the smallest box of each, in the order of the numbers."""
        from scipy import ndimage

        return [
            Region((k.start, j.start, i.start), (k.stop, j.stop, i.stop))
            for k, j, i in ndimage.find_objects(self.labels)
        ]


def fill_holes(mask: Mask, *, flat: int | None = None) -> Mask:
    """Return the mask with what it encloses.

    Parameters
    ----------
    mask : bool array (k, j, i)
        What touches the edge of the array is not enclosed, so the box around a mask needs no margin.
    flat : int, optional
        Index axis (0 = i, 1 = j, 2 = k): every slice across it is filled by itself. None: what is enclosed in 3-D.

    Returns
    -------
    bool array of the same shape
    """
    gaps = Islands.of(~mask, flat=flat)
    enclosed = np.ones(gaps.sizes.size, dtype=np.bool_)
    enclosed[0] = False
    for axis in range(3):
        if flat is None or axis != 2 - flat:
            for end in (0, -1):
                enclosed[np.unique(gaps.labels.take(end, axis=axis))] = False
    filled: Mask = mask | enclosed[gaps.labels]
    return filled
