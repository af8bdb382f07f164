"""Random work on a small workspace: what a person, a task and a recovery can do, as Hypothesis strategies."""

from __future__ import annotations

import hashlib
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
from hypothesis import strategies as st

from medviewer.core.annotation import Box3D
from medviewer.core.geometry import Geometry, vec3
from medviewer.core.provenance import Provenance
from medviewer.core.region import Region
from medviewer.core.segmentation import Segment
from medviewer.core.serial import box_to_json, segment_to_json
from medviewer.core.transform import AffineTransform, DisplacementField
from medviewer.core.volume import Volume
from medviewer.core.workspace import Registration, Workspace
from medviewer.editing.editor import EditRefused, LabelEditor
from medviewer.editing.history import UndoStack, UndoStep
from medviewer.editing.rules import AREAS, EditRules, Overwrite, SliceRange
from medviewer.editing.stencil import capsule
from medviewer.editing.steps import BoxesStep, CompoundStep, GroupStep, RegistrationsStep, SegmentStep

_TURN = (0.8, -0.6, 0.0, 0.48, 0.64, 0.6, -0.36, -0.48, 0.8)
GRID = Geometry((7, 6, 5), (0.7, 1.3, 2.5), (-3.0, 12.0, 7.0), _TURN)
OVERWRITE: tuple[Overwrite, ...] = get_args(Overwrite)
TASK = Provenance(task="lungs", version="1", weights_sha256="ab" * 32)


@dataclass(frozen=True)
class Move:
    """One thing to do: a name and numbers that say how; what does not fit the moment does nothing."""

    kind: str
    numbers: tuple[int, ...]


_KINDS = ("paint", "paint", "paint", "erase", "result", "add", "remove", "lock", "hide", "boxes", "transform")


def moves(*more: str) -> st.SearchStrategy[list[Move]]:
    """Return a strategy of moves; `more` adds kinds like "undo" and "redo"."""
    numbers = st.tuples(*[st.integers(0, 1000)] * 8)
    return st.lists(st.builds(Move, st.sampled_from((*_KINDS, *more)), numbers), max_size=25)


def random_moves(rng: random.Random, count: int, *more: str) -> Iterator[Move]:
    """Yield moves of a seeded generator, for more of them than Hypothesis would make."""
    for _ in range(count):
        yield Move(rng.choice((*_KINDS, *more)), tuple(rng.randint(0, 1000) for _ in range(8)))


def _plain(transform: AffineTransform | DisplacementField) -> object:
    if isinstance(transform, AffineTransform):
        return transform
    return transform.geometry, zlib.crc32(transform.displacement_mm.tobytes())


