"""Servers that are absent, silent, slow, hostile or not who they claim to be; and callers nobody invited."""

from __future__ import annotations

import gzip
import logging
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
import trustme
from pacs_kit import Proxy, free_port, web_server
from pydicom import dcmread

from medviewer.io.network import association, dicomweb, dimse, guard, http
from medviewer.io.network.errors import NetworkError
from medviewer.io.network.inbox import MALFORMED, MISMATCH, NOT_ASKED_FOR, OK, Inbox, digest
from medviewer.io.network.multipart import parts_of
from medviewer.io.network.query import InstanceRow, QueryFields, name_pattern
from medviewer.io.network.scp import StoreScp
from medviewer.io.network.servers import Server, ServerStore
from medviewer.jobs.job import JobCancelled, NullContext

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


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def code_of(call) -> str:
    with pytest.raises(NetworkError) as caught:
        call()
    assert caught.value.hint
    return caught.value.code


# ---- absent and silent (W02)


def test_a_closed_port_and_an_unknown_host_are_named():
    port = free_port()
    assert code_of(lambda: dimse.echo(CTX, dimse_at(port))) == "E_REFUSED"
    assert code_of(lambda: dimse.echo(CTX, dimse_at(port, host="no host.invalid"))) == "E_HOST"
    assert code_of(lambda: dicomweb.test(CTX, web_at(port))) == "E_UNREACHABLE"


def test_silence_ends_in_time(silent, monkeypatch):
    monkeypatch.setattr(association, "CONNECT_S", 0.5)
    monkeypatch.setattr(http, "ANSWER_S", 0.5)
    start = time.monotonic()
    assert code_of(lambda: dimse.echo(CTX, dimse_at(silent))) == "E_NO_ANSWER"
    assert code_of(lambda: dicomweb.test(CTX, web_at(silent))) == "E_TIMEOUT"
    assert time.monotonic() - start < 5


def test_the_timeouts_are_the_promised_ones():
    assert (guard.CONNECT_S, guard.ANSWER_S) == (10.0, 30.0)
    assert guard.SILENCE_S <= 60


@pytest.mark.parametrize("kind", ["dimse", "web"])
def test_cancel_takes_at_most_a_second(silent, kind):
    start = time.monotonic()
    ask, server = (dimse.echo, dimse_at(silent)) if kind == "dimse" else (dicomweb.test, web_at(silent))
    with pytest.raises(JobCancelled):
        ask(Cancelled(0.3), server)
    assert time.monotonic() - start < 1.3


def test_a_server_that_says_nothing_useful_is_given_up(monkeypatch):
    start = time.monotonic()
    with pytest.raises(NetworkError) as caught:
        guard.run_guarded(CTX, lambda g: threading.Event().wait(3), silence_s=0.3)
    assert caught.value.code == "E_TIMEOUT"
    assert time.monotonic() - start < 2


def test_a_web_page_where_dicom_is_spoken_is_refused(monkeypatch):
    monkeypatch.setattr(association, "CONNECT_S", 1.0)
    with web_server(lambda r: r.send_error(400)) as port:
        assert code_of(lambda: dimse.echo(CTX, dimse_at(port))) in ("E_NO_ANSWER", "E_CONNECTION_LOST")


# ---- who calls us (S15, W05, W06, W07, R-27)


@pytest.fixture
def instance(phantom_files: tuple[Path, ...], tmp_path: Path) -> tuple[InstanceRow, Path]:
    header = dcmread(phantom_files[0], stop_before_pixels=True)
    row = InstanceRow(
        study_instance_uid=str(header.StudyInstanceUID),
        series_instance_uid=str(header.SeriesInstanceUID),
        sop_instance_uid=str(header.SOPInstanceUID),
        sop_class_uid=CT,
    )
    return row, phantom_files[0]


def changed(path: Path, target: Path, **values: str) -> Path:
    data = dcmread(path)
    for keyword, value in values.items():
        setattr(data, keyword, value)
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.save_as(target)
    return target


def send(port: int, path: Path, calling: str, called: str) -> str:
    report = dimse.SendReport()
    try:
        dimse.store(CTX, dimse_at(port, own_ae_title=calling, ae_title=called), [path], report)
    except NetworkError as error:
        return f"{error.code}: {error.text}"
    return "arrived" if report.arrived else report.failed[0][1]


