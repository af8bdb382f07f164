"""Which process owns a journal. It is written in the file's name, so that taking it over is one atomic rename.

Two programs that find the same left-over journal both try to rename it; only one can. While it is written, the file is
also locked where the system has advisory locks (on Windows an open file cannot be renamed at all).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import time
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import psutil

SUFFIX = ".mvj"
#: A journal of another machine (a shared home folder) that was written less long ago is taken to be in use.
_FOREIGN_S = 24 * 3600.0
_START_TOLERANCE_S = 2.0


@dataclass(frozen=True, slots=True)
class Owner:
    """A process on a machine; `host` and `node` are hashes of the machine's name and of its network card."""

    pid: int
    started: int
    host: str
    node: str

    @property
    def same_machine(self) -> bool:
        """Whether it runs or ran here; a laptop that changed its name is still the same machine."""
        here = this_process()
        return self.host == here.host or self.node == here.node

    def is_alive(self, path: Path) -> bool:
        """Whether the process still runs, as far as can be known; `path` is its journal."""
        if not self.same_machine:
            return time.time() - path.stat().st_mtime < _FOREIGN_S
        try:
            started = psutil.Process(self.pid).create_time()
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True
        return abs(started - self.started) <= _START_TOLERANCE_S


@cache
def _machine() -> tuple[str, str]:
    def short(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    return short(platform.node()), short(str(uuid.getnode()))


def this_process() -> Owner:
    """Return this process as an owner."""
    host, node = _machine()
    return Owner(os.getpid(), int(psutil.Process().create_time()), host, node)


def journal_path(folder: Path, workspace_id: str, owner: Owner) -> Path:
    """Return the path of a journal: ``<workspace>.<pid>.<start>.<host>.<node>.mvj``."""
    return folder / f"{workspace_id}.{owner.pid}.{owner.started}.{owner.host}.{owner.node}{SUFFIX}"


def parse_path(path: Path) -> tuple[str, Owner] | None:
    """Return workspace id and owner of a journal's name, or None if it is no journal."""
    parts = path.name.removesuffix(SUFFIX).split(".")
    if not path.name.endswith(SUFFIX) or len(parts) != 5 or not (parts[1].isdigit() and parts[2].isdigit()):
        return None
    return parts[0], Owner(int(parts[1]), int(parts[2]), parts[3], parts[4])


def try_lock(file: BinaryIO) -> bool:
    """Lock an open file until it is closed; False when another one holds it. True where there are no such locks."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # Some network file systems have no locks; the owner in the name has to do.
        return True
    return True


def in_use(path: Path, owner: Owner) -> bool:
    """Whether a journal belongs to a program that still runs."""
    if owner.is_alive(path):
        return True
    with contextlib.suppress(OSError), path.open("rb") as file:
        return not try_lock(file)
    return False
