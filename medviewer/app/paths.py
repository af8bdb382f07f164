"""Where the program keeps its own files. `MEDVIEWER_DATA_DIR` moves them all, for tests and portable use."""

from __future__ import annotations

from pathlib import Path

from medviewer.io.places import user_folder


def data_dir() -> Path:
    """Return the user's data folder, made for this user only."""
    folder = user_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def journal_dir() -> Path:
    """Return the folder of the journals."""
    folder = data_dir() / "journals"
    folder.mkdir(exist_ok=True, mode=0o700)
    return folder


def library_file() -> Path:
    """Return the path of the library's index."""
    return data_dir() / "library.sqlite"


def studies_dir() -> Path:
    """Return the folder of imported copies; made when something is imported."""
    return data_dir() / "studies"


def settings_file() -> Path:
    """Return the path of the settings."""
    return data_dir() / "settings.toml"


def log_file() -> Path:
    """Return the path of the log."""
    return data_dir() / "medviewer.log"
