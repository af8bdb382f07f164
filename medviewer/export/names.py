"""File names from foreign text: what a series, a task or a person called something may not decide where a file goes."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

MAX_LENGTH = 60
_HASH_LENGTH = 8
_RESERVED = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {f"{n}{d}" for n in ("com", "lpt") for d in range(10)}


def safe_name(text: str) -> str:
    """Return a file name of at most 60 of the characters ``A-Za-z0-9._-``; never a path, hidden, or reserved.

    Spaces and the like become ``_``, accents are dropped. When more than that is lost (other scripts, a text that is
    too long), a short hash of the text keeps different texts apart.
    """
    plain = unicodedata.normalize("NFKD", text)
    letters = "".join(c for c in plain if not unicodedata.combining(c))
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", letters)
    name = re.sub(r"\.{2,}", ".", name).strip("._-")
    lost = any(c.isalnum() and not c.isascii() for c in letters) or len(name) > MAX_LENGTH or not name
    if lost:
        name = f"{name[: MAX_LENGTH - _HASH_LENGTH - 1].rstrip('._-')}-{_hash(text)}".lstrip("._-")
    if name.split(".")[0].lower() in _RESERVED:
        name = f"x_{name}"[:MAX_LENGTH]
    return name


def unique_names(texts: Iterable[str]) -> list[str]:
    """Return a safe name for each text, all different also where upper and lower case are the same."""
    names: list[str] = []
    taken: set[str] = set()
    for text in texts:
        name = safe_name(text)
        if name.lower() in taken:
            name = f"{name[: MAX_LENGTH - _HASH_LENGTH - 1]}-{_hash(text)}"
        stem, n = name[: MAX_LENGTH - 4], 2
        while name.lower() in taken:
            name, n = f"{stem}_{n}", n + 1
        taken.add(name.lower())
        names.append(name)
    return names


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]
