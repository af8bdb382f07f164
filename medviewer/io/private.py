"""Files that only this user can read, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final
from uuid import uuid4

_BINARY: Final = getattr(os, "O_BINARY", 0)


def write_private(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 beside its place and move it there; it is never readable by others meanwhile."""
    temporary = path.with_name(f".{uuid4().hex}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o600), "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
