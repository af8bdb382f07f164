"""Answers clicks with a network: the interactive task of every model whose card names the runner ``click``."""

from __future__ import annotations

from dataclasses import dataclass

from medviewer.api import InteractiveSession, JobContext, Volume
from medviewer.api.inference import click_session
from mv_models.model_runner import ModelRunner


@dataclass(frozen=True, slots=True)
class ClickParams:
    """Nothing to choose."""


class Runner(ModelRunner):
    """Opens sessions with the model of a folder."""

    def open(self, ctx: JobContext, volume: Volume, params: ClickParams) -> InteractiveSession:
        """Bind the model to a volume."""
        return click_session(ctx, self._folder, volume)
