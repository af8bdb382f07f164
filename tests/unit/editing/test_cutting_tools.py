"""Scissors and the cutting plane: what they take, in slices and in 3D, and that nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medviewer.core.geometry import Geometry, Vec3, vec3
from medviewer.core.segmentation import Segment
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.change import Change
from medviewer.editing.editor import EditRefused, LabelEditor
from medviewer.editing.effect import EditScene, Effect
from medviewer.editing.history import UndoStack
from medviewer.editing.tool import Modifier, PointerEvent, Sight, ToolContext
from medviewer.editing.tools.cut_plane import CutPlane
from medviewer.editing.tools.scissors import Scissors
from medviewer.imaging.outline import fill_outline
from medviewer.imaging.planes import in_plane_axes
from medviewer.jobs.job import NullContext

TURN = (0.8, -0.6, 0.0, 0.48, 0.64, 0.6, -0.36, -0.48, 0.8)
GRID = Geometry((24, 22, 20), (0.7, 1.3, 2.5), (-3.0, 12.0, 7.0), TURN)
STRAIGHT = Geometry((24, 22, 20), (1.0, 1.0, 1.0), (-12.0, -11.0, -10.0))
#: Seen from in front, 10 pixels a mm, the LPS origin at (200, 200).
FRONT = np.array([[10.0, 0, 0, 200.0], [0, 0, -10.0, 200.0], [0, 0.01, 0, 0.5], [0, 0, 0, 1.0]])


class Desk:
    """A workspace with a block in segment 1; `apply` does what the window's host does."""

    def __init__(self, grid: Geometry = GRID, axis: int = 2) -> None:
        self.grid, self.axis = grid, axis
        self.workspace = Workspace()
        self.workspace.add_volume(Volume(np.zeros(grid.shape, np.int16), grid, id="v"))
        self.segmentation = self.workspace.segmentation("v")
        group = self.segmentation.new_group()
        group.labels[4:16, 4:18, 4:20] = 1
        group.labels[0:2] = 2
        self.segmentation.put_group(group)
        for value in (1, 2):
            self.segmentation.put_segment(Segment(value, f"s{value}"))
        self.segmentation.active = 1
        self.history = UndoStack()
        self.editor = LabelEditor(self.workspace, self.history, "v")
        self.tool: Scissors | CutPlane = Scissors()

    def take_up(self, tool: Scissors | CutPlane) -> Scissors | CutPlane:
        self.tool = tool
        assert isinstance(tool, Effect)
        tool.activate(ToolContext(self.editor, apply=self.apply))
        return tool

    def scene(self) -> EditScene:
        segment = self.segmentation.segment(self.segmentation.active)
        return EditScene(self.workspace.volume("v"), self.segmentation, segment, (0.0, 0.0, 0.0), self.axis)

    def change(self) -> Change | None:
        plan = self.tool.plan(self.scene())
        return None if plan is None else plan(NullContext())

    def apply(self) -> None:
        change = self.change()
        assert change is not None
        self.editor.apply(change)
        self.tool.applied()

    @property
    def mask(self) -> np.ndarray:
        return self.segmentation.mask(1)

    def lps(self, place: tuple[float, float], at: int = 10) -> Vec3:
        ijk = np.full(3, float(at))
        ijk[list(in_plane_axes(self.axis))] = place
        return vec3(self.grid.index_to_lps(ijk))

    def drag(self, *path: tuple[float, float], held: tuple[Modifier, ...] = ()) -> None:
        self.send([self.lps(place) for place in path], held)

    def send(self, path: list[Vec3], held: tuple[Modifier, ...] = (), points: list[tuple[float, float]] | None = None):
        phases = ["press", *["move"] * (len(path) - 1), "release"]
        places = points or [None] * len(path)
        for phase, lps, point in zip(phases, [*path, path[-1]], [*places, places[-1]], strict=True):
            sight = None if point is None else Sight(point, FRONT)
            self.tool.pointer(PointerEvent(phase, lps, self.axis, frozenset(held), 0.05, 50.0, sight=sight))  # type: ignore[arg-type]

    def drag_in_3d(self, *points: tuple[float, float], held: tuple[Modifier, ...] = ()) -> None:
        lps = [vec3(((x - 200) / 10, -50.0, (200 - y) / 10)) for x, y in points]
        self.send(lps, held, list(points))

    def index(self, axis: int) -> np.ndarray:
        return np.indices(self.grid.shape)[2 - axis]


