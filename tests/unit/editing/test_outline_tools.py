"""Polygon, lasso, rectangle, ellipse: one grammar, in every plane of any grid."""

from __future__ import annotations

import numpy as np
import pytest

from medviewer.core.geometry import Geometry, Vec3, vec3
from medviewer.core.segmentation import Segment
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.editor import LabelEditor
from medviewer.editing.history import UndoStack
from medviewer.editing.outlines import OutlineTool
from medviewer.editing.tool import Modifier, Phase, PointerEvent, ToolContext
from medviewer.editing.tools.ellipse import EllipseTool
from medviewer.editing.tools.lasso import Lasso
from medviewer.editing.tools.polygon import PolygonTool
from medviewer.editing.tools.rectangle import RectangleTool
from medviewer.imaging.outline import fill_outline
from medviewer.imaging.planes import in_plane_axes

TURN = (0.8, -0.6, 0.0, 0.48, 0.64, 0.6, -0.36, -0.48, 0.8)
GRID = Geometry((30, 28, 26), (0.7, 1.3, 2.5), (-3.0, 12.0, 7.0), TURN)
TOOLS = [PolygonTool, Lasso, RectangleTool, EllipseTool]
SHAPES = TOOLS[1:]


class Desk:
    """A workspace with an empty segment, and one plane to draw in."""

    def __init__(self, axis: int = 2) -> None:
        self.axis = axis
        self.workspace = Workspace()
        self.workspace.add_volume(Volume(np.zeros(GRID.shape, np.int16), GRID, id="v"))
        self.segmentation = self.workspace.segmentation("v")
        self.segmentation.put_group(self.segmentation.new_group())
        self.segmentation.put_segment(Segment(1, "s"))
        self.segmentation.active = 1
        self.history = UndoStack()
        self.context = ToolContext(LabelEditor(self.workspace, self.history, "v"))

    @property
    def mask(self) -> np.ndarray:
        return self.segmentation.mask(1)

    def lps(self, place: tuple[float, float], at: int = 10) -> Vec3:
        ijk = np.full(3, float(at))
        ijk[list(in_plane_axes(self.axis))] = place
        return vec3(GRID.index_to_lps(ijk))

    def event(self, phase: Phase, place: tuple[float, float], *held: Modifier, at: int = 10) -> PointerEvent:
        return PointerEvent(phase, self.lps(place, at), self.axis, frozenset(held), 0.05, 50.0)

    def click(self, tool: OutlineTool, place: tuple[float, float], *held: Modifier, at: int = 10) -> None:
        for phase in ("press", "release"):
            tool.pointer(self.event(phase, place, *held, at=at))

    def drag(self, tool: OutlineTool, *path: tuple[float, float], held: tuple[Modifier, ...] = ()) -> None:
        tool.pointer(self.event("press", path[0], *held))
        for place in path[1:]:
            tool.pointer(self.event("move", place, *held))
        tool.pointer(self.event("release", path[-1], *held))

    def take_up(self, kind: type[OutlineTool]) -> OutlineTool:
        tool = kind()
        tool.activate(self.context)
        return tool

    def inside(self, tool: OutlineTool) -> np.ndarray:
        """What the outline as it is now holds."""
        region, filled = fill_outline(GRID, list(tool.outline()), tool.axis)
        mask = np.zeros(GRID.shape, bool)
        mask[region.slices] = filled
        return mask


def draw(desk: Desk, tool: OutlineTool, *held: Modifier) -> None:
    """Draw something of about 12 x 10 voxels."""
    if isinstance(tool, PolygonTool):
        for place in ((5.3, 5.4), (17.2, 6.1), (16.4, 15.8), (6.2, 14.9)):
            desk.click(tool, place, *held)
    elif isinstance(tool, Lasso):
        desk.drag(tool, (5, 5), (11, 4), (17, 6), (18, 11), (16, 16), (10, 15), (5, 13), (4, 9), held=held)
    else:
        desk.drag(tool, (5.4, 5.4), (10, 10), (17.4, 15.4), held=held)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("kind", TOOLS)
