"""The library: what was opened or imported, found again as one types, opened without a scan.

Nothing here touches the disk on the main thread, and nothing before the first study or the first look at the library.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from medviewer.app.library_pictures import Pictures
from medviewer.app.open_study import best_series
from medviewer.core.dicom_ref import SeriesRef, Study
from medviewer.core.errors import InputError, LibraryError
from medviewer.core.volume import Volume
from medviewer.jobs.job import Job, JobContext, JobState

if TYPE_CHECKING:
    from medviewer.app.context import AppContext
    from medviewer.io.catalogue import Catalogue
    from medviewer.io.catalogue_rows import Filters, Order, Page, SeriesRow, StudyRow

Work = Callable[["Catalogue", JobContext], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What the user looks for.

    Attributes
    ----------
    after : tuple or None
        `Page.after` of the page before.
    limit : int
        Most studies of the answer.
    """

    text: str = ""
    filters: Filters | None = None
    order: Order = "study_date"
    descending: bool = True
    after: tuple[object, int] | None = None
    limit: int = 200


@dataclass(frozen=True, slots=True)
class _Taken:
    """A study out of the library, the series to open, and whether its files can be read as they are listed."""

    study: Study
    rows: tuple[SeriesRow, ...]
    first: SeriesRef | None
    usable: bool


