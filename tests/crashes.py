"""Programs that end without a word."""

from __future__ import annotations

import os

from medviewer.app.context import AppContext


def crash(app: AppContext) -> None:
    """Let the journal look as if its process were gone."""
    app.journaling.flush()
    journal = app.journaling.journal
    assert journal is not None
    dead = journal.path.with_name(journal.path.name.replace(f".{os.getpid()}.", ".99999999."))
    journal.close(delete=False)
    journal.path.rename(dead)
    app.journaling._journal = None
    # What it still had to tell is told to nobody.
    app.journaling.saved = lambda *_: None  # type: ignore[method-assign]
