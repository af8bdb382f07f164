"""Servers that are not who they claim to be (S16, W11)."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from medviewer.io.network import association, dicomweb, dimse, guard
from medviewer.io.network.errors import NetworkError
from medviewer.io.network.inbox import Inbox
from medviewer.io.network.scp import StoreScp
from medviewer.io.network.sending import SendReport
from tests.pacs_kit import free_port, web_server
from tests.pacs_peers import CT, CTX, code_of, dimse_at, json_reply, redirect_to, tls_cases, web_at


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.mark.parametrize("case", ["good", "self-signed", "expired", "wrong host", "no TLS"])
def test_S16_W11_https_is_verified(authority, ca_file, case):
    with web_server(json_reply, tls_cases(authority)[case]) as port:
        server = web_at(port, "https", ca_file=ca_file)
        if case == "good":
            assert dicomweb.echo(CTX, server) < 5
            return
        with pytest.raises(NetworkError) as caught:
            dicomweb.echo(CTX, server)
        assert caught.value.code == "E_TLS"
        words = {"self-signed": "issuer", "expired": "expired", "wrong host": "mismatch", "no TLS": "secure"}[case]
        assert words in caught.value.text


@pytest.mark.parametrize("case", ["good", "self-signed", "expired", "wrong host", "no TLS"])
def test_S16_W11_dimse_over_tls_is_verified(authority, ca_file, case):
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


def test_S16_a_server_that_calls_back_needs_a_certificate_too(authority, ca_file, instance, tmp_path):
    row, path = instance
    with pytest.raises(NetworkError, match="certificate of ours"):
        dimse_at(104, tls=True, fetch="move").check()
    issued = authority.issue_cert("127.0.0.1")
    own, foreign = tmp_path / "own.pem", tmp_path / "foreign.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(str(own))
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(foreign))
    server = dimse_at(104, tls=True, fetch="move", ca_file=ca_file, client_cert=str(own), listen_port=free_port())
    server.check()
    inbox = Inbox(tmp_path / "in", row.study_instance_uid, [row])
    caller = dimse_at(server.listen_port, own_ae_title="PACS", ae_title="US", tls=True, ca_file=ca_file)
    with StoreScp(server, inbox, [CT], guard.Guard(CTX)), socket.create_connection(("127.0.0.1", server.listen_port)):
        # One more that connects and says nothing keeps nobody waiting.
        for uninvited in (replace(caller, tls=False), caller, replace(caller, client_cert=str(foreign))):
            with pytest.raises(NetworkError):
                dimse.store(CTX, uninvited, [path], SendReport())
        assert inbox.present == 0
        dimse.store(CTX, replace(caller, client_cert=str(own)), [path], report := SendReport())
        assert report.arrived == [path]
    assert inbox.present == 1


def test_S16_W11_nobody_leads_us_out_of_tls(authority, ca_file):
    heard: list[str] = []

    def plain(request) -> None:
        heard.append(request.path)
        json_reply(request)

    with (
        web_server(plain) as other,
        web_server(redirect_to(f"http://127.0.0.1:{other}/dicom-web/studies"), tls_cases(authority)["good"]) as port,
    ):
        server = web_at(port, "https", ca_file=ca_file, auth="basic", user="me", secret="hush")
        assert code_of(lambda: dicomweb.echo(CTX, server)) == "E_TLS"
    assert heard == []
