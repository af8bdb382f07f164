"""Tools that grow: what each of them makes of a made image, in every plane, within the rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medviewer.core.errors import InputError
from medviewer.core.geometry import Geometry, Vec3, vec3
from medviewer.core.segmentation import Segment
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.change import Change
from medviewer.editing.editor import EditRefused, LabelEditor
from medviewer.editing.effect import EditScene
from medviewer.editing.history import UndoStack
from medviewer.editing.tool import PointerEvent, ToolContext
from medviewer.editing.tools.active_contour import ActiveContour
from medviewer.editing.tools.fill_between import FillBetween
from medviewer.editing.tools.grow_from_seeds import GrowFromSeeds
from medviewer.editing.tools.level_tracing import LevelTracing
from medviewer.editing.tools.random_walker import RandomWalker
from medviewer.editing.tools.threshold import Threshold
from medviewer.editing.tools.track import Track
from medviewer.editing.tools.wand import MagicWand
from medviewer.editing.tools.watershed import Watershed
from medviewer.jobs.job import JobCancelled, NullContext

#: Anisotropic, turned, and sheared as by a tilted gantry.
GRID = Geometry((40, 36, 20), (0.8, 0.9, 1.8), (3.0, -4.0, 5.0), (0.8, -0.6, 0.0, 0.6, 0.8, 0.2, 0.0, 0.0, 0.98))
MIDDLE = (10, 18, 20)


class Desk:
    """A bright ball in noise, and three segments of one group."""

    def __init__(self) -> None:
        k, j, i = np.mgrid[:20, :36, :40]
        lps = GRID.index_to_lps(np.stack([i, j, k], axis=-1))
        self.away = np.linalg.norm(lps - GRID.index_to_lps(MIDDLE[::-1]), axis=-1)
        self.ball = self.away <= 9.0
        noise = np.random.default_rng(0).normal(0, 6, GRID.shape)
        self.volume = Volume((np.where(self.ball, 100, 0) + noise).astype(np.int16), GRID, "CT", "CT", "HU")
        self.workspace = Workspace()
        self.workspace.add_volume(self.volume)
        self.history = UndoStack()
        self.segmentation = self.workspace.segmentation(self.volume.id)
        self.segmentation.put_group(self.segmentation.new_group())
        for value in (1, 2, 3):
            self.segmentation.put_segment(Segment(value, f"Part {value}"))
        self.segmentation.active = 1
        self.editor = LabelEditor(self.workspace, self.history, self.volume.id)

    @property
    def labels(self) -> np.ndarray:
        return self.segmentation.group(0).labels

    def active(self, tool: Any) -> Any:
        tool.activate(ToolContext(self.editor))
        return tool

    def plan(self, tool: Any, axis: int = 2) -> Any:
        segment = self.segmentation.segment(self.segmentation.active)
        return tool.plan(EditScene(self.volume, self.segmentation, segment, at(*MIDDLE), axis))

    def do(self, tool: Any, axis: int = 2) -> Change:
        """Apply what the tool computes; undoing it must bring everything back."""
        before = self.labels.copy()
        change: Change = self.plan(tool, axis)(NullContext())
        assert np.array_equal(self.labels, before)
        self.editor.apply(change)
        after = self.labels.copy()
        if not np.array_equal(before, after):
            assert self.history.undo_label == change.label
            self.history.undo()
            assert np.array_equal(self.labels, before)
            self.history.redo()
        return change

    def dice(self, mask: np.ndarray, value: int = 1) -> float:
        mine = self.labels == value
        return float(2 * (mine & mask).sum() / (mine.sum() + mask.sum()))

    def seed(self) -> None:
        """A stroke in the ball, and one around it."""
        self.labels[MIDDLE[0], 17:20, 18:23] = 1
        self.labels[(self.away > 13) & (self.away < 14.5)] = 2


def at(k: float, j: float, i: float) -> Vec3:
    return vec3(GRID.index_to_lps((i, j, k)))


def event(phase: Any, lps: Vec3, axis: int = 2, *modifiers: Any) -> PointerEvent:
    return PointerEvent(phase, lps, axis, frozenset(modifiers))


@pytest.fixture
def desk() -> Desk:
    return Desk()


# ---- seeds


@pytest.mark.parametrize(("tool", "least"), [(GrowFromSeeds, 0.97), (Watershed, 0.9), (RandomWalker, 0.95)])
def test_the_ball_grows_from_a_stroke(desk: Desk, tool: Any, least: float) -> None:
    desk.seed()
    seeds = desk.labels.copy()
    desk.do(tool())
    assert desk.dice(desk.ball) > least
    assert np.array_equal(desk.labels[seeds > 0], seeds[seeds > 0])


@pytest.mark.parametrize("tool", [GrowFromSeeds, Watershed, RandomWalker])
def test_hidden_segments_are_neither_seeds_nor_grown_over(desk: Desk, tool: Any) -> None:
    desk.seed()
    desk.labels[9:11, 15:17, 20:24] = 3
    hidden = desk.labels == 3
    desk.segmentation.put_segment(replace(desk.segmentation.segment(3), visible=False))
    desk.do(tool())
    assert np.array_equal(desk.labels == 3, hidden)


def test_a_locked_segment_competes_and_stays(desk: Desk) -> None:
    desk.seed()
    locked = desk.labels == 2
    desk.segmentation.put_segment(replace(desk.segmentation.segment(2), locked=True))
    desk.do(GrowFromSeeds())
    assert np.array_equal(desk.labels == 2, locked)
    assert desk.dice(desk.ball) > 0.95


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_without_its_seed_nothing_of_a_segment_grows(seed: int) -> None:
    desk = Desk()
    desk.seed()
    rng = np.random.default_rng(seed)
    place = tuple(int(rng.integers(0, n)) for n in GRID.shape)
    alone = desk.plan(GrowFromSeeds())(NullContext())
    before = int(desk.labels[place])
    desk.labels[place] = 3
    with_it = desk.plan(GrowFromSeeds())(NullContext())
    assert 3 in [part.value for part in with_it.masks]
    desk.labels[place] = before
    again = desk.plan(GrowFromSeeds())(NullContext())
    assert [part.value for part in again.masks] == [1, 2]
    for one, two in zip(alone.masks, again.masks, strict=True):
        assert one.region == two.region
        assert np.array_equal(one.mask, two.mask)


def test_one_segment_alone_says_what_is_missing(desk: Desk) -> None:
    desk.labels[MIDDLE] = 1
    for tool in (GrowFromSeeds, Watershed, RandomWalker):
        change = desk.plan(tool())(NullContext())
        assert not change.masks
        assert "two visible segments" in change.note
    for value in (2, 3):
        desk.segmentation.put_segment(replace(desk.segmentation.segment(value), visible=False))
    assert desk.plan(GrowFromSeeds()) is None


def test_it_stays_near_what_was_drawn(desk: Desk) -> None:
    desk.labels[10, 17:20, 19:22] = 1
    desk.labels[10, 17:20, 5:8] = 2
    change = desk.plan(GrowFromSeeds())(NullContext())
    for part in change.masks:
        assert part.region.lower >= (7, 14, 2)
        assert all(a <= b for a, b in zip(part.region.upper, (14, 23, 25), strict=True))


# ---- fill between


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_skipped_slices_are_filled_in_every_plane(desk: Desk, axis: int) -> None:
    drawn = np.moveaxis(desk.labels, 2 - axis, 0)
    ball = np.moveaxis(desk.ball, 2 - axis, 0)
    used = np.flatnonzero(ball.any(axis=(1, 2)))
    keep = used[[0, len(used) // 4, len(used) // 2, 3 * len(used) // 4, -1]]
    drawn[keep] = ball[keep]
    before = drawn[keep].copy()
    desk.do(FillBetween(), axis=2)
    assert np.array_equal(drawn[keep], before)
    assert desk.dice(desk.ball) > 0.9


def test_all_visible_segments_are_filled_and_none_over_another(desk: Desk) -> None:
    for k in (2, 12):
        desk.labels[k, 5:15, 5:15], desk.labels[k, 5:15, 20:30] = 1, 2
    desk.labels[7, 8:12, 8:12] = 3
    tool = FillBetween()
    tool.options.segments = "all visible"
    desk.do(tool)
    assert (desk.labels[7, 8:12, 8:12] == 3).all()
    assert (desk.labels[6, 5:15, 5:8] == 1).all()
    assert (desk.labels[3:12, 9, 25] == 2).all()


def test_nothing_skipped_says_so(desk: Desk) -> None:
    desk.labels[desk.ball] = 1
    assert "No slice" in desk.do(FillBetween()).note


# ---- threshold


def test_the_first_range_is_the_bright_part(desk: Desk) -> None:
    tool = desk.active(Threshold())
    note = desk.do(tool).note
    assert desk.dice(desk.ball) > 0.99
    assert "HU" in note
    tool.options.lower = -5.0
    desk.active(tool)
    assert tool.options.lower == -5.0


@pytest.mark.parametrize("method", ["Otsu", "Li", "Huang", "Maximum entropy"])
def test_automatic_methods_find_the_ball_and_its_opposite(desk: Desk, method: str) -> None:
    tool = desk.active(Threshold())
    tool.options.method = method
    assert method in desk.do(tool).note
    bright = desk.labels == 1
    assert desk.dice(desk.ball) > 0.85
    tool.options.keep = "dark"
    desk.do(tool)
    assert np.array_equal(desk.labels == 1, ~bright)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_only_the_shown_slice_is_filled(desk: Desk, axis: int) -> None:
    tool = desk.active(Threshold())
    tool.options.fill = "shown slice"
    desk.do(tool, axis)
    used = np.flatnonzero(np.moveaxis(desk.labels, 2 - axis, 0).any(axis=(1, 2)))
    assert list(used) == [MIDDLE[2 - axis]]


def test_what_is_there_grows_or_is_narrowed(desk: Desk) -> None:
    desk.labels[:, :18] = 1
    half = desk.labels == 1
    tool = desk.active(Threshold())
    tool.options.segment = "is narrowed"
    desk.do(tool)
    assert np.array_equal(desk.labels == 1, half & (desk.volume.array >= tool.options.lower))
    desk.history.undo()
    tool.options.segment = "grows"
    desk.do(tool)
    assert np.array_equal(desk.labels == 1, half | (desk.volume.array >= tool.options.lower))
    desk.history.undo()
    tool.options.segment, tool.options.outside = "is replaced", True
    desk.do(tool)
    assert np.array_equal(desk.labels == 1, desk.volume.array < tool.options.lower)


def test_an_empty_segment_has_no_box_to_look_at(desk: Desk) -> None:
    tool = desk.active(Threshold())
    tool.options.fill = "box of the segment"
    with pytest.raises(EditRefused, match="empty"):
        desk.plan(tool)


def test_a_flat_place_has_no_threshold(desk: Desk) -> None:
    tool = desk.active(Threshold())
    desk.labels[MIDDLE] = 1
    tool.options.method, tool.options.histogram_of = "Otsu", "box of the segment"
    with pytest.raises(InputError):
        desk.plan(tool)(NullContext())


# ---- wand


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("grows", ["in 3D", "in the slice"])
def test_a_click_takes_the_ball_or_its_slice(desk: Desk, axis: int, grows: Any) -> None:
    tool = desk.active(MagicWand())
    tool.options.grows, tool.options.automatic = grows, False
    tool.pointer(event("press", at(*MIDDLE), axis))
    tool.pointer(event("release", at(*MIDDLE), axis))
    desk.do(tool)
    wanted = desk.ball.copy()
    if grows == "in the slice":
        np.moveaxis(wanted, 2 - axis, 0)[np.arange(GRID.shape[2 - axis]) != MIDDLE[2 - axis]] = False
    assert desk.dice(wanted) == 1.0
    tool.pointer(event("press", at(*MIDDLE), axis, "ctrl"))
    desk.do(tool)
    assert not (desk.labels == 1).any()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_dragging_up_is_more_tolerant_and_down_less(desk: Desk, axis: int) -> None:
    tool = desk.active(MagicWand())
    tool.pointer(event("press", at(*MIDDLE), axis))
    first = tool.options.tolerance
    up = np.array([0.0, -15.0, 0.0] if axis == 2 else [0.0, 0.0, 15.0])
    middle = np.array(at(*MIDDLE))
    tool.pointer(event("move", vec3(middle + up), axis))
    more = tool.options.tolerance
    tool.pointer(event("move", vec3(middle - up), axis))
    less = tool.options.tolerance
    tool.pointer(event("release", vec3(middle - up), axis))
    assert less < first < more
    tool.pointer(event("move", vec3(middle + up), axis))
    assert tool.options.tolerance == less


def test_the_wand_stays_within_reach_and_forgets_on_escape(desk: Desk) -> None:
    tool = desk.active(MagicWand())
    tool.options.automatic, tool.options.tolerance, tool.options.reach_mm = False, 1000.0, 4.0
    tool.pointer(event("press", at(*MIDDLE)))
    desk.do(tool)
    _, j, _ = np.nonzero(desk.labels == 1)
    assert np.ptp(j) * GRID.spacing[1] <= 10.0
    assert tool.wheel(1, frozenset({"shift"}))
    assert tool.options.tolerance > 1000
    assert tool.key("cancel")
    assert desk.plan(tool) is None
    assert not tool.key("cancel")


def test_a_cancelled_wand_stops(desk: Desk) -> None:
    class Cancelled(NullContext):
        def check_cancelled(self) -> None:
            raise JobCancelled

    tool = desk.active(MagicWand())
    tool.pointer(event("press", at(*MIDDLE)))
    with pytest.raises(JobCancelled):
        desk.plan(tool)(Cancelled())


# ---- level tracing


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_hovering_shows_the_level_and_a_click_fills_it(desk: Desk, axis: int) -> None:
    smooth = (2000 - 10 * desk.away**2).astype(np.float32)
    volume = Volume(smooth, GRID, "hill")
    desk.workspace.add_volume(volume)
    desk.segmentation = desk.workspace.segmentation(volume.id)
    desk.segmentation.put_group(desk.segmentation.new_group())
    desk.segmentation.put_segment(Segment(1, "Hill"))
    desk.segmentation.active = 1
    desk.editor = LabelEditor(desk.workspace, desk.history, volume.id)
    place = list(MIDDLE)
    place[2 if axis != 0 else 1] += 5
    tool = desk.active(LevelTracing())
    assert not tool.pointer(event("hover", at(*place), axis))
    (line,) = tool.cursor.lines
    assert line.closed
    assert np.allclose(GRID.lps_to_index(line.points_lps)[:, axis], MIDDLE[2 - axis], atol=1e-6)
    assert tool.pointer(event("press", at(*place), axis))
    cut = np.moveaxis(smooth, 2 - axis, 0)[MIDDLE[2 - axis]]
    mine = np.moveaxis(desk.labels == 1, 2 - axis, 0)
    level = smooth[tuple(place)]
    assert np.array_equal(mine[MIDDLE[2 - axis]] | (cut == level), cut >= level)
    assert mine.sum() == mine[MIDDLE[2 - axis]].sum()
    tool.pointer(event("press", at(*place), axis, "ctrl"))
    assert not desk.labels.any()
    tool.pointer(event("hover", vec3((500.0, 0.0, 0.0)), axis))
    assert not tool.cursor.lines


# ---- tracking


def test_a_vessel_between_two_clicks(desk: Desk) -> None:
    image = np.zeros(GRID.shape, np.int16)
    k, j, i = np.mgrid[:20, :36, :40]
    middle = np.array([at(n, 12 + round(6 * np.sin(n / 5)), 10 + n) for n in range(20)])
    lps = GRID.index_to_lps(np.stack([i, j, k], axis=-1))
    vessel = np.min([np.linalg.norm(lps - point, axis=-1) for point in middle], axis=0) <= 2.5
    image[vessel] = 200
    image += np.random.default_rng(0).normal(0, 8, image.shape).astype(np.int16)
    desk.volume = Volume(image, GRID, "CT", "CT", "HU", id=desk.volume.id)
    tool = Track()
    tool.activate(ToolContext(desk.editor))
    tool.pointer(event("press", vec3(middle[1])))
    assert desk.plan(tool) is None
    tool.pointer(event("press", vec3(middle[-2])))
    change = desk.do(tool)
    assert desk.dice(vessel) > 0.85
    assert "mm long" in change.note
    assert len(tool.cursor.prompts) == 2
    assert tool.key("back")
    assert desk.plan(tool) is None


# ---- active contour


def test_a_bubble_becomes_the_ball(desk: Desk) -> None:
    tool = desk.active(ActiveContour())
    with pytest.raises(EditRefused, match="nothing to start from"):
        desk.plan(tool)
    tool.options.bubble_mm, tool.options.reach_mm, tool.options.iterations = 4.0, 12.0, 120
    tool.options.stops_at = "end of a range"
    tool.options.spread = 4.0
    tool.pointer(event("press", at(*MIDDLE)))
    desk.do(tool)
    assert desk.dice(desk.ball) > 0.93


def test_a_segment_moves_to_the_edges(desk: Desk) -> None:
    desk.labels[desk.away < 5] = 1
    tool = desk.active(ActiveContour())
    tool.options.reach_mm, tool.options.iterations = 10.0, 80
    desk.do(tool)
    assert desk.dice(desk.ball) > 0.9
