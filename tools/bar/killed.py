"""The program that is killed: random work with a journal, and a word on standard output after every step."""

from __future__ import annotations

import itertools
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from medviewer.app.documents import load_workspace
from medviewer.core.segmentation import Segment
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.export.case import cases_of
from medviewer.export.exporter import run_export
from medviewer.io.journal import Journal
from medviewer.io.journal_short import write_short
from medviewer.io.snapshot import take_snapshot
from medviewer.io.workspace_file import write_workspace
from medviewer.jobs.job import NullContext
from medviewer.jobs.worker import WorkerProcess
from tests.editing_moves import GRID, World, random_moves
from tools.bar.editing import journaled

FORMATS: Final = ("nifti", "nnunet")
#: What is exported and opened; large enough for a kill to come in the middle.
_SHAPE = (40, 128, 128)


class Program:
    """A world, its journal, and what a phase does besides drawing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = World()
        self.journal: Journal = journaled(self.world, folder)

    def save(self) -> None:
        """Save over the file of before."""
        path, snapshot = self.folder / "work.mvw", take_snapshot(self.world.workspace)
        at = self.journal.begin_save()
        self.journal.append_saving(path, snapshot.save_id, at)
        write_workspace(path, snapshot)
        self.journal.append_saved(path, snapshot.save_id, at)

    def make_short(self) -> None:
        """Make the journal short."""
        mark, snapshot = self.journal.mark(None, ""), take_snapshot(self.world.workspace)
        journal = self.journal
        journal.switch_to(write_short(journal.path, mark, snapshot, lambda: journal.nbytes, lambda: False))

    def export(self, n: int) -> None:
        """Export a data set to a new folder."""
        run_export(NullContext(), FORMATS[n % 2], cases_of(large()), self.folder / "out" / str(n))

    def open(self, decode: WorkerProcess) -> None:
        """Open what lies in a file."""
        load_workspace(NullContext(), self.folder / "given" / "large.mvw", decode)


def large() -> Workspace:
    """Return a workspace that takes a while to export and to open."""
    workspace = Workspace()
    image = np.random.default_rng(0).integers(0, 1000, _SHAPE).astype(np.int16)
    grid = type(GRID)(_SHAPE[::-1], (1.0, 1.0, 2.0))
    workspace.add_volume(Volume(image, grid, "CT", "CT", "HU", id="large"))
    segmentation = workspace.segmentation("large")
    segmentation.put_group(segmentation.new_group("Result", (image > 500).astype(np.uint16)))
    segmentation.put_segment(Segment(1, "Large"))
    return workspace


def work(folder: Path, phase: str, seed: int) -> None:
    """Work until killed; `phase` says what is done most."""
    rng = random.Random(seed)
    program = Program(folder)
    more = {"stroke": ("paint",) * 20, "undo": ("undo", "redo") * 10}.get(phase, ("undo", "redo"))
    besides = _besides(program, phase)
    print("ready", flush=True)
    for n in itertools.count():
        (move,) = random_moves(rng, 1, *more)
        program.world.do(move)
        print(program.world.digest(), flush=True)
        besides(n)


def _besides(program: Program, phase: str) -> Callable[[int], None]:
    """Return what is done after each step; what it needs is there before the first."""
    if phase == "open":
        (program.folder / "given").mkdir()
        write_workspace(program.folder / "given" / "large.mvw", take_snapshot(large()))
        worker = WorkerProcess("decode")
        return lambda n: program.open(worker)
    if phase == "export":
        large()
        return program.export

    def short(n: int) -> None:
        if not program.world.history.can_redo:
            program.make_short()

    def some(n: int) -> None:
        if n % 10 == 9:
            program.save()
        if n % 10 == 4:
            short(n)

    acts: dict[str, Callable[[int], None]] = {
        "save": lambda n: program.save(),
        "short": short,
        "mixed": some,
        "idle": lambda n: time.sleep(60 if n == 5 else 0),
    }
    return acts.get(phase, lambda n: None)


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
