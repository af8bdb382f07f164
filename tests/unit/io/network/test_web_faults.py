"""Web servers that refuse, lie or lead astray (W08, S17)."""

from __future__ import annotations

import gzip

import pytest

from medviewer.io.network import dicomweb
from medviewer.io.network.inbox import Inbox
from medviewer.io.network.multipart import parts_of
from medviewer.io.network.query import QueryFields
from tests.pacs_kit import web_server
from tests.pacs_peers import CTX, code_of, json_reply, redirect_to, reply_with, web_at


@pytest.mark.parametrize("status", [400, 401, 403, 404, 406, 409, 413, 415, 429, 500, 502, 503, 504, 418])
def test_W08_every_http_fault_has_a_name(status):
    with web_server(lambda r: r.send_error(status)) as port:
        assert code_of(lambda: dicomweb.find_studies(CTX, web_at(port), QueryFields())) == f"E_HTTP_{status}"


def test_S16_S17_credentials_never_go_to_another_place():
    heard: list[str] = []
    with (
        web_server(lambda r: (heard.append(r.path), json_reply(r))) as other,
        web_server(redirect_to(f"http://127.0.0.1:{other}/steal")) as port,
    ):
        server = web_at(port, auth="basic", user="me", secret="hush")
        assert code_of(lambda: dicomweb.echo(CTX, server)) == "E_HTTP_ORIGIN"
        for uri in (f"http://127.0.0.1:{other}/bulk", "file:///etc/passwd", "//127.0.0.1:1/x", "ftp://x/y"):
            assert code_of(lambda uri=uri: dicomweb.bulk_data(CTX, server, uri)) == "E_HTTP_ORIGIN"
    assert heard == []


def test_W08_a_circle_of_redirects_ends():
    with web_server(redirect_to("/dicom-web/studies?again")) as port:
        assert code_of(lambda: dicomweb.echo(CTX, web_at(port))) == "E_HTTP_REDIRECT"


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
def test_W08_answers_that_are_none_are_refused(reply, codes):
    with web_server(reply) as port:
        assert code_of(lambda: dicomweb.find_studies(CTX, web_at(port), QueryFields())) in codes


def test_W08_a_broken_envelope_keeps_nothing(instance, tmp_path):
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
