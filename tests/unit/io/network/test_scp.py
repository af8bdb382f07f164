"""Who may send to us, when, and what becomes of it (S5, S15, W05 to W07)."""

from __future__ import annotations

import os
from dataclasses import replace

import psutil
import pytest
from pydicom import dcmread
from pydicom.uid import ImplicitVRLittleEndian

from medviewer.app.scripting import load
from medviewer.io.network import association, dimse, guard
from medviewer.io.network import scp as scp_module
from medviewer.io.network.inbox import MALFORMED, MISMATCH, NOT_ASKED_FOR, OK, Inbox, digest
from medviewer.io.network.quarantine import Quarantine
from medviewer.io.network.query import InstanceRow
from medviewer.io.network.scp import StoreScp, networks
from tests.dicom_makers import pixels, write_slice
from tests.dicom_mutators import with_syntax
from tests.pacs_kit import free_port
from tests.pacs_peers import CT, CTX, changed, dimse_at, flood, get_scp, send


def test_S15_W07_only_the_invited_may_send_and_only_what_was_asked_for(instance, tmp_path):
    row, path = instance
    server = dimse_at(104, listen_port=free_port())
    quarantine = Quarantine(tmp_path / "quarantine")
    inbox = Inbox(tmp_path / "in", row.study_instance_uid, [row], quarantine=quarantine)
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
        assert (inbox.present, inbox.refused, inbox.quarantined) == (1, 2, 2)
    assert send(port, path, "PACS", "US").startswith("E_REFUSED")


HOSTILE = (
    "../../x", "/etc/x", "C:\\x", "CON", "a\0b", "1" * 5000, "‮cod", "; rm -rf", "-x\n", "=cmd()", "..", ".", "",
)  # fmt: skip


@pytest.mark.parametrize("uid", HOSTILE)
def test_S5_W06_hostile_uids_never_become_paths(instance, tmp_path, uid):
    row, path = instance
    root = tmp_path / "in"
    hostile = replace(row, study_instance_uid=uid, series_instance_uid=uid, sop_instance_uid=uid)
    inbox = Inbox(root, uid, [hostile])
    assert inbox.keep(uid, path.read_bytes()) == NOT_ASKED_FOR
    assert inbox.keep(uid, b"no dicom") == MALFORMED
    data = path.read_bytes()
    of_a_wrong_length = data.replace(b"\x20\x00\x0d\x00UI", b"\x20\x00\x0d\x00FD")
    assert of_a_wrong_length != data
    assert inbox.keep(uid, of_a_wrong_length) == MALFORMED
    assert all(entry.resolve().is_relative_to(root) for entry in tmp_path.rglob("*"))
    assert {entry.name for entry in tmp_path.iterdir()} == {"in"}
    assert digest(uid).isalnum()


def test_W05_an_object_under_another_name_is_refused(instance, tmp_path):
    row, path = instance
    other = replace(row, sop_instance_uid="1.2.3")
    quarantine = Quarantine(tmp_path / "quarantine")
    inbox = Inbox(tmp_path, row.study_instance_uid, [other], quarantine=quarantine)
    assert inbox.keep("1.2.3", path.read_bytes()) == MISMATCH
    assert (inbox.present, inbox.refused, inbox.quarantined, quarantine.count) == (0, 1, 1, 1)
    assert Inbox(tmp_path, row.study_instance_uid, [row]).keep(row.sop_instance_uid, path.read_bytes()) == OK


def test_W06_absurd_pdus_and_many_callers_cost_no_memory(instance, tmp_path):
    server = dimse_at(104, listen_port=free_port())
    inbox = Inbox(tmp_path / "in", instance[0].study_instance_uid, [instance[0]])
    with StoreScp(server, inbox, [CT], guard.Guard(CTX)):
        assert flood(server.listen_port, 20) < 100 << 20
    assert inbox.present == 0


