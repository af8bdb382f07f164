"""Results become part of the workspace: one named undo step a run, with provenance, never over newer work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from medviewer.api.plugin import BoxResult, FindingResult, LabelResult, Result, TaskInfo, TransformResult, VolumeResult
from medviewer.app.messages import MessageLog
from medviewer.core.annotation import Box3D
from medviewer.core.provenance import Provenance
from medviewer.core.region import Region
from medviewer.core.segmentation import PALETTE, Group, Segment, Segmentation
from medviewer.core.workspace import Registration, Workspace
from medviewer.editing.history import UndoStack, UndoStep
from medviewer.editing.steps import BoxesStep, CompoundStep, GroupStep, RegistrationsStep, SegmentStep


class ResultApplier:
    """Turns the results of one run into one step."""

    def __init__(self, workspace: Workspace, history: UndoStack, messages: MessageLog) -> None:
        self._workspace = workspace
        self._history = history
        self._messages = messages

    def apply(
        self,
        volume_id: str,
        task: TaskInfo,
        results: Sequence[Result],
        provenance: Provenance,
        *,
        moving_id: str = "",
        link_box: str = "",
    ) -> list[Segment]:
        """Apply results that lie on the grid of the volume; return the segments that came.

        A label result makes a group of its own, so that it can overlap what is there and overwrites nothing.
        """
        steps: list[UndoStep] = []
        segments: list[Segment] = []
        for result in results:
            if isinstance(result, LabelResult):
                steps += self._labels(volume_id, result, provenance, segments)
            elif isinstance(result, BoxResult):
                steps.append(self._boxes(volume_id, task, result, provenance))
            elif isinstance(result, TransformResult):
                steps.append(self._transform(volume_id, moving_id, result, provenance))
            elif isinstance(result, VolumeResult):
                self._workspace.add_volume(result.volume)
            elif isinstance(result, FindingResult):
                self._tell(result)
        if link_box and segments:
            steps.append(self._link(volume_id, link_box, segments[0]))
        self._workspace.add_run(provenance)
        if steps:
            self._history.push(CompoundStep(task.title, tuple(steps)))
        return segments

    def _labels(
        self, volume_id: str, result: LabelResult, provenance: Provenance, segments: list[Segment]
    ) -> list[UndoStep]:
        segmentation = self._workspace.segmentation(volume_id)
        labels, mapping = _with_free_values(segmentation, result)
        group = Group(segmentation.free_group(), result.name, labels)
        step = GroupStep(self._workspace, volume_id, group, box=Region.of_mask(labels != 0))
        step.redo()
        steps: list[UndoStep] = [step]
        for source in result.segments:
            segment = replace(
                source,
                value=mapping[source.value],
                group=group.id,
                color=_color(segmentation, source),
                provenance=provenance,
            )
            add = SegmentStep(self._workspace, volume_id, f"Add {segment.name}", None, segment)
            add.redo()
            steps.append(add)
            segments.append(segment)
        return steps

    def _boxes(self, volume_id: str, task: TaskInfo, result: BoxResult, provenance: Provenance) -> UndoStep:
        """Findings of an earlier run of the same task that nobody has reviewed make way for the new ones."""
        before = self._workspace.boxes(volume_id)
        kept = [box for box in before if box.provenance.task != task.id or box.review != "open" or box.segment]
        new = [replace(box, provenance=provenance) for box in result.boxes]
        step = BoxesStep(self._workspace, volume_id, task.title, before, ranked([*kept, *new]))
        step.redo()
        return step

    def _link(self, volume_id: str, box_id: str, segment: Segment) -> UndoStep:
        """Note on a finding which segment was made from it; who wants its mask has accepted it."""
        before = self._workspace.boxes(volume_id)
        after = tuple(replace(b, segment=segment.value, review="accepted") if b.id == box_id else b for b in before)
        step = BoxesStep(self._workspace, volume_id, f"Mask of {segment.name}", before, after)
        step.redo()
        return step

    def _transform(self, fixed_id: str, moving_id: str, result: TransformResult, provenance: Provenance) -> UndoStep:
        before = self._workspace.registrations
        registration = Registration(
            name=result.name,
            fixed_id=fixed_id,
            moving_id=moving_id,
            transform=result.transform,
            measures=result.measures,
            provenance=provenance,
        )
        step = RegistrationsStep(self._workspace, result.name, before, (*before, registration))
        step.redo()
        return step

    def _tell(self, result: FindingResult) -> None:
        for finding in result.findings:
            self._messages.add("info", f"{finding.concept.code_meaning}: {finding.probability:.0%}", result.name)


def ranked(boxes: Sequence[Box3D]) -> tuple[Box3D, ...]:
    """Return findings best first; those without a score (made by hand) come before all others."""
    return tuple(sorted(boxes, key=lambda b: -(b.score if b.score is not None else np.inf)))


def _color(segmentation: Segmentation, source: Segment) -> tuple[int, int, int]:
    """Keep the plugin's colour unless it is the default or taken."""
    taken = {segment.color for segment in segmentation.segments}
    if source.color == PALETTE[0] or source.color in taken:
        return segmentation.free_color()
    return source.color


def _with_free_values(
    segmentation: Segmentation, result: LabelResult
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.uint16]], dict[int, int]]:
    """Return the labels with values no segment has, and old value -> new value."""
    mapping: dict[int, int] = {}
    for segment in result.segments:
        mapping[segment.value] = segmentation.free_value(taken=mapping.values())
    if all(old == new for old, new in mapping.items()):
        return np.array(result.labels, dtype=np.uint16), mapping
    table = np.zeros(max(mapping, default=0) + 1, dtype=np.uint16)
    for old, new in mapping.items():
        table[old] = new
    return table[result.labels], mapping