def test_only_the_invited_may_send_and_only_what_was_asked_for(instance, tmp_path):
    row, path = instance
    server = dimse_at(104, listen_port=free_port())
    inbox = Inbox(tmp_path / "in", row.study_instance_uid, [row])
    port = server.listen_port
    assert send(port, path, "PACS", "US").startswith("E_REFUSED")  # closed while nothing is asked for
    with StoreScp(server, inbox, [CT], guard.Guard(CTX)):
        listeners = [
            c.laddr for c in psutil.Process().net_connections() if c.status == "LISTEN" and c.laddr.port == port
        ]
        assert [place.ip for place in listeners] == ["127.0.0.1"]
        assert "does not know our AE title" in send(port, path, "STRANGER", "US")
        assert "not called by the AE title" in send(port, path, "PACS", "OTHER")
        unasked = changed(path, tmp_path / "unasked.dcm", StudyInstanceUID="1.2.3", SOPInstanceUID="1.2.3.4")
        assert "0x0124" in send(port, unasked, "PACS", "US")
        stolen = changed(path, tmp_path / "stolen.dcm", StudyInstanceUID="1.2.3")
        assert "0x0124" in send(port, stolen, "PACS", "US")
        assert inbox.present == 0
        assert not list(tmp_path.joinpath("in").rglob("*.dcm"))
        assert send(port, path, "PACS", "US") == "arrived"
        assert send(port, path, "PACS", "US") == "arrived"
        assert (inbox.present, inbox.refused) == (1, 2)
    assert send(port, path, "PACS", "US").startswith("E_REFUSED")


HOSTILE = (
    "../../x", "/etc/x", "C:\\x", "CON", "a\0b", "1" * 5000, "‮cod", "; rm -rf", "-x\n", "=cmd()", "..", ".", "",
)  # fmt: skip


@pytest.mark.parametrize("uid", HOSTILE)
def test_hostile_uids_never_become_paths(instance, tmp_path, uid):
    row, path = instance
    root = tmp_path / "in"
    hostile = replace(row, study_instance_uid=uid, series_instance_uid=uid, sop_instance_uid=uid)
    inbox = Inbox(root, uid, [hostile])
    assert inbox.keep(uid, path.read_bytes()) == NOT_ASKED_FOR
    assert inbox.keep(uid, b"no dicom") == MALFORMED
    assert all(entry.resolve().is_relative_to(root) for entry in tmp_path.rglob("*"))
    assert {entry.name for entry in tmp_path.iterdir()} == {"in"}
    assert digest(uid).isalnum()


def test_an_object_under_another_name_is_refused(instance, tmp_path):
    row, path = instance
    other = replace(row, sop_instance_uid="1.2.3")
    inbox = Inbox(tmp_path, row.study_instance_uid, [other])
    assert inbox.keep("1.2.3", path.read_bytes()) == MISMATCH
    assert Inbox(tmp_path, row.study_instance_uid, [row]).keep(row.sop_instance_uid, path.read_bytes()) == OK


