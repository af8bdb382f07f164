"""What a slice view shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medviewer.app.compare import mask_difference
from medviewer.core.region import Region
from medviewer.core.segmentation import Segment
from medviewer.core.view_state import LABEL_STYLES, MAX_OUTLINE, PLANES, LabelLook, Plane, WindowLevel
from medviewer.core.volume import Volume
from medviewer.core.workspace import Overlay, Workspace
from medviewer.render.colors import BlendTable, pack, to_rgb, window
from medviewer.render.difference_overlay import COLORS as DIFFERENCE_COLORS
from medviewer.render.offscreen import slice_picture
from medviewer.render.slice_scene import SliceScene
from tests.render_phantoms import SIGNED_AXES, f_volume, grid_around_zero, show, signed_direction

SIZE = (194, 194)


@pytest.mark.parametrize("plane", PLANES)
def test_the_f_stands_upright_and_is_not_mirrored(workspace: Workspace, plane: Plane) -> None:
    picture = slice_picture(workspace, plane, SIZE)[:, :, 0] > 200
    rows, columns = np.nonzero(picture)
    middle = 97
    if plane == "axial":  # at z = 0: back and middle arm; patient right is on the left of the picture
        assert columns.min() < middle - 40
        assert middle < columns.max() < middle + 20
    elif plane == "coronal":  # the whole letter: feet below, long arm above, arms to patient left, the picture's right
        top, bottom = picture[: middle - 30], picture[middle + 20 :]
        assert np.nonzero(top)[1].max() > middle + 30
        assert np.nonzero(bottom)[1].max() < middle
    else:  # at x = 0: only the two arms; cut far from the foot
        assert rows.max() < middle + 12


def test_sagittal_has_anterior_on_the_left(letter: Volume) -> None:
    workspace = show(letter)
    workspace.view.crosshair_lps = (-20.0, 0.0, 0.0)
    rows, columns = np.nonzero(slice_picture(workspace, "sagittal", SIZE)[:, :, 0] > 200)
    behind = columns[rows < 97 - 40]
    assert behind.max() > 97 + 40  # the arm to posterior, at the top right
    assert columns[rows > 97].max() < 97 + 14


@pytest.mark.parametrize(("axes", "signs"), SIGNED_AXES)
def test_however_it_is_stored_the_patient_looks_the_same(
    letter: Volume, axes: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    stored = show(f_volume(grid_around_zero(signed_direction(axes, signs))))
    for plane in PLANES:
        assert np.array_equal(slice_picture(stored, plane, (97, 97)), slice_picture(show(letter), plane, (97, 97)))


def test_nearest_shows_the_voxels_as_they_are(workspace: Workspace, letter: Volume) -> None:
    scene = SliceScene(workspace, "axial", lambda: None)
    scene.resize(49, 49)  # one pixel a voxel
    scene.interpolation = "nearest"
    grey = to_rgb(scene.render())[:, :, 1]
    assert np.array_equal(grey, window(letter.array[24], workspace.view.window))
    scene.close()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_window_of_every_type(dtype: type) -> None:
    values = np.array([[0, 10, 20, 30, 40, 100]], dtype=dtype)
    assert window(values, WindowLevel(20, 20)).tolist() == [[0, 0, 128, 255, 255, 255]]


def test_window_makes_nan_black() -> None:
    assert window(np.array([np.nan, 5.0]), WindowLevel(0, 2)).tolist() == [0, 255]


def test_outside_is_black_even_when_inverted(letter: Volume) -> None:
    workspace = show(replace(letter, inverted=True))
    scene = SliceScene(workspace, "axial", lambda: None)
    scene.resize(300, 100)  # the image is in the middle third
    grey = to_rgb(scene.render())[:, :, 0]
    assert (grey[:, :95] == 0).all()
    assert (grey[:, 205:] == 0).all()
    assert grey[2, 102] == 255  # air: black in the file's sense, white inverted
    scene.close()


def test_blending_is_exact_at_its_ends() -> None:
    base = np.array([[pack((10, 200, 255)), pack((0, 0, 0))]], dtype=np.uint32)
    table = BlendTable([(1, 2, 3), (255, 128, 7), (100, 0, 255)], [0.0, 1.0, 0.5])
    assert to_rgb(table.over(base, np.array([[0, 0]]))).tolist() == [[[10, 200, 255], [0, 0, 0]]]
    assert to_rgb(table.over(base, np.array([[1, 1]]))).tolist() == [[[255, 128, 7], [255, 128, 7]]]
    assert to_rgb(table.over(base, np.array([[2, 2]]))).tolist() == [[[55, 100, 255], [50, 0, 127]]]


def with_labels(letter: Volume) -> Workspace:
    workspace = show(letter)
    segmentation = workspace.segmentation(letter.id)
    for value, color in ((1, (230, 75, 53)), (2, (77, 187, 213))):
        group = segmentation.new_group(f"g{value}")
        group.labels[10:40, 8 * value : 30, 8 * value : 34] = value
        segmentation.put_group(group)
        segmentation.put_segment(Segment(value, f"s{value}", color, group=group.id))
    segmentation.put_segment(Segment(3, "same group", (250, 240, 110), group=0))
    segmentation.group(0).labels[20:30, 30:40, 10:20] = 3
    return workspace


boxes = st.tuples(*(st.tuples(st.integers(0, 48), st.integers(1, 9)) for _ in range(3)))


looks = st.builds(LabelLook, st.sampled_from(LABEL_STYLES), st.integers(1, MAX_OUTLINE), st.booleans(), st.booleans())


@settings(max_examples=60)
@given(st.lists(st.tuples(boxes, st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=4), st.data())
def test_an_update_of_a_region_equals_a_full_redraw(strokes: list, data: st.DataObject) -> None:
    workspace = with_labels(LETTER)
    segmentation = workspace.segmentation(LETTER.id)
    plane = data.draw(st.sampled_from(PLANES))
    workspace.view.look = data.draw(looks)
    segmentation.active = data.draw(st.sampled_from([1, 2, 3]))
    scene = SliceScene(workspace, plane, lambda: None)
    scene.resize(data.draw(st.integers(20, 200)), data.draw(st.integers(20, 200)))
    scene.zoom_by(data.draw(st.floats(0.5, 8)), 40, 60)
    scene.render()
    for box, value, group in strokes:
        lower = tuple(low for low, _ in box)
        upper = tuple(min(49, low + size) for low, size in box)
        region = Region(lower, upper)
        segmentation.group(group).labels[region.slices] = value
        segmentation.labels_changed.emit(region, group)
    partly = scene.render().copy()
    workspace.view.overlay_changed.emit()
    assert np.array_equal(partly, scene.render())
    scene.close()


LETTER = f_volume(grid_around_zero(signed_direction((0, 1, 2), (1, 1, 1))))


def test_an_update_draws_nothing_but_its_region(letter: Volume) -> None:
    workspace = with_labels(letter)
    scene = SliceScene(workspace, "axial", lambda: None)
    scene.resize(490, 490)
    before = scene.render().copy()
    labels = workspace.segmentation(letter.id).group(0).labels
    labels[:] = 0  # written behind the scene's back …
    region = Region((24, 20, 20), (25, 24, 24))
    workspace.segmentation(letter.id).labels_changed.emit(region, 0)  # … and told for a part only
    rows, columns = np.nonzero(scene.render() != before)
    assert rows.size
    assert rows.min() >= 198
    assert rows.max() <= 241
    assert columns.min() >= 198
    assert columns.max() <= 241
    scene.close()


def test_visibility_opacity_and_locks_of_segments(letter: Volume) -> None:
    workspace = with_labels(letter)
    segmentation = workspace.segmentation(letter.id)
    plain = slice_picture(show(letter), "axial")
    assert not np.array_equal(slice_picture(workspace, "axial"), plain)
    for segment in segmentation.segments:
        segmentation.put_segment(replace(segment, visible=False))
    assert np.array_equal(slice_picture(workspace, "axial"), plain)
    segmentation.put_segment(replace(segmentation.segment(2), visible=True))
    workspace.view.overlay_opacity = 1.0
    colors = {tuple(c) for c in slice_picture(workspace, "axial").reshape(-1, 3).tolist()}
    assert (77, 187, 213) in colors
    assert (230, 75, 53) not in colors


def test_a_later_group_is_on_top(letter: Volume) -> None:
    workspace = with_labels(letter)
    workspace.view.overlay_opacity = 1.0
    picture = slice_picture(workspace, "axial", (490, 490))
    assert picture[200, 200].tolist() == [77, 187, 213]  # in both groups
    assert picture[100, 100].tolist() == [230, 75, 53]


def test_voxels_that_arrive_are_seen(letter: Volume) -> None:
    filling = np.full(letter.array.shape, -1000, dtype=np.int16)
    volume = Volume(filling, letter.geometry)
    workspace = show(volume)
    scene = SliceScene(workspace, "coronal", lambda: None)
    scene.resize(98, 98)
    assert to_rgb(scene.render()).max() == 0
    filling[...] = letter.array
    workspace.volume_updated.emit(volume)
    assert np.array_equal(to_rgb(scene.render()), slice_picture(show(letter), "coronal", (98, 98)))
    other = Volume(letter.array.copy(), letter.geometry, id=volume.id)
    workspace.replace_volume(other)
    assert scene.volume is other
    scene.close()


def test_fusion_lets_the_first_through_where_the_second_is_black(letter: Volume) -> None:
    workspace = show(letter)
    plain = slice_picture(workspace, "coronal").astype(int)
    workspace.overlay = Overlay(replace(letter, window=(500.0, 600.0)), 0.8)
    fused = slice_picture(workspace, "coronal").astype(int)
    letter_pixels = plain[:, :, 0] > 240
    assert (fused[letter_pixels].max(axis=-1) - fused[letter_pixels].min(axis=-1)).mean() < 40
    assert np.array_equal(
        fused[~letter_pixels & (plain[:, :, 0] < 100)], plain[~letter_pixels & (plain[:, :, 0] < 100)]
    )
    workspace.overlay = None
    assert np.array_equal(slice_picture(workspace, "coronal"), plain)


def test_a_closed_scene_hears_nothing(workspace: Workspace, letter: Volume) -> None:
    calls: list[int] = []
    signals = [workspace.active_changed, workspace.volume_updated, workspace.view.crosshair_changed]
    segmentation = workspace.segmentation(letter.id)
    signals += [segmentation.labels_changed, segmentation.segments_changed, segmentation.active_changed]
    signals += [workspace.view.window_changed]
    before = [len(signal) for signal in signals]
    scene = SliceScene(workspace, "axial", lambda: calls.append(1))
    assert [len(signal) for signal in signals] != before
    scene.close()
    scene.close()
    assert [len(signal) for signal in signals] == before
    calls.clear()
    workspace.view.window = WindowLevel(1, 2)
    assert not calls


def test_without_a_volume_it_is_black() -> None:
    assert slice_picture(Workspace(), "axial", (20, 10)).shape == (10, 20, 3)
    assert slice_picture(Workspace(), "axial").max() == 0


def test_slices_follow_the_crosshair_and_move_it(workspace: Workspace) -> None:
    scene = SliceScene(workspace, "axial", lambda: None)
    scene.step(3)
    assert workspace.view.crosshair_lps == pytest.approx((0, 0, 6))
    assert scene.frame is not None
    assert scene.frame.slice_index == 27
    scene.step(1000)
    assert scene.frame.slice_index == 48
    workspace.view.crosshair_lps = (5.0, 5.0, -48.0)
    assert scene.frame.slice_index == 0
    scene.close()


def test_zoom_survives_a_resize(workspace: Workspace) -> None:
    scene = SliceScene(workspace, "axial", lambda: None)
    scene.resize(200, 300)
    scene.zoom_by(2.5, 10, 10)
    assert scene.frame is not None
    middle = scene.frame.center
    scene.resize(640, 480)
    assert scene.zoom == pytest.approx(2.5)
    assert scene.frame.center == middle
    scene.zoom_by(1e9, 0, 0)
    assert scene.zoom == pytest.approx(60)
    scene.reset()
    assert scene.zoom == pytest.approx(1)
    scene.close()


@pytest.mark.parametrize("plane", PLANES)
def test_golden_labels(letter: Volume, plane: Plane, matches_baseline: Callable[..., None]) -> None:
    matches_baseline(slice_picture(with_labels(letter), plane), f"labels_{plane}", mean=0.5, share=0.002)


LOOKS = {
    "outline": LabelLook("outline"),
    "fill": LabelLook("fill"),
    "wide": LabelLook("both", 4),
    "only_active": LabelLook(only_active=True),
    "neighbors": LabelLook("fill", neighbors=True),
}


def stepped(letter: Volume) -> Workspace:
    """Its active segment is larger in the slice above, smaller in the slice below."""
    workspace = with_labels(letter)
    segmentation = workspace.segmentation(letter.id)
    labels = segmentation.group(1).labels
    labels[25:] = 0
    labels[25:, 12:34, 20:38] = 2
    labels[:24] = 0
    labels[20:24, 20:26, 18:26] = 2
    segmentation.active = 2
    return workspace


@pytest.mark.parametrize("name", LOOKS)
def test_golden_looks(letter: Volume, name: str, matches_baseline: Callable[..., None]) -> None:
    workspace = stepped(letter)
    workspace.view.look = LOOKS[name]
    matches_baseline(slice_picture(workspace, "axial"), f"look_{name}", mean=0.5, share=0.002)


def test_outlines_are_as_wide_as_asked_and_fill_nothing(letter: Volume) -> None:
    workspace = with_labels(letter)
    plain = slice_picture(show(letter), "axial", (490, 490))
    for width in range(1, MAX_OUTLINE + 1):
        workspace.view.look = LabelLook("outline", width)
        changed = (slice_picture(workspace, "axial", (490, 490)) != plain).any(axis=-1)
        row = changed[100]  # through segment 1 alone: from 8 to 34, ten pixels a voxel
        assert np.flatnonzero(row).tolist() == [*range(80, 80 + width), *range(340 - width, 340)]
    workspace.view.look = LabelLook("fill")
    filled = slice_picture(workspace, "axial", (490, 490))
    assert (filled[100, 81:339] != plain[100, 81:339]).any(axis=-1).all()
    assert (230, 75, 53) not in {tuple(c) for c in filled.reshape(-1, 3).tolist()}, "no pixel is opaque"


@pytest.mark.parametrize("plane", PLANES)
def test_the_active_segment_alone_is_what_it_is_among_others(letter: Volume, plane: Plane) -> None:
    workspace = stepped(letter)
    segmentation = workspace.segmentation(letter.id)
    workspace.view.look = LabelLook(only_active=True)
    scene = SliceScene(workspace, plane, lambda: None)
    scene.resize(98, 98)
    for active in (2, 1, 3):
        segmentation.active = active
        alone = stepped(letter)
        for segment in segmentation.segments:
            if segment.value != active:
                alone.segmentation(letter.id).put_segment(replace(segment, visible=False))
        assert np.array_equal(to_rgb(scene.render()), slice_picture(alone, plane, (98, 98)))
    scene.close()


def test_neighbors_are_dashed_where_their_outlines_are(letter: Volume) -> None:
    workspace = stepped(letter)
    segmentation = workspace.segmentation(letter.id)
    before = slice_picture(workspace, "axial", (490, 490))
    workspace.view.look = LabelLook(neighbors=True)
    scene = SliceScene(workspace, "axial", lambda: None)
    scene.resize(490, 490)
    rows, columns = np.nonzero((to_rgb(scene.render()) != before).any(axis=-1))
    above = ((rows == 120) | (rows == 339)) & (columns >= 200) & (columns < 380)
    above |= ((columns == 200) | (columns == 379)) & (rows >= 120) & (rows < 340)
    below = ((rows == 200) | (rows == 259)) & (columns >= 180) & (columns < 260)
    below |= ((columns == 180) | (columns == 259)) & (rows >= 200) & (rows < 260)
    assert (above | below).all()
    assert 0.3 < above.sum() / (2 * (180 + 220)) < 0.6, "dashes"
    assert 0.3 < below.sum() / (2 * (80 + 60)) < 0.6
    scene.step(1000)  # the last slice has one neighbour only
    scene.render()
    segmentation.active = 1
    scene.render()
    scene.close()


@pytest.mark.parametrize("plane", PLANES)
def test_golden_difference(letter: Volume, plane: Plane, matches_baseline: Callable[..., None]) -> None:
    workspace = with_labels(letter)
    segmentation = workspace.segmentation(letter.id)
    moved = np.roll(segmentation.mask(2), 4, axis=1)
    workspace.view.difference = mask_difference(letter.id, segmentation.mask(1), moved, ("one", "two"))
    matches_baseline(slice_picture(workspace, plane), f"difference_{plane}", mean=0.5, share=0.002)


def test_a_difference_takes_the_place_of_segments(letter: Volume) -> None:
    workspace = with_labels(letter)
    segmentation = workspace.segmentation(letter.id)
    labels = slice_picture(workspace, "axial")
    first, second = segmentation.mask(1), np.roll(segmentation.mask(2), 4, axis=1)
    scene = SliceScene(workspace, "axial", lambda: None)
    scene.resize(490, 490)
    grey = slice_picture(show(letter), "axial", (490, 490)).astype(int)
    workspace.view.difference = mask_difference(letter.id, first, second, ("a", "b"))
    shown = to_rgb(scene.render()).astype(int)
    for code, (one, two), opacity in ((0, (True, False), 0.75), (1, (False, True), 0.75), (2, (True, True), 0.4)):
        where = np.kron((first[24] == one) & (second[24] == two), np.ones((10, 10), bool))
        wanted = grey[where] + opacity * (np.array(DIFFERENCE_COLORS[code]) - grey[where])
        assert np.abs(shown[where] - wanted).max() <= 2
    neither = np.kron(~(first[24] | second[24]), np.ones((10, 10), bool))
    assert np.array_equal(shown[neither], grey[neither])
    # Strokes go on underneath, and another volume shows nothing of it.
    segmentation.labels_changed.emit(Region((24, 0, 0), (25, 20, 20)), 0)
    assert np.array_equal(to_rgb(scene.render()), shown)
    workspace.view.difference = replace(workspace.view.difference, volume_id="other")
    assert scene.difference is None
    workspace.view.difference = None
    scene.close()
    assert np.array_equal(slice_picture(workspace, "axial"), labels)


def test_golden_oblique_and_tilted(matches_baseline: Callable[..., None]) -> None:
    c, s = np.cos(0.35), np.sin(0.35)
    tilted = (1.0, 0.0, 0.0, 0.0, 1.0, s, 0.0, 0.0, c)
    picture = slice_picture(show(f_volume(grid_around_zero(tilted))), "sagittal")
    matches_baseline(picture, "tilted_sagittal", mean=0.5, share=0.002)
    turned = (c, -s, 0.0, s, c, 0.0, 0.0, 0.0, 1.0)
    picture = slice_picture(show(f_volume(grid_around_zero(turned))), "axial")
    matches_baseline(picture, "oblique_axial", mean=0.5, share=0.002)


def test_golden_fusion(letter: Volume, matches_baseline: Callable[..., None]) -> None:
    workspace = show(letter)
    c, s = np.cos(0.2), np.sin(0.2)
    moved = f_volume(grid_around_zero((c, -s, 0.0, s, c, 0.0, 0.0, 0.0, 1.0), mm=3.0))
    workspace.overlay = Overlay(moved, 0.6)
    matches_baseline(slice_picture(workspace, "coronal"), "fusion_coronal", mean=0.5, share=0.002)


@pytest.mark.parametrize("plane", PLANES)
def test_what_a_shutter_hides_is_black_and_the_rest_as_it_was(letter: Volume, plane: Plane) -> None:
    bright = replace(letter, inverted=True)
    shown = np.zeros(letter.array.shape[1:], dtype=bool)
    shown[: shown.shape[0] // 2, 2:-2] = True
    before = slice_picture(show(bright), plane, SIZE)
    after = slice_picture(show(replace(bright, shutter=shown)), plane, SIZE)
    kept = (after == before).all(axis=2)
    hidden = (after == 0).all(axis=2)
    assert (kept | hidden).all()
    assert (hidden & ~kept).any()
    if plane == "axial":
        share = shown.mean()
        whole = ~(before == 0).all(axis=2)
        assert (whole & kept).sum() / whole.sum() == pytest.approx(share, abs=0.03)
