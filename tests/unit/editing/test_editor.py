from __future__ import annotations

import numpy as np
import pytest

from medviewer.core.errors import WorkspaceError
from medviewer.core.geometry import Geometry
from medviewer.core.provenance import Provenance
from medviewer.core.record import StepRecord
from medviewer.core.region import Region
from medviewer.core.segmentation import Segment
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.editor import EditRefused, LabelEditor
from medviewer.editing.history import UndoStack
from medviewer.editing.patch import LabelPatch
from medviewer.editing.steps import SegmentStep, VoxelStep, step_from_record

GRID = Geometry((6, 5, 4), (1.0, 1.0, 2.0))
ALL = np.ones(GRID.shape, np.bool_)


@pytest.fixture
def workspace() -> Workspace:
    workspace = Workspace()
    image = np.arange(120, dtype=np.int16).reshape(GRID.shape)
    workspace.add_volume(Volume(image, GRID, modality="CT", id="v"))
    segmentation = workspace.segmentation("v")
    for name in ("one", "two"):
        segmentation.put_group(segmentation.new_group(name))
    for value, group in ((1, 0), (2, 0), (3, 1)):
        segmentation.put_segment(Segment(value, f"s{value}", group=group))
    segmentation.active = 1
    return workspace


@pytest.fixture
def history() -> UndoStack:
    return UndoStack()


@pytest.fixture
def editor(workspace: Workspace, history: UndoStack) -> LabelEditor:
    return LabelEditor(workspace, history, "v")


def _labels(workspace: Workspace, group: int = 0) -> np.ndarray:
    return workspace.segmentation("v").group(group).labels


def test_a_stroke_is_one_named_step_and_signals_what_changed(
    workspace: Workspace, editor: LabelEditor, history: UndoStack
) -> None:
    changed: list[tuple[Region, int]] = []
    workspace.segmentation("v").labels_changed.connect(lambda region, group: changed.append((region, group)))
    with editor.stroke("Brush", 1) as stroke:
        box = stroke.paint(Region((-2, 1, 1), (2, 3, 9)), np.ones((4, 2, 8), np.bool_))
        assert stroke.paint(Region((0, 1, 1), (1, 2, 2)), np.ones((1, 1, 1), np.bool_)) is None
        assert stroke.paint(Region((9, 9, 9), (12, 12, 12)), np.ones((3, 3, 3), np.bool_)) is None
    assert box == Region((0, 1, 1), (2, 3, 6))
    assert changed == [(box, 0)]
    assert int((_labels(workspace) == 1).sum()) == 20
    assert history.undo_label == "Brush"
    history.undo()
    assert changed[-1] == (box, 0)
    assert not _labels(workspace).any()
    assert (history.undo_label, history.redo_label) == ("", "Brush")


def test_erasing_takes_the_active_segment_only(workspace: Workspace, editor: LabelEditor) -> None:
    labels = _labels(workspace)
    labels[0], labels[1] = 1, 2
    with editor.stroke("Eraser", 1) as stroke:
        stroke.paint(GRID.region, ALL, 0)
    assert not (labels == 1).any()
    assert (labels[1] == 2).all()


def test_groups_may_overlap(workspace: Workspace, editor: LabelEditor) -> None:
    for value in (1, 3):
        with editor.stroke("Fill", value) as stroke:
            stroke.paint(GRID.region, ALL)
    assert (_labels(workspace, 0) == 1).all()
    assert (_labels(workspace, 1) == 3).all()


@pytest.mark.parametrize("reason", ["no segment", "locked", "open"])
def test_refusals_say_what_to_do(workspace: Workspace, editor: LabelEditor, reason: str) -> None:
    segmentation = workspace.segmentation("v")
    if reason == "no segment":
        segmentation.active = 0
    elif reason == "locked":
        segmentation.put_segment(Segment(1, "s1", locked=True))
    else:
        editor.begin("Brush")
    with pytest.raises(EditRefused) as caught:
        editor.begin("Brush", None if reason == "no segment" else 1)
    assert caught.value.hint


