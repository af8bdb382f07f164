"""The journal: every committed step is on the disk before the next, so a crash loses at most the stroke in the hand.

One append-only file per workspace. It deals in `StepRecord` only; who replays it turns records into steps again. What a
journal holds is relative to a *base*: the empty workspace, or the saved file that was opened or written last. A step
that was done before the base and is undone after it is stored with its undo, so every base can be replayed from.

A long journal is made short (`journal_short`): then its base is a state that it holds itself.

To replay an entry: "push" do the step; "kept" take it as done, for the base has it; "undo" take the newest step back,
or, when there is none, the one in the entry; "redo" do the newest undone step again, or, when there is none, the one in
the entry; "volume" open it; "closed" close it; "run" add it to the runs.

Folder 0700, files 0600: they name files and may show anatomy. They are removed when the work is saved or discarded.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from medviewer.core.errors import WorkspaceError
from medviewer.core.provenance import Provenance
from medviewer.core.record import StepRecord
from medviewer.io.atomic import refusal, replace_with_retry, sync_folder
from medviewer.io.journal_content import (
    JournalBase,
    JournalContent,
    JournalEntry,
    JournalHeader,
    header_to_json,
    read_journal,
)
from medviewer.io.journal_format import MAGIC, RawRecord, frame, pack_payload
from medviewer.io.journal_owner import SUFFIX, in_use, journal_path, parse_path, this_process, try_lock
from medviewer.io.journal_short import SUFFIX as SHORT_SUFFIX
from medviewer.io.journal_short import Mark, ShortJournal
from medviewer.io.volume_ref import VolumeRef
from medviewer.io.workspace_file import read_save_id

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JournalInfo:
    """A journal that a program left behind.

    Attributes
    ----------
    steps : int
        Steps, undos and redos since the last save.
    modified : str
        ISO 8601 time of the last step.
    """

    path: Path
    title: str
    created: str
    modified: str
    steps: int


class Journal:
    """The journal of an open workspace; made by `create` or `take_over`."""

    def __init__(self, path: Path, file: BinaryIO, number: int = 0, stacks: tuple[int, int] = (0, 0)) -> None:
        self.path = path
        #: None for a moment while a short journal takes its place, or when it then could not be opened.
        self._file: BinaryIO | None = file
        self._closed = False
        self._number = number
        #: What its records' numbers are more than those that `begin_save` gave.
        self._shift = 0
        #: Length of what is in it for certain.
        self.nbytes = file.tell()
        #: How many steps who replays from the newest base has done, and undone.
        self._done, self._undone = stacks

    @classmethod
    def create(cls, folder: Path, header: JournalHeader, volumes: Sequence[VolumeRef] = ()) -> Journal:
        """Begin the journal of a workspace.

        Raises
        ------
        WorkspaceError
            When the folder cannot be written.
        """
        path = journal_path(folder, header.workspace_id, this_process())
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
            file = os.fdopen(handle, "r+b", buffering=0)
            try_lock(file)
            journal = cls(path, file)
            journal._write(file, MAGIC)
        except OSError as error:
            raise refusal(error, path) from error
        journal._append(RawRecord("header", header_to_json(header)))
        for volume in volumes:
            journal.append_volume(volume)
        sync_folder(folder)
        return journal

    @classmethod
    def take_over(cls, path: Path) -> tuple[Journal, JournalContent]:
        """Make a left-over journal this process's own, cut its damaged tail, and go on writing it.

        Raises
        ------
        WorkspaceError
            When another program took it first, or it cannot be read.
        """
        parsed = parse_path(path)
        if parsed is None or in_use(path, parsed[1]):
            raise WorkspaceError(
                "This unsaved work is open in another window.", hint="Close it there first.", code="E_LOCKED"
            )
        own = journal_path(path.parent, parsed[0], this_process())
        try:
            if own.exists():
                raise FileNotFoundError
            os.rename(path, own)
            file = own.open("r+b", buffering=0)
        except FileNotFoundError as error:
            raise WorkspaceError(
                "This unsaved work has been taken over by another window.", hint="Go on there.", code="E_LOCKED"
            ) from error
        except OSError as error:
            raise refusal(error, path) from error
        try_lock(file)
        try:
            content = read_journal(own)
        except WorkspaceError:
            file.close()
            raise
        file.truncate(content.good_bytes)
        file.seek(0)
        # What is appended may be of kinds that the version which began it did not know.
        file.write(MAGIC)
        file.seek(content.good_bytes)
        return cls(own, file, content.records, _stacks(content.entries[content.bases[-1].position :])), content

    @property
    def is_open(self) -> bool:
        """Whether it can be appended to."""
        return not self._closed

    def append_step(self, record: StepRecord) -> None:
        """Store a step that was carried out; it is on the disk when this returns."""
        self._append(_step_record("push", record))
        self._done, self._undone = self._done + 1, 0

    def append_undo(self, record: Callable[[], StepRecord]) -> None:
        """Store that the newest step was taken back; `record` gives it if it is older than the last save."""
        self._append(RawRecord("undo") if self._done else _step_record("undo", record()))
        self._done, self._undone = max(0, self._done - 1), self._undone + 1

    def append_redo(self, record: Callable[[], StepRecord]) -> None:
        """Store that the newest undone step was done again; `record` gives it if it was undone before the last save."""
        self._append(RawRecord("redo") if self._undone else _step_record("redo", record()))
        self._done, self._undone = self._done + 1, max(0, self._undone - 1)

    def append_volume(self, volume: VolumeRef) -> None:
        """Store that a volume was opened; a computed one with its voxels."""
        arrays = {"voxels": volume.voxels} if volume.voxels is not None else {}
        self._append(RawRecord("volume", volume.to_json(), arrays))

    def append_closed(self, volume_id: str) -> None:
        """Store that a volume was closed."""
        self._append(RawRecord("closed", {"volume": volume_id}))

    def append_run(self, run: Provenance) -> None:
        """Store that a task ran; its results come as steps."""
        self._append(RawRecord("run", run.to_json()))

    def begin_save(self) -> int:
        """Note where a save takes its snapshot; give the number to `append_saving` and `append_saved`.

        Work goes on meanwhile; from here on an undo or redo of an earlier step is stored with the step.
        """
        self._done = self._undone = 0
        return self._number - self._shift

    def append_saving(self, path: Path, save_id: str, at: int) -> None:
        """Store that everything up to `begin_save` is about to be in a saved file.

        A crash may come after the file was put in its place and before `append_saved`: then its `save_id` tells that
        it is this one and not the one before.
        """
        self._append(self._save("saving", path, save_id, at))

    def append_saved(self, path: Path, save_id: str, at: int) -> None:
        """Store that the file is on the disk; what came after `begin_save` builds on it."""
        self._append(self._save("saved", path, save_id, at))

    def _save(self, kind: str, path: Path, save_id: str, at: int) -> RawRecord:
        return RawRecord(kind, {"path": str(path.absolute()), "save_id": save_id, "at": at + self._shift})

    def mark(self, path: Path | None, save_id: str) -> Mark:
        """Note where a snapshot is taken that the journal is to be made short with, while no save is on its way.

        Parameters
        ----------
        path, save_id : Path or None, str
            The saved workspace that is open.
        """
        self._done = self._undone = 0
        return Mark(self.nbytes, self._number, path, save_id)

    def switch_to(self, short: ShortJournal) -> None:
        """Let a short journal take the place of this one, and go on in it.

        Raises
        ------
        WorkspaceError
            When the disk is full or gone; then it goes on as it was.
        """
        try:
            short.catch_up(self.path, self.nbytes)
            size = short.file.tell()
            # Windows renames no open file, and over none.
            short.file.close()
            self._close_file()
            replace_with_retry(short.path, self.path)
        except OSError as error:
            raise refusal(error, short.path) from error
        else:
            self._number, self._shift, self.nbytes = short.number, self._shift + short.shift, size
        finally:
            short.abandon()
            with contextlib.suppress(OSError):
                self._open()
        sync_folder(self.path.parent)

    def close(self, delete: bool) -> None:
        """Stop; `delete` removes it because the work is saved or discarded on purpose."""
        if self._closed:
            return
        self._closed = True
        self._close_file()
        if delete:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)

    def give_back(self) -> None:
        """Stop, and leave it as it would be after a crash: it is offered again."""
        self.close(delete=False)
        parsed = parse_path(self.path)
        if parsed is not None:
            with contextlib.suppress(OSError):
                os.rename(self.path, journal_path(self.path.parent, parsed[0], replace(parsed[1], pid=0, started=0)))

    def _append(self, record: RawRecord) -> None:
        """Append one record and wait until it is on the disk; a failed one leaves no trace.

        Raises
        ------
        WorkspaceError
            When the disk is full or gone; the work goes on in memory, the next append tries again.
        """
        if self._closed:
            raise WorkspaceError("The journal is closed.", hint="Save your work.")
        try:
            file = self._open()
            self._write(file, frame(self._number, pack_payload(record)))
        except OSError as error:
            if self._file is not None:
                with contextlib.suppress(OSError):
                    self._file.truncate(self.nbytes)
                    self._file.seek(self.nbytes)
            raise refusal(error, self.path) from error
        self._number += 1

    def _open(self) -> BinaryIO:
        if self._file is None:
            file = self.path.open("r+b", buffering=0)
            try_lock(file)
            file.truncate(self.nbytes)
            file.seek(self.nbytes)
            self._file = file
        return self._file

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, file: BinaryIO, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]
        os.fsync(file.fileno())
        self.nbytes += len(data)


def find_journals(folder: Path) -> list[JournalInfo]:
    """Return the journals with unsaved work whose program no longer runs, newest first.

    Whole journals without unsaved steps are removed: there is nothing to recover.
    """
    _remove_unfinished(folder)
    found: list[tuple[float, JournalInfo]] = []
    for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else ():
        parsed = parse_path(path)
        try:
            if parsed is None or in_use(path, parsed[1]):
                continue
            modified = path.stat().st_mtime
            content = read_journal(path, arrays=False)
        except (WorkspaceError, OSError) as error:
            # Kept: a newer version may read it. It is only not offered by this one.
            log.warning("A journal was left alone: %s", type(error).__name__)
            continue
        steps = content.unsaved(read_save_id)
        if steps == 0:
            if content.lost_bytes:
                continue
            with contextlib.suppress(OSError):
                path.unlink()
            continue
        when = datetime.fromtimestamp(modified, UTC).isoformat(timespec="seconds")
        header = content.header
        found.append((modified, JournalInfo(path, header.title, header.created, when, steps)))
    return [info for _, info in sorted(found, key=lambda item: item[0], reverse=True)]


def _remove_unfinished(folder: Path) -> None:
    """Remove what programs that no longer run were writing beside their journals."""
    for path in folder.glob(f"*{SUFFIX}{SHORT_SUFFIX}") if folder.is_dir() else ():
        parsed = parse_path(path.with_suffix(""))
        with contextlib.suppress(OSError):
            if parsed is not None and not in_use(path, parsed[1]):
                path.unlink(missing_ok=True)


def is_open_elsewhere(folder: Path, saved: Path) -> bool:
    """Whether a program that still runs, other than this one, works on a saved workspace."""
    for path in folder.glob(f"*{SUFFIX}") if folder.is_dir() else ():
        parsed = parse_path(path)
        if parsed is None or parsed[1] == this_process() or not in_use(path, parsed[1]):
            continue
        with contextlib.suppress(WorkspaceError, OSError):
            bases = [base for base in read_journal(path, arrays=False).bases if base.written]
            if bases[-1].path is not None and bases[-1].path.resolve() == saved.resolve():
                return True
    return False


def discard_journal(path: Path) -> None:
    """Remove a left-over journal because the user does not want it; one in use is left alone."""
    parsed = parse_path(path)
    if parsed is not None and path.exists() and not in_use(path, parsed[1]):
        path.unlink(missing_ok=True)


def _step_record(kind: str, step: StepRecord) -> RawRecord:
    return RawRecord(kind, {"kind": step.kind, "meta": dict(step.meta)}, step.arrays)


def _stacks(entries: Sequence[JournalEntry]) -> tuple[int, int]:
    """Return how many steps who replays these entries has done, and how many undone."""
    done = undone = 0
    for entry in entries:
        if entry.kind == "push":
            done, undone = done + 1, 0
        elif entry.kind == "undo":
            done, undone = max(0, done - 1), undone + 1
        elif entry.kind == "redo":
            done, undone = done + 1, max(0, undone - 1)
    return done, undone


__all__ = [
    "Journal",
    "JournalBase",
    "JournalContent",
    "JournalEntry",
    "JournalHeader",
    "JournalInfo",
    "discard_journal",
    "find_journals",
    "read_journal",
]
