"""QIDO, WADO and STOW. Credentials and requests stay with the one origin that the user entered.

References
----------
DICOM PS3.18 sections 10.4 (WADO-RS), 10.5 (STOW-RS), 10.6 (QIDO-RS).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urljoin
from uuid import uuid4

from medviewer.io.network.errors import NetworkError
from medviewer.io.network.guard import Guard, run_guarded
from medviewer.io.network.http import MAX_JSON_BYTES, OneOriginSession, http_error
from medviewer.io.network.inbox import MAX_INSTANCE_BYTES, NOT_ASKED_FOR, OK, Inbox
from medviewer.io.network.multipart import parts_of
from medviewer.io.network.query import (
    INSTANCE_KEYS,
    MAX_ROWS,
    SERIES_KEYS,
    STUDY_KEYS,
    Found,
    InstanceRow,
    PatientRow,
    QueryFields,
    SeriesRow,
    StudyRow,
    in_order,
    instance_row,
    newest_first,
    series_row,
    study_row,
)
from medviewer.io.network.sending import SendReport, outgoing
from medviewer.io.network.servers import Server
from medviewer.io.preamble import without_preamble
from medviewer.jobs.job import JobContext

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_PAGE: Final = 1000
_MOST_INSTANCES: Final = 200_000
#: Refusals of one object; the next may be taken.
_REFUSED_ONE: Final = ("E_HTTP_400", "E_HTTP_409", "E_HTTP_413", "E_HTTP_415")


class Web:
    """The three services of one server.

    Parameters
    ----------
    server : Server
    guard : Guard
    """

    def __init__(self, server: Server, guard: Guard) -> None:
        from dicomweb_client.web import DICOMwebClient

        self.server = server
        self.root = server.url.rstrip("/") + "/"
        self._session = OneOriginSession(server, guard)
        self.client = DICOMwebClient(server.url.rstrip("/"), session=self._session, permissive_uid=True)
        self.client.set_http_retry_params(retry=False)

    def get(self, path: str, accept: str, most: int) -> tuple[str, bytes]:
        """Fetch something of at most `most` bytes; return its media type and its content."""
        self._session.most = most
        answer = self._session.get(urljoin(self.root, path), headers={"Accept": accept})
        return answer.headers.get("Content-Type", ""), answer.content

    def post(self, path: str, body: bytes, content_type: str) -> bytes:
        """Send something; return the answer."""
        self._session.most = MAX_JSON_BYTES
        headers = {"Content-Type": content_type, "Accept": "application/dicom+json"}
        return self._session.post(urljoin(self.root, path), data=body, headers=headers).content

    def search(
        self, ask: Callable[..., Sequence[Any]], keys: Sequence[str], most: int, offset: int = 0, **more: Any
    ) -> list[Dataset]:
        """Return up to `most` answers, page by page; a server that repeats a page is stopped."""
        self._session.most = MAX_JSON_BYTES
        found: dict[tuple[str, ...], Dataset] = {}
        while len(found) < most:
            size = min(_PAGE, most - len(found))
            try:
                page = ask(fields=list(keys), limit=size, offset=offset, **more)
            except (ValueError, RecursionError):
                raise http_error(self.server, "E_HTTP_CONTENT", "does not answer with DICOM JSON") from None
            before = len(found)
            for answer in _datasets(page):
                found.setdefault(_key(answer), answer)
            offset += len(page)
            if len(found) == before or len(page) < size:
                break
        return list(found.values())[:most]


def echo(ctx: JobContext, server: Server) -> float:
    """Ask for one study; return the seconds the answer took."""

    def work(guard: Guard) -> float:
        start = time.monotonic()
        web = Web(server, guard)
        web.search(web.client.search_for_studies, ["StudyInstanceUID"], 1)
        return time.monotonic() - start

    return run_guarded(ctx, work)


def find_studies(ctx: JobContext, server: Server, fields: QueryFields, offset: int = 0) -> Found[StudyRow]:
    """Search for studies, newest first, at most `MAX_ROWS` after the first `offset`."""

    def work(guard: Guard) -> Found[StudyRow]:
        web = Web(server, guard)
        ask = web.client.search_for_studies
        answers = web.search(ask, STUDY_KEYS, MAX_ROWS + 1, offset, search_filters=fields.matching())
        rows = [row for row in map(study_row, answers[:MAX_ROWS]) if row.study_instance_uid and fields.fits(row)]
        return Found(newest_first(rows), offset + MAX_ROWS if len(answers) > MAX_ROWS else None)

    return run_guarded(ctx, work)


def find_patients(ctx: JobContext, server: Server, fields: QueryFields, offset: int = 0) -> Found[PatientRow]:
    """Return the patients of the studies that fit: QIDO knows no level of patients."""
    of_patient = QueryFields(patient_name=fields.patient_name, patient_id=fields.patient_id)
    found = find_studies(ctx, server, of_patient, offset)
    patients = {
        (row.patient_id, row.patient_name): PatientRow(
            patient_name=row.patient_name,
            patient_id=row.patient_id,
            patient_birth_date=row.patient_birth_date,
            patient_sex=row.patient_sex,
        )
        for row in found.rows
    }
    return Found(tuple(patients.values()), found.next_offset)


def find_series(ctx: JobContext, server: Server, *study_uids: str) -> tuple[SeriesRow, ...]:
    """Return the series of studies."""

    def work(guard: Guard) -> tuple[SeriesRow, ...]:
        web = Web(server, guard)
        ask = web.client.search_for_series
        rows: list[SeriesRow] = []
        for n, uid in enumerate(study_uids):
            if n:
                guard.progress(None, f"Asking, {n} of {len(study_uids)}")
            rows += [series_row(a, uid) for a in web.search(ask, SERIES_KEYS, _PAGE * 5, study_instance_uid=uid)]
        return in_order(row for row in rows if row.series_instance_uid)

    return run_guarded(ctx, work)


def list_instances(ctx: JobContext, server: Server, study_uid: str, series: Sequence[str]) -> list[InstanceRow]:
    """Return every object of some series."""

    def work(guard: Guard) -> list[InstanceRow]:
        web = Web(server, guard)
        found: list[InstanceRow] = []
        for uid in series:
            ask = web.client.search_for_instances
            place = {"study_instance_uid": study_uid, "series_instance_uid": uid}
            answers = web.search(ask, INSTANCE_KEYS, _MOST_INSTANCES, 0, **place)
            found += [row for row in (instance_row(a, study_uid, uid) for a in answers) if row.sop_instance_uid]
        return found

    return run_guarded(ctx, work)


def fetch(ctx: JobContext, server: Server, inbox: Inbox) -> None:
    """Fetch what an inbox is missing, as it is stored: no other encoding is asked for."""
    total = max(1, len(inbox.wanted))

    def work(guard: Guard) -> None:
        web = Web(server, guard)
        for row in inbox.missing:
            path = (
                f"studies/{_uid(row.study_instance_uid)}/series/{_uid(row.series_instance_uid)}"
                f"/instances/{_uid(row.sop_instance_uid)}"
            )
            accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
            for part in parts_of(*web.get(path, accept, MAX_INSTANCE_BYTES)):
                status = inbox.keep(row.sop_instance_uid, part, server.name)
                if status not in (OK, NOT_ASKED_FOR) and not inbox.failure:
                    raise NetworkError(
                        f"{server.name} sends something that is not the object asked for.",
                        hint="Ask whoever runs the server.",
                        code="E_HTTP_CONTENT",
                    )
            if inbox.failure:
                return
            guard.progress(inbox.present / total, f"{inbox.present}/{total}")

    run_guarded(ctx, work)


def bulk_data(ctx: JobContext, server: Server, uri: str, most: int = MAX_INSTANCE_BYTES) -> bytes:
    """Fetch what a BulkDataURI of the server's metadata points at; only from the server itself.

    Raises
    ------
    NetworkError
        ``E_HTTP_ORIGIN`` for any other place, a file on this machine included.
    """

    def work(guard: Guard) -> bytes:
        web = Web(server, guard)
        kind, body = web.get(uri, "application/octet-stream, */*;q=0.1", most)
        return b"".join(parts_of(kind, body)) if kind.lower().startswith("multipart/") else body

    return run_guarded(ctx, work)


def store(ctx: JobContext, server: Server, files: Sequence[Path], report: SendReport) -> None:
    """Send files, each in a request of its own; `report` knows which have arrived.

    They go byte for byte, but for the preamble, which may hold a program.
    """

    def work(guard: Guard) -> None:
        web = Web(server, guard)
        for path in outgoing(files, report):
            guard.progress(report.fraction, report.text())
            try:
                why = _store_one(web, without_preamble(path.read_bytes()))
            except NetworkError as error:
                if error.code not in _REFUSED_ONE:
                    raise
                why = error.text
            if why:
                report.failed.append((path, why))
            else:
                report.arrived.append(path)

    run_guarded(ctx, work)


def _store_one(web: Web, data: bytes) -> str:
    """Send one file; return why it was refused, or nothing."""
    boundary = uuid4().hex
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode("ascii")
    body = head + data + f"\r\n--{boundary}--\r\n".encode("ascii")
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    answer = web.post("studies", body, kind)
    failed = [item for entry in _json(web.server, answer) for item in _sequence(entry, "00081198")]
    if not failed:
        return ""
    reason = failed[0].get("00081197", {}).get("Value", [0])[0] if isinstance(failed[0], dict) else 0
    return f"the server refuses it (reason 0x{int(reason):04X})"


def _sequence(entry: Any, tag: str) -> list[Any]:
    element = entry.get(tag, {}) if isinstance(entry, dict) else {}
    value = element.get("Value", []) if isinstance(element, dict) else []
    return value if isinstance(value, list) else []


def _json(server: Server, body: bytes) -> list[Any]:
    import json

    if not body.strip():
        return []
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise http_error(server, "E_HTTP_CONTENT", "does not answer with DICOM JSON") from error
    return found if isinstance(found, list) else [found]


def _key(answer: Dataset) -> tuple[str, ...]:
    return tuple(str(answer.get(k, "")) for k in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"))


def _datasets(page: Sequence[Any]) -> Iterator[Dataset]:
    from pydicom.dataset import Dataset

    for entry in page:
        if isinstance(entry, dict):
            try:
                yield Dataset.from_json(entry)
            # An answer that is malformed in one element is left out; the others are still of use.
            except (ValueError, TypeError, KeyError, AttributeError):
                continue


def _uid(uid: str) -> str:
    """Return a UID as one part of a path, whatever it holds."""
    return quote(uid, safe="")
