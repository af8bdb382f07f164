"""Masks and grids to try pure functions on: anisotropic, oblique and sheared grids, and masks that a seed makes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from medviewer.core.geometry import Geometry

TURN = (0.8, -0.6, 0.0, 0.48, 0.64, 0.6, -0.36, -0.48, 0.8)
SHEAR = (1.0, 0.0, 0.0, 0.0, 1.0, 0.3, 0.0, 0.0, 0.9539392014169457)
SPACINGS = ((0.7, 0.7, 2.5), (1.0, 1.0, 1.0), (1.3, 0.6, 0.9))
#: Wider than one machine word, where rows are kept as bits.
SHAPES = ((6, 7, 9), (3, 5, 70), (1, 8, 12), (9, 4, 130))


def upright() -> st.SearchStrategy[Geometry]:
    """Grids whose axes are at right angles, along the patient or not."""
    return _grids((tuple(np.eye(3).ravel()), TURN))


def grids() -> st.SearchStrategy[Geometry]:
    """Sheared grids too."""
    return _grids((tuple(np.eye(3).ravel()), TURN, SHEAR))


def _grids(directions: tuple[tuple[float, ...], ...]) -> st.SearchStrategy[Geometry]:
    return st.builds(
        lambda shape, spacing, direction: Geometry(shape[::-1], spacing, (3.0, -7.0, 11.0), direction),
        st.sampled_from(SHAPES),
        st.sampled_from(SPACINGS),
        st.sampled_from(directions),
    )


def speckle(geometry: Geometry, seed: int, share: float) -> npt.NDArray[np.bool_]:
    """Return a mask that has `share` of all voxels, by chance."""
    return np.random.default_rng(seed).random(geometry.shape) < share


def lengths_mm(geometry: Geometry, point_ijk: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """Return how far every voxel (k, j, i) lies from a point, in mm."""
    kji = np.indices(geometry.shape).reshape(3, -1).T
    apart = geometry.index_to_lps(kji[:, ::-1]) - geometry.index_to_lps(point_ijk)
    return np.linalg.norm(apart, axis=1).reshape(geometry.shape)
