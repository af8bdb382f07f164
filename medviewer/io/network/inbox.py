"""Where objects from a server land: a private folder per series that takes only what was asked for.

Names are digests, so that no value of an object ever becomes part of a path. A log beside the folder says what was
asked for and what has come, so that a retrieve goes on where it broke, in this session or a later one.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from medviewer.io.incomplete import mark, unmark
from medviewer.io.network.quarantine import Quarantine
from medviewer.io.network.query import InstanceRow
from medviewer.io.private import write_private

#: Answers to C-STORE (PS3.4 table B.2-1, PS3.7 annex C).
OK: Final = 0x0000
NO_SPACE: Final = 0xA700
NOT_ASKED_FOR: Final = 0x0124
MISMATCH: Final = 0xA900
MALFORMED: Final = 0xC000

QUOTA_BYTES: Final = 64 << 30
MAX_INSTANCE_BYTES: Final = 2 << 30
_KEEP_FREE_BYTES: Final = 512 << 20


def study_folder(root: Path, study_uid: str) -> Path:
    """Return where the series of a study lie, each in a folder of its own."""
    return root / f"study-{digest(study_uid)[:16]}"


def digest(uid: str) -> str:
    """Return a name that is safe on any system, whatever the UID holds."""
    return hashlib.sha256(uid.encode("utf-8", "surrogatepass")).hexdigest()[:32]


@dataclass(slots=True)
class _Log:
    """What a series log says: names asked for, and name -> (size, digest of the bytes) of what came."""

    wanted: set[str]
    received: dict[str, tuple[int, str]]

    @classmethod
    def read(cls, path: Path) -> _Log:
        made = cls(set(), {})
        try:
            lines = path.read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return made
        for line in lines:
            parts = line.split(" ")
            if parts[0] == "W" and len(parts) == 2:
                made.wanted.add(parts[1])
            elif parts[0] == "R" and len(parts) == 4 and parts[2].isdigit():
                made.received[parts[1]] = (int(parts[2]), parts[3])
        return made

    @property
    def is_complete(self) -> bool:
        return bool(self.wanted) and self.wanted <= self.received.keys()


class Inbox:
    """Takes the objects of one retrieve.

    Parameters
    ----------
    root : Path
        Private folder of all retrieves.
    study_uid : str
    wanted : iterable of InstanceRow
        What was asked for; anything else is refused.
    quota : int
        Bytes that may be written.
    quarantine : Quarantine, optional
        Where objects are kept that come without being asked for; without one they are only refused.

    Attributes
    ----------
    refused : int
        Objects that came without being asked for; whoever sends one is told so.
    quarantined : int
        How many of those are kept apart.
    failure : str
        Why an object could not be kept; empty when none failed.
    said : str
        What the server said of objects that it did not send.
    """

    def __init__(
        self,
        root: Path,
        study_uid: str,
        wanted: Iterable[InstanceRow],
        quota: int = QUOTA_BYTES,
        quarantine: Quarantine | None = None,
    ) -> None:
        self.study_uid = study_uid
        self.folder = study_folder(root, study_uid)
        self.refused = 0
        self.quarantined = 0
        self.failure = ""
        self.said = ""
        self._wanted = {row.sop_instance_uid: row for row in wanted}
        self._left = quota
        self._quarantine = quarantine
        self._lock = threading.Lock()
        self._have: set[str] = set()
        self._missing_of: dict[str, int] = {}
        for folder in (root, self.folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._start()

    @property
    def wanted(self) -> Mapping[str, InstanceRow]:
        """What was asked for, by SOPInstanceUID."""
        return self._wanted

    @property
    def missing(self) -> list[InstanceRow]:
        """What has not come yet."""
        return [row for uid, row in self._wanted.items() if uid not in self._have]

    @property
    def present(self) -> int:
        """How many of the wanted objects are here, whole."""
        return len(self._have)

    def complete_series(self) -> list[Path]:
        """Return the folders of all series of the study that are whole, from this retrieve or earlier ones."""
        logs = sorted(self.folder.glob("*.received"))
        return [path.with_suffix("") for path in logs if _Log.read(path).is_complete]

    def keep(self, sop_instance_uid: str, data: bytes, sender: str = "") -> int:
        """Keep one object, whole or not at all.

        Parameters
        ----------
        data : bytes
            A DICOM file.
        sender : str
            Who sent it, for people.

        Returns
        -------
        int
            Status for a C-STORE response.
        """
        row = self._wanted.get(sop_instance_uid)
        status = _checked(row, data)
        with self._lock:
            if status in (NOT_ASKED_FOR, MISMATCH):
                self.refused += 1
                if self._quarantine is not None and self._quarantine.keep(data, sender):
                    self.quarantined += 1
            if row is None or status != OK or sop_instance_uid in self._have:
                return status
            free = shutil.disk_usage(self.folder).free - _KEEP_FREE_BYTES
            if len(data) > min(self._left, free):
                self.failure = "there is no room left for it"
                return NO_SPACE
            try:
                self._write(row, data)
            except OSError:
                self.failure = "it could not be written to the disk"
                return NO_SPACE
            self._left -= len(data)
            self._have.add(sop_instance_uid)
            self._missing_of[row.series_instance_uid] -= 1
            if not self._missing_of[row.series_instance_uid]:
                unmark(self._series(row.series_instance_uid))
        return OK

    def _series(self, series_uid: str) -> Path:
        return self.folder / f"series-{digest(series_uid)[:16]}"

    def _start(self) -> None:
        by_series: dict[str, list[InstanceRow]] = {}
        for row in self._wanted.values():
            by_series.setdefault(row.series_instance_uid, []).append(row)
        for series_uid, rows in by_series.items():
            folder = self._series(series_uid)
            folder.mkdir(exist_ok=True, mode=0o700)
            for left_over in folder.glob(".*.tmp"):
                left_over.unlink(missing_ok=True)
            log = _Log.read(folder.with_suffix(".received"))
            whole = {}
            for row in rows:
                name = digest(row.sop_instance_uid)
                entry = log.received.get(name)
                if entry is not None and _is_whole(folder / f"{name}.dcm", *entry):
                    whole[name] = entry
                    self._have.add(row.sop_instance_uid)
            self._missing_of[series_uid] = len(rows) - len(whole)
            if self._missing_of[series_uid]:
                mark(folder, len(rows))
            else:
                unmark(folder)
            lines = [f"W {digest(row.sop_instance_uid)}" for row in rows]
            lines += [f"R {name} {size} {sha}" for name, (size, sha) in whole.items()]
            write_private(folder.with_suffix(".received"), ("\n".join(lines) + "\n").encode("ascii"))

    def _write(self, row: InstanceRow, data: bytes) -> None:
        folder = self._series(row.series_instance_uid)
        name = digest(row.sop_instance_uid)
        write_private(folder / f"{name}.dcm", data)
        with folder.with_suffix(".received").open("a", encoding="ascii") as log:
            log.write(f"R {name} {len(data)} {hashlib.sha256(data).hexdigest()}\n")


def _is_whole(path: Path, size: int, sha: str) -> bool:
    try:
        with path.open("rb") as file:
            return path.stat().st_size == size and hashlib.file_digest(file, "sha256").hexdigest() == sha
    except OSError:
        return False


def _checked(row: InstanceRow | None, data: bytes) -> int:
    """Return what a file is worth: its own identifiers must be those that were asked for (`row`)."""
    from pydicom import dcmread

    try:
        header = dcmread(
            BytesIO(data),
            stop_before_pixels=True,
            specific_tags=["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"],
        )
        found = (str(header.StudyInstanceUID), str(header.SOPInstanceUID))
    # A hostile object fails in many ways; each of them means the same.
    except Exception:  # noqa: BLE001
        return MALFORMED
    if row is None or found[0] != row.study_instance_uid:
        return NOT_ASKED_FOR
    return OK if found[1] == row.sop_instance_uid else MISMATCH
