"""Masks drawn on a resampled or tilted volume go back to the original slices; other formats write the grid."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from medviewer.core.geometry import Geometry
from medviewer.core.segmentation import Segment
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.export.case import Case, cases_of
from medviewer.export.exporter import run_export
from medviewer.io.derived import Target
from medviewer.io.dicom_resample import planes_of
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.image_index import image_slices
from medviewer.io.load_segments import SegmentRequest, read
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from tests.f_phantom import ORIGIN, SIZE, SPACING, make_series

CTX = NullContext()
TILT = np.radians(18.5)
SHEARED = (1.0, 0.0, 0.0, 0.0, float(np.cos(TILT)), 0.0, 0.0, float(-np.sin(TILT)), 1.0)


def with_a_ball(volume: Volume, *, center_mm: np.ndarray, radius_mm: float) -> Case:
    """Return the volume with a ball, and with one plane that may lie between two slices."""
    workspace = Workspace()
    workspace.add_volume(volume)
    segmentation = workspace.segmentation(volume.id)
    k, j, i = np.indices(volume.geometry.shape)
    places = volume.geometry.index_to_lps(np.stack([i, j, k], axis=-1))
    inside = np.linalg.norm(places - center_mm, axis=-1) <= radius_mm
    segmentation.put_group(segmentation.new_group("ball", inside.astype(np.uint16)))
    between = segmentation.new_group("between")
    between.labels[3, 2:4, 2:5] = 2
    segmentation.put_group(between)
    segmentation.put_segment(Segment(1, "Ball"))
    segmentation.put_segment(Segment(2, "Between", group=1))
    (case,) = cases_of(workspace)
    return case


def frames_by_source(path: Path) -> dict[str, np.ndarray]:
    """Return SOPInstanceUID of the original slice -> mask of segment 1, as the file says it, by pydicom alone."""
    seg = pydicom.dcmread(path)
    found = {}
    for pixels, group in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        # What is the same for all frames is stored once.
        own = group if "SegmentIdentificationSequence" in group else seg.SharedFunctionalGroupsSequence[0]
        if own.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 1:
            source = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
            found[str(source)] = pixels.astype(bool)
    return found


@pytest.mark.parametrize("direction", [(1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0), SHEARED], ids=["upright", "tilted"])
def test_G07_masks_go_back_to_the_slices_that_were_there(tmp_path: Path, direction: tuple[float, ...]) -> None:
    geometry = Geometry(SIZE, SPACING, ORIGIN, direction)
    whole = make_series(tmp_path / "series", geometry)
    files = whole.series.files
    for k in (3, 4):
        files[k].unlink()
    (study,) = scan_paths(CTX, [tmp_path / "series"])
    for series in (s for s in study.series if s.interpolation):
        volume = open_series(CTX, series)
        assert volume.geometry.is_close(geometry, 1e-3)
        center = geometry.index_to_lps((5, 4, 3))
        case = with_a_ball(volume, center_mm=center, radius_mm=6.0)
        report = run_export(CTX, "dicom-seg", [case], tmp_path / f"seg {series.interpolation}")
        assert all(check.passed for check in report.checks)
        notes = " ".join(report.notes)
        assert "original slices" in notes
        assert "“Between” is empty" in notes
        assert "Resampled along the stack" in notes
        found = frames_by_source(report.files[0])
        ball = case.mask(case.segments[0])
        assert ball[3].any()
        assert found
        for k, path in zip(planes_of(series), series.files, strict=True):
            header = pydicom.dcmread(path, stop_before_pixels=True)
            np.testing.assert_array_equal(found.pop(str(header.SOPInstanceUID), np.zeros_like(ball[k])), ball[k])
        assert not found


def test_G07_masks_of_the_original_slices_come_back_onto_the_grid(tmp_path: Path) -> None:
    whole = make_series(tmp_path / "series", Geometry(SIZE, SPACING, ORIGIN, SHEARED))
    for k in (2, 4, 5):
        whole.series.files[k].unlink()
    (study,) = scan_paths(CTX, [tmp_path / "series"])
    series = next(s for s in study.series if s.interpolation == "linear")
    case = with_a_ball(open_series(CTX, series), center_mm=whole.geometry.index_to_lps((5, 4, 3)), radius_mm=6.0)
    (path,) = run_export(CTX, "dicom-seg", [case], tmp_path / "seg").files
    uids = series.series_instance_uid, series.frame_of_reference_uid
    found = read(CTX, SegmentRequest(path, Target(case.geometry, *uids, case.volume.patient_id, series=series)))
    ball = case.mask(case.segments[0])
    # Planes 2, 4 and 5 are computed; 2 and 4 and 5 lie nearest to 3, 3 and 6, halves going up.
    np.testing.assert_array_equal(found.layers[0] > 0, ball[[0, 1, 3, 3, 3, 6, 6]])
    assert any("repeat the nearest" in text for text in found.warnings)
    keys = image_slices(series)
    assert sorted(keys.values()) == [0, 1, 3, 6]


def test_slices_that_lie_off_the_grid_within_the_tolerance_get_their_masks_back(tmp_path: Path) -> None:
    whole = make_series(tmp_path / "series", Geometry(SIZE, SPACING, ORIGIN))
    for n, path in enumerate(whole.series.files):
        dataset = pydicom.dcmread(path)
        dataset.ImagePositionPatient[2] += 0.08 * (-1) ** n
        dataset.save_as(path)
    (study,) = scan_paths(CTX, [tmp_path / "series"])
    (series,) = study.series
    case = with_a_ball(open_series(CTX, series), center_mm=whole.geometry.center_lps, radius_mm=5.0)
    (path,) = run_export(CTX, "dicom-seg", [case], tmp_path / "seg").files
    uids = series.series_instance_uid, series.frame_of_reference_uid
    found = read(CTX, SegmentRequest(path, Target(case.geometry, *uids, case.volume.patient_id, series=series)))
    for read_back, segment in zip(found.segments, case.segments, strict=True):
        np.testing.assert_array_equal(found.layers[read_back.layer] == read_back.value, case.mask(segment))


def test_G07_other_formats_write_the_grid_and_say_so(tmp_path: Path) -> None:
    whole = make_series(tmp_path / "series", Geometry(SIZE, SPACING, ORIGIN))
    whole.series.files[2].unlink()
    (study,) = scan_paths(CTX, [tmp_path / "series"])
    volume = open_series(CTX, next(s for s in study.series if s.interpolation == "linear"))
    case = with_a_ball(volume, center_mm=whole.geometry.center_lps, radius_mm=4.0)
    for format_id in ("nifti", "nnunet"):
        report = run_export(CTX, format_id, [case], tmp_path / format_id)
        assert all(check.passed for check in report.checks)
        assert any("Resampled along the stack to 2.50 mm by linear interpolation" in note for note in report.notes)


def test_G08_a_tilted_series_is_exported_on_its_own_slices(tmp_path: Path) -> None:
    geometry = Geometry(SIZE, SPACING, ORIGIN, SHEARED)
    make_series(tmp_path / "series", geometry)
    (study,) = scan_paths(CTX, [tmp_path / "series"])
    (series,) = study.series
    volume = open_series(CTX, series)
    assert [w.code for w in volume.warnings] == ["W_TILT"]
    case = with_a_ball(volume, center_mm=geometry.center_lps, radius_mm=5.0)
    report = run_export(CTX, "dicom-seg", [case], tmp_path / "seg")
    seg = highdicom.seg.segread(report.files[0])
    for group in seg.PerFrameFunctionalGroupsSequence:
        uid = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        k = int(uid.split(".")[-1]) - 1
        position = group.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(position, geometry.index_to_lps((0, 0, k)), atol=1e-3)
    nifti = run_export(CTX, "nifti", [case], tmp_path / "nifti")
    assert all(check.passed for check in nifti.checks)


def test_G08_nnunet_gets_a_tilted_series_on_an_upright_grid(tmp_path: Path) -> None:
    geometry = Geometry((40, 36, 12), (1.0, 1.0, 2.5), ORIGIN, SHEARED)
    k, j, i = np.indices(geometry.shape)
    places = geometry.index_to_lps(np.stack([i, j, k], axis=-1))
    # A picture whose value says where in the patient it is.
    array = np.rint(20 * places @ [0.6, 0.5, 0.4]).astype(np.int16)
    volume = Volume(array, geometry, "tilted", "CT", "HU")
    case = with_a_ball(volume, center_mm=np.array(geometry.center_lps), radius_mm=9.0)
    report = run_export(CTX, "nnunet", [case], tmp_path / "out")
    assert all(check.passed for check in report.checks)
    assert any("upright grid" in note for note in report.notes)
    image = sitk.ReadImage(str(next((tmp_path / "out").rglob("*_0000.nii.gz"))))
    label = sitk.ReadImage(str(next((tmp_path / "out").rglob("labelsTr/*.nii.gz"))))
    voxels, labels = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(label)
    ball = next(value for value in (1, 2) if np.count_nonzero(labels == value) > 100)
    inside = np.argwhere(labels == ball)[:, ::-1]
    places = np.array([image.TransformIndexToPhysicalPoint([int(n) for n in ijk]) for ijk in inside])
    assert np.linalg.norm(places - geometry.center_lps, axis=1).max() <= 9.0 + 0.8
    wanted = 20 * places @ [0.6, 0.5, 0.4]
    assert np.abs(voxels[labels == ball] - wanted).max() <= 1.5
    assert np.count_nonzero(labels == ball) * 2.5 * np.cos(TILT) == pytest.approx(4 / 3 * np.pi * 9**3, rel=0.05)


def test_G07_the_real_head_goes_back_to_its_28_slices(shared_data: Path, tmp_path: Path) -> None:
    (study,) = scan_paths(CTX, [shared_data / "dicom" / "head_ct_tilt18_variable_spacing_GE.zip"])
    series = next(s for s in study.series if s.interpolation == "linear")
    volume = open_series(CTX, series)
    workspace = Workspace()
    workspace.add_volume(volume)
    segmentation = workspace.segmentation(volume.id)
    bone = segmentation.new_group("bone", (volume.array > 300).astype(np.uint16))
    segmentation.put_group(bone)
    segmentation.put_segment(Segment(1, "Bone"))
    report = run_export(CTX, "dicom-seg", cases_of(workspace), tmp_path / "seg")
    assert all(check.passed for check in report.checks)
    found = frames_by_source(report.files[0])
    for path in series.files:
        source = pydicom.dcmread(path)
        wanted = source.pixel_array * float(source.RescaleSlope) + float(source.RescaleIntercept) > 300
        np.testing.assert_array_equal(found.pop(str(source.SOPInstanceUID), np.zeros_like(wanted)), wanted)
    assert not found
