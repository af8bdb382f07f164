"""The program that is killed: random work with a journal, and a word on standard output after every step."""

from __future__ import annotations

import itertools
import random
import sys
import time
from pathlib import Path

from medviewer.io.snapshot import take_snapshot
from medviewer.io.workspace_file import write_workspace
from tests.editing_moves import World, random_moves
from tools.bar.editing import journaled


def work(folder: Path, phase: str, seed: int) -> None:
    """Work until killed; `phase` says what is done most."""
    rng = random.Random(seed)
    world = World()
    journal = journaled(world, folder)
    more = {"stroke": ("paint",) * 20, "undo": ("undo", "redo") * 10}.get(phase, ("undo", "redo"))
    print("ready", flush=True)
    for n in itertools.count():
        (move,) = random_moves(rng, 1, *more)
        world.do(move)
        print(world.digest(), flush=True)
        if phase == "save" or (phase == "mixed" and n % 10 == 9):
            path, snapshot = folder / "work.mvw", take_snapshot(world.workspace)
            at = journal.begin_save()
            journal.append_saving(path, snapshot.save_id, at)
            write_workspace(path, snapshot)
            journal.append_saved(path, snapshot.save_id, at)
        if phase == "idle" and n == 5:
            time.sleep(60)


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
