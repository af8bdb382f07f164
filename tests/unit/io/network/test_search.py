"""What is asked for and how answers are read (W10)."""

from __future__ import annotations

from medviewer.io.network import dicomweb, dimse
from medviewer.io.network.query import QueryFields, name_pattern
from tests.pacs_kit import web_server
from tests.pacs_peers import CTX, reply_with, web_at


def test_W10_more_answers_than_one_can_read_are_cut_off(monkeypatch):
    page = b"[" + b",".join(
        b'{"0020000D":{"vr":"UI","Value":["1.2.%d"]}}' % n for n in range(600)
    ) + b"]"  # fmt: skip
    with web_server(reply_with(page, "application/dicom+json")) as port:
        found = dicomweb.find_studies(CTX, web_at(port), QueryFields())
    assert (len(found.studies), found.truncated) == (500, True)


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
