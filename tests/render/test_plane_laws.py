"""Where pixels lie in the patient, for any grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.core.geometry import Geometry
from medviewer.core.region import Region
from medviewer.core.view_state import PLANES, Plane
from medviewer.render.picking import slice_point
from medviewer.render.plane import PlaneFrame, PlaneGrid, opposite_letters, orientation_letters

angles = st.floats(-180, 180)
mm = st.floats(0.2, 6.0)


def turned(a: float, b: float, c: float) -> np.ndarray:
    a, b, c = np.deg2rad([a, b, c])
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return rz @ ry @ rx


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Turned, mirrored, sheared as by a tilted gantry, anywhere in the patient."""
    direction = turned(draw(angles), draw(angles), draw(angles))
    if draw(st.booleans()):
        direction = direction * [1, 1, -1]
    tilt = np.deg2rad(draw(st.sampled_from([0.0, 0.0, 15.0, -25.0])))
    direction[:, 2] = np.cos(tilt) * direction[:, 2] + np.sin(tilt) * direction[:, 1]
    size = tuple(draw(st.integers(1, 60)) for _ in range(3))
    origin = tuple(draw(st.floats(-500, 500)) for _ in range(3))
    return Geometry(size, (draw(mm), draw(mm), draw(mm)), origin, tuple(direction.ravel().tolist()))


@st.composite
def frames(draw: st.DrawFn) -> PlaneFrame:
    grid = PlaneGrid.of(draw(geometries()), draw(st.sampled_from(PLANES)))
    index = draw(st.integers(0, grid.count - 1))
    frame = PlaneFrame.fit(grid, index, draw(st.integers(1, 700)), draw(st.integers(1, 700)))
    x, y = draw(st.floats(0, 700)), draw(st.floats(0, 700))
    return frame.zoomed(draw(st.floats(0.2, 20)), x, y).panned(draw(st.floats(-90, 90)), draw(st.floats(-90, 90)))


@given(frames(), st.floats(-50, 750), st.floats(-50, 750))
def test_display_to_lps_and_back(frame: PlaneFrame, x: float, y: float) -> None:
    lps = slice_point(frame, x, y)
    assert np.allclose(frame.lps_to_display(lps), (x, y), atol=1e-4)
    index = frame.grid.geometry.lps_to_index(lps)
    assert np.isclose(index[frame.grid.normal], frame.slice_index, atol=1e-6)


@given(frames())
def test_pixels_are_square_and_as_big_as_said(frame: PlaneFrame) -> None:
    origin, right, down = (np.array(frame.display_to_lps(*p)) for p in ((0, 0), (1, 0), (0, 1)))
    assert np.isclose(np.linalg.norm(right - origin), frame.mm_per_pixel)
    assert np.isclose(np.linalg.norm(down - origin), frame.mm_per_pixel)
    assert abs((right - origin) @ (down - origin)) < 1e-6 * frame.mm_per_pixel**2 + 1e-9


@given(frames(), st.floats(0.3, 5), st.floats(0, 600), st.floats(0, 600))
def test_zooming_keeps_what_is_under_the_mouse(frame: PlaneFrame, factor: float, x: float, y: float) -> None:
    assert np.allclose(frame.zoomed(factor, x, y).display_to_lps(x, y), frame.display_to_lps(x, y), atol=1e-6)


@given(frames(), st.floats(-200, 200), st.floats(-200, 200))
def test_panning_moves_the_picture_with_the_mouse(frame: PlaneFrame, dx: float, dy: float) -> None:
    moved = frame.panned(dx, dy)
    assert np.allclose(moved.display_to_lps(100 + dx, 50 + dy), frame.display_to_lps(100, 50), atol=1e-6)


@given(geometries())
def test_the_three_planes_use_the_three_axes(geometry: Geometry) -> None:
    grids = [PlaneGrid.of(geometry, plane) for plane in PLANES]
    assert sorted(grid.normal for grid in grids) == [0, 1, 2]
    for grid in grids:
        assert sorted((grid.normal, grid.across, grid.down)) == [0, 1, 2]
        assert np.isclose(grid.right_lps @ grid.down_lps, 0, atol=1e-9)


@given(frames())
def test_a_region_is_shown_where_its_voxels_are(frame: PlaneFrame) -> None:
    whole = frame.grid.geometry.region
    rect = frame.rect_of(whole)
    for x in (0.5, frame.width / 2, frame.width - 0.5):
        for y in (0.5, frame.height / 2, frame.height - 0.5):
            if frame.grid.geometry.voxel_at(frame.display_to_lps(x, y)) is not None:
                assert rect is not None
                assert rect[0] <= x < rect[2]
                assert rect[1] <= y < rect[3]
    assert frame.rect_of(Region((0, 0, 0), (0, 0, 0))) is None


IDENTITY = Geometry((10, 12, 14), (1.0, 1.0, 2.0))


@pytest.mark.parametrize(
    ("plane", "letters"), [("axial", "RLAP"), ("coronal", "RLHF"), ("sagittal", "APHF")], ids=PLANES
)
def test_radiological_convention(plane: Plane, letters: str) -> None:
    for signs in np.ndindex(2, 2, 2):
        direction = np.diag([1 - 2 * s for s in signs]).astype(float)
        grid = PlaneGrid.of(Geometry((10, 12, 14), (1, 1, 2), (0, 0, 0), tuple(direction.ravel().tolist())), plane)
        assert "".join(grid.letters) == letters


def test_letters() -> None:
    assert orientation_letters((-1.0, 0.0, 0.0)) == "R"
    assert orientation_letters((-0.9, -0.4, 0.0)) == "RA"
    assert orientation_letters((0.05, 0.05, 1.0)) == "H"
    assert opposite_letters("RA") == "LP"
    assert opposite_letters("HF") == "FH"


@pytest.mark.parametrize("plane", PLANES)
def test_wheel_forward_goes_to_head_anterior_left(plane: Plane) -> None:
    grid = PlaneGrid.of(IDENTITY, plane)
    step = grid.geometry.index_to_lps_matrix[:3, grid.normal] * grid.forward
    assert orientation_letters(step) == {"axial": "H", "coronal": "A", "sagittal": "L"}[plane]


def test_slice_of_is_clipped() -> None:
    grid = PlaneGrid.of(IDENTITY, "axial")
    assert grid.slice_of((0.0, 0.0, -100.0)) == 0
    assert grid.slice_of((0.0, 0.0, 9.2)) == 5
    assert grid.slice_of((0.0, 0.0, 1e4)) == 13
    assert grid.position_mm(3) == pytest.approx(6.0)
