"""What is asked for and how answers are read (W10)."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from medviewer.io.network import dicomweb, dimse
from medviewer.io.network.errors import NetworkError
from medviewer.io.network.query import QueryFields, SeriesRow, StudyRow, dates_of, name_pattern
from medviewer.io.network.services import search
from tests.pacs_kit import web_server
from tests.pacs_peers import CTX, code_of, dimse_at, find_scp, reply_with, study_answer, web_at


def test_W10_more_answers_than_one_can_read_are_cut_off(monkeypatch):
    page = b"[" + b",".join(
        b'{"0020000D":{"vr":"UI","Value":["1.2.%d"]}}' % n for n in range(600)
    ) + b"]"  # fmt: skip
    with web_server(reply_with(page, "application/dicom+json")) as port:
        found = dicomweb.find_studies(CTX, web_at(port), QueryFields())
    assert (len(found.rows), found.next_offset) == (500, 500)


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


@pytest.mark.parametrize("polite", [True, False])
def test_W10_a_hundred_thousand_answers_are_stopped_and_asked_for_page_by_page(polite, monkeypatch):
    monkeypatch.setattr(dimse, "MAX_ROWS", 50)
    # How many answers are under way when a polite server hears of the cancel, the machine decides.
    monkeypatch.setattr(dimse, "_MOST_AFTER_CANCEL", 500 if polite else 50)
    made = []

    def answers():
        for n in range(100_000):
            made.append(n)
            yield study_answer(f"1.2.{n}")

    heard: list[Dataset] = []
    with find_scp(answers, heard, polite=polite) as port:
        first = dimse.find_studies(CTX, dimse_at(port), QueryFields(patient_name="*" * 64))
        assert heard[0].PatientName == "*"
        assert (len(first.rows), first.next_offset) == (50, 50)
        assert len(made) < 10_000
        assert polite == (len(heard) == 2)
        second = dimse.find_studies(CTX, dimse_at(port), QueryFields(), first.next_offset)
    assert (len(second.rows), second.next_offset) == (50, 100)
    assert {row.study_instance_uid for row in (*first.rows, *second.rows)} == {f"1.2.{n}" for n in range(100)}


def test_W10_answers_in_other_character_sets_are_read():
    def answers():
        yield study_answer("1", SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg")
        japanese = study_answer("2", PatientName="Yamada^Tarou=山田^太郎")
        japanese.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
        yield japanese
        yield study_answer("3", SpecificCharacterSet="NONSENSE", PatientName="Doe^Jane")
        undeclared = study_answer("4")
        undeclared.add_new("PatientName", "PN", "Müller".encode("latin-1"))
        yield undeclared
        wrong = study_answer("5", SpecificCharacterSet="ISO_IR 192")
        wrong.add_new("PatientName", "PN", b"M\xfcller")
        yield wrong

    with find_scp(answers, []) as port, pytest.warns(UserWarning, match="NONSENSE"):
        found = dimse.find_studies(CTX, dimse_at(port), QueryFields(patient_name="*"))
    names = {row.study_instance_uid: row.patient_name for row in found.rows}
    assert names.keys() == {"1", "2", "3", "4", "5"}
    assert names["1"] == "Müller^Jörg"
    assert names["2"] == "Yamada^Tarou=山田^太郎"
    assert names["3"] == "Doe^Jane"
    assert names["5"].startswith("M")


def test_names_are_asked_for_in_the_character_set_of_the_server():
    heard: list[Dataset] = []
    with find_scp(lambda: iter(()), heard) as port:
        for charset, name in (("ISO_IR 192", "Müller"), ("ISO_IR 100", "Müller"), ("ISO 2022 IR 87", "山田")):
            server = dimse_at(port, charset=charset)
            dimse.find_studies(CTX, server, QueryFields(patient_name=name))
            assert charset in str(heard[-1].SpecificCharacterSet)
            assert str(heard[-1].PatientName) == name_pattern(name)
        ascii_only = dimse_at(port, charset="")
        dimse.find_studies(CTX, ascii_only, QueryFields(patient_name="Doe"))
        assert "SpecificCharacterSet" not in heard[-1]
        assert code_of(lambda: dimse.find_studies(CTX, ascii_only, QueryFields(patient_name="Müller"))) == "E_CHARSET"
        greek = dimse_at(port, charset="ISO_IR 126")
        assert code_of(lambda: dimse.find_studies(CTX, greek, QueryFields(patient_name="山"))) == "E_CHARSET"
    assert name_pattern("山田") == "*山田*"


def test_keys_that_a_server_ignores_still_count():
    def answers():
        yield study_answer(
            "1", ModalitiesInStudy="CT", StudyDescription="Chest [low dose]", ReferringPhysicianName="Roe^R"
        )
        yield study_answer("2", ModalitiesInStudy="MR", StudyDescription="Head", ReferringPhysicianName="Doe^J")
        yield study_answer("3")

    with find_scp(answers, []) as port:
        for fields, uids in (
            (QueryFields(modality="ct"), {"1", "3"}),
            (QueryFields(description="chest [low"), {"1", "3"}),
            (QueryFields(referring_physician="doe, j"), {"2", "3"}),
            (QueryFields(), {"1", "2", "3"}),
        ):
            found = dimse.find_studies(CTX, dimse_at(port), fields)
            assert {row.study_instance_uid for row in found.rows} == uids


def test_a_body_part_is_looked_for_among_the_series(monkeypatch):
    rows = tuple(StudyRow(study_instance_uid=uid) for uid in "123")
    parts = {"1": ("CHEST", "NECK"), "2": ("HEAD",), "3": ("",)}
    monkeypatch.setattr(dimse, "find_studies", lambda *_: dimse.Found(rows))
    monkeypatch.setattr(
        dimse,
        "find_series",
        lambda ctx, server, *uids: tuple(
            SeriesRow(study_instance_uid=uid, series_instance_uid=uid, body_part=part)
            for uid in uids
            for part in parts[uid]
        ),
    )
    for part, uids in (("neck", ["1"]), ("chest", ["1"]), ("head", ["2"]), ("", ["1", "2", "3"]), ("leg", [])):
        found = search(CTX, dimse_at(1), QueryFields(body_part=part))
        assert [row.study_instance_uid for row in found.rows] == uids


TODAY = date(2024, 3, 1)


@pytest.mark.parametrize(
    ("text", "both"),
    [
        ("today", ("20240301", "20240301")), ("Yesterday", ("20240229", "20240229")),
        ("week", ("20240223", "20240301")),
        ("20240105", ("20240105", "20240105")), ("2024/01/05-20240201", ("20240105", "20240201")),
        ("-20240201", ("", "20240201")), ("20240105-", ("20240105", "")),
    ],
)  # fmt: skip
def test_spans_of_time_have_names(text, both):
    assert dates_of(text, TODAY) == both


@pytest.mark.parametrize("text", ["", "-", "soon", "2024", "20240105-x"])
def test_what_is_no_span_of_time_is_refused(text):
    with pytest.raises(NetworkError):
        dates_of(text)


@given(st.text(max_size=80))
def test_what_is_typed_never_breaks_a_key(text):
    fields = QueryFields(
        patient_name=text, patient_id=text, accession_number=text, description=text, referring_physician=text
    )
    for value in fields.matching().values():
        assert not set(value) & set("\\\0\r\n")
        assert "**" not in value
        assert len(value) <= 130
    fields.fits(StudyRow(study_instance_uid="1", description=text, referring_physician=text))
