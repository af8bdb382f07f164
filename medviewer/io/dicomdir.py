"""DICOMDIR: the directory of a medium, which says what should be there.

It is a help, never the truth: every file below its folder is read all the same, those that it names first. What it
names is looked up among the files that the scan has found, so it can lead nowhere else.

References
----------
DICOM PS3.3 annex F (Basic Directory), PS3.10 section 8 (File-sets).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_NAME: Final = "dicomdir"
#: A hundred thousand files take a tenth of this.
_MOST_BYTES: Final = 256 * 1024 * 1024
#: File systems of media add a version or a dot to names, or write them in small letters.
_VERSION: Final = re.compile(r"(;\d+|\.)$")


@dataclass(frozen=True, slots=True)
class MediaDirectory:
    """What a DICOMDIR names.

    Attributes
    ----------
    files : tuple of Path
        Files that are there, in its order.
    missing : int
        Files that it names and that are not there.
    outside : int
        Names that would lead out of its folder; nothing was looked up.
    """

    files: tuple[Path, ...]
    missing: int
    outside: int


def is_dicomdir(path: Path) -> bool:
    """Whether a file has the name of a DICOMDIR, as media and copies of them have it."""
    return path.name.lower().startswith(_NAME)


def read_dicomdir(path: Path, files: Sequence[Path]) -> MediaDirectory:
    """Return what a DICOMDIR names; nothing when it is none, or broken.

    Parameters
    ----------
    path : Path
    files : sequence of Path
        Every file below its folder.
    """
    known = {_key(file.relative_to(path.parent).parts): file for file in files if file.is_relative_to(path.parent)}
    names = _names(path)
    inside = [name for name in names if all(map(_is_plain, name))]
    found = dict.fromkeys(known[key] for key in map(_key, inside) if key in known)
    # Of one that lies beside the files of another medium nothing is missing here.
    missing = {key for key in map(_key, inside) if key not in known} if found else ()
    return MediaDirectory(tuple(found), len(missing), len(names) - len(inside))


def in_order_of_media(files: Sequence[Path]) -> tuple[list[Path], Mapping[Path, MediaDirectory]]:
    """Return files with those that directories among them name first, and what each directory says."""
    media: dict[Path, MediaDirectory] = {}
    for path in files:
        if is_dicomdir(path):
            media[path] = read_dicomdir(path, files)
    if not media:
        return list(files), media
    named = dict.fromkeys(file for directory in media.values() for file in directory.files)
    return list(dict.fromkeys([*named, *files])), media


def _is_plain(part: str) -> bool:
    return part not in ("", ".", "..") and not re.search(r"[/\\:\0]", part)


def _key(parts: Sequence[str]) -> tuple[str, ...]:
    return (*(part.casefold() for part in parts[:-1]), _VERSION.sub("", parts[-1]).casefold())


def _names(path: Path) -> list[tuple[str, ...]]:
    """Return every ReferencedFileID as the components of a path."""
    from pydicom import config, dcmread
    from pydicom.uid import MediaStorageDirectoryStorage

    from medviewer.io.inflate import inflated_dicom

    config.settings.reading_validation_mode = config.IGNORE
    try:
        if path.stat().st_size > _MOST_BYTES:
            return []
        with path.open("rb") as file:
            dataset = dcmread(inflated_dicom(file, path.name))
            if dataset.file_meta.get("MediaStorageSOPClassUID") != MediaStorageDirectoryStorage:
                return []
            return [name for record in dataset.get("DirectoryRecordSequence", ()) if (name := _file_id(record))]
    # Whatever is wrong with it, the files themselves are still there.
    except Exception:  # noqa: BLE001
        return []


def _file_id(record: Dataset) -> tuple[str, ...]:
    value = record.get("ReferencedFileID") or ()
    return (value,) if isinstance(value, str) else tuple(str(part) for part in value)
