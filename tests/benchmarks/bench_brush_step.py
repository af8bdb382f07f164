"""One movement of the brush: from the stroke to the painted widgets, against a full redraw of the labels.

Run with ``pytest tests/benchmarks/bench_brush_step.py -m benchmark_run -s``. On a CT of 512 x 512 x 1093, radius 10 mm,
with all three planes open; each step is timed in three rounds and the shortest kept.
"""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import pytest
from pytestqt.qtbot import QtBot

from medviewer.core.geometry import Geometry
from medviewer.core.segmentation import Segment
from medviewer.core.view_state import PLANES, WindowLevel
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.editor import LabelEditor
from medviewer.editing.history import UndoStack
from medviewer.editing.tool import BaseTool, PointerEvent, ToolContext
from medviewer.editing.tools.brush import Brush
from medviewer.ui.views.slice_panel import SlicePanel

pytestmark = pytest.mark.benchmark_run
STEPS, ROUNDS = 40, 3
BUDGET_MS = 16.0
RADIUS_MM = 10.0


@pytest.fixture(scope="module")
def large() -> Workspace:
    array = np.zeros((1093, 512, 512), np.int16)
    array[::7] = 300
    geometry = Geometry((512, 512, 1093), (0.7, 0.7, 0.6), (-180.0, -180.0, -330.0))
    volume = Volume(array, geometry, modality="CT", unit="HU")
    workspace = Workspace()
    workspace.add_volume(volume)
    workspace.view.window = WindowLevel(40.0, 400.0)
    workspace.view.crosshair_lps = geometry.center_lps
    segmentation = workspace.segmentation(volume.id)
    group = segmentation.new_group("auto")
    group.labels[50:1000, 60:450, 40:470] = 1
    segmentation.put_group(group)
    segmentation.put_segment(Segment(1, "Body", (77, 187, 213)))
    segmentation.put_segment(Segment(2, "Lesion", (230, 75, 53)))
    workspace.activate(volume.id)
    segmentation.active = 2
    return workspace


def drag(workspace: Workspace, panels: list[SlicePanel], *, whole: bool) -> npt.NDArray[np.float64]:
    """Milliseconds of each movement of one drag."""
    volume = workspace.active
    assert volume is not None
    editor = LabelEditor(workspace, UndoStack(), volume.id)
    brush = Brush()
    brush.activate(ToolContext(editor))
    center = np.array(volume.geometry.center_lps)
    times = np.empty(STEPS)
    for n in range(-1, STEPS):
        lps = (float(center[0] - 60 + 3 * n), float(center[1] + 20 * np.sin(n / 5)), float(center[2]))
        started = time.perf_counter()
        brush.pointer(PointerEvent("press" if n < 0 else "move", lps, 2))
        if whole:
            workspace.view.overlay_changed.emit()
        for panel in panels:
            panel.canvas.repaint()
        if n >= 0:
            times[n] = (time.perf_counter() - started) * 1e3
    editor.cancel()
    return times


@pytest.mark.parametrize("shape", ["disc", "sphere"])
def test_brush_step(qtbot: QtBot, large: Workspace, shape: str) -> None:
    panels = [SlicePanel(plane, large, BaseTool()) for plane in PLANES]
    for panel in panels:
        panel.canvas.setMinimumSize(512, 512)
        panel.canvas.setMaximumSize(512, 512)
        with qtbot.waitExposed(panel):
            panel.show()
        panel.canvas.repaint()
    options = Brush.shared_options
    before = (options.shape, options.radius_mm)
    options.shape, options.radius_mm = shape, RADIUS_MM  # type: ignore[assignment]  # one of the two it knows
    painted = [panel.canvas.frames for panel in panels]
    try:
        mine = np.min([drag(large, panels, whole=False) for _ in range(ROUNDS)], axis=0)
        peer = np.min([drag(large, panels, whole=True) for _ in range(ROUNDS)], axis=0)
    finally:
        options.shape, options.radius_mm = before
        for panel in panels:
            panel.close_view()
            panel.close()
    # Each movement was really painted, in every plane.
    assert all(panel.canvas.frames - n >= 2 * STEPS * ROUNDS for panel, n in zip(panels, painted, strict=True))
    ratio = float(np.median(peer) / np.median(mine))
    for name, times in (("stroke to three painted widgets", mine), ("the same, all labels redrawn", peer)):
        print(f"\n{shape}: {name:<34} median {np.median(times):6.2f}  p95 {np.percentile(times, 95):6.2f} ms", end="")
    print(f"   ratio {ratio:.2f}")
    assert np.percentile(mine, 95) <= BUDGET_MS
    assert ratio > 1.2