def test_S15_an_address_that_is_not_allowed_is_hung_up_on(instance, tmp_path):
    row, path = instance
    elsewhere = dimse_at(104, host="192.0.2.1", listen_port=free_port())
    inbox = Inbox(tmp_path, row.study_instance_uid, [row])
    with StoreScp(elsewhere, inbox, [CT], guard.Guard(CTX)) as scp:
        assert send(elsewhere.listen_port, path, "PACS", "US").startswith("E_")
        assert (inbox.present, scp.connections, scp.strangers) == (0, 0, {"127.0.0.1"})
        assert scp.not_reached().code == "E_MOVE_STRANGER"
        assert "127.0.0.1" in scp.not_reached().text
    allowed = replace(elsewhere, store_hosts=("127.0.0.0/8",))
    with StoreScp(allowed, inbox, [CT], guard.Guard(CTX)):
        assert send(allowed.listen_port, path, "PACS", "US") == "arrived"


def test_S15_addresses_networks_and_names_may_be_allowed():
    found = {str(network) for network in networks(("10.1.2.3/16", "::1", "localhost", "no such.invalid", ""))}
    assert {"10.1.0.0/16", "::1/128", "127.0.0.1/32"} <= found
    assert not any(network.startswith(("0.0.0.0", "::/")) for network in found)


def test_S15_four_callers_at_most_and_only_the_classes_asked_for(instance, tmp_path):
    row, path = instance
    server = dimse_at(104, listen_port=free_port())
    inbox = Inbox(tmp_path / "in", row.study_instance_uid, [row], quarantine=Quarantine(tmp_path / "quarantine"))
    other_class = changed(path, tmp_path / "mr.dcm", SOPClassUID="1.2.840.10008.5.1.4.1.1.4")
    with StoreScp(server, inbox, [CT], guard.Guard(CTX)):
        assert "E_NO_SERVICE" in send(server.listen_port, other_class, "PACS", "US")
        ae = association.new_ae("PACS")
        ae.add_requested_context(CT)
        callers = [ae.associate("127.0.0.1", server.listen_port, ae_title="US") for _ in range(5)]
        assert [caller.is_established for caller in callers] == [True] * 4 + [False]
        assert "limit of connections" in send(server.listen_port, path, "PACS", "US")
        for caller in callers:
            association.drop(caller)
    assert not list(tmp_path.rglob("quarantine/*"))


def test_W05_what_nobody_asked_for_is_kept_apart_listed_and_deleted(instance, tmp_path):
    row, path = instance
    quarantine = Quarantine(tmp_path / "quarantine")
    inbox = Inbox(tmp_path / "in", row.study_instance_uid, [row], quarantine=quarantine)
    pushed = [
        changed(
            path, tmp_path / f"{n}.dcm", StudyInstanceUID="1.2.3", SOPInstanceUID=f"1.2.3.{n}", PatientName="O^ther"
        )
        for n in range(3)
    ]
    for n, file in enumerate([*pushed, pushed[0]]):
        assert inbox.keep(f"1.2.3.{n % 3}", file.read_bytes(), "EVIL\x1b at 10.0.0.9") == NOT_ASKED_FOR
    assert (inbox.present, inbox.refused, inbox.quarantined) == (0, 4, 4)
    (entry,) = quarantine.entries()
    assert (entry.sender, entry.patient_name, len(entry.files)) == ("EVIL? at 10.0.0.9", "O^ther", 3)
    assert "O^ther" not in repr(entry)
    assert {file.read_bytes() for file in entry.files} == {file.read_bytes() for file in pushed}
    if os.name == "posix":
        assert quarantine.root.stat().st_mode & 0o077 == 0
        assert all(file.stat().st_mode & 0o077 == 0 for file in quarantine.root.iterdir())
    assert not list((tmp_path / "in").rglob("*.dcm"))
    assert not list(inbox.complete_series())
    quarantine.delete([entry])
    assert quarantine.entries() == ()
    assert not list(quarantine.root.iterdir())


