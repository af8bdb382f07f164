"""Files of segments laid over the image they were made for: SEG, RTSTRUCT, and label maps of image formats."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from medviewer.api.plugin import LabelResult, Result, TaskInfo
from medviewer.app.apply_results import PreparedLabels, ResultApplier, prepare
from medviewer.core.dicom_ref import SeriesRef, Study
from medviewer.core.errors import InputError, MedViewerError
from medviewer.core.provenance import Provenance
from medviewer.core.segmentation import PALETTE, Color, Segment
from medviewer.core.terminology import TERMS
from medviewer.core.volume import Volume
from medviewer.jobs.job import Job, JobContext, JobState

if TYPE_CHECKING:
    from medviewer.app.context import AppContext
    from medviewer.io.derived import DerivedRef, Target
    from medviewer.io.label_file import LabelFile

#: Kinds of `SeriesRef` that hold segments whatever they are called.
SEGMENT_KINDS: Final = frozenset({"seg", "rtstruct"})
#: Modality of label maps and segmentations.
_LABELS: Final = "SEG"
#: Refusals that the user may overrule, and how.
_OFFERS: Final = {
    "E_GEOMETRY": "Load it all the same, each voxel of the image taking the nearest label?",
    "E_OTHER_SERIES": "Load it all the same, by its position in the patient?",
}
_SECONDS: Final = 600.0
_SAY_NOTHING: Final = frozenset({"image", "img", "original", "photo", "training", "train", "test"})


def holds_segments(series: SeriesRef) -> bool:
    """Whether a series is to be laid over an image rather than shown as one."""
    return series.kind in SEGMENT_KINDS or series.modality == _LABELS


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    """What a job brings: everything that takes time is done."""

    file: LabelFile
    prepared: Sequence[Result | PreparedLabels]


class Attach:
    """Lays files of segments over open volumes, each file as one undo step.

    Attributes
    ----------
    confirm : callable
        Asks a yes-or-no question when a file does not fit but could be made to; says no by itself.
    ask_threshold : callable
        Asks from which fraction on a voxel belongs to a segment; None when nobody is there to say it.
    """

    def __init__(self, app: AppContext) -> None:
        self._app = app
        self.confirm: Callable[[str], bool] = _no
        self.ask_threshold: Callable[[str], float | None] = _nobody

    def candidates(self, ref: DerivedRef) -> tuple[Volume, ...]:
        """Return the open volumes that a file of segments was made for, the one that is looked at first."""
        from medviewer.io.label_fit import fits

        active = self._app.workspace.active
        volumes = sorted(self._app.workspace.volumes, key=lambda volume: volume is not active)
        if ref.geometry is not None:
            return tuple(
                v
                for v in volumes
                if fits(ref.geometry, v.geometry) and not _is_labels(v) and (v.in_patient or _is_named_for(ref.name, v))
            )
        same = [v for v in volumes if v.series_instance_uid and v.series_instance_uid in ref.series_uids]
        frame = ref.frame_of_reference_uid
        near = [v for v in volumes if v.series is not None and frame and v.series.frame_of_reference_uid == frame]
        return tuple(dict.fromkeys([*same, *(near if not ref.series_uids else ())]))

    def start(
        self, volume_id: str, path: Path, *, accepted: Collection[str] = (), threshold: float | None = None
    ) -> Job:
        """Load a file of segments onto an open volume; it lands as one step “Load <name>”.

        Parameters
        ----------
        volume_id : str
        path : Path
            DICOM SEG, RTSTRUCT, NIfTI, NRRD, .seg.nrrd, MHA or MHD.
        accepted : collection of str
            Codes of refusals that are overruled: ``E_GEOMETRY`` resamples to the nearest label where the grids differ,
            ``E_OTHER_SERIES`` goes by position alone.
        threshold : float or None
            For a file of fractions, from which on (0..1) a voxel belongs to the segment.
        """
        workspace = self._app.workspace
        volume = workspace.volume(volume_id)
        taken = {segment.value for segment in workspace.segmentation(volume_id).segments}
        colors = [segment.color for segment in workspace.segmentation(volume_id).segments]
        target = _target(volume, accepted, threshold)

        def work(ctx: JobContext) -> _Loaded:
            file = self._read(ctx, path, target)
            prepared = prepare(_results(file, path, colors), taken)
            if file.contours is not None:
                prepared = [replace(p, contours=file.contours) for p in prepared if isinstance(p, PreparedLabels)]
            return _Loaded(file, prepared)

        def done(job: Job) -> None:
            if job.state is JobState.SUCCESS and isinstance(job.result, _Loaded):
                self._land(volume_id, path, job.result, accepted)
            elif job.error is not None:
                self._refused(volume_id, path, job.error, accepted, threshold)

        return self._app.jobs.submit(f"Loading {path.name}", work, lane="io", done=done)

    def _read(self, ctx: JobContext, path: Path, target: Target) -> LabelFile:
        from medviewer.io.label_file import LabelFile
        from medviewer.io.load_segments import READ, SegmentRequest

        file = self.call_worker(ctx, READ, SegmentRequest(path, target), path)
        assert isinstance(file, LabelFile)
        return file

    def call_worker(self, ctx: JobContext, function: str, payload: object, path: Path) -> object:
        """Call a function of the decode worker for a file; a crash there is a refusal that names the file."""
        from medviewer.io.decode_worker import call_for_file

        return call_for_file(self._app.decode_worker, function, payload, ctx, path, seconds=_SECONDS)

    def _land(self, volume_id: str, path: Path, loaded: _Loaded, accepted: Collection[str]) -> None:
        app = self._app
        if not app.workspace.has_volume(volume_id):
            app.messages.add("warning", f"{path.name} was not loaded: its image has been closed meanwhile.")
            return
        app.router.finish()
        volume = app.workspace.volume(volume_id)
        provenance = Provenance(
            task=f"file:{path.name}",
            parameters={"accepted": sorted(accepted), "warnings": list(loaded.file.warnings)},
            input_uids=(volume.series_instance_uid,) if volume.series_instance_uid else (),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        task = TaskInfo(id=provenance.task, title=f"Load {path.name}", kind="segmentation", entry="", inputs={})
        applier = ResultApplier(app.workspace, app.history)
        segments = applier.apply(volume_id, task, loaded.prepared, provenance, keep_colors=True)
        for warning in loaded.file.warnings:
            app.messages.add("warning", warning)
        what = segments[0].name if len(segments) == 1 else f"{len(segments)} segments"
        app.messages.add("info", f"Loaded {what} from {path.name}.")

    def _refused(
        self, volume_id: str, path: Path, error: BaseException, accepted: Collection[str], threshold: float | None
    ) -> None:
        """Tell why, or, where the user may overrule it, ask."""
        code = error.code if isinstance(error, MedViewerError) else ""
        if isinstance(error, MedViewerError) and code == "E_FRACTIONAL" and threshold is None:
            chosen = self.ask_threshold(error.text) if self._app.workspace.has_volume(volume_id) else None
            if chosen is not None:
                self.start(volume_id, path, accepted=accepted, threshold=chosen)
                return
        if isinstance(error, MedViewerError) and code in _OFFERS and code not in accepted:
            wanted = self._app.workspace.has_volume(volume_id) and self.confirm(f"{error.text}\n\n{_OFFERS[code]}")
            if wanted:
                self.start(volume_id, path, accepted={*accepted, code}, threshold=threshold)
                return
        self._app.messages.error(error, f"Cannot load {path.name}")

    # ---- finding the image

    def open(self, series: SeriesRef) -> Job | None:
        """Lay a listed file of segments over the image it was made for, which is opened first when it is listed too.

        A label map without an image is opened as an image.
        """
        if not series.files:
            return None
        path = series.files[0]

        def work(ctx: JobContext) -> DerivedRef:
            from medviewer.io.derived import DerivedRef
            from medviewer.io.load_segments import REFERENCE

            ref = self.call_worker(ctx, REFERENCE, path, path)
            assert isinstance(ref, DerivedRef)
            return ref

        def done(job: Job) -> None:
            if job.error is not None:
                self._app.messages.error(job.error, f"Cannot load {path.name}")
            elif job.state is JobState.SUCCESS:
                self._found(series, path, job.result)

        return self._app.jobs.submit(f"Looking into {path.name}", work, lane="io", done=done)

    def _found(self, series: SeriesRef, path: Path, ref: object) -> None:
        from medviewer.io.derived import DerivedRef

        assert isinstance(ref, DerivedRef)
        volumes = self.candidates(ref)
        if volumes:
            self._onto(volumes[0], path)
            return
        image = self._listed(ref, path) or self._listed_near(ref)
        if image is not None:
            self._open_first(image, path)
        elif series.volume:
            self._app.studies.open_series(series)
        else:
            self._app.messages.error(_no_image(ref, path))

    def _onto(self, volume: Volume, path: Path) -> None:
        self._app.workspace.activate(volume.id)
        loaded = self._app.workspace.segmentation(volume.id).segments
        if any(segment.provenance.task == f"file:{path.name}" for segment in loaded):
            self._app.messages.add("info", f"{path.name} is loaded already.", "File ▸ Load segments loads it again.")
            return
        self.start(volume.id, path)

    def _open_first(self, image: SeriesRef, path: Path) -> None:
        job = self._app.studies.open_series(image)

        def then(state: JobState) -> None:
            volume = self._app.studies.find_volume(image)
            if state is JobState.SUCCESS and volume is not None:
                self._onto(volume, path)

        if job is None:
            then(JobState.SUCCESS)
        else:
            job.state_changed.connect(then)

    def _listed(self, ref: DerivedRef, path: Path) -> SeriesRef | None:
        """Return the listed image that a file was made for: by UID, or, for a label map, one of its size beside it."""
        images = [
            (series, study)
            for study in self._app.studies.studies
            for series in study.series
            if series.volume and series.size and not holds_segments(series)
        ]
        if ref.geometry is None:
            found = [(series, study) for series, study in images if series.series_instance_uid in ref.series_uids]
            same = [series for series, study in found if _same_patient(ref, study)]
            return max(same, key=lambda s: (not s.interpolation, (s.size or (0, 0, 0))[2]), default=None)
        wanted = sorted(zip(ref.geometry.size, ref.geometry.spacing, strict=True))
        alike = [series for series, _ in images if _is_alike(series, wanted)]
        alike.sort(key=lambda series: series.files[0].parent != path.parent)
        named = [series for series in alike if named_for(path.name, series.files[0].name)]
        if named or any(series.spacing is None for series in alike):
            # Where pixels lie nowhere, only the name says which of many pictures of one size is meant.
            return named[0] if named else None
        return alike[0] if len(alike) == 1 or (alike and alike[0].files[0].parent == path.parent) else None

    def _listed_near(self, ref: DerivedRef) -> SeriesRef | None:
        """Return the largest listed image in the frame of reference of a file whose own image is not there."""
        near = [
            series
            for study in self._app.studies.studies
            for series in study.series
            if series.volume and series.stacking == "place" and not holds_segments(series)
            if ref.frame_of_reference_uid and series.frame_of_reference_uid == ref.frame_of_reference_uid
            if _same_patient(ref, study)
        ]
        return max(near, key=lambda s: (not s.interpolation, (s.size or (0, 0, 0))[2]), default=None)

    def offer(self, studies: Sequence[Study]) -> bool:
        """Lay what was just chosen or dropped over open images when all of it holds segments; whether that was so."""
        found = [series for study in studies for series in study.series]
        if not found or self._app.workspace.active is None or not all(map(holds_segments, found)):
            return False
        for series in found:
            self.open(series)
        return True


def _no(_text: str) -> bool:
    return False


def _nobody(_text: str) -> float | None:
    return None


def _is_labels(volume: Volume) -> bool:
    return volume.modality == _LABELS


def _same_patient(ref: DerivedRef, study: Study) -> bool:
    return not ref.patient_id or not study.patient_id or ref.patient_id == study.patient_id.strip()


def named_for(labels: str, image: str) -> bool:
    """Whether the name of a file of labels begins with the words of an image's, but for words that name no case."""
    ours, theirs = (re.findall(r"[^\W_]+", name.partition(".")[0].lower()) for name in (labels, image))
    telling = [word for word in theirs if word not in _SAY_NOTHING]
    return bool(telling) and ours[: len(telling)] == telling


