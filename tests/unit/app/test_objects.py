"""Reports, key images, presentation states and registrations brought to the images they are about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medviewer.app.context import AppContext
from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.volume import Volume
from medviewer.io.dicom_header import read_header
from medviewer.io.dicom_tags import Tag
from tests import object_makers as makers
from tests.dicom_makers import pixels, write_slice


def uid_of(path: Path) -> str:
    return read_header(path).text(Tag.SOP_INSTANCE_UID)


def listed(app: AppContext, pump, path: Path) -> SeriesRef:
    pump.finish(app.studies.scan([path]))
    return next(s for study in app.studies.studies for s in study.series if s.files == (path,))


def settle(app: AppContext, pump, series: SeriesRef) -> None:
    pump.finish(app.objects.open(series))
    pump.until(lambda: not app.jobs.running)


def errors(app: AppContext) -> list[str]:
    return [message.details for message in app.messages.messages if message.level == "error"]


def report_of(app: AppContext, pump, path: Path):
    seen: list[object] = []
    app.objects.report_read.connect(seen.append)
    settle(app, pump, listed(app, pump, path))
    app.objects.report_read.disconnect(seen.append)
    return seen[-1]


def written_report(opened: Volume, path: Path, at=(0.0, 0.0, 0.0), k: int = 3, **more):
    series = opened.series
    return makers.measurement_report(
        path, series.series_instance_uid, uid_of(series.files[k]), series.frame_of_reference_uid, at, **more
    )


def test_marks_of_a_report_become_findings_where_the_slice_lies(app, pump, opened, tmp_path):
    middle = opened.geometry.center_lps
    report = report_of(app, pump, written_report(opened, tmp_path / "sr.dcm", middle, patient_id=opened.patient_id))
    pump.finish(app.objects.place_marks(report))
    circle, point = sorted(app.workspace.boxes(opened.id), key=lambda box: box.label != "<b>Nodule</b> Nodule 1")
    np.testing.assert_allclose(circle.center_lps, opened.geometry.index_to_lps((10, 12, 3)), atol=1e-3)
    # The slice lies obliquely: the box along the axes of the patient holds the square around the circle.
    corners = opened.geometry.index_to_lps([(i, j, 3) for i in (6, 14) for j in (8, 16)])
    thickness = opened.geometry.spacing[2]
    np.testing.assert_allclose(circle.lower, corners.min(axis=0), atol=0.5 * thickness)
    np.testing.assert_allclose(circle.upper, corners.max(axis=0), atol=0.5 * thickness)
    np.testing.assert_allclose(point.center_lps, middle, atol=1e-3)
    assert app.history.undo_label == "Marks of sr.dcm"
    app.undo()
    assert app.workspace.boxes(opened.id) == ()


def test_a_mark_beside_the_image_is_not_placed(app, pump, opened, tmp_path):
    report = report_of(
        app, pump, written_report(opened, tmp_path / "sr.dcm", (0, 0, 900), patient_id=opened.patient_id)
    )
    pump.finish(app.objects.place_marks(report))
    assert len(app.workspace.boxes(opened.id)) == 1
    assert app.messages.messages[-1].text == "Placed 1 of 2 marks of sr.dcm."


def test_l07_marks_of_another_patient_are_refused(app, pump, opened, tmp_path):
    report = report_of(app, pump, written_report(opened, tmp_path / "sr.dcm", patient_id="someone else"))
    pump.finish(app.objects.place_marks(report))
    assert errors(app) == ["E_WRONG_PATIENT"]
    assert app.workspace.boxes(opened.id) == ()


def test_a_key_image_is_shown_though_its_series_is_only_listed(app, pump, opened, tmp_path):
    series = opened.series
    k = 5
    path = makers.key_images(tmp_path / "ko.dcm", series.series_instance_uid, [uid_of(series.files[k])])
    report = report_of(app, pump, path)
    app.documents.close_volume(opened.id)
    pump.finish(app.objects.go_to(report.items[1].image))
    pump.until(lambda: app.workspace.active is not None and not app.jobs.running)
    volume = app.workspace.active
    index = volume.geometry.lps_to_index(app.workspace.view.crosshair_lps)
    assert round(float(index[2])) == k


def test_an_image_that_is_not_there_is_named(app, pump, opened, tmp_path):
    report = report_of(app, pump, makers.key_images(tmp_path / "ko.dcm", "9.9", ["1.2.3.999"]))
    pump.finish(app.objects.go_to(report.items[1].image))
    assert errors(app) == ["E_NO_REFERENCE"]


def test_a_presentation_state_sets_window_polarity_and_shutter(app, pump, opened, tmp_path):
    series = opened.series
    path = makers.presentation(
        tmp_path / "pr.dcm", series.series_instance_uid, uid_of(series.files[2]), patient_id=opened.patient_id
    )
    seen: list[object] = []
    app.objects.report_read.connect(seen.append)
    settle(app, pump, listed(app, pump, path))
    volume = app.workspace.active
    assert volume.id == opened.id
    assert (app.workspace.view.window.center, app.workspace.view.window.width) == (55.0, 155.0)
    assert app.workspace.view.inverted
    assert not volume.inverted
    assert (volume.shutter.sum(), volume.shutter[4:12, 2:20].all()) == (8 * 18, True)
    assert round(float(volume.geometry.lps_to_index(app.workspace.view.crosshair_lps)[2])) == 2
    # Its words are shown beside the image.
    assert [report.items[-1].value for report in seen] == ["<i>here</i>"]
    np.testing.assert_array_equal(volume.array, opened.array)


def test_l07_a_presentation_state_of_another_patient_changes_nothing(app, pump, opened, tmp_path):
    series = opened.series
    path = makers.presentation(tmp_path / "pr.dcm", series.series_instance_uid, uid_of(series.files[2]), patient_id="x")
    settle(app, pump, listed(app, pump, path))
    assert errors(app) == ["E_WRONG_PATIENT"]
    assert app.workspace.active.shutter is None


@pytest.fixture
def moving(app, pump, opened, tmp_path) -> Volume:
    """A second series, in another frame of reference."""
    for k in range(6):
        write_slice(
            tmp_path / "second" / f"{k}.dcm", pixels(k), (1.0, 2.0, 2.0 * k), PatientID=opened.patient_id,
            SeriesInstanceUID="1.9.9", FrameOfReferenceUID="1.9.9.1",
        )  # fmt: skip
    pump.finish(app.studies.scan([tmp_path / "second"]))
    (series,) = [s for study in app.studies.studies for s in study.series if s.series_instance_uid == "1.9.9"]
    pump.finish(app.studies.open_series(series))
    pump.until(lambda: app.studies.find_volume(series) is not None and not app.jobs.running)
    volume = app.studies.find_volume(series)
    assert volume is not None
    return volume


def test_a_registration_goes_from_fixed_to_moving(app, pump, opened, moving, tmp_path):
    """The object's matrix takes a point of the source to the registered frame; here it is needed the other way."""
    source_to_registered = [0, -1, 0, 10, 1, 0, 0, 20, 0, 0, 1, 30, 0, 0, 0, 1]
    path = makers.registration(
        tmp_path / "reg.dcm", opened.series.frame_of_reference_uid, moving.series.frame_of_reference_uid,
        source_to_registered, patient_id=opened.patient_id,
    )  # fmt: skip
    app.documents.close_volume(moving.id)
    series = listed(app, pump, path)
    settle(app, pump, series)
    pump.until(lambda: bool(app.workspace.registrations))
    (registration,) = app.workspace.registrations
    reopened = app.studies.find_volume(moving.series)
    assert (registration.fixed_id, registration.moving_id) == (opened.id, reopened.id)
    # Source (1, 2, 3) lies at (8, 21, 33) of the registered frame.
    np.testing.assert_allclose(registration.transform.apply((8, 21, 33)), (1, 2, 3), atol=1e-9)
    assert app.history.undo_label == "Load reg.dcm"


