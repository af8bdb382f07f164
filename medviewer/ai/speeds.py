"""What was measured on this machine: which back-end ran a network, and how long a window took. No torch here."""

from __future__ import annotations

import json
import logging
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medviewer.core.errors import MedViewerError
from medviewer.io.atomic import atomic_write
from medviewer.io.places import user_cache

log = logging.getLogger(__name__)

FILE_NAME = "speeds.json"
#: Oldest entries are dropped beyond this.
_MOST = 500


@dataclass(frozen=True, slots=True)
class Speed:
    """One network on one device.

    Attributes
    ----------
    backend : str
        The fastest that gave the same answer.
    seconds : float
        Of one window.
    memory : int
        Bytes a run took beyond what the process had; 0 when unknown.
    """

    backend: str
    seconds: float
    memory: int = 0


def key_of(weights_sha256: str, window: Sequence[int], device: str) -> str:
    """Return the name of a measurement; it is that of this machine only."""
    machine = f"{platform.machine()} {_cpu()} x{os.cpu_count()}"
    return f"{machine}|{device}|{weights_sha256[:16]}|{'x'.join(str(n) for n in window)}"


def remembered(key: str) -> Speed | None:
    """Return what was measured; None when nothing was."""
    entry: Any = _read().get(key)
    try:
        return Speed(str(entry["backend"]), float(entry["seconds"]), int(entry["memory"])) if entry else None
    except (KeyError, TypeError, ValueError):
        return None


def remember(key: str, speed: Speed) -> None:
    """Keep a measurement; a disk that cannot be written to is no reason to fail."""
    entries = {name: entry for name, entry in _read().items() if name != key}
    entries[key] = asdict(speed)
    path = _path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(json.dumps(dict(list(entries.items())[-_MOST:]), indent=1).encode())
    except (OSError, MedViewerError) as error:
        log.warning("What was measured cannot be kept (%s).", error)


def _path() -> Path:
    return user_cache() / FILE_NAME


def _read() -> dict[str, Any]:
    try:
        data = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
