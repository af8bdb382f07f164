"""Laws of the editor: undo, redo, locks, rules, records, brush footprints."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from medviewer.core.geometry import Geometry, vec3
from medviewer.core.segmentation import Segment, Segmentation
from medviewer.editing.editor import EditRefused
from medviewer.editing.past import past_labels
from medviewer.editing.rules import EditRules
from medviewer.editing.stencil import capsule
from medviewer.editing.steps import step_from_record
from tests.editing_moves import GRID, Move, World, moves

QUICK = settings(max_examples=60, deadline=None)


@QUICK
@given(moves())
def test_undo_all_then_redo_all_is_identity(work: list[Move]) -> None:
    world = World()
    states = [world.state()]
    for move in work:
        before = len(world.history.done)
        world.do(move)
        if len(world.history.done) > before:
            states.append(world.state())
        else:
            assert world.state() == states[-1], "what is no step changes nothing"
    for expected in states[-2::-1]:
        world.history.undo()
        assert world.state() == expected
    assert not world.history.can_undo
    for expected in states[1:]:
        world.history.redo()
        assert world.state() == expected
    assert not world.history.can_redo


@QUICK
@given(moves("undo", "redo", "undo"))
def test_the_held_bytes_are_those_of_the_steps(work: list[Move]) -> None:
    world = World()
    for move in work:
        world.do(move)
        done = sum(step.nbytes for step in world.history.done)
        assert world.history.nbytes >= done
        while world.history.can_redo:
            world.history.redo()
        assert world.history.nbytes == sum(step.nbytes for step in world.history.done)


@QUICK
@given(moves())
def test_a_step_made_from_its_record_does_the_same(work: list[Move]) -> None:
    world, twin = World(), World()
    world.history.pushed.connect(lambda step: twin.history.do(step_from_record(twin.workspace, step.record())))
    for move in work:
        world.do(move)
        assert twin.state() == world.state()
    while world.history.can_undo:
        assert twin.history.undo() == world.history.undo()
        assert twin.state() == world.state()


@QUICK
@given(moves("undo", "redo"))
def test_a_locked_segment_never_gains_or_loses_a_voxel(work: list[Move]) -> None:
    world = World()
    for move in work:
        strokes = move.kind in ("paint", "erase", "remove")
        locked = {s.value: world.segmentation.mask(s.value).copy() for s in world.segmentation.segments if s.locked}
        world.do(move)
        if strokes:
            for value, mask in locked.items():
                np.testing.assert_array_equal(world.segmentation.mask(value), mask)


def expected_stroke(world: World, rules: EditRules, active: Segment, erase: bool) -> dict[int, np.ndarray]:
    """Return the mask of every segment after a stroke over everything, voxel by voxel, from the words of the rules."""
    segments = world.segmentation.segments
    masks = {s.value: world.segmentation.mask(s.value).copy() for s in segments}
    before = {value: mask.copy() for value, mask in masks.items()}
    beside = [s for s in segments if s.group == active.group and s.value != active.value]
    back = next((s for s in segments if rules.area == "inside one" and s.value == rules.area_segment), None)
    for index in np.ndindex(*GRID.shape):
        value = int(world.volume.array[index])
        if rules.intensity is not None:
            lower, upper = rules.intensity
            if (lower <= value <= upper) == rules.inverted:
                continue
        if rules.slices is not None and not rules.slices.first <= index[2 - rules.slices.axis] <= rules.slices.last:
            continue
        here = [s for s in segments if before[s.value][index]]
        if erase and back is not None and back.value != active.value:
            in_the_way = [s for s in here if s.group == back.group and s.value not in (back.value, active.value)]
            if before[active.value][index] and not in_the_way:
                masks[active.value][index], masks[back.value][index] = False, True
            continue
        side, _, which = rules.area.partition(" ")
        counted = [
            s
            for s in here
            if (which != "visible" or s.visible)
            and (which != "one" or s.value == rules.area_segment)
            and not (side == "outside" and s.value == active.value)
        ]
        if (side == "inside" and not counted) or (side == "outside" and counted):
            continue
        if erase:
            masks[active.value][index] = False
            continue
        other = next((s for s in beside if before[s.value][index]), None)
        if other is not None and rules.overwrite != "overlap":
            if other.locked or rules.overwrite == "none" or (rules.overwrite == "visible" and not other.visible):
                continue
            masks[other.value][index] = False
        masks[active.value][index] = True
    return masks


@settings(max_examples=120, deadline=None)
@given(moves(), st.integers(0, 10_000), st.booleans(), st.data())
def test_rules_hold_for_every_voxel(work: list[Move], number: int, erase: bool, data: st.DataObject) -> None:
    world = World()
    for move in work:
        world.do(move)
    unlocked = [s for s in world.segmentation.segments if not s.locked]
    assume(unlocked)
    active = data.draw(st.sampled_from(unlocked))
    rules = world.editor.rules = world.rules(number)
    before = world.state()
    steps = len(world.history.done)
    expected = expected_stroke(world, rules, active, erase)
    try:
        with world.editor.stroke("Fill", active.value) as stroke:
            stroke.paint(GRID.region, np.ones(GRID.shape, np.bool_), 0 if erase else None)
    except EditRefused:
        area = world.segmentation.find(rules.area_segment)
        assert rules.limits_area
        assert area is None or area.locked
        assert world.state() == before
        return
    for value, mask in expected.items():
        np.testing.assert_array_equal(world.segmentation.mask(value), mask)
    while len(world.history.done) > steps:
        world.history.undo()
    assert world.state() == before


@QUICK
@given(moves())
def test_a_stroke_that_raises_leaves_no_trace(work: list[Move]) -> None:
    world = World()
    for move in work:
        world.do(move)
    unlocked = [s for s in world.segmentation.segments if not s.locked]
    assume(unlocked)
    state, steps = world.state(), len(world.history.done)

    class Stop(BaseException):
        """Not an Exception, as a cancel is none."""

    def fail() -> None:
        with world.editor.stroke("Brush", unlocked[0].value) as stroke:
            stroke.paint(GRID.region, np.ones(GRID.shape, np.bool_))
            stroke.paint(GRID.region, np.ones(GRID.shape, np.bool_), 0)
            raise Stop

    with pytest.raises(Stop):
        fail()
    assert world.state() == state
    assert len(world.history.done) == steps
    assert not world.editor.stroke_open


@QUICK
@given(moves(), st.integers(1, 3000))
def test_the_bound_drops_old_steps_and_never_changes_the_state(work: list[Move], max_bytes: int) -> None:
    bounded, free = World(max_bytes, min_steps=30), World()
    for move in work * 2:
        bounded.do(move)
        free.do(move)
        assert bounded.state() == free.state()
        done = bounded.history.done
        held = sum(step.nbytes for step in done)
        assert len(done) <= 20 or held <= max_bytes or (len(done) <= 30 and held <= 4 * max_bytes)
        assert len(done) >= min(20, len(free.history.done))
        if sum(step.nbytes for step in free.history.done[-31:]) <= 4 * max_bytes:
            assert len(done) >= min(30, len(free.history.done))
    for _ in bounded.history.done:
        bounded.history.undo()
        free.history.undo()
        assert bounded.state() == free.state()


def test_nothing_changed_is_no_step() -> None:
    world = World()
    world.do(Move("result", (0,) * 8))
    (segment,) = world.segmentation.segments
    steps = len(world.history.done)
    with world.editor.stroke("Brush", segment.value) as stroke:
        assert stroke.paint(GRID.region, np.ones(GRID.shape, np.bool_)) is None
    assert len(world.history.done) == steps


# ---- brush footprints

_UNIT = st.floats(-1, 1)


@st.composite
def grids(draw: st.DrawFn) -> Geometry:
    """Turned, anisotropic, sometimes left-handed or sheared grids."""
    axis = np.array([draw(_UNIT), draw(_UNIT), draw(_UNIT)])
    assume(np.linalg.norm(axis) > 1e-3)
    axis /= np.linalg.norm(axis)
    angle = draw(st.floats(0, 2 * np.pi))
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    if draw(st.booleans()):
        turn[:, 2] *= -1
    if draw(st.booleans()):
        turn[:, 2] = turn[:, 2] * np.cos(0.3) + turn[:, 1] * np.sin(0.3)
    spacing = tuple(draw(st.floats(0.3, 4)) for _ in range(3))
    origin = tuple(draw(st.floats(-100, 100)) for _ in range(3))
    size = tuple(draw(st.integers(1, 9)) for _ in range(3))
    return Geometry(size, spacing, origin, tuple(turn.ravel()))  # type: ignore[arg-type]


@settings(max_examples=200, deadline=None)
@given(grids(), st.data(), st.floats(0.2, 8), st.sampled_from([None, 0, 1, 2]))
def test_a_capsule_is_every_voxel_within_its_radius(
    geometry: Geometry, data: st.DataObject, radius_mm: float, axis: int | None
) -> None:
    index = st.tuples(*[st.floats(-3, n + 2) for n in geometry.size])
    ends = np.array([data.draw(index), data.draw(index)])
    # Half-way between two voxels, rounding decides which of them is under the brush.
    assume((np.abs(np.mod(ends, 1) - 0.5) > 1e-6).all())
    start, end = geometry.index_to_lps(ends)
    region, mask = capsule(geometry, vec3(start), vec3(end), radius_mm, axis)
    painted = np.zeros(geometry.shape, np.bool_)
    painted[region.slices] = mask

    voxels = np.argwhere(np.ones(geometry.shape, np.bool_))[:, ::-1].astype(float)
    in_slice = np.ones(len(voxels), np.bool_)
    path = ends.copy()
    if axis is not None:
        in_slice = voxels[:, axis] == np.floor(ends[0, axis] + 0.5)
        path[1, axis] = path[0, axis]
        voxels[:, axis] = path[0, axis]
    points, (a, b) = geometry.index_to_lps(voxels), geometry.index_to_lps(path)
    along = np.clip((points - a) @ (b - a) / max(float((b - a) @ (b - a)), 1e-30), 0, 1)
    distance = np.linalg.norm(points - (a + along[:, None] * (b - a)), axis=1)
    surely = (in_slice & (distance < radius_mm - 1e-6)).reshape(geometry.shape)
    never = (~in_slice | (distance > radius_mm + 1e-6)).reshape(geometry.shape)
    under = np.zeros(geometry.shape, np.bool_)
    for point in path:
        kji = np.floor(point + 0.5).astype(int)[::-1]
        if axis is not None:
            kji[2 - axis] = int(np.floor(ends[0, axis] + 0.5))
        if geometry.region.contains(tuple(kji)):
            under[tuple(kji)] = True
    assert (painted | ~surely).all(), "a voxel inside the radius is missing"
    assert (~painted | ~never | under).all(), "a voxel outside the radius is painted"
    assert (painted | ~under).all(), "the voxel under the brush is missing"


def test_a_fast_mouse_leaves_no_gap() -> None:
    """A capsule from a to c holds all balls on its way."""
    geometry = Geometry((40, 40, 1), (0.5, 0.5, 1))
    region, mask = capsule(geometry, (1, 1, 0), (18, 17, 0), 1.0, 2)
    whole = np.zeros(geometry.shape, np.bool_)
    whole[region.slices] = mask
    for t in np.linspace(0, 1, 200):
        point = (1 + 17 * t, 1 + 16 * t, 0)
        small, dab = capsule(geometry, point, point, 0.999, 2)
        assert whole[small.slices][dab].all()


def test_segments_keep_their_place_in_the_list() -> None:
    segmentation = Segmentation(GRID)
    segmentation.put_group(segmentation.new_group())
    for value in (5, 3, 9):
        segmentation.put_segment(Segment(value, str(value)))
    taken, position = segmentation.take_segment(3)
    segmentation.put_segment(taken, position)
    assert [s.value for s in segmentation.segments] == [5, 3, 9]


@QUICK
@given(moves("undo", "redo"))
def test_the_past_is_read_without_going_there(work: list[Move]) -> None:
    """What the voxels of a group were before any number of steps is what undo would bring back."""
    world = World()
    for move in work:
        world.do(move)
    now = world.state()
    groups = {group.id: group.labels for group in world.segmentation.groups}
    done = world.history.done
    read = [
        {n: past_labels(labels, done[len(done) - ago :], "v", n) for n, labels in groups.items()}
        for ago in range(len(done) + 1)
    ]
    assert world.state() == now
    for past in read:
        for n, labels in past.items():
            there = world.segmentation.has_group(n)
            assert np.array_equal(labels, world.segmentation.group(n).labels if there else np.zeros_like(labels))
        world.history.undo()