@pytest.mark.parametrize("callers", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_absurd_pdus_and_many_callers_cost_no_memory(instance, tmp_path, callers):
    row, _ = instance
    server = dimse_at(104, listen_port=free_port())
    inbox = Inbox(tmp_path / "in", row.study_instance_uid, [row])
    process = psutil.Process()
    with StoreScp(server, inbox, [CT], guard.Guard(CTX)):
        before = process.memory_info().rss
        open_sockets = []
        for n in range(callers):
            sock = socket.create_connection(("127.0.0.1", server.listen_port), timeout=5)
            with_length = struct.pack(">BBL", 1, 0, 0xFFFFFFFF) + b"\0" * 64
            try:
                sock.sendall(with_length if n % 2 else b"\x01")
            except OSError:
                continue
            open_sockets.append(sock)
        grown = process.memory_info().rss - before
        for sock in open_sockets:
            sock.close()
        assert grown < 100 << 20
        assert inbox.present == 0


# ---- TLS (S16, W11, R-29)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def tls_server_context(issuer: trustme.CA, *names: str, expired: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    more = {"not_after": datetime(2020, 1, 1, tzinfo=UTC), "not_before": datetime(2019, 1, 1, tzinfo=UTC)}
    issuer.issue_cert(*names, **(more if expired else {})).configure_cert(context)
    return context


def tls_cases(authority: trustme.CA) -> dict[str, ssl.SSLContext | None]:
    return {
        "good": tls_server_context(authority, "127.0.0.1"),
        "self-signed": tls_server_context(trustme.CA(), "127.0.0.1"),
        "expired": tls_server_context(authority, "127.0.0.1", expired=True),
        "wrong host": tls_server_context(authority, "pacs.example.org"),
        "no TLS": None,
    }


def json_reply(request) -> None:
    request.send_response(200)
    request.send_header("Content-Type", "application/dicom+json")
    request.send_header("Content-Length", "2")
    request.end_headers()
    request.wfile.write(b"[]")


@pytest.mark.parametrize("case", ["good", "self-signed", "expired", "wrong host", "no TLS"])
def test_https_is_verified(authority, ca_file, case):
    with web_server(json_reply, tls_cases(authority)[case]) as port:
        server = web_at(port, "https", ca_file=ca_file)
        if case == "good":
            assert dicomweb.test(CTX, server) < 5
            return
        with pytest.raises(NetworkError) as caught:
            dicomweb.test(CTX, server)
        assert caught.value.code == "E_TLS"
        words = {"self-signed": "issuer", "expired": "expired", "wrong host": "mismatch", "no TLS": "secure"}[case]
        assert words in caught.value.text


@pytest.mark.parametrize("case", ["good", "self-signed", "expired", "wrong host", "no TLS"])
def test_dimse_over_tls_is_verified(authority, ca_file, case):
    ae = association.new_ae("PACS")
    ae.add_supported_context(dimse.VERIFICATION)
    listener = ae.start_server(("127.0.0.1", 0), block=False, ssl_context=tls_cases(authority)[case])
    try:
        server = dimse_at(listener.server_address[1], tls=True, ca_file=ca_file)
        if case == "good":
            assert dimse.echo(CTX, server) < 5
        else:
            assert code_of(lambda: dimse.echo(CTX, server)) in (
                ("E_TLS", "E_UNREACHABLE") if case == "no TLS" else ("E_TLS",)
            )
        if case == "self-signed":
            assert dimse.echo(CTX, replace(server, verify=False)) < 5
    finally:
        listener.shutdown()


# ---- HTTP faults (W08, S17)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 406, 409, 413, 415, 429, 500, 502, 503, 504, 418])
def test_every_http_fault_has_a_name(status):
    with web_server(lambda r: r.send_error(status)) as port:
        assert code_of(lambda: dicomweb.find_studies(CTX, web_at(port), QueryFields())) == f"E_HTTP_{status}"


def redirect_to(place: str):
    def reply(request) -> None:
        request.send_response(302)
        request.send_header("Location", place)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return reply


def test_credentials_never_go_to_another_place():
    heard: list[str] = []
    with (
        web_server(lambda r: (heard.append(r.path), json_reply(r))) as other,
        web_server(redirect_to(f"http://127.0.0.1:{other}/steal")) as port,
    ):
        server = web_at(port, auth="basic", user="me", secret="hush")
        assert code_of(lambda: dicomweb.test(CTX, server)) == "E_HTTP_ORIGIN"
        for uri in (f"http://127.0.0.1:{other}/bulk", "file:///etc/passwd", "//127.0.0.1:1/x", "ftp://x/y"):
            assert code_of(lambda uri=uri: dicomweb.bulk_data(CTX, server, uri)) == "E_HTTP_ORIGIN"
    assert heard == []


def test_a_circle_of_redirects_ends():
    with web_server(redirect_to("/dicom-web/studies?again")) as port:
        assert code_of(lambda: dicomweb.test(CTX, web_at(port))) == "E_HTTP_REDIRECT"


def reply_with(body: bytes, kind: str, length: int | None = None, encoding: str = ""):
    def reply(request) -> None:
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body) if length is None else length))
        if encoding:
            request.send_header("Content-Encoding", encoding)
        request.end_headers()
        request.wfile.write(body)

    return reply


@pytest.mark.parametrize(
    ("reply", "codes"),
    [
        (reply_with(b"<html>Sign in</html>", "text/html"), {"E_HTTP_CONTENT"}),
        (reply_with(b"[" * 100_000, "application/dicom+json"), {"E_HTTP_CONTENT"}),
        (reply_with(b"[]", "application/dicom+json", length=5000), {"E_HTTP_TRUNCATED", "E_UNREACHABLE"}),
        (reply_with(gzip.compress(bytes(65 << 20)), "application/json", encoding="gzip"), {"E_HTTP_TOO_LARGE"}),
    ],
    ids=["html", "nesting", "length lies", "gzip bomb"],
)
def test_answers_that_are_none_are_refused(reply, codes):
    with web_server(reply) as port:
        assert code_of(lambda: dicomweb.find_studies(CTX, web_at(port), QueryFields())) in codes


