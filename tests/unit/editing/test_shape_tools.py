"""Tools that give a segment another shape: what each of them makes, as one step, within the rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medviewer.core.errors import MedViewerError
from medviewer.core.geometry import Geometry, vec3
from medviewer.core.region import Region
from medviewer.core.segmentation import Segment
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.change import Change
from medviewer.editing.editor import EditRefused, LabelEditor
from medviewer.editing.effect import EditScene
from medviewer.editing.history import UndoStack
from medviewer.editing.rules import EditRules
from medviewer.editing.steps import step_from_record
from medviewer.editing.tool import PointerEvent, ToolContext
from medviewer.editing.tools.copy_slices import CopySlices
from medviewer.editing.tools.fill_holes import FillHoles
from medviewer.editing.tools.hollow import Hollow
from medviewer.editing.tools.islands import MOST_NEW, Islands
from medviewer.editing.tools.logic import Logic
from medviewer.editing.tools.margin import Margin
from medviewer.editing.tools.mask_image import MaskImage
from medviewer.editing.tools.mirror import Mirror
from medviewer.editing.tools.smooth import Smooth
from medviewer.editing.tools.smooth_brush import SmoothBrush
from medviewer.imaging.morphology import dilate, erode, shell
from medviewer.jobs.job import JobCancelled, NullContext
from tests.mask_makers import lengths_mm

GRID = Geometry((30, 26, 16), (0.8, 0.9, 1.7), (3.0, -4.0, 5.0))


class Desk:
    """One image with segments 1 and 2 in one group, 3 in another; all else is free."""

    def __init__(self, geometry: Geometry = GRID, **volume: Any) -> None:
        ramp = np.arange(np.prod(geometry.shape)).reshape(geometry.shape) % 500 - 200
        self.volume = Volume(ramp.astype(np.int16), geometry, "CT", "CT", "HU", **volume)
        self.geometry = geometry
        self.workspace = Workspace()
        self.workspace.add_volume(self.volume)
        self.history = UndoStack()
        self.segmentation = self.workspace.segmentation(self.volume.id)
        for values in ((1, 2), (3,)):
            group = self.segmentation.new_group()
            self.segmentation.put_group(group)
            for value in values:
                self.segmentation.put_segment(Segment(value, f"Part {value}", group=group.id))
        self.segmentation.active = 1
        self.editor = LabelEditor(self.workspace, self.history, self.volume.id)

    def put(self, value: int, mask: np.ndarray) -> None:
        self.segmentation.group(self.segmentation.segment(value).group).labels[mask] = value

    def mask(self, value: int) -> np.ndarray:
        return self.segmentation.mask(value).copy()

    def plan(self, tool: Any, axis: int = 2, at: tuple[int, int, int] = (8, 13, 15)) -> Any:
        active = self.segmentation.segment(self.segmentation.active)
        k, j, i = at
        crosshair = vec3(self.geometry.index_to_lps((i, j, k)))
        return tool.plan(EditScene(self.volume, self.segmentation, active, crosshair, axis))

    def change(self, tool: Any, axis: int = 2, at: tuple[int, int, int] = (8, 13, 15)) -> Change:
        return self.plan(tool, axis, at)(NullContext())

    def do(self, tool: Any, axis: int = 2, at: tuple[int, int, int] = (8, 13, 15)) -> Change:
        """Apply what the tool computes; it must be one step, and undoing it must bring everything back."""
        before = [group.labels.copy() for group in self.segmentation.groups]
        segments, steps = self.segmentation.segments, len(self.history.done)
        change = self.change(tool, axis, at)
        self.editor.apply(change)
        assert len(self.history.done) <= steps + 1
        if len(self.history.done) > steps:
            after = [group.labels.copy() for group in self.segmentation.groups]
            assert self.history.undo()
            for group, labels in zip(self.segmentation.groups, before, strict=True):
                np.testing.assert_array_equal(group.labels, labels)
            assert self.segmentation.segments == segments
            self.history.redo()
            for group, labels in zip(self.segmentation.groups, after, strict=True):
                np.testing.assert_array_equal(group.labels, labels)
        return change

    def event(self, phase: Any, kji: tuple[float, float, float], *modifiers: Any) -> PointerEvent:
        return PointerEvent(phase, vec3(self.geometry.index_to_lps(kji[::-1])), 2, frozenset(modifiers))


def having(tool: Any, **options: Any) -> Any:
    for name, value in options.items():
        assert hasattr(tool.options, name)
        setattr(tool.options, name, value)
    return tool


def blob(geometry: Geometry = GRID, seed: int = 0) -> np.ndarray:
    """A rough ball around the middle, with specks beside it."""
    rng = np.random.default_rng(seed)
    apart = lengths_mm(geometry, tuple((n - 1) / 2 for n in geometry.size))
    return (apart + rng.normal(size=geometry.shape) < 7.5) | (rng.random(geometry.shape) < 0.004)


# ---- margin, hollow, holes


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 999), st.sampled_from([0.9, 2.0, 3.0]), st.sampled_from(["grow", "shrink"]))
def test_margin_is_the_distance_in_mm(seed, distance, direction):
    desk = Desk()
    mask = blob(seed=seed)
    desk.put(1, mask)
    desk.do(having(Margin(), direction=direction, distance_mm=distance))
    step = dilate if direction == "grow" else erode
    np.testing.assert_array_equal(desk.mask(1), step(mask, GRID, distance))


def test_growing_takes_from_neighbours_only_what_the_rules_allow():
    for rules, locked, taken in (
        (EditRules(), False, True),
        (EditRules("none"), False, False),
        (EditRules(), True, False),
    ):
        desk = Desk()
        desk.editor.rules = rules
        left = np.indices(GRID.shape)[2] < 15
        desk.put(1, blob() & left)
        desk.put(2, blob() & ~left)
        desk.segmentation.put_segment(replace(desk.segmentation.segment(2), locked=locked))
        before = desk.mask(2)
        desk.do(having(Margin(), distance_mm=2.0))
        assert (desk.mask(2).sum() < before.sum()) == taken
        assert not (desk.mask(2) & ~before).any()


def test_shift_and_wheel_change_the_distance():
    tool = having(Margin(), distance_mm=3.0)
    assert not tool.wheel(1, frozenset())
    assert tool.wheel(2, frozenset({"shift"}))
    assert tool.options.distance_mm == 4.0
    tool.wheel(-100, frozenset({"shift"}))
    assert tool.options.distance_mm > 0


@pytest.mark.parametrize("wall", ["inside", "medial", "outside"])
def test_hollow_leaves_the_wall(wall):
    desk = Desk()
    desk.put(1, blob())
    desk.do(having(Hollow(), wall=wall, thickness_mm=3.0))
    np.testing.assert_array_equal(desk.mask(1), shell(blob(), GRID, 3.0, wall))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_holes_are_filled_in_space_or_in_the_plane(axis):
    desk = Desk()
    box = np.zeros(GRID.shape, np.bool_)
    box[4:12, 6:16, 8:20] = True
    tube, hole = np.moveaxis(box.copy(), 2 - axis, 0), (6, 10, 12)
    middle = [n // 2 for n in tube.shape[1:]]
    tube[:, middle[0], middle[1]] = False
    tube = np.moveaxis(tube, 0, 2 - axis)
    cut = tube.copy()
    cut[hole] = False
    desk.put(1, cut)
    desk.do(FillHoles())
    np.testing.assert_array_equal(desk.mask(1), ndimage.binary_fill_holes(cut))
    desk.do(having(FillHoles(), holes="in the plane"), axis)
    np.testing.assert_array_equal(desk.mask(1), box)


# ---- islands


def islands_of(mask: np.ndarray) -> list[int]:
    labels, _ = ndimage.label(mask)
    return sorted(np.bincount(labels.ravel())[1:])


def test_the_largest_is_kept_and_small_ones_go():
    for options, kept in (
        ({"action": "keep largest"}, lambda sizes: sizes[-1:]),
        ({"action": "remove small", "minimum": 3, "unit": "voxels"}, lambda s: [n for n in s if n >= 3]),
        ({"action": "remove small", "minimum": 3}, lambda s: [n for n in s if n * GRID.voxel_volume_mm3 >= 3]),
    ):
        desk = Desk()
        desk.put(1, blob())
        sizes = islands_of(blob())
        assert len(sizes) > 5
        desk.do(having(Islands(), **options))
        assert islands_of(desk.mask(1)) == kept(sizes)


def three_balls(desk: Desk) -> list[np.ndarray]:
    masks = [
        lengths_mm(GRID, at) <= radius for at, radius in (((6, 6, 5), 3.0), ((22, 8, 6), 4.0), ((10, 20, 10), 3.5))
    ]
    for mask in masks:
        desk.put(1, mask)
    return masks


def test_splitting_numbers_the_parts_largest_first():
    desk = Desk()
    small, large, middle = three_balls(desk)
    desk.segmentation.put_segment(replace(desk.segmentation.segment(1), name="Metastasis"))
    desk.do(having(Islands(), action="split", minimum=0))
    found = {s.name: desk.mask(s.value) for s in desk.segmentation.segments}
    assert list(found) == ["Metastasis 1", "Metastasis 2", "Metastasis 3", "Part 2", "Part 3"]
    for name, mask in (("Metastasis 1", large), ("Metastasis 2", middle), ("Metastasis 3", small)):
        np.testing.assert_array_equal(found[name], mask)
    assert [s.instance for s in desk.segmentation.segments] == [1, 2, 3, 0, 0]
    assert desk.segmentation.segment(1).name == "Metastasis 1"


def test_splitting_goes_on_counting_and_leaves_what_is_small():
    desk = Desk()
    _, large, _ = three_balls(desk)
    desk.put(1, lengths_mm(GRID, (27, 23, 13)) < 1.0)
    for value, n in ((1, 1), (2, 4)):
        segment = replace(desk.segmentation.segment(value), name=f"Metastasis {n}", instance=n)
        desk.segmentation.put_segment(segment)
    desk.do(having(Islands(), action="split", minimum=20))
    names = {s.name for s in desk.segmentation.segments}
    assert names == {"Metastasis 1", "Metastasis 4", "Metastasis 5", "Metastasis 6", "Part 3"}
    assert desk.mask(1).sum() == large.sum() + (lengths_mm(GRID, (27, 23, 13)) < 1.0).sum()


def test_noise_is_not_split_into_segments():
    desk = Desk()
    checkers = np.indices(GRID.shape).sum(axis=0) % 2 == 0
    desk.put(1, checkers)
    assert checkers.sum() > MOST_NEW
    with pytest.raises(EditRefused):
        desk.change(having(Islands(), action="split", minimum=0))


@pytest.mark.parametrize(
    ("action", "own", "other"),
    [("keep clicked", (1, 2), ()), ("remove clicked", (0,), ()), ("move clicked", (0,), (1, 2))],
)
def test_clicked_parts_are_kept_removed_or_moved(action, own, other):
    desk = Desk()
    balls = three_balls(desk)
    tool = having(Islands(), action=action, move_to=2)
    tool.activate(ToolContext(desk.editor))
    assert desk.plan(tool) is None, "nothing is clicked yet"
    for kji in ((6, 8, 22), (5, 6, 6), (10, 20, 10)):
        assert tool.pointer(desk.event("press", kji))
    assert len(tool.cursor.prompts) == 3
    assert tool.pointer(desk.event("press", (5, 6, 7), "ctrl"))
    assert len(tool.cursor.prompts) == 2, "with Ctrl the click that is nearest is taken back"
    desk.do(tool)
    for value, numbers in ((1, own), (2, other)):
        expected = np.zeros(GRID.shape, np.bool_)
        for n in numbers:
            expected |= balls[n]
        np.testing.assert_array_equal(desk.mask(value), expected)
    if action != "keep clicked":
        assert not tool.cursor.prompts, "what was clicked is no more"


def test_clicks_are_taken_back_by_key_and_refused_beside_the_segment():
    desk = Desk()
    three_balls(desk)
    tool = having(Islands(), action="keep clicked")
    tool.activate(ToolContext(desk.editor))
    assert not tool.key("back")
    assert not tool.key("cancel")
    with pytest.raises(EditRefused):
        tool.pointer(desk.event("press", (0, 0, 0)))
    for kji in ((6, 8, 22), (5, 6, 6)):
        tool.pointer(desk.event("press", kji))
    assert tool.key("back")
    assert len(tool.cursor.prompts) == 1
    assert tool.key("cancel")
    assert not tool.cursor.prompts
    tool.options.action = "keep largest"
    assert not tool.pointer(desk.event("press", (6, 8, 22))), "the click is left to the view"


def test_parts_are_moved_to_another_segment_only():
    desk = Desk()
    three_balls(desk)
    tool = having(Islands(), action="move clicked", move_to=1)
    tool.activate(ToolContext(desk.editor))
    tool.pointer(desk.event("press", (6, 8, 22)))
    with pytest.raises(EditRefused):
        desk.plan(tool)


# ---- smoothing


@pytest.mark.parametrize("method", ["median", "opening", "closing", "gaussian", "joint"])
def test_smoothing_takes_off_roughness_and_nothing_else(method):
    desk = Desk()
    desk.put(1, blob())
    desk.do(having(Smooth(), method=method, size_mm=2.0 if method in ("gaussian", "joint") else 4.0))
    smooth = desk.mask(1)
    ideal = lengths_mm(GRID, tuple((n - 1) / 2 for n in GRID.size)) < 7.5
    assert smooth.any()
    assert (smooth ^ ideal).sum() < (blob() ^ ideal).sum() or method == "closing"
    sure = lengths_mm(GRID, tuple((n - 1) / 2 for n in GRID.size)) < 4.5
    assert smooth[sure].all()


@pytest.mark.parametrize("method", ["median", "opening", "closing", "gaussian"])
def test_a_box_around_the_segment_is_enough_to_smooth_it(method):
    from medviewer.imaging.smooth import smooth

    desk = Desk()
    mask = blob()
    mask[:2] = mask[-2:] = False
    desk.put(1, mask)
    desk.do(having(Smooth(), method=method, size_mm=2.5))
    np.testing.assert_array_equal(desk.mask(1), smooth(mask, GRID, method, 2.5))


def test_joint_smoothing_keeps_shared_borders_and_what_is_hidden_or_locked():
    desk = Desk()
    rough = np.indices(GRID.shape)[2] + np.random.default_rng(1).integers(-1, 2, GRID.shape)
    one, two = blob() & (rough < 15), blob() & (rough >= 15)
    desk.put(1, one)
    desk.put(2, two)
    desk.do(having(Smooth(), method="joint", size_mm=1.5))
    core = lengths_mm(GRID, tuple((n - 1) / 2 for n in GRID.size)) < 5.0
    assert (desk.mask(1) | desk.mask(2))[core].all(), "no gap"
    for value, before in ((1, one), (2, two)):
        assert desk.mask(value).sum() == pytest.approx(before.sum(), rel=0.1), "but for the specks"
        assert (desk.mask(value) != before).any()
    for kept in ({"locked": True}, {"visible": False}):
        desk = Desk()
        desk.put(1, one)
        desk.put(2, two)
        desk.segmentation.put_segment(replace(desk.segmentation.segment(2), **kept))
        desk.do(having(Smooth(), method="joint", size_mm=1.5))
        np.testing.assert_array_equal(desk.mask(2), two)


@pytest.mark.parametrize("method", ["median", "opening", "closing", "gaussian", "joint"])
def test_the_smoothing_brush_works_under_itself_only(method):
    desk = Desk()
    desk.put(1, blob())
    desk.put(2, np.indices(GRID.shape)[0] < 2)
    before = desk.segmentation.groups[0].labels.copy()
    tool = having(SmoothBrush(), method=method, size_mm=2.0, radius_mm=4.0)
    tool.activate(ToolContext(desk.editor))
    assert tool.cursor.radius_mm == 4.0
    for phase, kji in (("press", (8, 13, 8)), ("move", (8, 14, 8)), ("release", (8, 15, 8))):
        assert tool.pointer(desk.event(phase, kji))
    assert [step.label for step in desk.history.done] == ["Smoothing brush"]
    changed = desk.segmentation.groups[0].labels != before
    near = np.min([lengths_mm(GRID, (8, j, 8)) for j in (13, 13.5, 14, 14.5, 15)], axis=0) <= 4.2
    assert changed.any()
    assert not (changed & ~near).any()
    desk.history.undo()
    np.testing.assert_array_equal(desk.segmentation.groups[0].labels, before)


@pytest.mark.parametrize("overwrite", ["all", "visible", "none", "overlap"])
def test_joint_brushing_keeps_the_rules_at_shared_borders(overwrite):
    desk = Desk()
    rough = np.indices(GRID.shape)[2] + np.random.default_rng(1).integers(-1, 2, GRID.shape)
    desk.put(1, blob() & (rough < 15))
    desk.put(2, blob() & (rough >= 15))
    before = desk.mask(2)
    desk.editor.rules = EditRules(overwrite)
    tool = having(SmoothBrush(), method="joint", size_mm=1.5, radius_mm=5.0)
    tool.activate(ToolContext(desk.editor))
    for phase, kji in (("press", (8, 11, 15)), ("move", (8, 13, 15)), ("release", (8, 15, 15))):
        assert tool.pointer(desk.event(phase, kji))
    lost = before & ~desk.mask(2)
    assert lost.any() == (overwrite in ("all", "visible"))
    core = lengths_mm(GRID, tuple((n - 1) / 2 for n in GRID.size)) < 5.0
    assert (desk.mask(1) | desk.mask(2))[core].all(), "no gap"
    assert not (desk.mask(1) & desk.mask(2)).any(), "nor overlap"


def test_escape_drops_the_smoothing_stroke_and_shift_wheel_sizes_the_brush():
    desk = Desk()
    desk.put(1, blob())
    before = desk.mask(1)
    tool = having(SmoothBrush(), radius_mm=4.0)
    tool.activate(ToolContext(desk.editor))
    tool.pointer(desk.event("press", (8, 13, 8)))
    assert (desk.mask(1) != before).any()
    assert tool.key("cancel")
    np.testing.assert_array_equal(desk.mask(1), before)
    assert not desk.history.done
    assert not tool.pointer(desk.event("move", (8, 13, 9)))
    assert tool.wheel(2, frozenset({"shift"}))
    assert tool.options.radius_mm == pytest.approx(4.0 * 1.2**2, abs=0.01)


# ---- combine, mirror, copy


@pytest.mark.parametrize("other", [2, 3])
@pytest.mark.parametrize("operation", ["copy", "add", "subtract", "intersect", "invert", "clear", "fill"])
def test_operations_are_those_of_sets(operation, other):
    desk = Desk()
    a = lengths_mm(GRID, (12, 12, 7)) < 6
    b = lengths_mm(GRID, (17, 13, 8)) < 6
    if other == 2:
        b &= ~a
    desk.put(1, a)
    desk.put(other, b)
    everything = np.ones(GRID.shape, np.bool_)
    expected = {
        "copy": b, "add": a | b, "subtract": a & ~b, "intersect": a & b,
        "invert": ~a, "clear": ~everything, "fill": everything,
    }  # fmt: skip
    desk.do(having(Logic(), operation=operation, other=other))
    np.testing.assert_array_equal(desk.mask(1), expected[operation])
    if other == 3:
        np.testing.assert_array_equal(desk.mask(3), b)


@pytest.mark.parametrize("other", [0, 1, 99])
def test_the_other_segment_must_be_another_one(other):
    with pytest.raises(EditRefused):
        Desk().plan(having(Logic(), operation="add", other=other))


@pytest.mark.parametrize(("swaps", "axis"), [("left, right", 2), ("front, back", 1), ("head, feet", 0)])
def test_a_mirror_swaps_sides_of_the_patient(swaps, axis):
    desk = Desk()
    mask = np.random.default_rng(4).random(GRID.shape) < 0.1
    desk.put(1, mask)
    desk.do(having(Mirror(), swaps=swaps))
    np.testing.assert_array_equal(desk.mask(1), np.flip(mask, axis))
    desk.do(having(Mirror(), swaps=swaps, result="add"))
    np.testing.assert_array_equal(desk.mask(1), np.flip(mask, axis) | mask)


def test_a_mirror_through_the_segment_keeps_its_place():
    desk = Desk()
    box = Region((3, 5, 7), (6, 12, 16))
    part = np.random.default_rng(5).random(box.shape) < 0.4
    part[0, 0, 0] = part[-1, -1, -1] = True
    mask = np.zeros(GRID.shape, np.bool_)
    mask[box.slices] = part
    desk.put(1, mask)
    desk.do(having(Mirror(), through="segment"))
    np.testing.assert_array_equal(desk.mask(1)[box.slices], np.flip(part, 2))
    assert desk.mask(1).sum() == part.sum()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(
    ("towards", "offsets"), [("next", (1, 2, 3)), ("previous", (-3, -2, -1)), ("both", (-3, -2, -1, 1, 2, 3))]
)
@pytest.mark.parametrize("result", ["replace", "add"])
def test_a_slice_is_copied_beside_in_any_plane(axis, towards, offsets, result):
    desk = Desk()
    at, across = (8, 13, 15), 2 - axis
    desk.put(1, blob())
    before = desk.mask(1)
    tool = having(CopySlices(), slices=3, towards=towards, result=result)
    desk.do(tool, axis, at)
    expected = np.moveaxis(before.copy(), across, 0)
    for offset in offsets:
        target = expected[at[across] + offset]
        target[:] = expected[at[across]] | (target & (result == "add"))
    np.testing.assert_array_equal(np.moveaxis(desk.mask(1), across, 0), expected)


def test_copying_ends_at_the_end_of_the_image_and_needs_something_to_copy():
    desk = Desk()
    desk.put(1, blob())
    desk.put(1, np.indices(GRID.shape)[0] == 15)
    desk.do(having(CopySlices(), slices=5, towards="next"), 2, (15, 13, 15))
    desk.do(having(CopySlices(), slices=500, towards="previous"), 2, (15, 13, 15))
    assert desk.mask(1).all()
    desk.segmentation.active = 2
    with pytest.raises(MedViewerError):
        desk.change(CopySlices())
    with pytest.raises(EditRefused):
        desk.plan(CopySlices(), 2, (99, 0, 0))


# ---- the image


@pytest.mark.parametrize("keep", ["inside", "outside"])
@pytest.mark.parametrize(
    ("fill", "value", "dtype"),
    [("lowest value", 0, np.int16), ("value", 0, np.int16), ("value", 0.5, np.float32), ("value", 1e5, np.float32)],
)
def test_a_masked_image_is_a_new_one(keep, fill, value, dtype):
    desk = Desk()
    desk.put(1, blob())
    change = desk.change(having(MaskImage(), keep=keep, fill_with=fill, value=value))
    image = change.image
    assert image is not None
    assert image.array.dtype == dtype
    kept = blob() if keep == "inside" else ~blob()
    np.testing.assert_array_equal(image.array[kept], desk.volume.array[kept])
    assert set(np.unique(image.array[~kept])) == {desk.volume.array.min() if fill == "lowest value" else value}
    assert image.id != desk.volume.id
    assert image.geometry == desk.volume.geometry
    assert "Part 1" in image.name
    assert image.series is None, "it is kept with its voxels, not read from the series again"
    assert not change.masks


@pytest.mark.parametrize("volume", [{"stacking": "time"}, {"in_mm": False}, {"in_patient": False}])
def test_only_images_in_the_patient_are_masked(volume):
    with pytest.raises(EditRefused):
        Desk(**volume).plan(MaskImage())


# ---- all of them

EFFECTS = [
    having(Margin(), distance_mm=4.0), having(Margin(), direction="shrink"), Hollow(),
    *(having(Smooth(), method=m, size_mm=3.0) for m in ("median", "opening", "closing", "gaussian", "joint")),
    FillHoles(), having(Islands(), action="remove small", minimum=2, unit="voxels"),
]  # fmt: skip


@pytest.mark.parametrize("tool", EFFECTS, ids=lambda tool: f"{type(tool).__name__}-{tool.options}")
def test_frames_of_a_film_do_not_touch_each_other(tool):
    film, alone = Desk(stacking="time"), Desk(stacking="time")
    film.put(1, blob())
    only = np.indices(GRID.shape)[0] == 8
    alone.put(1, blob() & only)
    film.do(tool)
    alone.do(tool)
    np.testing.assert_array_equal(film.mask(1)[8], alone.mask(1)[8])
    assert not alone.mask(1)[~only].any()


@pytest.mark.parametrize(
    "tool",
    [*EFFECTS, Islands(), Mirror(), having(Logic(), operation="clear")],
    ids=lambda tool: f"{type(tool).__name__}-{tool.options}",
)
def test_an_empty_segment_stays_empty(tool):
    desk = Desk()
    desk.do(tool)
    assert not desk.mask(1).any()
    assert not desk.history.done


def test_work_is_ended_when_it_is_cancelled():
    class Cancelled(NullContext):
        def check_cancelled(self) -> None:
            raise JobCancelled

        def progress(self, fraction: float | None, text: str = "") -> None:
            raise JobCancelled

    desk = Desk()
    desk.put(1, blob())
    for tool in (Margin(), Hollow(), having(Smooth(), method="joint"), having(Smooth(), method="closing"), MaskImage()):
        with pytest.raises(JobCancelled):
            desk.plan(tool)(Cancelled())


def test_every_step_is_done_again_from_its_record():
    desk, twin = Desk(id="v"), Desk(id="v")
    for side in (desk, twin):
        side.put(1, blob())
    for tool in (
        having(Margin(), distance_mm=1.5),
        having(Smooth(), method="joint", size_mm=1.0),
        having(Islands(), action="split", minimum=0),
        having(Logic(), operation="invert"),
    ):
        desk.do(tool)
        step_from_record(twin.workspace, desk.history.done[-1].record()).redo()
        for mine, theirs in zip(desk.segmentation.groups, twin.segmentation.groups, strict=True):
            np.testing.assert_array_equal(mine.labels, theirs.labels)
        assert desk.segmentation.segments == twin.segmentation.segments


def test_a_masked_image_is_kept_with_the_work(tmp_path):
    from medviewer.app.documents import load_workspace, save_workspace

    desk = Desk()
    desk.put(1, blob())
    image = desk.change(MaskImage()).image
    assert image is not None
    desk.workspace.add_volume(image)
    save_workspace(tmp_path / "work.mvw", desk.workspace, {})
    again = load_workspace(NullContext(), tmp_path / "work.mvw").volume(image.id)
    np.testing.assert_array_equal(again.array, image.array)
    assert (again.geometry, again.name, again.unit) == (image.geometry, image.name, image.unit)