OUTLINE = ((6.4, 5.3), (15.6, 6.2), (14.3, 13.7), (7.1, 12.2))


def through(desk: Desk, outline: tuple[tuple[float, float], ...]) -> np.ndarray:
    """The outline, in every slice."""
    region, filled = fill_outline(desk.grid, [desk.lps(p) for p in outline], desk.axis)
    flat = np.zeros(desk.grid.shape, bool)
    flat[region.slices] = filled
    return np.broadcast_to(flat.any(axis=2 - desk.axis, keepdims=True), desk.grid.shape)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("action", ["erase", "fill"])
@pytest.mark.parametrize("where", ["inside", "outside"])
def test_every_operation_in_every_plane_as_one_step(axis: int, action: str, where: str) -> None:
    desk = Desk(GRID, axis)
    tool = desk.take_up(Scissors())
    tool.options.action, tool.options.where = action, where  # type: ignore[assignment, union-attr]
    before, other = desk.mask.copy(), desk.segmentation.mask(2).copy()
    desk.drag(*OUTLINE)
    taken = through(desk, OUTLINE) != (where == "outside")
    wanted = before & ~taken if action == "erase" else before | taken
    np.testing.assert_array_equal(desk.mask, wanted)
    assert [step.label for step in desk.history.done] == ["Scissors" if action == "erase" else "Scissors fill"]
    desk.history.undo()
    np.testing.assert_array_equal(desk.mask, before)
    np.testing.assert_array_equal(desk.segmentation.mask(2), other)


def test_inside_and_outside_part_the_segment() -> None:
    parts = []
    for where in ("inside", "outside"):
        desk = Desk()
        desk.take_up(Scissors()).options.where = where  # type: ignore[union-attr, assignment]
        before = desk.mask.copy()
        desk.drag(*OUTLINE)
        parts.append(desk.mask)
    assert not (parts[0] & parts[1]).any()
    np.testing.assert_array_equal(parts[0] | parts[1], before)


def test_ctrl_fills_instead() -> None:
    desk = Desk()
    desk.take_up(Scissors())
    before = desk.mask.copy()
    desk.drag(*OUTLINE, held=("ctrl",))
    np.testing.assert_array_equal(desk.mask, before | through(desk, OUTLINE))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_depth_is_in_mm_and_the_sides_meet_in_the_slice(axis: int) -> None:
    taken = {}
    for reach in ("everything", "both sides", "one side", "other side"):
        desk = Desk(GRID, axis)
        options = desk.take_up(Scissors()).options
        options.reach, options.depth_mm = reach, 6.0  # type: ignore[union-attr, assignment]
        before = desk.mask.copy()
        desk.drag(*OUTLINE)
        taken[reach] = before & ~desk.mask
    np.testing.assert_array_equal(taken["one side"] | taken["other side"], taken["everything"])
    both = taken["one side"] & taken["other side"]
    np.testing.assert_array_equal(np.unique(desk.index(axis)[both]), [10])
    away = np.abs(desk.index(axis)[taken["both sides"]] - 10).max() * GRID.spacing[axis]
    assert away <= 3.0 < away + GRID.spacing[axis]


@pytest.mark.parametrize("shape", ["rectangle", "circle"])
def test_shapes_are_drawn_by_one_drag(shape: str) -> None:
    desk = Desk(STRAIGHT)
    desk.take_up(Scissors()).options.shape = shape  # type: ignore[union-attr, assignment]
    before = desk.mask.copy()
    desk.drag((10.0, 10.0), (11.0, 12.0), (13.5, 13.5))
    j, i = desk.index(1), desk.index(0)
    if shape == "rectangle":
        inside = (i >= 10) & (i <= 13) & (j >= 10) & (j <= 13)
        np.testing.assert_array_equal(before & ~desk.mask, before & inside)
    else:
        away = np.hypot(i - 10, j - 10)
        removed = before & ~desk.mask
        np.testing.assert_array_equal(removed, before & (away <= 3.5 * np.sqrt(2)))
    desk.drag((5.0, 5.0))
    assert len(desk.history.done) == 1, "a click cuts nothing"


