"""What brush, eraser and smudge share: their size, the pen, edges; and what a finger moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medviewer.core.geometry import Geometry, Vec3, vec3
from medviewer.core.segmentation import Segment
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.editor import LabelEditor
from medviewer.editing.history import UndoStack
from medviewer.editing.round_tool import BrushOptions, RoundTool
from medviewer.editing.tool import PointerEvent, ToolContext
from medviewer.editing.tools.brush import Brush
from medviewer.editing.tools.smudge import Smudge

TURN = (0.8, -0.6, 0.0, 0.48, 0.64, 0.6, -0.36, -0.48, 0.8)
GRID = Geometry((40, 36, 30), (0.7, 0.9, 2.5), (-3.0, 12.0, 7.0), TURN)


class Desk:
    def __init__(self, array: np.ndarray | None = None) -> None:
        self.workspace = Workspace()
        image = np.zeros(GRID.shape, np.int16) if array is None else array
        self.workspace.add_volume(Volume(image, GRID, id="v"))
        self.segmentation = self.workspace.segmentation("v")
        self.segmentation.put_group(self.segmentation.new_group())
        self.segmentation.put_segment(Segment(1, "s"))
        self.segmentation.put_segment(Segment(2, "t"))
        self.segmentation.active = 1
        self.history = UndoStack()
        self.editor = LabelEditor(self.workspace, self.history, "v")

    def take_up(self, tool: RoundTool) -> RoundTool:
        tool.activate(ToolContext(self.editor))
        return tool

    @property
    def mask(self) -> np.ndarray:
        return self.segmentation.mask(1)

    def drag(self, tool: RoundTool, *path: tuple[float, float, float], axis: int = 2, **more: float) -> None:
        phases = ["press", *["move"] * (len(path) - 1), "release"]
        for phase, place in zip(phases, [*path, path[-1]], strict=True):
            tool.pointer(PointerEvent(phase, at(place), axis, **more))  # type: ignore[arg-type]


def at(place: tuple[float, float, float]) -> Vec3:
    return vec3(GRID.index_to_lps(place))


@pytest.fixture(autouse=True)
def options() -> Iterator[BrushOptions]:
    shared = RoundTool.shared_options
    old = replace(shared)
    for name, value in vars_of(BrushOptions()).items():
        setattr(shared, name, value)
    yield shared
    for name, value in vars_of(old).items():
        setattr(shared, name, value)


def vars_of(some: BrushOptions) -> dict[str, object]:
    return {name: getattr(some, name) for name in BrushOptions.__slots__}


def test_shift_and_the_wheel_change_the_size_by_a_fifth_within_its_range(options: BrushOptions) -> None:
    tool = Desk().take_up(Brush())
    assert not tool.wheel(1, frozenset())
    assert not tool.wheel(1, frozenset({"ctrl"}))
    assert tool.wheel(1, frozenset({"shift"}))
    assert options.radius_mm == pytest.approx(6.0)
    assert tool.wheel(-2, frozenset({"shift"}))
    assert options.radius_mm == pytest.approx(5.0 / 1.2, abs=0.01)
    for steps, limit in ((60, 100.0), (-90, 0.5)):
        tool.wheel(steps, frozenset({"shift"}))
        assert options.radius_mm == limit
    options.size = "% of view"
    tool.wheel(1, frozenset({"shift"}))
    assert (options.radius_percent, options.radius_mm) == (6.0, 0.5)


def test_a_part_of_the_view_is_as_large_as_the_view(options: BrushOptions) -> None:
    options.size, options.radius_percent = "% of view", 10.0
    desk = Desk()
    tool = desk.take_up(Brush())
    assert tool.cursor.radius_mm == options.radius_mm, "nobody knows the view yet"
    for view_mm in (40.0, 80.0):
        tool.pointer(PointerEvent("hover", at((20, 18, 15)), 2, view_mm=view_mm))
        assert tool.cursor.radius_mm == pytest.approx(view_mm / 10)
    desk.drag(tool, (20, 18, 15), view_mm=40.0)
    reach = np.linalg.norm(GRID.index_to_lps(np.argwhere(desk.mask)[:, ::-1]) - at((20, 18, 15)), axis=1).max()
    assert 3.0 < reach <= 4.0


def test_a_light_pen_draws_thin_and_its_lifting_makes_no_blot(options: BrushOptions) -> None:
    counts = []
    for pressure in (0.0, 0.5, 1.0):
        desk = Desk()
        tool = desk.take_up(Brush())
        for phase, force in (("press", pressure), ("move", pressure), ("release", 1.0)):
            tool.pointer(PointerEvent(phase, at((20, 18, 15)), 2, pressure=force))  # type: ignore[arg-type]
        counts.append(desk.mask.sum())
    assert 0 < counts[0] < counts[1] < counts[2]
    options.pen_pressure = False
    desk = Desk()
    desk.drag(desk.take_up(Brush()), (20, 18, 15), pressure=0.1)
    assert desk.mask.sum() == counts[2]


def noisy_bar() -> np.ndarray:
    image = np.random.default_rng(0).normal(0, 8, GRID.shape)
    image[:, :, 15:26] += 100
    return image.astype(np.int16)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("shape", ["disc", "sphere"])
@pytest.mark.parametrize("tolerance", [0.0, 40.0])
def test_an_adaptive_brush_stops_at_edges(options: BrushOptions, axis: int, shape: str, tolerance: float) -> None:
    options.shape, options.adaptive, options.tolerance = shape, True, tolerance  # type: ignore[assignment]
    options.radius_mm = 6.0
    desk = Desk(noisy_bar())
    desk.drag(desk.take_up(Brush()), (20, 18, 15), (20, 20, 15), axis=axis)
    painted = desk.mask
    assert painted[:, :, :15].sum() + painted[:, :, 26:].sum() == 0
    plain = Desk(noisy_bar())
    options.adaptive = False
    plain.drag(plain.take_up(Brush()), (20, 18, 15), (20, 20, 15), axis=axis)
    assert not (painted & ~plain.mask).any()
    assert painted[:, :, 15:26].sum() > 0.9 * plain.mask[:, :, 15:26].sum()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 45), st.floats(-5, 40), st.floats(-3, 33)), min_size=1, max_size=4))
def test_an_adaptive_brush_never_paints_more_than_the_brush(path: list[tuple[float, float, float]]) -> None:
    masks = []
    for adaptive in (True, False):
        RoundTool.shared_options.adaptive = adaptive
        desk = Desk(noisy_bar())
        desk.drag(desk.take_up(Brush()), *path)
        masks.append(desk.mask)
    RoundTool.shared_options.adaptive = False
    assert not (masks[0] & ~masks[1]).any()


@pytest.mark.parametrize("kind", [Brush, Smudge])
def test_escape_takes_back_what_is_in_the_hand(kind: type[RoundTool]) -> None:
    desk = smudged_desk()
    before = desk.mask.copy()
    tool = desk.take_up(kind())
    assert not tool.key("cancel")
    for phase, i in (("press", 26.0), ("move", 30.0)):
        tool.pointer(PointerEvent(phase, at((i, 18, 15)), 2))  # type: ignore[arg-type]
    assert (desk.mask != before).any()
    assert tool.key("cancel")
    np.testing.assert_array_equal(desk.mask, before)
    assert not desk.history.done
    assert not tool.pointer(PointerEvent("move", at((33, 18, 15)), 2))


def smudged_desk() -> Desk:
    desk = Desk()
    with desk.editor.stroke("block") as stroke:
        block = np.zeros(GRID.shape, bool)
        block[9:21, 8:28, 10:28] = True
        stroke.paint(GRID.region, block)
    desk.history.clear()
    return desk


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_finger_moves_the_border_in_its_slice_only(axis: int) -> None:
    desk = smudged_desk()
    before = desk.mask.copy()
    start, end = [19.0, 18.0, 15.0], [19.0, 18.0, 15.0]
    along = (axis + 1) % 3
    start[along] = {0: 26.0, 1: 26.0, 2: 19.5}[along]
    end[along] = start[along] + {0: 6.0, 1: 5.0, 2: 3.0}[along]
    desk.drag(desk.take_up(Smudge()), tuple(start), tuple(end), axis=axis)  # type: ignore[arg-type]
    changed = desk.mask != before
    assert changed.any()
    assert set(np.argwhere(changed)[:, 2 - axis]) == {round(start[axis])}
    assert desk.mask.sum() > before.sum(), "pushed from inside outwards"
    assert [step.label for step in desk.history.done] == ["Smudge"]
    desk.history.undo()
    np.testing.assert_array_equal(desk.mask, before)


def test_a_finger_pushes_in_from_outside_and_leaves_locked_neighbours_alone() -> None:
    desk = smudged_desk()
    with desk.editor.stroke("other", 2) as stroke:
        other = np.zeros(GRID.shape, bool)
        other[15, 8:28, 29:34] = True
        stroke.paint(GRID.region, other)
    desk.segmentation.put_segment(replace(desk.segmentation.segment(2), locked=True))
    before = desk.mask.copy()
    tool = desk.take_up(Smudge())
    desk.drag(tool, (30, 18, 15), (26, 18, 15), (23, 18, 15))
    assert (before & ~desk.mask).any()
    assert not (desk.mask & ~before).any()
    desk.drag(tool, (22, 18, 15), (28, 18, 15), (33, 18, 15))
    np.testing.assert_array_equal(desk.segmentation.mask(2), other)
