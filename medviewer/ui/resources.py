"""Icons and themes: in the source tree, in the installed wheel and in the frozen program."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import medviewer


@cache
def resource_dir() -> Path:
    """Return the folder of the resources.

    Raises
    ------
    FileNotFoundError
        When the program was installed without them.
    """
    package = Path(medviewer.__file__).resolve().parent
    candidates = [package / "_bundled" / "resources", package.parent / "resources"]
    bundle = getattr(sys, "_MEIPASS", None)
    if bundle is not None:
        candidates.insert(0, Path(bundle) / "resources")
    for folder in candidates:
        if (folder / "themes" / "dark.qss").is_file():
            return folder
    raise FileNotFoundError("resources/themes/dark.qss is not part of this installation")


@cache
def resource_text(name: str) -> str:
    """Return a text file of the resources, for example ``icons/open.svg``."""
    return (resource_dir() / name).read_text(encoding="utf-8")


def has_resource(name: str) -> bool:
    """Whether a file is there."""
    return (resource_dir() / name).is_file()
