"""Results become part of the workspace: one named undo step a run, with provenance, never over newer work."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from medviewer.api.plugin import BoxResult, FindingResult, LabelResult, Result, TaskInfo, TransformResult, VolumeResult
from medviewer.core.annotation import Box3D
from medviewer.core.contours import Contours
from medviewer.core.finding import Assessment, Finding, QualityFlag
from medviewer.core.provenance import Provenance
from medviewer.core.region import Region
from medviewer.core.segmentation import PALETTE, Group, LabelArray, Segment, Segmentation
from medviewer.core.volume import Volume
from medviewer.core.workspace import Registration, Workspace
from medviewer.editing.history import UndoStack, UndoStep
from medviewer.editing.steps import (
    AssessmentsStep,
    BoxesStep,
    CompoundStep,
    GroupStep,
    RegistrationsStep,
    SegmentStep,
)


@dataclass(frozen=True, slots=True, eq=False)
class PreparedLabels:
    """A label result, ready to become a group: all that takes time is done.

    Attributes
    ----------
    labels : uint16 (k, j, i)
        The group's own copy, with values that no segment had.
    mapping : mapping of int to int
        Value in the result -> value in `labels`.
    box : Region or None
        Box that holds all its voxels.
    copies : list of uint16 (k, j, i)
        The voxels of the box once more, for the journal.
    contours : Contours or None
        What the labels were filled from, by the values in the result.
    """

    result: LabelResult
    labels: LabelArray
    mapping: Mapping[int, int]
    box: Region | None
    copies: list[LabelArray]
    contours: Contours | None = None


def prepare(results: Sequence[Result], taken: Iterable[int]) -> list[Result | PreparedLabels]:
    """Do, in any thread, what takes time before results can land.

    Parameters
    ----------
    results : sequence of Result
    taken : iterable of int
        Label values that are not free. One that is taken later costs a second pass when the result lands.
    """
    used = set(taken)
    prepared: list[Result | PreparedLabels] = []
    for result in results:
        prepared.append(_prepare(result, used) if isinstance(result, LabelResult) else result)
    return prepared


def _prepare(result: LabelResult, used: set[int]) -> PreparedLabels:
    """Copy labels to values that are not `used`, which grows by them; a value that is free stays."""
    own = {segment.value for segment in result.segments}
    mapping: dict[int, int] = {}
    for segment in result.segments:
        if segment.value not in used:
            mapping[segment.value] = segment.value
        else:
            mapping[segment.value] = next(n for n in itertools.count(1) if n not in used and n not in own)
        used.add(mapping[segment.value])
    if all(old == new for old, new in mapping.items()):
        labels: LabelArray = np.array(result.labels, dtype=np.uint16)
    else:
        table = np.zeros(max(mapping, default=0) + 1, dtype=np.uint16)
        for old, new in mapping.items():
            table[old] = new
        labels = table[result.labels]
    box = Region.of_mask(labels != 0)
    return PreparedLabels(result, labels, mapping, box, [] if box is None else [labels[box.slices].copy()])


class ResultApplier:
    """Turns the results of one run into one step."""

    def __init__(self, workspace: Workspace, history: UndoStack) -> None:
        self._workspace = workspace
        self._history = history

    def apply(
        self,
        volume_id: str,
        task: TaskInfo,
        results: Sequence[Result | PreparedLabels],
        provenance: Provenance,
        *,
        moving_id: str = "",
        link_box: str = "",
        keep_colors: bool = False,
    ) -> list[Segment]:
        """Apply results that lie on the grid of the volume; return the segments that came.

        A label result makes a group of its own, so that it can overlap what is there and overwrites nothing. What an
        earlier run of the same task on the whole volume made, and nobody has edited or locked, makes way for it.
        """
        steps: list[UndoStep] = []
        # What was clicked before is another object, not an older answer.
        if list(task.inputs.values()) == ["volume"] and task.kind != "interactive":
            steps += self._make_way(volume_id, task)
        segments: list[Segment] = []
        made: dict[int, int] = {}
        for result in sorted(results, key=lambda result: isinstance(result, BoxResult)):
            if isinstance(result, LabelResult | PreparedLabels):
                steps += self._labels(volume_id, result, provenance, segments, keep_colors, made)
            elif isinstance(result, BoxResult):
                steps.append(self._boxes(volume_id, task, result, provenance, made))
            elif isinstance(result, TransformResult):
                steps.append(self._transform(volume_id, moving_id, result, provenance))
            elif isinstance(result, VolumeResult) and task.kind == "enhancement":
                self._workspace.add_volume(result.volume)
        steps += self._assess(volume_id, task, results, provenance)
        if link_box and segments:
            steps.append(self._link(volume_id, link_box, segments[0]))
        self._workspace.add_run(provenance)
        if steps:
            self._history.push(CompoundStep(task.title, tuple(steps)))
        return segments

    def _make_way(self, volume_id: str, task: TaskInfo) -> list[UndoStep]:
        segmentation = self._workspace.segmentation(volume_id)
        steps: list[UndoStep] = []
        for group in segmentation.groups:
            segments = [segment for segment in segmentation.segments if segment.group == group.id]
            if not segments or any(s.provenance.task != task.id or s.edited or s.locked for s in segments):
                continue
            for segment in segments:
                position = [s.value for s in segmentation.segments].index(segment.value)
                drop = SegmentStep(self._workspace, volume_id, f"Replace {segment.name}", segment, None, position)
                drop.redo()
                steps.append(drop)
            box = Region.of_mask(group.labels != 0)
            taken = GroupStep(self._workspace, volume_id, group, f"Replace {group.name}", box, removed=True)
            taken.redo()
            steps.append(taken)
        return steps

    def _labels(
        self,
        volume_id: str,
        result: LabelResult | PreparedLabels,
        provenance: Provenance,
        segments: list[Segment],
        keep_colors: bool,
        made: dict[int, int],
    ) -> list[UndoStep]:
        segmentation = self._workspace.segmentation(volume_id)
        taken = {segment.value for segment in segmentation.segments}
        ready = result if isinstance(result, PreparedLabels) else _prepare(result, set(taken))
        if not taken.isdisjoint(ready.mapping.values()):
            ready = replace(_prepare(ready.result, taken), contours=ready.contours)
        made.update(ready.mapping)
        contours = None if ready.contours is None else ready.contours.renumbered(ready.mapping)
        group = Group(segmentation.free_group(), ready.result.name, ready.labels, contours)
        step = GroupStep(self._workspace, volume_id, group, box=ready.box, copies=ready.copies)
        step.redo()
        steps: list[UndoStep] = [step]
        for source in ready.result.segments:
            segment = replace(
                source,
                value=ready.mapping[source.value],
                flags=_flags_of(ready.result, source.value),
                group=group.id,
                color=source.color if keep_colors else _color(segmentation, source),
                provenance=provenance,
            )
            add = SegmentStep(self._workspace, volume_id, f"Add {segment.name}", None, segment)
            add.redo()
            steps.append(add)
            segments.append(segment)
        return steps

    def _boxes(
        self, volume_id: str, task: TaskInfo, result: BoxResult, provenance: Provenance, made: Mapping[int, int]
    ) -> UndoStep:
        """Findings of an earlier run of the same task that nobody has reviewed make way for the new ones.

        A finding that names a segment of the same run is linked to it, whatever value that has got; one of an earlier
        run stays while its segment does.
        """
        before = self._workspace.boxes(volume_id)
        find = self._workspace.segmentation(volume_id).find
        new_values = set(made.values())
        kept = [
            box
            for box in before
            if box.provenance.task != task.id
            or box.review != "open"
            or (box.segment and box.segment not in new_values and find(box.segment) is not None)
        ]
        new = [replace(box, provenance=provenance, segment=made.get(box.segment or 0)) for box in result.boxes]
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

    def _assess(
        self, volume_id: str, task: TaskInfo, results: Sequence[Result | PreparedLabels], provenance: Provenance
    ) -> list[UndoStep]:
        """What a run says of the whole image takes the place of what an earlier run of the same task said."""
        before = self._workspace.assessments(volume_id)
        kept = [old for old in before if old.provenance.task != task.id]
        new = assessment_of(task, results, provenance)
        after = (*kept, *([new] if new is not None else []))
        if len(kept) == len(before) and new is None:
            return []
        step = AssessmentsStep(self._workspace, volume_id, task.title, before, after)
        step.redo()
        return [step]


def assessment_of(
    task: TaskInfo, results: Sequence[Result | PreparedLabels], provenance: Provenance
) -> Assessment | None:
    """Return what the results of one run say of the whole image; None when they say nothing of it."""
    findings: list[Finding] = []
    maps: list[Volume] = []
    flags: list[QualityFlag] = []
    for prepared in results:
        result = prepared.result if isinstance(prepared, PreparedLabels) else prepared
        if isinstance(result, FindingResult):
            findings += result.findings
            maps += [_as_heat_map(result.heatmap)] if result.heatmap is not None else []
        elif isinstance(result, VolumeResult) and task.kind != "enhancement":
            maps.append(replace(result.volume, name=result.name))
        if isinstance(result, LabelResult | BoxResult | FindingResult):
            flags += [flag for flag in result.flags if not flag.segment and flag not in flags]
    if not (findings or maps or flags):
        return None
    return Assessment(
        name=task.title,
        findings=tuple(sorted(findings, key=lambda f: -f.probability)),
        maps=tuple(_as_map(volume) for volume in maps),
        flags=tuple(flags),
        provenance=provenance,
    )


#: Evidence below this is everywhere, and would only cover the image.
_LEAST_EVIDENCE = 0.4


def _as_heat_map(volume: Volume) -> Volume:
    """Show where most of the evidence lies, 0..1."""
    low, width = _LEAST_EVIDENCE, 1.0 - _LEAST_EVIDENCE
    return replace(volume, name="Heat map", window=volume.window or (low + width / 2, width))


def _as_map(volume: Volume) -> Volume:
    """Show a probability from 0 to 1, so that the same colour is the same value in every image."""
    if volume.window is not None or not volume.array.size:
        return volume
    low, high = float(volume.array.min()), float(volume.array.max())
    return replace(volume, window=(0.5, 1.0)) if low >= 0.0 and high <= 1.0 else volume


def _flags_of(result: LabelResult, value: int) -> tuple[QualityFlag, ...]:
    """Return what is doubtful about one segment of a result."""
    return tuple(replace(flag, segment=0) for flag in result.flags if flag.segment in (0, value))


def ranked(boxes: Sequence[Box3D]) -> tuple[Box3D, ...]:
    """Return findings best first; those without a score (made by hand) come before all others."""
    return tuple(sorted(boxes, key=lambda b: -(b.score if b.score is not None else np.inf)))


def _color(segmentation: Segmentation, source: Segment) -> tuple[int, int, int]:
    """Keep the plugin's colour unless it is the default or taken."""
    taken = {segment.color for segment in segmentation.segments}
    if source.color == PALETTE[0] or source.color in taken:
        return segmentation.free_color()
    return source.color
