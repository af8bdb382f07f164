"""Answers clicks with a network: the interactive task of every model whose card names the runner ``click``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medviewer.api import InteractiveSession, JobContext, Readiness, Volume
from medviewer.api.inference import click_session, read_card


@dataclass(frozen=True, slots=True)
class ClickParams:
    """Nothing to choose."""


class Runner:
    """Opens sessions with the model of a folder.

    Attributes
    ----------
    weights_sha256 : str
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.weights_sha256 = read_card(folder).weights_sha256

    def check(self) -> Readiness:
        """Ready: the folder has been read."""
        return Readiness(ok=True)

    def open(self, ctx: JobContext, volume: Volume, params: ClickParams) -> InteractiveSession:
        """Bind the model to a volume."""
        return click_session(ctx, self._folder, volume)
