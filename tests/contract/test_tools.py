"""Every tool there is keeps the contract: it works in all planes, tells what it needs, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from medviewer.core.geometry import Geometry, vec3
from medviewer.core.segmentation import Segment
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.change import Change
from medviewer.editing.editor import EditRefused, LabelEditor
from medviewer.editing.effect import Compute, EditScene, Effect
from medviewer.editing.history import UndoStack
from medviewer.editing.tool import PointerEvent, Tool, ToolContext, ToolGroup, ToolInfo, all_tools
from medviewer.jobs.job import NullContext
from medviewer.plugin_host.forms import describe_params

ROOT = Path(__file__).resolve().parents[2]
ICONS = ROOT / "resources" / "icons" / "tools"
TOOLS = all_tools()
#: Turned and anisotropic, so that a tool which mixes up frames or units shows it.
_TURN = (0.8, -0.6, 0.0, 0.48, 0.64, 0.6, -0.36, -0.48, 0.8)
GRID = Geometry((20, 18, 14), (0.7, 1.3, 2.5), (-3.0, 12.0, 7.0), _TURN)


class Desk:
    """A small image with a bright ball, two segments, and an editor."""

    def __init__(self) -> None:
        k, j, i = np.indices(GRID.shape)
        ball = ((k - 7) ** 2 + (j - 9) ** 2 + (i - 10) ** 2 < 16).astype(np.int16)
        self.volume = Volume(100 * ball, GRID, name="ball", modality="CT")
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
        self.context = ToolContext(self.editor, lambda task, prompt: None)

    @property
    def labels(self) -> np.ndarray:
        return self.segmentation.groups[0].labels

    def scene(self, axis: int) -> EditScene:
        active = self.segmentation.segment(self.segmentation.active)
        return EditScene(self.volume, self.segmentation, active, lps(10, 9, 7), axis)


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
