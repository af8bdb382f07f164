"""Stepping through the slices of a large CT with labels, against VTK's own image pipeline in the same run.

Run with ``pytest tests/benchmarks/bench_slice_step.py -m benchmark_run -s``. Each step is timed in five rounds and the
shortest kept: what another program took from the machine is not ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest
import vtkmodules.vtkRenderingOpenGL2  # noqa: F401  # registers what draws the peer
from pytestqt.qtbot import QtBot
from vtkmodules.vtkCommonCore import vtkLookupTable, vtkUnsignedCharArray
from vtkmodules.vtkRenderingCore import (
    vtkImageProperty,
    vtkImageSlice,
    vtkImageSliceMapper,
    vtkRenderer,
    vtkRenderWindow,
)

from medviewer.core.geometry import Geometry
from medviewer.core.segmentation import Segment
from medviewer.core.view_state import PLANES, Plane, WindowLevel
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.tool import BaseTool
from medviewer.render.vtk_image import share_array
from medviewer.ui.views.slice_panel import SlicePanel

pytestmark = pytest.mark.benchmark_run
SHAPE = (1093, 512, 512)
VIEW = 512
STEPS, ROUNDS = 60, 5
BUDGET_MS = 16.0


@pytest.fixture(scope="module")
def large() -> Iterator[Workspace]:
    """A CT of 573 MB, int16, with two segments: a body and a ball."""
    random = np.random.default_rng(1)
    one = random.integers(-1000, 1200, SHAPE[1:], dtype=np.int16)
    array = np.empty(SHAPE, np.int16)
    for k in range(SHAPE[0]):
        array[k] = np.roll(one, k, axis=1)
    geometry = Geometry((512, 512, 1093), (0.7, 0.7, 0.6), (-180.0, -180.0, -330.0))
    volume = Volume(array, geometry, modality="CT", unit="HU")
    workspace = Workspace()
    workspace.add_volume(volume)
    workspace.view.window = WindowLevel(40.0, 400.0)
    workspace.view.crosshair_lps = geometry.center_lps
    segmentation = workspace.segmentation(volume.id)
    group = segmentation.new_group("auto")
    group.labels[50:1000, 60:450, 40:470] = 1
    group.labels[400:700, 180:330, 180:330] = 2
    segmentation.put_group(group)
    segmentation.put_segment(Segment(1, "Body", (77, 187, 213)))
    segmentation.put_segment(Segment(2, "Ball", (230, 75, 53)))
    workspace.activate(volume.id)
    yield workspace
    workspace.remove_volume(volume.id)


def best_rounds(step: Callable[[int], None]) -> npt.NDArray[np.float64]:
    """Milliseconds of each step, the best of the rounds; the first call is not timed."""
    step(0)
    times = np.empty((ROUNDS, STEPS))
    for row in times:
        for n in range(STEPS):
            started = time.perf_counter()
            step(n)
            row[n] = (time.perf_counter() - started) * 1e3
    return times.min(axis=0)


def told(name: str, times: npt.NDArray[np.float64]) -> str:
    return f"{name:<34} median {np.median(times):6.2f}  p95 {np.percentile(times, 95):6.2f} ms"


class VtkPipeline:
    """Image and labels as two vtkImageSlice in a window off the screen, the frame read back."""

    def __init__(self, workspace: Workspace, axis: int) -> None:
        volume, segmentation = workspace.active, workspace.active_segmentation
        assert volume is not None
        assert segmentation is not None
        table = vtkLookupTable()
        table.SetNumberOfTableValues(3)
        table.SetTableRange(0, 2)
        table.SetTableValue(0, 0, 0, 0, 0)
        table.SetTableValue(1, 0.3, 0.7, 0.8, 0.45)
        table.SetTableValue(2, 0.9, 0.3, 0.2, 0.45)
        renderer = vtkRenderer()
        self.mappers = []
        for array, labels in ((volume.array, False), (segmentation.groups[0].labels, True)):
            mapper = vtkImageSliceMapper()
            mapper.SetInputData(share_array(array))
            mapper.SetOrientation(axis)
            look = vtkImageProperty()
            if labels:
                look.SetLookupTable(table)
                look.UseLookupTableScalarRangeOn()
                look.SetInterpolationTypeToNearest()
            else:
                look.SetColorWindow(400)
                look.SetColorLevel(40)
            prop = vtkImageSlice()
            prop.SetMapper(mapper)
            prop.SetProperty(look)
            renderer.AddViewProp(prop)
            self.mappers.append(mapper)
        self.window = vtkRenderWindow()
        self.window.SetOffScreenRendering(True)
        self.window.SetMultiSamples(0)
        self.window.SetSize(VIEW, VIEW)
        self.window.AddRenderer(renderer)
        self.buffer = vtkUnsignedCharArray()
        renderer.ResetCamera()

    def show(self, index: int) -> None:
        for mapper in self.mappers:
            mapper.SetSliceNumber(index)
        self.window.Render()
        self.window.GetRGBACharPixelData(0, 0, VIEW - 1, VIEW - 1, 0, self.buffer, 0)


@pytest.mark.parametrize("plane", PLANES)
def test_slice_step(qtbot: QtBot, large: Workspace, plane: Plane) -> None:
    panel = SlicePanel(plane, large, BaseTool())
    panel.canvas.setMinimumSize(VIEW, VIEW)
    panel.canvas.setMaximumSize(VIEW, VIEW)
    with qtbot.waitExposed(panel):
        panel.show()
    frame = panel.canvas.scene.frame
    assert frame is not None
    middle = frame.grid.count // 2

    def ours(n: int) -> None:
        panel.canvas.scene.show_slice(middle - STEPS // 2 + n)
        panel.canvas.repaint()

    painted = panel.canvas.frames
    mine = best_rounds(ours)
    assert panel.canvas.frames - painted >= STEPS * ROUNDS  # each step was really painted
    panel.close_view()
    panel.close()
    pipeline = VtkPipeline(large, frame.grid.normal)
    peer = best_rounds(lambda n: pipeline.show(middle - STEPS // 2 + n))
    pipeline.window.Finalize()
    ratio = float(np.median(peer) / np.median(mine))
    print(f"\n{told(f'{plane}: step to painted widget', mine)}")
    print(f"{told(f'{plane}: VTK image pipeline', peer)}   ratio {ratio:.2f}")
    assert np.percentile(mine, 95) <= BUDGET_MS
    assert ratio > 0.8
