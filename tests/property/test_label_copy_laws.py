"""A copy of a label map is what it was when it was asked for, whatever is written meanwhile."""

from __future__ import annotations

import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from medviewer.core.region import Region
from medviewer.core.segmentation import Group, LabelCopy

SHAPE = (19, 130, 70)


@st.composite
def regions(draw: st.DrawFn) -> Region:
    ends = [sorted(draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in SHAPE]
    (k0, k1), (j0, j1), (i0, i1) = ends
    return Region((k0, j0, i0), (k1, j1, i1))


def write(group: Group, region: Region, value: int) -> None:
    group.before_write(region)
    group.labels[region.slices] = value


def labels() -> np.ndarray:
    return np.arange(np.prod(SHAPE), dtype=np.uint32).astype(np.uint16).reshape(SHAPE)


@given(st.lists(st.tuples(regions(), st.booleans()), max_size=8))
def test_copies_are_what_was_there_when_they_were_asked_for(moves: list[tuple[Region, bool]]) -> None:
    group = Group(0, "g", labels())
    asked: list[tuple[LabelCopy, np.ndarray]] = []
    for n, (region, ask) in enumerate(moves):
        if ask:
            asked.append((group.copy_labels(), group.labels.copy()))
        write(group, region, n)
    for copy, before in asked:
        np.testing.assert_array_equal(copy.get(), before)
        assert not np.shares_memory(copy.get(), group.labels)


@given(st.lists(regions(), max_size=20))
def test_a_copy_made_by_a_thread_is_not_mixed_with_what_is_written_meanwhile(written: list[Region]) -> None:
    group = Group(0, "g", labels())
    before = group.labels.copy()
    copy = group.copy_labels()
    thread = threading.Thread(target=copy.get)
    thread.start()
    for n, region in enumerate(written):
        write(group, region, n)
    thread.join()
    np.testing.assert_array_equal(copy.get(), before)


def test_a_stroke_waits_only_for_the_boxes_that_it_changes() -> None:
    group = Group(0, "g", np.zeros((400, 512, 512), np.uint16))
    copy = group.copy_labels()
    for region in (Region((200, 0, 0), (201, 512, 512)), Region((0, 99, 0), (400, 100, 512))):
        left = copy._left.sum()
        group.before_write(region)
        assert (left - copy._left.sum()) * 8 * 64 * 64 <= 400 * 64 * 512
    assert copy._left.any()
    assert group._copies, "the rest is still to be copied"


def test_nobody_is_waited_for_who_is_gone() -> None:
    group = Group(0, "g", labels())
    copy = group.copy_labels()
    copy.get()
    other = group.copy_labels()
    del other
    group.before_write(Region.whole(SHAPE))
    assert not group._copies
