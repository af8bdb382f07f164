"""Pictures of series that are not open, made one at a time for whoever looks at the library."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.errors import MedViewerError
from medviewer.jobs.job import Job, JobContext

if TYPE_CHECKING:
    from medviewer.app.context import AppContext
    from medviewer.io.catalogue import Catalogue
    from medviewer.io.catalogue_rows import SeriesRow


class Submit(Protocol):
    """Runs work with the index as a quiet job."""

    def __call__(self, title: str, work: Callable[[Catalogue, JobContext], object], done: Callable[[Job], None]) -> Job:
        """Queue the work; `done` is called on the main thread."""


class Pictures:
    """Draws what is missing; a search waits for one picture at most.

    Parameters
    ----------
    app : AppContext
    submit : Submit
    made : callable
        Gets the id of a series and its PNG, empty when there is none.
    """

    def __init__(self, app: AppContext, submit: Submit, made: Callable[[int, bytes], object]) -> None:
        self._app = app
        self._submit = submit
        self._made = made
        self._waiting: deque[SeriesRow] = deque()
        self._busy = False

    def draw(self, rows: Sequence[SeriesRow]) -> None:
        """Have the missing pictures of series made; those that were waiting are no longer looked at."""
        self._waiting = deque(row for row in rows if row.thumbnail is None)
        if not self._busy:
            self._next()

    def _next(self) -> None:
        self._busy = bool(self._waiting)
        if not self._waiting:
            return
        row = self._waiting.popleft()

        def work(catalogue: Catalogue, ctx: JobContext) -> bytes | None:
            picture = _picture(ctx, self._app, row.series)
            if picture is not None:
                catalogue.set_thumbnail(row.id, picture)
            return picture

        def done(job: Job) -> None:
            if isinstance(job.result, bytes):
                self._made(row.id, job.result)
            self._next()

        self._submit("Drawing the library", work, done)


def _picture(ctx: JobContext, app: AppContext, series: SeriesRef) -> bytes | None:
    """Return a picture, empty when the series has none, None when its files are not there now."""
    from medviewer.io.thumbnail import series_thumbnail

    if not any(path.exists() for path in series.files[len(series.files) // 2 :][:1]):
        return None if series.files else b""
    try:
        return series_thumbnail(ctx, series, app.decode_worker)
    except (MedViewerError, OSError):
        return b""
