"""What lies under the mouse."""

from __future__ import annotations

from dataclasses import dataclass

from medviewer.core.geometry import Vec3
from medviewer.core.segmentation import Color
from medviewer.core.view_state import Plane
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace


@dataclass(frozen=True, slots=True)
class CursorInfo:
    """What lies under the mouse.

    Attributes
    ----------
    plane : Plane
    lps : (float, float, float)
        LPS mm, on the shown slice.
    kji : (int, int, int) or None
        Voxel; None outside the image.
    value : float or None
        In the unit of the volume.
    segments : tuple of str
        Names of the segments shown at this voxel, topmost first.
    color : (int, int, int) or None
        Red, green, blue of a colour picture.
    """

    plane: Plane
    lps: Vec3
    kji: tuple[int, int, int] | None
    value: float | None
    unit: str
    segments: tuple[str, ...]
    color: Color | None = None


def cursor_info(workspace: Workspace, volume: Volume, plane: Plane, lps: Vec3) -> CursorInfo:
    """Return what the active volume, which is `volume`, has at a point in LPS mm on a slice."""
    kji = volume.geometry.voxel_at(lps)
    value = volume.value_at(kji) if kji is not None else None
    color: Color | None = None
    if kji is not None and volume.colors is not None:
        red, green, blue = (int(channel) for channel in volume.colors[kji])
        color = (red, green, blue)
    return CursorInfo(plane, lps, kji, value, volume.unit, _segments_at(workspace, kji), color)


def _segments_at(workspace: Workspace, kji: tuple[int, int, int] | None) -> tuple[str, ...]:
    segmentation = workspace.active_segmentation
    if kji is None or segmentation is None:
        return ()
    found = (segmentation.find(int(group.labels[kji])) for group in reversed(segmentation.groups))
    look, active = workspace.view.look, segmentation.active
    return tuple(s.name for s in found if s is not None and look.shows(s, active))
