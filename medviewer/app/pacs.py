"""Servers of studies: test, search, fetch, send, and the earlier studies of the patient who is open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from medviewer.app.paths import data_dir
from medviewer.core.errors import InputError
from medviewer.core.shown_text import person_name
from medviewer.io.network.quarantine import Quarantine
from medviewer.io.network.query import Found, QueryFields, SeriesRow, StudyRow
from medviewer.io.network.servers import Server, ServerStore
from medviewer.jobs.job import Job, JobContext, JobState
from medviewer.jobs.runner import Work

if TYPE_CHECKING:
    from medviewer.app.context import AppContext
    from medviewer.core.volume import Volume
    from medviewer.io.network.dimse import SendReport


@dataclass(eq=False)
class Retrieval:
    """A study, or some of its series, on its way here.

    Attributes
    ----------
    title : str
        What is fetched, for the one who asked for it; holds values of a patient, so it is never logged.
    series : tuple of str
        SeriesInstanceUIDs; none means all.
    job : Job or None
        The last attempt.
    """

    server: Server
    study_uid: str
    title: str = field(repr=False)
    series: tuple[str, ...] = ()
    job: Job | None = None

    @property
    def is_running(self) -> bool:
        """Whether it is under way or waits for its turn."""
        return self.job is not None and not self.job.state.is_final

    @property
    def can_resume(self) -> bool:
        """Whether it ended before all was here."""
        return self.job is not None and self.job.state in (JobState.ERROR, JobState.CANCELLED)

    @property
    def said(self) -> str:
        """How it stands, in words."""
        job = self.job
        if job is None or job.state is JobState.PENDING:
            return "Waiting"
        if job.state is JobState.RUNNING:
            return job.text or "Connecting"
        if job.state is JobState.CANCELLED:
            return f"INCOMPLETE {job.text}, cancelled" if "/" in job.text else "Cancelled"
        if job.error is not None:
            return str(job.error)
        return f"Complete: {getattr(job.result, 'count', 0)} objects"


class Pacs:
    """Use cases over servers. Whatever waits for the network is a job on the lane ``net``.

    Signals
    -------
    servers_changed()
    retrievals_changed()
        One was added, started, or ended.
    """

    servers_changed = Signal()
    retrievals_changed = Signal()

    def __init__(self, app: AppContext) -> None:
        self._app = app
        self._store = ServerStore(data_dir() / "servers.toml")
        self.retrievals: list[Retrieval] = []

    @property
    def servers(self) -> tuple[Server, ...]:
        """All servers, in the user's order."""
        return self._store.servers

    @property
    def quarantine(self) -> Quarantine:
        """What was sent to us without being asked for."""
        return Quarantine(data_dir() / "quarantine")

    @property
    def folder(self) -> Path:
        """Where fetched studies lie; for this user only."""
        return data_dir() / "pacs"

    def put_server(self, server: Server, instead_of: str = "") -> None:
        """Add a server, or change the one called `instead_of`; raises `NetworkError` when it cannot work."""
        self._store.put(server, instead_of)
        self.servers_changed.emit()

    def remove_server(self, name: str) -> None:
        """Forget a server."""
        self._store.remove(name)
        self.servers_changed.emit()

    def test(self, server: Server) -> Job:
        """Ask whether a server answers; the result is a sentence."""

        def work(ctx: JobContext) -> str:
            server.check()
            if server.kind == "dicomweb":
                from medviewer.io.network import dicomweb

                seconds, how = dicomweb.test(ctx, server), "a DICOMweb search"
            else:
                from medviewer.io.network import dimse

                seconds, how = dimse.echo(ctx, server), "C-ECHO"
            return f"{server.name} answers {how} in {max(1, round(seconds * 1000))} ms{_safety(server)}."

        return self._submit(f"Testing {server.name}", work)

    def query(self, server: Server, fields: QueryFields) -> Job:
        """Search for studies; the result is a `Found`."""

        def work(ctx: JobContext) -> Found:
            if server.kind == "dicomweb":
                from medviewer.io.network import dicomweb

                return dicomweb.find_studies(ctx, server, fields)
            from medviewer.io.network import dimse

            return dimse.find_studies(ctx, server, fields)

        return self._submit(f"Searching {server.name}", work)

    def series(self, server: Server, study: StudyRow) -> Job:
        """List the series of a study; the result is a tuple of `SeriesRow`."""

        def work(ctx: JobContext) -> tuple[SeriesRow, ...]:
            from medviewer.io.network.retrieve import find_series

            return find_series(ctx, server, study.study_instance_uid)

        return self._submit(f"Listing series at {server.name}", work)

    def priors(self, server: Server, volume: Volume) -> Job:
        """Search for the other studies of the patient of a volume; the result is a `Found`.

        Raises
        ------
        InputError
            When the volume does not say whose it is.
        """
        if not volume.patient_id:
            raise InputError(
                "The open series has no patient ID to search by.",
                hint="Search by name and date of birth.",
                code="E_NO_PATIENT",
            )
        own = volume.series.study_instance_uid if volume.series is not None else ""
        patient_id = volume.patient_id
        fields = QueryFields(patient_id=patient_id)

        def work(ctx: JobContext) -> Found:
            if server.kind == "dicomweb":
                from medviewer.io.network.dicomweb import find_studies
            else:
                from medviewer.io.network.dimse import find_studies
            found = find_studies(ctx, server, fields)
            # Servers may match more loosely than asked; another patient's study is no prior.
            others = (row for row in found.studies if row.patient_id == patient_id and row.study_instance_uid != own)
            return replace(found, studies=tuple(others))

        return self._submit(f"Searching {server.name} for earlier studies", work)

    def retrieve(self, server: Server, rows: Sequence[StudyRow | SeriesRow]) -> list[Retrieval]:
        """Fetch studies or series; each study is one entry of `retrievals`, and none is begun twice."""
        started = []
        for study_uid, (title, series) in _by_study(rows).items():
            entry = Retrieval(server, study_uid, title, series)
            if any(_same(entry, other) for other in self.retrievals if other.is_running):
                continue
            self.retrievals = [other for other in self.retrievals if not _same(entry, other)]
            self.retrievals.append(entry)
            self.resume(entry)
            started.append(entry)
        return started

    def resume(self, entry: Retrieval) -> Job:
        """Start a retrieve, or go on with one that broke: what is here already is not fetched again."""

        def work(ctx: JobContext) -> object:
            from medviewer.io.network.retrieve import retrieve

            return retrieve(ctx, entry.server, entry.study_uid, self.folder, entry.series, self.quarantine)

        name = entry.server.name
        entry.job = self._submit(f"Fetching from {entry.server.name}", work, lambda job: self._retrieved(job, name))
        entry.job.state_changed.connect(lambda _: self.retrievals_changed.emit())
        self.retrievals_changed.emit()
        return entry.job

    def forget(self, entry: Retrieval) -> None:
        """Take a retrieve that does not run off the list; what has arrived stays."""
        if not entry.is_running and entry in self.retrievals:
            self.retrievals.remove(entry)
            self.retrievals_changed.emit()

    def send(self, server: Server, files: Sequence[Path]) -> Job:
        """Send files; the result is a `SendReport`. Sending again what arrived does no harm."""

        def work(ctx: JobContext) -> SendReport:
            from medviewer.io.network.dimse import SendReport

            report = SendReport()
            try:
                if server.kind == "dicomweb":
                    from medviewer.io.network import dicomweb

                    dicomweb.store(ctx, server, files, report)
                else:
                    from medviewer.io.network import dimse

                    dimse.store(ctx, server, files, report)
            finally:
                count = len(report.arrived)
                if count < len(files):
                    text = f"{count} of {len(files)} files have arrived at {server.name}."
                    self._app.post(lambda: self._app.messages.add("warning", text, "Sending again does no harm."))
            return report

        return self._submit(f"Sending to {server.name}", work)

    def _retrieved(self, job: Job, name: str) -> None:
        from medviewer.io.network.retrieve import Retrieved

        result = job.result
        if not isinstance(result, Retrieved):
            return
        if result.refused:
            text = f"{result.refused} objects came that nobody asked for. None of them is mixed in."
            kept = f"{result.quarantined} are kept apart under Quarantine in the PACS window."
            self._app.messages.add("warning", text, kept if result.quarantined else "", "W_UNASKED")
        self._app.studies.scan(list(result.folders), open_best=True, called=f"what came from {name}")

    def _submit(self, title: str, work: Work, done: Callable[[Job], None] | None = None) -> Job:
        return self._app.jobs.submit(title, work, lane="net", done=done)


def _safety(server: Server) -> str:
    if not server.is_encrypted:
        return ", without encryption"
    return ", encrypted and verified" if server.verify else ", encrypted but its certificate is not verified"


def _same(one: Retrieval, other: Retrieval) -> bool:
    return (one.server.name, one.study_uid, one.series) == (other.server.name, other.study_uid, other.series)


def _by_study(rows: Sequence[StudyRow | SeriesRow]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return study -> (title, its chosen series); a study that is chosen itself stands for all of them."""
    whole = {row.study_instance_uid: row for row in rows if isinstance(row, StudyRow)}
    made: dict[str, tuple[str, tuple[str, ...]]] = {uid: (_title(row), ()) for uid, row in whole.items()}
    for row in rows:
        if isinstance(row, SeriesRow) and row.study_instance_uid not in whole:
            title, series = made.get(row.study_instance_uid, ("", ()))
            name = row.description or row.modality or "series"
            joined = f"{title}, {name}" if title else name
            made[row.study_instance_uid] = (joined, (*series, row.series_instance_uid))
    return made


def _title(row: StudyRow) -> str:
    parts = (person_name(row.patient_name), row.study_date, row.description)
    return "  ".join(part for part in parts if part) or "Study"