def test_a_registration_without_its_images_is_refused(app, pump, opened, tmp_path):
    path = makers.registration(tmp_path / "reg.dcm", "9.1", "9.2", [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1])
    settle(app, pump, listed(app, pump, path))
    assert errors(app) == ["E_NO_REFERENCE"]
    assert app.workspace.registrations == ()


def test_a_document_is_handed_over_and_a_broken_file_named(app, pump, tmp_path):
    seen: list[object] = []
    app.objects.document_read.connect(seen.append)
    settle(app, pump, listed(app, pump, makers.document(tmp_path / "a.dcm")))
    assert seen[0].data == b"%PDF-1.4 nothing"
    cut = makers.document(tmp_path / "b.dcm", b"")
    settle(app, pump, listed(app, pump, cut))
    assert errors(app) == ["E_DOCUMENT"]


def test_a_segmentation_that_a_report_names_is_laid_over_its_image(app, pump, opened, tmp_path, monkeypatch):
    path = makers.write(tmp_path / "seg.dcm", makers.UID(f"{makers.STORAGE}.66.4"), "SEG")
    series = listed(app, pump, path)
    laid: list[SeriesRef] = []
    monkeypatch.setattr(app.attach, "open", laid.append)
    report = report_of(app, pump, makers.key_images(tmp_path / "sr.dcm", series.series_instance_uid, [uid_of(path)]))
    pump.finish(app.objects.go_to(report.items[1].image))
    assert laid == [series]
