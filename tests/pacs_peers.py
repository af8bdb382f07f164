"""Peers that are no PACS: callers nobody invited, web servers that misbehave, certificates that do not fit."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import psutil
import trustme
from pydicom import Dataset, dcmread

from medviewer.io.network.association import drop, new_ae
from medviewer.io.network.errors import NetworkError
from medviewer.io.network.servers import Server
from medviewer.jobs.job import JobCancelled, NullContext
from tests.pacs_kit import Reply

CTX = NullContext()


CT = "1.2.840.10008.5.1.4.1.1.2"


class Cancelled(NullContext):
    """A job that its user cancels after a moment."""

    def __init__(self, after_s: float) -> None:
        super().__init__()
        self._end = time.monotonic() + after_s

    def check_cancelled(self) -> None:
        if time.monotonic() > self._end:
            raise JobCancelled


def dimse_at(port: int, **more: object) -> Server:
    return Server(**{"name": "PACS", "port": port, "ae_title": "PACS", "own_ae_title": "US", **more})  # type: ignore[arg-type]


def web_at(port: int, scheme: str = "http", **more: object) -> Server:
    url = f"{scheme}://127.0.0.1:{port}/dicom-web"
    return Server(**{"name": "PACS", "kind": "dicomweb", "url": url, **more})  # type: ignore[arg-type]


def changed(path: Path, target: Path, **values: str) -> Path:
    data = dcmread(path)
    for keyword, value in values.items():
        setattr(data, keyword, value)
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.save_as(target)
    return target


def send(port: int, path: Path, calling: str, called: str) -> str:
    """Push an object; return what became of it."""
    from medviewer.io.network import dimse
    from medviewer.io.network.sending import SendReport

    report = SendReport()
    try:
        dimse.store(CTX, dimse_at(port, own_ae_title=calling, ae_title=called), [path], report)
    except NetworkError as error:
        return f"{error.code}: {error.text}"
    return "arrived" if report.arrived else report.failed[0][1]


def tls_server_context(issuer: trustme.CA, *names: str, expired: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    after, before = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2019, 1, 1, tzinfo=UTC)) if expired else (None, None)
    issuer.issue_cert(*names, not_after=after, not_before=before).configure_cert(context)
    return context


def tls_cases(authority: trustme.CA) -> dict[str, ssl.SSLContext | None]:
    return {
        "good": tls_server_context(authority, "127.0.0.1"),
        "self-signed": tls_server_context(trustme.CA(), "127.0.0.1"),
        "expired": tls_server_context(authority, "127.0.0.1", expired=True),
        "wrong host": tls_server_context(authority, "pacs.example.org"),
        "no TLS": None,
    }


def json_reply(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Type", "application/dicom+json")
    request.send_header("Content-Length", "2")
    request.end_headers()
    request.wfile.write(b"[]")


def redirect_to(place: str) -> Reply:
    def reply(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", place)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return reply


def reply_with(body: bytes, kind: str, length: int | None = None, encoding: str = "") -> Reply:
    def reply(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body) if length is None else length))
        if encoding:
            request.send_header("Content-Encoding", encoding)
        request.end_headers()
        request.wfile.write(body)

    return reply


def code_of(call: Callable[[], object]) -> str:
    """Return the code of the refusal that a call must end in; a refusal has a hint."""
    try:
        call()
    except NetworkError as error:
        return error.code if error.hint else "without a hint"
    raise AssertionError("it was not refused")


@contextmanager
def find_scp(answers: Callable[[], Iterator[Dataset]], heard: list[Dataset], *, polite: bool = True) -> Iterator[int]:
    """Answer every C-FIND with the same data sets; `heard` gets the queries, and an empty one for a C-CANCEL obeyed."""
    from pynetdicom import AE, evt

    def find(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        heard.append(event.identifier)
        for answer in answers():
            if polite:
                # Else the thread that reads never has its turn, and no cancel is heard.
                time.sleep(0.001)
                if event.is_cancelled:
                    heard.append(Dataset())
                    yield 0xFE00, None
                    return
            yield 0xFF00, answer

    ae = AE("PACS")
    for uid in ("1.2.840.10008.5.1.4.1.2.1.1", "1.2.840.10008.5.1.4.1.2.2.1"):
        ae.add_supported_context(uid)
    listener = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, find)])
    assert listener is not None
    try:
        yield int(listener.server_address[1])
    finally:
        listener.shutdown()


@contextmanager
def get_scp(files: list[Path]) -> Iterator[int]:
    """Answer every C-GET with the same objects."""
    from pynetdicom import AE, evt

    def get(event: evt.Event) -> Iterator[object]:
        yield len(files)
        for path in files:
            yield 0xFF00, dcmread(path)

    ae = AE("PACS")
    ae.add_supported_context("1.2.840.10008.5.1.4.1.2.2.3")
    ae.add_supported_context(CT, scu_role=True, scp_role=True)
    listener = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_GET, get)])
    assert listener is not None
    try:
        yield int(listener.server_address[1])
    finally:
        listener.shutdown()


def study_answer(uid: str, **values: str) -> Dataset:
    """Return an answer at the study level."""
    answer = Dataset()
    answer.StudyInstanceUID = uid
    for keyword, value in values.items():
        setattr(answer, keyword, value)
    return answer


def push(port: int, path: Path) -> None:
    """Send an object as somebody would who checks nothing."""
    from pynetdicom.presentation import build_context

    ae = new_ae("PACS")
    assoc = ae.associate("127.0.0.1", port, contexts=[build_context(CT)], ae_title="US")
    data = dcmread(path)
    # What the library cannot put into words never reaches anybody.
    with suppress(TypeError, ValueError, RuntimeError):
        assoc.send_c_store(data)
    drop(assoc)


def flood(port: int, callers: int) -> int:
    """Connect many times, half of them announcing PDUs of 4 GB; return by how many bytes our memory grew."""
    process = psutil.Process()
    before = process.memory_info().rss
    opened = []
    for n in range(callers):
        try:
            sock = socket.create_connection(("127.0.0.1", port), timeout=5)
            sock.sendall(struct.pack(">BBL", 1, 0, 0xFFFFFFFF) + bytes(64) if n % 2 else b"\x01")
        except OSError:
            continue
        opened.append(sock)
    grown = process.memory_info().rss - before
    for sock in opened:
        sock.close()
    return grown
