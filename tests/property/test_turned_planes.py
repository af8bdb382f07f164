"""Laws of drawing in views that are turned against the grid of the image."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from skimage.measure import points_in_poly

from medviewer.core.geometry import Geometry, vec3
from medviewer.core.region import Region
from medviewer.core.tilt import tilted_grid
from medviewer.editing.stencil import capsule
from medviewer.imaging.outline import fill_outline
from medviewer.imaging.planes import Slab, TurnedSlice, slice_image
from medviewer.imaging.resample import resample_onto
from medviewer.imaging.scissors import behind_slice
from tests.property.test_tilt import ANGLES, tilt_of

TURN = (0.8, -0.6, 0.0, 0.48, 0.64, 0.6, -0.36, -0.48, 0.8)
SHEAR = (1.0, 0.0, 0.0, 0.0, 1.0, 0.3, 0.0, 0.0, 0.9539392014169456)
GRIDS = (
    Geometry((9, 8, 7), (0.7, 1.3, 2.5), (-3.0, 12.0, 7.0), TURN),
    Geometry((8, 9, 6), (1.0, 0.5, 4.0), direction=SHEAR),
    Geometry((7, 7, 7), (1.0, 1.0, 1.0), direction=(1, 0, 0, 0, 1, 0, 0, 0, -1)),
)
grids, axes, part = st.sampled_from(GRIDS), st.sampled_from((0, 1, 2)), st.floats(0.1, 0.9)
places = st.tuples(part, part, part)


class View:
    """A slice of a turned view through a point of an image."""

    def __init__(
        self, geometry: Geometry, angles: tuple[float, float, float], axis: int, at: tuple[float, ...]
    ) -> None:
        self.geometry, self.axis = geometry, axis
        self.tilted = tilted_grid(geometry, tilt_of(angles))
        index = self.tilted.lps_to_index(
            geometry.index_to_lps([t * (n - 1) for t, n in zip(at, geometry.size, strict=True)])
        )
        index[axis] = np.round(index[axis])
        self.center = self.tilted.index_to_lps(index)
        self.lps = vec3(self.center)
        self.slab = Slab(geometry, self.tilted, axis, self.lps)
        self.right, self.down = (self.tilted.direction_matrix[:, n] for n in range(3) if n != axis)
        self.voxels = np.argwhere(np.ones(geometry.shape, np.bool_))[:, ::-1]
        self.centers = geometry.index_to_lps(self.voxels)
        self.depth = (self.centers - self.center) @ np.cross(self.right, self.down)
        self.half = self.slab.half_mm

    def points(self, flat: list[tuple[float, float]]) -> np.ndarray:
        a, b = np.array(flat).T
        return self.center + a[:, None] * self.right + b[:, None] * self.down

    def flat(self, lps: np.ndarray) -> np.ndarray:
        return (lps - self.center) @ np.stack([self.right, self.down], axis=1)

    def whole(self, found: tuple[Region, np.ndarray]) -> np.ndarray:
        mask = np.zeros(self.geometry.shape, np.bool_)
        mask[found[0].slices] = found[1]
        return mask.ravel()


@settings(max_examples=60, deadline=None)
@given(grids, ANGLES, axes, places, st.tuples(st.floats(-4, 4), st.floats(-4, 4)), st.floats(0.2, 6))
def test_a_disc_is_every_voxel_of_the_slab_within_its_radius(geometry, angles, axis, at, step, radius_mm):
    view = View(geometry, angles, axis, at)
    end = view.points([step])[0]
    ends = geometry.lps_to_index([view.center, end])
    assume((np.abs(np.mod(ends, 1) - 0.5) > 1e-6).all())
    painted = view.whole(capsule(geometry, view.lps, vec3(end), radius_mm, axis, view.tilted))
    flat, path = view.flat(view.centers), np.array(step)
    along = np.clip(flat @ path / max(path @ path, 1e-30), 0, 1)
    distance = np.linalg.norm(flat - along[:, None] * path, axis=1)
    under = (view.voxels[:, None] == np.floor(ends + 0.5)).all(axis=2).any(axis=1)
    assert painted[(distance < radius_mm - 1e-6) & (np.abs(view.depth) < view.half - 1e-5)].all()
    assert not painted[((distance > radius_mm + 1e-6) | (np.abs(view.depth) > view.half + 1e-5)) & ~under].any()
    assert painted[under].all()


@settings(max_examples=60, deadline=None)
@given(grids, ANGLES, axes, places, st.floats(0, 2 * np.pi), part)
def test_what_is_well_inside_the_disc_is_painted(geometry, angles, axis, at, turn, out):
    view = View(geometry, angles, axis, at)
    diagonal = float(np.abs(geometry.index_to_lps_matrix[:3, :3]).sum(axis=1) @ np.ones(3)) / 2
    radius = diagonal + 3.0
    painted = view.whole(capsule(geometry, view.lps, view.lps, radius, axis, view.tilted)).reshape(geometry.shape)
    kji = geometry.voxel_at(vec3(view.points([(3 * out * np.cos(turn), 3 * out * np.sin(turn))])[0]))
    assert kji is None or painted[kji]


@settings(max_examples=60, deadline=None)
@given(grids, ANGLES, axes, places, st.lists(st.tuples(st.floats(-6, 6), st.floats(-6, 6)), min_size=3, max_size=7))
def test_an_outline_is_filled_where_the_nearest_point_of_the_plane_lies_inside(geometry, angles, axis, at, flat):
    view = View(geometry, angles, axis, at)
    outline = [vec3(point) for point in view.points([(a + 0.0137, b + 0.0079) for a, b in flat])]
    corners, feet = view.flat(np.array(outline)), view.flat(view.centers)
    edges = np.roll(corners, -1, axis=0) - corners
    along = np.clip(((feet[:, None] - corners) * edges).sum(axis=2) / np.maximum((edges**2).sum(axis=1), 1e-12), 0, 1)
    apart = np.linalg.norm(feet[:, None] - corners - along[..., None] * edges, axis=2).min(axis=1)
    clear = apart > 1e-5  # on an edge, rounding decides
    inside = points_in_poly(feet, corners)
    behind = behind_slice(geometry, geometry.region, outline, axis, view.tilted).ravel()
    np.testing.assert_array_equal(behind[clear], inside[clear])
    filled = view.whole(fill_outline(geometry, outline, axis, view.tilted))
    clear &= np.abs(np.abs(view.depth) - view.half) > 1e-5
    np.testing.assert_array_equal(filled[clear], (inside & (np.abs(view.depth) < view.half))[clear])


@settings(max_examples=40, deadline=None)
@given(grids, ANGLES, axes, places, st.tuples(st.floats(-8, 8), st.floats(0, 8)))
def test_voxels_between_two_distances_are_all_there(geometry, angles, axis, at, ends):
    view = View(geometry, angles, axis, at)
    region = Region((1, 1, 0), (5, 6, 6))
    low, high = ends[0], ends[0] + ends[1]
    within = np.zeros(geometry.shape, np.bool_)
    within[region.slices] = True
    distance = view.slab.distance(view.voxels)
    np.testing.assert_allclose(np.abs(distance), np.abs(view.depth), atol=1e-9)
    found = view.slab.voxels(region, (low, high))
    assert len(np.unique(found, axis=0)) == len(found)
    painted = np.zeros(geometry.shape, np.bool_)
    painted[tuple(found[:, ::-1].T)] = True
    clear = np.minimum(np.abs(distance - low), np.abs(distance - high)) > 1e-6  # on the rim, rounding decides
    wanted = (distance >= low) & (distance <= high) & within.ravel()
    np.testing.assert_array_equal(painted.ravel()[clear], wanted[clear])
    assert not painted.ravel()[~within.ravel()].any()
    np.testing.assert_allclose(
        view.flat(geometry.index_to_lps(view.slab.feet(view.voxels))), view.flat(view.centers), atol=1e-6
    )
    np.testing.assert_allclose(view.slab.distance(view.slab.feet(view.voxels)), 0, atol=1e-6)
    np.testing.assert_allclose(
        view.slab.lps_of(view.slab.pixels(view.voxels)), geometry.index_to_lps(view.slab.feet(view.voxels)), atol=1e-6
    )


@settings(max_examples=40, deadline=None)
@given(grids, ANGLES, axes, places, st.sampled_from((np.float32, ">i2", np.uint8, np.float16)))
def test_a_window_of_a_turned_slice_is_what_simpleitk_makes_of_it(geometry, angles, axis, at, kind):
    view = View(geometry, angles, axis, at)
    image = np.random.default_rng(1).integers(0, 200, geometry.shape)
    number = round(float(view.tilted.lps_to_index(view.center)[axis]))
    turned = slice_image(image.astype(kind), geometry, view.tilted, axis, number)
    assert isinstance(turned, TurnedSlice)
    rows, columns = turned.shape
    window = (slice(rows // 4, rows), slice(columns // 3, columns - 1))
    peer = resample_onto(image.astype(np.float32), geometry, view.tilted, default=-1.0)
    wanted = peer.take(number, axis=2 - axis)[window]
    found = turned[window]
    inside = (wanted >= 0) & np.isfinite(found)
    # At the very border, rounding decides which of the two still counts a pixel.
    assert ((wanted >= 0) == np.isfinite(found)).mean() > 0.97
    np.testing.assert_allclose(found[inside], wanted[inside], atol=0.01)
    assert np.isfinite(slice_image(image, geometry, view.tilted, axis, number, goes_on=True)[window]).all()


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from((GRIDS[0], GRIDS[2])),
    axes,
    places,
    st.floats(0.3, 6),
    st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
)
def test_a_view_that_is_not_turned_paints_as_one_on_the_grid(geometry, axis, at, radius_mm, step):
    tilted = tilted_grid(geometry, (1, 0, 0, 0, 1, 0, 0, 0, 1))
    index = np.array([t * (n - 1) for t, n in zip(at, geometry.size, strict=True)])
    index[axis] = np.round(index[axis])
    start = geometry.index_to_lps(index)
    right, down = (geometry.direction_matrix[:, n] for n in range(3) if n != axis)
    end = vec3(start + step[0] * right + step[1] * down)
    outline = [vec3(start), end, vec3(start + 3 * right - 2.77 * down)]
    for draw in (
        lambda *grid: capsule(geometry, vec3(start), end, radius_mm, axis, *grid),
        lambda *grid: fill_outline(geometry, outline, axis, *grid),
    ):
        masks = []
        for grid in ((), (tilted,)):
            mask = np.zeros(geometry.shape, np.bool_)
            region, drawn = draw(*grid)
            mask[region.slices] = drawn
            masks.append(mask)
        assert (masks[0] != masks[1]).sum() <= 1  # on the very rim, rounding decides
