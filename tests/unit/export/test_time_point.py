"""One point of a time axis is exported, refers to its own images, and says which point it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest

from medviewer.core.segmentation import Segment
from medviewer.core.workspace import Workspace
from medviewer.export.case import Case, cases_of
from medviewer.export.exporter import run_export
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from tests.dicom_makers import pixels, write_slice

CTX = NullContext()
POINTS, SLICES = 3, 4


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """A mask drawn at the second of three points."""
    for n in range(POINTS * SLICES):
        point, k = divmod(n, SLICES)
        write_slice(
            tmp_path / "series" / f"{n:03d}.dcm", pixels(n), (0.0, 0.0, 3.0 * k), Modality="MR",
            SOPClassUID="1.2.840.10008.5.1.4.1.1.4", SOPInstanceUID=f"1.2.3.{point}.{k}", InstanceNumber=n + 1,
            TemporalPositionIdentifier=point + 1, StudyTime="100000", SeriesInstanceUID="1.2.77",
        )  # fmt: skip
    (study,) = scan_paths(CTX, [tmp_path / "series"])
    volume = open_series(CTX, study.series[0]).at_time(1)
    workspace = Workspace()
    workspace.add_volume(volume)
    segmentation = workspace.segmentation(volume.id)
    group = segmentation.new_group("a")
    group.labels[1:3, 5:9, 5:9] = 1
    segmentation.put_group(group)
    segmentation.put_segment(Segment(1, "Lesion", (255, 0, 0)))
    (made,) = cases_of(workspace)
    return made


def test_a_case_holds_the_point_alone(case: Case) -> None:
    assert case.volume.time is not None
    assert case.volume.time.arrays == ()
    np.testing.assert_array_equal(case.volume.array, [pixels(n) - 1024 for n in range(SLICES, 2 * SLICES)])
    assert case.provenance()["time_point"] == "time point 2 (2 of 3)"


def test_a_dicom_seg_refers_to_the_images_of_its_point(case: Case, tmp_path: Path) -> None:
    report = run_export(CTX, "dicom-seg", [case], tmp_path / "out")
    seg = pydicom.dcmread(report.files[0])
    referred = {
        item.ReferencedSOPInstanceUID
        for series in seg.ReferencedSeriesSequence
        for item in series.ReferencedInstanceSequence
    }
    assert {uid for uid in referred if uid.startswith("1.2.3.1.")} == referred != set()
    assert any("time point 2 (2 of 3)" in note for note in report.notes)


def test_nifti_says_which_point_it_is(case: Case, tmp_path: Path) -> None:
    report = run_export(CTX, "nifti", [case], tmp_path / "out")
    (labels,) = [path for path in report.files if path.name == "labels.json"]
    said = json.loads(labels.read_text(encoding="utf-8"))
    assert [warning["code"] for warning in said["warnings"]] == ["W_TIME_POINT"]
    assert said["time_point"] == "time point 2 (2 of 3)"
