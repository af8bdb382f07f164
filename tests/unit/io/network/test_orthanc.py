"""A real server on loopback: echo, find, get, move, store, QIDO, WADO, STOW; every way there and back bit-identical."""

from __future__ import annotations

import random
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRBigEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from medviewer.io.network import dicomweb, dimse
from medviewer.io.network.errors import IncompleteError, NetworkError
from medviewer.io.network.query import QueryFields
from medviewer.io.network.retrieve import Retrieved, retrieve
from medviewer.io.network.sending import SendReport, file_kind
from medviewer.io.network.services import search, services
from medviewer.jobs.job import JobCancelled, NullContext
from tests.dicom_makers import pixels, write_slice
from tests.pacs_kit import Proxy, body, free_port

CTX = NullContext()
WAYS = ("get", "move", "web")


def server_for(orthanc, way: str):
    return orthanc.web() if way == "web" else orthanc.dimse(fetch=way)


def test_echo_and_search_answer(orthanc, study):
    assert dimse.echo(CTX, orthanc.dimse()) < 5
    assert dicomweb.echo(CTX, orthanc.web()) < 5


def test_both_kinds_find_the_same(orthanc, study):
    for fields in (QueryFields(), QueryFields(modality="ct"), QueryFields(date_from="20240101", date_to="20240101")):
        found = dimse.find_studies(CTX, orthanc.dimse(), fields)
        assert found == dicomweb.find_studies(CTX, orthanc.web(), fields)
        row = next(row for row in found.rows if row.study_instance_uid == study.study_uid)
        assert (row.modalities, row.instances) == (("CT",), len(study.files))
    for fields in (QueryFields(modality="MR"), QueryFields(date_from="19000101", date_to="19000102")):
        uids = {row.study_instance_uid for row in dimse.find_studies(CTX, orthanc.dimse(), fields).rows}
        assert study.study_uid not in uids
    series = dimse.find_series(CTX, orthanc.dimse(), study.study_uid)
    assert [row.series_instance_uid for row in series] == [study.series_uid]
    assert [r.series_instance_uid for r in dicomweb.find_series(CTX, orthanc.web(), study.study_uid)] == [
        study.series_uid
    ]
    assert dimse.find_patients(CTX, orthanc.dimse(), QueryFields())


@pytest.mark.parametrize("way", WAYS)
def test_what_is_fetched_is_bit_identical_and_not_fetched_twice(orthanc, study, fetched_bodies, tmp_path, way):
    server = server_for(orthanc, way)
    result = retrieve(CTX, server, study.study_uid, tmp_path)
    assert fetched_bodies(result) == study.bodies
    assert result.count == len(study.files)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.dcm")}
    damaged, lost = sorted(stamps)[:2]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    lost.unlink()
    again = retrieve(CTX, server, study.study_uid, tmp_path)
    assert fetched_bodies(again) == study.bodies
    changed = {path for path in stamps if path.stat().st_mtime_ns != stamps[path]}
    assert changed <= {damaged, lost}


@pytest.mark.parametrize("way", WAYS)
def test_W03_a_cut_leaves_it_incomplete_and_resume_completes_it(orthanc, study, fetched_bodies, tmp_path, way):
    plain = server_for(orthanc, way)
    direct = orthanc.listen
    # In a C-MOVE the objects come over the connection that the server opens to us: that one is cut.
    listen = free_port()
    port = {"get": orthanc.dicom, "move": listen, "web": orthanc.http}[way]
    with Proxy(port, cut_after=150_000, listen=direct if way == "move" else 0) as proxy:
        if way == "move":
            proxy.cut_after, proxy.cut_from_client = None, 150_000
            cut = replace(plain, listen_port=listen)
        elif way == "get":
            cut = replace(plain, port=proxy.port)
        else:
            cut = replace(plain, url=f"http://127.0.0.1:{proxy.port}/dicom-web")
        with pytest.raises(NetworkError) as caught:
            retrieve(CTX, cut, study.study_uid, tmp_path)
        assert isinstance(caught.value, IncompleteError)
        assert 0 < caught.value.present < caught.value.wanted == len(study.files)
        assert caught.value.text.startswith(f"INCOMPLETE {caught.value.present}/{caught.value.wanted}")
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.dcm")}
    assert len(kept) == caught.value.present
    result = retrieve(CTX, plain, study.study_uid, tmp_path)
    assert fetched_bodies(result) == study.bodies
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())