def test_enter_fills_the_outline_in_its_slice_as_one_step(kind: type[OutlineTool], axis: int) -> None:
    desk = Desk(axis)
    tool = desk.take_up(kind)
    draw(desk, tool)
    assert not desk.mask.any(), "nothing is written before it is applied"
    wanted = desk.inside(tool)
    assert wanted.sum() > 60
    assert tool.key("apply")
    np.testing.assert_array_equal(desk.mask, wanted)
    assert [step.label for step in desk.history.done] == [tool.label]
    assert tool.cursor.lines == ()
    assert not tool.key("apply")
    desk.history.undo()
    assert not desk.mask.any()


@pytest.mark.parametrize("kind", TOOLS)
@pytest.mark.parametrize("how", ["ctrl while drawing", "ctrl and double click", "option"])
def test_ctrl_or_the_option_erases(kind: type[OutlineTool], how: str) -> None:
    desk = Desk()
    tool = desk.take_up(kind)
    with desk.context.editor.stroke("all") as stroke:
        stroke.paint(GRID.region, np.ones(GRID.shape, bool))
    if how == "option":
        tool.options.action = "erase"
    draw(desk, tool, *(("ctrl",) if how == "ctrl while drawing" else ()))
    wanted = desk.inside(tool)
    tool.pointer(desk.event("double", (8, 8), *(("ctrl",) if how == "ctrl and double click" else ())))
    np.testing.assert_array_equal(~desk.mask, wanted)
    assert "erase" in desk.history.undo_label


@pytest.mark.parametrize("kind", TOOLS)
def test_escape_drops_the_outline(kind: type[OutlineTool]) -> None:
    desk = Desk()
    tool = desk.take_up(kind)
    assert not tool.key("cancel")
    draw(desk, tool)
    assert tool.key("cancel")
    assert not tool.key("apply")
    assert not desk.mask.any()


@pytest.mark.parametrize("kind", TOOLS)
def test_the_outline_waits_while_another_tool_is_used_but_not_on_another_image(kind: type[OutlineTool]) -> None:
    desk = Desk()
    tool = desk.take_up(kind)
    draw(desk, tool)
    wanted = desk.inside(tool)
    tool.deactivate()
    assert tool.cursor.lines == ()
    assert not tool.key("apply")
    tool.activate(desk.context)
    np.testing.assert_array_equal(desk.inside(tool), wanted)
    tool.activate(Desk().context)
    desk.workspace.add_volume(Volume(np.zeros(GRID.shape, np.int16), GRID, id="w"))
    tool.activate(ToolContext(LabelEditor(desk.workspace, desk.history, "w")))
    assert tool.cursor.lines == ()


@pytest.mark.parametrize("kind", TOOLS)
def test_going_on_in_another_slice_fills_the_first(kind: type[OutlineTool]) -> None:
    desk = Desk()
    tool = desk.take_up(kind)
    draw(desk, tool)
    wanted = desk.inside(tool)
    desk.click(tool, (9, 9), at=12)
    np.testing.assert_array_equal(desk.mask, wanted)


def test_points_of_a_polygon_are_dragged_added_and_taken_out() -> None:
    desk = Desk()
    tool = desk.take_up(PolygonTool)
    draw(desk, tool)
    places = [(5.3, 5.4), (17.2, 6.1), (16.4, 15.8), (6.2, 14.9)]
    desk.drag(tool, places[2], (19, 18), (21, 20))
    assert tool.points[2] == desk.lps((21, 20))
    middle = tuple(np.mean([places[0], places[1]], axis=0))
    desk.drag(tool, (float(middle[0]), float(middle[1])), (11, 2))
    assert len(tool.points) == 5
    assert tool.points[1] == desk.lps((11, 2))
    desk.click(tool, (11, 2), "shift")
    assert len(tool.points) == 4
    assert tool.key("back")
    assert tool.points == [desk.lps(places[0]), desk.lps(places[1]), desk.lps((21, 20))]
    assert len(desk.history.done) == 0


