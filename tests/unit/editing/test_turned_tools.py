"""What tools do in views that are turned against the grid of the image, on a ball."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from medviewer.core.geometry import Geometry, Points, Vec3, vec3
from medviewer.core.prompt import Prompt
from medviewer.core.segmentation import Segment
from medviewer.core.tilt import STRAIGHT, tilted_grid, turned
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.editor import EditRefused, LabelEditor
from medviewer.editing.effect import EditScene, Effect
from medviewer.editing.history import UndoStack
from medviewer.editing.tool import Modifier, Phase, PointerEvent, Tool, ToolContext, all_tools
from medviewer.editing.tools.brush import Brush
from medviewer.imaging.planes import Slab, in_plane_axes, level_axes
from medviewer.jobs.job import NullContext

TURN = (0.8, -0.6, 0.0, 0.48, 0.64, 0.6, -0.36, -0.48, 0.8)
SHEAR = (1.0, 0.0, 0.0, 0.0, 1.0, 0.342, 0.0, 0.0, 0.94)
ANISOTROPIC = Geometry((54, 50, 22), (1.0, 1.1, 2.5), (-3.0, 12.0, 7.0), TURN)
SHEARED = Geometry((54, 50, 22), (1.0, 1.1, 2.5), (5.0, 1.0, -7.0), SHEAR)
GRIDS = pytest.mark.parametrize("grid", [ANISOTROPIC, SHEARED], ids=["anisotropic", "sheared"])
AXES = pytest.mark.parametrize("axis", [0, 1, 2])
RADIUS = 12.0


class Desk:
    """A bright ball, a turned view of it, and a segment; places in the view are mm (across, down) from the middle."""

    def __init__(self, grid: Geometry, axis: int) -> None:
        self.grid, self.axis = grid, axis
        self.tilted = tilted_grid(grid, turned(turned(STRAIGHT, (0.0, 0.0, 1.0), 0.4), (1.0, 0.3, 0.0), 0.5))
        self.middle = np.array(grid.center_lps)
        self.centers = grid.index_to_lps(np.argwhere(np.ones(grid.shape, np.bool_))[:, ::-1]).reshape(*grid.shape, 3)
        self.ball = np.linalg.norm(self.centers - self.middle, axis=-1) < RADIUS
        noise = np.random.default_rng(0).normal(0, 4, grid.shape)
        self.workspace = Workspace()
        self.volume = Volume((100 * self.ball + noise).astype(np.int16), grid, id="v")
        self.workspace.add_volume(self.volume)
        self.segmentation = self.workspace.segmentation("v")
        self.segmentation.put_group(self.segmentation.new_group())
        self.segmentation.put_segment(Segment(1, "s"))
        self.segmentation.active = 1
        self.history = UndoStack()
        self.editor = LabelEditor(self.workspace, self.history, "v")
        self.asked: list[Prompt] = []
        self.context = ToolContext(self.editor, lambda _task, prompt: self.asked.append(prompt))
        self.normal = self.tilted.direction_matrix[:, axis]
        self.flat = self.tilted.direction_matrix[:, list(in_plane_axes(axis))]
        self.depth: Points = (self.centers - self.middle) @ self.normal
        #: In the plane, from the middle.
        self.away: Points = np.linalg.norm((self.centers - self.middle) @ self.flat, axis=-1)
        self.slab = Slab(grid, self.tilted, axis, vec3(self.middle))
        self.here = self.slab.holds(grid.region)

    @property
    def mask(self) -> np.ndarray:
        return self.segmentation.groups[0].labels == 1

    def at(self, across: float, down: float, depth: float = 0.0) -> Vec3:
        return vec3(self.middle + self.flat @ (across, down) + depth * self.normal)

    def ring(self, radius: float, count: int = 24) -> list[Vec3]:
        turns = np.linspace(0, 2 * np.pi, count, endpoint=False)
        return [self.at(radius * np.cos(t), radius * np.sin(t)) for t in turns]

    def make(self, tool_id: str, **options: Any) -> Tool:
        tool = next(info for info in all_tools() if info.id == tool_id).make()
        for name, value in options.items():
            setattr(tool.options, name, value)  # type: ignore[attr-defined]  # every tool that is given some has them
        tool.activate(self.context)
        return tool

    def event(self, tool: Tool, phase: Phase, lps: Vec3, *modifiers: Modifier) -> None:
        tool.pointer(PointerEvent(phase, lps, self.axis, frozenset(modifiers), tilted=self.tilted))

    def drag(self, tool: Tool, points: list[Vec3], *modifiers: Modifier) -> None:
        self.event(tool, "press", points[0], *modifiers)
        for point in points[1:]:
            self.event(tool, "move", point, *modifiers)
        self.event(tool, "release", points[-1], *modifiers)

    def click(self, tool: Tool, points: list[Vec3]) -> None:
        for point in points:
            self.event(tool, "hover", point)
            self.drag(tool, [point])

    def dab(self, radius_mm: float, depth: float = 0.0) -> None:
        brush = Brush()
        brush.options = replace(brush.options, radius_mm=radius_mm)
        brush.activate(self.context)
        self.drag(brush, [self.at(0, 0, depth)])

    def fill(self, mask: np.ndarray) -> None:
        with self.editor.stroke("Prepare") as stroke:
            stroke.paint(self.grid.region, mask)

    def apply(self, tool: Tool) -> None:
        assert isinstance(tool, Effect)
        segment = self.segmentation.segment(1)
        plan = tool.plan(EditScene(self.volume, self.segmentation, segment, vec3(self.middle), self.axis, self.tilted))
        assert plan is not None
        self.editor.apply(plan(NullContext()))


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))


@GRIDS
@AXES
def test_the_wand_takes_of_a_slice_what_the_plane_passes_through(grid: Geometry, axis: int) -> None:
    desk = Desk(grid, axis)
    tool = desk.make("wand", grows="in the slice", automatic=False, tolerance=40.0)
    desk.click(tool, [desk.at(1, 2)])
    desk.apply(tool)
    np.testing.assert_array_equal(desk.mask, desk.ball & desk.here)


@GRIDS
@AXES
def test_dragging_up_on_the_screen_makes_the_wand_take_more(grid: Geometry, axis: int) -> None:
    desk = Desk(grid, axis)
    tool = desk.make("wand", automatic=False, tolerance=40.0)
    down = level_axes(grid, axis, desk.tilted)[:, 1]
    up = -down if (-down[1] if axis == 2 else down[2]) < 0 else down
    desk.drag(tool, [desk.at(0, 0), vec3(desk.middle + 15 * up)])
    assert tool.options.tolerance == pytest.approx(80.0, rel=1e-3)  # type: ignore[attr-defined]


@GRIDS
@AXES
@pytest.mark.parametrize("tool_id", ["livewire", "level_tracing"])
def test_edges_are_found_in_the_turned_slice(grid: Geometry, axis: int, tool_id: str) -> None:
    desk = Desk(grid, axis)
    tool = desk.make(tool_id)
    if tool_id == "livewire":
        desk.click(tool, desk.ring(RADIUS, 6))
        tool.key("apply")
    else:
        # Where the values are half way between ball and rest.
        near = min(np.arange(9, 15, 0.1), key=lambda r: abs(_value(desk, r) - 50))
        desk.event(tool, "hover", desk.at(float(near), 0))
        assert tool.cursor.lines
        desk.event(tool, "press", desk.at(float(near), 0))
    assert not desk.mask[~desk.here].any()
    assert dice(desk.mask, desk.here & (desk.away < RADIUS)) > 0.9


def _value(desk: Desk, across: float) -> float:
    from scipy.ndimage import map_coordinates

    place = desk.grid.lps_to_index(desk.at(across, 0))[::-1, None]
    return float(map_coordinates(desk.volume.array, place, float, order=1)[0])


@GRIDS
@AXES
def test_smudging_moves_the_border_along_in_the_slice(grid: Geometry, axis: int) -> None:
    desk = Desk(grid, axis)
    desk.fill(desk.ball)
    before = desk.mask
    tool = desk.make("smudge")
    kept = replace(tool.options)  # type: ignore[attr-defined]  # shared with the brush
    try:
        tool.options.radius_mm = 8.0  # type: ignore[attr-defined]
        desk.drag(tool, [desk.at(11, 0), desk.at(14, 0), desk.at(18, 0)])
    finally:
        tool.options.radius_mm = kept.radius_mm  # type: ignore[attr-defined]
    changed = desk.mask != before
    across = (desk.centers - desk.middle) @ desk.flat[:, 0]
    assert changed.sum() > 10
    assert not changed[~desk.here].any()
    assert (desk.mask & ~before).sum() > 10
    assert across[changed].min() > 0
    assert len(desk.history.done) == 2
    desk.history.undo()
    np.testing.assert_array_equal(desk.mask, before)


@GRIDS
@AXES
@pytest.mark.parametrize("reach", ["everything", "both sides", "one side", "other side"])
def test_scissors_cut_along_the_normal_of_the_view(grid: Geometry, axis: int, reach: str) -> None:
    desk = Desk(grid, axis)
    desk.fill(desk.ball)
    tool = desk.make("scissors", reach=reach, depth_mm=10.0)
    desk.drag(tool, desk.ring(8.0))
    desk.apply(tool)
    world = int(np.argmax(np.abs(desk.normal)))
    ahead = desk.depth * np.sign(desk.normal[world]) * (-1 if world == 1 else 1)
    deep = {"both sides": np.abs(desk.depth) - 5, "one side": -ahead, "other side": ahead}.get(
        reach, desk.depth * 0 - 1
    )
    clear = (np.abs(desk.away - 8.0) > 0.4) & (np.abs(deep) > 0.01)
    np.testing.assert_array_equal(desk.mask[clear], (desk.ball & ~((desk.away < 8) & (deep < 0)))[clear])
    fills = desk.make("scissors", action="fill")
    desk.drag(fills, desk.ring(3.0))
    desk.apply(fills)
    assert desk.mask[desk.away < 2.5].all()


@GRIDS
@AXES
def test_a_plane_cuts_straight_through_the_screen(grid: Geometry, axis: int) -> None:
    desk = Desk(grid, axis)
    desk.fill(desk.ball)
    tool = desk.make("cut_plane")
    desk.click(tool, [desk.at(4, -20), desk.at(4, 20)])
    desk.apply(tool)
    across = (desk.centers - desk.middle) @ desk.flat[:, 0]
    clear = np.abs(across - 4) > 1e-6
    np.testing.assert_array_equal(desk.mask[clear], (desk.ball & (across < 4))[clear])


@GRIDS
@AXES
def test_a_threshold_of_the_shown_slice_leaves_the_others(grid: Geometry, axis: int) -> None:
    desk = Desk(grid, axis)
    before = desk.away > 15
    desk.fill(before)
    tool = desk.make("threshold", method="Otsu", histogram_of="shown slice", fill="shown slice")
    desk.apply(tool)
    np.testing.assert_array_equal(desk.mask, np.where(desk.here, desk.ball, before))


@GRIDS
@AXES
@pytest.mark.parametrize("towards", ["next", "previous", "both"])
def test_copies_lie_behind_each_other_along_the_normal(grid: Geometry, axis: int, towards: str) -> None:
    desk = Desk(grid, axis)
    desk.dab(9.0)
    source = desk.mask
    tool = desk.make("copy_slices", slices=5, towards=towards)
    desk.apply(tool)
    np.testing.assert_array_equal(desk.mask[desk.here], source[desk.here])
    step = desk.tilted.spacing[0]
    blur = float(np.linalg.norm(grid.spacing)) / 2
    for number in range(-6, 7):
        slab = Slab(grid, desk.tilted, axis, desk.at(0, 0, number * step))
        here = slab.holds(grid.region) & ~desk.here
        if number == 0 or ((number > 0) != (towards != "previous") and towards != "both") or abs(number) > 5:
            continue
        assert desk.mask[here & (desk.away < 9.0 - blur)].all()
    assert not desk.mask[desk.away > 9.0 + blur].any()
    far = 5 * step + desk.slab.half_mm + 1e-6
    assert desk.depth[desk.mask].max() <= (far if towards != "previous" else desk.slab.half_mm)
    assert desk.depth[desk.mask].min() >= -(far if towards != "next" else desk.slab.half_mm)


def test_nothing_in_the_turned_slice_is_said() -> None:
    desk = Desk(ANISOTROPIC, 2)
    with pytest.raises(EditRefused):
        desk.apply(desk.make("copy_slices"))


@GRIDS
@AXES
def test_slices_that_were_skipped_in_a_turned_view_are_filled(grid: Geometry, axis: int) -> None:
    desk = Desk(grid, axis)
    for radius, depth in ((9.0, -8.0), (7.0, 0.0), (7.0, 8.0)):
        desk.dab(radius, round(depth / desk.tilted.spacing[0]) * desk.tilted.spacing[0])
    drawn = desk.mask
    desk.apply(desk.make("fill_between"))
    in_drawn = np.min([np.abs(desk.depth - d) for d in (-8.0, 0.0, 8.0)], axis=0) <= desk.slab.half_mm
    np.testing.assert_array_equal(desk.mask[in_drawn], drawn[in_drawn])
    wanted = np.interp(desk.depth, (-8.0, 0.0, 8.0), (9.0, 7.0, 7.0))
    inside = (np.abs(desk.depth) < 8.0) & ~in_drawn
    blur = float(np.linalg.norm(grid.spacing)) / 2
    assert desk.mask[inside & (desk.away < wanted - blur)].all()
    assert not desk.mask[inside & (desk.away > wanted + blur)].any()
    assert dice(desk.mask & inside, inside & (desk.away < wanted)) > 0.9
    assert not desk.mask[np.abs(desk.depth) > 8.0 + desk.slab.half_mm].any()
    done = desk.mask
    desk.apply(desk.make("fill_between"))
    np.testing.assert_array_equal(desk.mask, done)


@GRIDS
def test_slices_drawn_on_the_grid_are_filled_on_it_from_a_turned_view(grid: Geometry) -> None:
    desk = Desk(grid, 2)
    drawn = np.zeros(grid.shape, np.bool_)
    drawn[[5, 10, 15]] = (desk.centers[10] - desk.middle) @ grid.direction_matrix[:, 0] > -6
    drawn &= np.linalg.norm(desk.centers - desk.centers[10, 25, 27], axis=-1) < 20
    desk.fill(drawn)
    desk.apply(desk.make("fill_between"))
    for k in (5, 10, 15):
        np.testing.assert_array_equal(desk.mask[k], drawn[k])
    assert all(desk.mask[k].any() for k in range(5, 16))


@GRIDS
@AXES
def test_prompts_are_marked_on_the_turned_plane(grid: Geometry, axis: int) -> None:
    desk = Desk(grid, axis)
    desk.drag(desk.make("click_segment"), [desk.at(-8, -6), desk.at(8, 6)])
    for marks, path in (("scribbles", [desk.at(x, 0) for x in range(-8, 9)]), ("lassos", desk.ring(9.0))):
        desk.drag(desk.make("click_segment", marks=marks), path)
    box, scribble, lasso = desk.asked
    corners = np.array(box.points)
    assert (box.kind, len(corners)) == ("box", 4)
    np.testing.assert_allclose((corners - desk.middle) @ desk.normal, 0, atol=1e-9)
    np.testing.assert_allclose(
        np.sort(np.abs(np.diff(corners, axis=0)[:2] @ level_axes(grid, axis, desk.tilted)), axis=1)[:, 0], 0, atol=1e-9
    )
    for prompt in (scribble, lasso):
        assert prompt.crop is not None
        region, mask = prompt.crop
        assert mask.any()
        assert desk.here[region.slices][mask].all()
