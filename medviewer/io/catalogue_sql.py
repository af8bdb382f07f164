"""The statements of the catalogue: rows in, rows out. Each function runs inside a transaction of its caller."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from medviewer.core.dicom_ref import SeriesRef, Study
from medviewer.io.catalogue_rows import (
    STATUSES,
    Filters,
    Order,
    SeriesRow,
    StudyRow,
    clean,
    image_count,
    pack_files,
    pack_ref,
    pack_warnings,
    unpack_files,
    unpack_ref,
)
from medviewer.io.catalogue_text import Wanted, fold, indexed_words, study_terms, token

#: Up to so many hits are fetched and sorted; more are met by walking the index of the order.
_FEW: Final = 3000
#: Hits between dates are counted up to here.
_COUNTED: Final = 1000
_INDEXES: Final[Mapping[str, str]] = {
    "study_date": "study_by_date",
    "name_key": "study_by_name",
    "patient_id": "study_by_patient",
    "touched": "study_by_touched",
}
_ROW: Final = (
    "id, uid, patient_name, patient_id, birth_date, study_date, description, accession, modalities, body_parts, "
    "series_count, image_count, status, missing"
)
_MATCHING: Final = "(SELECT rowid FROM words WHERE words MATCH ?)"
_PARTS: Final = "\x1f"

SeriesValues = dict[str, Any]


def series_values(series: SeriesRef, source_of: Callable[[Path], Path | None]) -> SeriesValues:
    """Return a series as the values of its row."""
    root, files = pack_files(series.files)
    return {
        "key": clean(series.key),
        "uid": clean(series.series_instance_uid),
        "modality": clean(series.modality),
        "body_part": clean(series.body_part_examined),
        "images": image_count(series),
        "ref": pack_ref(series),
        "root": root,
        "files": files,
        "source": encoded_path(source_of(series.files[0]) if series.files else None),
    }


def put_study(db: sqlite3.Connection, study: Study) -> int:
    """Insert or update a study; return its id."""
    values = {
        "uid": clean(study.study_instance_uid),
        "patient_id": clean(study.patient_id),
        "patient_name": clean(study.patient_name),
        "birth_date": clean(study.patient_birth_date),
        "sex": clean(study.patient_sex),
        "study_date": clean(study.study_date),
        "description": clean(study.description),
        "accession": clean(study.accession_number),
        "warnings": pack_warnings(study.warnings),
        "name_key": clean(fold(study.patient_name)),
        "touched": time.time(),
    }
    names = ", ".join(values)
    places = ", ".join(f":{name}" for name in values)
    updates = ", ".join(f"{name} = excluded.{name}" for name in values if name not in ("uid", "patient_id"))
    row = db.execute(
        f"INSERT INTO study({names}) VALUES ({places}) "
        f"ON CONFLICT(uid, patient_id) DO UPDATE SET {updates}, missing = 0 RETURNING id",
        values,
    ).fetchone()
    return int(row[0])


def put_series(db: sqlite3.Connection, study_id: int, uid: str, parts: Sequence[SeriesValues]) -> None:
    """Put the parts of one series into the place of what is known of it, unless that is more and still there."""
    known = db.execute(
        "SELECT key, images, root, files, thumbnail, source FROM series WHERE study_id = ? AND uid = ?",
        (study_id, uid),
    ).fetchall()
    if sum(row[1] for row in known) > sum(part["images"] for part in parts) and all(_is_there(row) for row in known):
        return
    pictures = {(row[0], row[1]): row[4] for row in known}
    db.execute("DELETE FROM series WHERE study_id = ? AND uid = ?", (study_id, uid))
    for part in parts:
        values = part | {"study_id": study_id, "thumbnail": pictures.get((part["key"], part["images"]))}
        places = ", ".join(f":{name}" for name in values)
        db.execute(f"INSERT OR REPLACE INTO series({', '.join(values)}) VALUES ({places})", values)


def _is_there(row: Sequence[Any]) -> bool:
    """Whether the files of a known series are (its first and last, or its archive)."""
    if row[5]:
        return os.path.exists(os.fsdecode(row[5]))
    files = unpack_files(row[2], row[3])
    return bool(files) and files[0].exists() and files[-1].exists()


def refresh(db: sqlite3.Connection, study_id: int) -> None:
    """Bring what a study says of its series, and the words it is found by, up to date."""
    rows = db.execute("SELECT modality, body_part, images FROM series WHERE study_id = ?", (study_id,)).fetchall()
    modalities = list(dict.fromkeys(row[0] for row in rows if row[0]))
    parts = list(dict.fromkeys(row[1] for row in rows if row[1]))
    db.execute(
        "UPDATE study SET modalities = ?, body_parts = ?, series_count = ?, image_count = ? WHERE id = ?",
        (_PARTS.join(modalities), _PARTS.join(parts), len(rows), sum(row[2] for row in rows), study_id),
    )
    found = db.execute(
        "SELECT patient_name, patient_id, description, accession, status FROM study WHERE id = ?", (study_id,)
    ).fetchone()
    text = indexed_words(found[:4])
    columns = {
        "modality": " ".join(map(token, modalities)),
        "body_part": " ".join(map(token, parts)),
        "status": STATUSES[found[4]],
    }
    db.execute("UPDATE study SET terms = ? WHERE id = ?", (study_terms(text, columns), study_id))
    db.execute("DELETE FROM words WHERE rowid = ?", (study_id,))
    db.execute(
        "INSERT INTO words(rowid, text, modality, body_part, status) VALUES (?, ?, ?, ?, ?)",
        (study_id, text, *columns.values()),
    )


def find_series(db: sqlite3.Connection, series: SeriesRef) -> tuple[int, int] | None:
    """Return (series id, study id); of several copies the one with these files, or the last."""
    rows = db.execute(
        "SELECT series.id, study_id, study.uid, root FROM series JOIN study ON study.id = study_id WHERE key = ?",
        (clean(series.key),),
    ).fetchall()
    root, _ = pack_files(series.files)
    rows.sort(key=lambda row: (row[3] == root, row[2] == series.study_instance_uid, row[0]))
    return (rows[-1][0], rows[-1][1]) if rows else None


def _dates(filters: Filters) -> tuple[list[str], list[Any]]:
    conditions, values = [], []
    if filters.date_from:
        conditions.append("study_date >= ?")
        values.append(filters.date_from)
    if filters.date_to:
        conditions.append("study_date > '' AND study_date <= ?")
        values.append(filters.date_to)
    return conditions, values


@dataclass(frozen=True, slots=True)
class Hits:
    """How many studies match, and how their rows are best found.

    Attributes
    ----------
    exact : bool
        Whether there are not more than `count`.
    few : bool
        Whether the index of words is asked for all of them and they are sorted. Otherwise the index of the order is
        walked until enough were met, which is soon when there are many.
    """

    count: int
    exact: bool = True
    few: bool = False


def count_hits(db: sqlite3.Connection, wanted: Wanted, filters: Filters) -> Hits:
    """Count the studies that match; many of them, between dates, only as far as `_FEW`."""
    conditions, values = _dates(filters)
    if not wanted.match:
        return Hits(_number(db, f"SELECT count(*) FROM study{_where(conditions)}", values))
    hits = _number(db, "SELECT count(*) FROM words WHERE words MATCH ?", [wanted.match])
    few = hits <= _FEW
    if not conditions:
        return Hits(hits, few=few)
    if few:
        conditions.append(f"id IN {_MATCHING}")
        return Hits(_number(db, f"SELECT count(*) FROM study{_where(conditions)}", [*values, wanted.match]), few=True)
    more, terms = _terms(wanted)
    inner = f"SELECT 1 FROM study INDEXED BY study_by_date{_where([*conditions, *more])} LIMIT {_COUNTED}"
    count = _number(db, f"SELECT count(*) FROM ({inner})", [*values, *terms])
    return Hits(count, exact=count < _COUNTED)


def rows_query(
    wanted: Wanted, filters: Filters, order: Order, descending: bool, after: tuple[Any, int] | None, few: bool
) -> tuple[str, list[Any]]:
    """Return the query of a page, and its values without the last, the limit."""
    conditions, values = _dates(filters)
    if few:
        conditions.append(f"id IN {_MATCHING}")
        values.append(wanted.match)
    else:
        more, terms = _terms(wanted)
        conditions += more
        values += terms
    if after is not None:
        conditions.append(f"({order}, id) {'<' if descending else '>'} (?, ?)")
        values += after
    way = "DESC" if descending else "ASC"
    table = "study" if few else f"study INDEXED BY {_INDEXES[order]}"
    query = f"SELECT {_ROW}, {order} FROM {table}{_where(conditions)} ORDER BY {order} {way}, id {way} LIMIT ?"
    return query, values


def _terms(wanted: Wanted) -> tuple[list[str], list[Any]]:
    return ["instr(terms, ?)"] * len(wanted.terms), list(wanted.terms)


def _number(db: sqlite3.Connection, query: str, values: Sequence[Any]) -> int:
    return int(db.execute(query, values).fetchone()[0])


def _where(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def study_row(row: Sequence[Any]) -> StudyRow:
    """Return a row as a value."""
    return StudyRow(
        id=row[0],
        study_instance_uid=row[1],
        patient_name=row[2],
        patient_id=row[3],
        birth_date=row[4],
        study_date=row[5],
        description=row[6],
        accession_number=row[7],
        modalities=tuple(part for part in row[8].split(_PARTS) if part),
        body_parts=tuple(part for part in row[9].split(_PARTS) if part),
        series_count=row[10],
        image_count=row[11],
        status=STATUSES[row[12]],
        missing=bool(row[13]),
    )


def series_rows(db: sqlite3.Connection, study_id: int) -> tuple[SeriesRow, ...]:
    """Return the series of a study by their numbers."""
    rows = []
    query = "SELECT id, ref, root, files, source, thumbnail, images FROM series WHERE study_id = ?"
    for series_id, ref, root, files, source, thumbnail, images in db.execute(query, (study_id,)):
        series = unpack_ref(ref, unpack_files(root, files))
        archive = Path(os.fsdecode(source)) if source else None
        rows.append(SeriesRow(id=series_id, series=series, images=images, source=archive, thumbnail=thumbnail))
    return tuple(sorted(rows, key=lambda r: (r.series.series_number is None, r.series.series_number or 0, r.id)))


def distinct(db: sqlite3.Connection, column: str) -> tuple[str, ...]:
    """Return the values of an indexed column, hopping from one to the next instead of reading every row."""
    rows = db.execute(
        f"WITH RECURSIVE hop(v) AS (SELECT min({column}) FROM series UNION ALL "
        f"SELECT (SELECT min({column}) FROM series WHERE {column} > v) FROM hop WHERE v IS NOT NULL) "
        "SELECT v FROM hop WHERE v > ''"
    )
    return tuple(row[0] for row in rows)


def encoded_path(path: Path | None) -> bytes:
    """Return an absolute path as bytes; empty for None."""
    return os.fsencode(path.absolute()) if path is not None else b""
