"""The segment list: every change is a named undo step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from medviewer.core.errors import MedViewerError
from medviewer.core.geometry import Vec3
from medviewer.core.region import Region
from medviewer.core.segmentation import Color, Segment, Status
from medviewer.core.terminology import CodedConcept
from medviewer.editing.editor import LabelEditor
from medviewer.editing.history import UndoStack, UndoStep
from medviewer.editing.steps import CompoundStep, GroupStep, SegmentStep
from medviewer.export.names import safe_name
from medviewer.io.terminology import Term

if TYPE_CHECKING:
    from medviewer.app.context import AppContext
    from medviewer.io.presets import Preset

#: Group that holds what a person draws.
MANUAL_GROUP = "Drawn"


class Segments:
    """Adds, renames, describes, shows, locks and removes segments of an open volume."""

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

    def set_opacity(self, volume_id: str, before: Segment, opacity: float) -> None:
        """Draw a segment more or less strongly, 0..1; `before` is what it was when the user began to change that."""
        self._change(volume_id, f"Opacity of {before.name}", before, replace(before, opacity=opacity))

    def set_status(self, volume_id: str, value: int, status: Status) -> None:
        """Say how far the work on a segment is."""
        segment = self._segment(volume_id, value)
        self._change(volume_id, f"{segment.name}: {status}", segment, replace(segment, status=status))

    def describe(self, volume_id: str, value: int, term: Term) -> None:
        """Say what a segment is, in codes; name and colour of the term go over to it when it has them."""
        segment = self._segment(volume_id, value)
        name = f"{term.name} {segment.instance}" if segment.instance else term.name
        changed = replace(segment, name=name, color=term.color or segment.color, **term.codes)
        self._change(volume_id, f"Describe {segment.name}", segment, changed)

    def new_instance(self, volume_id: str, value: int) -> Segment:
        """Add one more of the kind of a segment, metastasis 2 beside metastasis 1, and make it active."""
        work = self._app.workspace
        segmentation = work.segmentation(volume_id)
        source = segmentation.segment(value)
        steps: list[UndoStep] = []
        if not source.instance:
            first = replace(source, name=f"{source.name} 1", instance=1)
            steps.append(SegmentStep(work, volume_id, "Number segment", source, first))
        kind = [s for s in segmentation.segments if s.instance and s.label == source.label]
        number = max([1, *(s.instance for s in kind)]) + 1
        last = max(kind, key=lambda s: s.instance, default=source)
        position = [s.value for s in segmentation.segments].index(last.value) + 1
        added = Segment(
            segmentation.free_value(), f"{source.label} {number}", segmentation.free_color(), source.group,
            instance=number, status="in progress", **Term.of(source).codes,
        )  # fmt: skip
        steps.append(SegmentStep(work, volume_id, "Add segment", None, added, position))
        self._app.history.do(CompoundStep(f"Add {added.name}", tuple(steps)))
        segmentation.active = added.value
        return added

    def add_preset(self, volume_id: str, preset: Preset) -> int:
        """Add the segments of a preset that are not there yet, with its label values; return how many.

        Raises
        ------
        MedViewerError
            When another segment has one of the values; nothing is added then.
        """
        work = self._app.workspace
        segmentation = work.segmentation(volume_id)
        wanted = []
        for value, term in preset.terms.items():
            there = segmentation.find(value)
            if there is None:
                wanted.append((value, term))
            elif there.label != term.name:
                raise MedViewerError(
                    f"“{there.name}” has label value {value}, which is “{term.name}” in “{preset.name}”.",
                    hint="Delete that segment, or begin with the preset.",
                    code="E_EDIT",
                )
        steps, pattern = self.added(volume_id)
        for value, term in wanted:
            segment = Segment(value, term.name, term.color or pattern.color, pattern.group, **term.codes)
            steps.append(SegmentStep(work, volume_id, "Add segment", None, segment))
        if wanted:
            self._app.history.do(CompoundStep(f"Add {preset.name}", tuple(steps)))
            segmentation.active = wanted[0][0]
        return len(wanted)

    def save_preset(self, volume_id: str, name: str) -> Preset:
        """Keep the segments of a volume, with their values and codes, as a preset of the user's own.

        Raises
        ------
        MedViewerError
            When there are none, or it cannot be written.
        """
        from medviewer.io.presets import Preset, user_presets, write_preset

        segments = self._app.workspace.segmentation(volume_id).segments
        terms: dict[int, Term] = {}
        for segment in segments:
            if segment.label not in {term.name for term in terms.values()}:
                terms[segment.value] = Term.of(segment)
        if not terms:
            raise MedViewerError("There are no segments to keep.", hint="Add a segment first.", code="E_EMPTY")
        preset = Preset(name.strip() or "Segments", terms)
        folder = user_presets()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_preset(folder / f"{safe_name(preset.name)}.json", preset)
        return preset

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

    def choose(self, number: int) -> None:
        """Make the segment active that is in this place of the list, the first one being 1."""
        segmentation = self._app.workspace.active_segmentation
        if segmentation is not None and 1 <= number <= len(segmentation.segments):
            segmentation.active = segmentation.segments[number - 1].value

    def pick(self, lps: Vec3) -> bool:
        """Make the visible segment at a point (LPS mm) active, the topmost one; False when there is none."""
        segmentation = self._app.workspace.active_segmentation
        kji = segmentation.geometry.voxel_at(lps) if segmentation is not None else None
        if segmentation is None or kji is None:
            return False
        for group in reversed(segmentation.groups):
            segment = segmentation.find(int(group.labels[kji]))
            if segment is not None and segment.visible:
                segmentation.active = segment.value
                return True
        return False

    def _segment(self, volume_id: str, value: int) -> Segment:
        return self._app.workspace.segmentation(volume_id).segment(value)

    def _change(self, volume_id: str, label: str, before: Segment, after: Segment) -> None:
        if before != after:
            self._app.history.do(SegmentStep(self._app.workspace, volume_id, label, before, after))
