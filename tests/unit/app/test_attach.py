"""Files of segments onto open images: found, laid, refused, undone."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, generate_uid

from medviewer.app.attach import named_for
from medviewer.app.context import AppContext
from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.export.case import cases_of
from medviewer.export.exporter import run_export
from medviewer.export.formats.dicom_seg import DicomSegOptions
from medviewer.imaging.sitk_image import to_sitk
from medviewer.io.derived import DerivedRef
from medviewer.jobs.job import NullContext
from tests.dicom_makers import item


def write_labels(path: Path, volume: Volume, values: tuple[int, ...] = (1, 5)) -> np.ndarray:
    labels = np.zeros(volume.array.shape, dtype=np.uint16)
    for n, value in enumerate(values):
        labels[2 + n, 3:9, 4:12] = value
    sitk.WriteImage(to_sitk(labels, volume.geometry), path, useCompression=True)
    return labels


def scan(app: AppContext, pump, *paths: Path) -> list[SeriesRef]:
    pump.finish(app.studies.scan(list(paths), open_best=True))
    pump.until(lambda: not app.jobs.running)
    return [series for study in app.studies.studies for series in study.series]


def errors(app: AppContext) -> list[str]:
    return [message.details for message in app.messages.messages if message.level == "error"]


def test_a_file_lands_as_one_named_step_with_its_provenance(app, pump, opened, tmp_path):
    labels = write_labels(tmp_path / "organs.nii.gz", opened)
    pump.finish(app.attach.start(opened.id, tmp_path / "organs.nii.gz"))
    segmentation = app.workspace.segmentation(opened.id)
    assert [(s.value, s.name) for s in segmentation.segments] == [(1, "Label 1"), (5, "Label 5")]
    assert {s.provenance.task for s in segmentation.segments} == {"file:organs.nii.gz"}
    np.testing.assert_array_equal(segmentation.mask(5), labels == 5)
    assert app.history.undo_label == "Load organs.nii.gz"
    app.undo()
    assert not segmentation.segments
    assert not segmentation.groups
    app.redo()
    np.testing.assert_array_equal(segmentation.mask(1), labels == 1)


def test_values_that_are_taken_make_way_and_nothing_is_overwritten(app, pump, opened, tmp_path):
    labels = write_labels(tmp_path / "a.nrrd", opened)
    for _ in range(2):
        pump.finish(app.attach.start(opened.id, tmp_path / "a.nrrd"))
    segmentation = app.workspace.segmentation(opened.id)
    assert [s.value for s in segmentation.segments] == [1, 5, 2, 3]
    assert len(segmentation.groups) == 2
    np.testing.assert_array_equal(segmentation.mask(3), labels == 5)
    assert len({s.color for s in segmentation.segments}) == 4


def test_another_grid_is_refused_unless_the_user_agrees(app, pump, opened, tmp_path):
    geometry = opened.geometry
    i, j, k = (n // 2 for n in geometry.size)
    coarse = Geometry((i, j, k), tuple(2 * s for s in geometry.spacing), geometry.origin, geometry.direction)
    sitk.WriteImage(to_sitk(np.ones(coarse.shape, np.uint8), coarse), tmp_path / "a.nrrd")
    pump.finish(app.attach.start(opened.id, tmp_path / "a.nrrd"))
    assert errors(app) == ["E_GEOMETRY"]
    assert not app.workspace.segmentation(opened.id).segments
    asked: list[str] = []
    app.attach.confirm = lambda text: not asked.append(text)
    pump.finish(app.attach.start(opened.id, tmp_path / "a.nrrd"))
    pump.until(lambda: not app.jobs.running)
    (segment,) = app.workspace.segmentation(opened.id).segments
    assert "nearest label" in asked[0]
    assert segment.provenance.parameters["accepted"] == ["E_GEOMETRY"]


def test_l01_fractions_ask_from_where_on(app, pump, opened, tmp_path):
    fractions = np.random.default_rng(0).random(opened.array.shape).astype(np.float32)
    sitk.WriteImage(to_sitk(fractions, opened.geometry), tmp_path / "p.nii.gz")
    pump.finish(app.attach.start(opened.id, tmp_path / "p.nii.gz"))
    assert errors(app) == ["E_FRACTIONAL"]
    asked: list[str] = []
    app.attach.ask_threshold = lambda text: asked.append(text) or 0.9
    pump.finish(app.attach.start(opened.id, tmp_path / "p.nii.gz"))
    pump.until(lambda: not app.jobs.running)
    segmentation = app.workspace.segmentation(opened.id)
    (segment,) = segmentation.segments
    assert "fractions" in asked[0]
    np.testing.assert_array_equal(segmentation.mask(segment.value), fractions >= np.float32(0.9))
    assert any("90%" in str(text) for text in segment.provenance.parameters["warnings"])


def export_seg(app: AppContext, folder: Path) -> Path:
    (case,) = cases_of(app.workspace)
    (path,) = run_export(NullContext(), "dicom-seg", [case], folder, DicomSegOptions()).files
    return path


@pytest.fixture
def exported(app, pump, opened, tmp_path) -> tuple[Path, np.ndarray]:
    """A SEG of the open phantom, which is closed again."""
    labels = write_labels(tmp_path / "a.nii.gz", opened)
    pump.finish(app.attach.start(opened.id, tmp_path / "a.nii.gz"))
    path = export_seg(app, tmp_path / "out")
    app.documents.close_volume(opened.id)
    return path, labels


def test_a_listed_seg_opens_the_series_it_was_made_for(app, pump, exported):
    path, labels = exported
    series = next(s for s in scan(app, pump, path) if s.kind == "seg")
    pump.finish(app.attach.open(series))
    pump.until(lambda: not app.jobs.running)
    volume = app.workspace.active
    assert volume is not None
    segmentation = app.workspace.segmentation(volume.id)
    masks = [segmentation.mask(s.value) for s in segmentation.segments]
    for mask, value in zip(masks, (1, 5), strict=True):
        np.testing.assert_array_equal(mask, labels == value)
    # Once more is told, not loaded twice.
    pump.finish(app.attach.open(series))
    pump.until(lambda: not app.jobs.running)
    assert len(segmentation.segments) == 2


def test_a_seg_without_its_series_is_refused_by_name(make_app, pump, exported):
    path, _ = exported
    app = make_app()
    series = next(s for s in scan(app, pump, path) if s.kind == "seg")
    pump.finish(app.attach.open(series))
    assert errors(app) == ["E_NO_REFERENCE"]


def test_l06_without_its_series_a_seg_goes_to_one_in_the_same_frame_and_says_so(app, pump, opened, exported):
    path, labels = exported
    dataset = pydicom.dcmread(path)
    dataset.ReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.3.99"
    dataset.save_as(path)
    series = next(s for s in scan(app, pump, path) if s.kind == "seg")
    pump.finish(app.attach.open(series))
    pump.until(lambda: app.workspace.active is not None and not app.jobs.running)
    segmentation = app.workspace.active_segmentation
    np.testing.assert_array_equal(segmentation.mask(segmentation.segments[1].value), labels == 5)
    assert any("same frame of reference" in message.text for message in app.messages.messages)


def test_a_seg_of_another_patient_is_refused(app, pump, opened, exported, tmp_path):
    import pydicom

    path, _ = exported
    dataset = pydicom.dcmread(path)
    dataset.PatientID = "someone else"
    dataset.save_as(path)
    pump.finish(app.studies.open_series(opened.series))
    pump.until(lambda: not app.jobs.running)
    app.attach.confirm = lambda text: True
    pump.finish(app.attach.start(app.workspace.active.id, path))
    assert errors(app) == ["E_WRONG_PATIENT"]


def test_what_is_dropped_on_an_open_image_is_laid_over_it(app, pump, opened, tmp_path):
    write_labels(tmp_path / "lung_mask.nii.gz", opened)
    scan(app, pump, tmp_path / "lung_mask.nii.gz")
    assert app.workspace.volumes == (opened,)
    assert len(app.workspace.segmentation(opened.id).segments) == 2


def test_a_label_map_without_an_image_opens_as_an_image(app, pump, phantom, tmp_path):
    write_labels(tmp_path / "lung_mask.nii.gz", phantom.volume)
    (series,) = scan(app, pump, tmp_path / "lung_mask.nii.gz")
    assert app.workspace.active.series == series


def test_beside_its_image_a_label_map_opens_the_image_first(app, pump, phantom, tmp_path):
    sitk.WriteImage(to_sitk(phantom.volume), tmp_path / "case.nii.gz")
    labels = write_labels(tmp_path / "case_seg.nii.gz", phantom.volume)
    found = scan(app, pump, tmp_path)
    assert app.workspace.active.name == "case"
    app.documents.close_volume(app.workspace.active.id)
    pump.finish(app.attach.open(next(s for s in found if s.modality == "SEG")))
    pump.until(lambda: not app.jobs.running)
    assert app.workspace.active.name == "case"
    np.testing.assert_array_equal(app.workspace.active_segmentation.mask(5), labels == 5)


def test_candidates_by_series_frame_and_grid(app, opened):
    series = opened.series
    assert app.attach.candidates(DerivedRef("seg", "a", series_uids=(series.series_instance_uid,))) == (opened,)
    assert app.attach.candidates(DerivedRef("seg", "a", series_uids=("9.9",))) == ()
    assert app.attach.candidates(DerivedRef("labels", "a", geometry=opened.geometry)) == (opened,)
    assert app.attach.candidates(DerivedRef("labels", "a", geometry=Geometry((3, 4, 5), (1, 1, 1)))) == ()


def test_a_reader_that_crashes_is_named_and_nothing_is_lost(app, pump, opened, tmp_path, monkeypatch):
    write_labels(tmp_path / "a.nrrd", opened)
    monkeypatch.setattr("medviewer.io.load_segments.READ", "tests.worker_targets:segfault")
    pump.finish(app.attach.start(opened.id, tmp_path / "a.nrrd"))
    assert errors(app) == ["E_DECODER_CRASHED"]


def test_a_loaded_file_is_recovered_like_any_other_step(make_app, pump, study, tmp_path):
    first = make_app()
    scan(first, pump, study)
    volume = first.workspace.active
    assert volume is not None
    labels = write_labels(tmp_path / "a.nrrd", volume)
    pump.finish(first.attach.start(volume.id, tmp_path / "a.nrrd"))
    first.journaling.flush()
    journal = first.journaling.journal
    journal.close(delete=False)
    # Its process is gone.
    journal.path.rename(journal.path.with_name(journal.path.name.replace(f".{os.getpid()}.", ".99999999.")))
    first.journaling._journal = None
    again = make_app()
    (left,) = again.documents.recoverable()
    pump.finish(again.documents.recover(left))
    pump.until(lambda: not again.jobs.running)
    recovered = again.workspace.active_segmentation
    assert recovered is not None
    assert recovered.segments[1].provenance.task == "file:a.nrrd"
    np.testing.assert_array_equal(recovered.mask(5), labels == 5)


def structures_of(volume: Volume, path: Path) -> Path:
    """Write two overlapping structures of a volume."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.481.3")
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1")
    made.Modality, made.PatientID, made.SeriesInstanceUID = "RTSTRUCT", volume.patient_id, generate_uid()
    made.ReferencedFrameOfReferenceSequence = [item(
        FrameOfReferenceUID=volume.series.frame_of_reference_uid, RTReferencedStudySequence={
            "RTReferencedSeriesSequence": {"SeriesInstanceUID": volume.series_instance_uid}},
    )]  # fmt: skip
    made.StructureSetROISequence = [item(ROINumber=n, ROIName=f"ROI {n}") for n in (1, 2)]
    square = [(3.2, 3.2), (9.7, 3.2), (9.7, 8.1), (3.2, 8.1)]
    places = [volume.geometry.index_to_lps([(i + n, j, 2 + n) for i, j in square]) for n in (0, 1)]
    made.ROIContourSequence = [
        item(ReferencedROINumber=n, ContourSequence={
            "ContourGeometricType": "CLOSED_PLANAR", "ContourData": [f"{v:.5f}" for v in points.ravel()]})
        for n, points in zip((1, 2), places, strict=True)
    ]  # fmt: skip
    made.save_as(path, enforce_file_format=True)
    return path


