"""The bar that reading and receiving must reach: rows that measure themselves, one module of this folder per area.

A row is a function with a decorator::

    @row("R-21", "bombs are refused")
    def bombs_are_refused(bench: Bench) -> Figure: ...

A new row is a new function, or a new module; nothing else changes.
"""

from __future__ import annotations

import importlib
import pkgutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from medviewer.io.decode_worker import new_decode_worker
from medviewer.jobs.job import NullContext
from medviewer.jobs.worker import WorkerProcess
from tests.outcomes import Outcome, outcomes

CTX: Final = NullContext()
MB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Figure:
    """What a row measured: `right` is the same on every machine, `fast` depends on what else this one does."""

    text: str
    right: bool
    fast: bool = True


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table."""

    id: str
    what: str
    figure: str
    right: bool
    fast: bool = True

    @property
    def passed(self) -> bool:
        """Whether the bar is reached."""
        return self.right and self.fast


@dataclass(slots=True)
class Bench:
    """What the measurements share.

    Attributes
    ----------
    folder : Path
        Empty; gone afterwards.
    worker : WorkerProcess
        Decodes.
    corpora : tuple of Path
        Real files, unpacked, one each.
    mutants : int
        Of each good file.
    sample : bool
        Whether the bar is only sampled, in the time of a test run; then a long row takes fewer cases.
    report : Path or None
        Where to write what became of each real file.
    """

    folder: Path
    worker: WorkerProcess
    corpora: tuple[Path, ...]
    mutants: int
    sample: bool = False
    report: Path | None = None
    opened: dict[Path, list[Outcome]] = field(default_factory=dict)
    crashes: list[str] = field(default_factory=list)

    def ask(self, path: Path) -> list[Outcome]:
        """Return what becomes of a file; what is no answer is kept as a crash."""
        try:
            return outcomes(path, self.worker)
        # The very thing that is looked for: an error that no user could read.
        except Exception as error:  # noqa: BLE001
            self.crashes.append(f"{path.name}: {type(error).__name__} {error}"[:120])
            return []


Measurement = Callable[[Bench], Figure]
_rows: dict[str, tuple[str, Measurement]] = {}


def row(name: str, what: str) -> Callable[[Measurement], Measurement]:
    """Register a function as what measures a line of the bar."""

    def register(measurement: Measurement) -> Measurement:
        if name in _rows:
            raise ValueError(f"{name} is measured twice")
        _rows[name] = (what, measurement)
        return measurement

    return register


def rows() -> dict[str, tuple[str, Measurement]]:
    """Return every row in the order of their ids: id -> (what it says, what measures it)."""
    import tools.bar as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return dict(sorted(_rows.items()))


def measure(
    data: Path,
    folder: Path,
    *,
    mutants: int,
    archives: str = "*.zip",
    every: int = 1,
    only: str = "",
    sample: bool = False,
    report: Path | None = None,
) -> Iterator[Line]:
    """Measure the bar line by line.

    Parameters
    ----------
    data : Path
        Folder of zipped real studies; may be absent.
    folder : Path
        Empty, to work in.
    mutants : int
        Of each good file.
    archives : str
        Which of the zips, as a pattern.
    every : int
        Take every n-th real file.
    only : str
        Ids of rows, separated by commas; empty for all. R-01 is always measured: others use what it opened.
    sample, report
        See `Bench`.
    """
    corpora: list[Path] = []
    for archive in sorted(data.glob(archives)):
        target = folder / archive.stem
        with zipfile.ZipFile(archive) as opened:
            members = [m for m in opened.infolist() if not m.is_dir() and not Path(m.filename).is_absolute()]
            corpora += [Path(opened.extract(member, target)) for member in members[::every]]
    wanted = {"R-01", *only.split(",")} if only else set(rows())
    worker = new_decode_worker()
    worker.start()
    try:
        bench = Bench(folder, worker, tuple(corpora), mutants, sample, report)
        for name, (what, measurement) in rows().items():
            if name in wanted:
                figure = measurement(bench)
                yield Line(name, what, figure.text, figure.right, figure.fast)
    finally:
        worker.close()
