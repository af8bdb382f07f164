"""RTSTRUCT: contours filled on the slices they were drawn on."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from medviewer.core.errors import MedViewerError
from medviewer.core.geometry import Geometry
from medviewer.io.derived import Target
from medviewer.io.dicom_frames import slice_headers
from medviewer.io.dicom_geometry import frames_and_positions, stack_geometry
from medviewer.io.dicom_header import read_header
from medviewer.io.dicom_resample import planes_of, regular_grid
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.load_segments import SegmentRequest, read, reference
from medviewer.jobs.job import NullContext
from tests.dicom_makers import pixels, write_slice

CTX = NullContext()
GRID = Geometry((20, 16, 6), (0.7, 0.8, 2.5), (-10.0, 20.0, -300.0), (0.6, -0.8, 0, 0.8, 0.6, 0, 0, 0, 1))
TARGET = Target(GRID, "1.2.3.4.5", "1.2.3.4.6", "0815")
SQUARE = [(2.0, 3.0), (9.0, 3.0), (9.0, 10.0), (2.0, 10.0)]
HOLE = [(4.5, 5.5), (6.5, 5.5), (6.5, 7.5), (4.5, 7.5)]


def structures(path: Path, *rois: list[tuple[float, list[tuple[float, float]], str]], grid: Geometry = GRID) -> Path:
    """Write structures; a contour is its depth k, its points (i, j) and its kind."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = "1.2.3.9"
    made.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    made.Modality, made.PatientID, made.SeriesInstanceUID = "RTSTRUCT", "0815", "1.2.3.10"
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = "1.2.3.4.5"
    study.RTReferencedSeriesSequence = Sequence([series])
    frame.FrameOfReferenceUID = "1.2.3.4.6"
    frame.RTReferencedStudySequence = Sequence([study])
    made.ReferencedFrameOfReferenceSequence = Sequence([frame])
    made.StructureSetROISequence, made.ROIContourSequence = Sequence(), Sequence()
    for n, contours in enumerate(rois):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = 7 + n, f"ROI {n}"
        drawn.ReferencedROINumber, drawn.ROIDisplayColor = 7 + n, [255, 128 * n, 0]
        drawn.ContourSequence = Sequence()
        for k, points, kind in contours:
            contour = Dataset()
            contour.ContourGeometricType = kind
            places = grid.index_to_lps([(i, j, k) for i, j in points])
            contour.ContourData = [f"{v:.6f}" for v in places.ravel()]
            contour.NumberOfContourPoints = len(points)
            drawn.ContourSequence.append(contour)
        made.StructureSetROISequence.append(roi)
        made.ROIContourSequence.append(drawn)
    made.save_as(path, enforce_file_format=True)
    return path


def load(path: Path, target: Target = TARGET):
    return read(CTX, SegmentRequest(path, target))


def test_holes_are_holes_and_overlapping_structures_are_kept(tmp_path):
    first = [(2.0, SQUARE, "CLOSED_PLANAR"), (2.0, HOLE, "CLOSED_PLANAR"), (3.0, SQUARE, "CLOSED_PLANAR")]
    found = load(structures(tmp_path / "a.dcm", first, [(3.0, HOLE, "CLOSED_PLANAR")]))
    assert [(s.name, s.color, s.layer) for s in found.segments] == [
        ("ROI 0", (255, 0, 0), 0),
        ("ROI 1", (255, 128, 0), 1),
    ]
    wanted = np.zeros(GRID.shape, dtype=bool)
    wanted[2:4, 3:10, 2:9] = True
    wanted[2, 6:8, 5:7] = False
    np.testing.assert_array_equal(found.layers[0] == 1, wanted)
    assert (found.layers[1] == 2).sum() == 4
    assert found.warnings == ()


def test_what_is_left_out_is_told(tmp_path):
    contours = [(2.0, SQUARE, "CLOSED_PLANAR"), (2.0, SQUARE[:1], "POINT"), (2.0, SQUARE[:2], "CLOSED_PLANAR"),
                (40.0, SQUARE, "CLOSED_PLANAR"), (4.3, SQUARE, "CLOSED_PLANAR")]  # fmt: skip
    found = load(structures(tmp_path / "a.dcm", contours))
    assert [int(k) for k in np.flatnonzero(found.layers[0].any(axis=(1, 2)))] == [2, 4]
    told = " ".join(found.warnings)
    assert all(word in told for word in ("point", "fewer than three", "outside the image", "0.30 of a slice"))


def test_a_keyhole_and_an_xor_contour_make_the_same_hole(tmp_path):
    """Into the hole through a channel of no width and back out; or as a contour of its own."""
    keyhole = [*SQUARE, SQUARE[0], *HOLE[:1], *HOLE[:0:-1], HOLE[0], SQUARE[0]]
    ways = ([(2.0, keyhole, "CLOSED_PLANAR")], [(2.0, SQUARE, "CLOSEDPLANAR_XOR"), (2.0, HOLE, "CLOSEDPLANAR_XOR")])
    first, second = (load(structures(tmp_path / f"{n}.dcm", way)).layers[0] for n, way in enumerate(ways))
    np.testing.assert_array_equal(first, second)
    assert not first[2, 6:8, 5:7].any()
    assert first[2, 4, 3]


def test_contours_on_every_second_slice_fill_the_slices_between_and_say_so(tmp_path):
    found = load(structures(tmp_path / "a.dcm", [(k, SQUARE, "CLOSED_PLANAR") for k in (0.0, 2.0, 4.0)]))
    assert [int(k) for k in np.flatnonzero(found.layers[0].any(axis=(1, 2)))] == [0, 1, 2, 3, 4, 5]
    assert "2 slices apart" in " ".join(found.warnings)


