"""Spatial transforms from the fixed to the moving image, LPS mm (ITK's convention)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Geometry, Points


@dataclass(frozen=True, slots=True)
class AffineTransform:
    """``moving_lps = matrix @ fixed_lps`` in homogeneous coordinates.

    Attributes
    ----------
    matrix : sixteen floats, row-major 4x4
        Maps a point of the fixed image to the point of the moving image that belongs there, LPS mm.
    """

    matrix: tuple[float, ...]

    def __post_init__(self) -> None:
        values = tuple(float(v) for v in self.matrix)
        if len(values) != 16 or not np.isfinite(values).all():
            raise ValueError("an affine transform needs sixteen finite numbers")
        object.__setattr__(self, "matrix", values)

    @classmethod
    def identity(cls) -> AffineTransform:
        """Return the transform that moves nothing."""
        return cls(tuple(float(v) for v in np.eye(4).ravel()))

    @classmethod
    def from_matrix(cls, matrix: npt.ArrayLike) -> AffineTransform:
        """Build from a 4x4 array."""
        return cls(tuple(float(v) for v in np.asarray(matrix, dtype=np.float64).ravel()))

    @property
    def array(self) -> Points:
        """4x4 array."""
        return np.array(self.matrix, dtype=np.float64).reshape(4, 4)

    def apply(self, fixed_lps: npt.ArrayLike) -> Points:
        """Map points (..., 3) of the fixed image to the moving image, LPS mm."""
        points = np.asarray(fixed_lps, dtype=np.float64)
        matrix = self.array
        moving_lps: Points = points @ matrix[:3, :3].T + matrix[:3, 3]
        return moving_lps

    def inverse(self) -> AffineTransform:
        """Return moving -> fixed."""
        return AffineTransform.from_matrix(np.linalg.inv(self.array))


@dataclass(frozen=True, slots=True, eq=False)
class DisplacementField:
    """``moving_lps = fixed_lps + displacement(fixed_lps)``.

    Attributes
    ----------
    displacement_mm : float32, shape (k, j, i, 3)
        LPS mm on `geometry`, the grid of the fixed image.
    """

    displacement_mm: npt.NDArray[np.float32]
    geometry: Geometry
