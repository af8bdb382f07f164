"""A saved workspace, opened for a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medviewer.app.documents import load_workspace
from medviewer.cli.console import Output, ProgressBar
from medviewer.core.errors import InputError
from medviewer.core.workspace import Workspace
from medviewer.io.archive import close_all
from medviewer.io.decode_worker import new_decode_worker


@contextmanager
def opened_workspace(output: Output, path: Path) -> Iterator[tuple[ProgressBar, Workspace]]:
    """Open a workspace and its images, with a progress bar that goes on for what is done with them.

    Raises
    ------
    MedViewerError
        There is no such file, or it or its images cannot be opened.
    """
    if not path.is_file():
        raise InputError(
            f"There is no workspace {path}.", hint="`medviewer analyze` writes one.", code="E_NO_WORKSPACE"
        )
    decode = new_decode_worker()
    try:
        with ProgressBar(output, f"Opening {path.name}", "cpu") as bar:
            yield bar, load_workspace(bar, path, decode)
    finally:
        decode.close()
        close_all()
