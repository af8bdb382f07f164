"""Doses and parametric maps over the images they belong to, by their place in one frame of reference."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from medviewer.core.dicom_ref import SeriesRef, Study
from medviewer.core.errors import InputError
from medviewer.core.volume import Volume
from medviewer.core.workspace import Overlay
from medviewer.jobs.job import Job, JobContext, JobState

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

#: Kinds of `SeriesRef` that are laid over an image where there is one.
OVERLAY_KINDS: Final = frozenset({"rtdose", "parametric_map"})


class Overlays:
    """Lays a series over an open image of the same patient and frame of reference; it keeps its own grid."""

    def __init__(self, app: AppContext) -> None:
        self._app = app

    def open(self, series: SeriesRef) -> Job | None:
        """Lay a series over the image it belongs to, which is opened first when it is only listed; alone without one.

        The image that is looked at comes first, then other open ones, then those of the study, the largest first.
        """
        image = self._open_image(series)
        if image is not None:
            return self.lay(series, image.id)
        listed = self._listed_image(series)
        if listed is None:
            return self._app.studies.open_series(series)
        job = self._app.studies.open_series(listed)

        def then(state: JobState) -> None:
            volume = self._app.studies.find_volume(listed)
            if state is JobState.SUCCESS and volume is not None:
                self.lay(series, volume.id)

        if job is not None:
            job.state_changed.connect(then)
        return job

    def lay(self, series: SeriesRef, volume_id: str, opacity: float = 0.5) -> Job:
        """Read a series and show it over an open image.

        A series of another patient (``E_WRONG_PATIENT``) or another frame of reference (``E_OTHER_FRAME``) is refused
        with a message.
        """
        workspace = self._app.workspace
        base = workspace.volume(volume_id)
        known = self._app.studies.find_volume(series)

        def work(ctx: JobContext) -> Volume:
            from medviewer.io.reader import open_series

            volume = known or open_series(ctx, series, self._app.decode_worker)
            check_lies_over(volume, base)
            return volume

        def done(job: Job) -> None:
            if job.error is not None:
                self._app.messages.error(job.error, f"Cannot show {series.title} over {base.name}")
            if job.state is JobState.SUCCESS and isinstance(job.result, Volume) and workspace.has_volume(volume_id):
                self._show(job.result, base, opacity)

        return self._app.jobs.submit(f"{series.title} over {base.name}", work, lane="io", done=done)

    def show_map(self, volume_id: str, map_id: str, opacity: float = 0.5) -> None:
        """Show a map of a model over the image it was made from; raises `InputError` when it is gone."""
        workspace = self._app.workspace
        for assessment in workspace.assessments(volume_id):
            for volume in assessment.maps:
                if volume.id == map_id:
                    workspace.activate(volume_id)
                    workspace.overlay = Overlay(volume, opacity)
                    return
        raise InputError("This map is no longer there.", hint="Run the task again.")

    def hide(self) -> None:
        """Show the image alone."""
        self._app.workspace.overlay = None

    def set_opacity(self, opacity: float) -> None:
        """Let what lies over the image cover it more or less, 0..1."""
        overlay = self._app.workspace.overlay
        if overlay is not None and overlay.opacity != opacity:
            self._app.workspace.overlay = replace(overlay, opacity=opacity)

    def _show(self, volume: Volume, base: Volume, opacity: float) -> None:
        self._app.workspace.activate(base.id)
        self._app.workspace.overlay = Overlay(volume, opacity)
        for warning in volume.warnings:
            self._app.messages.add("warning", f"{volume.name}: {warning.text}", "", warning.code)

    def _open_image(self, series: SeriesRef) -> Volume | None:
        active = self._app.workspace.active
        volumes = sorted(self._app.workspace.volumes, key=lambda volume: volume is not active)
        return next((v for v in volumes if v.series is not None and _goes_with(series, v.series)), None)

    def _listed_image(self, series: SeriesRef) -> SeriesRef | None:
        study = next((s for s in self._app.studies.studies if _lists(s, series)), None)
        images = [other for other in study.series if _goes_with(series, other)] if study is not None else []
        return max(images, key=_voxels, default=None)


def _lists(study: Study, series: SeriesRef) -> bool:
    return any(other.key == series.key for other in study.series)


def _goes_with(series: SeriesRef, image: SeriesRef) -> bool:
    """Whether a series may be laid over an image: a volume of its study in its frame of reference."""
    frame = series.frame_of_reference_uid
    same_study = series.study_instance_uid == image.study_instance_uid
    is_image = image.volume and image.kind == "dicom" and image.stacking == "place" and not image.interpolation
    return bool(frame) and frame == image.frame_of_reference_uid and same_study and is_image


def _voxels(series: SeriesRef) -> int:
    i, j, k = series.size or (0, 0, 0)
    return i * j * k


def check_lies_over(volume: Volume, base: Volume) -> None:
    """Check that a volume may be shown over another by its place.

    Raises
    ------
    InputError
        ``E_WRONG_PATIENT``, ``E_OTHER_FRAME``.
    """
    mine, theirs = volume.patient_id.strip(), base.patient_id.strip()
    if mine and theirs and mine != theirs:
        raise InputError(
            f"{volume.name} belongs to another patient than {base.name}; it was not shown over it.",
            hint="Open the study of that patient first.",
            code="E_WRONG_PATIENT",
        )
    frames = [v.series.frame_of_reference_uid if v.series is not None else "" for v in (volume, base)]
    if not frames[0] or frames[0] != frames[1]:
        raise InputError(
            f"{volume.name} does not lie in the frame of reference of {base.name}; it was not shown over it.",
            hint="Open it by itself, then register the two.",
            code="E_OTHER_FRAME",
        )
