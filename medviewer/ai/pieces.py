"""The pieces of the labels that a model drew, each as a finding of its own: where, how large, how sure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Geometry, Vec3, vec3
from medviewer.core.segmentation import LabelArray

#: Voxels that touch by a corner are one piece.
_TOUCH = np.ones((3, 3, 3), bool)


@dataclass(frozen=True, slots=True)
class Piece:
    """One connected piece of a label.

    Attributes
    ----------
    value : int
        Of its label.
    lower, upper : (float, float, float)
        Opposite corners of the box around its voxels, LPS mm.
    ml : float
        Its volume.
    score : float
        Mean probability over its voxels, 0 .. 1.
    """

    value: int
    lower: Vec3
    upper: Vec3
    ml: float
    score: float

    @property
    def diameter_mm(self) -> float:
        """Of the sphere of the same volume."""
        return float((6000 * self.ml / math.pi) ** (1 / 3))


def pieces_of(
    labels: LabelArray, probability: npt.NDArray[np.float32], geometry: Geometry, values: Sequence[int]
) -> tuple[Piece, ...]:
    """Return the pieces of some labels, the largest first.

    Parameters
    ----------
    labels : shape (k, j, i)
    probability : shape (k, j, i)
        Of there being anything but background.
    geometry : Geometry
    values : sequence of int
        Labels whose pieces are wanted; pieces of different labels are different ones.
    """
    from scipy import ndimage

    found = []
    for value in values:
        islands, _ = ndimage.label(labels == value, _TOUCH)
        for n, box in enumerate(ndimage.find_objects(islands), start=1):
            inside = islands[box] == n
            lower, upper = _corners(box, geometry)
            ml = float(inside.sum()) * geometry.voxel_volume_mm3 / 1000
            found.append(Piece(value, lower, upper, ml, float(probability[box][inside].mean())))
    return tuple(sorted(found, key=lambda piece: -piece.ml))


def _corners(box: tuple[slice, ...], geometry: Geometry) -> tuple[Vec3, Vec3]:
    edges = [(part.start - 0.5, part.stop - 0.5) for part in reversed(box)]
    corners = geometry.index_to_lps(np.array(list(itertools.product(*edges))))
    return vec3(corners.min(0)), vec3(corners.max(0))