def test_contours_stay_with_their_segments_through_undo_save_and_recovery(make_app, pump, study, tmp_path):
    app = make_app()
    scan(app, pump, study)
    volume = app.workspace.active
    write_labels(tmp_path / "a.nrrd", volume, (1,))
    pump.finish(app.attach.start(volume.id, tmp_path / "a.nrrd"))
    path = structures_of(volume, tmp_path / "rs.dcm")
    pump.finish(app.attach.start(volume.id, path))
    # Value 1 is taken, so that both structures get other values.
    drawn = [[float(v) for v in roi.ContourSequence[0].ContourData] for roi in pydicom.dcmread(path).ROIContourSequence]
    wanted = dict(zip(("ROI 1", "ROI 2"), drawn, strict=True))

    def kept(context: AppContext) -> dict[str, list[float]]:
        segmentation = context.workspace.active_segmentation
        names = {segment.value: segment.name for segment in segmentation.segments}
        contours = [c for group in segmentation.groups if group.contours is not None for c in group.contours.all]
        return {names[contour.segment]: contour.points.ravel().tolist() for contour in contours}

    assert kept(app) == wanted
    app.undo()
    app.redo()
    assert kept(app) == wanted
    pump.finish(app.documents.save(tmp_path / "a.mvw"))
    reopened = make_app()
    pump.finish(reopened.studies.scan([tmp_path / "a.mvw"]))
    pump.until(lambda: not reopened.jobs.running)
    assert kept(reopened) == wanted
    app.attach.start(volume.id, path)
    pump.until(lambda: not app.jobs.running)
    app.journaling.flush()
    journal = app.journaling.journal
    journal.close(delete=False)
    # Its process is gone.
    journal.path.rename(journal.path.with_name(journal.path.name.replace(f".{os.getpid()}.", ".99999999.")))
    app.journaling._journal = None
    recovered = make_app()
    (left,) = recovered.documents.recoverable()
    pump.finish(recovered.documents.recover(left))
    pump.until(lambda: not recovered.jobs.running)
    assert kept(recovered) == wanted


