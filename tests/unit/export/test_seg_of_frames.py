"""DICOM SEG of multi-frame files: it refers to their frames, and comes back onto them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from medviewer.core.errors import ExportError
from medviewer.core.segmentation import Segment
from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from medviewer.export.case import Case, cases_of
from medviewer.export.exporter import run_export
from medviewer.io.derived import Target
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.load_segments import SegmentRequest, read
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from tests.dicom_makers import write_enhanced
from tests.mosaic_makers import write_mosaic

CTX = NullContext()
FRAMES = np.random.default_rng(5).integers(0, 900, (8, 8, 10)).astype(np.uint16)
#: Frames are stored neither in the order of place nor of time.
PLACES = [(0.0, 0.0, 2.0 * z) for z in (2, 0, 3, 1, 1, 3, 0, 2)]
PER_FRAME = {
    "PixelMeasuresSequence": {"PixelSpacing": [0.5, 0.75], "SliceThickness": 2.0},
    "PlaneOrientationSequence": {"ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]},
}


def with_masks(volume: Volume, *, overlap: bool = False) -> Case:
    workspace = Workspace()
    workspace.add_volume(volume)
    segmentation = workspace.segmentation(volume.id)
    bright = volume.array > np.percentile(volume.array, 70)
    segmentation.put_group(segmentation.new_group("bright", bright.astype(np.uint16)))
    segmentation.put_segment(Segment(1, "Bright"))
    if overlap:
        all_but_one = np.ones(volume.array.shape, np.uint16) * 2
        all_but_one[0] = 0
        segmentation.put_group(segmentation.new_group("all", all_but_one))
        segmentation.put_segment(Segment(2, "All", group=1))
    (case,) = cases_of(workspace)
    return case


def comes_back(case: Case, path: Path) -> bool:
    series = case.series
    assert series is not None
    uids = series.series_instance_uid, series.frame_of_reference_uid
    found = read(CTX, SegmentRequest(path, Target(case.geometry, *uids, case.volume.patient_id, series=series)))
    pairs = zip(found.segments, case.segments, strict=True)
    return all(np.array_equal(found.layers[s.layer] == s.value, case.mask(wanted)) for s, wanted in pairs)


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("own", [{}, PER_FRAME], ids=["shared", "per frame"])
def test_G18_masks_refer_to_the_frames_they_were_drawn_on(tmp_path: Path, own: dict[str, Any], overlap: bool) -> None:
    shared = dict.fromkeys(PER_FRAME) if own else None
    path = write_enhanced(
        tmp_path / "in" / "a.dcm", FRAMES, PLACES, shared=shared, StudyDate="20260102",
        groups=lambda n: own | {"FrameContentSequence": {"TemporalPositionIndex": n // 4 + 1}},
    )  # fmt: skip
    (study,) = scan_paths(CTX, [path])
    (series,) = study.series
    for point in (0, 1):
        volume = open_series(CTX, series).at_time(point)
        case = with_masks(volume, overlap=overlap)
        report = run_export(CTX, "dicom-seg", [case], tmp_path / f"seg {point}")
        assert all(check.passed for check in report.checks)
        assert comes_back(case, report.files[0])
        seg = pydicom.dcmread(report.files[0])
        drawn = set()
        for group in seg.PerFrameFunctionalGroupsSequence:
            source = group.DerivationImageSequence[0].SourceImageSequence[0]
            assert source.ReferencedSOPInstanceUID == pydicom.dcmread(path).SOPInstanceUID
            number = int(source.ReferencedFrameNumber) - 1
            drawn.add(number // 4)
            assert tuple(group.PlanePositionSequence[0].ImagePositionPatient) == PLACES[number]
        assert drawn == {point}


def test_mosaics_are_refused_by_name(tmp_path: Path) -> None:
    path = write_mosaic(tmp_path / "in" / "m.dcm", FRAMES, (0.0, 0.0, 0.0))
    (study,) = scan_paths(CTX, [path])
    with pytest.raises(ExportError, match="mosaics") as refusal:
        run_export(CTX, "dicom-seg", [with_masks(open_series(CTX, study.series[0]))], tmp_path / "out")
    assert refusal.value.code == "E_NO_SOURCE"


@pytest.mark.parametrize("archive", ["enhanced_mr_multiframe", "seg_sr_paramap_dcmqi", "multiframe_xa_us_mr_fodicom"])
def test_real_multi_frame_files_get_their_masks_back(shared_data: Path, tmp_path: Path, archive: str) -> None:
    exported = 0
    for study in scan_paths(CTX, [shared_data / "dicom" / f"{archive}.zip"]):
        for series in study.series:
            if not (series.volume and series.frames and series.kind == "dicom" and series.stacking == "place"):
                continue
            case = with_masks(open_series(CTX, series))
            report = run_export(CTX, "dicom-seg", [case], tmp_path / f"{exported}")
            assert all(check.passed for check in report.checks)
            assert comes_back(case, report.files[0])
            exported += 1
    assert exported
