"""What is drafted is what is shown, what is made, and what strokes would have made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medviewer.core.geometry import Geometry
from medviewer.core.provenance import Provenance
from medviewer.core.region import Region
from medviewer.core.segmentation import Segment, Segmentation
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing import draft as module
from medviewer.editing.change import Change, NewSegment, SegmentMask
from medviewer.editing.editor import EditRefused, LabelEditor
from medviewer.editing.history import UndoStack
from medviewer.editing.rules import AREAS, EditRules, SliceRange
from medviewer.editing.stroke import open_stroke

GRID = Geometry((7, 6, 5), (0.8, 0.9, 2.0), (3.0, -4.0, 5.0))
#: Group of each segment.
GROUPS = {1: 0, 2: 0, 3: 0, 4: 1}


class Desk:
    """Four segments in two groups, at random."""

    def __init__(self, seed: int, locked: frozenset[int] = frozenset(), hidden: frozenset[int] = frozenset()) -> None:
        rng = np.random.default_rng(seed)
        self.workspace = Workspace()
        self.workspace.add_volume(Volume(rng.integers(0, 100, GRID.shape).astype(np.int16), GRID, id="v"))
        self.target: Segmentation = self.workspace.segmentation("v")
        for values in ((0, 1, 2, 3), (0, 4)):
            group = self.target.new_group()
            group.labels[:] = rng.choice(values, GRID.shape)
            self.target.put_group(group)
        for value, group_id in GROUPS.items():
            made = Provenance(task="model") if value == 2 else Segment(1, "").provenance
            self.target.put_segment(
                Segment(
                    value, f"s{value}", (value, 0, 0), group_id, value not in hidden, value in locked, provenance=made
                )
            )
        self.target.active = 1
        self.history = UndoStack()

    def editor(self, rules: EditRules) -> LabelEditor:
        return LabelEditor(self.workspace, self.history, "v", rules)

    @property
    def masks(self) -> dict[int, np.ndarray]:
        return {s.value: self.target.mask(s.value).copy() for s in self.target.segments}

    @property
    def all(self) -> tuple[Any, ...]:
        return (self.target.segments, [(g.id, g.name, g.labels.tobytes()) for g in self.target.groups])


@dataclass(frozen=True)
class Case:
    seed: int
    rules: EditRules
    change: Change
    locked: frozenset[int]
    hidden: frozenset[int]

    def desk(self) -> Desk:
        return Desk(self.seed, self.locked, self.hidden)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def part() -> tuple[Region, np.ndarray]:
        low = rng.integers(-1, 4, 3)
        region = Region(tuple(low.tolist()), tuple((low + rng.integers(1, 5, 3)).tolist()))
        return region, rng.random(region.shape) < 0.6

    values = draw(st.lists(st.sampled_from(list(GROUPS)), max_size=3, unique=True))
    new = tuple(NewSegment(f"new {n}", *part(), instance=n % 2) for n in range(draw(st.integers(0, 2))))
    rules = EditRules(
        overwrite=draw(st.sampled_from(("all", "visible", "none", "overlap"))),
        area=draw(st.sampled_from(AREAS)),
        area_segment=draw(st.sampled_from(list(GROUPS))),
        intensity=draw(st.sampled_from((None, (20.0, 80.0)))),
        inverted=draw(st.booleans()),
        slices=draw(st.sampled_from((None, SliceRange(0, 1, 3), SliceRange(2, 2, 4)))),
    )
    change = Change("Change", tuple(SegmentMask(value, *part()) for value in values), new)
    some = st.frozensets(st.sampled_from((2, 3, 4)), max_size=2)
    return Case(draw(st.integers(0, 9)), rules, change, draw(some) - set(values), draw(some))


@settings(max_examples=150, deadline=None)
@given(cases())
def test_what_is_shown_is_what_is_made(case: Case) -> None:
    desk = case.desk()
    editor = desk.editor(case.rules)
    before, everything = desk.masks, desk.all
    try:
        made = editor.draft(case.change)
    except EditRefused:
        return
    assert desk.all == everything, "a draft writes nothing"
    box = editor.apply(made)
    after = desk.masks
    shown = {value: np.zeros(GRID.shape, np.bool_) for value in (0, 255, *GROUPS)}
    for part in made.preview:
        assert part.mask.any(axis=(1, 2))[[0, -1]].all()
        key = 0 if part.removed else part.color[0]
        shown[key][part.region.slices] |= part.mask
    lost = np.zeros(GRID.shape, np.bool_)
    fresh = lost.copy()
    for value, mask in after.items():
        gained = mask & ~before.get(value, np.zeros_like(mask))
        if value in before:
            np.testing.assert_array_equal(shown[value], gained)
            lost |= before[value] & ~mask & (desk.target.group(GROUPS[value]).labels == 0)
        else:
            fresh |= gained
    np.testing.assert_array_equal(shown[255], fresh)
    np.testing.assert_array_equal(shown[0] & ~lost, np.zeros_like(lost))
    taken = np.any([after[v] & ~before[v] for v in before], axis=0) | fresh
    np.testing.assert_array_equal(lost & ~shown[0] & ~taken, np.zeros_like(lost))
    assert (box is None) == (not desk.history.done or not made.written)
    while desk.history.undo():
        pass
    assert desk.all == everything


@settings(max_examples=100, deadline=None)
@given(cases())
def test_a_draft_makes_what_strokes_would(case: Case) -> None:
    one, two = case.desk(), case.desk()
    change = replace(case.change, new=())
    try:
        one.editor(case.rules).apply(change)
    except EditRefused:
        return
    for erased in (True, False):
        for part in change.masks:
            stroke = open_stroke(two.workspace, "v", part.value, case.rules)
            stroke.paint(part.region, ~part.mask if erased else part.mask, 0 if erased else None)
    for a, b in zip(one.target.groups, two.target.groups, strict=True):
        np.testing.assert_array_equal(a.labels, b.labels)
    assert [s.group for s in one.target.segments] == [s.group for s in two.target.segments]


FULL = np.ones((2, 2, 2), np.bool_)
AT = Region((1, 1, 1), (3, 3, 3))


def test_a_draft_of_what_is_no_more_is_made_anew() -> None:
    desk = Desk(3)
    editor = desk.editor(EditRules(overwrite="none"))
    made = editor.draft(Change("Fill", (SegmentMask(1, AT, FULL),)))
    with editor.stroke("Erase", 2) as stroke:
        stroke.paint(GRID.region, np.ones(GRID.shape, np.bool_), 0)
    want = (desk.target.group(0).labels[AT.slices] == 0) | desk.target.mask(1, AT)
    editor.apply(made)
    np.testing.assert_array_equal(desk.target.mask(1, AT), want)
    made = editor.draft(Change("Clear", (SegmentMask(1, AT, ~FULL),)))
    desk.target.put_segment(replace(desk.target.segment(1), locked=True))
    with pytest.raises(EditRefused):
        editor.apply(made)


def test_making_a_draft_asks_nothing_and_writes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the window waits for is one copy into the label map: no rule is looked up, no mask is packed."""
    desk = Desk(4)
    editor = desk.editor(EditRules(intensity=(20.0, 80.0)))
    made = editor.draft(Change("Fill", (SegmentMask(1, AT, FULL), SegmentMask(2, AT, ~FULL))))

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("work left for the main thread")

    monkeypatch.setattr(module, "_carried_out", fail)
    monkeypatch.setattr(EditRules, "editable", fail)
    monkeypatch.setattr(np, "packbits", fail)
    monkeypatch.setattr(np, "unpackbits", fail)
    told: list[Region] = []
    desk.target.labels_changed.connect(lambda region, _group: told.append(region))
    assert editor.apply(made) == made.region
    assert told == [made.region]
    assert desk.target.segment(2).edited
