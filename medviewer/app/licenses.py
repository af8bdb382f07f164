"""The text of a model's licence: the one that lies in its folder, else the usual one of that name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from medviewer.io.places import bundled

#: A file that only names the licence is not its text.
_SHORTEST, _LONGEST = 400, 1 << 20
_ALSO_CALLED = {
    "apache": "Apache-2.0", "apache-2": "Apache-2.0", "apachev2": "Apache-2.0", "bsd": "BSD-3-Clause",
    "bsd-3": "BSD-3-Clause", "bsd-3-clause-new-or-revised": "BSD-3-Clause", "cc0": "CC0-1.0",
}  # fmt: skip


def license_text(folder: Path, name: str) -> str:
    """Return the text of a model's licence, empty where it is not known.

    Parameters
    ----------
    folder : Path
        Of the model.
    name : str
        Of the licence, as its card says it: an SPDX identifier or nearly so (``CC BY-NC-SA 4.0``).
    """
    for path in _own(folder):
        text = _read(path)
        if len(text) >= _SHORTEST:
            return text
    usual = bundled("resources") / "licenses" / f"{_identifier(name)}.txt"
    return _read(usual) if usual.is_file() else ""


def _own(folder: Path) -> Iterator[Path]:
    for pattern in ("LICEN[SC]E*", "*/LICEN[SC]E*", "docs/licen[sc]e*", "*/docs/licen[sc]e*"):
        yield from sorted(path for path in folder.glob(pattern) if path.is_file())


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _LONGEST:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _identifier(name: str) -> str:
    """Return the SPDX identifier of a name that is one but for case, spaces, and words around it."""
    short = re.sub(r"\b(the|licen[sc]e|version|international)\b,?", "", name.strip().lower())
    short = re.sub(r"[\s_()-]+", "-", re.sub(r"\bv(?=\d)", "", short)).strip("-,.")
    if found := _ALSO_CALLED.get(short):
        return found
    return next((known for known in _known() if known.lower() == short), "")


def _known() -> list[str]:
    return sorted(path.stem for path in (bundled("resources") / "licenses").glob("*.txt"))
