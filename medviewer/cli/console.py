"""Where a command writes: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from medviewer.cli.exit_codes import INTERRUPTED, exit_code
from medviewer.core.errors import MedViewerError
from medviewer.core.shown_text import visible


class CommandEnded(Exception):
    """Ends a command with an exit status, after what had to be said was said."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Output:
    """The two streams of one command.

    Parameters
    ----------
    as_json : bool
        Standard output gets one JSON value and nothing else.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.notes = Console(stderr=True, highlight=False, markup=False)
        # A pipe has no width; do not fold what another program will read.
        self.tables = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 240)

    def result(self, value: Any) -> None:
        """Write the JSON result; ASCII only, so that no terminal and no pipe can garble it."""
        if self.as_json:
            sys.stdout.write(json.dumps(value, indent=2) + "\n")
            sys.stdout.flush()

    def show(self, *things: object) -> None:
        """Write for people to standard output; nothing with ``--json``."""
        if not self.as_json:
            plain = [visible(thing) if isinstance(thing, str) else thing for thing in things]
            self.tables.print(*plain, soft_wrap=True)

    def note(self, text: str) -> None:
        """Write a line to standard error."""
        self.notes.print(visible(text), soft_wrap=True)

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Turn refusals inside the block into a sentence, a hint and an exit status."""
        try:
            yield
        except MedViewerError as error:
            self.refuse(error)
            raise CommandEnded(exit_code(error)) from error
        except KeyboardInterrupt as error:
            self.note("Stopped.")
            raise CommandEnded(INTERRUPTED) from error

    def refuse(self, error: MedViewerError) -> None:
        """Say what was refused and what to do."""
        self.note(f"{error.text} [{error.code}]")
        if error.hint:
            self.note(error.hint)
        self.result({"error": {"code": error.code, "text": error.text, "hint": error.hint}})


class ProgressBar:
    """A `JobContext` that shows progress on standard error: a bar on a terminal, otherwise a line for each step."""

    def __init__(self, output: Output, title: str, device: str = "auto") -> None:
        self.device = device
        self._output = output
        self._title = title
        self._bar: Progress | None = None
        self._last = ""

    def __enter__(self) -> Self:
        if self._output.notes.is_terminal:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TaskProgressColumn(),
                TimeElapsedColumn(),
            )
            self._bar = Progress(*columns, console=self._output.notes, transient=True)
            self._bar.start()
            self._bar.add_task(self._title, total=1.0)
        else:
            self._output.note(f"{self._title} …")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def step(self, title: str) -> None:
        """Begin a part of the work."""
        self._title = title
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], description=title)
        else:
            self._output.note(f"{title} …")

    def progress(self, fraction: float | None, text: str = "") -> None:
        """Show how far it is."""
        if self._bar is not None:
            description = f"{self._title}: {text}" if text else self._title
            self._bar.update(self._bar.task_ids[0], completed=fraction, description=description)

    def check_cancelled(self) -> None:
        """Do nothing: Ctrl+C interrupts the command itself."""
