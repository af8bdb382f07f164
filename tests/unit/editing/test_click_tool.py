"""The click tool: what the pointer does becomes prompts, in every plane."""

from __future__ import annotations

import numpy as np
import pytest

from medviewer.core.geometry import Geometry, vec3
from medviewer.core.prompt import Prompt
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.editor import LabelEditor
from medviewer.editing.history import UndoStack
from medviewer.editing.tool import Modifier, PointerEvent, ToolContext
from medviewer.editing.tools.click_segment import ClickSegment

GEOMETRY = Geometry((20, 18, 16), (0.5, 1.0, 2.0), (3.0, -7.0, 40.0), (0, 1, 0, 1, 0, 0, 0, 0, 1))


@pytest.fixture
def asked() -> list[tuple[str, Prompt]]:
    return []


@pytest.fixture
def tool(asked: list[tuple[str, Prompt]]) -> ClickSegment:
    workspace = Workspace()
    volume = Volume(np.zeros(GEOMETRY.shape, np.float32), GEOMETRY)
    workspace.add_volume(volume)
    made = ClickSegment()
    editor = LabelEditor(workspace, UndoStack(), volume.id)
    made.activate(ToolContext(editor, lambda task, prompt: asked.append((task, prompt))))
    return made


def drag(tool: ClickSegment, ijk: list[tuple[float, float, float]], axis: int, *modifiers: Modifier) -> None:
    phases = ["press", *["move"] * (len(ijk) - 1), "release"]
    for phase, place in zip(phases, [*ijk, ijk[-1]], strict=True):
        lps = vec3(GEOMETRY.index_to_lps(place))
        assert tool.pointer(PointerEvent(phase, lps, axis, frozenset(modifiers)))  # type: ignore[arg-type]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_click_adds_and_with_ctrl_takes_away(tool: ClickSegment, asked: list[tuple[str, Prompt]], axis: int) -> None:
    drag(tool, [(4, 5, 6)], axis)
    drag(tool, [(4, 5, 6), (4.4, 5.3, 6)], axis, "ctrl")
    assert [(task, p.kind, p.positive, p.points) for task, p in asked] == [
        ("click_segment", "point", True, (vec3(GEOMETRY.index_to_lps((4, 5, 6))),)),
        ("click_segment", "point", False, (vec3(GEOMETRY.index_to_lps((4, 5, 6))),)),
    ]


def test_a_drag_is_a_box_and_shows_it(tool: ClickSegment, asked: list[tuple[str, Prompt]]) -> None:
    start, end = vec3(GEOMETRY.index_to_lps((2, 3, 8))), vec3(GEOMETRY.index_to_lps((9, 12, 8)))
    tool.pointer(PointerEvent("press", start, 2))
    assert tool.cursor.kind == "cross"
    tool.pointer(PointerEvent("move", end, 2))
    assert (tool.cursor.kind, tool.cursor.corner_lps) == ("box", start)
    tool.pointer(PointerEvent("release", end, 2))
    ((_, prompt),) = asked
    assert (prompt.kind, prompt.positive, prompt.points) == ("box", True, (start, end))
    assert tool.cursor.kind == "cross"


def test_what_is_not_a_click_of_its_own_asks_nothing(tool: ClickSegment, asked: list[tuple[str, Prompt]]) -> None:
    place = vec3(GEOMETRY.index_to_lps((2, 3, 8)))
    assert not tool.pointer(PointerEvent("hover", place, 2))
    assert not tool.pointer(PointerEvent("release", place, 2))
    tool.pointer(PointerEvent("press", place, 2))
    tool.deactivate()
    assert not tool.pointer(PointerEvent("release", place, 2))
    assert asked == []
