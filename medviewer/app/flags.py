"""What decides whether a command is enabled."""

from __future__ import annotations

from collections.abc import Callable

from medviewer.app.context import AppContext
from medviewer.app.volumes import count_of
from medviewer.core.suv import SUV_WINDOWED
from medviewer.core.tilt import STRAIGHT


def always(_app: AppContext) -> bool:
    """Whether the program runs."""
    return True


def has_volume(app: AppContext) -> bool:
    """Whether a volume is looked at."""
    return app.workspace.active is not None


def has_a_segment(app: AppContext) -> bool:
    """Whether the volume that is looked at has a segment."""
    segmentation = app.workspace.active_segmentation
    return segmentation is not None and bool(segmentation.segments)


def has_frames(app: AppContext) -> bool:
    """Whether there is more than one frame, picture or time point to go through."""
    return app.workspace.active is not None and count_of(app.workspace.active) > 1


def has_depth(app: AppContext) -> bool:
    """Whether three planes are looked at, not a film or a picture."""
    return app.workspace.active is not None and app.workspace.active.has_depth


def is_turned(app: AppContext) -> bool:
    """Whether the planes are turned against the grid of the image."""
    return has_depth(app) and app.workspace.view.tilt not in (None, STRAIGHT)


def may_have_hounsfield(app: AppContext) -> bool:
    """Whether the values of what is looked at may be Hounsfield units, which the windows of CT are made for."""
    volume = app.workspace.active
    if volume is None or volume.colors is not None:
        return False
    return volume.unit == "HU" or (volume.modality in ("", "CT") and volume.stacking == "place")


def has_unit(unit: str) -> Callable[[AppContext], bool]:
    """Return what asks whether a PET image can be shown in a unit."""

    def enabled(app: AppContext) -> bool:
        volume = app.workspace.active
        return volume is not None and volume.suv is not None and unit in volume.suv.units and unit != volume.unit

    return enabled


def has_suv(app: AppContext) -> bool:
    """Whether standardized uptake values are looked at."""
    volume = app.workspace.active
    return volume is not None and volume.suv is not None and volume.unit in SUV_WINDOWED


def has_grey(app: AppContext) -> bool:
    """Whether an image without colours of its own is looked at."""
    return app.workspace.active is not None and app.workspace.active.colors is None


def has_active_segment(app: AppContext) -> bool:
    """Whether there is a segment to work on."""
    segmentation = app.workspace.active_segmentation
    return segmentation is not None and bool(segmentation.active)


def can_undo(app: AppContext) -> bool:
    """Whether there is a step to take back."""
    return app.history.can_undo


def can_redo(app: AppContext) -> bool:
    """Whether there is a step to do again."""
    return app.history.can_redo


def is_dirty(app: AppContext) -> bool:
    """Whether there is unsaved work."""
    return app.workspace.dirty


def job_running(app: AppContext) -> bool:
    """Whether something runs."""
    return bool(app.jobs.running)
