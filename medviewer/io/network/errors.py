"""What can go wrong between this machine and a PACS, in words. No text carries a value of a patient."""

from __future__ import annotations

from medviewer.core.errors import MedViewerError


class NetworkError(MedViewerError):
    """A server that cannot be reached, refuses, or does not keep to the protocol."""

    code = "E_NETWORK"
    usual_hint = "Test the server in the PACS window; its settings may have changed."


class IncompleteError(NetworkError):
    """A retrieve that ended early; what has arrived is kept, and resuming fetches the rest.

    Attributes
    ----------
    present, wanted : int
        Objects that are here, and objects asked for.
    """

    code = "E_INCOMPLETE"

    def __init__(self, present: int, wanted: int, why: str, hint: str = "") -> None:
        usual = "Resume fetches what is missing; nothing is fetched twice."
        super().__init__(f"INCOMPLETE {present}/{wanted}: {why}", hint=hint or usual)
        self.present = present
        self.wanted = wanted