def _is_named_for(labels: str, volume: Volume) -> bool:
    return volume.series is not None and any(named_for(labels, path.name) for path in volume.series.files[:1])


def _is_alike(series: SeriesRef, wanted: Sequence[tuple[int, float]]) -> bool:
    own = sorted(zip(series.size or (), series.spacing or (1.0, 1.0, 1.0), strict=True))
    return len(own) == len(wanted) and all(
        a[0] == b[0] and bool(np.isclose(a[1], b[1], rtol=1e-3)) for a, b in zip(own, wanted, strict=True)
    )


def _target(volume: Volume, accepted: Collection[str], threshold: float | None) -> Target:
    from medviewer.io.derived import Target

    series = volume.series
    return Target(
        volume.geometry,
        volume.series_instance_uid,
        series.frame_of_reference_uid if series is not None else "",
        volume.patient_id,
        tuple(accepted),
        threshold,
        series,
    )


def _no_image(ref: DerivedRef, path: Path) -> InputError:
    if not ref.series_uids:
        text, hint = f"No open image fits {path.name}.", "Open the image it was made for, then load it again."
    else:
        text = f"{path.name} was made for series …{ref.series_uids[0][-12:]}, which is not among the open studies."
        hint = "Open the folder that holds that series, or put it on the image shown with File ▸ Load segments."
    return InputError(text, hint=hint, code="E_NO_REFERENCE")


def _results(file: LabelFile, path: Path, taken_colors: Sequence[Color]) -> list[LabelResult]:
    """Return a file's layers as results; the colours that it gives stay, the others are told apart from them."""
    used = [*taken_colors, *(segment.color for segment in file.segments if segment.color is not None)]
    results: list[LabelResult] = []
    for layer, labels in enumerate(file.layers):
        segments: list[Segment] = []
        for named in file.segments:
            if named.layer != layer:
                continue
            color = named.color
            if color is None:
                color = min(PALETTE, key=used.count)
                used.append(color)
            terms = {name: getattr(named, name) for name in TERMS}
            segments.append(Segment(named.value, named.name, color, **terms))
        if segments:
            results.append(LabelResult(path.name, labels, file.geometry, tuple(segments)))
    return results
