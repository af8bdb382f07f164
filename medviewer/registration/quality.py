"""How good an alignment is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Geometry
from medviewer.core.transform import AffineTransform, DisplacementField


def dice(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    """Return the overlap 2|a∩b| / (|a|+|b|) of two masks of one shape; two empty masks overlap fully."""
    total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 1.0 if total == 0 else 2.0 * int(np.count_nonzero(a & b)) / total


def jacobian_min(transform: AffineTransform | DisplacementField) -> float:
    """Return the smallest Jacobian determinant: 1 keeps volumes, 0 or less folds space."""
    if isinstance(transform, AffineTransform):
        return float(np.linalg.det(transform.array[:3, :3]))
    grid = transform.geometry
    field = transform.displacement_mm.astype(np.float64)
    # Derivatives along index axes (k, j, i), then to LPS by the inverse of the grid's matrix.
    steps = np.stack(
        [np.gradient(field, axis=axis) if field.shape[axis] > 1 else np.zeros_like(field) for axis in (2, 1, 0)],
        axis=-1,
    )
    jacobian = steps @ grid.lps_to_index_matrix[:3, :3] + np.eye(3)
    return float(np.linalg.det(jacobian).min())


def corner_error_mm(found: AffineTransform, truth: AffineTransform, geometry: Geometry) -> float:
    """Return how far apart two transforms send the corners of a grid at most, mm."""
    apart = found.apply(geometry.corners_lps) - truth.apply(geometry.corners_lps)
    return float(np.linalg.norm(apart, axis=1).max())
