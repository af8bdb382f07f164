"""The file of the catalogue: made for this user only, brought to the present version, set aside when it is damaged."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from medviewer.core.errors import LibraryError

#: The version this program writes; `MIGRATIONS[n]` makes version n + 1 from version n.
VERSION: Final = 1
MIGRATIONS: Mapping[int, str] = {
    0: """
CREATE TABLE study(
    id INTEGER PRIMARY KEY,
    uid TEXT NOT NULL,
    patient_id TEXT NOT NULL,
    patient_name TEXT NOT NULL,
    birth_date TEXT NOT NULL,
    sex TEXT NOT NULL,
    study_date TEXT NOT NULL,
    description TEXT NOT NULL,
    accession TEXT NOT NULL,
    warnings TEXT NOT NULL,
    name_key TEXT NOT NULL,
    modalities TEXT NOT NULL DEFAULT '',
    body_parts TEXT NOT NULL DEFAULT '',
    series_count INTEGER NOT NULL DEFAULT 0,
    image_count INTEGER NOT NULL DEFAULT 0,
    status INTEGER NOT NULL DEFAULT 0,
    missing INTEGER NOT NULL DEFAULT 0,
    touched REAL NOT NULL,
    terms TEXT NOT NULL DEFAULT '',
    UNIQUE(uid, patient_id)
);
CREATE INDEX study_by_date ON study(study_date, id);
CREATE INDEX study_by_name ON study(name_key, id);
CREATE INDEX study_by_patient ON study(patient_id, id);
CREATE INDEX study_by_touched ON study(touched, id);
CREATE TABLE series(
    id INTEGER PRIMARY KEY,
    study_id INTEGER NOT NULL REFERENCES study(id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    uid TEXT NOT NULL,
    modality TEXT NOT NULL,
    body_part TEXT NOT NULL,
    images INTEGER NOT NULL,
    ref TEXT NOT NULL,
    root BLOB NOT NULL,
    files BLOB NOT NULL,
    source BLOB NOT NULL,
    thumbnail BLOB,
    UNIQUE(study_id, key)
);
CREATE INDEX series_by_modality ON series(modality);
CREATE INDEX series_by_body_part ON series(body_part);
CREATE INDEX series_by_key ON series(key);
CREATE VIRTUAL TABLE words USING fts5(
    text, modality, body_part, status, tokenize = 'ascii', prefix = '1 2 3', detail = column
);
"""
}


def connect(path: Path) -> sqlite3.Connection:
    """Open the file, making it when it is not there, for this user only, in the present version.

    Raises
    ------
    LibraryError
        ``E_NEWER`` when a newer version of the program wrote it; nothing is changed then.
    sqlite3.Error
        When it cannot be opened or is no catalogue.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        os.chmod(path, 0o600)
        _set_up(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection) -> None:
    _refuse_newer(connection, VERSION)
    # Some network disks cannot share the memory that this mode needs; SQLite then keeps the older one.
    with contextlib.suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA cache_size = -16000")
    # Nothing about a patient goes to the folder for temporary files.
    connection.execute("PRAGMA temp_store = MEMORY")
    migrate(connection)


def _refuse_newer(connection: sqlite3.Connection, version: int) -> None:
    if int(connection.execute("PRAGMA user_version").fetchone()[0]) > version:
        raise LibraryError(
            "The library was written by a newer version of MedViewer.",
            hint="Use that version, or clear the library in the settings.",
            code="E_NEWER",
        )


def migrate(connection: sqlite3.Connection, version: int = VERSION, migrations: Mapping[int, str] = MIGRATIONS) -> None:
    """Bring a catalogue to the present version, one step after the other, each whole or not at all."""
    while (found := int(connection.execute("PRAGMA user_version").fetchone()[0])) != version:
        _refuse_newer(connection, version)
        script = f"BEGIN IMMEDIATE; {migrations[found]}; PRAGMA user_version = {found + 1}; COMMIT;"
        try:
            connection.executescript(script)
        except sqlite3.Error:
            if connection.in_transaction:
                connection.rollback()
            # Another window may have made this very step in the meantime.
            if int(connection.execute("PRAGMA user_version").fetchone()[0]) <= found:
                raise


def companions(path: Path) -> tuple[Path, ...]:
    """Return the file and what SQLite keeps beside it."""
    return (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal")))


def set_aside(path: Path) -> Path:
    """Rename a damaged catalogue to ``.bad``, over an older one; return its new path."""
    bad = path.with_name(path.name + ".bad")
    os.replace(path, bad)
    for other in companions(path)[1:]:
        other.unlink(missing_ok=True)
    return bad


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file is no healthy database."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
