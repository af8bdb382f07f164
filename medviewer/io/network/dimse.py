"""C-ECHO, C-FIND, C-GET, C-MOVE and C-STORE as a client. Every status has a name.

References
----------
DICOM PS3.4 annexes A (verification), B (storage), C (query/retrieve); PS3.7 annex C (status).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from medviewer.core.shown_text import counted
from medviewer.io.network.association import associate, drop, lost
from medviewer.io.network.errors import NetworkError
from medviewer.io.network.guard import Guard, run_guarded
from medviewer.io.network.inbox import MALFORMED, MAX_INSTANCE_BYTES, Inbox
from medviewer.io.network.query import (
    INSTANCE_KEYS,
    MAX_ROWS,
    PATIENT_KEYS,
    SERIES_KEYS,
    STUDY_KEYS,
    Found,
    InstanceRow,
    PatientRow,
    QueryFields,
    SeriesRow,
    StudyRow,
    identifier,
    in_order,
    instance_row,
    newest_first,
    patient_row,
    series_row,
    study_row,
)
from medviewer.io.network.sending import SendReport, outgoing
from medviewer.io.network.servers import Server
from medviewer.jobs.job import JobContext

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pynetdicom.association import Association
    from pynetdicom.events import Event
    from pynetdicom.presentation import PresentationContext

VERIFICATION: Final = "1.2.840.10008.1.1"
PATIENT_FIND: Final = "1.2.840.10008.5.1.4.1.2.1.1"
FIND, MOVE, GET = (f"1.2.840.10008.5.1.4.1.2.2.{n}" for n in (1, 2, 3))
#: What an object may be encoded in. Each is offered by itself, so that nobody needs to encode it anew.
SYNTAXES: Final = (
    "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203", "1.2.840.10008.1.2.5",
)  # fmt: skip
_UID: Final = re.compile(r"[0-9.]{1,64}")
_MOST_CONTEXTS: Final = 126
#: Most instances; asked for by number in one request when only some are missing.
_CHUNK: Final = 64
#: Answers that may still come after we have said that we want no more.
_MOST_AFTER_CANCEL: Final = 2000
_CANCELLED: Final = 0xFE00
_PENDING: Final = frozenset({0xFF00, 0xFF01})
_MOST_INSTANCES: Final = 200_000
#: Further words for statuses that users meet (PS3.4 tables C.4-1 to C.4-3, B.2-1).
_HINTS: Final = {
    0xA801: "Have our AE title, host and port registered at the server as a place to send to.",
    0xA700: "The server is out of resources. Try again later.",
    0xA701: "The server is out of resources. Try again later.",
    0xA702: "The server is out of resources, or cannot reach this machine.",
    0x0124: "Ask whoever runs the server for permission.",
    0x0122: "The server does not keep objects of this kind.",
}


def status_text(status: int, service: str) -> str:
    """Return a status as ``Failure: Move destination unknown (0xA801)``; one that no table has is given by range."""
    from pynetdicom import status as tables

    of_service = {
        "find": tables.QR_FIND_SERVICE_CLASS_STATUS,
        "get": tables.QR_GET_SERVICE_CLASS_STATUS,
        "move": tables.QR_MOVE_SERVICE_CLASS_STATUS,
        "store": tables.STORAGE_SERVICE_CLASS_STATUS,
    }.get(service, tables.GENERAL_STATUS)
    category, words = of_service.get(status) or tables.GENERAL_STATUS.get(status) or ("", "")
    category = category or tables.code_to_category(status)
    return f"{category}: {words or 'unnamed'} (0x{status:04X})"


def status_error(server: Server, status: int, service: str) -> NetworkError:
    """Return the refusal that a status means."""
    hint = _HINTS.get(status, "Ask whoever runs the server; the status says what it objects to.")
    return NetworkError(f"{server.name} answers “{status_text(status, service)}”.", hint=hint, code="E_STATUS")


def echo(ctx: JobContext, server: Server) -> float:
    """Ask whether a server is there (C-ECHO); return the seconds the answer took."""
    from pynetdicom.presentation import build_context

    def work(guard: Guard) -> float:
        with associate(server, guard, [build_context(VERIFICATION)]) as assoc:
            start = time.monotonic()
            answer = assoc.send_c_echo()
            status = _status(server, answer)
            if status != 0:
                raise status_error(server, status, "echo")
            return time.monotonic() - start

    return run_guarded(ctx, work)


def find_studies(ctx: JobContext, server: Server, fields: QueryFields, offset: int = 0) -> Found[StudyRow]:
    """Search for studies (C-FIND), newest first, at most `MAX_ROWS` after the first `offset`."""
    query = identifier("STUDY", STUDY_KEYS, fields.matching(), server.charset)
    answers, more = _find_one(ctx, server, query, offset=offset)
    rows = [row for row in map(study_row, answers) if row.study_instance_uid and fields.fits(row)]
    return Found(newest_first(rows), offset + len(answers) if more else None)


def find_patients(ctx: JobContext, server: Server, fields: QueryFields, offset: int = 0) -> Found[PatientRow]:
    """Search for patients (C-FIND in the Patient Root model), at most `MAX_ROWS` after the first `offset`."""
    matching = {key: value for key, value in fields.matching().items() if key in PATIENT_KEYS}
    query = identifier("PATIENT", PATIENT_KEYS, matching, server.charset)
    answers, more = _find_one(ctx, server, query, model=PATIENT_FIND, offset=offset)
    return Found(tuple(map(patient_row, answers)), offset + len(answers) if more else None)


def find_series(ctx: JobContext, server: Server, *study_uids: str) -> tuple[SeriesRow, ...]:
    """Return the series of studies (C-FIND)."""
    queries = [identifier("SERIES", SERIES_KEYS, {"StudyInstanceUID": uid}) for uid in study_uids]
    found = _find(ctx, server, queries, MAX_ROWS * 10)
    rows = [series_row(a, uid) for uid, (answers, _) in zip(study_uids, found, strict=True) for a in answers]
    return in_order(row for row in rows if row.series_instance_uid)


def list_instances(ctx: JobContext, server: Server, study_uid: str, series: Sequence[str]) -> list[InstanceRow]:
    """Return every object of some series (C-FIND at the image level)."""
    keys = [{"StudyInstanceUID": study_uid, "SeriesInstanceUID": uid} for uid in series]
    answers = _find(ctx, server, [identifier("IMAGE", INSTANCE_KEYS, key) for key in keys], _MOST_INSTANCES)
    rows = [instance_row(a, study_uid, uid) for uid, (of_one, _) in zip(series, answers, strict=True) for a in of_one]
    return [row for row in rows if row.sop_instance_uid]


def _find_one(
    ctx: JobContext, server: Server, query: Dataset, *, model: str = FIND, offset: int = 0
) -> tuple[list[Dataset], bool]:
    (found,) = _find(ctx, server, [query], MAX_ROWS, model, offset)
    return found


def _find(
    ctx: JobContext, server: Server, queries: Sequence[Dataset], most: int, model: str = FIND, offset: int = 0
) -> list[tuple[list[Dataset], bool]]:
    """Ask over one connection; return for each query its answers, and whether there are more."""
    from pynetdicom.presentation import build_context

    def work(guard: Guard) -> list[tuple[list[Dataset], bool]]:
        found = []
        with associate(server, guard, [build_context(model)]) as assoc:
            for n, query in enumerate(queries):
                if n:
                    guard.progress(None, f"Asking, {n} of {len(queries)}")
                found.append(_answers(assoc, server, guard, query, most, model, offset))
        return found

    return run_guarded(ctx, work)


def _answers(
    assoc: Association, server: Server, guard: Guard, query: Dataset, most: int, model: str, offset: int
) -> tuple[list[Dataset], bool]:
    answers: list[Dataset] = []
    skipped, after = 0, 0
    for response, answer in assoc.send_c_find(query, model):
        guard.alive()
        status = _status(server, response)
        if status in _PENDING:
            if answer is None:
                continue
            if skipped < offset:
                skipped += 1
            elif len(answers) < most:
                answers.append(answer)
            else:
                after += 1
                if after == 1:
                    assoc.send_c_cancel(1, query_model=model)
                elif after > _MOST_AFTER_CANCEL:
                    drop(assoc)
                    break
        elif status not in (0, _CANCELLED):
            raise status_error(server, status, "find")
    return answers, after > 0


def fetch(ctx: JobContext, server: Server, inbox: Inbox) -> None:
    """Fetch what an inbox is missing, in the way that the server wants."""
    if server.fetch == "move":
        move(ctx, server, inbox)
    else:
        get(ctx, server, inbox)


def get(ctx: JobContext, server: Server, inbox: Inbox) -> None:
    """Fetch what an inbox is missing over our own connection (C-GET)."""
    from pynetdicom import build_role, evt
    from pynetdicom.presentation import build_context

    classes = _classes(inbox)
    contexts = [build_context(GET), *storage_contexts(classes)]

    def work(guard: Guard) -> None:
        def on_store(event: Event) -> int:
            return receive(event, inbox, guard)

        roles = [build_role(uid, scp_role=True) for uid in classes]
        with associate(server, guard, contexts, roles=roles, handlers=[(evt.EVT_C_STORE, on_store)]) as assoc:
            for request in _requests(inbox):
                _run(assoc.send_c_get(request, GET), server, guard, "get", inbox)

    run_guarded(ctx, work)


def move(ctx: JobContext, server: Server, inbox: Inbox) -> None:
    """Have a server send what an inbox is missing to us (C-MOVE); we listen for as long as that takes."""
    from pynetdicom.presentation import build_context

    from medviewer.io.network.scp import StoreScp

    def work(guard: Guard) -> None:
        with StoreScp(server, inbox, _classes(inbox), guard) as scp:
            try:
                with associate(server, guard, [build_context(MOVE)]) as assoc:
                    for request in _requests(inbox):
                        answers = assoc.send_c_move(request, server.own_ae_title, MOVE)
                        _run(answers, server, guard, "move", inbox)
            except NetworkError as error:
                if scp.connections or error.code != "E_STATUS":
                    raise
                raise scp.not_reached(error) from error
            if inbox.missing and not scp.connections:
                raise scp.not_reached()

    run_guarded(ctx, work)


def _run(
    answers: Iterable[tuple[Dataset, Dataset | None]], server: Server, guard: Guard, service: str, inbox: Inbox
) -> None:
    """Follow a retrieve to its end; what the server says of failed sub-operations is kept for the user."""
    for response, _ in answers:
        guard.alive()
        status = _status(server, response)
        if status not in (*_PENDING, 0x0000, 0xB000, 0xA702):
            raise status_error(server, status, service)
        failed = int(response.get("NumberOfFailedSuboperations") or 0)
        if failed and status not in _PENDING:
            inbox.said = f"{server.name} says that {counted(failed, 'object')} failed ({status_text(status, service)})."


def receive(event: Event, inbox: Inbox, guard: Guard) -> int:
    """Take one C-STORE request into an inbox; return the status to answer with."""
    from pynetdicom.dimse_primitives import C_STORE

    request = event.request
    assert isinstance(request, C_STORE)
    size = request.DataSet.getbuffer().nbytes if request.DataSet is not None else 0
    if not 0 < size <= MAX_INSTANCE_BYTES:
        return MALFORMED
    guard.alive()
    peer = event.assoc.remote
    sender = f"{peer['ae_title']} at {peer['address']}"
    status = inbox.keep(str(request.AffectedSOPInstanceUID), event.encoded_dataset(), sender)
    total = max(1, len(inbox.wanted))
    guard.progress(inbox.present / total, f"{inbox.present}/{total}")
    return status


def _requests(inbox: Inbox) -> list[Dataset]:
    """Return the identifiers that ask for what is missing: whole series, or single objects of begun ones."""
    keys: list[Mapping[str, str]] = []
    missing: dict[str, list[InstanceRow]] = {}
    for row in inbox.missing:
        missing.setdefault(row.series_instance_uid, []).append(row)
    wanted: dict[str, int] = {}
    for row in inbox.wanted.values():
        wanted[row.series_instance_uid] = wanted.get(row.series_instance_uid, 0) + 1
    for uid, rows in missing.items():
        above = {"StudyInstanceUID": inbox.study_uid, "SeriesInstanceUID": uid}
        if len(rows) == wanted[uid]:
            keys.append(above)
            continue
        uids = [row.sop_instance_uid for row in rows]
        for start in range(0, len(uids), _CHUNK):
            keys.append({**above, "SOPInstanceUID": "\\".join(uids[start : start + _CHUNK])})
    return [identifier("IMAGE" if "SOPInstanceUID" in key else "SERIES", (), key) for key in keys]


def _classes(inbox: Inbox) -> list[str]:
    """Return the SOP classes to be ready for: those of the objects, or the common ones where a server tells none."""
    from pynetdicom.presentation import StoragePresentationContexts

    told = {row.sop_class_uid for row in inbox.missing}
    known = [uid for uid in sorted(told) if _is_storage(uid)]
    if known and "" not in told:
        return known[:_MOST_CONTEXTS]
    common = [str(context.abstract_syntax) for context in StoragePresentationContexts]
    return list(dict.fromkeys([*known, *common]))[:_MOST_CONTEXTS]


def _is_storage(uid: str) -> bool:
    """Whether objects of a class can be received; a private one is made known to the library first."""
    from pynetdicom.service_class import ServiceClass, StorageServiceClass
    from pynetdicom.sop_class import register_uid, uid_to_service_class

    if not _UID.fullmatch(uid):
        return False
    if uid_to_service_class(uid) is ServiceClass:
        register_uid(uid, f"Private{uid.replace('.', '_')}", StorageServiceClass)
    return uid_to_service_class(uid) is StorageServiceClass


def storage_contexts(classes: Sequence[str]) -> list[PresentationContext]:
    """Return contexts for storage classes: one for each encoding where there is room, so that none is changed."""
    from pynetdicom.presentation import build_context

    if len(classes) * len(SYNTAXES) <= _MOST_CONTEXTS:
        return [build_context(uid, syntax) for uid in classes for syntax in SYNTAXES]
    return [build_context(uid, list(SYNTAXES)) for uid in classes]


def store(ctx: JobContext, server: Server, files: Sequence[Path], report: SendReport) -> None:
    """Send files (C-STORE), byte for byte; `report` knows at any time which have arrived.

    Sending one again does no harm: servers know an object by its SOPInstanceUID.
    """
    from pynetdicom.presentation import build_context

    kinds = outgoing(files, report)
    pairs = sorted(set(kinds.values()))
    groups = [pairs[n : n + _MOST_CONTEXTS] for n in range(0, len(pairs), _MOST_CONTEXTS)]

    def send(assoc: Association, path: Path) -> None:
        try:
            status = _status(server, assoc.send_c_store(path))
        # What the library says when the server took none of the contexts for this object.
        except (ValueError, AttributeError):
            report.failed.append((path, "the server takes no objects of this kind or encoding"))
            return
        if status == 0 or status & 0xF000 == 0xB000:
            report.arrived.append(path)
        else:
            report.failed.append((path, status_text(status, "store")))

    def work(guard: Guard) -> None:
        for group in groups:
            members = [path for path, kind in kinds.items() if kind in group]
            with associate(server, guard, [build_context(*kind) for kind in group]) as assoc:
                for path in members:
                    guard.progress(report.fraction, report.text())
                    send(assoc, path)

    run_guarded(ctx, work)


def _status(server: Server, response: Dataset) -> int:
    """Return the status of a response; without one the connection is gone."""
    if "Status" not in response:
        raise lost(server)
    return int(response.Status)
