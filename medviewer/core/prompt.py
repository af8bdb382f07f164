"""The vocabulary of interactive models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Vec3
from medviewer.core.region import Region

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """One instruction to a promptable model.

    Attributes
    ----------
    kind : "point", "box", "scribble" or "lasso"
    positive : bool
        Whether what is marked belongs to the object.
    points : tuple of (x, y, z)
        LPS mm.
    crop : (Region, mask) or None
        For a scribble or lasso: the mask (k, j, i) and where it lies.
    """

    kind: Literal["point", "box", "scribble", "lasso"]
    positive: bool
    points: tuple[Vec3, ...] = ()
    crop: tuple[Region, Mask] | None = None