@pytest.mark.parametrize("modality", ["CT", "PET"])
def test_sts002_from_the_tree(app, pump, shared_data, tmp_path, modality):
    with zipfile.ZipFile(shared_data / "dicom" / "sts002_ct_mr_pet_rtstruct.zip") as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / "STS_002" / modality
    mask = shutil.copy(shared_data / "nifti" / "sts002" / f"{modality}_mask.nii.gz", tmp_path / "wanted.nii.gz")
    found = scan(app, pump, folder)
    assert app.workspace.active.modality == {"CT": "CT", "PET": "PT"}[modality]
    pump.finish(app.attach.open(next(s for s in found if s.kind == "rtstruct")))
    pump.until(lambda: not app.jobs.running)
    pump.finish(app.attach.start(app.workspace.active.id, Path(mask)))
    drawn, wanted = app.workspace.active_segmentation.segments
    assert drawn.name == f"GTV_Mass_{modality}"
    a, b = (app.workspace.active_segmentation.mask(s.value) for s in (drawn, wanted))
    assert 2 * (a & b).sum() / (a.sum() + b.sum()) >= 0.98


@pytest.mark.parametrize(
    ("labels", "image", "fits"),
    [
        ("ISIC_0000043_segmentation.png", "ISIC_0000043.jpg", True),
        ("ISIC_0000043_segmentation.png", "ISIC_0000042.jpg", False),
        ("21_manual1.gif", "21_training.tif", True),
        ("22_manual1.gif", "21_training.tif", False),
        ("patient1_left_mask.png", "patient1_right.png", False),
        ("0001.png", "0001.jpg", True),
        ("mole12.png", "mole1.png", False),
    ],
)
def test_labels_of_pictures_are_told_by_their_name(labels, image, fits):
    assert named_for(labels, image) is fits


