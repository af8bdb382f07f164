"""The chest CT with its nodule, through every format."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medviewer.core.segmentation import Segment
from medviewer.core.workspace import Workspace
from medviewer.export.case import cases_of
from medviewer.export.exporter import run_export
from medviewer.io.archive import close_all
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext


@pytest.fixture(scope="module")
def chest(shared_data: Path) -> Workspace:
    ctx = NullContext()
    (study,) = scan_paths(ctx, [shared_data / "dicom" / "chest_ct_LIDC-IDRI-0001.zip"])
    volume = open_series(ctx, max((s for s in study.series if s.volume), key=lambda s: len(s.files)))
    workspace = Workspace()
    workspace.add_volume(volume)
    segmentation = workspace.segmentation(volume.id)
    consensus = nibabel.load(shared_data / "dicom" / "chest_ct_LIDC-IDRI-0001_nodule_consensus.nii.gz")
    nodule, body = segmentation.new_group("nodule"), None
    indices = np.argwhere(np.asarray(consensus.dataobj) > 0)
    lps = nibabel.affines.apply_affine(consensus.affine, indices) * [-1, -1, 1]
    i, j, k = np.round(volume.geometry.lps_to_index(lps)).astype(int).T
    nodule.labels[k, j, i] = 1
    segmentation.put_group(nodule)
    body = segmentation.new_group("body", (volume.array > -300).astype(np.uint16) * 2)
    segmentation.put_group(body)
    segmentation.put_segment(Segment(1, "Nodule"))
    segmentation.put_segment(Segment(2, "Body", group=1))
    assert nodule.labels.any()
    yield workspace
    close_all()


@pytest.mark.parametrize("format_id", ["nifti", "dicom-seg"])
def test_the_chest_ct_is_exported(chest: Workspace, tmp_path: Path, format_id: str) -> None:
    report = run_export(NullContext(), format_id, cases_of(chest), tmp_path / "out")
    assert all(check.passed for check in report.checks)
    if format_id == "dicom-seg" and shutil.which("dciodvfy"):
        command = ["dciodvfy", "-new", str(report.files[0])]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert "Error" not in result.stdout + result.stderr, result.stderr[:2000]


def test_the_nodule_becomes_a_dataset(chest: Workspace, tmp_path: Path) -> None:
    (case,) = cases_of(chest)
    alone = type(case)(id="chest", volume=case.volume, segments=case.segments[:1], groups=case.groups)
    assert all(check.passed for check in run_export(NullContext(), "nnunet", [alone], tmp_path / "out").checks)
