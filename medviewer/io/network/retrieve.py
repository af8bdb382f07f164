"""Fetch a study or some of its series, and go on where an earlier attempt broke."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medviewer.io.network.errors import IncompleteError, NetworkError
from medviewer.io.network.inbox import QUOTA_BYTES, Inbox
from medviewer.io.network.quarantine import Quarantine
from medviewer.io.network.query import InstanceRow, SeriesRow
from medviewer.io.network.servers import Server
from medviewer.jobs.job import JobContext


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


def find_series(ctx: JobContext, server: Server, study_uid: str) -> tuple[SeriesRow, ...]:
    """Return the series of a study on a server of either kind."""
    if server.kind == "dicomweb":
        from medviewer.io.network import dicomweb

        return dicomweb.find_series(ctx, server, study_uid)
    from medviewer.io.network import dimse

    return dimse.find_series(ctx, server, study_uid)


def list_instances(ctx: JobContext, server: Server, study_uid: str, series: Sequence[str]) -> list[InstanceRow]:
    """Return every object of some series on a server of either kind."""
    if server.kind == "dicomweb":
        from medviewer.io.network import dicomweb

        return dicomweb.list_instances(ctx, server, study_uid, series)
    from medviewer.io.network import dimse

    return dimse.list_instances(ctx, server, study_uid, series)


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
    chosen = list(series) or [row.series_instance_uid for row in find_series(ctx, server, study_uid)]
    wanted = list_instances(ctx, server, study_uid, chosen)
    if not wanted:
        raise NetworkError(
            f"{server.name} lists no objects of this study.",
            hint="It may have been deleted; search again.",
            code="E_GONE",
        )
    inbox = Inbox(root, study_uid, wanted, quota, quarantine)
    try:
        if inbox.missing:
            _fetch(ctx, server, inbox)
        # A server that gave up on single objects is asked once more for those alone.
        if inbox.missing and not inbox.failure and inbox.present:
            _fetch(ctx, server, inbox)
    except NetworkError as error:
        if not inbox.present:
            raise
        raise IncompleteError(inbox.present, len(inbox.wanted), error.text) from error
    if inbox.missing:
        why = inbox.failure or f"{server.name} did not send the rest."
        raise IncompleteError(inbox.present, len(inbox.wanted), why)
    return Retrieved(tuple(inbox.complete_series()), inbox.present, inbox.refused, inbox.quarantined)


def _fetch(ctx: JobContext, server: Server, inbox: Inbox) -> None:
    if server.kind == "dicomweb":
        from medviewer.io.network import dicomweb

        dicomweb.fetch(ctx, server, inbox)
        return
    from medviewer.io.network import dimse

    if server.fetch == "move":
        dimse.move(ctx, server, inbox)
    else:
        dimse.get(ctx, server, inbox)
