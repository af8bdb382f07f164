"""Planes that are turned against the grid of the image: where their pixels lie, and what they show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medviewer.core.annotation import Box3D
from medviewer.core.contours import Contour, Contours
from medviewer.core.geometry import Geometry, vec3
from medviewer.core.region import Region
from medviewer.core.segmentation import Segment
from medviewer.core.tilt import STRAIGHT, Tilt, turned
from medviewer.core.view_state import PLANES, LabelLook, MaskDifference, Plane, PreviewMask
from medviewer.core.volume import Volume
from medviewer.core.workspace import Overlay
from medviewer.render.colors import to_rgb
from medviewer.render.crosshair import crosshair_rays, handle_at, turned_by_drag
from medviewer.render.marks import Polygon, box_section, contour_marks, marks, slice_texts
from medviewer.render.offscreen import slice_picture
from medviewer.render.plane import PlaneFrame, PlaneGrid
from medviewer.render.sampler import PlaneSampler
from medviewer.render.slice_scene import SliceScene
from tests.property.test_tilt import tilt_of as tilt_by_angles
from tests.render.test_plane_laws import geometries
from tests.render_phantoms import f_volume, grid_around_zero, show, signed_direction

TILTS = st.builds(tilt_by_angles, st.tuples(*[st.floats(-80, 80)] * 3))
TILT = turned(turned(STRAIGHT, (0.0, 0.0, 1.0), 0.3), (1.0, 0.2, 0.0), 0.5)
LETTER = f_volume(grid_around_zero(signed_direction((0, 1, 2), (1, 1, 1))))
#: Thick slices, sheared as by a tilted gantry, oblique in the scanner.
SHEARED = Geometry(
    (40, 36, 14), (0.9, 1.3, 3.1), (-20.0, 15.0, 7.0),
    tuple((np.array([[0.8, -0.6, 0.1], [0.48, 0.64, 0.55], [-0.36, -0.48, 0.829156]])).ravel().tolist()),
)  # fmt: skip

THICK = Volume(
    np.random.default_rng(5).integers(-500, 500, SHEARED.shape, dtype=np.int16), SHEARED, modality="CT", unit="HU"
)


@st.composite
def frames(draw: st.DrawFn) -> PlaneFrame:
    """A turned plane of any grid, zoomed and moved anywhere."""
    grid = PlaneGrid.of(draw(geometries()), draw(st.sampled_from(PLANES))).turned(draw(TILTS))
    index = draw(st.integers(0, grid.count - 1))
    frame = PlaneFrame.fit(grid, index, draw(st.integers(1, 300)), draw(st.integers(1, 300)))
    x, y = draw(st.floats(0, 300)), draw(st.floats(0, 300))
    return frame.zoomed(draw(st.floats(0.4, 20)), x, y).panned(draw(st.floats(-90, 90)), draw(st.floats(-90, 90)))


def image_of(frame: PlaneFrame) -> Geometry:
    assert frame.grid.image is not None
    return frame.grid.image


@settings(max_examples=40)
@given(frames(), st.floats(-50, 350), st.floats(-50, 350))
def test_display_to_lps_and_back(frame: PlaneFrame, x: float, y: float) -> None:
    lps = frame.display_to_lps(x, y)
    assert np.allclose(frame.lps_to_display(lps), (x, y), atol=1e-4)
    assert np.isclose(frame.grid.geometry.lps_to_index(lps)[frame.grid.normal], frame.slice_index, atol=1e-6)
    sampled = (frame.pixel_to_index @ [x - 0.5, y - 0.5, 0.0, 1.0])[:3]
    np.testing.assert_allclose(image_of(frame).index_to_lps(sampled), lps, atol=1e-6)
    np.testing.assert_allclose((frame.pixel_to_lps @ [x - 0.5, y - 0.5, 0.0, 1.0])[:3], lps, atol=1e-6)


@settings(max_examples=40)
@given(frames())
def test_pixels_are_square_and_as_big_as_said(frame: PlaneFrame) -> None:
    origin, right, down = (np.array(frame.display_to_lps(*p)) for p in ((0, 0), (1, 0), (0, 1)))
    assert np.isclose(np.linalg.norm(right - origin), frame.mm_per_pixel)
    assert np.isclose(np.linalg.norm(down - origin), frame.mm_per_pixel)
    assert abs((right - origin) @ (down - origin)) < 1e-6 * frame.mm_per_pixel**2 + 1e-9
    np.testing.assert_allclose(right - origin, frame.grid.right_lps * frame.mm_per_pixel, atol=1e-6)
    np.testing.assert_allclose(down - origin, frame.grid.down_lps * frame.mm_per_pixel, atol=1e-6)


@given(geometries(), TILTS)
def test_the_three_planes_stand_square_on_one_another(geometry: Geometry, tilt: Tilt) -> None:
    normals = [PlaneGrid.of(geometry, plane).turned(tilt).normal_lps for plane in PLANES]
    np.testing.assert_allclose(np.abs(np.array(normals) @ np.array(normals).T), np.eye(3), atol=1e-9)


@settings(max_examples=40)
@given(frames(), st.floats(0.3, 5), st.floats(0, 300), st.floats(0, 300))
def test_zooming_keeps_what_is_under_the_mouse(frame: PlaneFrame, factor: float, x: float, y: float) -> None:
    assert np.allclose(frame.zoomed(factor, x, y).display_to_lps(x, y), frame.display_to_lps(x, y), atol=1e-6)


@settings(max_examples=40)
@given(frames(), TILTS, st.floats(0, 300), st.floats(0, 300))
def test_turning_leaves_the_crosshair_where_it_is_and_the_scale(
    frame: PlaneFrame, tilt: Tilt, x: float, y: float
) -> None:
    lps = vec3(image_of(frame).center_lps)
    frame = frame.on(PlaneGrid.of(image_of(frame), frame.grid.plane), lps)
    moved = frame.on(frame.grid.turned(tilt), lps)
    np.testing.assert_allclose(moved.lps_to_display(lps), frame.lps_to_display(lps), atol=1e-6)
    assert moved.mm_per_pixel == frame.mm_per_pixel
    back = moved.on(frame.grid, lps)
    assert back.slice_index == frame.slice_index
    np.testing.assert_allclose(back.center, frame.center, atol=1e-6)


@given(TILTS, st.tuples(*[st.floats(-1, 1)] * 3), st.floats(-3, 3))
def test_a_turn_and_the_turn_back_restore(tilt: Tilt, axis: tuple[float, float, float], angle: float) -> None:
    axis = axis if np.linalg.norm(axis) > 0.1 else (0.0, 0.0, 1.0)
    there = turned(tilt, axis, angle)
    np.testing.assert_allclose(np.array(there).reshape(3, 3) @ np.array(there).reshape(3, 3).T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(turned(there, axis, -angle), tilt, atol=1e-9)


@settings(max_examples=40)
@given(frames(), st.floats(-3, 3))
def test_dragging_a_line_turns_the_other_planes_by_the_angle_of_the_drag(frame: PlaneFrame, angle: float) -> None:
    image, lps = image_of(frame), vec3(image_of(frame).center_lps)
    straight = PlaneGrid.of(image, frame.grid.plane)
    frame = replace(frame, grid=straight.turned(STRAIGHT), mm_per_pixel=0.5).on(straight.turned(TILT), lps)
    x, y = frame.lps_to_display(lps)
    end = (x + 40 * np.cos(0.2 + angle), y + 40 * np.sin(0.2 + angle))
    tilt = turned_by_drag(frame, TILT, lps, (x + 70 * np.cos(0.2), y + 70 * np.sin(0.2)), end)
    after = frame.on(straight.turned(tilt), lps)
    np.testing.assert_allclose(after.grid.right_lps, frame.grid.right_lps, atol=1e-9)
    np.testing.assert_allclose(after.grid.down_lps, frame.grid.down_lps, atol=1e-9)
    before_step, step = (np.array(f.grid.mm_per_index[:, 0]) for f in (frame, after))
    turn = np.arctan2(step[1], step[0]) - np.arctan2(before_step[1], before_step[0])
    assert np.isclose(np.exp(1j * turn), np.exp(1j * angle), atol=1e-6)


@settings(max_examples=25)
@given(frames(), st.randoms(use_true_random=False))
def test_a_pixel_shows_the_label_of_the_nearest_voxel(frame: PlaneFrame, random: object) -> None:
    image = image_of(frame)
    labels = np.random.default_rng(random.randint(0, 9999)).integers(1, 60000, image.shape, dtype=np.uint16)  # type: ignore[attr-defined]
    shown = PlaneSampler(labels, "nearest").sample(frame.pixel_to_index, (0, 0, frame.width, frame.height))
    for x in range(0, frame.width, 7):
        for y in range(0, frame.height, 7):
            index = image.lps_to_index(frame.display_to_lps(x + 0.5, y + 0.5))
            if np.abs(index - np.floor(index) - 0.5).min() < 1e-4:
                continue  # on the border of two voxels
            kji = image.voxel_at(frame.display_to_lps(x + 0.5, y + 0.5))
            assert shown[y, x] == (0 if kji is None else labels[kji])


@settings(max_examples=40)
@given(frames(), st.tuples(*[st.tuples(st.floats(0, 1), st.floats(0, 1))] * 3))
def test_a_region_is_shown_where_its_voxels_are(frame: PlaneFrame, ends: tuple) -> None:
    image = image_of(frame)
    lower = tuple(int(a * n * 0.999) for (a, _), n in zip(ends, image.shape, strict=True))
    upper = tuple(low + 1 + int(b * (n - low - 1)) for low, (_, b), n in zip(lower, ends, image.shape, strict=True))
    inside = np.zeros(image.shape, np.uint8)
    inside[Region(lower, upper).slices] = 1
    shown = PlaneSampler(inside, "nearest").sample(frame.pixel_to_index, (0, 0, frame.width, frame.height))
    rows, columns = np.nonzero(shown)
    rect = frame.rect_of(Region(lower, upper))
    if rows.size:
        assert rect is not None
        assert rect[0] <= columns.min()
        assert rect[1] <= rows.min()
        assert columns.max() < rect[2]
        assert rows.max() < rect[3]
    assert frame.rect_of(Region((0, 0, 0), (0, 0, 0))) is None


def test_the_rectangle_of_a_region_is_small() -> None:
    """That is what keeps painting fast."""
    grid = PlaneGrid.of(LETTER.geometry, "axial").turned(TILT)
    frame = PlaneFrame.fit(grid, grid.slice_of((0.0, 0.0, 0.0)), 490, 490)
    k, j, i = LETTER.geometry.voxel_at((0.0, 0.0, 0.0)) or (0, 0, 0)
    rect = frame.rect_of(Region((k - 2, j - 2, i - 2), (k + 3, j + 3, i + 3)))
    assert rect is not None
    assert rect[2] - rect[0] < 100
    assert rect[3] - rect[1] < 100
    assert frame.rect_of(Region((0, j, i), (2, j + 1, i + 1))) is None


@settings(max_examples=40)
@given(frames())
def test_what_lies_outside_is_black(frame: PlaneFrame) -> None:
    grey = np.full((frame.height, frame.width), 255, np.uint8)
    frame.blank_outside(grey)
    size = np.array(image_of(frame).size)
    for x in range(0, frame.width, 11):
        for y in range(0, frame.height, 11):
            index = image_of(frame).lps_to_index(frame.display_to_lps(x + 0.5, y + 0.5))
            room = np.minimum(index + 0.5, size - 0.5 - index).min()
            if abs(room) > 1e-6:
                assert (grey[y, x] == 255) == (room > 0)


def test_letters_and_texts_follow_the_plane() -> None:
    grid = PlaneGrid.of(LETTER.geometry, "axial")
    assert "".join(grid.turned(STRAIGHT).letters) == "RLAP"
    # The back goes down at the bottom of the picture, by 30 degrees about the axis to the left.
    tipped = grid.turned(turned(STRAIGHT, (1.0, 0.0, 0.0), np.radians(30)))
    assert tipped.letters == ("R", "L", "AF", "PH")
    frame = PlaneFrame.fit(tipped, tipped.slice_of((0.0, 0.0, 0.0)), 100, 100)
    assert slice_texts(frame, LETTER)[1:] == ("HA 0.0 mm", "oblique 30°")
    # About its own normal nothing is turned but the crosshair.
    spun = replace(frame, grid=grid.turned(turned(STRAIGHT, (0.0, 0.0, 1.0), np.radians(20))))
    assert spun.grid.letters == ("R", "L", "A", "P")
    assert slice_texts(spun, LETTER)[-1] == "oblique 0°"
    assert slice_texts(PlaneFrame.fit(grid, 3, 100, 100), LETTER)[-1] == "F 42.0 mm"


def scene_of(volume: Volume, tilt: Tilt | None = TILT, size: int = 200) -> SliceScene:
    workspace = show(volume)
    workspace.view.tilt = tilt
    scene = SliceScene(workspace, "axial", lambda: None)
    scene.resize(size, size)
    return scene


@pytest.mark.parametrize("plane", PLANES)
def test_the_straight_planes_show_what_the_grid_shows(plane: Plane) -> None:
    workspace = show(LETTER)
    plain = slice_picture(workspace, plane, (147, 147))
    workspace.view.tilt = STRAIGHT
    assert np.abs(slice_picture(workspace, plane, (147, 147)).astype(int) - plain).mean() < 1.0
    assert workspace.view.crosshair_lps == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("axes", [((0, 1, 2), (1, 1, 1)), ((2, 0, 1), (1, -1, -1)), ((1, 2, 0), (-1, 1, 1))])
def test_however_it_is_stored_the_patient_looks_the_same_under_one_turn(axes: tuple) -> None:
    workspace, other = show(LETTER), show(f_volume(grid_around_zero(signed_direction(*axes))))
    workspace.view.tilt = other.view.tilt = TILT
    for plane in PLANES:
        difference = slice_picture(workspace, plane, (97, 97)).astype(int) - slice_picture(other, plane, (97, 97))
        assert (np.abs(difference).max(axis=-1) > 40).mean() < 0.002


def with_labels(volume: Volume) -> SliceScene:
    scene = scene_of(volume)
    segmentation = scene.workspace.segmentation(volume.id)
    segmentation.put_group(segmentation.new_group("g"))
    segmentation.put_segment(Segment(1, "one", (230, 75, 53)))
    segmentation.put_segment(Segment(2, "two", (77, 187, 213)))
    k, j, i = (n // 2 for n in volume.geometry.shape)
    segmentation.group(0).labels[k - 4 : k + 3, j - 9 : j + 6, i - 9 : i + 8] = 1
    segmentation.active = 1
    segmentation.labels_changed.emit(volume.geometry.region, 0)
    return scene


@settings(max_examples=25)
@given(TILTS, st.booleans(), st.lists(st.tuples(*[st.tuples(st.floats(0, 1), st.integers(1, 5))] * 3), max_size=3))
def test_an_update_of_a_region_equals_a_full_redraw(tilt: Tilt, neighbors: bool, boxes: list) -> None:
    scene = with_labels(THICK)
    view = scene.workspace.view
    view.look = LabelLook("both", 2, neighbors=neighbors)
    view.tilt = tilt
    scene.render()
    segmentation = scene.workspace.segmentation(THICK.id)
    for box in boxes:
        lower = tuple(int(at * (n - 1)) for (at, _), n in zip(box, THICK.array.shape, strict=True))
        upper = tuple(min(n, low + size) for low, (_, size), n in zip(lower, box, THICK.array.shape, strict=True))
        segmentation.group(0).labels[Region(lower, upper).slices] = 2
        segmentation.labels_changed.emit(Region(lower, upper), 0)
    partly = scene.render().copy()
    view.overlay_changed.emit()
    assert np.array_equal(partly, scene.render())
    scene.close()


def test_labels_fusion_preview_and_difference_lie_on_the_same_pixels() -> None:
    """One mask drawn by each overlay in a turned plane covers the same part of the screen."""
    mask = np.zeros(THICK.array.shape, bool)
    mask[3:10, 8:28, 8:30] = True
    scene = scene_of(THICK)
    workspace = scene.workspace
    plain = scene.render().copy()
    assert scene.frame is not None
    expected = PlaneSampler(mask.astype(np.uint8), "nearest").sample(scene.frame.pixel_to_index, (0, 0, 200, 200)) == 1
    assert 2000 < expected.sum() < 38000
    region = Region.of_mask(mask)
    assert region is not None

    def changed() -> np.ndarray:
        return np.asarray(scene.render() != plain)

    workspace.view.preview = (PreviewMask(region, mask[region.slices], (255, 0, 0)),)
    assert np.array_equal(changed(), expected)
    workspace.view.preview = ()
    assert not changed().any()
    workspace.view.difference = MaskDifference(THICK.id, region, mask[region.slices].astype(np.uint8), ("a", "b"))
    assert np.array_equal(changed(), expected)
    workspace.view.difference = None
    segmentation = workspace.segmentation(THICK.id)
    segmentation.put_group(segmentation.new_group("g"))
    segmentation.put_segment(Segment(1, "one", (230, 75, 53)))
    segmentation.group(0).labels[mask] = 1
    segmentation.labels_changed.emit(region, 0)
    assert np.array_equal(changed(), expected)
    segmentation.group(0).labels[...] = 0
    segmentation.labels_changed.emit(region, 0)
    hot = Volume(np.where(mask, 1000, -1000).astype(np.int16), THICK.geometry, window=(0.0, 1000.0))
    workspace.overlay = Overlay(hot, 0.9)
    assert (changed() ^ expected).mean() < 0.04  # half a voxel at the border, as it is interpolated
    scene.close()


def test_a_shutter_hides_the_same_voxels() -> None:
    shown = np.zeros(LETTER.array.shape[1:], bool)
    shown[:20] = True
    scene = scene_of(replace(LETTER, shutter=shown, inverted=True))
    assert scene.frame is not None
    grey = to_rgb(scene.render())[:, :, 0]
    rows, columns = np.mgrid[:200, :200]
    j = np.tensordot(scene.frame.pixel_to_index[1, [0, 1, 3]], [columns, rows, np.ones_like(rows)], 1)
    assert grey[j > 20].max() == 0
    assert grey[(j < 19) & (j > 5)].max() > 0
    scene.close()


def test_contours_are_shown_only_where_they_lie_on_the_plane() -> None:
    scene = scene_of(LETTER)
    frame = scene.frame
    assert frame is not None
    ring = [frame.display_to_lps(x, y) for x, y in ((60, 60), (140, 60), (100, 150))]
    flat = LETTER.geometry.index_to_lps([(20, 20, 24), (30, 20, 24), (30, 30, 24)])
    segmentation = scene.workspace.segmentation(LETTER.id)
    group = segmentation.new_group("file")
    group.contours = Contours.of([Contour(4, "CLOSED_PLANAR", np.array(ring)), Contour(4, "CLOSED_PLANAR", flat)])
    segmentation.put_group(group)
    segmentation.put_segment(Segment(4, "GTV", group=group.id))
    (drawn,) = contour_marks(frame, segmentation, LabelLook(), 3.0)
    assert isinstance(drawn, Polygon)
    np.testing.assert_allclose(drawn.points, [(60, 60), (140, 60), (100, 150)], atol=1e-6)
    scene.close()


def test_a_finding_is_cut_where_the_plane_cuts_it() -> None:
    box = Box3D(lower=(-10.0, -12.0, -8.0), upper=(9.0, 11.0, 14.0), label="Nodule")
    scene = scene_of(LETTER)
    assert scene.frame is not None
    ring = box_section(scene.frame, box)
    assert ring is not None
    for x, y in ring:
        lps = np.array(scene.frame.display_to_lps(float(x), float(y)))
        sides = np.abs(np.concatenate([lps - box.lower, lps - box.upper]))
        assert np.sort(sides)[:2] == pytest.approx([0, 0], abs=1e-6)  # on an edge
        assert (lps >= np.array(box.lower) - 1e-6).all()
        assert (lps <= np.array(box.upper) + 1e-6).all()
    scene.close()


def test_the_lines_of_the_crosshair_are_where_the_other_planes_cut() -> None:
    workspace = show(LETTER)
    workspace.view.tilt = TILT
    scenes = {plane: SliceScene(workspace, plane, lambda: None) for plane in PLANES}
    for plane, scene in scenes.items():
        scene.resize(300, 240)
        assert scene.frame is not None
        rays = list(crosshair_rays(scene.frame, workspace.view.crosshair_lps, 5.0))
        assert len(rays) == 4
        others = [s.frame for p, s in scenes.items() if p != plane]
        for ray in rays:
            for distance in (ray.first, ray.last):
                lps = scene.frame.display_to_lps(*ray.at(distance))
                depths = [f.grid.geometry.lps_to_index(lps)[f.grid.normal] - f.slice_index for f in others if f]
                assert min(abs(d) for d in depths) < 0.6  # the pixel on whose middle the line is drawn
            x, y = ray.at(ray.last - 2)
            assert handle_at(scene.frame, workspace.view.crosshair_lps, x, y, 1.0)
            assert not handle_at(scene.frame, workspace.view.crosshair_lps, *ray.at(0.3 * ray.last), 1.0)
        assert any(p.radius[0] == 5.0 for p in marks(scene) if hasattr(p, "radius"))
    for scene in scenes.values():
        scene.close()


def test_slices_step_by_the_finest_spacing_and_the_crosshair_follows() -> None:
    scene = scene_of(THICK)
    assert scene.frame is not None
    grid, start = scene.frame.grid, np.array(scene.workspace.view.crosshair_lps)
    assert grid.geometry.spacing == (0.9, 0.9, 0.9)
    scene.step(4)
    moved = np.array(scene.workspace.view.crosshair_lps) - start
    off = abs(float(moved @ grid.normal_lps))
    assert 3.1 * 0.9 < off < 4.9 * 0.9
    assert np.linalg.norm(moved) == pytest.approx(off)  # along the normal
    scene.close()


def test_a_picture_without_depth_is_never_turned() -> None:
    flat = Volume(np.zeros((1, 20, 20), np.int16), Geometry((20, 20, 1), (1.0, 1.0, 1.0)))
    scene = scene_of(flat)
    assert scene.frame is not None
    assert scene.frame.grid.image is None
    scene.close()


def test_turning_keeps_zoom_and_the_crosshair_and_the_way_back_is_exact() -> None:
    scene = scene_of(THICK, None)
    view = scene.workspace.view
    view.crosshair_lps = vec3(THICK.geometry.index_to_lps((12, 20, 5)))
    scene.zoom_by(2.0, 80, 90)
    scene.pan_by(13, -8)
    before = scene.frame
    assert before is not None
    at, zoom = before.lps_to_display(view.crosshair_lps), scene.zoom
    view.tilt = TILT
    assert scene.frame is not None
    assert scene.frame.lps_to_display(view.crosshair_lps) == pytest.approx(at)
    assert scene.zoom == pytest.approx(zoom)
    scene.resize(200, 260)
    assert scene.zoom == pytest.approx(zoom)
    scene.resize(200, 200)
    view.tilt = None
    assert scene.frame.slice_index == before.slice_index
    assert scene.frame.center == pytest.approx(before.center)
    assert scene.frame.mm_per_pixel == pytest.approx(before.mm_per_pixel)
    scene.close()


@pytest.mark.parametrize("plane", PLANES)
def test_golden_turned_planes(plane: Plane, matches_baseline: Callable[..., None]) -> None:
    scene = with_labels(LETTER)
    scene.workspace.view.look = LabelLook("both", 2)
    matches_baseline(slice_picture(scene.workspace, plane), f"turned_{plane}", mean=0.5, share=0.002)
    scene.close()
