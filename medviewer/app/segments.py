"""The segment list: every change is a named undo step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from medviewer.core.errors import MedViewerError
from medviewer.core.region import Region
from medviewer.core.segmentation import Color, Segment
from medviewer.core.terminology import CodedConcept
from medviewer.editing.editor import LabelEditor
from medviewer.editing.history import UndoStack, UndoStep
from medviewer.editing.steps import CompoundStep, GroupStep, SegmentStep

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

#: Group that holds what a person draws.
MANUAL_GROUP = "Drawn"


class Segments:
    """Adds, renames, recolours, shows, locks and removes segments of an open volume."""

    def __init__(self, app: AppContext) -> None:
        self._app = app

    def add(self, volume_id: str, name: str = "", *, concept: CodedConcept | None = None) -> Segment:
        """Add an empty segment among the drawn ones, and make it active."""
        steps, segment = self.added(volume_id, name)
        if concept is not None:
            segment = replace(segment, type=concept)
        steps.append(SegmentStep(self._app.workspace, volume_id, "Add segment", None, segment))
        self._app.history.do(CompoundStep(f"Add {segment.name}", tuple(steps)))
        self._app.workspace.segmentation(volume_id).active = segment.value
        return segment

    def added(self, volume_id: str, name: str = "") -> tuple[list[UndoStep], Segment]:
        """Return the steps that make room for a new drawn segment, and the segment; nothing is carried out."""
        segmentation = self._app.workspace.segmentation(volume_id)
        steps: list[UndoStep] = []
        group = next((g for g in segmentation.groups if g.name == MANUAL_GROUP), None)
        if group is None:
            group = segmentation.new_group(MANUAL_GROUP)
            steps.append(GroupStep(self._app.workspace, volume_id, group))
        value = segmentation.free_value()
        chosen = name or f"Segment {value}"
        return steps, Segment(value, chosen, segmentation.free_color(), group.id, status="in progress")

    def ensure_one(self) -> None:
        """Make sure the active volume has an active segment to draw into."""
        volume = self._app.workspace.active
        if volume is not None and not self._app.workspace.segmentation(volume.id).active:
            self.add(volume.id)

    def rename(self, volume_id: str, value: int, name: str) -> None:
        """Give a segment another name."""
        segment = self._segment(volume_id, value)
        if name.strip() and name != segment.name:
            self._change(volume_id, f"Rename {segment.name}", segment, replace(segment, name=name.strip()))

    def recolor(self, volume_id: str, value: int, color: Color) -> None:
        """Give a segment another colour."""
        segment = self._segment(volume_id, value)
        self._change(volume_id, f"Colour {segment.name}", segment, replace(segment, color=color))

    def show(self, volume_id: str, value: int, visible: bool) -> None:
        """Show or hide a segment."""
        segment = self._segment(volume_id, value)
        verb = "Show" if visible else "Hide"
        self._change(volume_id, f"{verb} {segment.name}", segment, replace(segment, visible=visible))

    def lock(self, volume_id: str, value: int, locked: bool) -> None:
        """Protect a segment from every stroke, or allow them again."""
        segment = self._segment(volume_id, value)
        verb = "Lock" if locked else "Unlock"
        self._change(volume_id, f"{verb} {segment.name}", segment, replace(segment, locked=locked))

    def remove(self, volume_id: str, value: int) -> None:
        """Remove a segment with its voxels."""
        segment = self._segment(volume_id, value)
        if segment.locked:
            raise MedViewerError(f"“{segment.name}” is locked.", hint="Unlock it first.", code="E_EDIT")
        self._app.router.finish()
        segmentation = self._app.workspace.segmentation(volume_id)
        position = [s.value for s in segmentation.segments].index(value)
        erased = UndoStack()
        editor = LabelEditor(self._app.workspace, erased, volume_id)
        with editor.stroke("Erase all", value) as stroke:
            box = Region.of_mask(segmentation.mask(value))
            if box is not None:
                stroke.paint(box, segmentation.mask(value, box), 0)
        drop = SegmentStep(self._app.workspace, volume_id, "Remove segment", segment, None, position)
        drop.redo()
        self._app.history.push(CompoundStep(f"Delete {segment.name}", (*erased.done, drop)))

    def step_active(self, forward: bool) -> None:
        """Make the next or the previous segment active."""
        segmentation = self._app.workspace.active_segmentation
        if segmentation is None or not segmentation.segments:
            return
        values = [s.value for s in segmentation.segments]
        at = values.index(segmentation.active) if segmentation.active in values else -1
        segmentation.active = values[(at + (1 if forward else -1)) % len(values)]

    def _segment(self, volume_id: str, value: int) -> Segment:
        return self._app.workspace.segmentation(volume_id).segment(value)

    def _change(self, volume_id: str, label: str, before: Segment, after: Segment) -> None:
        if before != after:
            self._app.history.do(SegmentStep(self._app.workspace, volume_id, label, before, after))