def test_S15_the_quarantine_has_a_quota(phantom_files, tmp_path):
    path = phantom_files[0]
    size = path.stat().st_size
    quarantine = Quarantine(tmp_path / "quarantine", quota=2 * size + size // 2)
    few = Quarantine(tmp_path / "few", most=1)
    for n in range(4):
        data = changed(path, tmp_path / "x.dcm", SOPInstanceUID=f"1.2.{n}").read_bytes()
        assert quarantine.keep(data, "X") == (n < 2)
        assert few.keep(data, "X") == (n < 1)
    assert sum(file.stat().st_size for file in (tmp_path / "quarantine").glob("*.dcm")) <= 2 * size + size // 2


def test_W09_an_object_in_another_encoding_than_agreed_is_kept_as_it_came_and_opens_right(tmp_path):
    sent, declared = tmp_path / "sent.dcm", tmp_path / "declared.dcm"
    write_slice(sent, pixels(), syntax=ImplicitVRLittleEndian)
    declared.write_bytes(with_syntax(sent.read_bytes(), b"1.2.840.10008.1.2.1"))
    header = dcmread(sent, stop_before_pixels=True)
    row = InstanceRow(
        study_instance_uid=header.StudyInstanceUID,
        series_instance_uid=header.SeriesInstanceUID,
        sop_instance_uid=header.SOPInstanceUID,
        sop_class_uid=CT,
    )
    server = dimse_at(104, listen_port=free_port())
    inbox = Inbox(tmp_path / "in", row.study_instance_uid, [row])
    with StoreScp(server, inbox, [CT], guard.Guard(CTX)):
        assert send(server.listen_port, declared, "PACS", "US") == "arrived"
    (folder,) = inbox.complete_series()
    assert (load(folder).array == load(sent).array).all()


def test_objects_of_a_private_class_can_be_fetched(instance, tmp_path):
    row, path = instance
    private = "1.3.12.2.1107.5.9.1"
    sent = changed(path, tmp_path / "sent.dcm", SOPClassUID=private)
    inbox = Inbox(tmp_path / "in", row.study_instance_uid, [replace(row, sop_class_uid=private)])
    server = dimse_at(104, listen_port=free_port())
    assert dimse._classes(inbox) == [private]
    with StoreScp(server, inbox, dimse._classes(inbox), guard.Guard(CTX)):
        assert send(server.listen_port, sent, "PACS", "US") == "arrived"
        assert "E_NO_SERVICE" in send(server.listen_port, path, "PACS", "US")


def test_W04_W05_what_a_server_cannot_or_should_not_send_is_counted(instance, tmp_path):
    row, path = instance
    other = changed(path, tmp_path / "other.dcm", SOPInstanceUID="1.2.3.4", StudyInstanceUID="1.2.3")
    rows = [row, replace(row, sop_instance_uid="1.2.3.5")]
    quarantine = Quarantine(tmp_path / "quarantine")
    inbox = Inbox(tmp_path / "in", row.study_instance_uid, rows, quarantine=quarantine)
    with get_scp([path, other]) as port:
        dimse.get(CTX, dimse_at(port), inbox)
    assert (inbox.present, inbox.quarantined) == (1, 1)
    assert inbox.said.startswith("PACS says that 1 object failed (Warning")


def test_W06_an_object_without_an_end_is_cut_off(instance, tmp_path, monkeypatch):
    row, path = instance
    monkeypatch.setattr(scp_module, "_MOST_PENDING_BYTES", path.stat().st_size // 2)
    server = dimse_at(104, listen_port=free_port())
    inbox = Inbox(tmp_path, row.study_instance_uid, [row])
    with StoreScp(server, inbox, [CT], guard.Guard(CTX)):
        assert send(server.listen_port, path, "PACS", "US") == "E_CONNECTION_LOST: The connection to PACS broke."
    assert inbox.present == 0
