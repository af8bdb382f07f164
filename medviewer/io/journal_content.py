"""What a journal holds, as values, and how it is read."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

from medviewer.core.errors import WorkspaceError
from medviewer.core.provenance import Provenance
from medviewer.core.record import StepRecord
from medviewer.core.version import __version__
from medviewer.io.journal_format import MAGIC, RawRecord, read_records
from medviewer.io.migrations import migrate
from medviewer.io.snapshot import WorkspaceSnapshot
from medviewer.io.volume_ref import VolumeRef
from medviewer.io.workspace_manifest import Array, from_manifest

log = logging.getLogger(__name__)

EntryKind = Literal["push", "undo", "redo", "kept", "volume", "closed", "run"]
_STEP_KINDS: Mapping[str, EntryKind] = {"push": "push", "undo": "undo", "redo": "redo", "kept": "kept"}


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalHeader:
    """What a journal begins with.

    Attributes
    ----------
    workspace_id : str
    title : str
        What the recovery offer names; patient-free.
    created : str
        ISO 8601 time with zone.
    base_path : Path or None
        The saved workspace the work started from.
    base_save_id : str
        `WorkspaceSnapshot.save_id` of that file.
    """

    workspace_id: str
    title: str = ""
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    base_path: Path | None = None
    base_save_id: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class JournalEntry:
    """One thing that happened.

    Attributes
    ----------
    kind : "push", "undo", "redo", "kept", "volume", "closed" or "run"
    step : StepRecord or None
        For "push" and "kept" always; for "undo" and "redo" when the newest base may not know the step: it was done, or
        undone, before it. Who replays on an older base finds the same step on top of the stack and need not use it.
    volume : VolumeRef or None
        For "volume": it was opened.
    volume_id : str
        For "closed".
    run : Provenance or None
        For "run".
    """

    kind: EntryKind
    step: StepRecord | None = None
    volume: VolumeRef | None = None
    volume_id: str = ""
    run: Provenance | None = None


@dataclass(frozen=True, slots=True)
class JournalBase:
    """A state that entries can be replayed on: nothing, a saved file, or what the journal itself holds.

    Attributes
    ----------
    path, save_id : Path or None, str
        The saved file; None for work that was never saved.
    position : int
        Index of the first entry after it.
    written : bool
        False for a save that was begun and not yet known to be on the disk: whether it is, the file's `save_id` says.
    inside : bool
        Whether the journal holds the state; the saved file is only where the work was saved last.
    state : WorkspaceSnapshot or None
        What the journal holds, when it was read with its arrays.
    steps : int
        Steps, undos and redos from the last save to this state.
    """

    path: Path | None
    save_id: str
    position: int
    written: bool = True
    inside: bool = False
    state: WorkspaceSnapshot | None = field(default=None, compare=False)
    steps: int = 0

    def is_there(self, save_id_of: Callable[[Path], str | None]) -> bool:
        """Whether one can still begin with it."""
        return self.inside or self.path is None or save_id_of(self.path) == self.save_id


@dataclass(frozen=True, slots=True, eq=False)
class JournalContent:
    """A journal up to its first damaged record.

    Attributes
    ----------
    entries : tuple of JournalEntry
        Everything since the journal was begun.
    bases : tuple of JournalBase
        Oldest first; never empty.
    lost_bytes : int
        Length of the damaged tail; 0 when the journal is whole.
    good_bytes, records : int
        Length and number of records of what could be read.
    """

    header: JournalHeader
    entries: tuple[JournalEntry, ...]
    bases: tuple[JournalBase, ...]
    lost_bytes: int
    good_bytes: int
    records: int = 0

    def unsaved(self, save_id_of: Callable[[Path], str | None]) -> int:
        """Return the number of steps, undos and redos since the last save; `save_id_of` as for `replay_from`."""
        last = next(base for base in reversed(self.bases) if base.written or base.is_there(save_id_of))
        return last.steps + _steps(self.entries[last.position :])

    def replay_from(self, save_id_of: Callable[[Path], str | None]) -> tuple[JournalBase, tuple[JournalEntry, ...]]:
        """Choose the newest base that is still there, and what to replay on it.

        Parameters
        ----------
        save_id_of : callable
            Returns the `save_id` of a saved workspace, or None when it cannot be read.

        Raises
        ------
        WorkspaceError
            When every saved file the journal builds on is gone or has been changed since.
        """
        for base in reversed(self.bases):
            if base.is_there(save_id_of):
                return base, self.entries[base.position :]
        name = next(base.path.name for base in reversed(self.bases) if base.path is not None)
        raise WorkspaceError(
            f"The unsaved work builds on {name}, which is gone or has been changed since.",
            hint="Put the file back where it was and try again; the unsaved work is kept until then.",
            code="E_BASE_CHANGED",
        )


def read_journal(path: Path, arrays: bool = True) -> JournalContent:
    """Read a journal up to its first damaged record; nothing in the file is changed.

    Parameters
    ----------
    path : Path
        The journal.
    arrays : bool
        False leaves voxel data out: enough to describe it.

    Raises
    ------
    WorkspaceError
        When it cannot be read at all, or a newer version wrote it.
    """
    entries: list[JournalEntry] = []
    bases: list[JournalBase] = []
    header: JournalHeader | None = None
    before: list[int] = []
    good = records = 0
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            _check_magic(file.read(len(MAGIC)))
            file.seek(0)
            for record, position in read_records(file, size, arrays):
                before.append(len(entries))
                if header is None:
                    header = _header_from_json(record.meta)
                    bases.append(JournalBase(header.base_path, header.base_save_id, 0))
                elif record.kind in ("saving", "saved"):
                    bases.append(_saved(record, before))
                elif record.kind == "state":
                    bases = [_state(record, len(entries), path.parent if arrays else None)]
                else:
                    entries.append(_entry(record))
                good, records = position, len(before)
    except OSError as error:
        raise WorkspaceError("The journal cannot be read.", hint=str(error.strerror or "")) from error
    except (IndexError, KeyError, TypeError, ValueError) as error:
        log.warning("A record of a journal has unexpected content: %s", type(error).__name__)
    if header is None:
        raise WorkspaceError("The journal is damaged from its start.", hint="It holds nothing that can be recovered.")
    return JournalContent(header, tuple(entries), tuple(bases), size - good, good, records)


def _check_magic(magic: bytes) -> None:
    if magic[:-1] == MAGIC[:-1] and len(magic) == len(MAGIC) and magic[-1] > MAGIC[-1]:
        raise WorkspaceError(
            "The journal was written by a newer version.", hint="Open it with that version.", code="E_NEWER"
        )


def header_to_json(header: JournalHeader) -> dict[str, Any]:
    """Return JSON-ready values."""
    return {
        "medviewer": __version__,
        "workspace": header.workspace_id,
        "title": header.title,
        "created": header.created,
        "base": str(header.base_path.absolute()) if header.base_path else None,
        "base_save_id": header.base_save_id,
    }


def _header_from_json(meta: Any) -> JournalHeader:
    return JournalHeader(
        workspace_id=str(meta["workspace"]),
        title=str(meta["title"]),
        created=str(meta["created"]),
        base_path=Path(meta["base"]) if meta["base"] else None,
        base_save_id=str(meta["base_save_id"]),
    )


def _saved(record: RawRecord, before: Sequence[int]) -> JournalBase:
    """Return the state a save wrote, or set out to write; `before` is the number of entries before each record."""
    meta = record.meta
    return JournalBase(Path(meta["path"]), str(meta["save_id"]), before[int(meta["at"])], record.kind == "saved")


def _state(record: RawRecord, position: int, folder: Path | None) -> JournalBase:
    """Return the state that the journal holds, without its voxels when no folder is given."""
    meta, state = record.meta, None
    if folder is not None:
        try:
            manifest = migrate(meta["manifest"])
            state = from_manifest(manifest, lambda name, shape: _shaped(record.arrays[name], shape), folder)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # Not the tail of a crash, which would be cut: everything hangs on it.
            raise WorkspaceError("The state in the journal cannot be read.", hint="It is kept as it is.") from error
    saved = Path(meta["path"]) if meta["path"] else None
    return JournalBase(saved, str(meta["save_id"]), position, inside=True, state=state, steps=int(meta["steps"]))


def _shaped(array: Array, shape: tuple[int, ...] | None) -> Array:
    if shape is not None and array.shape != shape:
        raise ValueError("unexpected shape")
    return array


def _entry(record: RawRecord) -> JournalEntry:
    meta = record.meta
    kind = _STEP_KINDS.get(record.kind)
    if kind is not None:
        step = StepRecord(str(meta["kind"]), meta["meta"], record.arrays) if meta else None
        if kind in ("push", "kept") and step is None:
            raise ValueError("a step without content")
        return JournalEntry(cast("EntryKind", record.kind), step)
    if record.kind == "volume":
        volume = VolumeRef.from_json(meta)
        voxels = record.arrays.get("voxels")
        return JournalEntry("volume", volume=volume.with_voxels(voxels) if voxels is not None else volume)
    if record.kind == "closed":
        return JournalEntry("closed", volume_id=str(meta["volume"]))
    if record.kind == "run":
        return JournalEntry("run", run=Provenance.from_json(meta))
    raise ValueError(f"unknown record {record.kind!r}")


def _steps(entries: Sequence[JournalEntry]) -> int:
    return sum(entry.kind in ("push", "undo", "redo") for entry in entries)
