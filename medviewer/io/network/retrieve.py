"""Fetch a study or some of its series, and go on where an earlier attempt broke."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from medviewer.io.network.errors import IncompleteError, NetworkError
from medviewer.io.network.inbox import QUOTA_BYTES, Inbox, study_folder
from medviewer.io.network.quarantine import Quarantine
from medviewer.io.network.servers import Server
from medviewer.io.network.services import services
from medviewer.jobs.job import JobContext

_WAIT_S: Final = 0.25
_busy: set[Path] = set()
_turn = threading.Condition()


@dataclass(frozen=True, slots=True)
class Retrieved:
    """A retrieve that is whole.

    Attributes
    ----------
    folders : tuple of Path
        Every series of the study that is whole on this machine, this retrieve's among them.
    count : int
        Objects of this retrieve.
    refused, quarantined : int
        Objects that were sent to us without being asked for, and those of them that are kept apart.
    """

    folders: tuple[Path, ...]
    count: int
    refused: int = 0
    quarantined: int = 0


def retrieve(
    ctx: JobContext,
    server: Server,
    study_uid: str,
    root: Path,
    series: Sequence[str] = (),
    quarantine: Quarantine | None = None,
    quota: int = QUOTA_BYTES,
) -> Retrieved:
    """Fetch a study, or some of its series.

    What is on this machine already, whole, is not fetched again; so a second call resumes a first that broke.

    Parameters
    ----------
    root : Path
        Private folder that all retrieves share.
    series : sequence of str
        SeriesInstanceUIDs; none means all.
    quarantine : Quarantine, optional
        Where objects are kept that were not asked for.

    Raises
    ------
    IncompleteError
        When some objects are missing at the end; what came is kept.
    NetworkError
        When nothing could be asked for.
    JobCancelled
        When cancelled; what came is kept.
    """
    ctx.progress(None, "Asking what there is")
    ask = services(server)
    chosen = list(series) or [row.series_instance_uid for row in ask.find_series(ctx, server, study_uid)]
    wanted = ask.list_instances(ctx, server, study_uid, chosen)
    if not wanted:
        raise NetworkError(
            f"{server.name} lists no objects of this study.",
            hint="It may have been deleted; search again.",
            code="E_GONE",
        )
    with _alone_in(ctx, study_folder(root, study_uid)):
        return _received(ctx, server, Inbox(root, study_uid, wanted, quota, quarantine))


def _received(ctx: JobContext, server: Server, inbox: Inbox) -> Retrieved:
    ask = services(server)
    try:
        if inbox.missing:
            ask.fetch(ctx, server, inbox)
        # A server that gave up on single objects is asked once more for those alone.
        if inbox.missing and not inbox.failure and inbox.present:
            ask.fetch(ctx, server, inbox)
    except NetworkError as error:
        if not inbox.present:
            raise
        raise IncompleteError(inbox.present, len(inbox.wanted), error.text) from error
    if inbox.missing:
        why = inbox.failure or inbox.said or f"{server.name} did not send the rest."
        hint = "Resume asks again; another way of fetching (C-GET, C-MOVE, DICOMweb) may give what this one does not."
        raise IncompleteError(inbox.present, len(inbox.wanted), why, hint if inbox.said else "")
    return Retrieved(tuple(inbox.complete_series()), inbox.present, inbox.refused, inbox.quarantined)


@contextmanager
def _alone_in(ctx: JobContext, folder: Path) -> Iterator[None]:
    """Wait for another retrieve of the same study to end; what it has fetched need not be fetched again."""
    with _turn:
        while folder in _busy:
            ctx.progress(None, "Waiting for another retrieve of this study")
            ctx.check_cancelled()
            _turn.wait(_WAIT_S)
        _busy.add(folder)
    try:
        yield
    finally:
        with _turn:
            _busy.remove(folder)
            _turn.notify_all()
