"""Every committed step goes to the disk before the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from medviewer.app.shortening import Shortening
from medviewer.core.errors import MedViewerError
from medviewer.core.provenance import Provenance
from medviewer.core.record import StepRecord
from medviewer.core.volume import Volume
from medviewer.editing.history import UndoStep
from medviewer.io.journal import Journal, JournalHeader
from medviewer.io.volume_ref import VolumeRef

if TYPE_CHECKING:
    from medviewer.app.context import AppContext

#: Bigger records (results, not strokes) are compressed and written by a thread; the next step waits for it.
BIG_RECORD_BYTES = 1 << 20


class Journaling:
    """Listens to history and workspace, and writes the journal.

    Parameters
    ----------
    app : AppContext
    folder : Path or None
        Where journals lie; None keeps none.
    """

    def __init__(self, app: AppContext, folder: Path | None) -> None:
        self._app = app
        self._folder = folder
        self._journal: Journal | None = None
        self._paused = False
        self._failed = False
        self._known: set[str] = set()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._pending: Future[None] | None = None
        self._saving = False
        self._shortening = Shortening(app)
        app.history.pushed.connect(self._pushed)
        app.history.undone.connect(self._undone)
        app.history.redone.connect(self._redone)
        app.workspace.volume_removed.connect(self._closed)
        app.workspace.run_added.connect(self._ran)

    @property
    def folder(self) -> Path | None:
        """Where journals lie."""
        return self._folder

    @property
    def journal(self) -> Journal | None:
        """The open journal; None before the first step."""
        return self._journal

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Write nothing, while a saved workspace or a journal is being replayed."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def adopt(self, journal: Journal) -> None:
        """Go on writing a journal that was taken over, or one with a base."""
        self.drop(delete=False)
        self._journal = journal
        self._known = self._open_ids()

    def start(self, base_path: Path | None = None, base_save_id: str = "") -> None:
        """Begin a journal for the workspace as it is: what is in it comes from the base, or is only volumes."""
        if self._folder is None:
            return
        self.drop(delete=True)
        header = JournalHeader(
            workspace_id=self._app.workspace.id,
            title=self._title(),
            base_path=base_path,
            base_save_id=base_save_id,
        )
        volumes = [] if base_path else [self._ref(volume) for volume in self._app.workspace.volumes]
        self._guard(lambda: self._create(header, volumes))

    def _create(self, header: JournalHeader, volumes: list[VolumeRef]) -> None:
        assert self._folder is not None
        self._journal = Journal.create(self._folder, header, volumes)
        self._known = {ref.id for ref in volumes} if header.base_path is None else self._open_ids()

    def begin_save(self, path: Path, save_id: str) -> int:
        """Note that a snapshot was taken just now and is about to be written."""
        self.flush()
        journal = self._journal
        if journal is None:
            return 0
        self._saving = True
        at = journal.begin_save()
        self._write(lambda: journal.append_saving(path, save_id, at))
        return at

    def saved(self, path: Path, save_id: str, at: int) -> None:
        """Note that the snapshot is on the disk."""
        self._saving = False
        if self._journal is None:
            self.start(path, save_id)
            return
        journal = self._journal
        self._write(lambda: journal.append_saved(path, save_id, at))

    def not_saved(self) -> None:
        """Note that the snapshot did not get there."""
        self._saving = False

    def is_settled(self, journal: Journal) -> bool:
        """Whether a journal is the open one, has everything that was done, and no save is on its way."""
        written = self._pending is None or self._pending.done()
        return journal is self._journal and written and not self._saving and not self._paused

    def flush(self) -> None:
        """Wait for a big record that is still being written."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self._guard(pending.result)

    def drop(self, *, delete: bool) -> None:
        """Close the journal; `delete` removes it, because its work is saved or not wanted."""
        self.flush()
        self._shortening.stop()
        if self._journal is not None:
            self._journal.close(delete)
            self._journal = None

    def close(self, *, delete: bool) -> None:
        """End journaling."""
        self.drop(delete=delete)
        self._writer.shutdown()
        self._shortening.close()

    # ---- what happened

    def _pushed(self, step: UndoStep) -> None:
        self._app.workspace.dirty = True
        self._step(lambda journal, record: journal.append_step(record), step.record)

    def _undone(self, step: UndoStep) -> None:
        self._app.workspace.dirty = True
        self._entry(lambda journal: journal.append_undo(step.record))

    def _redone(self, step: UndoStep) -> None:
        self._app.workspace.dirty = True
        self._entry(lambda journal: journal.append_redo(step.record))

    def _closed(self, volume: Volume) -> None:
        if self._journal is not None and volume.id in self._known:
            self._known.discard(volume.id)
            self._entry(lambda journal: journal.append_closed(volume.id))

    def _ran(self, run: Provenance) -> None:
        self._entry(lambda journal: journal.append_run(run))

    def _entry(self, write: Callable[[Journal], None]) -> None:
        journal = self._ready()
        if journal is not None:
            self._write(lambda: write(journal))

    def _step(self, write: Callable[[Journal, StepRecord], None], make: Callable[[], StepRecord]) -> None:
        journal = self._ready()
        if journal is None:
            return
        record = make()
        if sum(array.nbytes for array in record.arrays.values()) < BIG_RECORD_BYTES:
            self._write(lambda: write(journal, record))
        else:
            self.flush()
            self._pending = self._writer.submit(write, journal, record)
        self._shortening.look(journal)

    def _ready(self) -> Journal | None:
        """Return the journal, begun at the first step, with every open volume in it."""
        if self._paused or self._folder is None:
            return None
        if self._journal is None:
            self.start()
        journal = self._journal
        if journal is not None:
            for volume in self._app.workspace.volumes:
                if volume.id not in self._known:
                    self._known.add(volume.id)
                    self._write(partial(journal.append_volume, self._ref(volume)))
        return journal

    def _write(self, write: Callable[[], None]) -> None:
        self.flush()
        self._guard(write)

    def _guard(self, write: Callable[[], None]) -> None:
        """Work goes on when the disk does not; the user is told once, and again after it worked in between."""
        try:
            write()
            self._failed = False
        except MedViewerError as error:
            if not self._failed:
                self._failed = True
                self._app.messages.error(error, "Your work cannot be protected against a crash")

    def _ref(self, volume: Volume) -> VolumeRef:
        return VolumeRef.of(volume, self._app.studies.sources(volume))

    def _open_ids(self) -> set[str]:
        return {volume.id for volume in self._app.workspace.volumes}

    def _title(self) -> str:
        """Name the work without naming the patient."""
        active = self._app.workspace.active or next(iter(self._app.workspace.volumes), None)
        if active is None:
            return "Empty workspace"
        size = "×".join(str(n) for n in active.geometry.size)
        description = active.series.description if active.series else active.name
        parts = [active.modality, description or active.body_part_examined.lower(), size]
        return " · ".join(part for part in parts if part)
