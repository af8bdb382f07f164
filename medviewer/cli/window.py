"""``medviewer [PATH…]``: the window. Imports as little as possible before it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medviewer.cli.exit_codes import BAD_INPUT, USAGE


def open_window(words: Sequence[str]) -> int:
    """Open the window on the paths that were named; return the exit status."""
    words = [word for n, word in enumerate(words) if word != "--" or "--" in words[:n]]
    unknown = [word for word in words if word.startswith("-") and not Path(word).exists()]
    if unknown:
        sys.stderr.write(f"There is no option {unknown[0]}. `medviewer --help` lists what there is.\n")
        return USAGE
    paths = [Path(word) for word in words]
    for path in paths:
        if not path.exists():
            sys.stderr.write(f"There is nothing at {path}.\n`medviewer --help` lists the commands.\n")
            return BAD_INPUT
    from medviewer.app.bootstrap import build_context, set_up_excepthook, set_up_logging
    from medviewer.ui.run import run

    if TYPE_CHECKING:
        from medviewer.app.context import AppContext
        from medviewer.jobs.runner import Post

    def build(post: Post) -> AppContext:
        app = build_context(post)
        set_up_excepthook(app)
        return app

    set_up_logging()
    return run(build, paths)