@pytest.mark.parametrize("way", ["dimse", "web"])
def test_W12_what_is_sent_is_bit_identical_and_sending_again_does_no_harm(orthanc, study, tmp_path, way):
    data = dcmread(study.files[0])
    uid = f"2.25.{random.Random(way).getrandbits(100)}"
    data.StudyInstanceUID, data.SeriesInstanceUID, data.SOPInstanceUID = f"{uid}.1", f"{uid}.2", f"{uid}.3"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    path, text = tmp_path / "one.dcm", tmp_path / "no.dcm"
    data.save_as(path)
    text.write_text("no image")
    server = orthanc.web() if way == "web" else orthanc.dimse()
    send = dicomweb.store if way == "web" else dimse.store
    for _ in range(2):
        report = SendReport()
        send(CTX, server, [path, text], report)
        assert report.arrived == [path]
        assert [file for file, _ in report.failed] == [text]
    result = retrieve(CTX, server, f"{uid}.1", tmp_path / "back")
    assert result.count == 1
    (back,) = result.folders[0].glob("*.dcm")
    assert dcmread(back) == data
    assert back.read_bytes()[-len(data.PixelData) :] == path.read_bytes()[-len(data.PixelData) :]


def test_two_retrieves_of_one_study_do_not_disturb_each_other(orthanc, study, fetched_bodies, tmp_path):
    with ThreadPoolExecutor(3) as pool:
        ways = [(server_for(orthanc, way), [study.series_uid] if way == "get" else []) for way in WAYS]
        done = list(pool.map(lambda w: retrieve(CTX, w[0], study.study_uid, tmp_path, w[1]), ways))
    assert [fetched_bodies(result) for result in done] == [study.bodies] * 3


def test_two_series_of_a_study_are_handed_over_together(orthanc, study, tmp_path):
    result = retrieve(CTX, orthanc.web(), study.study_uid, tmp_path, [study.series_uid])
    assert isinstance(result, Retrieved)
    assert len(result.folders) == 1
    assert result.folders[0].stat().st_mode & 0o077 == 0
    names = [path.name for path in tmp_path.rglob("*")]
    assert not any(study.study_uid in name or study.series_uid in name for name in names)


def test_W01_wrong_called_title_is_said_in_words(orthanc):
    with pytest.raises(NetworkError, match="not called by the AE title") as caught:
        dimse.echo(CTX, orthanc.dimse(ae_title="WRONG"))
    assert caught.value.code == "E_REJECTED"


def test_W04_unknown_move_destination_is_explained(orthanc, study, tmp_path):
    server = orthanc.dimse(fetch="move", own_ae_title="NOBODY")
    with pytest.raises(NetworkError) as caught:
        retrieve(CTX, server, study.study_uid, tmp_path)
    assert caught.value.code == "E_MOVE_NO_WAY"
    assert "NOBODY" in caught.value.hint


def test_W04_a_server_that_cannot_reach_us_is_explained(orthanc, study, tmp_path):
    server = orthanc.dimse(fetch="move", listen_port=free_port())
    start = time.monotonic()
    with pytest.raises(NetworkError) as caught:
        retrieve(CTX, server, study.study_uid, tmp_path)
    assert caught.value.code == "E_MOVE_NO_WAY"
    assert time.monotonic() - start < 30


class CancelledAtHalf(NullContext):
    """A job that its user cancels when half has come."""

    def __init__(self) -> None:
        super().__init__()
        self.cancelled = False

    def progress(self, fraction: float | None, text: str = "") -> None:
        self.cancelled = self.cancelled or (fraction or 0) >= 0.5
        self.check_cancelled()

    def check_cancelled(self) -> None:
        if self.cancelled:
            raise JobCancelled


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("way", WAYS)
def test_W02_a_cancelled_retrieve_keeps_what_came_and_stops_listening(orthanc, study, fetched_bodies, tmp_path, way):
    server = server_for(orthanc, way)
    with pytest.raises(JobCancelled):
        retrieve(CancelledAtHalf(), server, study.study_uid, tmp_path)
    assert len(list(tmp_path.rglob("*.dcm"))) >= len(study.files) // 2
    result = retrieve(CTX, server, study.study_uid, tmp_path)
    assert fetched_bodies(result) == study.bodies