def test_a_polygon_shows_where_the_next_edge_would_go() -> None:
    desk = Desk()
    tool = desk.take_up(PolygonTool)
    desk.click(tool, (5, 5))
    tool.pointer(desk.event("hover", (9, 5)))
    assert any(line.points_lps == (desk.lps((5, 5)), desk.lps((9, 5))) for line in tool.cursor.lines)
    tool.pointer(desk.event("hover", (9, 5), at=3))
    assert not any(len(line.points_lps) == 2 for line in tool.cursor.lines)


def test_two_points_fill_nothing() -> None:
    desk = Desk()
    tool = desk.take_up(PolygonTool)
    desk.click(tool, (5, 5))
    desk.click(tool, (15, 5))
    assert not tool.key("apply")
    assert len(tool.points) == 2


@pytest.mark.parametrize("kind", SHAPES)
def test_a_shape_is_moved_from_inside_and_filled_by_the_next_one(kind: type[OutlineTool]) -> None:
    desk = Desk()
    tool = desk.take_up(kind)
    draw(desk, tool)
    before = desk.inside(tool)
    desk.drag(tool, (10, 10), (12, 11), (13, 12))
    moved = desk.inside(tool)
    np.testing.assert_array_equal(moved, np.roll(before, (2, 3), axis=(1, 2)))
    desk.drag(tool, (22, 20), (26, 24), (27, 25))
    np.testing.assert_array_equal(desk.mask, moved)


@pytest.mark.parametrize("kind", SHAPES)
def test_a_shape_can_be_filled_on_release(kind: type[OutlineTool]) -> None:
    desk = Desk()
    tool = desk.take_up(kind)
    tool.options.apply_at_once = True  # type: ignore[attr-defined]
    draw(desk, tool)
    assert desk.mask.sum() > 60
    assert tool.cursor.lines == ()


@pytest.mark.parametrize("kind", [RectangleTool, EllipseTool])
def test_a_corner_is_dragged_while_the_opposite_one_stays(kind: type[OutlineTool]) -> None:
    desk = Desk()
    tool = desk.take_up(kind)
    draw(desk, tool)
    for held in range(4):
        opposite = tool.points[(held + 2) % 4]
        i, j = (float(n) for n in GRID.lps_to_index(tool.points[held])[:2])
        desk.drag(tool, (i, j), (i + 1, j - 1), (i + 0.7, j + 0.9))
        assert tool.points[held] == pytest.approx(desk.lps((i + 0.7, j + 0.9)))
        assert tool.points[(held + 2) % 4] == pytest.approx(opposite)
        ring = np.array(tool.points)
        np.testing.assert_allclose(ring[0] + ring[2], ring[1] + ring[3])
        assert abs((ring[1] - ring[0]) @ (ring[3] - ring[0])) < 1e-9


@pytest.mark.parametrize("kind", [RectangleTool, EllipseTool])
def test_a_click_draws_no_shape(kind: type[OutlineTool]) -> None:
    desk = Desk()
    tool = desk.take_up(kind)
    desk.click(tool, (9, 9))
    assert tool.cursor.lines == ()
    assert not desk.history.done


def test_a_lasso_keeps_few_points_and_its_form() -> None:
    desk = Desk()
    tool = desk.take_up(Lasso)
    angles = np.linspace(0, 2 * np.pi, 400)
    path = [(14 + 8 * np.cos(a), 13 + 8 * np.sin(a)) for a in angles]
    desk.drag(tool, *path)
    assert len(tool.points) < 60
    full = np.zeros(GRID.shape, bool)
    region, filled = fill_outline(GRID, [desk.lps(p) for p in path], 2)
    full[region.slices] = filled
    assert (desk.inside(tool) ^ full).sum() < 0.03 * full.sum()


@pytest.mark.parametrize("kind", TOOLS)
def test_a_point_may_be_taken_back_while_it_is_dragged(kind: type[OutlineTool]) -> None:
    desk = Desk()
    tool = desk.take_up(kind)
    draw(desk, tool)
    place = tuple(GRID.lps_to_index(tool.points[-1])[:2])
    tool.pointer(desk.event("press", place))
    tool.pointer(desk.event("move", (9.0, 9.0)))
    assert tool.key("back")
    left = list(tool.points)
    tool.pointer(desk.event("move", (11.0, 11.0)))
    tool.pointer(desk.event("release", (11.0, 11.0)))
    assert tool.points == left
