"""Grids of turned views."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medviewer.core.geometry import Geometry
from medviewer.core.tilt import Tilt, slab_half_mm, tilted_grid

GRIDS = (
    Geometry((7, 6, 5), (0.7, 1.3, 2.5), (-3.0, 12.0, 7.0), (0.8, -0.6, 0.0, 0.48, 0.64, 0.6, -0.36, -0.48, 0.8)),
    Geometry((4, 9, 3), (1.0, 0.5, 4.0), direction=(1, 0, 0, 0, 1, 0.3, 0, 0, 0.9539392014169456)),
    Geometry((5, 5, 5), (1.0, 1.0, 1.0), direction=(1, 0, 0, 0, 1, 0, 0, 0, -1)),
)
ANGLES = st.tuples(*[st.floats(-180, 180)] * 3)


def tilt_of(angles: tuple[float, float, float]) -> Tilt:
    a, b, c, d, e, f, g, h, i = Rotation.from_euler("xyz", angles, degrees=True).as_matrix().ravel()
    return (float(a), float(b), float(c), float(d), float(e), float(f), float(g), float(h), float(i))


@given(st.sampled_from(GRIDS), ANGLES)
def test_a_turned_grid_covers_the_image_and_stands_square(
    geometry: Geometry, angles: tuple[float, float, float]
) -> None:
    grid = tilted_grid(geometry, tilt_of(angles))
    np.testing.assert_allclose(grid.direction_matrix.T @ grid.direction_matrix, np.eye(3), atol=1e-9)
    i, j, k = geometry.size
    corners = [[a, b, c] for a in (-0.5, i - 0.5) for b in (-0.5, j - 0.5) for c in (-0.5, k - 0.5)]
    index = grid.lps_to_index(geometry.index_to_lps(corners))
    assert (index >= -0.5 - 1e-6).all()
    assert (index <= np.array(grid.size) - 0.5 + 1e-6).all()
    middle = grid.lps_to_index(geometry.index_to_lps([(n - 1) / 2 for n in geometry.size]))
    np.testing.assert_allclose(middle, np.round(middle), atol=1e-6)


def test_no_turn_keeps_the_axes_of_an_orthogonal_grid() -> None:
    grid = tilted_grid(GRIDS[0], (1, 0, 0, 0, 1, 0, 0, 0, 1))
    np.testing.assert_allclose(grid.direction_matrix, GRIDS[0].direction_matrix, atol=1e-9)


@given(st.sampled_from(GRIDS), ANGLES, st.tuples(*[st.floats(0, 1)] * 3))
def test_a_slab_holds_the_voxel_of_every_point_of_its_plane(
    geometry: Geometry, angles: tuple[float, float, float], at: tuple[float, float, float]
) -> None:
    normal = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()[:, 2]
    point = geometry.index_to_lps([t * (n - 1) for t, n in zip(at, geometry.size, strict=True)])
    voxel = geometry.index_to_lps(np.floor(geometry.lps_to_index(point) + 0.5))
    assert abs(float(normal @ (voxel - point))) <= slab_half_mm(geometry, normal) + 1e-6
