"""Scan paths for studies, and open a series as a volume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from medviewer.app.attach import holds_segments
from medviewer.app.overlays import OVERLAY_KINDS
from medviewer.app.positions import first_look
from medviewer.app.windows import auto_window
from medviewer.core.dicom_ref import SeriesRef, Study
from medviewer.core.errors import InputError, MedViewerError
from medviewer.core.geometry import Vec3
from medviewer.core.volume import Volume
from medviewer.jobs.job import Job, JobContext, JobState

if TYPE_CHECKING:
    from medviewer.app.context import AppContext


def merge_studies(known: Sequence[Study], new: Study) -> tuple[Study, ...]:
    """Return `known` with `new` merged into the study with its UID, or at the end.

    A series is listed as it was found last; those of its study that were found elsewhere stay.
    """
    merged = [_merged(study, new) if study.study_instance_uid == new.study_instance_uid else study for study in known]
    if not any(study.study_instance_uid == new.study_instance_uid for study in known):
        merged.append(new)
    return tuple(merged)


def _merged(known: Study, new: Study) -> Study:
    found = {series.series_instance_uid for series in new.series}
    kept = tuple(series for series in known.series if series.series_instance_uid not in found)
    return replace(new, series=(*kept, *new.series)) if kept else new


def best_series(studies: Sequence[Study]) -> SeriesRef | None:
    """Return the series a person most likely wants to see first: the largest volume, before films and pictures.

    What is computed between slices is opened on request only.
    """
    volumes = [series for study in studies for series in study.series if series.volume and series.size]

    def rank(series: SeriesRef) -> tuple[bool, bool, bool, int]:
        is_place = series.stacking == "place"
        is_image = not holds_segments(series) and series.kind not in OVERLAY_KINDS
        return is_image, is_place, not series.interpolation, _voxels(series)

    return max(volumes, key=rank, default=None)


def can_be_spaced(series: SeriesRef) -> bool:
    """Whether a series is loose pictures that a spacing makes a volume of."""
    from medviewer.io.dicom_slide import SLIDES
    from medviewer.io.study_tree import PICTURES

    return series.kind == PICTURES and series.stacking == "number" and series.sop_class_uid != SLIDES


def _voxels(series: SeriesRef) -> int:
    i, j, k = series.size or (0, 0, 0)
    return i * j * k


class OpenStudy:
    """What was found on disk, and opening it.

    Attributes
    ----------
    ask_part : callable
        Gets a sentence and what can be opened instead; returns the place of the choice, or None.

    Signals
    -------
    changed()
        The studies changed.
    scanned(list of Study, paths)
        A scan has ended.
    opened(Volume)
        A series has been read to its last slice.
    """

    changed = Signal()
    scanned = Signal(object, object)
    opened = Signal(object)

    def __init__(self, app: AppContext) -> None:
        self._app = app
        self.ask_part: Callable[[str, Sequence[str]], int | None] = _nobody
        self._studies: tuple[Study, ...] = ()
        self._opening: dict[str, Job] = {}
        self._sources: dict[str, tuple[Path, ...]] = {}

    @property
    def studies(self) -> tuple[Study, ...]:
        """Studies found so far."""
        return self._studies

    @property
    def recent(self) -> tuple[Path, ...]:
        """Folders and files opened last, newest first."""
        return tuple(Path(p) for p in self._app.settings.recent)

    def scan(self, paths: Sequence[Path], *, open_best: bool = False, called: str = "") -> Job:
        """Scan folders, files and zips; the studies appear while it runs. A saved workspace is opened instead.

        Parameters
        ----------
        paths : sequence of Path
        open_best : bool
            Whether the largest volume is opened when nothing is open yet.
        called : str
            What the user knows the paths by when they are folders of the program's own; these are not remembered.
        """
        if len(paths) == 1 and paths[0].suffix == ".mvw":
            return self._app.documents.open(paths[0])
        names = called or ", ".join(path.name for path in paths[:3])

        def work(ctx: JobContext) -> list[Study]:
            from medviewer.io.dicom_scan import scan_paths

            return scan_paths(ctx, paths, lambda study: self._app.post(lambda: self._add(study, paths)))

        def done(job: Job) -> None:
            if job.state is JobState.ERROR and job.error is not None:
                self._app.messages.error(job.error, f"Cannot open {names}")
            if job.state is not JobState.SUCCESS or not isinstance(job.result, list):
                return
            for study in job.result:
                self._add(study, paths)
            first = best_series(job.result)
            # Beside an open image only what leaves no choice opens by itself.
            alone = sum(series.volume for study in job.result for series in study.series) == 1
            laid = open_best and self._app.attach.offer(job.result)
            opens = open_best and not laid and first is not None and (alone or self._app.workspace.active is None)
            self._scanned(() if called else paths, job.result, names, opens=opens or laid)
            self.scanned.emit(job.result, tuple(paths))
            if opens and first is not None:
                self.open_series(first)

        return self._app.jobs.submit(f"Scanning {names}", work, lane="io", done=done)

    def _scanned(self, paths: Sequence[Path], studies: list[Study], names: str, *, opens: bool) -> None:
        count = sum(len(study.series) for study in studies)
        if count == 0:
            self._app.messages.add(
                "warning",
                f"No images found in {names}.",
                "Choose a folder or zip with DICOM files, NIfTI files or pictures.",
            )
        else:
            for path in paths:
                self._app.settings.add_recent(path)
            self._app.settings.save()
            every = [series for study in studies for series in study.series]
            broken = [series for series in every if series.refusal not in ("", "E_NOT_IMAGE")]
            if len(broken) == count:
                which = f"none of its {count} series can be opened; {broken[0].title}" if count > 1 else broken[0].title
                self._app.messages.error(refused(broken[0]), f"{names}: {which}")
                return
            hint = "" if opens else "Double click one in the tree to open it."
            self._app.messages.add("info", f"Found {count} series in {names}.", hint)

    def sources(self, volume: Volume) -> tuple[Path, ...]:
        """Return what the user opened to get a volume: a folder, a file, a zip."""
        return self._sources.get(volume.series.key, ()) if volume.series is not None else ()

    def remember(self, volume: Volume, sources: tuple[Path, ...]) -> None:
        """List the series of a volume that came with a saved workspace or a recovery, and where it lies."""
        series = volume.series
        if series is None:
            return
        self._sources[series.key] = sources
        if any(series.key == known.key for study in self._studies for known in study.series):
            return
        known = next((s for s in self._studies if s.study_instance_uid == series.study_instance_uid), None)
        study = known or Study(
            study_instance_uid=series.study_instance_uid,
            patient_name=volume.patient_name,
            patient_id=volume.patient_id,
            study_date=volume.study_date,
        )
        self._studies = merge_studies(self._studies, replace(study, series=(*study.series, series)))
        self.changed.emit()

    def add(self, study: Study, sources: Sequence[Path]) -> None:
        """List a study whose files are known already."""
        self._add(study, sources)

    def _add(self, study: Study, paths: Sequence[Path]) -> None:
        for series in study.series:
            self._sources[series.key] = tuple(paths)
        self._studies = merge_studies(self._studies, study)
        self.changed.emit()

    def open_spaced(self, series: SeriesRef, spacing: Vec3) -> Job | None:
        """Open loose pictures as a volume with the spacing, mm along (i, j, k), that the user entered for them."""
        spaced = series.spaced(spacing)
        study = next((s for s in self._studies if series in s.series), None)
        if study is not None:
            others = tuple(known for known in study.series if known.key != spaced.key)
            self._add(replace(study, series=(*others, spaced)), self._sources.get(series.key, ()))
        return self.open_series(spaced)

    def find_volume(self, series: SeriesRef) -> Volume | None:
        """Return the open volume of a series, if it is open."""
        for volume in self._app.workspace.volumes:
            if volume.series is not None and volume.series.key == series.key:
                return volume
        return None

    def open_series(self, series: SeriesRef) -> Job | None:
        """Open a series and look at it; the middle slice shows long before the last is read.

        Returns None when it is open already; then it is only looked at.
        """
        known = self.find_volume(series)
        if known is not None:
            self._app.workspace.activate(known.id)
            return None
        running = self._opening.get(series.key)
        if running is not None and not running.state.is_final:
            return running
        shown: list[Volume] = []

        def show(volume: Volume) -> None:
            workspace = self._app.workspace
            for old in shown:
                if workspace.has_volume(old.id):
                    workspace.remove_volume(old.id)
            shown[:] = [volume]
            self._app.loading.add(volume.id)
            add_and_show(self._app, volume)

        def work(ctx: JobContext) -> Volume:
            from medviewer.io.catalogue_files import is_same
            from medviewer.io.reader import open_series

            if not series.volume:
                raise refused(series)
            if all(path.exists() for path in (*series.files[:1], *series.files[-1:])) and not is_same(series):
                raise InputError(
                    f"The files of “{series.title}” hold other images now.",
                    hint="Open their folder again.",
                    code="E_CHANGED",
                )
            return open_series(
                ctx,
                series,
                self._app.decode_worker,
                on_first=lambda volume: self._app.post(lambda: show(volume)),
            )

        def done(job: Job) -> None:
            self._opened(series, job, shown)

        job = self._app.jobs.submit(f"Opening {series.title}", work, lane="io", done=done)
        self._opening[series.key] = job
        return job

    def _opened(self, series: SeriesRef, job: Job, shown: list[Volume]) -> None:
        workspace = self._app.workspace
        for volume in shown:
            self._app.loading.discard(volume.id)
        if job.state is JobState.SUCCESS and isinstance(job.result, Volume):
            volume = job.result
            if workspace.has_volume(volume.id):
                looked_at = workspace.volume(volume.id).time
                # Another point may have been chosen while the slices came in.
                workspace.replace_volume(volume.at_time(looked_at.index) if looked_at is not None else volume)
            else:
                add_and_show(self._app, volume)
            if volume.window is None and workspace.active is not None and workspace.active.id == volume.id:
                workspace.view.window = auto_window(volume)
            for warning in volume.warnings:
                # Over the views, as long as the series is looked at.
                self._app.messages.add("warning", f"{series.title}: {warning.text}", "", warning.code, elsewhere=True)
            self.opened.emit(volume)
            return
        for partial in shown:
            if workspace.has_volume(partial.id):
                workspace.remove_volume(partial.id)
        if job.error is not None and not self._offer_part(series, job.error):
            self._app.messages.error(job.error, f"Cannot open {series.title}")

    def _offer_part(self, series: SeriesRef, error: BaseException) -> bool:
        """Offer a part of a series that does not fit into memory; return whether one is being opened."""
        from medviewer.io.series_part import parts_that_fit

        if not isinstance(error, MedViewerError) or error.code != "E_MEMORY":
            return False
        try:
            parts = parts_that_fit(series)
        except InputError:
            return False
        chosen = self.ask_part(error.text, [part.warnings[-1].text for part in parts]) if parts else None
        if chosen is None:
            return False
        part = parts[chosen]
        self._sources[part.key] = self._sources.get(series.key, ())
        self.open_series(part)
        return True


def _nobody(text: str, choices: Sequence[str]) -> int | None:
    return None


def refused(series: SeriesRef) -> InputError:
    """Say why a series cannot be opened, and what to do next."""
    named = [w.text for w in series.warnings if w.code == series.refusal] or [w.text for w in series.warnings]
    return InputError(named[0] if named else "It holds no image.", code=series.refusal or "E_INPUT")


def add_and_show(app: AppContext, volume: Volume) -> None:
    """Add a volume to the workspace, look at it, and put the crosshair into its middle."""
    app.workspace.add_volume(volume)
    app.workspace.activate(volume.id)
    app.workspace.view.crosshair_lps = first_look(volume)
