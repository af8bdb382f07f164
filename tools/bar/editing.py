"""What was drawn is never lost: killed programs, failing disks, power cuts, random work."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import numpy as np

from medviewer.app.documents import replay_entry
from medviewer.core.errors import WorkspaceError
from medviewer.core.record import StepRecord
from medviewer.export.case import cases_of
from medviewer.export.exporter import run_export
from medviewer.io.journal import Journal, JournalContent, JournalHeader, discard_journal, find_journals, read_journal
from medviewer.io.snapshot import restore_snapshot, take_snapshot
from medviewer.io.workspace_file import read_save_id, read_workspace, write_workspace
from medviewer.jobs.job import NullContext
from tests.editing_moves import World, random_moves
from tests.failing_disk import FailingDisk
from tools.bar.bar import Bench, Figure, row

#: What is being done when the program is killed, and how often of 200.
_PHASES: Final = {"stroke": 40, "undo": 20, "save": 30, "short": 20, "export": 40, "open": 20, "mixed": 20, "idle": 10}
_FSYNC_MS: Final = 5.0


def journaled(world: World, folder: Path) -> Journal:
    """Write a journal of everything that happens in a world."""
    journal = Journal.create(folder, JournalHeader(workspace_id="w"))
    world.history.pushed.connect(lambda step: journal.append_step(step.record()))
    world.history.undone.connect(lambda step: journal.append_undo(step.record))
    world.history.redone.connect(lambda step: journal.append_redo(step.record))
    return journal


def replayed(content: JournalContent) -> World:
    """Return a world after every entry of a journal, on the saved file it builds on, if it is still there."""
    world = World()
    base, entries = content.replay_from(read_save_id)
    if base.inside or base.path is not None:
        restore_snapshot(world.workspace, base.state or read_workspace(base.path))  # type: ignore[arg-type]
    for entry in entries:
        replay_entry(world.workspace, world.history, entry, set())
    return world


@row("R-12", "a killed program loses at most the stroke in the hand")
def killed_programs(bench: Bench) -> Figure:
    """Kill a program at random points; what it had told to be done is found again, and no saved file is damaged."""
    rng = random.Random(12)
    kept = whole = clean = runs = 0
    slowest = 0.0
    for phase, count in _PHASES.items():
        for n in range(1 if bench.sample else count):
            folder = bench.folder / f"kill-{phase}-{n}"
            folder.mkdir()
            told = _killed(folder, phase, rng.randrange(1 << 30), rng.uniform(0.0, 0.4))
            started = time.perf_counter()
            kept += _found_again(folder, told)
            slowest = max(slowest, time.perf_counter() - started)
            whole += all(read_workspace(path).id for path in folder.rglob("*.mvw"))
            clean += _clean(folder)
            runs += 1
    figure = (
        f"{kept}/{runs} lost nothing that was done; {runs - whole}/{runs} saved files damaged; "
        f"{clean}/{runs} left nothing half done behind; found in {slowest:.2f} s"
    )
    return Figure(figure, kept == whole == clean == runs, slowest <= 3)


def _clean(folder: Path) -> bool:
    """Whether every export is whole where it should be, and nothing lies about after the next start."""
    whole = not (folder / "out").is_dir() or _whole_exports(folder / "out")
    for info in find_journals(folder):
        discard_journal(info.path)
    return whole and not list(folder.glob("*.mvj*"))


def _killed(folder: Path, phase: str, seed: int, delay_s: float) -> list[str]:
    """Return what a program said it had done before it was killed: the state after each step, as a hash."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-W", "ignore", "-m", "tools.bar.killed", str(folder), phase, str(seed)]
    program = subprocess.Popen(
        command, stdout=subprocess.PIPE, env=environment, cwd=Path(__file__).parents[2], text=True
    )
    assert program.stdout is not None
    program.stdout.readline()
    time.sleep(delay_s)
    program.kill()
    told = program.stdout.read().split("\n")[:-1]
    program.wait()
    program.stdout.close()
    return told


def _found_again(folder: Path, told: list[str]) -> bool:
    """Whether the journal gives the last state that was told, or the one after it, which it had no time to tell."""
    journals = list(folder.glob("*.mvj"))
    if len(journals) != 1:
        return False
    world = replayed(read_journal(journals[0]))
    state = world.digest()
    if not told or state == told[-1]:
        return True
    content = read_journal(journals[0])
    shorter = JournalContent(content.header, content.entries[:-1], content.bases, 0, 0)
    return bool(content.entries) and replayed(shorter).digest() == told[-1]


def _whole_exports(folder: Path) -> bool:
    """Whether every export has all the files of one that was not killed, and the next removes what was half done."""
    from tools.bar.killed import FORMATS, large

    for format_id in FORMATS:
        run_export(NullContext(), format_id, cases_of(large()), folder / format_id)
    files = {made.name: {p.relative_to(made) for p in made.rglob("*")} for made in folder.iterdir()}
    return all(found in [files[format_id] for format_id in FORMATS] for found in files.values())


