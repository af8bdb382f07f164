"""The PACS window over a stand-in for the network: servers, search, series, queue, resume, priors."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMessageBox
from pytestqt.qtbot import QtBot

from medviewer.app.context import AppContext
from medviewer.io.network import dimse, retrieve
from medviewer.io.network.errors import IncompleteError, NetworkError
from medviewer.io.network.inbox import Inbox
from medviewer.io.network.query import Found, InstanceRow, PatientRow, QueryFields, SeriesRow, StudyRow
from medviewer.io.network.sending import SendReport, outgoing
from medviewer.io.network.servers import Server
from medviewer.ui.dialogs.pacs_dialog import PacsDialog
from medviewer.ui.dialogs.pacs_quarantine import QuarantineDialog
from medviewer.ui.dialogs.pacs_results import row_of
from medviewer.ui.dialogs.pacs_send import SendDialog, sendables
from medviewer.ui.dialogs.pacs_server import ServerDialog
from medviewer.ui.panels.study_browser import StudyBrowser
from tests.dicom_makers import pixels, write_slice

STUDIES = (
    StudyRow(study_instance_uid="1.1", patient_name="Doe^Jane", patient_id="P1", study_date="20240105", instances=3),
    StudyRow(study_instance_uid="1.2", patient_name="<b>Roe</b>^R", patient_id="P2", study_date="20240104"),
)
SERIES = (SeriesRow(study_instance_uid="1.1", series_instance_uid="1.1.1", modality="CT", number=4, instances=3),)


@pytest.fixture
def dialog(app: AppContext, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> PacsDialog:
    asked: list[QueryFields] = []

    def find(ctx: object, server: Server, fields: QueryFields, offset: int = 0) -> Found[StudyRow]:
        asked.append(fields)
        return Found(STUDIES)

    monkeypatch.setattr(dimse, "find_studies", find)
    monkeypatch.setattr(dimse, "find_series", lambda *_: SERIES)
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
    assert dialog.said.text() == "2 studies at One."
    first.setExpanded(True)
    qtbot.waitUntil(lambda: first.child(0) is not None and first.child(0).text(0) == "Series 4")


def test_a_quick_choice_of_dates_searches(dialog: PacsDialog, qtbot: QtBot):
    dialog.findChild(object, "pacsWeek").click()
    qtbot.waitUntil(lambda: dialog.results.topLevelItemCount() == 2)
    start, end = dialog.asked[-1].matching()["StudyDate"].split("-")  # type: ignore[attr-defined]
    assert len(start) == len(end) == 8
    assert start < end


def test_a_refusal_is_said_in_the_window(dialog: PacsDialog, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> Found[StudyRow]:
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


def test_patients_open_to_their_studies(dialog: PacsDialog, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch):
    patients = (PatientRow(patient_name="Doe^Jane", patient_id="P1"),)
    monkeypatch.setattr(dimse, "find_patients", lambda *_: Found(patients))
    dialog.form.level.setCurrentIndex(1)
    dialog.search_button.click()
    qtbot.waitUntil(lambda: dialog.said.text() == "1 patient at One.")
    patient = dialog.results.topLevelItem(0)
    patient.setSelected(True)
    assert not dialog.fetch_button.isEnabled()
    patient.setExpanded(True)
    # The server's answer holds a study of P2, too.
    qtbot.waitUntil(lambda: patient.childCount() == 1 and row_of(patient.child(0)) == STUDIES[0])
    patient.child(0).setExpanded(True)
    qtbot.waitUntil(lambda: row_of(patient.child(0).child(0)) == SERIES[0])


def test_more_rows_are_asked_for_and_numbers_sorted_as_numbers(
    dialog: PacsDialog, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
):
    def page(ctx: object, server: Server, fields: QueryFields, offset: int = 0) -> Found[StudyRow]:
        rows = tuple(StudyRow(study_instance_uid=f"1.{offset + n}", instances=10 * (offset + n)) for n in range(3))
        return Found(rows, offset + 2 if offset < 4 else None)

    monkeypatch.setattr(dimse, "find_studies", page)
    dialog.search_button.click()
    qtbot.waitUntil(lambda: "there are more" in dialog.said.text())
    for count in (5, 7):
        dialog.more_button.click()
        qtbot.waitUntil(lambda count=count: dialog.results.topLevelItemCount() == count)
    assert dialog.said.text() == "7 studies at One."
    assert dialog.more_button.isHidden()
    dialog.results.sortByColumn(9, Qt.SortOrder.AscendingOrder)
    assert [dialog.results.topLevelItem(n).text(9) for n in range(7)] == [str(10 * n) for n in range(7)]


def test_what_nobody_asked_for_is_listed_and_deleted(
    dialog: PacsDialog, app: AppContext, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    assert dialog.quarantine_button.isHidden()
    path = write_slice(tmp_path / "one.dcm", pixels())
    app.pacs.quarantine.keep(path.read_bytes(), "EVIL at 10.0.0.9")
    app.pacs.transfers_changed.emit()
    assert dialog.quarantine_button.text() == "Quarantine: 1 object…"
    kept = QuarantineDialog(app, dialog)
    qtbot.addWidget(kept)
    assert kept.tree.topLevelItem(0).text(0) == "EVIL at 10.0.0.9"
    kept.tree.selectAll()
    monkeypatch.setattr(QMessageBox, "exec", lambda box: None)
    monkeypatch.setattr(QMessageBox, "clickedButton", lambda box: box.findChild(object, "confirmYes"))
    kept.delete_button.click()
    assert kept.tree.topLevelItemCount() == app.pacs.quarantine.count == 0


def test_series_and_segments_are_sent(app: AppContext, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    sent: list[Path] = []
    tries: list[int] = []

    def store(ctx: object, server: Server, files: list[Path], report: SendReport) -> None:
        tries.append(len(files))
        for path in outgoing(files, report):
            if len(tries) == 1 and path == files[-1]:
                raise NetworkError("The connection to One broke.", hint="Try again.")
            sent.append(path)
            report.arrived.append(path)

    monkeypatch.setattr(dimse, "store", store)
    files = [write_slice(tmp_path / f"{n}.dcm", pixels(n), (0.0, 0.0, 2.0 * n)) for n in range(4)]
    qtbot.waitUntil(lambda job=app.studies.scan([tmp_path], open_best=True): job.state.is_final)
    qtbot.waitUntil(lambda: app.workspace.active is not None and not app.loading)
    volume = app.workspace.active
    app.segments.add(volume.id)
    browser = StudyBrowser(app, lambda _: None)
    qtbot.addWidget(browser)
    assert "Send to PACS…" in [action.text() for action in browser.menu_for(volume.series).actions()]
    browser.close_panel()
    shown: list[bool] = []
    things = sendables(app, [volume.series])
    dialog = SendDialog(app, things, lambda: shown.append(True))
    qtbot.addWidget(dialog)
    assert not dialog.send_button.isEnabled()
    app.pacs.put_server(Server(name="One", port=1))
    dialog._fill_servers()
    assert [dialog.list.item(n).text().split(",")[1] for n in range(2)] == [" 4 files", " 1 segment"]
    assert "without encryption" in dialog.said.text()
    dialog.list.item(1).setCheckState(Qt.CheckState.Unchecked)
    dialog.send_button.click()
    (entry,) = app.pacs.transfers
    qtbot.waitUntil(lambda: entry.can_resume)
    assert shown == [True]
    assert entry.said.startswith("INCOMPLETE 3/4: The connection to One broke.")
    qtbot.waitUntil(lambda job=app.pacs.resume(entry): job.state.is_final)
    assert entry.said == "Sent: 4 objects"
    assert (sent, tries) == (files, [4, 1])
    assert not entry.can_resume


def test_a_part_can_be_opened_and_says_that_it_is_one(
    dialog: PacsDialog, app: AppContext, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    files = [write_slice(tmp_path / f"{n}.dcm", pixels(n), (0.0, 0.0, 2.0 * n)) for n in range(5)]
    rows = [
        InstanceRow(study_instance_uid="1.2.3.4", series_instance_uid="1.2.3.4.5", sop_instance_uid=uid)
        for uid in (str(dcmread(path).SOPInstanceUID) for path in files)
    ]

    def broken(ctx: object, server: Server, study_uid: str, root: Path, *_: object) -> object:
        inbox = Inbox(root, "1.2.3.4", rows)
        for row, path in zip(rows[:3], files[:3], strict=True):
            inbox.keep(row.sop_instance_uid, path.read_bytes())
        raise IncompleteError(3, 5, "the connection broke.")

    monkeypatch.setattr(retrieve, "retrieve", broken)
    study = StudyRow(study_instance_uid="1.2.3.4")
    app.pacs.retrieve(app.pacs.servers[0], [study])
    qtbot.waitUntil(lambda: bool(dialog.queue.rows) and dialog.queue.rows[0].part_button.isVisibleTo(dialog))
    assert app.workspace.active is None
    dialog.queue.rows[0].part_button.click()
    qtbot.waitUntil(lambda: app.workspace.active is not None and not app.loading)
    volume = app.workspace.active
    assert volume.geometry.size[2] == 3
    assert next(w.text for w in volume.warnings if w.code == "W_INCOMPLETE").startswith("INCOMPLETE 3/5")
