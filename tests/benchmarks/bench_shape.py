"""Islands, margin and median of a liver-sized segment, from the option that changes to the step that is made.

Run with ``pytest tests/benchmarks/bench_shape.py -m benchmark_run -s``. On a CT of 512 x 512 x 1093. The peer computes
the same on the whole volume, as scripts with NumPy and SciPy and viewers of arrays do; it is given one run.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from medviewer.core.geometry import Geometry
from medviewer.core.region import Region
from medviewer.core.segmentation import Segment
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.change import Change
from medviewer.editing.editor import LabelEditor
from medviewer.editing.effect import EditScene, Effect
from medviewer.editing.history import UndoStack
from medviewer.editing.tools.islands import Islands
from medviewer.editing.tools.margin import Margin
from medviewer.editing.tools.smooth import Smooth
from medviewer.jobs.job import NullContext

pytestmark = pytest.mark.benchmark_run
ROUNDS = 3
BUDGET_S = 1.0
#: What the window waits for.
APPLIED_S = 0.05
SPACING = (0.7, 0.7, 0.6)
SIZE = (512, 512, 1093)
#: Slices that a margin of 3 mm or a median looks at beside its own.
REACH = 5
Mask = npt.NDArray[np.bool_]


@pytest.fixture(scope="module")
def liver() -> Workspace:
    """A rough body of 1.5 litres, a speck beside it, and 299 other labels in the same label map."""
    geometry = Geometry(SIZE, SPACING, (-180.0, -180.0, -330.0))
    volume = Volume(np.zeros(geometry.shape, np.int16), geometry, modality="CT", unit="HU")
    workspace = Workspace()
    workspace.add_volume(volume)
    segmentation = workspace.segmentation(volume.id)
    group = segmentation.new_group("auto")
    shape = (340, 230, 286)
    k, j, i = (np.linspace(-1, 1, n) for n in shape)
    coarse = np.random.default_rng(0).normal(size=(34, 23, 29)).astype(np.float32)
    rough = ndimage.zoom(coarse, 10, order=1)[: shape[0], : shape[1], : shape[2]]
    body = (k**2)[:, None, None] + (j**2)[:, None] + i**2 + 0.12 * rough < 0.62
    place = (slice(500, 500 + shape[0]), slice(120, 120 + shape[1]), slice(60, 60 + shape[2]))
    group.labels[place][body] = 1
    group.labels[490:493, 100:103, 50:53] = 1
    for value in range(2, 301):
        at = 3 * value
        group.labels[at % 480 : at % 480 + 2, 10:40, 10 + value : 12 + value] = value
    segmentation.put_group(group)
    for value in range(1, 301):
        segmentation.put_segment(Segment(value, f"Label {value}", group=group.id))
    workspace.activate(volume.id)
    segmentation.active = 1
    return workspace


def _islands(mask: Mask) -> Mask:
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    found: Mask = labels == sizes.argmax()
    return found


def _margin(mask: Mask) -> Mask:
    near: Mask = ndimage.distance_transform_edt(~mask, sampling=SPACING[::-1]) <= 3.0
    return near


def _median(mask: Mask) -> Mask:
    return ndimage.median_filter(mask.view(np.uint8), 5).view(np.bool_)


def _made(tool: Effect, workspace: Workspace) -> tuple[Change, float, float, float]:
    """The change, and seconds on the thread, on the main thread, and of undo."""
    volume = workspace.active
    assert volume is not None
    history = UndoStack()
    editor = LabelEditor(workspace, history, volume.id)
    started = time.perf_counter()
    scene = EditScene(volume, editor.target, editor.target.segment(1), volume.geometry.center_lps)
    plan = tool.plan(scene)
    assert plan is not None
    change = plan(NullContext())
    made = editor.draft(change)
    computed = time.perf_counter()
    assert editor.apply(made) is not None, "something changed"
    applied = time.perf_counter()
    history.undo()
    return change, computed - started, applied - computed, time.perf_counter() - applied


def _peer(work: Callable[[Mask], Mask], labels: npt.NDArray[np.uint16], slab: slice) -> tuple[float, Mask]:
    """Return the seconds for all slices, and what the peer finds in those of the slab."""
    started = time.perf_counter()
    found = work(labels[slab] == 1)
    return (time.perf_counter() - started) * SIZE[2] / found.shape[0], found


@pytest.mark.parametrize(
    ("make", "work", "slab"),
    [
        (Islands, _islands, slice(0, SIZE[2])),
        # The time of all slices is that of some of them times their number: a distance map of all needs 9 GB.
        (Margin, _margin, slice(600, 700)),
        (Smooth, _median, slice(620, 660)),
    ],
)
def test_shape_of_a_liver(
    liver: Workspace, make: Callable[[], Effect], work: Callable[[Mask], Mask], slab: slice
) -> None:
    change, times = None, []
    for _ in range(ROUNDS):
        change, *seconds = _made(make(), liver)
        times.append(seconds)
    assert change is not None
    computed, applied, undone = min(times, key=lambda seconds: seconds[0] + seconds[1])
    volume = liver.active
    assert volume is not None
    taken, found = _peer(work, liver.segmentation(volume.id).groups[0].labels, slab)
    (part,) = change.masks
    # The same result, but for the ends of the slab, where the peer does not see what comes next.
    inner = Region((slab.start + REACH, 0, 0), (slab.stop - REACH, SIZE[1], SIZE[0])).clip(part.region)
    np.testing.assert_array_equal(
        part.mask[inner.inside(part.region).slices],
        found[inner.moved((-slab.start, 0, 0)).slices],
    )
    mine = computed + applied
    print(
        f"\n{type(make()).__name__:<8} computed {computed * 1e3:5.0f}, applied {applied * 1e3:5.0f}, "
        f"undone {undone * 1e3:4.0f} ms; on the whole volume {taken * 1e3:7.0f} ms, ratio {taken / mine:.1f}"
    )
    assert mine <= BUDGET_S
    assert applied <= APPLIED_S
    assert taken / mine > 2
