"""What looks like a leak asks before it is kept; no leaves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from medviewer.core.geometry import Geometry
from medviewer.core.region import Region
from medviewer.core.segmentation import Segment, Segmentation
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.change import Change, SegmentMask
from medviewer.editing.editor import EditUnwanted, LabelEditor
from medviewer.editing.history import UndoStack
from medviewer.editing.rules import EditRules
from medviewer.editing.stroke import OVERLAP_GROUP

GRID = Geometry((20, 20, 12), (2.0, 2.0, 4.0))
ALL = np.ones(GRID.shape, np.bool_)
SEED = Region((5, 5, 5), (7, 7, 7))


class Desk:
    """An editor whose questions are answered by `answer`."""

    def __init__(self, rules: EditRules | None = None) -> None:
        self.workspace = Workspace()
        self.workspace.add_volume(Volume(np.zeros(GRID.shape, np.int16), GRID, modality="CT", id="v"))
        self.segmentation: Segmentation = self.workspace.segmentation("v")
        self.segmentation.put_group(self.segmentation.new_group("Drawn"))
        for value, name in ((1, "nodule"), (2, "aorta")):
            self.segmentation.put_segment(Segment(value, name))
        self.segmentation.active = 1
        self.history = UndoStack()
        self.asked: list[str] = []
        self.answer: Callable[[], bool] = lambda: False
        self.editor = LabelEditor(self.workspace, self.history, "v", rules, self._ask)

    def _ask(self, text: str) -> bool:
        self.asked.append(text)
        return self.answer()

    @property
    def labels(self) -> np.ndarray:
        return self.segmentation.group(0).labels

    def fill(self, region: Region = GRID.region) -> None:
        with self.editor.stroke("Fill", 1) as stroke:
            stroke.paint(region, np.ones(region.shape, np.bool_))


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.fill(SEED)
    assert desk.asked == [], "an empty segment may become anything"
    return desk


def test_no_leaves_nothing(desk: Desk) -> None:
    before = desk.labels.copy()
    desk.fill()
    assert desk.asked == ["This adds 77 ml to “nodule”, which has 0.13 ml. Go on?"]
    np.testing.assert_array_equal(desk.labels, before)
    assert len(desk.history.done) == 1
    assert not desk.editor.stroke_open


def test_yes_keeps_it(desk: Desk) -> None:
    desk.answer = lambda: True
    desk.fill()
    assert desk.labels.all()
    assert len(desk.history.done) == 2


@pytest.mark.parametrize("rules", [EditRules(ask_above=0), EditRules(ask_above=1000)])
def test_the_multiple_is_a_rule(desk: Desk, rules: EditRules) -> None:
    desk.editor.rules = rules
    desk.fill()
    assert desk.asked == []
    assert len(desk.history.done) == 2


def test_small_changes_and_erasing_never_ask(desk: Desk) -> None:
    desk.fill(Region((5, 5, 5), (8, 8, 8)))
    with desk.editor.stroke("Erase", 1) as stroke:
        stroke.paint(GRID.region, ALL, 0)
    assert desk.asked == []


@pytest.mark.parametrize("wanted", [True, False])
def test_what_cannot_wait_for_the_answer_keeps_the_stroke(desk: Desk, wanted: bool) -> None:
    """A result that lands while the box is open commits what is in the hand first; a late no takes it back."""

    def landing() -> bool:
        desk.editor.commit()
        assert len(desk.history.done) == 2
        return wanted

    desk.answer = landing
    desk.fill()
    assert len(desk.asked) == 1
    assert bool(desk.labels.all()) is wanted
    assert len(desk.history.done) == 1 + wanted


def test_a_computed_change_asks_and_its_refusal_is_told(desk: Desk) -> None:
    change = Change("Grow", (SegmentMask(1, GRID.region, ALL),))
    before = desk.labels.copy()
    with pytest.raises(EditUnwanted):
        desk.editor.apply(change)
    np.testing.assert_array_equal(desk.labels, before)
    assert len(desk.history.done) == 1
    desk.answer = lambda: True
    assert desk.editor.apply(change) is not None
    assert desk.labels.all()


def test_only_what_lies_beyond_a_locked_segment_asks(desk: Desk) -> None:
    """Along a wall of a locked segment nothing is asked; on its other side there is no way but through it."""
    desk.editor.rules = EditRules(ask_above=1e6)
    desk.labels[:, :, 12] = 2
    desk.segmentation.put_segment(replace(desk.segmentation.segment(2), locked=True))
    before = desk.labels.copy()
    desk.fill(Region((0, 0, 0), (12, 20, 13)))
    assert desk.asked == []
    desk.history.undo()
    desk.fill()
    assert len(desk.asked) == 1
    assert "beyond “aorta”" in desk.asked[0]
    np.testing.assert_array_equal(desk.labels, before)
    stroke = desk.editor.begin("Brush", 1)
    stroke.paint(GRID.region, ALL)
    desk.editor.commit()
    assert len(desk.asked) == 1, "who draws by hand sees it"


def test_overlap_moves_the_segment_over_the_others_as_one_step(desk: Desk) -> None:
    desk.editor.rules = EditRules(overwrite="overlap")
    aorta = Region((5, 5, 7), (7, 7, 10))
    desk.labels[aorta.slices] = 2
    before = desk.labels.copy()
    desk.fill(Region((5, 5, 6), (7, 7, 9)))
    assert int(desk.segmentation.mask(2).sum()) == aorta.size
    assert int(desk.segmentation.mask(1).sum()) == 2 * 2 * 4
    over = desk.segmentation.group(desk.segmentation.segment(1).group)
    assert over.name == OVERLAP_GROUP
    assert not (desk.labels == 1).any(), "it is in one group only"
    assert len(desk.history.done) == 2
    for _ in range(2):
        desk.history.undo()
        assert [group.name for group in desk.segmentation.groups] == ["Drawn"]
        np.testing.assert_array_equal(desk.labels, before)
        desk.history.redo()
        assert int(desk.segmentation.mask(1).sum()) == 16


def test_segments_that_do_not_meet_share_one_group_over_the_others(desk: Desk) -> None:
    desk.editor.rules = EditRules(overwrite="overlap")
    desk.labels[:, :, 10:] = 2
    desk.segmentation.put_segment(Segment(3, "far away"))
    for value, low in ((1, 5), (3, 0)):
        region = Region((low, low, 9), (low + 2, low + 2, 12))
        with desk.editor.stroke("Brush", value) as stroke:
            stroke.paint(region, np.ones(region.shape, np.bool_))
    assert [group.name for group in desk.segmentation.groups] == ["Drawn", OVERLAP_GROUP]
    assert desk.segmentation.segment(1).group == desk.segmentation.segment(3).group
    region = Region((5, 5, 9), (7, 7, 12))
    with desk.editor.stroke("Brush", 3) as stroke:
        stroke.paint(region, np.ones(region.shape, np.bool_))
    assert len(desk.segmentation.groups) == 3, "now they do"
