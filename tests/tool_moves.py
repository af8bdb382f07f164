"""Random work with the real tools on a small image, and the laws that must hold after every use."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from medviewer.core.geometry import Geometry, vec3
from medviewer.core.segmentation import Segment
from medviewer.core.serial import segment_to_json
from medviewer.core.tilt import tilted_grid
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.editor import EditRefused, LabelEditor
from medviewer.editing.effect import EditScene, Effect
from medviewer.editing.history import UndoStack
from medviewer.editing.rules import EditRules, SliceRange
from medviewer.editing.steps import SegmentStep
from medviewer.editing.tool import Modifier, Phase, PointerEvent, Tool, ToolContext, ToolInfo, all_tools
from medviewer.jobs.job import NullContext
from tests.editing_moves import OVERWRITE

_TURN = (0.8, -0.6, 0.0, 0.48, 0.64, 0.6, -0.36, -0.48, 0.8)
GRID = Geometry((20, 18, 14), (0.7, 1.3, 2.5), (-3.0, 12.0, 7.0), _TURN)
#: Of views that are turned against it.
TILTED = tilted_grid(GRID, (0.8, -0.36, 0.48, 0.6, 0.48, -0.64, 0.0, 0.8, 0.6))
MODIFIERS: tuple[Modifier, ...] = ("shift", "ctrl")


class ToolWorld:
    """An image with a bright ball, three segments, and somebody who uses tools at random, the same for a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        k, j, i = np.indices(GRID.shape)
        ball = ((k - 7) ** 2 + (j - 9) ** 2 + (i - 10) ** 2 < 16).astype(np.int16)
        self.volume = Volume(100 * ball + (i % 5).astype(np.int16), GRID, "ball", "CT", id="v")
        self.workspace = Workspace()
        self.workspace.add_volume(self.volume)
        self.segmentation = self.workspace.segmentation("v")
        group = self.segmentation.new_group()
        group.labels[5:10, 7:12, 8:13] = 1
        group.labels[2:4, 3:6, 3:6] = 2
        group.labels[10:12, 10:14, 2:6] = 3
        self.segmentation.put_group(group)
        for value in (1, 2, 3):
            self.segmentation.put_segment(Segment(value, f"segment {value}", group=group.id))
        self.segmentation.active = 1
        self.history = UndoStack()
        self.rules = EditRules()
        self.tools: tuple[ToolInfo, ...] = all_tools()
        #: The state at every depth of the history.
        self.states = [self.state()]
        #: How often each tool made a step.
        self.made: dict[str, int] = {}

    def state(self) -> tuple[object, ...]:
        groups = tuple((g.id, g.name, g.labels.tobytes()) for g in self.segmentation.groups)
        return (*groups, *(repr(segment_to_json(s)) for s in self.segmentation.segments))

    def act(self) -> None:
        """Do one thing, and look whether the laws hold."""
        acts: tuple[tuple[int, Callable[[], object]], ...] = (
            (12, self.use_a_tool), (3, self.history.undo), (2, self.history.redo), (1, self.change_a_segment),
            (1, self.change_the_rules),
        )  # fmt: skip
        act = self.rng.choices([a for _, a in acts], [n for n, _ in acts])[0]
        before, pushes = len(self.history.done), len(self.history.done) + len(self.history.ahead)
        act()
        done = len(self.history.done)
        if act in (self.use_a_tool, self.change_a_segment) and done > before:
            assert not self.history.ahead
            # A tool may make several steps; the state between them is seen when they are taken back.
            self.states[before + 1 :] = self._between(before)
        else:
            assert done + len(self.history.ahead) == pushes
        assert self.state() == self.states[done], "undo, redo, and what is no step, lead to the state of before"

    def _between(self, before: int) -> list[tuple[object, ...]]:
        states = [self.state()]
        for _ in range(len(self.history.done) - before - 1):
            self.history.undo()
            states.insert(0, self.state())
        while self.history.can_redo:
            self.history.redo()
        return states

    def change_a_segment(self) -> None:
        segments = self.segmentation.segments
        if not segments:
            return
        chosen = self.rng.choice(segments)
        locks = self.rng.random() < 0.5
        changed = replace(chosen, locked=not chosen.locked) if locks else replace(chosen, visible=not chosen.visible)
        self.history.do(SegmentStep(self.workspace, "v", "Change", chosen, changed))
        self.segmentation.active = self.rng.choice(segments).value

    def change_the_rules(self) -> None:
        axis = self.rng.randrange(3)
        low = self.rng.randrange(10)
        self.rules = EditRules(
            overwrite=self.rng.choice(OVERWRITE),
            intensity=(1.0, 60.0) if self.rng.random() < 0.3 else None,
            inverted=self.rng.random() < 0.5,
            slices=SliceRange(axis, low, low + 6) if self.rng.random() < 0.3 else None,
        )

    def use_a_tool(self) -> None:
        """Use a tool with a few random events; it may refuse, but not break a rule."""
        info = self.rng.choice(self.tools)
        segments = {s.value: s for s in self.segmentation.segments}
        masks = {value: self.segmentation.mask(value) for value in segments}
        done = len(self.history.done)
        editor = LabelEditor(self.workspace, self.history, "v", self.rules)
        tool = info.make()
        tool.activate(ToolContext(editor, lambda task, prompt: None))
        try:
            self._handle(tool, editor)
        except EditRefused:
            editor.cancel()
        tool.deactivate()
        assert not editor.stroke_open, info.id
        if len(self.history.done) > done:
            self.made[info.id] = self.made.get(info.id, 0) + 1
        self._check(info, segments, masks)

    def _handle(self, tool: Tool, editor: LabelEditor) -> None:
        axis = self.rng.randrange(3)
        modifiers = frozenset(m for m in MODIFIERS if self.rng.random() < 0.2)
        phases: list[Phase] = ["hover", "press"]
        phases += self.rng.choices(["move", "move", "release", "press", "hover"], k=self.rng.randrange(5))
        phases += ["release", "double"] if self.rng.random() < 0.7 else ["release"]
        tilted = TILTED if self.rng.random() < 0.4 else None
        grid = tilted or GRID
        here = grid.lps_to_index(GRID.index_to_lps([self.rng.randrange(n) for n in GRID.size]))
        here[axis] = np.round(here[axis])
        for phase in phases:
            place = GRID.index_to_lps([self.rng.uniform(-2, size + 1) for size in GRID.size])
            index = grid.lps_to_index(place)
            index[axis] = here[axis]
            tool.pointer(PointerEvent(phase, vec3(grid.index_to_lps(index)), axis, modifiers, tilted=tilted))
        tool.key(self.rng.choice(("apply", "apply", "apply", "cancel", "back")))
        if isinstance(tool, Effect) and self.rng.random() < 0.8:
            active = self.segmentation.find(self.segmentation.active)
            if active is None:
                return
            lps = vec3(grid.index_to_lps(here))
            plan = tool.plan(EditScene(self.volume, self.segmentation, active, lps, axis, tilted))
            if plan is not None:
                editor.apply(plan(NullContext()))

    def _check(self, info: ToolInfo, segments: dict[int, Segment], masks: dict[int, np.ndarray]) -> None:
        changed = np.zeros(GRID.shape, np.bool_)
        for value, segment in segments.items():
            now = self.segmentation.mask(value)
            if segment.locked:
                assert np.array_equal(now, masks[value]), f"{info.id} changed a locked segment"
            changed |= now != masks[value]
        if self.rules.intensity is not None:
            low, high = self.rules.intensity
            inside = (self.volume.array >= low) & (self.volume.array <= high)
            assert not changed[inside if self.rules.inverted else ~inside].any(), f"{info.id} left the range of values"
        if self.rules.slices is not None:
            held = np.ones(GRID.shape, np.bool_)
            index = [slice(None)] * 3
            index[2 - self.rules.slices.axis] = slice(self.rules.slices.first, self.rules.slices.last + 1)
            held[tuple(index)] = False
            assert not changed[held].any(), f"{info.id} left the range of slices"
        if info.group == "draw":
            self._check_overwrite(info, segments, masks)

    def _check_overwrite(self, info: ToolInfo, segments: dict[int, Segment], masks: dict[int, np.ndarray]) -> None:
        for value, segment in segments.items():
            spared = self.rules.overwrite in ("none", "overlap") or (
                self.rules.overwrite == "visible" and not segment.visible
            )
            if value != self.segmentation.active and spared:
                lost = masks[value] & ~self.segmentation.mask(value)
                assert not lost.any(), f"{info.id} wrote over what it must spare"