def test_a_mask_lands_on_its_own_photograph_of_many(app, pump, tmp_path):
    masks = {}
    for n in range(3):
        noise = np.random.default_rng(n).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"mole_{n}.png")
        masks[n] = noise[..., 0] > 100
        Image.fromarray(masks[n].astype(np.uint8) * 255).save(tmp_path / f"mole_{n}_mask.png")
    found = scan(app, pump, tmp_path)
    # Whatever is open first, the mask goes to its own.
    pump.finish(app.attach.open(next(s for s in found if s.description == "mole_2_mask")))
    pump.until(lambda: not app.jobs.running)
    assert app.workspace.active.name == "mole_2"
    assert app.workspace.active.colors is not None
    (segment,) = app.workspace.active_segmentation.segments
    assert segment.name == "mole_2_mask"
    np.testing.assert_array_equal(app.workspace.active_segmentation.mask(segment.value)[0], masks[2])


def test_a_mask_of_another_size_is_refused_and_nothing_is_offered(app, pump, tmp_path):
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.ones((15, 20), np.uint8)).save(tmp_path / "b_mask.png")
    scan(app, pump, tmp_path / "a.png")
    app.attach.confirm = lambda _: pytest.fail("asked")
    pump.finish(app.attach.start(app.workspace.active.id, tmp_path / "b_mask.png"))
    assert errors(app) == ["E_OTHER_SIZE"]
