"""Colour pictures and films in a slice view."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.core.segmentation import Segment
from medviewer.core.view_state import TRUE_COLOR, LabelLook, WindowLevel
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.render.colors import from_rgb, to_rgb
from medviewer.render.marks import TEXT, Line, Words, marks
from medviewer.render.offscreen import slice_picture
from medviewer.render.plane import only_plane
from medviewer.render.slice_scene import SliceScene
from medviewer.render.volume_scene import VolumeScene
from tests.picture_volumes import film, photo
from tests.render_phantoms import f_volume, grid_around_zero, show, signed_direction


def shown(volume: Volume, window: WindowLevel = TRUE_COLOR) -> Workspace:
    workspace = show(volume)
    workspace.view.window = window
    workspace.view.crosshair_lps = volume.geometry.center_lps
    return workspace


def words(volume: Volume, frame: int = 0) -> dict[str, tuple[str, ...]]:
    workspace = shown(volume)
    scene = SliceScene(workspace, "axial", lambda: None)
    scene.resize(480, 360)
    scene.show_slice(frame)
    found = {m.place: m.text for m in marks(scene) if isinstance(m, Words)}
    assert not any(isinstance(m, Line) and m.color not in (TEXT, (0, 0, 0)) for m in marks(scene)), "no crosshair"
    scene.close()
    return found


def test_G23_colours_are_drawn_as_they_are_stored() -> None:
    picture = photo()
    scene = SliceScene(shown(picture), "axial", lambda: None)
    scene.resize(60, 40)  # one pixel of the screen for one of the picture
    scene.interpolation = "nearest"
    assert picture.colors is not None
    assert np.array_equal(to_rgb(scene.render()), picture.colors[0])
    scene.close()


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_packing_keeps_every_colour(red: int, green: int, blue: int) -> None:
    rgb = np.array([[[red, green, blue], [blue, red, green]]], np.uint8)
    assert np.array_equal(to_rgb(from_rgb(rgb)), rgb)


@pytest.mark.parametrize("window", [TRUE_COLOR, WindowLevel(90, 60), WindowLevel(200, 400)])
def test_the_window_is_brightness_and_contrast_as_of_a_grey_picture(window: WindowLevel) -> None:
    grey = replace(photo(), colors=None)
    same = replace(photo(), colors=np.repeat(grey.array[..., np.newaxis], 3, axis=-1))
    assert np.array_equal(
        slice_picture(shown(same, window), "axial", (120, 90)), slice_picture(shown(grey, window), "axial", (120, 90))
    )


def test_labels_blend_over_colours() -> None:
    picture = photo()
    workspace = shown(picture)
    segmentation = workspace.segmentation(picture.id)
    group = segmentation.new_group("drawn")
    group.labels[0, 30:38, 30:50] = 1
    segmentation.put_group(group)
    segmentation.put_segment(Segment(1, "Lesion", (0, 255, 0), group=group.id))
    workspace.view.look = LabelLook("fill")
    workspace.view.overlay_opacity = 0.5
    image = slice_picture(workspace, "axial", (60, 40)).astype(int)
    plain = slice_picture(shown(picture), "axial", (60, 40)).astype(int)
    assert np.abs(image[34, 40] - (plain[34, 40] + np.array([0, 255, 0])) / 2).max() <= 1
    assert np.array_equal(image[:20], plain[:20])


def test_colours_that_arrive_are_seen() -> None:
    picture = photo()
    assert picture.colors is not None
    filling = np.zeros_like(picture.colors)
    workspace = shown(replace(picture, colors=filling))
    scene = SliceScene(workspace, "axial", lambda: None)
    scene.resize(60, 40)
    assert to_rgb(scene.render()).max() == 0
    filling[...] = picture.colors
    assert workspace.active is not None
    workspace.volume_updated.emit(workspace.active)
    assert np.array_equal(to_rgb(scene.render()), slice_picture(shown(picture), "axial", (60, 40)))
    scene.close()


def test_outside_a_colour_picture_is_black_and_monochrome1_does_not_turn_colours() -> None:
    picture = slice_picture(shown(replace(photo(), inverted=True), WindowLevel(40, 10)), "axial", (120, 40))
    assert picture[:, :28].max() == 0
    assert picture[:, 92:].max() == 0
    assert np.array_equal(
        slice_picture(shown(replace(photo(), inverted=True)), "axial", (60, 40)),
        slice_picture(shown(photo()), "axial", (60, 40)),
    )


def test_a_picture_names_no_side_and_no_mm() -> None:
    found = words(photo())
    assert set(found) == {"point", "top right", "bottom right"}
    assert found["point"] == ("10 px",)
    assert found["bottom right"][0] == "colours as stored"
    assert not any(" mm" in text or " cm" in text for texts in found.values() for text in texts)


def test_a_film_says_which_frame_and_when() -> None:
    found = words(film(), 5)
    assert found["bottom left"] == ("frame 6 / 12", "0.20 s")
    assert "left" not in found
    assert words(film(in_mm=True))["point"] == ("5 mm",)
    loose = replace(film(), stacking="number", frame_times_ms=())
    assert words(loose, 2)["bottom left"] == ("picture 3 / 12",)


def test_what_comes_later_in_a_film_is_further_down() -> None:
    workspace = shown(film())
    scene = SliceScene(workspace, "axial", lambda: None)
    scene.show_slice(4)
    scene.step(-1)
    assert scene.frame is not None
    assert scene.frame.slice_index == 5
    scene.close()


def test_the_only_plane_of_what_has_no_depth() -> None:
    cube = f_volume(grid_around_zero(signed_direction((0, 1, 2), (1, 1, 1))))
    assert only_plane(cube) is None
    assert only_plane(photo()) == only_plane(film()) == "axial"
    # One sagittal slice, as stored: k runs to the left.
    sagittal = f_volume(grid_around_zero(signed_direction((1, 2, 0), (1, -1, 1))))
    one = replace(sagittal, array=sagittal.array[24:25], geometry=replace(sagittal.geometry, size=(49, 49, 1)))
    assert only_plane(one) == "sagittal"


def test_the_cube_of_sides_is_only_shown_for_what_lies_in_the_patient() -> None:
    cube = f_volume(grid_around_zero(signed_direction((0, 1, 2), (1, 1, 1))))
    for volume, visible in ((cube, True), (replace(cube, in_patient=False), False)):
        scene = VolumeScene(show(volume), lambda: None, lambda: None, lambda: None)
        assert scene._cube.visible is visible
        scene.close()


def test_grey_is_inverted_as_the_reader_wants_it_and_outside_stays_black() -> None:
    grey = film()
    workspace = shown(grey, WindowLevel(128, 256))
    plain = slice_picture(workspace, "axial", (64, 48)).astype(int)
    workspace.view.inverted = True
    assert np.array_equal(slice_picture(workspace, "axial", (64, 48)), 255 - plain)
    assert slice_picture(workspace, "axial", (128, 48))[:, :30].max() == 0
    turned = shown(replace(grey, inverted=True), WindowLevel(128, 256))
    turned.view.inverted = True
    assert np.array_equal(slice_picture(turned, "axial", (64, 48)), plain), "MONOCHROME1 turned once more"