def test_a_study_that_is_gone_is_refused(orthanc, study, tmp_path):
    for server in (orthanc.dimse(), orthanc.web()):
        with pytest.raises(NetworkError) as caught:
            retrieve(CTX, server, "1.2.3.4", tmp_path)
        assert caught.value.code in ("E_GONE", "E_HTTP_404")


def test_W08_wrong_password_is_said(orthanc):
    with pytest.raises(NetworkError) as caught:
        dicomweb.echo(CTX, orthanc.web(secret="wrong"))
    assert caught.value.code == "E_HTTP_401"
    assert "wrong" not in str(caught.value)


def test_S15_quota_stops_and_says_so(orthanc, study, tmp_path):
    with pytest.raises(IncompleteError, match="no room"):
        retrieve(CTX, orthanc.dimse(), study.study_uid, tmp_path, quota=100_000)


def test_temporary_files_never_stay(orthanc, study, tmp_path: Path):
    retrieve(CTX, orthanc.dimse(), study.study_uid, tmp_path)
    assert not list(tmp_path.rglob("*.tmp"))


def renamed(files, folder: Path, uid: str, **values: object) -> list[Path]:
    """Return copies of files as another study; keywords are elements."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for n, path in enumerate(files):
        data = dcmread(path)
        data.StudyInstanceUID, data.SeriesInstanceUID, data.SOPInstanceUID = uid, f"{uid}.1", f"{uid}.1.{n + 1}"
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        for keyword, value in values.items():
            setattr(data, keyword, value)
        made.append(folder / f"{n}.dcm")
        data.save_as(made[-1])
    return made


def test_patients_studies_and_series_are_found_by_both_ways(orthanc, study, tmp_path):
    who = {"PatientName": "Yamada^Tarou=山田^太郎", "PatientID": "JP-1", "SpecificCharacterSet": "ISO_IR 192"}
    orthanc.upload(renamed(study.files[:2], tmp_path, "2.25.77", BodyPartExamined="CHEST", **who))
    for server in (orthanc.dimse(), orthanc.web()):
        ask = services(server)
        # This DICOMweb server does not decode what is beyond ASCII in an address.
        for name in ("yamada, t", "Yam*", *(["山田"] if server.kind == "dimse" else [])):
            (patient,) = ask.find_patients(CTX, server, QueryFields(patient_name=name)).rows
            assert (patient.patient_name, patient.patient_id) == ("Yamada^Tarou=山田^太郎", "JP-1")
            (row,) = ask.find_studies(CTX, server, QueryFields(patient_name=name)).rows
            assert (row.study_instance_uid, row.series, row.instances) == ("2.25.77", 1, 2)
        (row,) = search(CTX, server, QueryFields(patient_id="JP-1", body_part="chest")).rows
        assert not search(CTX, server, QueryFields(patient_id="JP-1", body_part="foot")).rows
        (series,) = ask.find_series(CTX, server, row.study_instance_uid)
        assert (series.series_instance_uid, series.body_part, series.instances) == ("2.25.77.1", "CHEST", 2)


@pytest.mark.parametrize("way", ["dimse", "web"])
def test_W12_a_broken_sending_goes_on_and_each_object_arrives_once(orthanc, study, fetched_bodies, tmp_path, way):
    uid = {"dimse": "2.25.1201", "web": "2.25.1202"}[way]
    files = renamed(study.files[:20], tmp_path / "files", uid)
    plain = orthanc.web() if way == "web" else orthanc.dimse()
    port = orthanc.http if way == "web" else orthanc.dicom
    report = SendReport()
    with Proxy(port) as proxy:
        proxy.cut_from_client = 9 * files[0].stat().st_size if way == "dimse" else files[0].stat().st_size // 2
        url = f"http://127.0.0.1:{proxy.port}/dicom-web"
        cut = replace(plain, url=url) if way == "web" else replace(plain, port=proxy.port)
        with pytest.raises(NetworkError):
            services(cut).store(CTX, cut, files, report)
    assert len(report.arrived) < len(files)
    assert report.text() == f"{len(report.arrived)}/20"
    before = list(report.arrived)
    services(plain).store(CTX, plain, report.left(files), report)
    assert report.arrived[: len(before)] == before
    assert sorted(report.arrived) == sorted(files)
    services(plain).store(CTX, plain, files[:3], SendReport())
    result = retrieve(CTX, plain, uid, tmp_path / "back")
    assert result.count == len(files)
    assert fetched_bodies(result) == {body(path) for path in files}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless, ExplicitVRBigEndian])
def test_W09_compressed_objects_go_there_and_back_bit_identical(orthanc, study, tmp_path, way, syntax):
    """Neither the server nor we encode anything anew: every element and every byte of the data set is the same."""
    uid = f"2.25.9{WAYS.index(way)}{sum(map(ord, syntax))}"
    uids = {"StudyInstanceUID": uid, "SeriesInstanceUID": f"{uid}.1", "SOPInstanceUID": f"{uid}.1.1"}
    big = syntax == ExplicitVRBigEndian
    path = write_slice(tmp_path / "out.dcm", pixels(), **({"syntax": syntax} if big else {}), **uids)
    if not big:
        data = dcmread(path)
        data.compress(syntax, generate_instance_uid=False)
        data.save_as(path)
    server = server_for(orthanc, way)
    services(server).store(CTX, server, [path], report := SendReport())
    assert report.arrived == [path]
    result = retrieve(CTX, server, uid, tmp_path / "back")
    (back,) = result.folders[0].glob("*.dcm")
    assert body(back) == body(path)
    assert dcmread(back) == dcmread(path)
    assert dcmread(back).file_meta.TransferSyntaxUID == syntax


def test_real_objects_of_every_kind_come_back_whole(orthanc, shared_data, tmp_path):
    """Sent by C-STORE and STOW, fetched by C-GET, C-MOVE and WADO: every element is the same, pixel data among them.

    Over DIMSE the server writes sequences and group lengths anew; what WADO gives is byte for byte what it keeps.
    """
    archives = ("odd_and_codecs_pydicom", "seg_sr_paramap_dcmqi", "sts002*")
    # This server sends no label maps by C-GET.
    chosen = [path for path in real_files(shared_data, tmp_path / "real", archives, 6) if "labelmap" not in path.name]
    assert len(chosen) > 8
    sent = {str(data.SOPInstanceUID): data for data in map(dcmread, chosen)}
    for send_to, way in ((orthanc.dimse(), "get"), (orthanc.web(), "web"), (orthanc.dimse(), "move")):
        services(send_to).store(CTX, send_to, chosen, report := SendReport())
        assert report.arrived == chosen
        server, folder = server_for(orthanc, way), tmp_path / way
        for study_uid in {str(data.StudyInstanceUID) for data in sent.values()}:
            retrieve(CTX, server, study_uid, folder)
        found = {str(dcmread(path).SOPInstanceUID): path for path in folder.rglob("*.dcm")}
        assert sent.keys() <= found.keys()
        for uid, data in sent.items():
            assert way != "web" or body(found[uid]) == kept_by(orthanc, uid, tmp_path)
            assert elements(dcmread(found[uid])) == elements(data)


def kept_by(orthanc, uid: str, folder: Path) -> bytes:
    """Return the data set of an object as the server's own file has it."""
    (name,) = orthanc.rest("/tools/lookup", uid.encode(), "POST")
    path = folder / "kept.dcm"
    path.write_bytes(orthanc.download(f"/instances/{name['ID']}/file"))
    return body(path)


def elements(data) -> dict[object, object]:
    """Return tag -> value, pixel data among them; without lengths of groups and padding at the end."""
    return {e.tag: (e.VR, e.value) for e in data if e.tag.element != 0 and e.tag != 0xFFFCFFFC}


def real_files(shared_data: Path, folder: Path, archives: tuple[str, ...], most: int) -> list[Path]:
    """Unpack some files of each archive, spread over it; of those with one UID the first."""
    made: dict[str, Path] = {}
    for archive in (path for name in archives for path in shared_data.glob(f"dicom/{name}.zip")):
        with zipfile.ZipFile(archive) as opened:
            members = [m for m in opened.infolist() if not m.is_dir() and m.file_size < 3_000_000]
            for member in members[:: max(1, len(members) // most)]:
                path = Path(opened.extract(member, folder / archive.stem))
                kind = file_kind(path)
                if kind is not None:
                    made.setdefault(kind[2], path)
    return list(made.values())
