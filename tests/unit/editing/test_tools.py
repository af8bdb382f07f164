from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from medviewer.core.geometry import Geometry, vec3
from medviewer.core.segmentation import Segment
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.editor import LabelEditor
from medviewer.editing.history import UndoStack
from medviewer.editing.round_tool import BrushOptions
from medviewer.editing.tool import PointerEvent, Tool, ToolContext, all_tools
from medviewer.editing.tools.brush import Brush, Eraser, RoundBrush

GRID = Geometry((21, 21, 11), (1.0, 1.0, 2.0))


class Bench:
    """A workspace with an active segment and a history."""

    def __init__(self) -> None:
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

    def drag(self, tool: Tool, *points_ijk: tuple[float, float, float], axis: int = 2, ctrl: bool = False) -> None:
        keys = frozenset({"ctrl"} if ctrl else ())
        points = [vec3(GRID.index_to_lps(p)) for p in points_ijk]
        phases = ["press", *["move"] * (len(points) - 1), "release"]
        for phase, lps in zip(phases, [*points, points[-1]], strict=True):
            tool.pointer(PointerEvent(phase, lps, axis, keys))  # type: ignore[arg-type]


@pytest.fixture
def bench() -> Iterator[Bench]:
    options = RoundBrush.shared_options
    old = BrushOptions(options.radius_mm, options.shape)
    options.radius_mm, options.shape = 3.0, "disc"
    yield Bench()
    options.radius_mm, options.shape = old.radius_mm, old.shape


def _active(kind: type[Brush | Eraser], bench: Bench) -> Brush | Eraser:
    tool = kind()
    tool.activate(bench.context)
    return tool


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_disc_stays_in_its_slice_in_every_plane(bench: Bench, axis: int) -> None:
    bench.drag(_active(Brush, bench), (10, 10, 5), axis=axis)
    painted = np.argwhere(bench.mask)[:, ::-1]
    assert set(painted[:, axis]) == {(10, 10, 5)[axis]}
    places = GRID.index_to_lps(painted)
    distance = np.linalg.norm(places - GRID.index_to_lps((10, 10, 5)), axis=1)
    assert distance.max() <= 3.0
    count = sum(
        1 for p in np.argwhere(np.ones(GRID.shape))[:, ::-1]
        if p[axis] == (10, 10, 5)[axis] and np.linalg.norm(GRID.index_to_lps(p) - GRID.index_to_lps((10, 10, 5))) <= 3
    )  # fmt: skip
    assert len(painted) == count


def test_a_sphere_is_round_in_mm(bench: Bench) -> None:
    RoundBrush.shared_options.shape = "sphere"
    bench.drag(_active(Brush, bench), (10, 10, 5))
    extent = np.ptp(np.argwhere(bench.mask), axis=0)
    assert tuple(extent) == (2, 6, 6), "two mm slices"


def test_a_sphere_in_a_film_stays_in_its_frame(bench: Bench) -> None:
    bench.workspace.replace_volume(replace(bench.workspace.volume("v"), stacking="time"))
    RoundBrush.shared_options.shape = "sphere"
    bench.drag(_active(Brush, bench), (10, 10, 5))
    assert np.flatnonzero(bench.mask.any(axis=(1, 2))).tolist() == [5]


def test_a_drag_is_one_step_without_gaps(bench: Bench) -> None:
    bench.drag(_active(Brush, bench), (4, 4, 5), (16, 4, 5), (16, 16, 5))
    assert len(bench.history.done) == 1
    assert bench.mask[5, 4, 4:17].all()
    assert bench.mask[5, 4:17, 16].all()
    assert bench.history.undo() == "Brush"
    assert not bench.mask.any()


def test_ctrl_turns_brush_into_eraser_and_back(bench: Bench) -> None:
    bench.drag(_active(Brush, bench), (10, 10, 5))
    painted = bench.mask.copy()
    bench.drag(_active(Brush, bench), (10, 10, 5), ctrl=True)
    assert not bench.mask.any()
    assert bench.history.undo_label == "Eraser"
    bench.drag(_active(Eraser, bench), (10, 10, 5), ctrl=True)
    np.testing.assert_array_equal(bench.mask, painted)


def test_changing_the_tool_keeps_what_was_painted(bench: Bench) -> None:
    tool = _active(Brush, bench)
    tool.pointer(PointerEvent("press", vec3(GRID.index_to_lps((10, 10, 5))), 2))
    assert bench.mask.any()
    tool.deactivate()
    assert bench.history.undo_label == "Brush"
    assert not tool.pointer(PointerEvent("move", (0.0, 0.0, 0.0), 2))


def test_moving_without_a_press_paints_nothing(bench: Bench) -> None:
    tool = _active(Brush, bench)
    for phase in ("hover", "move", "release"):
        assert not tool.pointer(PointerEvent(phase, (10.0, 10.0, 10.0), 2))  # type: ignore[arg-type]
    assert not bench.mask.any()
    assert not bench.history.can_undo


def test_brush_and_eraser_share_their_size() -> None:
    brush, eraser = Brush(), Eraser()
    assert brush.options is eraser.options
    assert brush.cursor.kind == "circle"
    assert brush.cursor.radius_mm == brush.options.radius_mm


def test_painting_outside_the_image_is_harmless(bench: Bench) -> None:
    bench.drag(_active(Brush, bench), (-50, -50, -50), (200, 200, 200))
    bench.drag(_active(Brush, bench), (-50, 10, 5), (60, 10, 5))
    assert bench.mask[5, 10, :].all()


def test_all_tools_are_found_once() -> None:
    ids = [info.id for info in all_tools()]
    assert {"brush", "eraser"} <= set(ids)
    assert len(ids) == len(set(ids))
    shortcuts = [info.shortcut for info in all_tools() if info.shortcut]
    assert len(shortcuts) == len(set(shortcuts))
