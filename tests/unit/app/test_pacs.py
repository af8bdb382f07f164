"""Servers from the application's side: sentences, the queue, resume, priors; against a real server."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from pydicom import dcmread

from medviewer.app.paths import data_dir
from medviewer.core.errors import MedViewerError
from medviewer.core.region import Region
from medviewer.editing.editor import LabelEditor
from medviewer.io.derived import Target
from medviewer.io.load_segments import SegmentRequest
from medviewer.io.load_segments import read as read_segments
from medviewer.io.network.query import Found, QueryFields
from medviewer.io.network.retrieve import retrieve
from medviewer.io.network.services import services
from medviewer.jobs.job import JobState
from medviewer.phantoms import spheres_volume, write_series
from tests import pacs_kit as kit
from tests.pacs_peers import CTX


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A server with two studies of one patient and one of a patient whose ID only looks alike."""
    if not (kit.ORTHANC.exists() and kit.PLUGIN.exists()):
        pytest.skip("Orthanc with its DICOMweb plugin is not installed")

    folder = tmp_path_factory.mktemp("orthanc")
    files = write_series(spheres_volume(), folder / "study")
    with kit.orthanc_server(folder) as server:
        for n, patient in enumerate(("PAT-1", "PAT-1", "PAT-10")):
            for path in files[:12]:
                data = dcmread(path)
                data.PatientID, data.PatientName = patient, "Planted^Name"
                data.StudyInstanceUID, data.SeriesInstanceUID = f"2.25.{n + 1}", f"2.25.{n + 1}.1"
                data.SOPInstanceUID = f"2.25.{n + 1}.{data.InstanceNumber}.9"
                data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
                data.save_as(path)
                server.rest("/instances", path.read_bytes(), "POST")
        yield server


@pytest.mark.parametrize("kind", ["dimse", "web"])
def test_from_a_search_to_the_open_study_and_its_priors(make_app, pump, orthanc, kind):
    app = make_app()
    server = getattr(orthanc, kind)()
    app.pacs.put_server(server)
    said = pump.finish(app.pacs.test(server)).result
    assert said.startswith(f"{server.name} answers")
    assert said.endswith("without encryption.")
    found = pump.finish(app.pacs.query(server, QueryFields(patient_id="PAT-1"))).result
    assert isinstance(found, Found)
    row = next(row for row in found.rows if row.study_instance_uid == "2.25.1")
    (series,) = pump.finish(app.pacs.series(server, row)).result
    assert series.instances == 12
    (entry,) = app.pacs.retrieve(server, [series])
    assert app.pacs.retrieve(server, [series]) == []
    pump.finish(entry.job)
    assert entry.said == "Complete: 12 objects"
    pump.until(lambda: app.workspace.active is not None and not app.loading)
    volume = app.workspace.active
    assert volume.geometry.size[2] == 12
    assert app.studies.recent == ()
    priors = pump.finish(app.pacs.priors(server, volume)).result
    assert [row.study_instance_uid for row in priors.rows] == ["2.25.2"]


def test_a_broken_retrieve_is_named_and_resumes(make_app, pump, orthanc):
    app = make_app()
    with kit.Proxy(orthanc.dicom, cut_after=60_000) as proxy:
        server = orthanc.dimse(port=proxy.port)
        found = pump.finish(app.pacs.query(server, QueryFields(patient_id="PAT-10"))).result
        (entry,) = app.pacs.retrieve(server, found.rows)
        pump.finish(entry.job)
        assert entry.said.startswith("INCOMPLETE ")
        assert "/12" in entry.said
        assert entry.can_resume
        assert app.workspace.active is None
        assert app.studies.studies == ()
    entry.server = orthanc.dimse()
    pump.finish(app.pacs.resume(entry))
    assert entry.said == "Complete: 12 objects"
    pump.until(lambda: app.workspace.active is not None and not app.loading)
    app.pacs.forget(entry)
    assert app.pacs.transfers == []


def test_W03_the_whole_series_opens_beside_the_part_that_is_open(make_app, pump, orthanc):
    app = make_app()
    with kit.Proxy(orthanc.dicom, cut_after=60_000) as proxy:
        server = orthanc.dimse(port=proxy.port)
        found = pump.finish(app.pacs.query(server, QueryFields(patient_id="PAT-10"))).result
        (entry,) = app.pacs.retrieve(server, found.rows)
        pump.finish(entry.job)
    assert entry.has_part
    pump.finish(app.pacs.open_part(entry))
    pump.until(lambda: app.workspace.active is not None and not app.loading)
    part = app.workspace.active
    assert "W_INCOMPLETE" in {warning.code for warning in part.warnings}
    entry.server = orthanc.dimse()
    pump.finish(app.pacs.resume(entry))
    pump.until(lambda: len(app.workspace.volumes) == 2 and not app.loading)
    whole = app.workspace.active
    assert whole.id != part.id
    assert part.geometry.size[2] < whole.geometry.size[2] == 12
    assert "W_INCOMPLETE" not in {warning.code for warning in whole.warnings}
    assert len([s for study in app.studies.studies for s in study.series if s.modality == "CT"]) == 1


