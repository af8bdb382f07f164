"""Lines and words over a slice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.core.annotation import Box3D
from medviewer.core.contours import Contour, Contours
from medviewer.core.geometry import Geometry, vec3
from medviewer.core.segmentation import Segment
from medviewer.core.suv import SUV_BW, Suv
from medviewer.core.view_state import LabelLook, WindowLevel
from medviewer.core.volume import Volume
from medviewer.core.workspace import Overlay, Workspace
from medviewer.render.marks import (
    TEXT,
    Circle,
    Line,
    Polygon,
    Words,
    box_section,
    contour_marks,
    crosshair_marks,
    marks,
    scale_length_mm,
)
from medviewer.render.plane import PlaneFrame, PlaneGrid
from medviewer.render.slice_scene import SliceScene
from tests.render_phantoms import show

GRID = Geometry((100, 100, 40), (1.0, 1.0, 2.5), (-50.0, -50.0, -50.0))
BOX = Box3D(lower=(-10.0, -20.0, -5.0), upper=(10.0, 5.0, 5.0), label="Nodule", diameter_mm=12.4)


def frame(plane: str = "axial", index: int = 20) -> PlaneFrame:
    return PlaneFrame.fit(PlaneGrid.of(GRID, plane), index, 400, 400)  # type: ignore[arg-type]


def test_contours_of_a_file_are_drawn_on_their_slice_until_the_segment_is_edited(letter: Volume) -> None:
    workspace = show(letter)
    segmentation = workspace.segmentation(letter.id)
    grid = letter.geometry
    index = [(2.0, 3.0), (9.0, 3.0), (9.0, 8.0)]
    k = grid.size[2] // 2

    def contour(kind: str, n: int) -> Contour:
        return Contour(4, kind, grid.index_to_lps([(*p, k) for p in index[:n]]))

    group = segmentation.new_group("file")
    group.contours = Contours.of([contour("CLOSED_PLANAR", 3), contour("OPEN_PLANAR", 3), contour("POINT", 1)])
    segmentation.put_group(group)
    segmentation.put_segment(Segment(4, "GTV", group=group.id))
    workspace.view.crosshair_lps = vec3(grid.index_to_lps((1, 1, k)))
    scene = SliceScene(workspace, "axial", lambda: None)
    scene.resize(200, 200)

    def drawn() -> list[type]:
        return [type(mark) for mark in contour_marks(scene.frame, segmentation, LabelLook(), 3.0)]

    assert drawn() == [Polygon, Line, Line, Circle]
    (polygon,) = [m for m in contour_marks(scene.frame, segmentation, LabelLook(), 3.0) if isinstance(m, Polygon)]
    back = [grid.lps_to_index(scene.frame.display_to_lps(*point)) for point in polygon.points]
    np.testing.assert_allclose(back, [(*p, k) for p in index], atol=1e-6)
    workspace.view.look = LabelLook("fill")
    assert not any(isinstance(mark, Polygon) for mark in marks(scene))
    segmentation.put_segment(replace(segmentation.segment(4), edited=True))
    assert drawn() == []
    scene.close()


def test_a_box_is_cut_to_a_rectangle_in_every_plane() -> None:
    for plane, index, (x0, x1, y0, y1) in (
        ("axial", 20, (-10, 10, -20, 5)),
        ("coronal", 45, (-10, 10, -5, 5)),
        ("sagittal", 45, (-20, 5, -5, 5)),
    ):
        shown = frame(plane, index)
        ring = box_section(shown, BOX)
        assert ring is not None
        lps = np.array([shown.display_to_lps(x, y) for x, y in ring])
        across, down = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}[plane]
        assert np.isclose([lps[:, across].min(), lps[:, across].max()], [x0, x1]).all()
        assert np.isclose([lps[:, down].min(), lps[:, down].max()], [y0, y1]).all()
        assert len(ring) == 4


def test_a_box_shows_in_the_slices_it_crosses_and_no_other() -> None:
    shown = [n for n in range(40) if box_section(frame("axial", n), BOX) is not None]
    assert shown == [18, 19, 20, 21, 22]  # -5 … 5 mm
    thin = replace(BOX, lower=(-1.0, -1.0, -0.2), upper=(1.0, 1.0, 0.4))
    assert [n for n in range(40) if box_section(frame("axial", n), thin) is not None] == [20]


def test_findings_rejected_selected_and_named(letter: Volume, workspace: Workspace) -> None:
    rejected = replace(BOX, review="rejected", id="no")
    workspace.set_boxes(letter.id, (replace(BOX, id="yes"), rejected))
    scene = SliceScene(workspace, "axial", lambda: None)
    scene.resize(300, 300)
    (outline,) = [m for m in marks(scene) if isinstance(m, Polygon)]
    assert not any(isinstance(m, Words) and m.place == "point" and "Nodule" in m.text[0] for m in marks(scene))
    workspace.view.selected_box = "yes"
    (chosen,) = [m for m in marks(scene) if isinstance(m, Polygon)]
    assert chosen.points == outline.points
    assert chosen.width > outline.width
    assert any(isinstance(m, Words) and m.text == ("Nodule 12 mm",) for m in marks(scene))
    scene.close()


def test_crosshair_is_open_around_its_point() -> None:
    shown = frame()
    lines = list(crosshair_marks(shown, (10.0, -20.0, 0.0), 14))
    x, y = shown.lps_to_display((10.0, -20.0, 0.0))
    assert len(lines) == 4
    for line in lines:
        ends = np.array([line.start, line.end])
        assert np.abs(ends - (x, y)).max(axis=1).min() >= 13
    assert not list(crosshair_marks(shown, (1000.0, 1000.0, 0.0), 14))


@given(st.floats(1e-3, 10), st.floats(1, 2000))
def test_scale_is_round_and_fits(mm_per_pixel: float, available: float) -> None:
    length = scale_length_mm(mm_per_pixel, available)
    longest = mm_per_pixel * available
    assert length <= longest * 1.0001
    assert length > longest / 2.6
    digits = length / 10 ** np.floor(np.log10(length) + 1e-9)
    assert min(abs(digits - d) for d in (1, 2, 5)) < 1e-6


def test_words(letter: Volume, workspace: Workspace) -> None:
    named = replace(letter, patient_name="DOE^JANE", patient_id="42", study_date="20250131", name="Chest 1 mm")
    workspace.replace_volume(named)
    scene = SliceScene(workspace, "coronal", lambda: None)
    scene.resize(300, 300)
    words = {m.place: m.text for m in marks(scene) if isinstance(m, Words) and m.place != "point"}
    assert words["top left"] == ("DOE, JANE", "42", "2025-01-31")
    assert words["top right"] == ("Chest 1 mm", "CT")
    assert words["bottom left"] == ("25 / 49", "P 0.0 mm")
    assert words["bottom right"] == ("C 50  W 1900", "100%")
    assert [words[p][0] for p in ("left", "right", "top", "bottom")] == ["R", "L", "H", "F"]
    workspace.view.crosshair_visible = False
    lines = [m for m in marks(scene) if isinstance(m, Line)]
    assert [m.color for m in lines] == [(0, 0, 0)] * 3 + [TEXT] * 3  # the scale bar, to be seen on black and white
    scene.close()


@pytest.mark.parametrize(("width", "above"), [(300, 10), (600, 24)])
def test_in_a_narrow_view_the_scale_keeps_clear_of_the_window(workspace: Workspace, width: int, above: int) -> None:
    scene = SliceScene(workspace, "axial", lambda: None)
    scene.resize(width, 300)
    workspace.view.crosshair_visible = False
    bar = next(m for m in marks(scene) if isinstance(m, Line))
    assert bar.start[1] == bar.end[1] == 300 - above
    workspace.view.window = WindowLevel(-386.72, 2160.4)
    corner = next(m for m in marks(scene) if isinstance(m, Words) and m.place == "bottom right")
    assert corner.text[0] == "C -387  W 2160"
    workspace.view.window = WindowLevel(0.25, 0.5)
    corner = next(m for m in marks(scene) if isinstance(m, Words) and m.place == "bottom right")
    assert corner.text[0] == "C 0.25  W 0.5"
    workspace.view.window = WindowLevel(0.001492, 0.002985)
    corner = next(m for m in marks(scene) if isinstance(m, Words) and m.place == "bottom right")
    assert corner.text[:2] == ("C 0.001492", "W 0.002985")
    scene.close()


def test_nothing_without_a_volume() -> None:
    scene = SliceScene(Workspace(), "axial", lambda: None)
    assert marks(scene) == []
    scene.close()


@pytest.mark.parametrize("angle", [20.0, 45.0])
def test_a_turned_grid_cuts_a_box_to_a_convex_outline(angle: float) -> None:
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    turned = Geometry((80, 80, 80), (1.0, 1.0, 1.0), (-40.0, 0.0, -40.0), (c, 0.0, s, 0.0, 1.0, 0.0, -s, 0.0, c))
    shown = PlaneFrame.fit(PlaneGrid.of(turned, "axial"), 40, 300, 300)
    cube = Box3D(lower=(-10.0, 5.0, -10.0), upper=(10.0, 25.0, 10.0))
    for index in range(80):
        ring = box_section(PlaneFrame.fit(shown.grid, index, 300, 300), cube)
        if ring is None:
            continue
        a, b, c3 = ring, np.roll(ring, -1, axis=0), np.roll(ring, -2, axis=0)
        cross = (b - a)[:, 0] * (c3 - b)[:, 1] - (b - a)[:, 1] * (c3 - b)[:, 0]
        assert (cross > -1e-6).all() or (cross < 1e-6).all()


def test_what_lies_over_the_image_is_said_with_its_values(letter: Volume) -> None:
    workspace = show(letter)
    scene = SliceScene(workspace, "axial", lambda: None)
    scene.resize(400, 400)
    dose = replace(letter, id="dose", name="Plan", unit="Gy", modality="RTDOSE", window=(30.0, 60.0))

    def said() -> list[str]:
        return [text for mark in marks(scene) if isinstance(mark, Words) for text in mark.text]

    assert not any("over it" in text for text in said())
    workspace.overlay = Overlay(dose)
    assert "over it 0 to 60 Gy: Plan" in said()
    pet = replace(letter, id="pet", name="PET", unit=SUV_BW, suv=Suv({SUV_BW: 1.0}), window=(300.0, 500.0))
    workspace.overlay = Overlay(pet)
    assert "over it 0 to 10 SUVbw: PET" in said()
    workspace.overlay = None
    assert not any("over it" in text for text in said())
