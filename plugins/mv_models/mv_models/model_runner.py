"""What runners of models share: the folder, its card, and the volumes that they are given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from medviewer.api import Input, InputError, Readiness, Volume
from medviewer.api.formats import read_any_card


class ModelRunner:
    """Runs the model of a folder.

    Attributes
    ----------
    weights_sha256 : str
        What the card says; formats whose cards do not say it know it after the first run.
    record : mapping
        How the last run was made, JSON-ready.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._card = read_any_card(folder)
        self.weights_sha256 = self._card.weights_sha256
        self.record: Mapping[str, object] = {}

    def check(self) -> Readiness:
        """Ready: the card has been read."""
        return Readiness(ok=True)

    def volumes(self, inputs: Mapping[str, Input], wanted: str = "a volume") -> list[Volume]:
        """Return the volumes among the inputs; raises `InputError` when there is none."""
        found = [value for value in inputs.values() if isinstance(value, Volume)]
        if not found:
            raise InputError(f"{self._card.title} needs {wanted}.", hint=f"Choose {wanted} as its input.")
        return found
