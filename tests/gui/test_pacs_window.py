"""The PACS window over a stand-in for the network: servers, search, series, queue, resume, priors."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMessageBox
from pytestqt.qtbot import QtBot

from medviewer.app.context import AppContext
from medviewer.io.network import dimse, retrieve
from medviewer.io.network.errors import IncompleteError, NetworkError
from medviewer.io.network.query import Found, QueryFields, SeriesRow, StudyRow
from medviewer.io.network.servers import Server
from medviewer.ui.dialogs.pacs_dialog import PacsDialog
from medviewer.ui.dialogs.pacs_server import ServerDialog

STUDIES = (
    StudyRow(study_instance_uid="1.1", patient_name="Doe^Jane", patient_id="P1", study_date="20240105", instances=3),
    StudyRow(study_instance_uid="1.2", patient_name="<b>Roe</b>^R", patient_id="P2", study_date="20240104"),
)
SERIES = (SeriesRow(study_instance_uid="1.1", series_instance_uid="1.1.1", modality="CT", number=4, instances=3),)


@pytest.fixture
def dialog(app: AppContext, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> PacsDialog:
    asked: list[QueryFields] = []

    def find(ctx: object, server: Server, fields: QueryFields) -> Found:
        asked.append(fields)
        return Found(STUDIES)

    monkeypatch.setattr(dimse, "find_studies", find)
    monkeypatch.setattr(retrieve, "find_series", lambda *_: SERIES)
    app.pacs.put_server(Server(name="One", port=1))
    made = PacsDialog(app)
    made.asked = asked  # type: ignore[attr-defined]
    qtbot.addWidget(made)
    made.show()
    return made


def test_search_shows_studies_and_their_series(dialog: PacsDialog, qtbot: QtBot):
    qtbot.keyClicks(dialog.form.patient_name, "doe, j")
    qtbot.keyClick(dialog.form.patient_name, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: dialog.results.topLevelItemCount() == 2)
    assert dialog.asked[-1].matching() == {"PatientName": "doe*j*"}  # type: ignore[attr-defined]
    first, second = dialog.results.topLevelItem(0), dialog.results.topLevelItem(1)
    assert first is not None
    assert second is not None
    assert first.text(0) == "Doe, Jane"
    assert second.text(0) == "<b>Roe</b>, R"
    assert dialog.said.text() == "2 studies."
    first.setExpanded(True)
    qtbot.waitUntil(lambda: first.child(0) is not None and first.child(0).text(0) == "Series 4")


def test_a_quick_choice_of_dates_searches(dialog: PacsDialog, qtbot: QtBot):
    dialog.findChild(object, "pacsWeek").click()
    qtbot.waitUntil(lambda: dialog.results.topLevelItemCount() == 2)
    start, end = dialog.asked[-1].matching()["StudyDate"].split("-")  # type: ignore[attr-defined]
    assert len(start) == len(end) == 8
    assert start < end


def test_a_refusal_is_said_in_the_window(dialog: PacsDialog, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> Found:
        raise NetworkError("One rejects the connection.", hint="Correct it.")

    monkeypatch.setattr(dimse, "find_studies", refuse)
    dialog.search_button.click()
    qtbot.waitUntil(lambda: dialog.said.text() == "One rejects the connection. Correct it.")
    assert dialog.said.property("role") == "error"


def test_a_broken_retrieve_offers_to_resume(dialog: PacsDialog, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch):
    calls: list[tuple[object, ...]] = []

    def broken(ctx: object, server: Server, study_uid: str, root: object, series: object, *_: object) -> object:
        calls.append((study_uid, series))
        if len(calls) == 1:
            raise IncompleteError(1, 3, "the connection broke.")
        return retrieve.Retrieved((), 3)

    monkeypatch.setattr(retrieve, "retrieve", broken)
    dialog.search_button.click()
    qtbot.waitUntil(lambda: dialog.results.topLevelItemCount() == 2)
    assert not dialog.fetch_button.isEnabled()
    dialog.results.topLevelItem(0).setSelected(True)
    dialog.fetch_button.click()
    qtbot.waitUntil(lambda: bool(dialog.queue.rows) and dialog.queue.rows[0].entry.can_resume)
    row = dialog.queue.rows[0]
    assert row.said.text().startswith("INCOMPLETE 1/3")
    assert row.resume_button.isVisibleTo(dialog)
    row.resume_button.click()
    qtbot.waitUntil(lambda: dialog.queue.rows[0].said.text() == "Complete: 3 objects")
    assert calls == [("1.1", ()), ("1.1", ())]
    dialog.queue.rows[0].forget_button.click()
    assert dialog.queue.rows == []


def test_a_server_is_added_corrected_and_removed(
    dialog: PacsDialog, app: AppContext, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
):
    form = ServerDialog(app, None, dialog)
    qtbot.addWidget(form)
    form.show()
    form.name.setText("Web")
    form.kind.setCurrentIndex(1)
    form.url.setText("ftp://x")
    assert not form.host.isVisibleTo(form)
    form._accept()
    assert "https://" in form.problem.text()
    form.url.setText("https://pacs.example.org/dicom-web")
    form.auth.setCurrentIndex(1)
    form.secret.setText("hush")
    assert form.user.isVisibleTo(form)
    form._accept()
    assert [server.name for server in app.pacs.servers] == ["One", "Web"]
    assert app.pacs.servers[1].is_encrypted
    assert dialog.servers.count() == 2
    dialog.servers.setCurrentRow(1)
    monkeypatch.setattr(QMessageBox, "exec", lambda box: None)
    monkeypatch.setattr(QMessageBox, "clickedButton", lambda box: box.findChild(object, "confirmYes"))
    dialog.remove_button.click()
    assert [server.name for server in app.pacs.servers] == ["One"]


def test_the_command_opens_one_window(window, qtbot: QtBot):
    for _ in range(2):
        window.commands.run("pacs")
    found = window.findChildren(PacsDialog)
    assert len(found) == 1
    assert not found[0].priors_button.isEnabled()
    found[0].close()
    window.commands.run("pacs")
    assert any(dialog.isVisible() for dialog in window.findChildren(PacsDialog))
