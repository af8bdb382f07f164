"""What an open volume shows: a point of its time axis, a unit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from medviewer.core.view_state import WindowLevel
from medviewer.core.volume import Volume
from medviewer.jobs.job import Job, JobContext, JobState

if TYPE_CHECKING:
    from medviewer.app.context import AppContext


def count_of(volume: Volume) -> int:
    """Return how many frames, pictures or points of a time axis there are to go through."""
    if volume.stacking != "place":
        return volume.geometry.size[2]
    return len(volume.time.labels) if volume.time is not None else 1


class Volumes:
    """Shows open volumes at another point or in another unit; masks and findings stay as they are."""

    def __init__(self, app: AppContext) -> None:
        self._app = app

    def show_time(self, volume_id: str, index: int) -> None:
        """Show another point of a volume's time axis; an index beyond its ends means the last or the first."""
        volume = self._app.workspace.volume(volume_id)
        if volume.time is None:
            return
        index = min(max(index, 0), len(volume.time.arrays) - 1)
        if index != volume.time.index:
            self._app.workspace.replace_volume(volume.at_time(index))

    def show_unit(self, volume_id: str, unit: str) -> Job | None:
        """Show a PET volume in another of `Volume.suv.units`; the window goes along. None: nothing to do."""
        workspace = self._app.workspace
        volume = workspace.volume(volume_id)
        if unit == volume.unit or volume_id in self._app.loading:
            return None

        def work(ctx: JobContext) -> Volume:
            from medviewer.imaging.units import volume_in_unit

            ctx.progress(None, f"Values in {unit}")
            return volume_in_unit(volume, unit)

        def done(job: Job) -> None:
            if job.error is not None:
                self._app.messages.error(job.error, f"Cannot show {volume.name} in {unit}")
            if job.state is JobState.SUCCESS and isinstance(job.result, Volume) and workspace.has_volume(volume_id):
                self._put(job.result)

        return self._app.jobs.submit(f"{volume.name} in {unit}", work, lane="cpu", done=done)

    def _put(self, volume: Volume) -> None:
        """Put a volume in another unit in place, at the point that is looked at by now."""
        workspace = self._app.workspace
        old = workspace.volume(volume.id)
        if old.time is not None:
            volume = volume.at_time(old.time.index)
        # A presentation state may have been applied meanwhile.
        workspace.replace_volume(replace(volume, shutter=old.shutter))
        if workspace.active is not None and workspace.active.id == volume.id and volume.suv is not None:
            ratio = volume.suv.ratio(old.unit, volume.unit)
            window = workspace.view.window
            workspace.view.window = WindowLevel(window.center * ratio, window.width * ratio)
