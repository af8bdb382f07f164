"""What the user is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from psygnal import Signal

from medviewer.core.errors import MedViewerError

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message: what happened, and what to do next.

    Attributes
    ----------
    details : str
        A code, for reports.
    elsewhere : bool
        Whether it is in sight at another place anyhow, so that the list of messages is enough.
    """

    level: Level
    text: str
    hint: str = ""
    details: str = ""
    elsewhere: bool = False


class MessageLog:
    """Messages since the start, oldest first.

    Signals
    -------
    added(Message)
    """

    added = Signal(object)

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def add(self, level: Level, text: str, hint: str = "", details: str = "", *, elsewhere: bool = False) -> None:
        """Tell the user something."""
        message = Message(level, text, hint, details, elsewhere)
        self.messages.append(message)
        self.added.emit(message)

    def error(self, error: BaseException, what: str = "") -> None:
        """Tell the user that something failed; an unknown exception is named as a fault of the program."""
        prefix = f"{what}: " if what else ""
        if isinstance(error, MedViewerError):
            self.add("error", f"{prefix}{error.text}", error.hint, error.code)
        else:
            self.add(
                "error",
                f"{prefix}{type(error).__name__}: {error}",
                "This is a fault in the program; the log has the details.",
                "E_INTERNAL",
            )
