"""What a plugin that did not come with the program may reach while it runs, beyond the values that it is given.

Python tells a hook before it opens a file, connects, or starts a program. What a manifest does not declare under
``reaches`` is refused there, by name: a task gets images and returns results, and needs nothing else. This keeps honest
plugins honest and finds what was forgotten; it is no wall against code that is made to get around it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medviewer.core.errors import PluginError
from medviewer.io.places import bundled, user_cache, user_folder
from medviewer.plugin_host.loader import Reached, TaskSource

#: Events of Python (`sys.addaudithook`) by what they reach.
_NETWORK = frozenset({
    "socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname",
})  # fmt: skip
_PROGRAMS = frozenset({
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.startfile",
})  # fmt: skip
_CHANGES = frozenset({
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
    "shutil.rmtree", "shutil.move",
})  # fmt: skip
_LISTS = frozenset({"os.listdir", "os.scandir"})
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True, slots=True)
class _Fence:
    """What is open to the task that runs now."""

    reaches: frozenset[str]
    writable: tuple[str, ...]
    readable: tuple[str, ...]
    home: str

    def check(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Raise `Reached` for an event that was not declared."""
        if event in _NETWORK:
            self._need("network", event)
        elif event in _PROGRAMS:
            self._need("programs", str(arguments[0]) if arguments else event)
        elif event in _CHANGES:
            for path in arguments[:2]:
                self._change(path)
        elif event == "open":
            flags = arguments[2] if isinstance(arguments[2], int) else 0
            if flags & _WRITES:
                self._change(arguments[0])
            else:
                self._read(arguments[0])
        elif event in _LISTS:
            self._read(arguments[0])

    def _change(self, path: object) -> None:
        if (place := _place(path)) and "__pycache__" not in place and not _under(place, self.writable):
            self._need("files", place)

    def _read(self, path: object) -> None:
        if (place := _place(path)) and _under(place, (self.home,)) and not _under(place, self.readable):
            self._need("home", place)

    def _need(self, need: str, what: str) -> None:
        if need not in self.reaches:
            raise Reached(need, what)


_active: _Fence | None = None
_installed = False
_looking = threading.local()


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    fence = _active
    if fence is None or getattr(_looking, "now", False):
        return
    _looking.now = True
    try:
        fence.check(event, arguments)
    finally:
        _looking.now = False


@contextmanager
def fenced(source: TaskSource) -> Iterator[None]:
    """Refuse what the plugin of a task reaches for and has not declared, until the block ends.

    Raises
    ------
    PluginError
        ``E_PLUGIN_REACH``: what ended the task was such a refusal.
    """
    global _active, _installed
    folder = source.folder.resolve()
    if folder.is_relative_to((bundled("plugins")).resolve()):
        yield
        return
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    before = _active
    _active = _Fence(source.info.reaches, _writable(), _readable(source), os.path.realpath(Path.home()))
    try:
        yield
    except Reached as error:
        raise refusal(source, error) from error
    finally:
        _active = before


def refusal(source: TaskSource, error: Reached) -> PluginError:
    """Return what is said of a plugin that reached for what it has not declared."""
    return PluginError(
        f"The plugin {source.info.plugin} {source.info.plugin_version} was stopped: {error}.",
        hint=f"Its manifest must say so: reaches = [{error.need!r}] in the table of the task {source.info.id}.",
        code="E_PLUGIN_REACH",
    )


def _writable() -> tuple[str, ...]:
    places = [tempfile.gettempdir(), os.devnull, str(user_cache())]
    if os.path.isdir("/dev/shm"):
        places.append("/dev/shm")
    return tuple(os.path.realpath(place) for place in places)


def _readable(source: TaskSource) -> tuple[str, ...]:
    """Return the folders in the user's home that hold programs, and the task's own."""
    places = [sys.prefix, sys.base_prefix, *sys.path, str(source.folder), str(user_folder() / "models")]
    places += [source.info.model, str(Path(__file__).parents[2]), *_writable()]
    return tuple(os.path.realpath(place) for place in places if place)


def _place(path: object) -> str:
    """Return a path in full; empty for what is none."""
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    return os.path.realpath(path) if isinstance(path, str | os.PathLike) and str(path) else ""


def _under(place: str, roots: tuple[str, ...]) -> bool:
    return any(place == root or place.startswith(root.rstrip(os.sep) + os.sep) for root in roots)
