"""What was sent to us without being asked for: kept apart, listed, deleted by the user; never opened or mixed in."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from medviewer.core.errors import InputError
from medviewer.io.dicom_header import read_header
from medviewer.io.dicom_tags import Tag
from medviewer.io.dicom_text import decoded_text
from medviewer.io.private import write_private

QUOTA_BYTES: Final = 1 << 30
MOST_OBJECTS: Final = 2000
_KEEP_FREE_BYTES: Final = 512 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Unasked:
    """Objects of one study that one sender pushed.

    Attributes
    ----------
    sender : str
        AE title and address of whoever sent them.
    received : float
        When the last of them came, in seconds since 1970.
    size : int
        Bytes.
    """

    sender: str
    received: float
    size: int
    modality: str
    study_date: str
    files: tuple[Path, ...] = field(repr=False)
    patient_name: str = field(default="", repr=False)
    patient_id: str = field(default="", repr=False)
    description: str = field(default="", repr=False)


class Quarantine:
    """A private folder. Names are digests of the contents, so nothing an object says becomes part of a path.

    Parameters
    ----------
    root : Path
        Made when the first object comes.
    quota, most : int
        Bytes and objects that are kept; what is beyond is refused and not kept.
    """

    def __init__(self, root: Path, quota: int = QUOTA_BYTES, most: int = MOST_OBJECTS) -> None:
        self.root = root
        self._quota = quota
        self._most = most
        self._lock = threading.Lock()

    def keep(self, data: bytes, sender: str) -> bool:
        """Keep an object; return whether there was room."""
        name = hashlib.sha256(data).hexdigest()[:32]
        with self._lock:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = self.root / f"{name}.dcm"
            if path.exists():
                return True
            sizes = [known.stat().st_size for known in self.root.glob("*.dcm")]
            free = shutil.disk_usage(self.root).free - _KEEP_FREE_BYTES
            if len(sizes) >= self._most or len(data) > min(self._quota - sum(sizes), free):
                return False
            facts = {"sender": "".join(c if c.isprintable() else "?" for c in sender)[:80], "received": time.time()}
            try:
                write_private(path.with_suffix(".json"), json.dumps(facts).encode("ascii"))
                write_private(path, data)
            except OSError:
                return False
        return True

    @property
    def count(self) -> int:
        """How many objects are kept."""
        return sum(1 for _ in self.root.glob("*.dcm"))

    def entries(self) -> tuple[Unasked, ...]:
        """Return what is kept, newest first, by study and sender."""
        groups: dict[tuple[str, str], list[tuple[float, Path]]] = {}
        for path in sorted(self.root.glob("*.dcm")):
            sender, received = _facts(path)
            groups.setdefault((_text(path, Tag.STUDY_INSTANCE_UID), sender), []).append((received, path))
        made = [_entry(sender, members) for (_, sender), members in groups.items()]
        return tuple(sorted(made, key=lambda entry: entry.received, reverse=True))

    def delete(self, entries: Iterable[Unasked]) -> None:
        """Delete objects for good."""
        for entry in entries:
            for path in entry.files:
                path.unlink(missing_ok=True)
                path.with_suffix(".json").unlink(missing_ok=True)


def _entry(sender: str, members: list[tuple[float, Path]]) -> Unasked:
    first = members[0][1]
    return Unasked(
        sender=sender,
        received=max(received for received, _ in members),
        size=sum(path.stat().st_size for _, path in members),
        modality=_text(first, Tag.MODALITY),
        study_date=_text(first, Tag.STUDY_DATE),
        files=tuple(path for _, path in members),
        patient_name=_text(first, Tag.PATIENT_NAME),
        patient_id=_text(first, Tag.PATIENT_ID),
        description=_text(first, Tag.STUDY_DESCRIPTION),
    )


def _facts(path: Path) -> tuple[str, float]:
    try:
        facts = json.loads(path.with_suffix(".json").read_text(encoding="ascii"))
        return str(facts["sender"]), float(facts["received"])
    except (OSError, ValueError, KeyError, TypeError):
        return "unknown", path.stat().st_mtime


def _text(path: Path, tag: int) -> str:
    try:
        return decoded_text(read_header(path), tag)
    except InputError:
        return ""
