"""What the program remembers between sessions. Plain TOML with a version; nothing about patients."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from medviewer.io.private import write_private

log = logging.getLogger(__name__)

VERSION = 1
MAX_RECENT = 10


@dataclass(slots=True)
class Settings:
    """Settings of one user.

    Attributes
    ----------
    device : str
        ``auto``, ``cpu`` or ``cuda[:n]``.
    recent : list of str
        Folders and files opened last, newest first.
    keep_library : bool
        Whether studies that are opened are listed in the library.
    window_geometry, window_state, views_state : str
        Base64 of what Qt saves.
    notice_read : bool
        Whether the first-start notice was confirmed.
    analyze_seen, analyze_on, analyze_off : list of str
        Ids of tasks: known to the user from a plan; ticked there against what is usual; unticked so.
    task_parameters : dict of str to str
        Task id to the parameters that were changed, as JSON.
    task_rates : dict of str to float
        See `medviewer.app.timings`.
    accepted_licenses : list of str
        Models with the licence that was accepted.
    shortcuts : dict of str to list of str
        See `medviewer.app.keys`.
    """

    path: Path | None = None
    device: str = "auto"
    recent: list[str] = field(default_factory=list)
    keep_recent: bool = True
    keep_library: bool = True
    brush_radius_mm: float = 5.0
    brush_shape: str = "disc"
    #: What makes a mask of a finding; empty takes the first that fits.
    mask_task: str = ""
    overlay_opacity: float = 0.45
    label_style: str = "both"
    outline_width: int = 1
    window_geometry: str = ""
    window_state: str = ""
    views_state: str = ""
    last_export_folder: str = ""
    last_export_format: str = "nifti"
    notice_read: bool = False
    analyze_seen: list[str] = field(default_factory=list)
    analyze_on: list[str] = field(default_factory=list)
    analyze_off: list[str] = field(default_factory=list)
    task_parameters: dict[str, str] = field(default_factory=dict)
    task_rates: dict[str, float] = field(default_factory=dict)
    accepted_licenses: list[str] = field(default_factory=list)
    shortcuts: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Read settings; a damaged file is set aside as ``.bad`` and defaults are used."""
        settings = cls(path=path)
        if not path.exists():
            return settings
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
            log.warning("The settings could not be read; defaults are used.")
            path.replace(path.with_suffix(".bad"))
            return settings
        for item in fields(cls):
            value = data.get(item.name)
            default = getattr(settings, item.name)
            if item.name != "path" and value is not None and isinstance(value, type(default)):
                setattr(settings, item.name, value)
        settings.recent = [str(entry) for entry in settings.recent][:MAX_RECENT]
        settings.task_parameters = {k: str(v) for k, v in settings.task_parameters.items()}
        settings.task_rates = _numbers(settings.task_rates)
        settings.shortcuts = _lists(settings.shortcuts)
        return settings

    def save(self) -> None:
        """Write the settings, atomically; without a path nothing is kept."""
        if self.path is None:
            return
        lines = [f"version = {VERSION}"]
        lines += [f"{item.name} = {_toml(getattr(self, item.name))}" for item in fields(self) if item.name != "path"]
        try:
            # The names of recent files are nobody else's business.
            write_private(self.path, "".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
        except OSError:
            log.warning("The settings could not be saved.")

    def add_recent(self, path: Path) -> None:
        """Put a path on top of the recent list."""
        text = str(path.absolute())
        # TOML has no way to write a name that is no Unicode.
        if self.keep_recent and text == text.encode("utf-8", "replace").decode("utf-8"):
            self.recent = [text, *(p for p in self.recent if p != text)][:MAX_RECENT]


def _numbers(table: Mapping[str, object]) -> dict[str, float]:
    """Return the numbers of a table of a file that anybody may have edited."""
    return {key: float(value) for key, value in table.items() if isinstance(value, int | float)}


def _lists(table: Mapping[str, object]) -> dict[str, list[str]]:
    """Return the lists of such a table."""
    return {key: [str(item) for item in value] for key, value in table.items() if isinstance(value, list)}


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    escaped = "".join(
        {"\\": "\\\\", '"': '\\"'}.get(c, c if c.isprintable() else f"\\U{ord(c):08X}") for c in str(value)
    )
    return f'"{escaped}"'
