"""The open document: volumes with their segmentation and findings, registrations, and what is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from psygnal import Signal

from medviewer.core.annotation import Box3D
from medviewer.core.finding import Assessment
from medviewer.core.geometry import Geometry
from medviewer.core.provenance import Provenance
from medviewer.core.segmentation import Segmentation
from medviewer.core.transform import AffineTransform, DisplacementField
from medviewer.core.view_state import ViewState
from medviewer.core.volume import Volume


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """A transform between two open volumes, fixed -> moving in LPS mm, and how good it is."""

    name: str
    fixed_id: str
    moving_id: str
    transform: AffineTransform | DisplacementField
    measures: Mapping[str, float] = field(default_factory=dict)
    provenance: Provenance | None = None
    id: str = field(default_factory=lambda: uuid4().hex)


@dataclass(frozen=True, slots=True)
class Overlay:
    """A second volume shown over the active one; resampled onto its grid."""

    volume: Volume
    opacity: float = 0.5


class Workspace:
    """Owns everything that is open; observable; knows no window.

    Signals
    -------
    volume_added(Volume), volume_removed(Volume)
    volume_updated(Volume)
        Voxels of a volume that is still loading have arrived.
    active_changed(Volume or None)
        Another volume is looked at.
    boxes_changed(str)
        The findings of the volume with this id changed.
    assessments_changed(str)
        What models say of the volume with this id changed.
    registrations_changed()
    overlay_changed()
    dirty_changed(bool)
    run_added(Provenance)
    """

    volume_added = Signal(object)
    volume_removed = Signal(object)
    volume_updated = Signal(object)
    active_changed = Signal(object)
    boxes_changed = Signal(str)
    assessments_changed = Signal(str)
    registrations_changed = Signal()
    overlay_changed = Signal()
    dirty_changed = Signal(bool)
    run_added = Signal(object)

    def __init__(self) -> None:
        self.id = uuid4().hex
        self.view = ViewState()
        self._volumes: dict[str, Volume] = {}
        self._segmentations: dict[str, Segmentation] = {}
        self._boxes: dict[str, tuple[Box3D, ...]] = {}
        self._assessments: dict[str, tuple[Assessment, ...]] = {}
        self._registrations: tuple[Registration, ...] = ()
        self._runs: list[Provenance] = []
        self._overlay: Overlay | None = None
        self._active = ""
        self._dirty = False

    @property
    def volumes(self) -> tuple[Volume, ...]:
        """Open volumes in the order of opening."""
        return tuple(self._volumes.values())

    def volume(self, volume_id: str) -> Volume:
        """Return an open volume; raises KeyError."""
        return self._volumes[volume_id]

    def has_volume(self, volume_id: str) -> bool:
        """Whether a volume is open."""
        return volume_id in self._volumes

    @property
    def active(self) -> Volume | None:
        """The volume that is looked at."""
        return self._volumes.get(self._active)

    def activate(self, volume_id: str) -> None:
        """Look at another volume."""
        if volume_id not in self._volumes:
            raise KeyError(volume_id)
        if volume_id != self._active:
            self._active = volume_id
            self._overlay = None
            self.active_changed.emit(self._volumes[volume_id])
            self.overlay_changed.emit()

    def add_volume(self, volume: Volume) -> None:
        """Add a volume with an empty segmentation on its grid."""
        self._volumes[volume.id] = volume
        self._segmentations[volume.id] = Segmentation(volume.geometry, volume.id)
        self._boxes[volume.id] = ()
        self._assessments[volume.id] = ()
        self.volume_added.emit(volume)

    def remove_volume(self, volume_id: str) -> None:
        """Close a volume with everything that belongs to it."""
        volume = self._volumes.pop(volume_id)
        self._segmentations.pop(volume_id)
        self._boxes.pop(volume_id)
        self._assessments.pop(volume_id)
        self._registrations = tuple(r for r in self._registrations if volume_id not in (r.fixed_id, r.moving_id))
        if self._active == volume_id:
            self._active = ""
            self._overlay = None
            self.active_changed.emit(None)
            self.overlay_changed.emit()
        self.volume_removed.emit(volume)
        self.registrations_changed.emit()

    def replace_volume(self, volume: Volume) -> None:
        """Put a volume in the place of the one with its id, keeping masks and findings; the grid must be the same."""
        old = self._volumes[volume.id]
        if old.geometry != volume.geometry:
            raise ValueError("the grid of a volume cannot change")
        self._volumes[volume.id] = volume
        self.volume_updated.emit(volume)

    def segmentation(self, volume_id: str) -> Segmentation:
        """Return the segmentation of a volume; raises KeyError."""
        return self._segmentations[volume_id]

    @property
    def active_segmentation(self) -> Segmentation | None:
        """Segmentation of the volume that is looked at."""
        return self._segmentations.get(self._active)

    def boxes(self, volume_id: str) -> tuple[Box3D, ...]:
        """Return the findings of a volume, best first."""
        return self._boxes[volume_id]

    def set_boxes(self, volume_id: str, boxes: Sequence[Box3D]) -> None:
        """Replace the findings of a volume (called by undo steps and loaders)."""
        self._boxes[volume_id] = tuple(boxes)
        self.boxes_changed.emit(volume_id)

    def assessments(self, volume_id: str) -> tuple[Assessment, ...]:
        """Return what models say of a volume, oldest first."""
        return self._assessments[volume_id]

    def set_assessments(self, volume_id: str, assessments: Sequence[Assessment]) -> None:
        """Replace what models say of a volume (called by undo steps and loaders); a map that goes is shown no more."""
        before = {volume.id for old in self._assessments[volume_id] for volume in old.maps}
        self._assessments[volume_id] = tuple(assessments)
        gone = before - {volume.id for new in assessments for volume in new.maps}
        if self._overlay is not None and self._overlay.volume.id in gone:
            self.overlay = None
        self.assessments_changed.emit(volume_id)

    @property
    def registrations(self) -> tuple[Registration, ...]:
        """All registrations between open volumes."""
        return self._registrations

    def set_registrations(self, registrations: Sequence[Registration]) -> None:
        """Replace the registrations (called by undo steps and loaders)."""
        self._registrations = tuple(registrations)
        self.registrations_changed.emit()

    @property
    def overlay(self) -> Overlay | None:
        """Second volume over the active one."""
        return self._overlay

    @overlay.setter
    def overlay(self, overlay: Overlay | None) -> None:
        self._overlay = overlay
        self.overlay_changed.emit()

    @property
    def runs(self) -> tuple[Provenance, ...]:
        """Every task run that landed in this workspace, oldest first."""
        return tuple(self._runs)

    def add_run(self, run: Provenance) -> None:
        """Record a task run."""
        self._runs.append(run)
        self.run_added.emit(run)

    @property
    def dirty(self) -> bool:
        """Whether there is work that is not in the saved file (it is in the journal)."""
        return self._dirty

    @dirty.setter
    def dirty(self, dirty: bool) -> None:
        if dirty != self._dirty:
            self._dirty = dirty
            self.dirty_changed.emit(dirty)

    def geometry(self, volume_id: str) -> Geometry:
        """Return the grid of a volume."""
        return self._volumes[volume_id].geometry
