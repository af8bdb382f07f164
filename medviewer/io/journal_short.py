"""A journal made short: the state it led to, the newest steps so that they can still be undone, and what came after.

It is written beside the journal by a thread while the journal goes on, and then takes its place by one rename. Until
then the journal is whole and in use, so a crash at any point costs nothing but the file beside it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from medviewer.core.errors import WorkspaceError
from medviewer.io.atomic import refusal
from medviewer.io.journal_format import MAGIC, RawRecord, frame, head_of, pack_payload, read_payloads, with_head
from medviewer.io.snapshot import WorkspaceSnapshot
from medviewer.io.workspace_manifest import to_manifest

#: How many of the newest steps can be undone after a recovery: as many as hold so much, and never fewer than 20.
_KEPT_STEPS, _KEPT_BYTES, _FEWEST = 200, 64 << 20, 20
#: With no more than this to be copied, the switch goes unnoticed.
_SWITCH_BYTES = 1 << 20
SUFFIX = ".tmp"
_STEPS = ("push", "undo", "redo")


@dataclass(frozen=True, slots=True)
class Mark:
    """Where in a journal the state was taken: the offset of the next record, and its number.

    Attributes
    ----------
    path, save_id : Path or None, str
        The saved workspace that is open.
    """

    offset: int
    number: int
    path: Path | None = None
    save_id: str = ""


@dataclass(slots=True)
class ShortJournal:
    """A journal in the making.

    Attributes
    ----------
    number : int
        Of the next record.
    copied : int
        Offset in the old journal up to which everything is in this one.
    shift : int
        What its records' numbers are more than in the old journal.
    """

    path: Path
    file: BinaryIO
    number: int = 0
    copied: int = 0
    shift: int = 0

    def write(self, payload: bytes) -> None:
        """Append a record."""
        self.file.write(frame(self.number, payload))
        self.number += 1

    def catch_up(self, journal: Path, size: int) -> None:
        """Copy what came after the mark, up to `size` in the old journal, and wait until it is on the disk.

        Raises
        ------
        WorkspaceError
            When a record of the old journal is damaged.
        """
        with journal.open("rb") as old:
            old.seek(self.copied)
            for payload, end in read_payloads(old, self.copied, size, self.number - self.shift):
                self.write(_shifted(payload, self.shift))
                self.copied = end
        if self.copied != size:
            raise WorkspaceError("The journal is damaged.")
        self.file.flush()
        os.fsync(self.file.fileno())

    def abandon(self) -> None:
        """Remove it, unless it has taken the journal's place."""
        with contextlib.suppress(OSError):
            self.file.close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def write_short(
    journal: Path, mark: Mark, snapshot: WorkspaceSnapshot, size: Callable[[], int], stopped: Callable[[], bool]
) -> ShortJournal:
    """Write the short journal beside the one it shall replace; from any thread.

    Parameters
    ----------
    journal : Path
        Still appended to by its owner.
    mark, snapshot : Mark, WorkspaceSnapshot
        Taken at the same moment.
    size : callable
        Returns the length of what the journal holds for certain.
    stopped : callable
        True when nobody wants it any more.

    Raises
    ------
    WorkspaceError
        When the disk is full or gone, or the journal is damaged; then nothing is left behind.
    """
    path = journal.with_name(journal.name + SUFFIX)
    try:
        path.unlink(missing_ok=True)
        file = open(path, "x+b", opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115
        short = ShortJournal(path, file, copied=mark.offset)
    except OSError as error:
        raise refusal(error, path) from error
    try:
        short.file.write(MAGIC)
        with journal.open("rb") as old:
            _begin(short, old, mark, snapshot, journal.parent)
        short.shift = short.number - mark.number
        while not stopped():
            upto = size()
            short.catch_up(journal, upto)
            if size() - upto <= _SWITCH_BYTES:
                return short
        raise WorkspaceError("Not wanted any more.")
    except OSError as error:
        short.abandon()
        raise refusal(error, path) from error
    except BaseException:
        short.abandon()
        raise


def _begin(short: ShortJournal, old: BinaryIO, mark: Mark, snapshot: WorkspaceSnapshot, folder: Path) -> None:
    """Write the header, the state and the steps that led to it."""
    done, steps, header = _history(old, mark)
    short.write(pack_payload(RawRecord("header", header | {"base": None})))
    manifest, arrays = to_manifest(snapshot, folder)
    saved = str(mark.path.absolute()) if mark.path is not None else None
    meta = {"path": saved, "save_id": mark.save_id, "steps": steps, "manifest": manifest}
    short.write(pack_payload(RawRecord("state", meta, arrays)))
    for offset, length in _newest(done):
        old.seek(offset)
        payload = old.read(length)
        short.write(with_head(payload, head_of(payload) | {"kind": "kept"}))


def _history(old: BinaryIO, mark: Mark) -> tuple[list[tuple[int, int]], int, dict[str, Any]]:
    """Return where the steps lie that are done at the mark, how many came since the last save, and the header."""
    done: list[tuple[int, int]] = []
    undone: list[tuple[int, int]] = []
    before: list[int] = []
    steps = saved = offset = 0
    header: dict[str, Any] = {}
    for payload, offset in read_payloads(old, 0, mark.offset):
        head = head_of(payload)
        kind, meta, place = head["kind"], head["meta"], (offset - len(payload), len(payload))
        before.append(steps)
        steps += kind in _STEPS
        if kind == "header":
            header = meta
        elif kind == "state":
            steps = meta["steps"]
        elif kind in ("saving", "saved") and meta["save_id"] == mark.save_id:
            saved = before[meta["at"]]
        elif kind in ("push", "kept"):
            done.append(place)
            undone.clear()
        elif kind == "undo":
            undone.append(done.pop() if done else place)
        elif kind == "redo":
            done.append(undone.pop() if undone else place)
        elif kind == "closed":
            done, undone = [], []
    if offset != mark.offset:
        raise WorkspaceError("The journal is damaged.")
    return done, steps - saved, header


def _newest(places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the last of the places, as many as are kept."""
    count = held = 0
    for _, length in reversed(places[-_KEPT_STEPS:]):
        held += length
        if count >= _FEWEST and held > _KEPT_BYTES:
            break
        count += 1
    return places[len(places) - count :]


def _shifted(payload: bytes, shift: int) -> bytes:
    """Return a record as it is in the short journal: a save names a record by its number."""
    head = head_of(payload)
    if head["kind"] not in ("saving", "saved"):
        return payload
    return with_head(payload, head | {"meta": head["meta"] | {"at": head["meta"]["at"] + shift}})
