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


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("marks", ["scribbles", "lassos"])
def test_a_drag_is_a_scribble_or_a_lasso(
    tool: ClickSegment, asked: list[tuple[str, Prompt]], axis: int, marks: str
) -> None:
    tool.options.marks = marks  # type: ignore[assignment]
    across, down = (n for n in range(3) if n != axis)
    path = []
    for x, y in ((3, 3), (11, 3.2), (11, 11), (3, 11)):
        ijk = [8.0, 8.0, 8.0]
        ijk[across], ijk[down] = x, y
        path.append((ijk[0], ijk[1], ijk[2]))
    tool.pointer(PointerEvent("press", vec3(GEOMETRY.index_to_lps(path[0])), axis))
    tool.pointer(PointerEvent("move", vec3(GEOMETRY.index_to_lps(path[1])), axis))
    assert tool.cursor.lines
    drag(tool, path, axis, "ctrl")
    ((_, prompt),) = asked
    assert (prompt.kind, prompt.positive) == (marks[:-1], False)
    assert prompt.crop is not None
    region, mask = prompt.crop
    assert mask.shape == region.shape
    assert region.shape[2 - axis] == 1
    inside = mask[tuple(0 if n == 2 - axis else 8 - low for n, low in enumerate(region.lower))]
    assert inside == (marks == "lassos")
    if marks == "scribbles":
        for ijk in path:
            k, j, i = (round(c) - low for c, low in zip(ijk[::-1], region.lower, strict=True))
            assert mask[k, j, i]
    tool.pointer(PointerEvent("press", vec3(GEOMETRY.index_to_lps((8, 8, 8))), axis))
    tool.pointer(PointerEvent("release", vec3(GEOMETRY.index_to_lps((8, 8, 8))), axis))
    assert asked[-1][1].kind == "point", "a click is a click"
