"""The live wire as a tool: anchors, the wire between them, and what is filled in the end."""

from __future__ import annotations

import numpy as np
import pytest

from medviewer.core.geometry import Geometry, Vec3, vec3
from medviewer.core.segmentation import Segment
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.editor import LabelEditor
from medviewer.editing.history import UndoStack
from medviewer.editing.tool import Modifier, Phase, PointerEvent, ToolContext
from medviewer.editing.tools.livewire import LiveWireTool
from medviewer.imaging.planes import in_plane_axes

TURN = (0.8, -0.6, 0.0, 0.48, 0.64, 0.6, -0.36, -0.48, 0.8)
GRID = Geometry((50, 50, 50), (0.8, 0.8, 0.8), (-3.0, 12.0, 7.0), TURN)
BALL = np.linalg.norm(np.indices(GRID.shape) - 25.0, axis=0) < 12


class Desk:
    def __init__(self, axis: int) -> None:
        self.axis = axis
        workspace = Workspace()
        noise = np.random.default_rng(0).normal(0, 10, GRID.shape)
        workspace.add_volume(Volume((100 * BALL + noise).astype(np.int16), GRID, id="v"))
        self.segmentation = workspace.segmentation("v")
        self.segmentation.put_group(self.segmentation.new_group())
        self.segmentation.put_segment(Segment(1, "s"))
        self.segmentation.active = 1
        self.history = UndoStack()
        self.tool = LiveWireTool()
        self.tool.activate(ToolContext(LabelEditor(workspace, self.history, "v")))

    def lps(self, place: tuple[float, float]) -> Vec3:
        ijk = np.full(3, 25.0)
        ijk[list(in_plane_axes(self.axis))] = place
        return vec3(GRID.index_to_lps(ijk))

    def send(self, phase: Phase, place: tuple[float, float], *held: Modifier) -> None:
        self.tool.pointer(PointerEvent(phase, self.lps(place), self.axis, frozenset(held), 0.1, 40.0))

    def click(self, place: tuple[float, float], *held: Modifier) -> None:
        self.send("press", place, *held)
        self.send("release", place, *held)

    def around(self) -> None:
        for place in ((25, 13), (37, 25), (25, 37), (13, 25)):
            self.send("hover", place)
            self.click(place)

    def away(self, points: tuple[Vec3, ...]) -> np.ndarray:
        """Distance of points from the border of the ball, in voxels."""
        return np.abs(np.linalg.norm(GRID.lps_to_index(points) - 25.0, axis=1) - 12)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_four_clicks_around_a_ball_fill_its_section(axis: int) -> None:
    desk = Desk(axis)
    desk.around()
    assert not desk.history.done
    assert desk.away(tuple(desk.tool.outline())).max() <= 2.0
    assert desk.tool.key("apply")
    mask = desk.segmentation.mask(1)
    truth = np.take(BALL, 25, axis=2 - axis)
    section = np.take(mask, 25, axis=2 - axis)
    assert mask.sum() == section.sum()
    assert 2 * (section & truth).sum() / (section.sum() + truth.sum()) > 0.93
    assert [step.label for step in desk.history.done] == ["Live wire"]


def test_the_wire_follows_the_pointer() -> None:
    desk = Desk(2)
    desk.click((25, 13))
    desk.send("hover", (37, 25))
    rubber = max(desk.tool.cursor.lines, key=lambda line: len(line.points_lps))
    assert rubber.points_lps[0] == desk.lps((25, 13))
    assert rubber.points_lps[-1] == desk.lps((37, 25))
    assert len(rubber.points_lps) > 10
    assert desk.away(rubber.points_lps).max() <= 2.0
    assert not desk.tool.cursor.lines[0].closed


def test_anchors_are_dragged_added_and_taken_out_and_the_wire_stays_whole() -> None:
    desk = Desk(2)
    desk.around()
    tool = desk.tool
    desk.send("press", (37, 25))
    desk.send("move", (40, 28))
    desk.send("release", (40, 28))
    assert tool.points[1] == desk.lps((40, 28))
    on_wire = GRID.lps_to_index(tool.outline()[4])[:2]
    desk.click((float(on_wire[0]), float(on_wire[1])))
    assert len(tool.points) == 5
    desk.click((40, 28), "shift")
    assert len(tool.points) == 4
    outline = GRID.lps_to_index(list(tool.outline()))
    steps = np.abs(np.diff(outline, axis=0)).max(axis=1)
    assert steps.max() <= 1.01, "from voxel to voxel, without a gap"
    for left in (3, 2, 1, 0):
        assert tool.key("back")
        assert len(tool.points) == left
    assert not tool.key("back")


def test_anchors_too_far_apart_are_joined_by_a_straight_line() -> None:
    desk = Desk(2)
    wide = Geometry((300, 20, 3), (1.0, 1.0, 1.0))
    workspace = Workspace()
    workspace.add_volume(Volume(np.zeros(wide.shape, np.int16), wide, id="w"))
    desk.tool.activate(ToolContext(LabelEditor(workspace, UndoStack(), "w")))
    for x, y in ((5.0, 5.0), (290.0, 6.0), (290.0, 15.0)):
        desk.tool.pointer(PointerEvent("press", (x, y, 1.0), 2))
        desk.tool.pointer(PointerEvent("release", (x, y, 1.0), 2))
    outline = np.array(desk.tool.outline())
    assert outline[:, 0].max() == 290.0
    assert (5.0, 5.0, 1.0) in desk.tool.outline()


def test_escape_and_the_double_click() -> None:
    desk = Desk(2)
    desk.around()
    assert desk.tool.key("cancel")
    assert desk.tool.cursor.lines == ()
    desk.around()
    desk.send("double", (13, 25))
    assert desk.segmentation.mask(1).any()
    desk.click((25, 13))
    assert len(desk.tool.points) == 1
