"""Servers of studies: test, search, fetch, send, and the earlier studies of the patient who is open."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from medviewer.app.paths import data_dir
from medviewer.app.transfers import Make, Retrieval, Sending, Transfer
from medviewer.core.errors import InputError
from medviewer.core.shown_text import counted, dicom_date, person_name, shown
from medviewer.io.network.inbox import study_folder
from medviewer.io.network.quarantine import Quarantine
from medviewer.io.network.query import Found, PatientRow, QueryFields, SeriesRow, StudyRow
from medviewer.io.network.sending import SendReport
from medviewer.io.network.servers import Server, ServerStore
from medviewer.io.network.services import search, services
from medviewer.jobs.job import Job, JobContext
from medviewer.jobs.runner import Work

if TYPE_CHECKING:
    from medviewer.app.context import AppContext
    from medviewer.core.volume import Volume


class Pacs:
    """Use cases over servers. Whatever waits for the network is a job on the lane ``net``.

    Signals
    -------
    servers_changed()
    transfers_changed()
        One was added, started, or ended.
    """

    servers_changed = Signal()
    transfers_changed = Signal()

    def __init__(self, app: AppContext) -> None:
        self._app = app
        self._store = ServerStore(data_dir() / "servers.toml")
        self.transfers: list[Transfer] = []

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
            seconds = services(server).echo(ctx, server)
            how = "a DICOMweb search" if server.kind == "dicomweb" else "C-ECHO"
            return f"{server.name} answers {how} in {max(1, round(seconds * 1000))} ms{_safety(server)}."

        return self._submit(f"Testing {server.name}", work)

    def query(self, server: Server, fields: QueryFields, offset: int = 0) -> Job:
        """Search for studies after the first `offset`; the result is a `Found` of `StudyRow`."""
        return self._submit(f"Searching {server.name}", lambda ctx: search(ctx, server, fields, offset))

    def patients(self, server: Server, fields: QueryFields, offset: int = 0) -> Job:
        """Search for patients by name and ID; the result is a `Found` of `PatientRow`."""
        return self._submit(
            f"Searching {server.name}", lambda ctx: services(server).find_patients(ctx, server, fields, offset)
        )

    def studies_of(self, server: Server, patient: PatientRow) -> Job:
        """List the studies of a patient; the result is a tuple of `StudyRow`."""
        fields = QueryFields(
            patient_id=patient.patient_id, patient_name="" if patient.patient_id else patient.patient_name
        )

        def work(ctx: JobContext) -> tuple[StudyRow, ...]:
            found = services(server).find_studies(ctx, server, fields)
            return tuple(row for row in found.rows if row.patient_id == patient.patient_id)

        return self._submit(f"Listing studies at {server.name}", work)

    def series(self, server: Server, study: StudyRow) -> Job:
        """List the series of a study; the result is a tuple of `SeriesRow`."""
        return self._submit(
            f"Listing series at {server.name}",
            lambda ctx: services(server).find_series(ctx, server, study.study_instance_uid),
        )

    def priors(self, server: Server, volume: Volume, offset: int = 0) -> Job:
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

        def work(ctx: JobContext) -> Found[StudyRow]:
            found = services(server).find_studies(ctx, server, fields, offset)
            # Servers may match more loosely than asked; another patient's study is no prior.
            others = (row for row in found.rows if row.patient_id == patient_id and row.study_instance_uid != own)
            return replace(found, rows=tuple(others))

        return self._submit(f"Searching {server.name} for earlier studies", work)

    def retrieve(self, server: Server, rows: Sequence[StudyRow | SeriesRow]) -> list[Retrieval]:
        """Fetch studies or series; each study is one entry of `transfers`, and none is begun twice."""
        started = []
        for study_uid, (title, series) in _by_study(rows).items():
            entry = Retrieval(server=server, study_uid=study_uid, title=title, series=series)
            if any(_same(entry, other) for other in self.transfers if other.is_running):
                continue
            self.transfers = [other for other in self.transfers if not _same(entry, other)]
            self.transfers.append(entry)
            self.resume(entry)
            started.append(entry)
        return started

    def send(
        self,
        server: Server,
        title: str,
        files: Sequence[Path] = (),
        make: Make | None = None,
    ) -> Sending:
        """Send files, or what `make` makes; it is an entry of `transfers`. Sending again what arrived does no harm."""
        entry = Sending(server=server, title=title, files=tuple(dict.fromkeys(files)), make=make)
        self.transfers.append(entry)
        self.resume(entry)
        return entry

    def send_segments(self, server: Server, volume: Volume, values: Collection[int] | None = None) -> Sending:
        """Send segments of an open volume as a DICOM SEG; it is written, read back and compared first.

        Raises
        ------
        ExportError
            When there is nothing to send.
        """
        from medviewer.export.exporter import cases_of, run_export

        self._app.router.finish()
        cases = cases_of(self._app.workspace, [volume.id], None if values is None else {volume.id: values})

        def make(ctx: JobContext, folder: Path) -> Sequence[Path]:
            found = run_export(ctx, "dicom-seg", cases, folder)
            return [path for path in found.files if path.suffix == ".dcm"]

        return self.send(server, f"Segments of {volume.name}", make=make)

    def resume(self, entry: Transfer) -> Job:
        """Start a transfer, or go on with one that broke: what is there already is not transferred again."""
        name, kept = entry.server.name, self.quarantine.count
        if isinstance(entry, Sending):
            entry.job = self._submit(
                f"Sending to {name}", lambda ctx: entry.send(ctx, data_dir() / "outgoing"), self._sent
            )
        elif isinstance(entry, Retrieval):
            entry.job = self._submit(
                f"Fetching from {name}",
                lambda ctx: self._fetch(ctx, entry),
                lambda job: self._retrieved(job, name, kept),
            )
        assert entry.job is not None
        entry.job.state_changed.connect(lambda _: self.transfers_changed.emit())
        self.transfers_changed.emit()
        return entry.job

    def open_part(self, entry: Retrieval) -> Job:
        """Open what has come of a retrieve that is not whole; its series say that they are incomplete."""
        folder = study_folder(self.folder, entry.study_uid)
        return self._app.studies.scan([folder], open_best=True, called=f"what came from {entry.server.name}")

    def forget(self, entry: Transfer) -> None:
        """Take a transfer that does not run off the list; what has arrived stays."""
        if not entry.is_running and entry in self.transfers:
            self.transfers.remove(entry)
            self.transfers_changed.emit()

    def _fetch(self, ctx: JobContext, entry: Retrieval) -> object:
        from medviewer.io.network.retrieve import retrieve

        return retrieve(ctx, entry.server, entry.study_uid, self.folder, entry.series, self.quarantine)

    def _sent(self, job: Job) -> None:
        report = job.result
        if isinstance(report, SendReport) and report.failed:
            text = f"The server has not taken {counted(len(report.failed), 'object')}."
            self._app.messages.add("warning", text, "The PACS window says why.", "W_NOT_SENT")

    def _retrieved(self, job: Job, name: str, kept: int) -> None:
        from medviewer.io.network.retrieve import Retrieved

        unasked = self.quarantine.count - kept
        if unasked > 0:
            text = f"{counted(unasked, 'object')} came that nobody asked for. None is mixed in."
            self._app.messages.add("warning", text, "They are kept apart: Quarantine in the PACS window.", "W_UNASKED")
        result = job.result
        if isinstance(result, Retrieved):
            self._app.studies.scan(list(result.folders), open_best=True, called=f"what came from {name}")

    def _submit(self, title: str, work: Work, done: Callable[[Job], None] | None = None) -> Job:
        return self._app.jobs.submit(title, work, lane="net", done=done)


def _safety(server: Server) -> str:
    if not server.is_encrypted:
        return ", without encryption"
    return ", encrypted and verified" if server.verify else ", encrypted but its certificate is not verified"


def _same(one: Transfer, other: Transfer) -> bool:
    if not (isinstance(one, Retrieval) and isinstance(other, Retrieval)):
        return False
    return (one.server.name, one.study_uid, one.series) == (other.server.name, other.study_uid, other.series)


def _by_study(rows: Sequence[StudyRow | SeriesRow]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return study -> (title, its chosen series); a study that is chosen itself stands for all of them."""
    whole = {row.study_instance_uid: row for row in rows if isinstance(row, StudyRow)}
    made: dict[str, tuple[str, tuple[str, ...]]] = {uid: (_title(row), ()) for uid, row in whole.items()}
    for row in rows:
        if isinstance(row, SeriesRow) and row.study_instance_uid not in whole:
            title, series = made.get(row.study_instance_uid, ("", ()))
            name = shown(row.description or row.modality or "series")
            joined = f"{title}, {name}" if title else name
            made[row.study_instance_uid] = (joined, (*series, row.series_instance_uid))
    return made


def _title(row: StudyRow) -> str:
    parts = (person_name(row.patient_name), dicom_date(row.study_date), row.description)
    return shown("  ".join(part for part in parts if part)) or "Study"
