"""Answers prompts with a network of nnInteractive; its package is not needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medviewer.api import InteractiveSession, JobContext, Readiness, Volume
from medviewer.api.formats import nninteractive_session


@dataclass(frozen=True, slots=True)
class NninteractiveParams:
    """Nothing to choose."""


class Runner:
    """Opens sessions with the model of a folder.

    Attributes
    ----------
    weights_sha256 : str
        Of the checkpoint, known when a session was opened.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.weights_sha256 = ""

    def check(self) -> Readiness:
        """Ready: the card has been read."""
        return Readiness(ok=True)

    def open(self, ctx: JobContext, volume: Volume, params: NninteractiveParams) -> InteractiveSession:
        """Bind the model to a volume."""
        session, self.weights_sha256 = nninteractive_session(ctx, self._folder, volume)
        return session
