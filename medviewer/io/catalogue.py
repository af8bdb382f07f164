"""The catalogue: an index of the studies that were opened or imported, searched as one types.

One SQLite file in the user's data folder, readable by this user only. It keeps what is needed to open a series again
without scanning. Any thread may use it; calls wait for each other, and each is short.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from medviewer.core.dicom_ref import SeriesRef, Study
from medviewer.core.errors import LibraryError
from medviewer.core.private import keep_private
from medviewer.io.catalogue_rows import STATUSES, Filters, Order, Page, SeriesRow, Status, pack_files, unpack_warnings
from medviewer.io.catalogue_schema import companions, connect, is_damage, set_aside
from medviewer.io.catalogue_sql import (
    SeriesValues,
    count_hits,
    distinct,
    encoded_path,
    find_series,
    put_series,
    put_study,
    refresh,
    rows_query,
    series_rows,
    series_values,
    study_row,
)
from medviewer.io.catalogue_text import wanted

Answer = TypeVar("Answer")
PAGE: Final = 200


class Catalogue:
    """An index of studies.

    Parameters
    ----------
    path : Path
        The file; made at the first use. One that is damaged is set aside as ``.bad`` and begun anew.
    on_damage : callable, optional
        Called, on the thread that met the damage, after a file was set aside.

    Raises
    ------
    LibraryError
        By every method, when the file cannot be read or written.
    """

    def __init__(self, path: Path, on_damage: Callable[[], None] | None = None) -> None:
        self.path = path
        self._on_damage = on_damage
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    # ---- writing

    def record(self, study: Study, source_of: Callable[[Path], Path | None] = lambda _: None) -> int:
        """Take a study in, or bring what is known of it up to date; return its id.

        A series that is known with more images than now, from files that are still there, stays as it is: opening one
        file of a series must not make the catalogue forget the others.

        Parameters
        ----------
        study : Study
        source_of : callable
            Returns the archive a file was unpacked from, or None.
        """
        packed = [series_values(series, source_of) for series in study.series]

        def work(db: sqlite3.Connection) -> int:
            study_id = put_study(db, study)
            by_uid: dict[str, list[SeriesValues]] = {}
            for values in packed:
                by_uid.setdefault(values["uid"], []).append(values)
            for uid, parts in by_uid.items():
                put_series(db, study_id, uid, parts)
            refresh(db, study_id)
            return study_id

        return self._write(work)

    def set_thumbnail(self, series_id: int, png: bytes) -> None:
        """Keep the picture of a series; empty says that none can be made."""
        self._write(lambda db: _nothing(db.execute("UPDATE series SET thumbnail = ? WHERE id = ?", (png, series_id))))

    def mark(self, series: SeriesRef, status: Status) -> int | None:
        """Raise the status of the study that a series belongs to; return the id of the series, None if unknown."""

        def work(db: sqlite3.Connection) -> int | None:
            found = find_series(db, series)
            if found is None:
                return None
            series_id, study_id = found
            rank = STATUSES.index(status)
            db.execute(
                "UPDATE study SET status = max(status, ?), touched = ? WHERE id = ?", (rank, time.time(), study_id)
            )
            refresh(db, study_id)
            return series_id

        return self._write(work)

    def set_missing(self, missing: Mapping[int, bool]) -> None:
        """Note which studies' files are gone, or are back."""
        values = [(int(gone), study_id) for study_id, gone in missing.items()]
        self._write(lambda db: _nothing(db.executemany("UPDATE study SET missing = ? WHERE id = ?", values)))

    def move(self, study_id: int, series: Iterable[SeriesRow]) -> None:
        """Note where the files of series are now."""
        values = []
        for row in series:
            root, files = pack_files(row.series.files)
            values.append((root, files, encoded_path(row.source), row.id, study_id))

        def work(db: sqlite3.Connection) -> None:
            db.executemany("UPDATE series SET root = ?, files = ?, source = ? WHERE id = ? AND study_id = ?", values)
            db.execute("UPDATE study SET missing = 0 WHERE id = ?", (study_id,))

        self._write(work)

    def forget(self, study_id: int) -> None:
        """Take a study out; its bytes are overwritten in the file, the images are not touched."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM words WHERE rowid = ?", (study_id,))
            db.execute("DELETE FROM study WHERE id = ?", (study_id,))
            # Otherwise the words stay in older parts of the index.
            db.execute("INSERT INTO words(words) VALUES ('optimize')")

        self._write(work)
        self._run(lambda db: _nothing(db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()))

    def clear(self) -> None:
        """Forget everything: the files of the catalogue are removed, one that was set aside too."""
        with self._lock:
            self._disconnect()
            try:
                for path in (*companions(self.path), self.path.with_name(self.path.name + ".bad")):
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise LibraryError(
                    f"The library cannot be cleared: {error.strerror}.", hint="Close other windows and try again."
                ) from error

    def close(self) -> None:
        """Close the file; nothing can be asked any more."""
        with self._lock:
            self._closed = True
            self._disconnect()

    # ---- reading

    def search(
        self,
        text: str = "",
        filters: Filters | None = None,
        *,
        order: Order = "study_date",
        descending: bool = True,
        after: tuple[Any, int] | None = None,
        limit: int = PAGE,
    ) -> Page:
        """Return a page of the studies that have, for each word of `text`, a word that begins with it.

        Parameters
        ----------
        text : str
            Parts of name, id, description or accession number; case and accents make no difference.
        filters : Filters, optional
        order : str
            Column to sort by.
        after : tuple, optional
            `Page.after` of the page before.
        limit : int
            Most rows of the page.
        """
        filters = filters or Filters()
        asked = wanted(
            text, {"modality": filters.modality, "body_part": filters.body_part, "status": filters.status}
        )  # fmt: skip

        def work(db: sqlite3.Connection) -> Page:
            hits = count_hits(db, asked, filters)
            if hits.count == 0:
                return Page(rows=(), total=0)
            query, values = rows_query(asked, filters, order, descending, after, hits.few)
            found = db.execute(query, (*values, limit + 1)).fetchall()
            more = len(found) > limit
            found = found[:limit]
            rows = tuple(study_row(row) for row in found)
            return Page(
                rows=rows, total=hits.count, exact=hits.exact, after=(found[-1][-1], rows[-1].id) if more else None
            )

        return self._run(work)

    def facets(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the modalities and the body parts there are."""

        def work(db: sqlite3.Connection) -> tuple[tuple[str, ...], tuple[str, ...]]:
            return distinct(db, "modality"), distinct(db, "body_part")

        return self._run(work)

    def study(self, study_id: int) -> Study | None:
        """Return a study with its series, ready to be opened; None when it is not there."""

        def work(db: sqlite3.Connection) -> Study | None:
            row = db.execute(
                "SELECT uid, patient_name, patient_id, birth_date, sex, study_date, description, accession, warnings "
                "FROM study WHERE id = ?",
                (study_id,),
            ).fetchone()
            if row is None:
                return None
            keep_private(row[1], row[2], row[3], row[7])
            return Study(
                study_instance_uid=row[0],
                patient_name=row[1],
                patient_id=row[2],
                patient_birth_date=row[3],
                patient_sex=row[4],
                study_date=row[5],
                description=row[6],
                accession_number=row[7],
                series=tuple(found.series for found in series_rows(db, study_id)),
                warnings=unpack_warnings(row[8]),
            )

        return self._run(work)

    def series(self, study_id: int) -> tuple[SeriesRow, ...]:
        """Return the series of a study, with files and pictures, by their numbers."""
        return self._run(lambda db: series_rows(db, study_id))

    # ---- the connection

    def _write(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Run `work` as one transaction."""

        def whole(db: sqlite3.Connection) -> Answer:
            db.execute("BEGIN IMMEDIATE")
            try:
                answer = work(db)
                db.execute("COMMIT")
            except BaseException:
                # A full disk may have ended the transaction already.
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            return answer

        return self._run(whole)

    def _run(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        with self._lock:
            try:
                try:
                    return work(self._connected())
                except sqlite3.DatabaseError as error:
                    if not is_damage(error):
                        raise
                self._begin_anew()
                return work(self._connected())
            except (sqlite3.Error, OSError) as error:
                raise LibraryError(
                    f"The library cannot be used ({type(error).__name__}: {_reason(error)}).",
                    hint="Check that the disk with the data folder is there and has space.",
                ) from error

    def _connected(self) -> sqlite3.Connection:
        if self._closed:
            raise LibraryError("The library is closed.", code="E_CLOSED")
        if self._connection is None:
            self._connection = connect(self.path)
        return self._connection

    def _begin_anew(self) -> None:
        self._disconnect()
        set_aside(self.path)
        if self._on_damage is not None:
            self._on_damage()

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


def _reason(error: Exception) -> str:
    """Return what went wrong, without names of files."""
    return error.strerror or "" if isinstance(error, OSError) else str(error)


def _nothing(_: object) -> None:
    return None
