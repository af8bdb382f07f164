"""What is sent, and what became of it."""

from __future__ import annotations

import filecmp
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: Loose: servers may take what strays a little from PS3.5 section 9.
_UID = re.compile(r"[0-9A-Za-z._-]{1,64}")


@dataclass(slots=True)
class SendReport:
    """What became of files that were sent.

    Attributes
    ----------
    arrived : list of Path
        The server has said that it keeps them.
    failed : list of (Path, str)
        With the reason in words.
    wanted : int
        Files of the first attempt.
    """

    arrived: list[Path] = field(default_factory=list)
    failed: list[tuple[Path, str]] = field(default_factory=list)
    wanted: int = 0

    def left(self, files: Sequence[Path]) -> list[Path]:
        """Return those of `files` that have not arrived."""
        arrived = set(self.arrived)
        return [path for path in files if path not in arrived]

    @property
    def fraction(self) -> float:
        """How far it is, from 0 to 1."""
        return min(1.0, (len(self.arrived) + len(self.failed)) / max(1, self.wanted))

    def text(self) -> str:
        """Return how far it is, in words."""
        return f"{len(self.arrived)}/{self.wanted}"


def outgoing(files: Sequence[Path], report: SendReport) -> dict[Path, tuple[str, str]]:
    """Return file -> (SOP class, transfer syntax) of what can be sent; the rest goes into the report.

    Two files that are different objects by the same SOPInstanceUID cannot both be kept by a server: the first is sent.
    """
    report.wanted = max(report.wanted, len(files))
    found: dict[Path, tuple[str, str]] = {}
    by_uid: dict[str, Path] = {}
    for path in files:
        kind = file_kind(path)
        if kind is None:
            report.failed.append((path, "it is not a DICOM file"))
            continue
        if not all(map(_UID.fullmatch, kind)):
            report.failed.append((path, "its UIDs are not valid"))
            continue
        first = by_uid.setdefault(kind[2], path)
        if first != path and not filecmp.cmp(first, path, shallow=False):
            report.failed.append((path, "another object has the same SOPInstanceUID"))
            continue
        found[path] = kind[:2]
    return found


def file_kind(path: Path) -> tuple[str, str, str] | None:
    """Return (SOP class, transfer syntax, SOPInstanceUID) of a DICOM file, or None."""
    from pydicom.filereader import read_file_meta_info

    try:
        meta = read_file_meta_info(path)
        uids = (meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID, meta.MediaStorageSOPInstanceUID)
    # A broken file fails in many ways; each of them means the same.
    except Exception:  # noqa: BLE001
        return None
    return str(uids[0]), str(uids[1]), str(uids[2])