@pytest.mark.parametrize("value", [2, 3, 77])
def test_another_segment_is_painted_only_where_that_is_allowed(
    workspace: Workspace, editor: LabelEditor, value: int
) -> None:
    """2 is locked, 3 is of another group, 77 is nobody."""
    workspace.segmentation("v").put_segment(Segment(2, "s2", locked=True))
    stroke = editor.begin("Relabel", 1)
    with pytest.raises(EditRefused):
        stroke.paint(GRID.region, ALL, value)
    editor.cancel()
    assert not _labels(workspace).any()


def test_what_a_task_made_is_marked_when_a_person_changes_it(
    workspace: Workspace, editor: LabelEditor, history: UndoStack
) -> None:
    segmentation = workspace.segmentation("v")
    segmentation.put_segment(Segment(1, "lung", provenance=Provenance(task="lungs")))
    segmentation.put_segment(Segment(2, "vessel", provenance=Provenance(task="lungs")))
    _labels(workspace)[0] = 2
    with editor.stroke("Brush", 1) as stroke:
        stroke.paint(Region((1, 0, 0), (2, 1, 1)), np.ones((1, 1, 1), np.bool_))
    assert (segmentation.segment(1).edited, segmentation.segment(2).edited) == (True, False)
    with editor.stroke("Brush", 1) as stroke:
        stroke.paint(GRID.region, ALL)
    assert segmentation.segment(2).edited, "it lost voxels"
    assert len(history.done) == 2
    history.undo()
    history.undo()
    assert not segmentation.segment(1).edited
    assert not segmentation.segment(2).edited


def test_a_patch_holds_one_bit_a_voxel_and_one_old_value_where_that_is_enough() -> None:
    labels = np.zeros((40, 40, 40), np.uint16)
    patch = LabelPatch.write(labels, Region.whole(labels.shape), np.ones(labels.shape, np.bool_), 7)
    assert patch is not None
    assert patch.packed.nbytes == 40**3 // 8
    assert patch.before.size == 1
    assert patch.nbytes < 40**3 // 8 + 300
    patch.undo(labels)
    assert not labels.any()


def test_a_record_holds_nothing_but_plain_values(editor: LabelEditor, history: UndoStack) -> None:
    """NumPy's own integers cannot be written as JSON."""
    import json

    lower = np.array([0, 1, 1])
    with editor.stroke("Brush", 1) as stroke:
        stroke.paint(Region(tuple(lower), tuple(lower + 2)), np.ones((2, 2, 2), np.bool_), np.int64(1))  # type: ignore[arg-type]
    json.dumps(history.done[-1].record().meta)


@pytest.mark.parametrize(
    "record",
    [
        StepRecord("no such step"),
        StepRecord("voxels", {}),
        StepRecord("voxels", {"volume": "v", "group": 0, "label": "x", "patches": [[0, 0, 0, 1, 1, 1, 1]]}),
        StepRecord("segment", {"volume": "v", "label": "x", "before": {"value": 1}, "after": None, "position": None}),
        StepRecord("compound", {"label": "x", "steps": [{"kind": "boxes"}]}),
    ],
)
def test_damaged_records_are_refused(workspace: Workspace, record: StepRecord) -> None:
    with pytest.raises(WorkspaceError) as caught:
        step_from_record(workspace, record)
    assert caught.value.hint


def test_a_step_that_fails_stays_on_its_stack(workspace: Workspace, history: UndoStack) -> None:
    before = workspace.segmentation("v").segment(1)
    history.do(SegmentStep(workspace, "v", "Rename", before, Segment(1, "new")))
    patch = LabelPatch(Region((0, 0, 0), (1, 1, 1)), np.array([128], np.uint8), np.zeros(1, np.uint16), 1)
    history.push(VoxelStep(workspace, "gone", 0, "Brush", (patch,)))
    with pytest.raises(KeyError):
        history.undo()
    assert history.undo_label == "Brush"
    assert not history.can_redo


def test_a_cancelled_stroke_puts_the_voxels_back_and_tells(workspace: Workspace, editor: LabelEditor) -> None:
    changed: list[Region] = []
    stroke = editor.begin("Brush", 1)
    stroke.paint(GRID.region, ALL)
    workspace.segmentation("v").labels_changed.connect(lambda region, group: changed.append(region))
    editor.cancel()
    editor.cancel()
    assert changed == [GRID.region]
    assert not _labels(workspace).any()
    editor.commit()
    assert not editor.stroke_open
