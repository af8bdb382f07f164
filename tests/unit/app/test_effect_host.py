"""Tools that compute: shown before they are applied, one named step, never over newer edits."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from medviewer.app.context import AppContext
from medviewer.core.region import Region, box_of_value
from medviewer.core.tilt import STRAIGHT, tilted_grid, turned
from medviewer.core.volume import Volume
from medviewer.editing.change import Change, NewSegment, SegmentMask
from medviewer.editing.editor import EditRefused, LabelEditor
from medviewer.editing.effect import Compute, EditScene, Effect
from medviewer.editing.rules import EditRules, SliceRange
from medviewer.editing.tool import BaseTool, PointerEvent, ToolInfo
from medviewer.jobs.job import JobContext
from tests.unit.app.conftest import Pump

BOX = Region((2, 3, 4), (5, 6, 7))


@dataclass
class Options:
    shift: int = 0


class Stamp(BaseTool):
    """Makes the active segment a box."""

    live: ClassVar[bool] = True
    stays: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.options = Options()
        self.plans = 0
        self.scene: EditScene | None = None

    def plan(self, scene: EditScene) -> Compute | None:
        self.plans += 1
        self.scene = scene
        shift, value = self.options.shift, scene.segment.value
        if shift < 0:
            raise EditRefused("Nothing to stamp.")

        def compute(ctx: JobContext) -> Change:
            ctx.check_cancelled()
            region = Region(BOX.lower, (BOX.upper[0] + shift, *BOX.upper[1:]))
            return Change("Stamp", (SegmentMask(value, region, np.ones(region.shape, np.bool_)),))

        return compute


@pytest.fixture
def stamp(app: AppContext, opened: Volume) -> Stamp:
    made = Stamp()
    app.router.tools = (*app.router.tools, ToolInfo("stamp", "Stamp", "", lambda: made))
    app.router.activate("stamp")
    return made


def test_a_live_tool_shows_its_result_and_applies_it_as_one_named_step(
    app: AppContext, pump: Pump, stamp: Stamp
) -> None:
    assert isinstance(stamp, Effect)
    host = app.router.effects
    pump.until(lambda: host.state == "previewing")
    assert [part.region for part in app.workspace.view.preview] == [BOX]
    segmentation = app.workspace.active_segmentation
    assert segmentation is not None
    assert not segmentation.mask(segmentation.active).any()
    assert app.router.key("apply")
    assert Region.of_mask(segmentation.mask(segmentation.active)) == BOX
    assert app.history.undo_label == "Stamp"
    assert app.workspace.view.preview == ()
    app.undo()
    assert not segmentation.mask(segmentation.active).any()


def test_escape_drops_the_preview_and_then_the_tool(app: AppContext, pump: Pump, stamp: Stamp) -> None:
    pump.until(lambda: app.router.effects.state == "previewing")
    app.router.navigate()
    assert app.workspace.view.preview == ()
    assert app.router.active_id == "stamp"
    app.router.navigate()
    assert app.router.active_id == ""
    assert app.router.effects.effect is None


def test_an_option_or_an_edit_makes_it_compute_anew(app: AppContext, pump: Pump, stamp: Stamp) -> None:
    host = app.router.effects
    pump.until(lambda: host.state == "previewing")
    stamp.options.shift = 1
    app.router.options_changed()
    assert host.state == "computing"
    pump.until(lambda: host.state == "previewing")
    assert app.workspace.view.preview[0].region.upper[0] == BOX.upper[0] + 1
    plans = stamp.plans
    volume = app.workspace.active
    assert volume is not None
    with LabelEditor(app.workspace, app.history, volume.id).stroke("Dab") as stroke:
        stroke.paint(Region((0, 0, 0), (1, 1, 1)), np.ones((1, 1, 1), np.bool_))
    assert stamp.plans > plans
    assert host.state == "computing"
    app.router.key("apply")
    segmentation = app.workspace.segmentation(volume.id)
    assert segmentation.mask(segmentation.active).sum() == 1
    pump.until(lambda: host.state == "idle")
    assert segmentation.mask(segmentation.active)[BOX.slices].all()


def test_what_is_shown_is_what_the_limits_let_through(app: AppContext, pump: Pump, stamp: Stamp) -> None:
    host = app.router.effects
    pump.until(lambda: host.state == "previewing")
    app.router.rules = replace(app.router.rules, slices=SliceRange(2, 3, 100))
    assert host.state == "computing"
    pump.until(lambda: host.state == "previewing")
    (shown,) = app.workspace.view.preview
    assert shown.region.lower == (3, *BOX.lower[1:])
    assert app.router.key("apply")
    segmentation = app.workspace.active_segmentation
    assert segmentation is not None
    assert Region.of_mask(segmentation.mask(segmentation.active)) == shown.region
    # A lock is told beside the tool, not in a message for every look.
    segmentation.put_segment(replace(segmentation.segment(segmentation.active), locked=True))
    pump.until(lambda: host.state == "idle")
    assert "is locked" in host.refusal
    assert not any("is locked" in message.text for message in app.messages.messages)
    app.router.key("apply")
    pump.until(lambda: any("is locked" in message.text for message in app.messages.messages))


def test_cancel_does_not_wait_for_a_library(app: AppContext, pump: Pump, opened: Volume) -> None:
    """Three runs that hear nothing are left behind, more than there are threads for such work; the fourth one runs."""
    entered, go_on = threading.Semaphore(0), threading.Event()

    class Deaf(Stamp):
        live: ClassVar[bool] = False

        def plan(self, scene: EditScene) -> Compute | None:
            compute = super().plan(scene)
            assert compute is not None
            first = self.plans <= 3

            def deaf(ctx: JobContext) -> Change:
                entered.release()
                assert not first or go_on.wait(60)
                return compute(ctx)

            return deaf

    made = Deaf()
    app.router.tools = (*app.router.tools, ToolInfo("deaf", "Deaf", "", lambda: made))
    app.router.activate("deaf")
    host = app.router.effects
    try:
        for _ in range(3):
            host.preview()
            pump.until(lambda: entered.acquire(blocking=False))
            assert host.discard()
            assert host.state == "idle"
        host.preview()
        pump.until(lambda: host.state == "previewing")
    finally:
        go_on.set()
    assert app.workspace.view.preview


def test_a_refusal_is_told_when_it_is_applied(app: AppContext, pump: Pump, stamp: Stamp) -> None:
    stamp.options.shift = -1
    app.router.options_changed()
    app.router.key("apply")
    assert app.messages.messages[-1].text == "Nothing to stamp."
    assert app.router.effects.state == "idle"


def test_another_tool_ends_it(app: AppContext, pump: Pump, stamp: Stamp) -> None:
    pump.until(lambda: app.router.effects.state == "previewing")
    app.router.activate("brush")
    assert app.router.effects.effect is None
    assert app.workspace.view.preview == ()


def test_one_that_stays_follows_what_is_drawn(app: AppContext, pump: Pump, opened: Volume) -> None:
    class Staying(Stamp):
        stays: ClassVar[bool] = True

    made = Staying()
    app.router.tools = (*app.router.tools, ToolInfo("staying", "Staying", "", lambda: made, "grow"))
    app.router.activate("staying")
    app.router.activate("brush")
    host = app.router.effects
    assert host.effect is made
    pump.until(lambda: host.state == "previewing")
    plans = made.plans
    app.router.rules = replace(app.router.rules, slices=SliceRange(2, 3, 100))
    pump.until(lambda: host.state == "previewing" and host.effect is made)
    assert app.workspace.view.preview[0].region.lower[0] == 3
    assert made.plans == plans, "what it has found stays as it is"
    app.router.activate("")
    assert app.router.effects.effect is None


def test_a_change_is_made_whole_or_not_at_all(app: AppContext, opened: Volume) -> None:
    one, two = (app.segments.add(opened.id, name) for name in ("one", "two"))
    segmentation = app.workspace.segmentation(opened.id)
    editor = LabelEditor(app.workspace, app.history, opened.id)
    full = np.ones(BOX.shape, np.bool_)
    editor.apply(Change("First", (SegmentMask(one.value, BOX, full),)))
    # The two trade their voxels.
    half = full.copy()
    half[0] = False
    editor.apply(Change("Trade", (SegmentMask(one.value, BOX, half), SegmentMask(two.value, BOX, ~half))))
    assert segmentation.mask(two.value).sum() == (~half).sum()
    segmentation.put_segment(replace(segmentation.segment(two.value), locked=True))
    before = segmentation.groups[0].labels.copy()
    steps = len(app.history.done)
    new = (NewSegment("three", BOX, full),)
    with pytest.raises(EditRefused):
        editor.apply(Change("Bad", (SegmentMask(one.value, BOX, ~full), SegmentMask(two.value, BOX, full)), new))
    np.testing.assert_array_equal(segmentation.groups[0].labels, before)
    assert [s.name for s in segmentation.segments] == ["one", "two"]
    assert len(app.history.done) == steps


def test_new_segments_come_below_the_active_one_and_go_with_one_undo(app: AppContext, opened: Volume) -> None:
    one, _last = (app.segments.add(opened.id, name) for name in ("one", "last"))
    segmentation = app.workspace.segmentation(opened.id)
    segmentation.active = one.value
    editor = LabelEditor(app.workspace, app.history, opened.id)
    corner = Region((0, 0, 0), (1, 2, 2))
    editor.apply(
        Change("Split", (), tuple(NewSegment(f"part {n}", corner, np.ones(corner.shape, np.bool_)) for n in (1, 2)))
    )
    assert [s.name for s in segmentation.segments] == ["one", "part 1", "part 2", "last"]
    app.undo()
    assert [s.name for s in segmentation.segments] == ["one", "last"]
    assert not segmentation.groups[0].labels.any()


def test_box_of_value_agrees_with_the_mask() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        labels = (rng.random((9, 11, 7)) > 0.98).astype(np.uint16) * 3
        assert box_of_value(labels, 3) == Region.of_mask(labels == 3)


def test_a_tool_that_computes_sees_how_the_planes_are_turned(app: AppContext, opened: Volume, stamp: Stamp) -> None:
    assert stamp.scene is not None
    assert stamp.scene.tilted is None
    tilt = turned(STRAIGHT, (0.0, 0.0, 1.0), 0.4)
    app.workspace.view.tilt = tilt
    grid = tilted_grid(opened.geometry, tilt)
    app.router.pointer(PointerEvent("hover", opened.geometry.center_lps, 1, tilted=grid))
    app.router.options_changed()
    assert stamp.scene.tilted == grid
    assert stamp.scene.axis == 1
    app.workspace.view.tilt = None
    app.router.options_changed()
    assert stamp.scene.tilted is None


def test_rules_that_change_while_a_segment_is_undone_add_none(app: AppContext, opened: Volume, stamp: Stamp) -> None:
    segmentation = app.workspace.segmentation(opened.id)
    assert len(segmentation.segments) == 1
    app.router.rules = EditRules(area="inside one", area_segment=segmentation.segments[0].value)

    def follow() -> None:
        app.router.rules = EditRules(area="inside one", area_segment=0)

    segmentation.segments_changed.connect(follow)
    app.history.undo()
    segmentation.segments_changed.disconnect(follow)
    assert segmentation.segments == ()
    app.redo()
    assert len(segmentation.segments) == 1
