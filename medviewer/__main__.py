"""The program's entry: a command, the window, or a worker process of the frozen program."""

from __future__ import annotations

import sys
from collections.abc import Sequence

#: Words that are commands; everything else names a path for the window (write ``./info`` for a folder named info).
COMMANDS = (
    "info", "tasks", "analyze", "export", "statistics", "doctor", "demo", "pacs", "run", "train", "evaluate", "models",
)  # fmt: skip
_HELP = ("-h", "--help", "--version")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.

    Returns
    -------
    int
        Exit status: 0 fine, 2 wrong usage, 3 bad input, 4 a task failed.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["--worker"]:
        from medviewer.jobs.worker_main import main as serve

        serve(words[1:])
        return 0
    if words and (words[0] in COMMANDS or words[0] in _HELP):
        from medviewer.cli.commands import run_command

        return run_command(words)
    from medviewer.cli.window import open_window

    return open_window(words)


if __name__ == "__main__":
    sys.exit(main())
