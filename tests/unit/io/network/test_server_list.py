"""The servers a user knows, and what is never said of them."""

from __future__ import annotations

import logging
import os
from dataclasses import replace

import pytest

from medviewer.io.network import dicomweb, dimse
from medviewer.io.network.errors import NetworkError
from medviewer.io.network.query import QueryFields
from medviewer.io.network.servers import Server, ServerStore
from tests.pacs_kit import free_port, web_server
from tests.pacs_peers import CTX, dimse_at, web_at


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
