"""Laws of the measures of masks: closed forms, symmetry, and agreement with scikit-image, SimpleITK and PyRadiomics."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from scipy.spatial.distance import pdist
from skimage.measure import marching_cubes, mesh_surface_area

from medviewer.core.geometry import Geometry, vec3
from medviewer.imaging.statistics import (
    PERCENTILES,
    axial_axis,
    intensity_statistics,
    label_boxes,
    shape_statistics,
)

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6)).filter(np.any)
spacings = st.tuples(*[st.floats(0.3, 4.0)] * 3)
angles = st.tuples(*[st.floats(-3.0, 3.0)] * 3)


@st.composite
def grids(draw: st.DrawFn, shape: tuple[int, ...]) -> Geometry:
    """Turned, sheared, mirrored, far away."""
    a, b, c = draw(angles)
    turn = np.eye(3)
    for n, angle in enumerate((a, b, c)):
        step = np.eye(3)
        (p, q) = ((0, 1), (1, 2), (0, 2))[n]
        step[p, p] = step[q, q] = np.cos(angle)
        step[p, q], step[q, p] = -np.sin(angle), np.sin(angle)
        turn = turn @ step
    turn[:, 2] += draw(st.floats(-0.4, 0.4)) * turn[:, 1]
    turn = turn / np.linalg.norm(turn, axis=0) * draw(st.sampled_from([1.0, -1.0]))
    origin = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    k, j, i = shape
    return Geometry((i, j, k), draw(spacings), origin, tuple(turn.ravel()))


@settings(max_examples=40)
@given(masks, st.data())
def test_it_is_what_the_definitions_say_on_any_grid(mask: np.ndarray, data: st.DataObject) -> None:
    geometry = data.draw(grids(mask.shape))
    found = shape_statistics(mask, geometry)
    assert found is not None
    points, faces, _, _ = marching_cubes(np.pad(mask, 1).astype(np.float32), 0.5, allow_degenerate=False)
    lps = geometry.index_to_lps(points[:, ::-1] - 1.0)
    surface = mesh_surface_area(lps, faces)
    near = lps - lps.mean(axis=0)
    enclosed = abs(np.einsum("ij,ij->", near[faces[:, 0]], np.cross(near[faces[:, 1]], near[faces[:, 2]]))) / 6
    centers = geometry.index_to_lps(np.argwhere(mask)[:, ::-1])
    assert found.voxels == mask.sum()
    assert found.volume_mm3 == pytest.approx(mask.sum() * geometry.voxel_volume_mm3)
    assert found.surface_mm2 == pytest.approx(surface, rel=1e-4)
    assert found.sphericity == pytest.approx((36 * np.pi * enclosed**2) ** (1 / 3) / surface, rel=1e-3)
    assert found.centroid_lps == pytest.approx(centers.mean(axis=0), abs=1e-6)
    assert found.feret_mm == pytest.approx(pdist(lps).max(), rel=1e-5)
    at = np.round(points[:, axial_axis(geometry)] - 1.0, 3)
    planes = [lps[at == n] for n in np.unique(at) if n == int(n)]
    longest = max(pdist(plane).max() for plane in planes if len(plane) > 1)
    assert found.longest_mm == pytest.approx(longest, rel=1e-5)
    assert pdist(lps[at == found.slice_index]).max() == pytest.approx(longest, rel=1e-5)
    assert 0 < found.perpendicular_mm <= found.longest_mm * (1 + 1e-9)
    moments = np.linalg.eigvalsh(np.cov(centers.T, bias=True)) if len(centers) > 1 else np.zeros(3)
    if moments[2] > 1e-9:
        wanted = np.sqrt(moments.clip(min=0.0) / moments[2])
        assert (found.flatness, found.elongation) == pytest.approx(wanted[:2], abs=1e-4)


@settings(max_examples=40)
@given(masks, st.data())
def test_nothing_depends_on_where_it_lies(mask: np.ndarray, data: st.DataObject) -> None:
    geometry = data.draw(grids(mask.shape))
    room = data.draw(st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 3))
    wide = np.pad(mask, room)
    k, j, i = (before for before, _ in room)
    start = vec3(geometry.index_to_lps((-i, -j, -k)))
    moved = Geometry(wide.shape[::-1], geometry.spacing, start, geometry.direction)
    one, two = shape_statistics(mask, geometry), shape_statistics(wide, moved)
    axis = axial_axis(geometry)
    assert one is not None
    assert two is not None
    assert two.slice_index == one.slice_index + room[axis][0]
    for name in set(one.__slots__) - {"slice_index"}:
        assert getattr(two, name) == pytest.approx(getattr(one, name), rel=1e-5, abs=1e-5), name


@settings(max_examples=40)
@given(masks, st.data())
def test_nothing_but_the_triangles_depends_on_the_order_of_axes(mask: np.ndarray, data: st.DataObject) -> None:
    geometry = data.draw(grids(mask.shape))
    order = data.draw(st.sampled_from(list(permutations(range(3)))))  # of the array
    ijk = [2 - order[2 - n] for n in range(3)]
    turned = Geometry(
        tuple(geometry.size[n] for n in ijk), tuple(geometry.spacing[n] for n in ijk), geometry.origin,
        tuple(geometry.direction_matrix[:, ijk].ravel()),
    )  # fmt: skip
    axis = axial_axis(geometry)
    one, two = (
        shape_statistics(mask, geometry, axis),
        shape_statistics(mask.transpose(order), turned, order.index(axis)),
    )
    assert one is not None
    assert two is not None
    # Cells whose corners touch only diagonally have more than one surface: which, depends on the order.
    for name in set(one.__slots__) - {"surface_mm2", "sphericity", "slice_index", "perpendicular_mm"}:
        assert getattr(two, name) == pytest.approx(getattr(one, name), rel=1e-6, abs=1e-6), name


def ellipsoid(radii_mm: tuple[float, float, float], spacing: tuple[float, float, float]) -> tuple[np.ndarray, Geometry]:
    """An ellipsoid with its half axes along (i, j, k)."""
    half = [int(np.ceil(r / s)) + 1 for r, s in zip(radii_mm, spacing, strict=True)]
    axes = [np.arange(-h, h + 1) * s / r for h, s, r in zip(half, spacing, radii_mm, strict=True)]
    i, j, k = np.meshgrid(*axes, indexing="ij")
    mask = (i**2 + j**2 + k**2 <= 1).transpose(2, 1, 0)
    return mask, Geometry(mask.shape[::-1], spacing)


def test_a_ball_on_a_coarse_and_on_a_fine_axis() -> None:
    mask, geometry = ellipsoid((20, 20, 20), (0.7, 0.7, 2.5))
    ball = shape_statistics(mask, geometry)
    assert ball is not None
    assert ball.volume_mm3 == pytest.approx(4 / 3 * np.pi * 20**3, rel=0.01)
    assert ball.feret_mm == pytest.approx(40, abs=2.5)
    assert ball.longest_mm == pytest.approx(40, abs=0.8)
    assert ball.perpendicular_mm == pytest.approx(40, abs=0.8)
    assert ball.who_mm2 == pytest.approx(1600, rel=0.04)
    assert (ball.elongation, ball.flatness) == pytest.approx((1, 1), abs=0.02)
    # The steps of voxels make the surface larger, always, and most where voxels are long.
    assert 1.0 < ball.surface_mm2 / (4 * np.pi * 20**2) < 1.2
    cubes, grid = ellipsoid((20, 20, 20), (1.0, 1.0, 1.0))
    round_one = shape_statistics(cubes, grid)
    assert round_one is not None
    assert 1.0 < round_one.surface_mm2 / (4 * np.pi * 20**2) < 1.1
    assert ball.sphericity < round_one.sphericity < 1.0


def test_an_ellipsoid_has_its_axes() -> None:
    mask, geometry = ellipsoid((30, 15, 9), (0.8, 0.6, 1.5))
    found = shape_statistics(mask, geometry)
    assert found is not None
    assert found.volume_mm3 == pytest.approx(4 / 3 * np.pi * 30 * 15 * 9, rel=0.01)
    assert (found.elongation, found.flatness) == pytest.approx((15 / 30, 9 / 30), abs=0.01)
    assert (found.longest_mm, found.perpendicular_mm) == pytest.approx((60, 30), abs=1.0)
    assert found.feret_mm == pytest.approx(60, abs=1.0)


def test_a_box_is_measured_to_its_faces() -> None:
    geometry = Geometry((30, 20, 10), (1.0, 2.0, 3.0))
    box = shape_statistics(np.ones(geometry.shape, bool), geometry)
    assert box is not None
    assert box.volume_mm3 == 30 * 40 * 30
    # Vertices lie in the middle of the outer faces of voxels, so a box loses its edges.
    assert box.longest_mm == pytest.approx(np.hypot(29, 40))
    assert box.feret_mm == pytest.approx(np.linalg.norm([29, 38, 30]))
    assert box.surface_mm2 == pytest.approx(2 * (30 * 40 + 30 * 30 + 40 * 30), rel=0.06)
    moments = np.sqrt(np.array([30**2 - 1, (20**2 - 1) * 4, (10**2 - 1) * 9]))
    assert (box.elongation, box.flatness) == pytest.approx(tuple(np.sort(moments)[::-1][1:] / moments.max()))


def test_the_perpendicular_of_a_bent_shape_ends_at_its_edges() -> None:
    # A bar along i with an arm to each side, a little apart: nowhere both arms lie on one line.
    mask = np.zeros((1, 31, 60), bool)
    mask[0, 14:17, :] = True
    mask[0, 4:14, 20:23] = True
    mask[0, 17:27, 26:29] = True
    found = shape_statistics(mask, Geometry((60, 31, 1), (1.0, 1.0, 5.0)))
    assert found is not None
    assert found.longest_mm == pytest.approx(60, abs=0.1)
    assert found.perpendicular_mm == pytest.approx(13, abs=0.3)


def test_a_shear_changes_a_ball_as_it_should() -> None:
    mask, straight = ellipsoid((12, 12, 12), (1.0, 1.0, 1.0))
    c, s = np.cos(0.3), np.sin(0.3)
    sheared = Geometry(straight.size, straight.spacing, (0, 0, 0), (1, 0, 0, 0, 1, s, 0, 0, c))
    one, two = shape_statistics(mask, straight), shape_statistics(mask, sheared)
    assert one is not None
    assert two is not None
    assert two.volume_mm3 == pytest.approx(one.volume_mm3 * c)
    assert two.longest_mm == pytest.approx(one.longest_mm)  # a slice is moved as a whole
    assert two.flatness < one.flatness


def test_agrees_with_simpleitk() -> None:
    rng = np.random.default_rng(3)
    mask = ndimage.gaussian_filter(rng.normal(size=(18, 24, 30)), 3) > 0.02
    geometry = Geometry((30, 24, 18), (0.8, 1.1, 2.0), (5, -7, 20), (0, 1, 0, -1, 0, 0, 0, 0, 1))
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.ComputeFeretDiameterOn()
    shape.Execute(image)
    found = shape_statistics(mask, geometry)
    assert found is not None
    assert found.voxels == shape.GetNumberOfPixels(1)
    assert found.volume_mm3 == pytest.approx(shape.GetPhysicalSize(1))
    assert found.centroid_lps == pytest.approx(shape.GetCentroid(1))
    # ITK measures between voxel centres.
    assert shape.GetFeretDiameter(1) <= found.feret_mm <= shape.GetFeretDiameter(1) + 2.0
    least, middle, most = shape.GetPrincipalMoments(1)
    assert found.elongation == pytest.approx(np.sqrt(middle / most), abs=0.01)
    assert found.flatness == pytest.approx(np.sqrt(least / most), abs=0.02)


@given(hnp.arrays(np.uint16, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6), elements=st.integers(0, 4)))
def test_boxes_are_those_of_scipy(labels: np.ndarray) -> None:
    wanted = {n: found for n, found in enumerate(ndimage.find_objects(labels), start=1) if found is not None}
    assert {value: box.slices for value, box in label_boxes(labels).items()} == wanted
    turned = labels.transpose(2, 0, 1)
    assert {v: b.slices for v, b in label_boxes(turned).items()} == {
        v: (box[2], box[0], box[1]) for v, box in wanted.items()
    }


def test_boxes_grow_over_slabs_and_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medviewer.imaging.statistics._SLAB_VOXELS", 50)
    labels = np.zeros((12, 5, 5), np.uint16)
    labels[1:11, 2, 3] = 7
    seen: list[float] = []
    assert label_boxes(labels, seen.append)[7].slices == (slice(1, 11), slice(2, 3), slice(3, 4))
    assert len(seen) > 2

    def stop(_: float) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        label_boxes(labels, stop)


dtypes = st.sampled_from([np.int16, np.uint8, np.uint16, np.int8, np.int32, np.float32, np.float64])


def elements(dtype: type) -> st.SearchStrategy[np.ndarray]:
    low, high = (0, 200) if np.dtype(dtype).kind == "u" else (-100, 100)
    return hnp.arrays(dtype, st.integers(1, 60), elements=st.integers(low, high))


@given(dtypes.flatmap(elements))
def test_intensities_are_those_of_numpy(values: np.ndarray) -> None:
    found = intensity_statistics(values)
    assert found is not None
    assert (found.minimum, found.maximum) == (values.min(), values.max())
    assert found.mean == pytest.approx(values.mean(dtype=np.float64))
    assert found.sd == pytest.approx(values.std(dtype=np.float64), abs=1e-9)
    assert found.percentiles == pytest.approx(np.percentile(values.astype(np.float64), PERCENTILES))
    assert found.counts.sum() == values.size
    assert len(found.edges) == len(found.counts) + 1


def test_what_is_no_number_is_left_out() -> None:
    found = intensity_statistics(np.array([np.nan, 1.0, 3.0, np.inf]))
    assert found is not None
    assert (found.mean, found.minimum, found.maximum) == (2.0, 1.0, 3.0)
    assert intensity_statistics(np.array([np.nan])) is None
    assert intensity_statistics(np.zeros(0, np.int16)) is None


def test_an_empty_mask_has_no_shape() -> None:
    assert shape_statistics(np.zeros((2, 3, 4), bool), Geometry((4, 3, 2), (1, 1, 1))) is None
    with pytest.raises(ValueError, match="does not fit"):
        shape_statistics(np.zeros((2, 3, 4), bool), Geometry((4, 3, 3), (1, 1, 1)))
