"""Laws of Geometry and Region."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from medviewer.core.geometry import Geometry
from medviewer.core.region import Region

finite = st.floats(-500, 500)


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Any grid: oblique, left-handed, anisotropic, sheared."""
    columns = []
    for _ in range(3):
        vector = np.array(draw(st.tuples(*[st.floats(-1, 1)] * 3)))
        assume(np.linalg.norm(vector) > 0.1)
        columns.append(vector / np.linalg.norm(vector))
    direction = np.column_stack(columns)
    assume(abs(np.linalg.det(direction)) > 0.05)
    size = draw(st.tuples(*[st.integers(1, 600)] * 3))
    spacing = draw(st.tuples(*[st.floats(0.05, 20)] * 3))
    origin = draw(st.tuples(finite, finite, finite))
    return Geometry(size, spacing, origin, tuple(direction.ravel()))


@st.composite
def regions(draw: st.DrawFn) -> Region:
    lower = draw(st.tuples(*[st.integers(-20, 20)] * 3))
    upper = tuple(low + draw(st.integers(-2, 12)) for low in lower)
    return Region(lower, (upper[0], upper[1], upper[2]))


def indices_in(region: Region) -> set[tuple[int, int, int]]:
    (k0, j0, i0), (k1, j1, i1) = region.lower, region.upper
    return {(k, j, i) for k in range(k0, k1) for j in range(j0, j1) for i in range(i0, i1)}


@given(geometries(), st.tuples(finite, finite, finite))
def test_lps_to_index_undoes_index_to_lps(geometry, ijk):
    back = geometry.lps_to_index(geometry.index_to_lps(ijk))
    assert back == pytest.approx(np.array(ijk), abs=1e-5)


@given(geometries())
def test_index_zero_is_the_origin_and_axes_are_columns(geometry):
    assert tuple(geometry.index_to_lps((0, 0, 0))) == pytest.approx(geometry.origin)
    for axis in range(3):
        step = geometry.index_to_lps(np.eye(3)[axis]) - geometry.index_to_lps((0, 0, 0))
        assert np.linalg.norm(step) == pytest.approx(geometry.spacing[axis], rel=1e-6)


@given(geometries())
def test_shape_is_the_size_reversed(geometry):
    assert geometry.shape == geometry.size[::-1]
    assert geometry.region.shape == geometry.shape


@given(geometries())
def test_the_centre_is_the_mean_of_the_corners(geometry):
    assert geometry.corners_lps.mean(axis=0) == pytest.approx(np.array(geometry.center_lps), abs=1e-5)


@given(geometries(), st.data())
def test_the_voxel_at_a_voxel_centre_is_that_voxel(geometry, data):
    k, j, i = (data.draw(st.integers(0, n - 1)) for n in geometry.shape)
    assert geometry.voxel_at(tuple(geometry.index_to_lps((i, j, k)))) == (k, j, i)


@given(geometries(), st.data())
def test_cropping_keeps_every_voxel_in_its_place(geometry, data):
    lower = tuple(data.draw(st.integers(0, n - 1)) for n in geometry.shape)
    upper = tuple(data.draw(st.integers(low + 1, n)) for low, n in zip(lower, geometry.shape, strict=True))
    region = Region((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))
    part = geometry.cropped(region)
    assert part.shape == region.shape
    k, j, i = lower
    far = (part.size[0] - 1, part.size[1] - 1, part.size[2] - 1)
    whole = geometry.index_to_lps((i + far[0], j + far[1], k + far[2]))
    assert part.index_to_lps(far) == pytest.approx(whole, abs=1e-5)


@given(geometries())
def test_a_grid_is_close_to_itself_and_not_to_a_moved_one(geometry):
    moved = Geometry(
        geometry.size, geometry.spacing, (geometry.origin[0] + 0.5, *geometry.origin[1:]), geometry.direction
    )
    assert geometry.is_close(geometry)
    assert not geometry.is_close(moved)


@given(geometries())
def test_voxel_volume_is_that_of_its_edges(geometry):
    edges = geometry.index_to_lps(np.eye(3)) - geometry.index_to_lps((0, 0, 0))
    assert geometry.voxel_volume_mm3 == pytest.approx(abs(np.linalg.det(edges)), rel=1e-6)


@pytest.mark.parametrize(
    "values",
    [
        {"size": (0, 1, 1)},
        {"spacing": (1, 1, 0)},
        {"spacing": (1, 1, float("nan"))},
        {"origin": (float("inf"), 0, 0)},
        {"direction": (1, 0, 0, 1, 0, 0, 0, 0, 1)},
        {"direction": (1, 0, 0)},
    ],
)
def test_what_is_no_grid_is_refused(values):
    with pytest.raises(ValueError, match=r".+"):
        Geometry(**{"size": (2, 2, 2), "spacing": (1, 1, 1), **values})


@given(regions(), regions())
def test_clip_is_the_intersection(one, other):
    clipped = one.clip(other)
    assert indices_in(clipped) == indices_in(one) & indices_in(other)
    assert clipped.size == len(indices_in(clipped))


@given(regions(), regions())
def test_union_holds_both_and_is_the_smallest(one, other):
    union = one.union(other)
    assert indices_in(one) | indices_in(other) <= indices_in(union)
    for axis in range(3):
        for n in (union.lower[axis], union.upper[axis] - 1):
            touched = indices_in(one) | indices_in(other)
            assert not touched or any(index[axis] == n for index in touched)


@given(regions())
def test_slices_select_the_region(region):
    shifted = Region(tuple(n + 25 for n in region.lower), tuple(n + 25 for n in region.upper))
    array = np.zeros((60, 60, 60), bool)
    array[shifted.slices] = True
    assert int(array.sum()) == region.size
    if not region.is_empty:
        assert Region.of_mask(array) == shifted
    else:
        assert Region.of_mask(array) is None


@given(regions(), st.integers(0, 3))
def test_growing_and_shrinking_is_the_same_again(region, by):
    assert region.grown(by).grown(-by) == region


@given(regions(), st.tuples(*[st.integers(-25, 40)] * 3))
def test_contains_says_what_the_slices_say(region, kji):
    assert region.contains(kji) == (kji in indices_in(region))