def test_sending_says_what_arrived(make_app, pump, orthanc, tmp_path):
    app = make_app()
    files = write_series(spheres_volume(), tmp_path)[:3]
    (tmp_path / "no.txt").write_text("no image")
    entry = app.pacs.send(orthanc.dimse(), "three", [*files, tmp_path / "no.txt", files[0]])
    pump.finish(entry.job)
    assert entry.report.arrived == files
    assert entry.said == "3 of 4 have arrived. Not no.txt: it is not a DICOM file"
    pump.until(lambda: bool(app.messages.messages))
    assert "has not taken 1 object." in app.messages.messages[-1].text


def test_segments_are_sent_as_a_seg_and_come_back_voxel_identical(make_app, pump, orthanc, tmp_path):
    app = make_app()
    app.studies.scan([write_series(spheres_volume(), tmp_path)[0].parent], open_best=True)
    pump.until(lambda: app.workspace.active is not None and not app.loading)
    volume = app.workspace.active
    segment = app.segments.add(volume.id)
    box = Region((4, 10, 12), (9, 20, 22))
    with LabelEditor(app.workspace, app.history, volume.id).stroke("Brush", segment.value) as stroke:
        stroke.paint(box, np.ones(box.shape, bool), None)
    sent = []
    for server in (orthanc.dimse(), orthanc.web()):
        entry = app.pacs.send_segments(server, volume)
        pump.finish(entry.job)
        assert entry.said == "Sent: 1 object"
        (path,) = entry.files
        assert not path.exists()
        sent.append(entry)
    assert not list((data_dir() / "outgoing").rglob("*.dcm"))
    study = volume.series.study_instance_uid
    series = [row for row in services(server).find_series(CTX, server, study) if row.modality == "SEG"]
    for row, server in zip(series, (orthanc.dimse(fetch="move"), orthanc.web()), strict=True):
        result = retrieve(CTX, server, study, tmp_path / server.kind, [row.series_instance_uid])
        (back,) = result.folders[0].glob("*.dcm")
        target = Target(
            volume.geometry, volume.series_instance_uid, volume.series.frame_of_reference_uid, volume.patient_id
        )
        (labels,) = read_segments(CTX, SegmentRequest(back, target)).layers
        wanted = np.zeros(volume.array.shape, bool)
        wanted[4:9, 10:20, 12:22] = True
        np.testing.assert_array_equal(labels != 0, wanted)


def test_cancel_is_quick_and_what_came_is_kept(make_app, pump, orthanc):
    app = make_app()
    with kit.Proxy(orthanc.dicom, pause_s=0.05) as proxy:
        server = orthanc.dimse(port=proxy.port)
        found = pump.finish(app.pacs.query(server, QueryFields(patient_id="PAT-1"))).result
        (entry,) = app.pacs.retrieve(server, found.rows[:1])
        pump.until(lambda: bool(entry.job.fraction))
        entry.job.cancel()
        assert entry.job.state is JobState.CANCELLED
        assert entry.said.startswith("INCOMPLETE")


def test_nothing_of_a_patient_or_password_lies_in_names_settings_or_job_titles(make_app, pump, orthanc):
    app = make_app()
    server = orthanc.web(secret="viewer")
    app.pacs.put_server(server)
    found = pump.finish(app.pacs.query(server, QueryFields(patient_name="planted"))).result
    assert len(found.rows) == 3
    (entry,) = app.pacs.retrieve(server, found.rows[:1])
    pump.finish(entry.job)
    titles = " ".join(job.title for job in app.jobs.jobs) + repr(entry) + repr(found) + repr(server)
    assert "lanted" not in titles
    assert "viewer" not in repr(server)
    for path in data_dir().rglob("*"):
        assert "lanted" not in path.name
        assert "2.25." not in path.name
        if path.is_file() and path.suffix == ".dcm":
            assert os.name != "posix" or path.stat().st_mode & 0o077 == 0
        elif path.is_file() and path.name != "servers.toml":
            assert b"lanted" not in path.read_bytes()


def test_a_volume_without_an_owner_has_no_priors(make_app, orthanc):
    from dataclasses import replace

    app = make_app()
    volume = replace(spheres_volume().volume, patient_id="")
    with pytest.raises(MedViewerError, match="no patient ID"):
        app.pacs.priors(orthanc.dimse(), volume)


def test_the_start_does_not_pay_for_the_network():
    import subprocess

    code = "import sys, medviewer.app.context; print([m for m in ('pynetdicom', 'requests') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
