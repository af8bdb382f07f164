"""``medviewer pacs`` against a real server: what it prints where, and its exit status."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from medviewer.__main__ import main
from medviewer.app.paths import data_dir
from medviewer.io.network.quarantine import Quarantine
from medviewer.io.network.servers import ServerStore
from tests.pacs_kit import body, free_port
from tests.pacs_peers import changed


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    def run(*words: object) -> tuple[int, object]:
        code = main(["pacs", *map(str, words), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def known(orthanc) -> None:
    store = ServerStore(data_dir() / "servers.toml")
    store.put(replace(orthanc.dimse(), name="one"))
    store.put(replace(orthanc.web(), name="web"))


@pytest.mark.parametrize("server", ["one", "web"])
def test_from_echo_to_files_and_back(run, known, study, tmp_path, server):
    code, found = run("servers")
    assert (code, [one["name"] for one in found]) == (0, ["one", "web"])
    code, said = run("echo", server)
    assert (code, said["encrypted"]) == (0, False)
    code, found = run("find", server, "--date", "20240101", "--modality", "ct")
    assert code == 0
    assert study.study_uid in {row["study_instance_uid"] for row in found["rows"]}
    code, found = run("find", server, "--level", "series", "--study", study.study_uid)
    assert [row["series_instance_uid"] for row in found["rows"]] == [study.series_uid]
    assert run("find", server, "--level", "patient")[1]["rows"]
    code, got = run("get", server, study.study_uid, "-o", tmp_path / "got", "--series", study.series_uid)
    assert (code, got["objects"], got["unasked"]) == (0, len(study.files), 0)
    files = [path for folder in got["folders"] for path in Path(folder).glob("*.dcm")]
    assert {body(path) for path in files} == study.bodies
    code, sent = run("send", server, *got["folders"])
    assert (code, len(sent["arrived"]), sent["failed"]) == (0, len(study.files), [])


def test_an_address_names_a_server(run, orthanc):
    assert run("echo", f"ORTHANC@127.0.0.1:{orthanc.dicom}")[0] == 0
    code, said = run("echo", f"WRONG@127.0.0.1:{orthanc.dicom}", "--aet", "ME")
    assert (code, said["error"]["code"]) == (4, "E_REJECTED")
    code, said = run("echo", f"http://127.0.0.1:{orthanc.http}/dicom-web")
    assert (code, said["error"]["code"]) == (4, "E_HTTP_401")


def test_what_cannot_be_done_is_said(run, phantom_files, tmp_path):
    assert run("echo", "nobody")[1]["error"]["code"] == "E_SERVER"
    nowhere = f"PACS@127.0.0.1:{free_port()}"
    code, said = run("send", nowhere, phantom_files[0])
    assert (code, said["error"]["code"]) == (4, "E_REFUSED")
    assert run("find", nowhere, "--date", "soon")[1]["error"]["code"] == "E_DATE"
    assert run("send", nowhere, tmp_path)[1]["error"]["code"] == "E_NOT_DICOM"
    assert run("send", nowhere, tmp_path / "none")[1]["error"]["code"] == "E_NO_FILE"


def test_the_quarantine_is_listed_and_emptied(run, phantom_files, tmp_path):
    kept = Quarantine(data_dir() / "quarantine")
    kept.keep(changed(phantom_files[0], tmp_path / "x.dcm", PatientName="Planted").read_bytes(), "EVIL at 10.0.0.9")
    code, said = run("quarantine")
    assert (code, said["entries"][0]["sender"], said["entries"][0]["objects"]) == (0, "EVIL at 10.0.0.9", 1)
    assert "Planted" not in json.dumps(said)
    assert run("quarantine", "--delete")[1]["deleted"]
    assert run("quarantine")[1]["entries"] == []
