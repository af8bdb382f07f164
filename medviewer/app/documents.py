"""Save, open and recover the workspace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from medviewer.app.positions import first_look
from medviewer.core.errors import InputError, WorkspaceError
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.editing.history import UndoStack
from medviewer.editing.steps import step_from_record
from medviewer.jobs.job import Job, JobContext, JobState, SubContext
from medviewer.jobs.worker import WorkerProcess

if TYPE_CHECKING:
    from medviewer.app.context import AppContext
    from medviewer.io.journal import Journal, JournalInfo
    from medviewer.io.journal_content import JournalBase, JournalEntry
    from medviewer.io.snapshot import WorkspaceSnapshot
    from medviewer.io.volume_ref import VolumeRef


def reopen(ctx: JobContext, ref: VolumeRef, decode: WorkerProcess | None) -> Volume:
    """Open a remembered volume again, under its id.

    Raises
    ------
    InputError
        When its files are gone, or hold another image now.
    """
    from medviewer.io.dicom_scan import scan_paths
    from medviewer.io.reader import open_series

    if ref.series is None:
        return ref.computed()
    series = ref.series
    if not all(path.exists() for path in series.files):
        sources = [path for path in ref.sources if path.exists()]
        studies = scan_paths(ctx, sources) if sources else []
        found = [s for study in studies for s in study.series if s.key == series.key]
        if not found:
            place = ", ".join(str(path) for path in ref.sources) or "the folder it came from"
            raise InputError(
                f"The images of “{ref.name}” are no longer in {place}.",
                hint="Put them back where they were and try again.",
                code="E_MISSING_FILES",
            )
        series = found[0]
    volume = replace(open_series(ctx, series, decode), id=ref.id)
    if not ref.fits(volume):
        raise InputError(
            f"The images of “{ref.name}” have changed since the work was saved.",
            hint="Put the original images back.",
            code="E_GEOMETRY",
        )
    return ref.as_shown(volume)


def reopen_all(ctx: JobContext, refs: Sequence[VolumeRef], decode: WorkerProcess | None) -> dict[str, Volume]:
    """Open remembered volumes again; id -> volume."""
    return {
        ref.id: reopen(SubContext(ctx, n / len(refs), (n + 1) / len(refs)), ref, decode) for n, ref in enumerate(refs)
    }


def save_workspace(path: Path, workspace: Workspace, sources: Mapping[str, tuple[Path, ...]]) -> str:
    """Save a workspace now; return the id of the saved state. What the window does with a job, in one call."""
    from medviewer.io.snapshot import take_snapshot
    from medviewer.io.workspace_file import write_workspace

    snapshot = take_snapshot(workspace, sources)
    write_workspace(path, snapshot)
    return snapshot.save_id


def load_workspace(ctx: JobContext, path: Path, decode: WorkerProcess | None = None) -> Workspace:
    """Open a saved workspace with its volumes, without a window."""
    from medviewer.io.snapshot import restore_snapshot
    from medviewer.io.workspace_file import read_workspace

    snapshot = read_workspace(path)
    workspace = Workspace()
    for volume in reopen_all(ctx, snapshot.volumes, decode).values():
        workspace.add_volume(volume)
    restore_snapshot(workspace, snapshot)
    return workspace


@dataclass(frozen=True, slots=True, eq=False)
class _Recovered:
    """What a recovery needs on the main thread."""

    journal: Journal
    base: JournalBase
    snapshot: WorkspaceSnapshot | None
    volumes: Mapping[str, Volume]
    sources: Mapping[str, tuple[Path, ...]]
    entries: Sequence[JournalEntry]
    lost_bytes: int


class Documents:
    """The saved file of the workspace, and what the journals of crashed sessions hold."""

    def __init__(self, app: AppContext) -> None:
        self._app = app
        #: Where the workspace was saved or opened last; None for new work.
        self.path: Path | None = None
        #: What that file held then; empty for new work.
        self.save_id = ""
        self._saving: Job | None = None

    # ---- save

    @property
    def is_saving(self) -> bool:
        """Whether the file that is being written has not been read back yet."""
        return self._saving is not None and not self._saving.state.is_final

    def save(self, path: Path) -> Job:
        """Save everything; success is reported after the file was read back. Work can go on meanwhile.

        The file that is open is not written over when another window has saved it since.
        """
        from medviewer.io.snapshot import take_snapshot

        app = self._app
        app.router.finish()
        sources = {volume.id: app.studies.sources(volume) for volume in app.workspace.volumes}
        snapshot = take_snapshot(app.workspace, sources)
        at = app.journaling.begin_save(path, snapshot.save_id)
        app.workspace.dirty = False
        known = self.save_id if path == self.path else ""

        def work(ctx: JobContext) -> None:
            from medviewer.io.workspace_file import read_save_id, write_workspace

            if known and path.exists() and read_save_id(path) != known:
                raise WorkspaceError(
                    f"{path.name} has been saved by another window since it was opened here; nothing was written over.",
                    hint="Save under another name, then compare the two.",
                    code="E_CHANGED",
                )
            write_workspace(path, snapshot, ctx)

        def done(job: Job) -> None:
            if job.state is JobState.SUCCESS:
                app.journaling.saved(path, snapshot.save_id, at)
                self.path, self.save_id = path, snapshot.save_id
                app.library.labelled(app.workspace.volumes)
                app.settings.add_recent(path)
                app.settings.save()
                app.messages.add("info", f"Saved {path.name}.", "Read back and compared.")
                return
            app.journaling.not_saved()
            app.workspace.dirty = True
            if job.error is not None:
                app.messages.error(job.error, f"Cannot save {path.name}")

        self._saving = app.jobs.submit(f"Saving {path.name}", work, lane="io", done=done)
        return self._saving

    # ---- open

    def open(self, path: Path) -> Job:
        """Open a saved workspace in the place of what is open (the window asks first when that is unsaved)."""

        def work(ctx: JobContext) -> tuple[WorkspaceSnapshot, dict[str, Volume]]:
            from medviewer.io.workspace_file import read_workspace

            snapshot = read_workspace(path)
            return snapshot, reopen_all(ctx, snapshot.volumes, self._app.decode_worker)

        def done(job: Job) -> None:
            if job.error is not None:
                self._app.messages.error(job.error, f"Cannot open {path.name}")
            if job.state is JobState.SUCCESS and isinstance(job.result, tuple):
                snapshot, volumes = job.result
                self._restore(snapshot, volumes, {ref.id: ref.sources for ref in snapshot.volumes})
                self.path, self.save_id = path, snapshot.save_id
                self._warn_of_another_window(path)
                self._app.journaling.start(path, snapshot.save_id)
                self._app.settings.add_recent(path)
                self._app.messages.add("info", f"Opened {path.name}.")

        return self._app.jobs.submit(f"Opening {path.name}", work, lane="io", done=done)

    def _warn_of_another_window(self, path: Path) -> None:
        from medviewer.io.journal import is_open_elsewhere

        folder = self._app.journaling.folder
        if folder is not None and is_open_elsewhere(folder, path):
            text = f"{path.name} is open in another window too."
            self._app.messages.add(
                "warning", text, "Work on it in one of them; the first to save wins.", "W_OPEN_TWICE"
            )

    def clear(self) -> None:
        """Close everything that is open."""
        app = self._app
        app.router.activate("")
        with app.journaling.paused():
            for volume in app.workspace.volumes:
                app.workspace.remove_volume(volume.id)
        app.journaling.drop(delete=True)
        app.history.clear()
        app.workspace.dirty = False
        self.path, self.save_id = None, ""

    def close_volume(self, volume_id: str) -> None:
        """Close one volume with its segments and findings; undo steps name volumes, so the history ends here."""
        self._app.router.activate("")
        self._app.workspace.remove_volume(volume_id)
        self._app.history.clear()

    def _restore(
        self,
        snapshot: WorkspaceSnapshot | None,
        volumes: Mapping[str, Volume],
        sources: Mapping[str, tuple[Path, ...]],
    ) -> None:
        from medviewer.io.snapshot import restore_snapshot

        self.clear()
        with self._app.journaling.paused():
            for volume in volumes.values():
                self._app.workspace.add_volume(volume)
                self._app.studies.remember(volume, sources.get(volume.id, ()))
            if snapshot is not None:
                restore_snapshot(self._app.workspace, snapshot)
        self._app.workspace.dirty = False

    # ---- recover

    def recoverable(self) -> tuple[JournalInfo, ...]:
        """Return what crashed sessions left, newest first."""
        from medviewer.io.journal import find_journals

        folder = self._app.journaling.folder
        return tuple(find_journals(folder)) if folder is not None else ()

    def discard(self, info: JournalInfo) -> None:
        """Throw away what a crashed session left."""
        from medviewer.io.journal import discard_journal

        discard_journal(info.path)

    def recover(self, info: JournalInfo) -> Job:
        """Open what a crashed session had open and do its steps again."""

        def done(job: Job) -> None:
            if job.error is not None:
                self._app.messages.error(job.error, "Cannot recover the unsaved work")
            if isinstance(job.result, _Recovered) and job.state is JobState.SUCCESS:
                self._replay(job.result)

        return self._app.jobs.submit(
            f"Recovering {info.title}", lambda ctx: self._take(ctx, info.path), lane="io", done=done
        )

    def _take(self, ctx: JobContext, path: Path) -> _Recovered:
        """Read a journal and open its volumes; the journal goes back to where it was when that fails."""
        from medviewer.io.journal import Journal
        from medviewer.io.workspace_file import read_save_id, read_workspace

        journal, content = Journal.take_over(path)
        try:
            base, entries = content.replay_from(read_save_id)
            snapshot = base.state
            if base.path is not None and not base.inside:
                snapshot = read_workspace(base.path)
            refs = {ref.id: ref for ref in (snapshot.volumes if snapshot else ())}
            refs |= {entry.volume.id: entry.volume for entry in entries if entry.volume is not None}
            closed = {entry.volume_id for entry in entries if entry.kind == "closed"}
            needed = [ref for ref in refs.values() if ref.id not in closed]
            volumes = reopen_all(ctx, needed, self._app.decode_worker)
        except BaseException:
            journal.give_back()
            raise
        sources = {ref.id: ref.sources for ref in needed}
        return _Recovered(journal, base, snapshot, volumes, sources, entries, content.lost_bytes)

    def _replay(self, found: _Recovered) -> None:
        app = self._app
        self._restore(found.snapshot, found.volumes, found.sources)
        closed = {entry.volume_id for entry in found.entries if entry.kind == "closed"}
        steps = found.base.steps
        with app.journaling.paused():
            try:
                for entry in found.entries:
                    steps += replay_entry(app.workspace, app.history, entry, closed)
            except WorkspaceError as error:
                app.messages.error(error)
        app.journaling.adopt(found.journal)
        self.path, self.save_id = found.base.path, found.base.save_id
        app.workspace.dirty = True
        if app.workspace.active is None and app.workspace.volumes:
            self._look_at(app.workspace.volumes[-1])
        lost = " The stroke in the hand was lost." if found.lost_bytes else ""
        app.messages.add("info", f"Recovered {steps} steps.{lost}", "Save the workspace to keep them.")

    def _look_at(self, volume: Volume) -> None:
        self._app.workspace.activate(volume.id)
        self._app.workspace.view.crosshair_lps = first_look(volume)


def replay_entry(workspace: Workspace, history: UndoStack, entry: JournalEntry, closed: set[str]) -> int:
    """Do one entry of a journal again; return 1 for a step. Steps on a volume that was closed later are left out."""
    if entry.kind == "run" and entry.run is not None:
        workspace.add_run(entry.run)
    if entry.kind == "closed":
        history.clear()
    if entry.kind not in ("push", "undo", "redo", "kept"):
        return 0
    if entry.step is not None and _volume_of(entry.step.meta) in closed:
        return 0
    if entry.kind == "kept" and entry.step is not None:
        history.adopt(step_from_record(workspace, entry.step))
        return 0
    if entry.kind == "push" and entry.step is not None:
        history.do(step_from_record(workspace, entry.step))
    elif entry.kind == "undo":
        if not history.can_undo and entry.step is not None:
            history.adopt(step_from_record(workspace, entry.step))
        history.undo()
    elif history.can_redo:
        history.redo()
    elif entry.step is not None:
        step = step_from_record(workspace, entry.step)
        step.redo()
        history.adopt(step)
    return 1


def _volume_of(meta: Mapping[str, object]) -> str:
    """Return the volume a recorded step belongs to, or empty."""
    steps = meta.get("steps")
    if isinstance(steps, list) and steps and isinstance(steps[0], dict):
        return _volume_of(steps[0].get("meta", {}))
    return str(meta.get("volume", ""))
