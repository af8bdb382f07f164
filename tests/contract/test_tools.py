"""Every tool there is keeps the contract: it works in all planes, tells what it needs, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from medviewer.core.geometry import Geometry, Vec3, vec3
from medviewer.core.prompt import Prompt
from medviewer.core.segmentation import Segment
from medviewer.core.tilt import tilted_grid
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.change import Change
from medviewer.editing.editor import EditRefused, LabelEditor
from medviewer.editing.effect import Compute, EditScene, Effect
from medviewer.editing.history import UndoStack
from medviewer.editing.tool import Phase, PointerEvent, Tool, ToolContext, ToolGroup, ToolInfo, all_tools
from medviewer.imaging.planes import Slab, level_axes, slice_image
from medviewer.jobs.job import NullContext
from medviewer.plugin_host.forms import describe_params

ROOT = Path(__file__).resolve().parents[2]
ICONS = ROOT / "resources" / "icons" / "tools"
TOOLS = all_tools()
#: Turned and anisotropic, so that a tool which mixes up frames or units shows it.
_TURN = (0.8, -0.6, 0.0, 0.48, 0.64, 0.6, -0.36, -0.48, 0.8)
GRID = Geometry((20, 18, 14), (0.7, 1.3, 2.5), (-3.0, 12.0, 7.0), _TURN)
#: As of a gantry that was tilted.
SHEARED = Geometry((20, 18, 14), (0.7, 1.3, 2.5), (5.0, 1.0, -7.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.342, 0.0, 0.0, 0.94))
#: About 40 degrees, about none of the axes.
_TILT = (0.8, -0.36, 0.48, 0.6, 0.48, -0.64, 0.0, 0.8, 0.6)
#: What draws in the slice that is looked at; in a turned view, in the voxels that its plane passes through.
IN_SLICE = (
    "brush", "eraser", "smudge", "polygon", "lasso", "rectangle", "ellipse", "livewire", "level_tracing"
)  # fmt: skip
#: What else asks how the view lies, whatever its options are.
ASKS_VIEW = ("scissors", "cut_plane", "copy_slices", "fill_between", "click_segment")


class Desk:
    """A small image with a bright ball, two segments, and an editor."""

    def __init__(self, grid: Geometry = GRID) -> None:
        self.grid = grid
        k, j, i = np.indices(grid.shape)
        ball = ((k - 7) ** 2 + (j - 9) ** 2 + (i - 10) ** 2 < 16).astype(np.int16)
        self.volume = Volume(100 * ball, grid, name="ball", modality="CT")
        self.workspace = Workspace()
        self.workspace.add_volume(self.volume)
        self.history = UndoStack()
        self.segmentation = self.workspace.segmentation(self.volume.id)
        group = self.segmentation.new_group()
        group.labels[5:10, 7:12, 8:13] = 1
        group.labels[2:4, 3:6, 3:6] = 2
        self.segmentation.put_group(group)
        for value, name in ((1, "one"), (2, "two")):
            self.segmentation.put_segment(Segment(value, name, group=group.id))
        self.segmentation.active = 1
        self.editor = LabelEditor(self.workspace, self.history, self.volume.id)
        self.asked: list[Prompt] = []
        self.context = ToolContext(self.editor, lambda task, prompt: self.asked.append(prompt))

    @property
    def labels(self) -> np.ndarray:
        return self.segmentation.groups[0].labels

    def scene(self, axis: int, tilted: Geometry | None = None) -> EditScene:
        active = self.segmentation.segment(self.segmentation.active)
        here = vec3(self.grid.index_to_lps((10, 9, 7)))
        return EditScene(self.volume, self.segmentation, active, here, axis, tilted)


def lps(i: float, j: float, k: float) -> tuple[float, float, float]:
    return vec3(GRID.index_to_lps((i, j, k)))


def drag(tool: Tool, axis: int) -> None:
    """Click, drag and double-click across the middle of the plane."""
    other = [n for n in range(3) if n != axis]
    path = []
    for step in (-2.0, 0.0, 2.0):
        index = [10.0, 9.0, 7.0]
        index[other[0]] += step
        index[other[1]] += step / 2
        path.append(lps(*index))
    tool.pointer(PointerEvent("hover", path[0], axis))
    tool.pointer(PointerEvent("press", path[0], axis))
    for point in path[1:]:
        tool.pointer(PointerEvent("move", point, axis))
    tool.pointer(PointerEvent("release", path[-1], axis))
    tool.pointer(PointerEvent("double", path[-1], axis))


@pytest.fixture
def desk() -> Desk:
    return Desk()


def planned(tool: Effect, scene: EditScene) -> Compute | None:
    """What the tool would compute; None also where it says that something has to be chosen first."""
    try:
        return tool.plan(scene)
    except EditRefused:
        return None


@pytest.mark.parametrize("info", TOOLS, ids=lambda info: info.id)
def test_tool_is_described(info: ToolInfo) -> None:
    assert info.title
    assert info.group in get_args(ToolGroup)
    assert (ICONS / f"{info.id}.svg").is_file()
    made = info.make()
    assert isinstance(made, Tool)
    options = getattr(made, "options", None)
    if options is not None:
        assert is_dataclass(options)
        assert describe_params(type(options))


@pytest.mark.parametrize("info", TOOLS, ids=lambda info: info.id)
def test_tool_is_in_the_guide(info: ToolInfo) -> None:
    guide = (ROOT / "docs" / "editing.md").read_text(encoding="utf-8")
    if info.group == "model":
        assert f"*{info.title}* ({info.shortcut})" in guide
        return
    row = next(line for line in guide.splitlines() if f"(images/tools/{info.id}.png)" in line)
    assert f"| {info.title} |" in row
    assert row.rstrip(" |").endswith(info.shortcut)
    assert (ROOT / "docs" / "images" / "tools" / f"{info.id}.png").is_file()


def test_no_two_tools_share_an_id_or_a_shortcut() -> None:
    keys = [info.shortcut for info in TOOLS if info.shortcut]
    assert len(set(keys)) == len(keys)
    assert len({info.id for info in TOOLS}) == len(TOOLS)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("info", TOOLS, ids=lambda info: info.id)
def test_tool_works_in_every_plane_and_is_undone_in_named_steps(desk: Desk, info: ToolInfo, axis: int) -> None:
    before = desk.labels.copy()
    segments = desk.segmentation.segments
    tool = info.make()
    tool.activate(desk.context)
    drag(tool, axis)
    tool.key("apply")
    if isinstance(tool, Effect):
        plan = planned(tool, desk.scene(axis))
        if plan is not None:
            change = plan(NullContext())
            assert isinstance(change, Change)
            desk.editor.apply(change)
    tool.deactivate()
    assert not desk.editor.stroke_open
    assert all(step.label for step in desk.history.done)
    while desk.history.undo():
        pass
    np.testing.assert_array_equal(desk.labels, before)
    assert desk.segmentation.segments == segments


@pytest.mark.parametrize("info", TOOLS, ids=lambda info: info.id)
def test_escape_leaves_nothing(desk: Desk, info: ToolInfo) -> None:
    before = desk.labels.copy()
    tool = info.make()
    tool.activate(desk.context)
    tool.pointer(PointerEvent("press", lps(9, 9, 7), 2))
    tool.key("cancel")
    tool.deactivate()
    if not desk.history.done:
        np.testing.assert_array_equal(desk.labels, before)


@pytest.mark.parametrize("info", TOOLS, ids=lambda info: info.id)
def test_tool_never_changes_a_locked_segment(desk: Desk, info: ToolInfo) -> None:
    desk.segmentation.put_segment(replace(desk.segmentation.segment(2), locked=True))
    locked = desk.labels == 2
    tool = info.make()
    tool.activate(desk.context)
    drag(tool, 2)
    tool.key("apply")
    if isinstance(tool, Effect):
        plan = planned(tool, desk.scene(2))
        change = plan(NullContext()) if plan is not None else Change("nothing")
        kept = tuple(part for part in change.masks if part.value != 2)
        desk.editor.apply(replace(change, masks=kept))
    tool.deactivate()
    np.testing.assert_array_equal(desk.labels == 2, locked)


class Turned:
    """The middle slice of a view that is turned, and what the pointer does there."""

    def __init__(self, grid: Geometry, axis: int) -> None:
        self.tilted, self.axis = tilted_grid(grid, _TILT), axis
        index = self.tilted.lps_to_index(grid.index_to_lps((10, 9, 7)))
        index[axis] = round(float(index[axis]))
        self.index, self.middle = index, self.tilted.index_to_lps(index)
        self.axes = level_axes(grid, axis, self.tilted)
        self.slab = Slab(grid, self.tilted, axis, self.at(0, 0))

    def at(self, across: float, down: float) -> Vec3:
        """A point of the slice, in mm on the screen from the middle."""
        return vec3(self.middle + self.axes @ (across, down))

    def edge(self, volume: Volume) -> Vec3:
        """A point of the slice on the edge of the ball."""
        number = round(float(self.index[self.axis]))
        picture = slice_image(volume.array, volume.geometry, self.tilted, self.axis, number)[:, :]
        pixel = np.unravel_index(int(np.nanargmin(np.abs(picture - 50))), picture.shape)
        return vec3(self.slab.lps_of(np.array([pixel], float))[0])

    def use(self, tool: Tool, view: Geometry | None, start: Vec3, clicks: bool) -> None:
        """Hover, then click or drag around, and double-click; in an event `view` is the grid that is told."""
        ring = [start, self.at(5, -3), self.at(4, 4)]
        events: list[tuple[Phase, Vec3]] = [("hover", ring[0]), ("press", ring[0])]
        for point in ring[1:]:
            events += [("release", point), ("hover", point), ("press", point)] if clicks else [("move", point)]
        for phase, point in [*events, ("release", ring[2]), ("double", ring[2])]:
            tool.pointer(PointerEvent(phase, point, self.axis, tilted=view))


def used(desk: Desk, info: ToolInfo, turned: Turned, view: Geometry | None) -> np.ndarray:
    """Return the labels that a tool leaves."""
    tool = info.make()
    options = getattr(tool, "options", None)
    kept = None if options is None else replace(options)
    tool.activate(desk.context)
    try:
        start = turned.edge(desk.volume) if info.id == "level_tracing" else turned.at(-4, -4)
        turned.use(tool, view, start, clicks=info.id in ("polygon", "livewire", "track"))
        tool.key("apply")
        if isinstance(tool, Effect):
            plan = planned(tool, desk.scene(turned.axis, view))
            if plan is not None:
                desk.editor.apply(plan(NullContext()))
        tool.deactivate()
    finally:
        for field in fields(kept) if kept is not None and is_dataclass(kept) else ():
            setattr(options, field.name, getattr(kept, field.name))
    return desk.labels.copy()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("grid", [GRID, SHEARED], ids=["turned", "sheared"])
@pytest.mark.parametrize("info", TOOLS, ids=lambda info: info.id)
def test_tool_works_in_a_turned_view(info: ToolInfo, grid: Geometry, axis: int) -> None:
    desk, turned = Desk(grid), Turned(grid, axis)
    before, segments = desk.labels.copy(), desk.segmentation.segments
    after = used(desk, info, turned, turned.tilted)
    changed = after != before
    if info.id in IN_SLICE:
        assert changed.any()
        assert not changed[~turned.slab.holds(grid.region)].any()
    assert not desk.editor.stroke_open
    while desk.history.undo():
        pass
    np.testing.assert_array_equal(desk.labels, before)
    assert desk.segmentation.segments == segments
    if grid is GRID and info.id not in (*IN_SLICE, *ASKS_VIEW):
        peer = Desk(grid)
        np.testing.assert_array_equal(after, used(peer, info, turned, None))


@pytest.mark.parametrize("info", TOOLS, ids=lambda info: info.id)
def test_what_is_round_grows_by_a_fifth_with_a_step_of_the_wheel(info: ToolInfo) -> None:
    tool = info.make()
    before = tool.cursor.radius_mm
    if tool.cursor.kind != "circle":
        pytest.skip("its pointer is not round")
    assert tool.wheel(1, frozenset({"shift"}))
    after = tool.cursor.radius_mm
    assert tool.wheel(-1, frozenset({"shift"}))
    assert after == pytest.approx(1.2 * before, abs=0.01)
    assert tool.cursor.radius_mm == pytest.approx(before, abs=0.01)