@pytest.mark.parametrize("depths", [(0.0, 1.0, 4.0), (0.0, 4.0), (0.0, 2.0, 5.0)])
def test_a_gap_that_is_no_rule_stays_empty(tmp_path, depths):
    found = load(structures(tmp_path / "a.dcm", [(k, SQUARE, "CLOSED_PLANAR") for k in depths]))
    assert [float(k) for k in np.flatnonzero(found.layers[0].any(axis=(1, 2)))] == list(depths)


def test_g07_on_a_computed_grid_contours_lie_on_true_slices_and_go_on_between(tmp_path):
    for n, z in enumerate((0.0, 2.0, 4.0, 7.0, 8.0)):
        write_slice(tmp_path / "ct" / f"{n}.dcm", pixels(n), (0, 0, z))
    (study,) = scan_paths(CTX, [tmp_path / "ct"])
    series = next(s for s in study.series if s.interpolation == "nearest")
    grid = regular_grid(*frames_and_positions(slice_headers(series))).geometry
    true = planes_of(series)
    drawn = [(float(true[n]), SQUARE if n < 3 else HOLE, "CLOSED_PLANAR") for n in range(5)]
    path = structures(tmp_path / "a.dcm", drawn, grid=grid)
    found = load(path, Target(grid, "1.2.3.4.5", "1.2.3.4.6", "0815", series=series))
    count = found.layers[0].any(axis=(1, 2)).sum()
    assert count == grid.size[2] > 5
    between = set(range(grid.size[2])) - set(true)
    for k in between:
        nearest = min(true, key=lambda plane: (abs(plane - k), -plane))
        np.testing.assert_array_equal(found.layers[0][k], found.layers[0][nearest])
    assert "repeat the nearest" in " ".join(found.warnings)


def test_contours_are_kept_as_they_were_drawn(tmp_path):
    drawn = [(2.0, SQUARE, "CLOSED_PLANAR"), (3.0, HOLE, "CLOSEDPLANAR_XOR"), (2.0, SQUARE[:1], "POINT"),
             (2.0, SQUARE[:2], "OPEN_PLANAR")]  # fmt: skip
    path = structures(tmp_path / "a.dcm", drawn, [(1.0, HOLE, "CLOSED_PLANAR")])
    found = load(path)
    written = [
        (n + 1, str(contour.ContourGeometricType), [float(v) for v in contour.ContourData])
        for n, roi in enumerate(pydicom.dcmread(path).ROIContourSequence)
        for contour in roi.ContourSequence
    ]
    assert [(c.segment, c.kind, c.points.ravel().tolist()) for c in found.contours.all] == written
    moved = found.contours.renumbered({2: 7})
    assert [(c.segment, c.points.ravel().tolist()) for c in moved.all] == [(7, written[-1][2])]
    on_slice = found.contours.on_slice(GRID, 2, 2)
    assert [contour.kind for contour, _ in on_slice] == ["CLOSED_PLANAR", "POINT", "OPEN_PLANAR"]
    np.testing.assert_allclose(on_slice[0][1][:, :2], SQUARE, atol=1e-5)


def test_contours_across_the_slices_are_refused(tmp_path):
    path = structures(tmp_path / "a.dcm", [(2.0, SQUARE, "CLOSED_PLANAR")])
    across = Geometry(GRID.size, GRID.spacing, GRID.origin, (0, 1, 0, 0, 0, 1, 1, 0, 0))
    with pytest.raises(MedViewerError) as refusal:
        load(path, Target(across, "1.2.3.4.5", "1.2.3.4.6", "0815"))
    assert refusal.value.code == "E_CONTOUR_PLANE"


@pytest.mark.parametrize("contours", [[], [(2.0, SQUARE[:1], "POINT")], [(99.0, SQUARE, "CLOSED_PLANAR")]])
def test_structures_without_a_contour_in_the_image_are_refused(tmp_path, contours):
    with pytest.raises(MedViewerError) as refusal:
        load(structures(tmp_path / "a.dcm", contours))
    assert refusal.value.code == "E_RTSTRUCT"


def test_l07_structures_of_another_patient_are_refused(tmp_path):
    path = structures(tmp_path / "a.dcm", [(2.0, SQUARE, "CLOSED_PLANAR")])
    with pytest.raises(MedViewerError) as refusal:
        load(path, Target(GRID, "1.2.3.4.5", "1.2.3.4.6", "4711"))
    assert refusal.value.code == "E_WRONG_PATIENT"


@pytest.mark.parametrize("modality", ["CT", "MR_T1", "PET"])
def test_sts002_agrees_with_the_masks_beside_it(shared_data, tmp_path, modality):
    with zipfile.ZipFile(shared_data / "dicom" / "sts002_ct_mr_pet_rtstruct.zip") as archive:
        archive.extractall(tmp_path, [n for n in archive.namelist() if n.startswith(f"STS_002/{modality}/")])
    folder = tmp_path / "STS_002" / modality
    (study,) = scan_paths(CTX, [folder / "image"])
    series = max(study.series, key=lambda s: len(s.files))
    grid = stack_geometry([read_header(path) for path in series.files])
    target = Target(grid, series.series_instance_uid, series.frame_of_reference_uid, study.patient_id)
    assert series.series_instance_uid in reference(CTX, folder / "mask" / "RS.dcm").series_uids
    (drawn,) = load(folder / "mask" / "RS.dcm", target).layers
    (wanted,) = load(shared_data / "nifti" / "sts002" / f"{modality}_mask.nii.gz", target).layers
    dice = 2 * np.count_nonzero((drawn > 0) & (wanted > 0)) / (np.count_nonzero(drawn) + np.count_nonzero(wanted))
    assert dice >= 0.98
