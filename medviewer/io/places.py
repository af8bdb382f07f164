"""Where bundled files and the user's own lie: in the source tree, in an installed wheel, in the frozen program."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from platformdirs import user_cache_path, user_data_path

_PACKAGE = Path(__file__).resolve().parent.parent


def bundled(name: str) -> Path:
    """Return the folder ``plugins`` or ``resources`` that came with this program.

    Parameters
    ----------
    name : str
        Name of the folder.

    Returns
    -------
    Path
        In the frozen program beside its modules, in an installed wheel inside the package, otherwise in the source
        tree. It is not checked whether it exists.
    """
    frozen = getattr(sys, "_MEIPASS", None)
    if frozen is not None:
        return Path(frozen) / name
    installed = _PACKAGE / "_bundled" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


def user_folder() -> Path:
    """Return the user's data folder; it need not exist. ``MEDVIEWER_DATA_DIR`` moves it."""
    override = os.environ.get("MEDVIEWER_DATA_DIR")
    return Path(override) if override else user_data_path("medviewer", appauthor=False)


def user_cache() -> Path:
    """Return the folder for what can be computed again; it need not exist. ``MEDVIEWER_DATA_DIR`` moves it."""
    override = os.environ.get("MEDVIEWER_DATA_DIR")
    return Path(override) / "cache" if override else user_cache_path("medviewer", appauthor=False)
