"""Register two open volumes and show one over the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from medviewer.core.errors import InputError
from medviewer.core.transform import AffineTransform
from medviewer.core.volume import Volume
from medviewer.core.workspace import Overlay, Registration
from medviewer.jobs.job import Job, JobContext, JobState

if TYPE_CHECKING:
    from medviewer.app.context import AppContext


def resampled(registration: Registration, fixed: Volume, moving: Volume) -> Volume:
    """Return the moving volume on the grid of the fixed one (linear)."""
    from medviewer.imaging.resample import resample_onto

    if not isinstance(registration.transform, AffineTransform):
        raise InputError("Only affine registrations can be shown yet.", hint="Run a rigid or affine registration.")
    background = float(moving.array.min())
    array = resample_onto(
        moving.array,
        moving.geometry,
        fixed.geometry,
        registration.transform,
        interpolation="linear",
        default=background,
    )
    return Volume(
        array=array,
        geometry=fixed.geometry,
        name=f"{moving.name} on {fixed.name}",
        modality=moving.modality,
        unit=moving.unit,
        window=moving.window,
        inverted=moving.inverted,
    )


class Register:
    """Runs registration tasks and shows their result as an overlay."""

    def __init__(self, app: AppContext) -> None:
        self._app = app

    def start(self, fixed_id: str, moving_id: str, task_id: str, params: Mapping[str, object] | None = None) -> Job:
        """Register `moving` to `fixed`; the result is a named step, and its overlay is shown."""
        if fixed_id == moving_id:
            raise InputError("Both images are the same.", hint="Choose two different series.")
        task = self._app.plugins.task(task_id)
        volumes = {"fixed": fixed_id, "moving": moving_id}
        inputs = {name: self._app.workspace.volume(volumes[name]) for name in task.inputs}

        def landed(_segments: object) -> None:
            if self._app.workspace.registrations:
                self.show_overlay(self._app.workspace.registrations[-1].id)

        return self._app.analyze.submit(task, fixed_id, inputs, params, moving_id=moving_id, landed=landed)

    def show_overlay(self, registration_id: str | None, opacity: float = 0.5) -> Job | None:
        """Show the moving image of a registration over its fixed one; None takes the overlay away."""
        workspace = self._app.workspace
        if registration_id is None:
            workspace.overlay = None
            return None
        registration = next((r for r in workspace.registrations if r.id == registration_id), None)
        if registration is None:
            raise InputError("This registration is no longer there.", hint="Run it again.")
        fixed, moving = workspace.volume(registration.fixed_id), workspace.volume(registration.moving_id)

        def work(ctx: JobContext) -> Volume:
            ctx.progress(None, "Resampling")
            return resampled(registration, fixed, moving)

        def done(job: Job) -> None:
            if job.error is not None:
                self._app.messages.error(job.error, "Cannot show the overlay")
            if job.state is JobState.SUCCESS and isinstance(job.result, Volume) and workspace.has_volume(fixed.id):
                workspace.activate(fixed.id)
                workspace.overlay = Overlay(job.result, opacity)

        return self._app.jobs.submit(f"Overlay of {moving.name}", work, lane="cpu", done=done)

    def set_opacity(self, opacity: float) -> None:
        """Change how strongly the overlay covers the image, 0..1."""
        overlay = self._app.workspace.overlay
        if overlay is not None:
            self._app.workspace.overlay = Overlay(overlay.volume, min(1.0, max(0.0, opacity)))
