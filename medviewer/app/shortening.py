"""A journal that has grown long is made short in the background."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from medviewer.core.errors import MedViewerError
from medviewer.io.snapshot import take_snapshot

if TYPE_CHECKING:
    from medviewer.app.context import AppContext
    from medviewer.io.journal import Journal
    from medviewer.io.journal_short import Mark, ShortJournal
    from medviewer.io.snapshot import WorkspaceSnapshot

log = logging.getLogger(__name__)
#: A journal is made short above this, or above four times what it held when it was made short last.
LONG_BYTES = 256 << 20


class Shortening:
    """Makes the open journal short: the state is taken and the switch made on the main thread, the rest by a thread."""

    def __init__(self, app: AppContext) -> None:
        self._app = app
        self._long = LONG_BYTES
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="journal-short")
        self._running: Future[ShortJournal] | None = None
        self._stop = threading.Event()
        self._due = False

    def look(self, journal: Journal) -> None:
        """Begin when the journal is long; not at once, for a step may be one of several that belong together."""
        if journal.nbytes > self._long and self._running is None and not self._due:
            self._due = True
            self._app.post(partial(self._begin, journal))

    def _begin(self, journal: Journal) -> None:
        self._due = False
        app = self._app
        # What is in the hand is in the voxels and no step yet; what was undone would be lost. The next step asks again.
        if not app.journaling.is_settled(journal) or app.router.in_hand or app.history.can_redo:
            return
        documents = app.documents
        mark = journal.mark(documents.path, documents.save_id)
        snapshot = take_snapshot(app.workspace, {v.id: app.studies.sources(v) for v in app.workspace.volumes})
        self._stop = threading.Event()
        self._running = self._worker.submit(_write, journal, mark, snapshot, self._stop.is_set)
        self._running.add_done_callback(lambda running: app.post(partial(self._switch, journal, running)))

    def _switch(self, journal: Journal, running: Future[ShortJournal]) -> None:
        if running is not self._running:
            return
        self._running = None
        self._app.journaling.flush()
        try:
            journal.switch_to(running.result())
            self._long = max(LONG_BYTES, 4 * journal.nbytes)
        except MedViewerError as error:
            # The journal is whole; it only stays long.
            log.warning("A journal was not made short: %s", error.code)
            self._long = journal.nbytes + LONG_BYTES

    def stop(self) -> None:
        """Give up what runs; another journal, or none, is written from now on."""
        self._stop.set()
        running, self._running = self._running, None
        self._long = LONG_BYTES
        if running is not None:
            running.add_done_callback(_abandon)

    def close(self) -> None:
        """End the thread."""
        self.stop()
        self._worker.shutdown()


def _write(journal: Journal, mark: Mark, snapshot: WorkspaceSnapshot, stopped: Callable[[], bool]) -> ShortJournal:
    from medviewer.io.journal_short import write_short

    return write_short(journal.path, mark, snapshot, lambda: journal.nbytes, stopped)


def _abandon(running: Future[ShortJournal]) -> None:
    if not running.cancelled() and running.exception() is None:
        running.result().abandon()