class World:
    """A workspace with one volume, its history and an editor."""

    def __init__(self, max_bytes: int = 512 << 20, min_steps: int = 200) -> None:
        self.workspace = Workspace()
        image = (np.arange(GRID.size[0] * GRID.size[1] * GRID.size[2]) % 100).reshape(GRID.shape).astype(np.int16)
        self.volume = Volume(image, GRID, "CT", "CT", "HU", id="v")
        self.workspace.add_volume(self.volume)
        self.history = UndoStack(max_bytes, min_steps)
        self.editor = LabelEditor(self.workspace, self.history, "v")
        self.segmentation = self.workspace.segmentation("v")
        self._written: dict[int, tuple[Segment, bytes]] = {}

    def state(self) -> dict[str, Any]:
        """Return everything undo is about, comparable."""
        s = self.segmentation
        return {
            "groups": {g.id: (g.name, zlib.crc32(g.labels.tobytes())) for g in s.groups},
            "segments": [segment_to_json(x) for x in s.segments],
            "boxes": [box_to_json(b) for b in self.workspace.boxes("v")],
            "registrations": [(r.id, _plain(r.transform)) for r in self.workspace.registrations],
        }

    def digest(self) -> str:
        """Return a hash of what `state` holds; every voxel is looked at, segments (immutable) are written out once."""
        total = hashlib.sha256()
        for group in self.segmentation.groups:
            total.update(f"{group.id} {group.name}".encode())
            total.update(group.labels.tobytes())
        for segment in self.segmentation.segments:
            known = self._written.get(id(segment))
            if known is None or known[0] is not segment:
                known = self._written[id(segment)] = (segment, repr(segment_to_json(segment)).encode())
            total.update(known[1])
        total.update(repr([box_to_json(b) for b in self.workspace.boxes("v")]).encode())
        total.update(repr([(r.id, _plain(r.transform)) for r in self.workspace.registrations]).encode())
        return total.hexdigest()

    def do(self, move: Move) -> None:
        """Carry a move out."""
        actions: dict[str, Callable[[tuple[int, ...]], object]] = {
            "paint": lambda n: self._stroke(n, erase=False),
            "erase": lambda n: self._stroke(n, erase=True),
            "result": self._result,
            "add": self._add,
            "remove": self._remove,
            "lock": lambda n: self._change(n, "locked", lambda s: replace(s, locked=not s.locked)),
            "hide": lambda n: self._change(n, "visible", lambda s: replace(s, visible=not s.visible)),
            "boxes": self._boxes,
            "transform": self._transform,
            "undo": lambda n: self.history.undo(),
            "redo": lambda n: self.history.redo(),
        }
        actions[move.kind](move.numbers)

    def _pick(self, number: int) -> Segment | None:
        segments = self.segmentation.segments
        return segments[number % len(segments)] if segments else None

    def rules(self, n: int) -> EditRules:
        """Return rules of every kind, most of them mild."""
        segments = self.segmentation.segments
        return EditRules(
            overwrite=OVERWRITE[n % 4],
            area=AREAS[n // 4 % 7] if n % 3 == 0 else "everywhere",
            area_segment=segments[n // 28 % len(segments)].value if segments else 0,
            intensity=(10.0, 70.0) if n % 5 == 0 else None,
            inverted=n % 2 == 0,
            slices=SliceRange(n % 3, n // 3 % 4, n // 3 % 4 + 2) if n % 7 == 0 else None,
        )

    def _stroke(self, n: tuple[int, ...], *, erase: bool) -> None:
        chosen = self._pick(n[0])
        if chosen is None:
            return
        self.editor.rules = self.rules(n[1])
        radius = 0.5 + n[2] % 40 / 10
        axis = (None, 0, 1, 2)[n[3] % 4]
        points = [GRID.index_to_lps((n[4 + m] % 9 - 1, n[5 + m] % 8 - 1, n[6 + m] % 7 - 1)) for m in (0, 1)]
        try:
            with self.editor.stroke("Eraser" if erase else "Brush", chosen.value) as stroke:
                for start, end in ((points[0], points[0]), (points[0], points[1])):
                    region, mask = capsule(GRID, vec3(start), vec3(end), radius, axis)
                    if not region.is_empty:
                        stroke.paint(region, mask, 0 if erase else None)
        except EditRefused:
            return

    def _result(self, n: tuple[int, ...]) -> None:
        """Land a result of a task: a group with its voxels and a segment, as one step."""
        value = self.segmentation.free_value()
        labels = np.zeros(GRID.shape, np.uint16)
        labels[n[0] % 5 :, n[1] % 6 :, n[2] % 7 :] = value
        group = self.segmentation.new_group(f"Result {n[3]}", labels)
        steps: list[UndoStep] = [GroupStep(self.workspace, "v", group, box=Region.of_mask(labels != 0))]
        segment = Segment(value, f"Result {n[3]}", group=group.id, provenance=TASK)
        steps.append(SegmentStep(self.workspace, "v", "Add segment", None, segment))
        self.history.do(CompoundStep("Lungs", tuple(steps)))

    def _add(self, n: tuple[int, ...]) -> None:
        steps: list[UndoStep] = []
        groups = self.segmentation.groups
        if not groups or n[0] % 4 == 0:
            group = self.segmentation.new_group(f"Group {n[0]}")
            steps.append(GroupStep(self.workspace, "v", group))
        else:
            group = groups[n[1] % len(groups)]
        segment = Segment(self.segmentation.free_value(), f"Segment {n[2]}", group=group.id)
        steps.append(SegmentStep(self.workspace, "v", "Add segment", None, segment))
        self.history.do(CompoundStep("Add", tuple(steps)))

    def _remove(self, n: tuple[int, ...]) -> None:
        chosen = self._pick(n[0])
        if chosen is None or chosen.locked:
            return
        position = self.segmentation.segments.index(chosen)
        erased = UndoStack()
        with LabelEditor(self.workspace, erased, "v").stroke("Erase all", chosen.value) as stroke:
            stroke.paint(GRID.region, self.segmentation.mask(chosen.value), 0)
        drop = SegmentStep(self.workspace, "v", "Remove", self.segmentation.segment(chosen.value), None, position)
        drop.redo()
        self.history.push(CompoundStep("Delete", (*erased.done, drop)))

    def _change(self, n: tuple[int, ...], label: str, change: Callable[[Segment], Segment]) -> None:
        chosen = self._pick(n[0])
        if chosen is not None:
            self.history.do(SegmentStep(self.workspace, "v", label, chosen, change(chosen)))

    def _boxes(self, n: tuple[int, ...]) -> None:
        boxes = tuple(
            Box3D(lower=(float(m), 0.1, 0.2), upper=(m + 1.0, 2.0, 3.0), label=f"b{m}", score=m / 10, id=f"{n[1]}-{m}")
            for m in range(n[0] % 4)
        )
        self.history.do(BoxesStep(self.workspace, "v", "Findings", self.workspace.boxes("v"), boxes))

    def _transform(self, n: tuple[int, ...]) -> None:
        matrix = np.eye(4)
        matrix[:3, 3] = n[:3]
        after = (
            Registration(f"r{n[3]}", "v", "v", AffineTransform.from_matrix(matrix), {"m": n[4] / 7}, TASK, f"{n}"),
        )
        step = RegistrationsStep(self.workspace, "Register", self.workspace.registrations, after)
        self.history.do(step)
