"""What is exported as DICOM SEG or NIfTI loads again as it was."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from medviewer.core.segmentation import Segment
from medviewer.core.terminology import TERMS, CodedConcept
from medviewer.export.case import Case
from medviewer.export.exporter import run_export
from medviewer.export.formats.dicom_seg import DicomSegOptions
from medviewer.export.formats.nifti import NiftiOptions
from medviewer.io.derived import Target
from medviewer.io.label_file import NamedSegment
from medviewer.io.load_segments import SegmentRequest, read
from medviewer.jobs.job import NullContext
from tests.f_phantom import ORIENTATIONS

CTX = NullContext()
CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def target_of(case: Case) -> Target:
    series = case.volume.series
    assert series is not None
    return Target(case.geometry, series.series_instance_uid, series.frame_of_reference_uid, case.volume.patient_id)


def terms(segment: Segment | NamedSegment) -> list[CodedConcept | None]:
    return [getattr(segment, name) for name in TERMS]


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_an_exported_seg_reads_back_voxel_for_voxel(
    make_case: Callable[..., Case], tmp_path: Path, orientation: str, overlap: bool
) -> None:
    case = make_case(orientation, overlap=overlap)
    (path,) = run_export(CTX, "dicom-seg", [case], tmp_path / "out", DicomSegOptions(created=CREATED)).files
    found = read(CTX, SegmentRequest(path, target_of(case)))
    assert [s.name for s in found.segments] == [s.name for s in case.segments]
    assert [terms(s) for s in found.segments] == [terms(s) for s in case.segments]
    for read_back, segment in zip(found.segments, case.segments, strict=True):
        np.testing.assert_array_equal(found.layers[read_back.layer] == read_back.value, case.mask(segment))
        assert np.abs(np.subtract(read_back.color or (), segment.color)).max() <= 1


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_exported_nifti_masks_read_back_with_their_names(
    make_case: Callable[..., Case], tmp_path: Path, orientation: str
) -> None:
    case = make_case(orientation)
    files = run_export(CTX, "nifti", [case], tmp_path / "out", NiftiOptions(images=False)).files
    found = [read(CTX, SegmentRequest(p, target_of(case))) for p in files if p.name.endswith(".nii.gz")]
    masks = {f.segments[0].name: f.layers[0] > 0 for f in found}
    assert set(masks) == {s.name for s in case.segments}
    for segment in case.segments:
        np.testing.assert_array_equal(masks[segment.name], case.mask(segment))