@pytest.mark.parametrize("shape", ["free", "rectangle", "circle"])
def test_in_3d_it_takes_what_is_seen_inside(shape: str) -> None:
    desk = Desk(STRAIGHT, axis=1)
    desk.take_up(Scissors()).options.shape = shape  # type: ignore[union-attr, assignment]
    before = desk.mask.copy()
    path = [(155.0, 155.0), (234.0, 156.0), (235.0, 235.0), (156.0, 234.0)]
    desk.drag_in_3d(*(path if shape == "free" else (path[0], path[2])))
    x, y = 200 + 10 * (desk.index(0) - 12), 200 - 10 * (desk.index(2) - 10)
    if shape == "circle":
        inside = np.hypot(x - 155, y - 155) < np.hypot(80, 80)
    else:
        inside = (x > 155) & (x < 235) & (y > 155) & (y < 235)
    np.testing.assert_array_equal(desk.mask, before & ~inside)
    assert (before & inside).sum() > 100


def test_in_3d_depth_is_counted_from_the_crosshair() -> None:
    cut = {}
    for reach in ("everything", "one side", "other side", "both sides"):
        desk = Desk(STRAIGHT, axis=1)
        options = desk.take_up(Scissors()).options
        options.reach, options.depth_mm = reach, 4.0  # type: ignore[union-attr, assignment]
        before = desk.mask.copy()
        desk.drag_in_3d((0, 0), (400, 0), (400, 400), (0, 400))
        cut[reach] = np.unique(desk.index(1)[before & ~desk.mask]) - 11
    assert cut["everything"].tolist() == list(range(-7, 7))
    assert cut["one side"].tolist() == list(range(-7, 1)), "nearer to the eye"
    assert cut["other side"].tolist() == list(range(7))
    assert cut["both sides"].tolist() == [-2, -1, 0, 1, 2]


def test_the_outline_in_3d_is_shown_there_only() -> None:
    desk = Desk(STRAIGHT, axis=1)
    tool = desk.take_up(Scissors())
    for phase, point in (("press", (10.0, 10.0)), ("move", (50.0, 20.0)), ("move", (40.0, 60.0))):
        tool.pointer(PointerEvent(phase, (0.0, 0.0, 0.0), 1, sight=Sight(point, FRONT)))  # type: ignore[arg-type]
    (line,) = tool.cursor.lines
    assert line.in_3d
    seen = FRONT @ np.c_[np.array(line.points_lps), np.ones(3)].T
    np.testing.assert_allclose(seen[:2].T, [(10, 10), (50, 20), (40, 60)])
    assert tool.key("cancel")
    assert tool.cursor.lines == ()


def test_a_locked_or_empty_segment_is_not_cut() -> None:
    desk = Desk()
    desk.take_up(Scissors())
    before = desk.mask.copy()
    desk.segmentation.put_segment(replace(desk.segmentation.segment(1), locked=True))
    with pytest.raises(EditRefused, match="locked"):
        desk.drag(*OUTLINE)
    np.testing.assert_array_equal(desk.mask, before)
    desk.segmentation.put_segment(Segment(3, "empty"))
    desk.segmentation.active = 3
    desk.drag(*OUTLINE)
    assert not desk.history.done


# --- cut by plane


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_plane_parts_the_segment_in_every_plane(axis: int) -> None:
    parts = []
    for part in ("smaller", "larger"):
        desk = Desk(GRID, axis)
        desk.take_up(CutPlane()).options.part = part  # type: ignore[union-attr, assignment]
        before = desk.mask.copy()
        desk.drag((3.2, 6.1))
        assert desk.change() is None
        desk.drag((21.3, 8.4))
        desk.apply()
        parts.append(desk.mask.copy())
    assert not (parts[0] & parts[1]).any()
    np.testing.assert_array_equal(parts[0] | parts[1], before)
    assert parts[0].sum() > parts[1].sum() > 0
    # Above and below the line on the slice, in every slice alike.
    across, down = in_plane_axes(axis)
    below = desk.index(down) > 6.1 + (desk.index(across) - 3.2) * (8.4 - 6.1) / (21.3 - 3.2)
    np.testing.assert_array_equal(parts[0], before & below)