class Library:
    """The studies this user has opened or imported.

    Parameters
    ----------
    app : AppContext
    path : Path or None
        The file of the index; None: no library, as for scripts.
    copies : Path
        Where imported copies go.

    Signals
    -------
    changed()
        Studies came, went or changed.
    found(Query, Page)
        The answer to the last `search`; answers that a newer search has overtaken are not given.
    thumbnail_made(int, bytes)
        The picture of a series (by its id), PNG; empty when there is none.
    """

    changed = Signal()
    found = Signal(object, object)
    thumbnail_made = Signal(int, bytes)

    def __init__(self, app: AppContext, path: Path | None, copies: Path) -> None:
        self._app = app
        self._path = path
        self._copies = copies
        self._catalogue: Catalogue | None = None
        self._told = ""
        self._opening = threading.Lock()
        self._searching = False
        self._next: Query | None = None
        self._pictures = Pictures(app, self._submit, self.thumbnail_made.emit)
        app.studies.scanned.connect(self._scanned)
        app.studies.opened.connect(self._opened)

    # ---- whether there is one

    @property
    def enabled(self) -> bool:
        """Whether studies are listed from now on."""
        return self._path is not None and self._app.settings.keep_library

    def enable(self, on: bool) -> None:
        """Switch listing on or off; what is listed stays until it is cleared."""
        self._app.settings.keep_library = on
        self._app.settings.save()
        self.changed.emit()

    def clear(self) -> Job:
        """Empty the library and remove its imported copies; images elsewhere are not touched."""

        def work(catalogue: Catalogue, ctx: JobContext) -> None:
            import shutil

            catalogue.clear()
            shutil.rmtree(self._copies, ignore_errors=True)

        return self._submit("Clearing the library", work, lambda _: self.changed.emit(), quiet=False)

    def close(self) -> None:
        """Close the index."""
        self._app.studies.scanned.disconnect(self._scanned, missing_ok=True)
        self._app.studies.opened.disconnect(self._opened, missing_ok=True)
        if self._catalogue is not None:
            self._catalogue.close()

    # ---- what comes in

    def record(self, studies: Sequence[Study]) -> Job | None:
        """List studies; None when no library is kept."""
        if not self.enabled or not studies:
            return None

        def work(catalogue: Catalogue, ctx: JobContext) -> None:
            from medviewer.io.archive import source_of

            for study in studies:
                ctx.check_cancelled()
                catalogue.record(study, source_of)

        return self._submit("Updating the library", work, lambda _: self.changed.emit())

    def labelled(self, volumes: Sequence[Volume]) -> None:
        """Note that segments or findings of volumes have been saved or exported."""
        workspace = self._app.workspace
        done = [
            volume.series
            for volume in volumes
            if volume.series is not None
            and workspace.has_volume(volume.id)
            and (workspace.segmentation(volume.id).segments or workspace.boxes(volume.id))
        ]
        if self.enabled and done:
            self._submit(
                "Updating the library",
                lambda catalogue, ctx: [catalogue.mark(series, "labelled") for series in done],
                lambda _: self.changed.emit(),
            )

    def import_copy(self, paths: Sequence[Path]) -> Job:
        """Copy studies into the data folder and list them; cancel leaves nothing behind."""

        def work(catalogue: Catalogue, ctx: JobContext) -> int:
            from medviewer.io.study_import import copy_studies

            studies = copy_studies(ctx, paths, self._copies)
            for study in studies:
                catalogue.record(study)
            return sum(len(study.series) for study in studies)

        def done(job: Job) -> None:
            if job.state is JobState.SUCCESS:
                self._app.messages.add("info", f"Imported {job.result} series into the library.")
            self.changed.emit()

        return self._submit("Importing a copy", work, done, lane="io", quiet=False)

    def _scanned(self, studies: Sequence[Study], paths: Sequence[Path]) -> None:
        self.record(tuple(studies))

    def _opened(self, volume: Volume) -> None:
        series = volume.series
        if series is None or not self.enabled:
            return
        known = [study for study in self._app.studies.studies if any(s.key == series.key for s in study.series)]

        def work(catalogue: Catalogue, ctx: JobContext) -> tuple[int, bytes] | None:
            from medviewer.io.archive import source_of
            from medviewer.io.thumbnail import thumbnail

            series_id = catalogue.mark(series, "opened")
            if series_id is None:
                # The scan may not have been listed yet.
                for study in known:
                    catalogue.record(study, source_of)
                series_id = catalogue.mark(series, "opened")
            if series_id is None:
                return None
            picture = thumbnail(volume)
            catalogue.set_thumbnail(series_id, picture)
            return series_id, picture

        def done(job: Job) -> None:
            if isinstance(job.result, tuple):
                self.thumbnail_made.emit(*job.result)
            self.changed.emit()

        self._submit("Updating the library", work, done)

    # ---- looking

    def search(self, query: Query) -> None:
        """Look for studies; `found` has the answer. While one search runs, only the newest of the next is kept."""
        if self._searching:
            self._next = query
            return

        def work(catalogue: Catalogue, ctx: JobContext) -> Page:
            return catalogue.search(
                query.text,
                query.filters,
                order=query.order,
                descending=query.descending,
                after=query.after,
                limit=query.limit,
            )

        def done(job: Job) -> None:
            self._searching = False
            following, self._next = self._next, None
            if following is not None:
                self.search(following)
            elif job.state is JobState.SUCCESS:
                self.found.emit(query, job.result)

        self._searching = True
        self._submit("Searching the library", work, done)

    def facets(self, answer: Callable[[tuple[str, ...], tuple[str, ...]], None]) -> None:
        """Give the modalities and body parts there are to `answer`, later."""

        def done(job: Job) -> None:
            if isinstance(job.result, tuple):
                answer(*job.result)

        self._submit("Searching the library", lambda catalogue, ctx: catalogue.facets(), done)

    def series(self, study_id: int, answer: Callable[[tuple[SeriesRow, ...]], None]) -> None:
        """Give the series of a study to `answer`, later; pictures that are missing are made after that."""

        def done(job: Job) -> None:
            if isinstance(job.result, tuple):
                answer(job.result)
                self._pictures.draw(job.result)

        self._submit("Searching the library", lambda catalogue, ctx: catalogue.series(study_id), done)

    def check(self, rows: Sequence[StudyRow]) -> None:
        """Look in the background whether the files of studies are there; `changed` when that is new."""
        known = {row.id: row.missing for row in rows}

        def work(catalogue: Catalogue, ctx: JobContext) -> bool:
            from medviewer.io.catalogue_files import is_there

            news = {}
            for study_id, missing in known.items():
                ctx.check_cancelled()
                gone = not all(is_there(row) for row in catalogue.series(study_id))
                if gone != missing:
                    news[study_id] = gone
            if news:
                catalogue.set_missing(news)
            return bool(news)

        self._submit("Checking the library", work, lambda job: self.changed.emit() if job.result else None)

    # ---- opening

    def open(self, study_id: int, series_key: str = "") -> Job:
        """Put a study into the study tree without scanning, and open a series: the named one, or the biggest.

        A study out of an archive, and one whose files are others now, is scanned where it lies. Of the other series no
        file is read.
        """

        def work(catalogue: Catalogue, ctx: JobContext) -> _Taken:
            from medviewer.io.catalogue_files import is_same, is_there

            study, rows = catalogue.study(study_id), catalogue.series(study_id)
            if study is None:
                raise LibraryError("The study is no longer in the library.", hint="Search again.")
            if not all(is_there(row) for row in rows):
                catalogue.set_missing({study_id: True})
                raise InputError(
                    "The images of this study are not where they were.",
                    hint="Connect the disk again, or use “Find…” in the library to say where they are now.",
                    code="E_MISSING_FILES",
                )
            # What was unpacked from an archive may still be there.
            unpacked = all(path.exists() for row in rows if row.source for path in row.series.files[:1])
            wanted = [series for series in study.series if series.key == series_key and series.volume]
            first = wanted[0] if wanted else best_series([study])
            return _Taken(study, rows, first, unpacked and (first is None or is_same(first)))

        def done(job: Job) -> None:
            if isinstance(job.result, _Taken):
                self._show(job.result)
            if job.state is JobState.ERROR:
                self.changed.emit()

        return self._submit("Opening from the library", work, done, lane="io", quiet=False)

    def _show(self, taken: _Taken) -> None:
        sources = _sources(taken.rows)
        if not taken.usable:
            self._app.studies.scan(sources, open_best=True)
            return
        self._app.studies.add(taken.study, sources)
        if taken.first is not None:
            self._app.studies.open_series(taken.first)

    def relocate(self, study_id: int, folder: Path) -> Job:
        """Look for the files of a study below a folder, under the names they had."""

        def work(catalogue: Catalogue, ctx: JobContext) -> None:
            from medviewer.io.catalogue_files import find_moved

            catalogue.move(study_id, find_moved(ctx, catalogue.series(study_id), folder))

        return self._submit("Looking for a study", work, lambda _: self.changed.emit(), lane="io", quiet=False)

    def is_copy(self, rows: Sequence[SeriesRow]) -> bool:
        """Whether series are an imported copy, which goes when the study is forgotten."""
        from medviewer.io.study_import import is_copy

        return any(is_copy(path, self._copies) for row in rows for path in row.series.files[:1])

    def forget(self, study_id: int) -> Job:
        """Take a study out of the library and remove its imported copy; images elsewhere are not touched."""

        def work(catalogue: Catalogue, ctx: JobContext) -> None:
            from medviewer.io.study_import import remove_copy

            files = [path for row in catalogue.series(study_id) for path in row.series.files]
            catalogue.forget(study_id)
            remove_copy(files, self._copies)

        return self._submit("Forgetting a study", work, lambda _: self.changed.emit())

    # ---- jobs

    def _submit(
        self, title: str, work: Work, done: Callable[[Job], None], *, lane: str = "library", quiet: bool = True
    ) -> Job:
        """Run `work` with the index. A failure of quiet work is told once, of other work each time."""

        def ended(job: Job) -> None:
            if job.error is not None:
                self._tell(job.error, title, once=quiet)
            done(job)
            if quiet:
                self._app.jobs.forget(job)

        return self._app.jobs.submit(
            title, lambda ctx: work(self._opened_catalogue(), ctx), lane=lane, done=ended, quiet=quiet
        )

    def _opened_catalogue(self) -> Catalogue:
        from medviewer.io.catalogue import Catalogue

        if self._path is None:
            raise LibraryError("There is no library here.")
        with self._opening:
            if self._catalogue is None:
                self._catalogue = Catalogue(self._path, lambda: self._app.post(self._set_aside))
            return self._catalogue

    def _set_aside(self) -> None:
        self._app.messages.add(
            "warning",
            "The library was damaged and has been begun anew.",
            "Open your studies again to list them. The damaged file is kept in the data folder.",
        )
        self.changed.emit()

    def _tell(self, error: BaseException, title: str, *, once: bool) -> None:
        text = str(error)
        if once and text == self._told:
            return
        self._told = text
        self._app.messages.error(error, title)


def _sources(rows: Sequence[SeriesRow]) -> tuple[Path, ...]:
    """Return what to scan to find series again: their archives, or the folders of their files."""
    found = {row.source or row.series.files[0].parent if row.series.files or row.source else None: None for row in rows}
    return tuple(path for path in found if path is not None)
