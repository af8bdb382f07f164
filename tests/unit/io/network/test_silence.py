"""Servers that are absent, silent or slow, or that will not have us (W01, W02)."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from medviewer.io.network import association, dicomweb, dimse, guard, http
from medviewer.io.network.errors import NetworkError
from medviewer.jobs.job import JobCancelled
from tests.pacs_kit import Proxy, free_port, web_server
from tests.pacs_peers import CTX, Cancelled, code_of, dimse_at, web_at


def test_W02_a_closed_port_and_an_unknown_host_are_named():
    port = free_port()
    assert code_of(lambda: dimse.echo(CTX, dimse_at(port))) == "E_REFUSED"
    assert code_of(lambda: dimse.echo(CTX, dimse_at(port, host="no host.invalid"))) == "E_HOST"
    assert code_of(lambda: dicomweb.echo(CTX, web_at(port))) == "E_UNREACHABLE"
    nowhere = replace(web_at(port), url="https://no-host.invalid/dicom-web")
    assert code_of(lambda: dicomweb.echo(CTX, nowhere)) == "E_HOST"


def test_W02_silence_ends_in_time(silent, monkeypatch):
    monkeypatch.setattr(association, "CONNECT_S", 0.5)
    monkeypatch.setattr(http, "ANSWER_S", 0.5)
    start = time.monotonic()
    assert code_of(lambda: dimse.echo(CTX, dimse_at(silent))) == "E_NO_ANSWER"
    assert code_of(lambda: dicomweb.echo(CTX, web_at(silent))) == "E_TIMEOUT"
    assert time.monotonic() - start < 5


def test_W02_the_timeouts_are_the_promised_ones():
    assert (guard.CONNECT_S, guard.ANSWER_S) == (10.0, 30.0)
    assert guard.SILENCE_S <= 60


@pytest.mark.parametrize("kind", ["dimse", "web"])
def test_W02_cancel_takes_at_most_a_second(silent, kind):
    start = time.monotonic()
    ask, server = (dimse.echo, dimse_at(silent)) if kind == "dimse" else (dicomweb.echo, web_at(silent))
    with pytest.raises(JobCancelled):
        ask(Cancelled(0.3), server)
    assert time.monotonic() - start < 1.3


def test_W02_a_server_that_says_nothing_useful_is_given_up(monkeypatch):
    start = time.monotonic()
    with pytest.raises(NetworkError) as caught:
        guard.run_guarded(CTX, lambda g: threading.Event().wait(3), silence_s=0.3)
    assert caught.value.code == "E_TIMEOUT"
    assert time.monotonic() - start < 2


def test_W02_a_web_page_where_dicom_is_spoken_is_refused(monkeypatch):
    monkeypatch.setattr(association, "CONNECT_S", 1.0)
    with web_server(lambda r: r.send_error(400)) as port:
        assert code_of(lambda: dimse.echo(CTX, dimse_at(port))) in ("E_NO_ANSWER", "E_CONNECTION_LOST")


def test_W02_a_trickling_server_can_be_cancelled(silent):
    with Proxy(silent, pause_s=0.2) as proxy:
        start = time.monotonic()
        with pytest.raises(JobCancelled):
            dimse.echo(Cancelled(0.5), dimse_at(proxy.port))
        assert time.monotonic() - start < 1.5


def test_W01_a_server_that_does_not_know_us_says_so():
    ae = association.new_ae("PACS")
    ae.add_supported_context(dimse.VERIFICATION)
    ae.require_calling_aet = ["SOMEBODY"]
    listener = ae.start_server(("127.0.0.1", 0), block=False)
    try:
        with pytest.raises(NetworkError, match="does not know our AE title") as caught:
            dimse.echo(CTX, dimse_at(listener.server_address[1]))
    finally:
        listener.shutdown()
    assert caught.value.code == "E_REJECTED"
    assert "registered" in caught.value.hint


def test_W01_every_reason_for_a_rejection_has_words():
    assert {(1, 1), (1, 2), (1, 3), (1, 7), (2, 1), (2, 2), (3, 1), (3, 2)} == association.REJECTIONS.keys()
    assert all(association.REJECTIONS.values())