def test_an_end_may_be_taken_back_while_it_is_dragged() -> None:
    desk = Desk()
    tool = desk.take_up(CutPlane())
    desk.drag((5, 5))
    for phase in ("press", "move"):
        tool.pointer(PointerEvent(phase, desk.lps((20, 9)), 2))  # type: ignore[arg-type]  # literals
    assert tool.key("back")
    tool.pointer(PointerEvent("move", desk.lps((21, 9)), 2))
    tool.pointer(PointerEvent("release", desk.lps((21, 9)), 2))
    assert tool.cursor.lines[0].points_lps == (desk.lps((5, 5)),)


def test_ends_are_dragged_and_taken_back_and_nothing_is_written_before_enter() -> None:
    desk = Desk()
    tool = desk.take_up(CutPlane())
    before = desk.mask.copy()
    desk.drag((5, 5), (20, 9))
    assert tool.cursor.lines[0].points_lps == (desk.lps((20, 9)),), "a drag moves the end that was set"
    desk.drag((3, 12))
    desk.drag((3, 12), (4, 15))
    assert tool.cursor.lines[0].points_lps == (desk.lps((20, 9)), desk.lps((4, 15)))
    tool.pointer(PointerEvent("hover", desk.lps((1, 1)), 2))
    assert tool.key("back")
    assert len(tool.cursor.lines[0].points_lps) == 2, "the line follows the pointer"
    assert tool.key("cancel")
    assert not tool.key("cancel")
    np.testing.assert_array_equal(desk.mask, before)


def test_the_part_that_is_cut_off_can_be_a_segment_of_its_own() -> None:
    desk = Desk()
    desk.take_up(CutPlane()).options.becomes = "a new segment"  # type: ignore[union-attr, assignment]
    before = desk.mask.copy()
    desk.drag((3, 6))
    desk.drag((21, 8))
    desk.tool.pointer(PointerEvent("double", desk.lps((21, 8)), 2))
    added = next(s for s in desk.segmentation.segments if s.value not in (1, 2))
    assert added.name == "s1 2"
    np.testing.assert_array_equal(desk.mask | desk.segmentation.mask(added.value), before)
    assert len(desk.history.done) == 1
    assert desk.tool.cursor.lines == ()


def test_a_plane_in_3d_goes_through_the_eye() -> None:
    desk = Desk(STRAIGHT, axis=1)
    desk.take_up(CutPlane())
    before = desk.mask.copy()
    desk.drag_in_3d((100.0, 176.0))
    desk.drag_in_3d((300.0, 176.0))
    (line,) = desk.tool.cursor.lines
    assert line.in_3d
    desk.apply()
    k = np.indices(STRAIGHT.shape)[0]
    np.testing.assert_array_equal(desk.mask, before & (200 - 10 * (k - 10) > 176))


@pytest.mark.parametrize("kind", [Scissors, CutPlane])
def test_another_view_begins_anew(kind: type[Scissors] | type[CutPlane]) -> None:
    desk = Desk(STRAIGHT, axis=1)
    desk.take_up(kind())
    desk.drag((3, 6))
    desk.drag_in_3d((100.0, 170.0))
    assert all(line.in_3d for line in desk.tool.cursor.lines)
    assert not desk.history.done


def test_the_cost_of_a_cut_is_that_of_the_segment() -> None:
    """Only the box of the segment is looked at, however long and far the outline goes."""
    desk = Desk(STRAIGHT, axis=1)
    desk.take_up(Scissors())
    far = [(200 + 1e5 * np.cos(a), 200 + 1e5 * np.sin(a)) for a in np.linspace(0, 6.2, 4000)]
    desk.drag_in_3d(*far)
    assert not desk.mask.any()
    (done,) = desk.history.done
    assert done.nbytes < 12 * 14 * 16 / 8 + 1000, "a bit for each voxel of the box"
