"""Objects of a study that are neither images nor segments: reports, key images, presentation states and the like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np
from psygnal import Signal

from medviewer.api.plugin import BoxResult, Result, TaskInfo, TransformResult
from medviewer.app.apply_results import ResultApplier
from medviewer.core.annotation import Box3D
from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.errors import InputError, MedViewerError
from medviewer.core.geometry import Vec3, vec3
from medviewer.core.provenance import Provenance
from medviewer.core.transform import AffineTransform
from medviewer.core.view_state import WindowLevel
from medviewer.core.volume import Volume
from medviewer.jobs.job import Job, JobContext, JobState

if TYPE_CHECKING:
    from medviewer.app.context import AppContext
    from medviewer.io.dicom_pr import Presentation
    from medviewer.io.dicom_reg import RegisteredFrame, SpatialRegistration
    from medviewer.io.image_index import ImagePlace
    from medviewer.io.report import ImageRef, Mark, Report

#: Kinds of `SeriesRef` that are opened here.
OBJECT_KINDS: Final = frozenset({"sr", "key_images", "presentation", "registration", "document"})
#: A point is shown as a box of so many pixels to each side.
_AROUND_POINT: Final = 3.0


class DerivedObjects:
    """Opens them, and brings what they say to the images they are about.

    Signals
    -------
    report_read(Report)
        A report is to be shown.
    document_read(EncapsulatedDocument)
        A document is there to be saved.
    """

    report_read = Signal(object)
    document_read = Signal(object)

    def __init__(self, app: AppContext) -> None:
        self._app = app

    def open(self, series: SeriesRef) -> Job | None:
        """Read a listed object in the decode worker, and show or apply it."""
        if not series.files:
            return None
        path = series.files[0]

        def work(ctx: JobContext) -> object:
            from medviewer.io.load_object import READ_OBJECT

            return self._app.attach.call_worker(ctx, READ_OBJECT, path, path)

        return self._submit(f"Opening {path.name}", work, self._show)

    def _submit(self, title: str, work: Callable[[JobContext], object], then: Callable[[object], None]) -> Job:
        """Run `work` in the background, then `then` with its result; a refusal of either is told."""

        def done(job: Job) -> None:
            if job.error is not None:
                self._app.messages.error(job.error, f"{title} failed")
            elif job.state is JobState.SUCCESS:
                self._attempt(lambda: then(job.result))

        return self._app.jobs.submit(title, work, lane="io", done=done)

    def _attempt(self, request: Callable[[], None]) -> None:
        try:
            request()
        except MedViewerError as error:
            self._app.messages.error(error)

    def _show(self, found: object) -> None:
        from medviewer.io.dicom_pr import Presentation
        from medviewer.io.dicom_reg import SpatialRegistration
        from medviewer.io.encapsulated import EncapsulatedDocument
        from medviewer.io.report import Report

        match found:
            case Report():
                self._tell(found.warnings)
                self.report_read.emit(found)
            case Presentation():
                self._apply(found)
            case SpatialRegistration():
                self._register(found)
            case EncapsulatedDocument():
                self.document_read.emit(found)

    def _tell(self, warnings: tuple[str, ...]) -> None:
        for warning in warnings:
            self._app.messages.add("warning", warning)

    # ---- images that are referred to

    def go_to(self, image: ImageRef) -> Job:
        """Show an image that something refers to, opening its series when it is only listed; a SEG is laid over."""

        def work(ctx: JobContext) -> object:
            return self._find(ctx, image)

        return self._submit("Looking for the image", work, lambda found: self._look(image, found))

    def _find(self, ctx: JobContext, image: ImageRef) -> tuple[SeriesRef, ImagePlace | None]:
        """Return the series that holds an image, open ones first; any thread.

        Raises
        ------
        InputError
            ``E_NO_REFERENCE``.
        """
        from medviewer.io.dicom_header import read_header
        from medviewer.io.dicom_tags import Tag
        from medviewer.io.image_index import find_image

        listed = [series for study in self._app.studies.studies for series in study.series]
        opened = [volume.series for volume in self._app.workspace.volumes if volume.series is not None]
        wanted = image.series_instance_uid
        for series in dict.fromkeys((*opened, *listed)):
            ctx.check_cancelled()
            if wanted and series.series_instance_uid != wanted:
                continue
            try:
                if series.volume:
                    place = find_image(series, (image.sop_instance_uid, image.frame))
                    if place is not None:
                        return series, place
                elif series.files and read_header(series.files[0]).text(Tag.SOP_INSTANCE_UID) == image.sop_instance_uid:
                    return series, None
            except InputError:
                # One file that cannot be read hides no other series.
                continue
        raise InputError(
            f"Image …{image.sop_instance_uid[-12:]} is not among the open studies.",
            hint="Open the folder that holds it, then try again.",
            code="E_NO_REFERENCE",
        )

    def _look(self, image: ImageRef, found: object) -> None:
        assert isinstance(found, tuple)
        series, place = found
        if place is None:
            if series.kind in OBJECT_KINDS:
                self.open(series)
            else:
                self._app.attach.open(series)
            return
        self._when_open(series, lambda volume: self._jump(volume, place))

    def _when_open(self, series: SeriesRef, then: Callable[[Volume], None]) -> None:
        job = self._app.studies.open_series(series)

        def opened(state: JobState) -> None:
            volume = self._app.studies.find_volume(series)
            if state is JobState.SUCCESS and volume is not None:
                self._attempt(lambda: then(volume))

        if job is None:
            opened(JobState.SUCCESS)
        else:
            job.state_changed.connect(opened)

    def _jump(self, volume: Volume, place: ImagePlace) -> None:
        middle = [[(n - 1) / 2 for n in volume.geometry.size[:2]]]
        self._app.workspace.activate(volume.id)
        lps = place.to_lps(middle, volume.geometry, in_patient=volume.in_patient)[0]
        self._app.workspace.view.crosshair_lps = vec3(lps)

    # ---- marks

    def place_marks(self, report: Report) -> Job:
        """Add the places that a report points at to the findings of the open images they lie on, as one step each."""
        volumes = self._app.workspace.volumes

        def work(ctx: JobContext) -> object:
            boxes: dict[str, list[Box3D]] = {}
            for n, mark in enumerate(report.marks):
                ctx.progress(n / len(report.marks), "Looking for the images")
                for volume in volumes:
                    box = _box(mark, volume)
                    if box is not None:
                        boxes.setdefault(volume.id, []).append(box)
                        break
            return boxes

        return self._submit("Placing marks", work, lambda boxes: self._land(report, boxes))

    def _land(self, report: Report, found: object) -> None:
        assert isinstance(found, dict)
        if not found:
            raise InputError(
                f"The images that {report.file_name} marks are not open.",
                hint="Double click a line with an image to open it, then place the marks.",
                code="E_NO_REFERENCE",
            )
        for volume_id, boxes in found.items():
            volume = self._app.workspace.volume(volume_id)
            _check_patient(report.patient_id, volume, report.file_name)
            self._result(volume_id, report.file_name, "Marks of", BoxResult(report.title, tuple(boxes)))
        placed = sum(len(boxes) for boxes in found.values())
        self._app.messages.add("info", f"Placed {placed} of {len(report.marks)} marks of {report.file_name}.")

    def _result(self, volume_id: str, name: str, verb: str, result: Result, moving_id: str = "") -> None:
        volume = self._app.workspace.volume(volume_id)
        provenance = Provenance(
            task=f"file:{name}",
            input_uids=(volume.series_instance_uid,) if volume.series_instance_uid else (),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        task = TaskInfo(id=provenance.task, title=f"{verb} {name}", kind="detection", entry="", inputs={})
        applier = ResultApplier(self._app.workspace, self._app.history)
        applier.apply(volume_id, task, [result], provenance, moving_id=moving_id)

    # ---- presentation states

    def _apply(self, state: Presentation) -> None:
        """Open the image of a presentation state, and show it as the state says."""
        if not state.images:
            raise InputError(f"{state.report.file_name} names no image.", code="E_NO_REFERENCE")

        def found(result: object) -> None:
            assert isinstance(result, tuple)
            series, place = result
            if place is not None:
                self._when_open(series, lambda volume: self._present(volume, place, state))

        image = state.images[0]
        self._submit("Looking for the image", lambda ctx: self._find(ctx, image), found)

    def _present(self, volume: Volume, place: ImagePlace, state: Presentation) -> None:
        name = state.report.file_name
        _check_patient(state.report.patient_id, volume, name)
        columns, rows, _ = volume.geometry.size
        shown = state.shutter.mask(rows, columns) if state.shutter is not None else None
        view = self._app.workspace.view
        self._app.workspace.replace_volume(replace(volume, shutter=shown))
        self._jump(volume, place)
        # The state says how it is to look, whatever the image itself says (MONOCHROME1).
        view.inverted = state.inverted != volume.inverted
        if state.window is not None:
            view.window = WindowLevel(*state.window)
        self._tell(state.report.warnings)
        said = [item.name.lower() for item in state.report.items if item.name in ("Window", "Polarity", "Shutter")]
        text = f"Applied {state.report.title}: {', '.join(said)}."
        self._app.messages.add("info", text, "F1 shows the image as its own file says.")
        if state.report.marks or any(item.name == "Text" for item in state.report.items):
            self.report_read.emit(state.report)

    # ---- registrations

    def _register(self, found: SpatialRegistration, tried: frozenset[str] = frozenset()) -> None:
        """Turn a registration object into registrations of open images onto that of its registered frame."""
        volumes = {n: self._volume_in(frame) for n, frame in enumerate(found.frames)}
        missing = [n for n, volume in volumes.items() if volume is None]
        listed = next((series for n in missing if (series := self._listed_in(found.frames[n], tried))), None)
        if listed is not None:
            self._when_open(listed, lambda _: self._register(found, tried | {listed.key}))
            return
        opened = [(volume, found.frames[n]) for n, volume in volumes.items() if volume is not None]
        if len(opened) < 2:
            names = ", ".join(f"…{frame.frame_of_reference_uid[-12:]}" for frame in found.frames)
            raise InputError(
                f"{found.name} registers images of the frames of reference {names}, which are not among the studies.",
                hint="Open the folders of the two images it is for, then double click it again.",
                code="E_NO_REFERENCE",
            )
        for volume, _ in opened:
            _check_patient(found.patient_id, volume, found.name)
        (fixed, to_registered), *others = opened
        for moving, moving_to_registered in others:
            matrix = moving_to_registered.matrix.inverse().array @ to_registered.matrix.array
            result = TransformResult(found.name, AffineTransform.from_matrix(matrix), {})
            self._result(fixed.id, found.name, "Load", result, moving_id=moving.id)
        self._app.messages.add("info", f"Loaded {found.name}: {', '.join(v.name for v, _ in others)} on {fixed.name}.")

    def _volume_in(self, frame: RegisteredFrame) -> Volume | None:
        """Return the open volume of a frame of reference, the one that is looked at first."""
        active = self._app.workspace.active
        volumes = sorted(self._app.workspace.volumes, key=lambda volume: volume is not active)
        return next((v for v in volumes if v.in_patient and v.series is not None and _is_in(v.series, frame)), None)

    def _listed_in(self, frame: RegisteredFrame, tried: frozenset[str]) -> SeriesRef | None:
        listed = [series for study in self._app.studies.studies for series in study.series if series.volume]
        fitting = [s for s in listed if s.stacking == "place" and _is_in(s, frame) and s.key not in tried]
        return max(fitting, key=lambda series: len(series.files), default=None)


def _check_patient(patient_id: str, volume: Volume, name: str) -> None:
    if patient_id and volume.patient_id and patient_id.strip() != volume.patient_id.strip():
        raise InputError(
            f"{name} was made for another patient; it was not used.",
            hint="Open the study of that patient first.",
            code="E_WRONG_PATIENT",
        )


def _is_in(series: SeriesRef, frame: RegisteredFrame) -> bool:
    if frame.series_uids:
        return series.series_instance_uid in frame.series_uids
    return bool(frame.frame_of_reference_uid) and series.frame_of_reference_uid == frame.frame_of_reference_uid


def _box(mark: Mark, volume: Volume) -> Box3D | None:
    """Return a mark as a finding of a volume; None when it lies on another image."""
    corners = _corners(mark, volume)
    if corners is None:
        return None
    lower, upper = corners
    return Box3D(lower=lower, upper=upper, label=mark.label)


def _corners(mark: Mark, volume: Volume) -> tuple[Vec3, Vec3] | None:
    from medviewer.io.image_index import find_image

    series = volume.series
    if series is None:
        return None
    spacing = volume.geometry.spacing
    if mark.image is None:
        if not volume.in_patient or mark.frame_of_reference_uid != series.frame_of_reference_uid:
            return None
        points = np.array([mark.lower, mark.upper])
        index = volume.geometry.lps_to_index(points.mean(axis=0))
        if bool((np.abs(index - (np.array(volume.geometry.size) - 1) / 2) > np.array(volume.geometry.size) / 2).any()):
            return None
    else:
        if mark.image.series_instance_uid not in ("", series.series_instance_uid):
            return None
        place = find_image(series, (mark.image.sop_instance_uid, mark.image.frame))
        if place is None:
            return None
        (x0, y0), (x1, y1) = mark.lower, mark.upper
        flat = [[x0, y0], [x1, y0], [x0, y1], [x1, y1]]
        points = place.to_lps(flat, volume.geometry, in_patient=volume.in_patient)
    pad = _AROUND_POINT * min(spacing[:2]) if bool((np.ptp(points, axis=0) < 1e-6).all()) else 0.0
    # At least half a voxel thick, so that it is seen in its slice.
    normal = np.abs(volume.geometry.direction_matrix[:, 2]) * spacing[2] * 0.49
    return vec3(points.min(axis=0) - pad - normal), vec3(points.max(axis=0) + pad + normal)
