"""Results land quickly: what takes time is done before, and the outcome is the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.api.plugin import BoxResult, LabelResult, TaskInfo
from medviewer.app.apply_results import PreparedLabels, ResultApplier, prepare
from medviewer.core.annotation import Box3D
from medviewer.core.provenance import MANUAL, Provenance
from medviewer.core.region import Region
from medviewer.core.segmentation import Segment
from medviewer.core.workspace import Workspace
from medviewer.editing.history import UndoStack
from medviewer.phantoms import spheres_volume

TASK = TaskInfo(id="t", title="T", kind="segmentation", inputs={"volume": "volume"}, entry="m:f")


@given(st.sets(st.integers(1, 9)), st.sets(st.integers(1, 5), min_size=1, max_size=3))
def test_prepared_values_are_free_and_keep_the_voxels(taken: set[int], values: set[int]) -> None:
    volume = spheres_volume().volume
    labels = np.zeros(volume.array.shape, dtype=np.uint16)
    for n, value in enumerate(sorted(values)):
        labels[n, 1:3, 2:5] = value
    result = LabelResult("G", labels, volume.geometry, tuple(Segment(v, f"S{v}") for v in sorted(values)))
    (ready,) = prepare([result], taken)
    assert isinstance(ready, PreparedLabels)
    assert taken.isdisjoint(ready.mapping.values())
    assert not np.shares_memory(ready.labels, labels)
    for old, new in ready.mapping.items():
        assert np.array_equal(ready.labels == new, labels == old)
    assert ready.box == Region.of_mask(labels != 0)


@pytest.mark.parametrize("late", [False, True])
def test_a_value_taken_meanwhile_is_not_given_twice(late: bool) -> None:
    volume = spheres_volume().volume
    workspace, history = Workspace(), UndoStack()
    workspace.add_volume(volume)
    segmentation = workspace.segmentation(volume.id)
    labels = (volume.array > volume.array.mean()).astype(np.uint16)
    result = LabelResult("G", labels, volume.geometry, (Segment(1, "A"),))
    ready = prepare([result], ())
    if late:
        segmentation.put_group(segmentation.new_group())
        segmentation.put_segment(Segment(1, "Mine"))
    applier = ResultApplier(workspace, history)
    (segment,) = applier.apply(volume.id, TASK, ready, MANUAL)
    assert segment.value == (2 if late else 1)
    assert np.array_equal(segmentation.mask(segment.value), labels == 1)


def test_the_journal_gets_the_voxels_as_they_landed() -> None:
    volume = spheres_volume().volume
    workspace, history = Workspace(), UndoStack()
    workspace.add_volume(volume)
    labels = (volume.array > volume.array.mean()).astype(np.uint16)
    ready = prepare([LabelResult("G", labels, volume.geometry, (Segment(1, "A"),))], ())
    ResultApplier(workspace, history).apply(volume.id, TASK, ready, MANUAL)
    step = history.done[-1]
    box = Region.of_mask(labels != 0)
    assert box is not None
    first, again = (step.record().arrays["0/labels"] for _ in range(2))
    assert np.array_equal(first, labels[box.slices])
    assert np.array_equal(again, first)
    assert not np.shares_memory(first, workspace.segmentation(volume.id).groups[0].labels)


def test_findings_are_linked_to_the_segments_of_their_own_run() -> None:
    volume = spheres_volume().volume
    workspace, history = Workspace(), UndoStack()
    workspace.add_volume(volume)
    segmentation = workspace.segmentation(volume.id)
    segmentation.put_group(segmentation.new_group())
    segmentation.put_segment(Segment(1, "Mine"))
    labels = (volume.array > volume.array.mean()).astype(np.uint16)
    box = Box3D(lower=(0.0, 0.0, 0.0), upper=(1.0, 1.0, 1.0), label="Nodule", score=0.9, segment=1)
    results = [BoxResult("B", (box,)), LabelResult("G", labels, volume.geometry, (Segment(1, "Nodule"),))]
    task = TaskInfo(id="n", title="N", kind="detection", inputs={"image": "volume"}, entry="m:f")
    run = Provenance(task="n")
    for _ in range(2):
        (segment,) = ResultApplier(workspace, history).apply(volume.id, task, results, run)
        (finding,) = workspace.boxes(volume.id)
        assert segment.value != 1
        assert finding.segment == segment.value
        assert segmentation.segment(segment.value).name == "Nodule"
    segmentation.put_segment(replace(segment, edited=True))
    ResultApplier(workspace, history).apply(volume.id, task, results, run)
    first, second = workspace.boxes(volume.id)
    assert {first.segment, second.segment} == {s.value for s in segmentation.segments if s.name == "Nodule"}
