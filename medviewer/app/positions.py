"""Where one looks in each open image: the same place where two images share a frame of reference, else its own."""

from __future__ import annotations

import numpy as np

from medviewer.app.messages import MessageLog
from medviewer.core.geometry import Vec3, vec3
from medviewer.core.tilt import Tilt, orthogonal, patient_axes, tilt_of
from medviewer.core.transform import AffineTransform
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace


class Positions:
    """Moves the crosshair and turned planes along when another image is looked at.

    Places in two images are the same only in one frame of reference, or through a registration. Otherwise each image
    keeps a position and planes of its own, and the user is told why.
    """

    def __init__(self, workspace: Workspace, messages: MessageLog) -> None:
        self._workspace = workspace
        self._messages = messages
        self._known: dict[str, Vec3] = {}
        self._tilts: dict[str, Tilt | None] = {}
        self._last: Volume | None = None
        self._told: set[frozenset[str]] = set()
        workspace.view.crosshair_changed.connect(self._remember)
        workspace.view.tilt_changed.connect(self._remember_tilt)
        workspace.active_changed.connect(self._show)
        workspace.volume_removed.connect(self._forget)

    def _remember(self, lps: Vec3) -> None:
        active = self._workspace.active
        if active is not None and self._last is not None and active.id == self._last.id:
            self._known[active.id] = lps

    def _remember_tilt(self) -> None:
        active = self._workspace.active
        if active is not None and self._last is not None and active.id == self._last.id:
            self._tilts[active.id] = self._workspace.view.tilt

    def _show(self, volume: Volume | None) -> None:
        last, self._last = self._last, volume
        if volume is None:
            return
        place = self._workspace.view.crosshair_lps
        tilt = self._tilts.get(volume.id)
        if last is not None:
            place = self._known.get(last.id, place)
            linked = linked_place(self._workspace, last, volume, place)
            if linked is not None and last.has_depth:
                tilt = linked_tilt(self._workspace, last, volume, place)
            place = linked or self._known.get(volume.id) or first_look(volume)
            if linked is None:
                self._tell(last, volume)
        elif volume.id in self._known:
            place = self._known[volume.id]
        self._known[volume.id] = place
        self._workspace.view.tilt = tilt if volume.has_depth else None
        self._workspace.view.crosshair_lps = place

    def _tell(self, last: Volume, volume: Volume) -> None:
        pair = frozenset((last.id, volume.id))
        if pair not in self._told and differ_in_frame(last, volume) and not _other_patient(last, volume):
            self._told.add(pair)
            self._messages.add(
                "info",
                f"Different frames of reference, so positions are not linked: “{last.name}”, “{volume.name}”.",
                "Register them first.",
                "I_FRAME_OF_REFERENCE",
            )

    def _forget(self, volume: Volume) -> None:
        self._known.pop(volume.id, None)
        self._tilts.pop(volume.id, None)
        if self._last is not None and self._last.id == volume.id:
            self._last = None


def first_look(volume: Volume) -> Vec3:
    """Return where one looks first, LPS mm: the middle of a volume, the first frame of a film."""
    if volume.stacking == "place":
        return volume.geometry.center_lps
    i, j, _ = volume.geometry.size
    return vec3(volume.geometry.index_to_lps(((i - 1) / 2, (j - 1) / 2, 0.0)))


def differ_in_frame(one: Volume, other: Volume) -> bool:
    """Whether two images are known to have different frames of reference (DICOM PS3.3 C.7.4.1)."""
    frames = [v.series.frame_of_reference_uid if v.series is not None else "" for v in (one, other)]
    return bool(frames[0] and frames[1] and frames[0] != frames[1])


def _other_patient(one: Volume, other: Volume) -> bool:
    return bool(one.patient_id and other.patient_id and one.patient_id != other.patient_id)


def linked_place(workspace: Workspace, one: Volume, other: Volume, lps: Vec3) -> Vec3 | None:
    """Return which place in `other` is that in `one` (LPS mm); None when nobody knows."""
    if not (one.in_patient and other.in_patient) or "time" in (one.stacking, other.stacking):
        return None
    if _other_patient(one, other):
        return None
    for registration in reversed(workspace.registrations):
        transform = registration.transform
        if isinstance(transform, AffineTransform):
            if (registration.fixed_id, registration.moving_id) == (one.id, other.id):
                return vec3(transform.apply(lps))
            if (registration.moving_id, registration.fixed_id) == (one.id, other.id):
                return vec3(transform.inverse().apply(lps))
    return None if differ_in_frame(one, other) else lps


def linked_tilt(workspace: Workspace, one: Volume, other: Volume, lps: Vec3) -> Tilt | None:
    """Return how the planes of `other` lie where those of `one` lie in the patient at a place (LPS mm) of it."""
    tilt = workspace.view.tilt
    if tilt is None:
        return None
    axes = np.array(tilt).reshape(3, 3) @ patient_axes(one.geometry)
    moved = [linked_place(workspace, one, other, vec3(np.array(lps) + step)) for step in (np.zeros(3), *axes.T)]
    start, *ends = (np.array(place) for place in moved if place is not None)
    directions = orthogonal(np.stack([end - start for end in ends], axis=1))
    try:
        return tilt_of(directions @ patient_axes(other.geometry).T)
    except ValueError:  # a registration that mirrors
        return None