@row("R-13", "a disk that fails leaves the old file or the new one")
def failing_disks(bench: Bench) -> Figure:
    """Fail every call to the disk in turn while a workspace is saved over an older one."""
    path = bench.folder / "faults" / "work.mvw"
    path.parent.mkdir()
    old, new = World(), World()
    for world, count in ((old, 5), (new, 12)):
        for move in random_moves(random.Random(13), count):
            world.do(move)
    before, after = take_snapshot(old.workspace), take_snapshot(new.workspace)
    tries = good = told = 0
    for number in (errno.ENOSPC, errno.EIO, errno.EACCES):
        write_workspace(path, before)
        with FailingDisk() as disk:
            disk.number = number
            for _ in disk.tries():
                failed = False
                try:
                    write_workspace(path, after)
                except WorkspaceError as error:
                    failed = True
                    told += bool(error.text and error.hint)
                tries += failed
                whole = read_workspace(path).save_id in (before.save_id, after.save_id)
                good += failed and whole and os.listdir(path.parent) == [path.name]
    return Figure(f"{good}/{tries} failed saves left a whole file and nothing else; {told} told", good == told == tries)


@row("R-14", "power cuts cost the tail of the journal only")
def power_cuts(bench: Bench) -> Figure:
    """Cut, tear and reorder what was not yet synced: what is replayed is always what was done up to some step."""
    rng = random.Random(14)
    world = World()
    journal = journaled(world, bench.folder)
    states = [world.digest()]
    for move in random_moves(rng, 120, "undo", "redo"):
        entries = len(read_journal(journal.path, arrays=False).entries)
        world.do(move)
        if len(read_journal(journal.path, arrays=False).entries) > entries:
            states.append(world.digest())
    good = journal.path.read_bytes()
    journal.close(delete=True)
    head = 400
    cuts = 30 if bench.sample else 1000
    prefixes = 0
    for n in range(cuts):
        path = bench.folder / "cut.mvj"
        path.write_bytes(_damaged(good, head, rng, n))
        content = read_journal(path)
        prefixes += replayed(content).digest() == states[len(content.entries)]
    return Figure(f"{prefixes}/{cuts} damaged journals replayed a prefix of {len(states) - 1} steps", prefixes == cuts)


def _damaged(good: bytes, head: int, rng: random.Random, n: int) -> bytes:
    bad = bytearray(good)
    at = rng.randrange(head, len(good))
    if n % 3 == 0:
        return bytes(bad[:at])
    if n % 3 == 1:
        bad[at : at + 512] = bytes(len(bad[at : at + 512]))
        return bytes(bad)
    other = rng.randrange(head, len(good))
    bad[at : at + 512], bad[other : other + 512] = bad[other : other + 512], bad[at : at + 512]
    return bytes(bad)


@row("R-15", "a step is on the disk before one sees it")
def commits(bench: Bench) -> Figure:
    """Append records as large as those of strokes; each is synced when the call returns."""
    journal = Journal.create(bench.folder, JournalHeader(workspace_id="w"))
    mask = np.packbits(np.hypot(*np.mgrid[-316:316, -316:316]) < 300)
    taken = []
    for n in range(100 if bench.sample else 1000):
        record = StepRecord("voxels", {"n": n}, {"m0": mask})
        started = time.perf_counter()
        journal.append_step(record)
        taken.append((time.perf_counter() - started) * 1000)
    journal.close(delete=True)
    p50, p99 = np.percentile(taken, [50, 99])
    text = f"a stroke of {mask.nbytes // 1000} KB appended and synced in {p50:.2f} ms, p99 {p99:.2f} ms"
    return Figure(text, right=True, fast=bool(p99 <= _FSYNC_MS))


@row("R-16", "undo and redo are exact")
def random_work(bench: Bench) -> Figure:
    """Random work with undo and redo against the states it went through; the journal replays to the same."""
    count = 200 if bench.sample else 10_000
    rng = random.Random(16)
    world = World()
    journal = journaled(world, bench.folder)
    states = [world.digest()]
    wrong = locked = 0
    for move in random_moves(rng, count, "undo", "undo", "redo"):
        drawn = move.kind in ("paint", "erase")
        before = {s.value: world.segmentation.mask(s.value) for s in world.segmentation.segments if drawn and s.locked}
        done = len(world.history.done)
        world.do(move)
        state = world.digest()
        if move.kind not in ("undo", "redo") and len(world.history.done) > done:
            states[done + 1 :] = [state]
        wrong += state != states[len(world.history.done)]
        if drawn:
            locked += any(not np.array_equal(world.segmentation.mask(v), m) for v, m in before.items())
    same = replayed(read_journal(journal.path)).digest() == world.digest()
    journal.close(delete=True)
    kept = len(world.history.done) >= min(20, len(states) - 1)
    figure = f"{count} operations: {wrong} states wrong, {locked} locked segments touched; journal replays: {same}"
    return Figure(figure, wrong == locked == 0 and same and kept)
