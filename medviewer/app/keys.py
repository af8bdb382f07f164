"""Which keys run a command: those it comes with, unless the user chose others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from psygnal import Signal

from medviewer.app.settings import Settings

#: Further keys for the same command.
ALSO: Final[Mapping[str, tuple[str, ...]]] = {
    "undo": ("Z",),
    "redo": ("Y", "Ctrl+Shift+Z"),
    "analyze": ("Ctrl+Return",),
}
#: What the views do with the keys themselves, whatever tool is in the hand.
RESERVED: Final = frozenset(
    {"Space", "Return", "Enter", "Backspace", "Tab", "Up", "Down", "Left", "Right", "PgUp", "PgDown", "Home", "End"}
)


class Keys:
    """The keys of all commands, by the command's id; in the notation of Qt: ``"Ctrl+Shift+S"``.

    Signals
    -------
    changed()
    """

    changed = Signal()

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def of(self, command_id: str, shipped: str) -> tuple[str, ...]:
        """Return the keys of a command that comes with the key `shipped` ("": with none)."""
        own = self._settings.shortcuts.get(command_id)
        return tuple(own) if own is not None else shipped_keys(command_id, shipped)

    def is_own(self, command_id: str) -> bool:
        """Whether the user chose them."""
        return command_id in self._settings.shortcuts

    def choose(self, chosen: Mapping[str, Sequence[str]]) -> None:
        """Give commands other keys; no key at all is a choice too."""
        self._settings.shortcuts = {**self._settings.shortcuts, **{name: list(keys) for name, keys in chosen.items()}}
        self._tell()

    def reset(self, command_ids: Sequence[str]) -> None:
        """Give commands the keys back that they come with."""
        self._settings.shortcuts = {k: v for k, v in self._settings.shortcuts.items() if k not in command_ids}
        self._tell()

    def _tell(self) -> None:
        self._settings.save()
        self.changed.emit()


def shipped_keys(command_id: str, shipped: str) -> tuple[str, ...]:
    """Return the keys a command comes with."""
    return tuple(key for key in (shipped, *ALSO.get(command_id, ())) if key)
