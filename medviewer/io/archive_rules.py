"""What every archive has to keep to, whatever its kind: names, links, number of files, sizes.

Nothing is trusted that an archive says about itself. The kinds (`archive_zip`, `archive_tar`, `archive_packed`) only
say which files there are and hand out their bytes.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, Protocol

from medviewer.core.errors import InputError

MOST_FILES: Final = 200_000
MOST_FOLDERS: Final = 20_000
#: An archive may unpack to this many bytes, or to `MOST_RATIO` times its own size, whichever is more.
FREE_BYTES: Final = 512 * 1024 * 1024
MOST_RATIO: Final = 200
_CHUNK: Final = 1024 * 1024
_UNSAFE: Final = re.compile(r"[^\w.,()+=@ -]")
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_HINT: Final = "Unpack it with another program and open the folder, if you trust it."


class Bytes(Protocol):
    """Anything bytes can be read from."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes; empty at the end."""
        ...


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """An archive that is being read.

    Attributes
    ----------
    file : binary file
    name : str
        For messages, and for what a packed file without a name becomes.
    size : int
        Bytes of the archive.
    tick : callable
        To be called while it is read; reports progress and raises when cancelled.
    """

    file: BinaryIO
    name: str
    size: int
    tick: Callable[[], None]

    @property
    def most_bytes(self) -> int:
        """How many bytes may come out of it."""
        return max(FREE_BYTES, MOST_RATIO * self.size)


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an archive.

    Attributes
    ----------
    name : str
        As the archive has it.
    size : int or None
        Declared bytes; None when nothing is declared.
    open : callable
        Returns what its bytes are read from.
    """

    name: str
    size: int | None
    open: Callable[[], AbstractContextManager[Bytes]]
    is_folder: bool = False
    is_special: bool = False
    is_encrypted: bool = False


class Rules:
    """The rules applied to one archive, which is unpacked into one folder."""

    def __init__(self, archive: ArchiveFile, folder: Path) -> None:
        self._archive = archive
        self._folder = folder
        self._room = shutil.disk_usage(folder).free
        self._files = self._folders = 0
        self._bytes = 0
        self._names: dict[str, int] = {}

    def admit(self, member: Member) -> PurePosixPath | None:
        """Return the name that a file gets below the folder; None for a folder.

        Raises
        ------
        InputError
            ``E_UNSAFE_ARCHIVE``, ``E_BOMB``, ``E_ENCRYPTED`` or ``E_NO_SPACE``.
        """
        name = self._archive.name
        self._folders += member.is_folder
        self._files += not member.is_folder
        if self._files > MOST_FILES or self._folders > MOST_FOLDERS:
            text = f"{name} holds more than {MOST_FILES} files or {MOST_FOLDERS} folders."
            raise InputError(text, hint=_HINT, code="E_BOMB")
        if member.is_encrypted:
            raise InputError(f"{name} is encrypted.", hint=_HINT, code="E_ENCRYPTED")
        self._take(member.size or 0)
        parts = self._parts(member)
        if member.is_folder:
            return None
        safe = PurePosixPath("/".join(_safe_part(part) for part in parts) or "unnamed")
        # Case does not tell names apart everywhere.
        key = str(safe).lower()
        count = self._names.get(key, 0)
        self._names[key] = count + 1
        return safe.with_name(f"{count}~{safe.name}") if count else safe

    def write(self, member: Member, name: PurePosixPath) -> None:
        """Write one file, never more of it than it declares."""
        target = self._folder / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        left = member.size
        with member.open() as source, target.open("xb") as file:
            while chunk := source.read(_CHUNK):
                if left is None:
                    self._take(len(chunk))
                else:
                    left -= len(chunk)
                    if left < 0:
                        text = f"{self._archive.name} unpacks to more than it declares."
                        raise InputError(text, hint=_HINT, code="E_BOMB")
                file.write(chunk)
                self._archive.tick()

    def _take(self, size: int) -> None:
        """Count bytes that are or will be written."""
        name = self._archive.name
        self._bytes += size
        if self._bytes > self._archive.most_bytes:
            raise too_much(name, self._bytes)
        if self._bytes > self._room:
            raise no_room(name, self._folder)

    def _parts(self, member: Member) -> list[str]:
        """Return the parts of a name that stays inside the folder; refuse any other, links and devices."""
        raw = member.name.replace("\\", "/")
        parts = raw.split("/")
        if raw.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", raw) or "\0" in raw:
            raise InputError(
                f"{self._archive.name} holds a file that would land outside its folder; nothing was unpacked.",
                hint="The archive is damaged or hostile.",
                code="E_UNSAFE_ARCHIVE",
            )
        if member.is_special:
            text = f"{self._archive.name} holds a link or a device; nothing was unpacked."
            raise InputError(text, hint=_HINT, code="E_UNSAFE_ARCHIVE")
        return [part for part in parts if part not in ("", ".")]


def too_much(name: str, size: int) -> InputError:
    """Return the refusal of an archive that becomes too large."""
    return InputError(f"{name} would unpack to {size // 2**20} MB or more.", hint=_HINT, code="E_BOMB")


def no_room(name: str, folder: Path) -> InputError:
    """Return the refusal of an archive that does not fit on the disk."""
    return InputError(
        f"There is no room to unpack {name} in {folder.parent}.",
        hint="Free some space, or set TMPDIR to a larger disk.",
        code="E_NO_SPACE",
    )


def _safe_part(part: str) -> str:
    """Return one part of a name, legal on every system."""
    part = _UNSAFE.sub("_", part)
    if len(part) > 100:
        # The end holds what tells files apart: numbers and the suffix.
        part = part[:20] + "_" + part[-79:]
    part = part.rstrip(". ") or "_"
    return f"_{part}" if _RESERVED.match(part) else part
