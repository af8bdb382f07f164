"""The workspace as immutable values: taken on the main thread, written by a job, put back after reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from medviewer.core.annotation import Box3D
from medviewer.core.contours import Contours
from medviewer.core.finding import Assessment
from medviewer.core.geometry import Vec3
from medviewer.core.provenance import Provenance
from medviewer.core.segmentation import Group, LabelArray, LabelCopy, Segment
from medviewer.core.tilt import Tilt
from medviewer.core.view_state import LabelLook, WindowLevel
from medviewer.core.workspace import Registration, Workspace
from medviewer.io.volume_ref import VolumeRef


@dataclass(frozen=True, slots=True, eq=False)
class GroupSnapshot:
    """A label map as it was; `copy` gives its voxels, uint16 (k, j, i)."""

    id: int
    name: str
    copy: LabelCopy
    contours: Contours | None = None

    @property
    def labels(self) -> LabelArray:
        """Voxels that nobody writes any more."""
        return self.copy.get()


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationSnapshot:
    """The segments of one volume with their label maps; `active` is a segment value or 0."""

    groups: tuple[GroupSnapshot, ...] = ()
    segments: tuple[Segment, ...] = ()
    active: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewSnapshot:
    """What was looked at; `volume_id` is the active volume, empty for none."""

    volume_id: str = ""
    crosshair_lps: Vec3 = (0.0, 0.0, 0.0)
    window: WindowLevel = field(default_factory=lambda: WindowLevel(40.0, 400.0))
    overlay_opacity: float = 0.45
    look: LabelLook = field(default_factory=LabelLook)
    crosshair_visible: bool = True
    maximised: str = ""
    inverted: bool = False
    tilt: Tilt | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WorkspaceSnapshot:
    """Everything a saved workspace holds.

    Attributes
    ----------
    id : str
        Of the workspace.
    save_id : str
        Of this state; a journal names the state it builds on by it.
    segmentations, boxes, assessments : mapping of volume id to values
    runs : tuple of Provenance
        Every task run, oldest first.
    """

    id: str
    volumes: tuple[VolumeRef, ...] = ()
    segmentations: Mapping[str, SegmentationSnapshot] = field(default_factory=dict)
    boxes: Mapping[str, tuple[Box3D, ...]] = field(default_factory=dict)
    assessments: Mapping[str, tuple[Assessment, ...]] = field(default_factory=dict)
    registrations: tuple[Registration, ...] = ()
    runs: tuple[Provenance, ...] = ()
    view: ViewSnapshot = field(default_factory=ViewSnapshot)
    save_id: str = field(default_factory=lambda: uuid4().hex)


def take_snapshot(workspace: Workspace, sources: Mapping[str, tuple[Path, ...]] | None = None) -> WorkspaceSnapshot:
    """Copy the state of a workspace; call it on the main thread.

    Parameters
    ----------
    workspace : Workspace
        Label maps are copied by whoever writes the snapshot, or before a stroke changes them; images never change.
    sources : mapping of volume id to paths, optional
        What the user opened for each volume.
    """
    sources = sources or {}
    segmentations: dict[str, SegmentationSnapshot] = {}
    for volume in workspace.volumes:
        segmentation = workspace.segmentation(volume.id)
        groups = tuple(GroupSnapshot(g.id, g.name, g.copy_labels(), g.contours) for g in segmentation.groups)
        segmentations[volume.id] = SegmentationSnapshot(groups, segmentation.segments, segmentation.active)
    view, active = workspace.view, workspace.active
    return WorkspaceSnapshot(
        id=workspace.id,
        volumes=tuple(VolumeRef.of(volume, sources.get(volume.id, ())) for volume in workspace.volumes),
        segmentations=segmentations,
        boxes={volume.id: workspace.boxes(volume.id) for volume in workspace.volumes},
        assessments={volume.id: workspace.assessments(volume.id) for volume in workspace.volumes},
        registrations=workspace.registrations,
        runs=workspace.runs,
        view=ViewSnapshot(
            volume_id=active.id if active else "",
            crosshair_lps=view.crosshair_lps,
            window=view.window,
            overlay_opacity=view.overlay_opacity,
            look=view.look,
            crosshair_visible=view.crosshair_visible,
            maximised=view.maximised,
            inverted=view.inverted,
            tilt=view.tilt,
        ),
    )


def restore_snapshot(workspace: Workspace, snapshot: WorkspaceSnapshot) -> None:
    """Put a snapshot into a workspace whose volumes have been opened again, under the ids of the snapshot.

    What belongs to a volume that is not open is left out. Undo knows nothing of it: it is the base of new work. The
    label maps go over to the workspace, so a snapshot can be restored once.

    Raises
    ------
    ValueError
        When a label map does not fit the grid of its volume.
    """
    workspace.id = snapshot.id
    for volume_id, saved in snapshot.segmentations.items():
        if not workspace.has_volume(volume_id):
            continue
        segmentation = workspace.segmentation(volume_id)
        for group in saved.groups:
            if group.labels.shape != segmentation.geometry.shape:
                raise ValueError("a label map does not fit the grid of its volume")
            segmentation.put_group(Group(group.id, group.name, group.labels, group.contours))
        for segment in saved.segments:
            segmentation.put_segment(segment)
        if saved.active == 0 or segmentation.find(saved.active):
            segmentation.active = saved.active
        workspace.set_boxes(volume_id, snapshot.boxes.get(volume_id, ()))
        workspace.set_assessments(volume_id, snapshot.assessments.get(volume_id, ()))
    present = [
        r for r in snapshot.registrations if workspace.has_volume(r.fixed_id) and workspace.has_volume(r.moving_id)
    ]
    workspace.set_registrations(present)
    for run in snapshot.runs:
        workspace.add_run(run)
    restore_view(workspace, snapshot.view)


def restore_view(workspace: Workspace, saved: ViewSnapshot) -> None:
    """Look at what was looked at."""
    if workspace.has_volume(saved.volume_id):
        workspace.activate(saved.volume_id)
    view = workspace.view
    view.crosshair_lps = saved.crosshair_lps
    view.window = saved.window
    view.overlay_opacity = saved.overlay_opacity
    view.look = saved.look
    view.crosshair_visible = saved.crosshair_visible
    view.maximised = saved.maximised
    view.inverted = saved.inverted
    view.tilt = saved.tilt
