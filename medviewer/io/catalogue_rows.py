"""What goes into the catalogue and what comes out of it, as plain values."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from medviewer.core.dicom_ref import SeriesRef, SeriesWarning
from medviewer.core.serial import series_from_json, series_to_json

Status = Literal["new", "opened", "labelled"]
#: In the order of progress; a study never goes back.
STATUSES: Final[tuple[Status, ...]] = ("new", "opened", "labelled")
Order = Literal["study_date", "name_key", "patient_id", "touched"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a study must be; empty fields do not count.

    Attributes
    ----------
    date_from, date_to : str
        DICOM dates (``20240131``), both included.
    """

    modality: str = ""
    body_part: str = ""
    status: str = ""
    date_from: str = ""
    date_to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRow:
    """One study of a list."""

    id: int
    study_instance_uid: str
    patient_name: str = field(repr=False)
    patient_id: str = field(repr=False)
    birth_date: str = field(repr=False)
    study_date: str
    description: str = field(repr=False)
    accession_number: str = field(repr=False)
    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]
    series_count: int
    image_count: int
    status: Status
    missing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Part of a list.

    Attributes
    ----------
    total : int
        Studies that match, on all pages.
    exact : bool
        Whether there are not more than `total`: with dates, many hits are counted only so far.
    after : tuple or None
        Given to the next search for the next page; None when this is the last.
    """

    rows: tuple[StudyRow, ...]
    total: int
    exact: bool = True
    after: tuple[Any, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRow:
    """One series of a study.

    Attributes
    ----------
    source : Path or None
        The archive its files are unpacked from.
    thumbnail : bytes or None
        PNG; empty when none can be made, None when none was made yet.
    """

    id: int
    series: SeriesRef
    images: int
    source: Path | None = None
    thumbnail: bytes | None = field(default=None, repr=False)


def image_count(series: SeriesRef) -> int:
    """Return how many images a series has."""
    return len(series.files) if len(series.files) > 1 or series.size is None else series.size[2]


def pack_files(files: Sequence[Path]) -> tuple[bytes, bytes]:
    """Return the folder that holds all files, and their names below it, small; names need not be valid Unicode."""
    paths = [str(path) if path.is_absolute() else os.path.abspath(path) for path in files]
    try:
        root = os.path.commonpath({os.path.dirname(path) for path in paths}) if paths else ""
    except ValueError:
        # On two drives: there is no folder above both.
        root = ""
    # A drive or the root of the disk ends with its separator already.
    start = len(root) if root.endswith(os.sep) else len(root) + 1
    names = [path[start:] for path in paths] if root else paths
    return os.fsencode(root), zlib.compress(json.dumps(names).encode("ascii"), 1)


def unpack_files(root: bytes, packed: bytes) -> tuple[Path, ...]:
    """Return the files of `pack_files`."""
    folder = os.fsdecode(root)
    names = json.loads(zlib.decompress(packed))
    return tuple(Path(folder, name) if folder else Path(name) for name in names)


def clean(text: str) -> str:
    """Return text that a database can hold."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")


def pack_ref(series: SeriesRef) -> str:
    """Return a series without its files, as JSON."""
    data = series_to_json(series)
    del data["files"]
    return json.dumps(data)


def unpack_ref(data: str, files: Sequence[Path]) -> SeriesRef:
    """Return the series of `pack_ref` with its files."""
    return series_from_json(json.loads(data) | {"files": [str(path) for path in files]})


def pack_warnings(warnings: Sequence[SeriesWarning]) -> str:
    """Return warnings as JSON."""
    return json.dumps([asdict(warning) for warning in warnings])


def unpack_warnings(data: str) -> tuple[SeriesWarning, ...]:
    """Return the warnings of `pack_warnings`."""
    return tuple(SeriesWarning(str(w["code"]), str(w["text"])) for w in json.loads(data))