def test_a_broken_envelope_keeps_nothing(instance, tmp_path):
    row, path = instance
    data = path.read_bytes()
    good = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n--b--"
    kind = 'multipart/related; type="application/dicom"; boundary='
    assert parts_of(kind + "b", good) == [data]
    assert parts_of("application/dicom", data) == [data]
    for wrong_kind, body in (
        (kind + "c", good),
        (kind + "b", good[:-20]),
        ("text/html", good),
        ("multipart/related", good),
    ):
        with web_server(reply_with(body, wrong_kind)) as port:
            inbox = Inbox(tmp_path, row.study_instance_uid, [row])
            code = code_of(lambda port=port, inbox=inbox: dicomweb.fetch(CTX, web_at(port), inbox))
            assert code.startswith("E_HTTP_")
            assert not list(tmp_path.rglob("*.dcm"))


def test_more_answers_than_one_can_read_are_cut_off(monkeypatch):
    page = b"[" + b",".join(
        b'{"0020000D":{"vr":"UI","Value":["1.2.%d"]}}' % n for n in range(600)
    ) + b"]"  # fmt: skip
    with web_server(reply_with(page, "application/dicom+json")) as port:
        found = dicomweb.find_studies(CTX, web_at(port), QueryFields())
    assert (len(found.studies), found.truncated) == (500, True)


# ---- what is kept and said


def test_the_server_file_is_private_and_survives_a_round_trip(tmp_path):
    path = tmp_path / "servers.toml"
    store = ServerStore(path)
    server = web_at(8042, auth="basic", user='mé"\\\n', secret='p"w\\', store_ae_titles=("A", "B"))
    store.put(server)
    store.put(dimse_at(104, name="Other"))
    assert ServerStore(path).servers == (server, dimse_at(104, name="Other"))
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600
    assert "p" not in repr(server).split("secret")[-1] or "secret" not in repr(server)
    store.put(replace(server, name="New"), instead_of="PACS")
    assert [known.name for known in ServerStore(path).servers] == ["New", "Other"]
    store.remove("New")
    assert b"hush" not in path.read_bytes()
    path.write_text("no [toml")
    assert ServerStore(path).servers == ()
    assert path.with_suffix(".bad").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        dimse_at(104, name=" "), dimse_at(0), dimse_at(104, ae_title="A" * 17), dimse_at(104, own_ae_title="a\\b"),
        web_at(1, "ftp"), Server(name="x", kind="dicomweb", url="https://me:pw@host/"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(tmp_path, wrong):
    with pytest.raises(NetworkError) as caught:
        ServerStore(tmp_path / "s.toml").put(wrong)
    assert caught.value.code == "E_SERVER"
    assert not (tmp_path / "s.toml").exists()


def test_what_is_searched_for_is_never_logged(caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    fields = QueryFields(patient_name="Planted^Secret", patient_id="PLANTED-1")
    port = free_port()
    errors = []
    for call in (
        lambda: dicomweb.find_studies(CTX, web_at(port), fields),
        lambda: dimse.find_studies(CTX, dimse_at(port), fields),
    ):
        with pytest.raises(NetworkError) as caught:
            call()
        errors.append(caught.value)
    with web_server(lambda r: r.send_error(500)) as other, pytest.raises(NetworkError) as caught:
        dicomweb.find_studies(CTX, web_at(other), fields)
    errors.append(caught.value)
    for error in errors:
        logging.getLogger("medviewer").error("failed", exc_info=error)
    assert "lanted" not in caplog.text.lower()
    assert "planted" not in repr(fields).lower()


def test_names_are_asked_for_as_they_are_meant():
    assert name_pattern("doe, j") == "doe*j*"
    assert name_pattern("Doe^Jane") == "Doe*Jane*"
    assert name_pattern("DO?*") == "DO?*"
    assert name_pattern("*" * 60) == "*"
    assert name_pattern("") == ""
    assert QueryFields(date_from="20240101").matching() == {"StudyDate": "20240101-"}
    assert QueryFields(description="chest").matching() == {"StudyDescription": "*chest*"}
    assert QueryFields().matching() == {}


def test_statuses_have_names():
    assert "Move destination unknown" in dimse.status_text(0xA801, "move")
    assert "0xC123" in dimse.status_text(0xC123, "find")
    for status in range(0x10000):
        assert dimse.status_text(status, "store")


def test_a_trickling_server_can_be_cancelled(silent):
    with Proxy(silent, pause_s=0.2) as proxy:
        start = time.monotonic()
        with pytest.raises(JobCancelled):
            dimse.echo(Cancelled(0.5), dimse_at(proxy.port))
        assert time.monotonic() - start < 1.5
