"""A phantom written as DICOM reads back as it was, and passes dciodvfy."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from medviewer.phantoms import Phantom, letter_f, make_brain, make_thorax, write_demo_study, write_series

OBLIQUE = (12.0, -20.0, 33.0)


@pytest.fixture(scope="module")
def small() -> dict[str, Phantom]:
    return {"CT": make_thorax((40, 44, 36), seed=1), "MR": make_brain((36, 40, 32), seed=1)}


def read(files: list[Path]) -> tuple[np.ndarray, list[pydicom.Dataset]]:
    datasets = [pydicom.dcmread(path) for path in files]
    normal = np.cross(*np.reshape([float(v) for v in datasets[0].ImageOrientationPatient], (2, 3)))
    datasets.sort(key=lambda ds: float(np.dot(normal, [float(v) for v in ds.ImagePositionPatient])))
    slope = [float(ds.get("RescaleSlope", 1)) for ds in datasets]
    intercept = [float(ds.get("RescaleIntercept", 0)) for ds in datasets]
    return np.stack([ds.pixel_array * a + b for ds, a, b in zip(datasets, slope, intercept, strict=True)]), datasets


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_reads_back_voxels_and_geometry(
    small: dict[str, Phantom], modality: str, turned: bool, implicit: bool, tmp_path: Path
) -> None:
    phantom = small[modality].oblique(OBLIQUE) if turned else small[modality]
    files = write_series(phantom, tmp_path, seed=1, implicit=implicit)
    values, datasets = read(files)
    assert np.array_equal(values, phantom.volume.array)
    geometry = phantom.volume.geometry
    for k, ds in enumerate(datasets):
        assert np.allclose([float(v) for v in ds.ImagePositionPatient], geometry.index_to_lps((0, 0, k)), atol=1e-9)
        assert np.allclose([float(v) for v in ds.ImageOrientationPatient], geometry.direction_matrix.T[:2].ravel())
        assert [float(v) for v in ds.PixelSpacing] == pytest.approx([geometry.spacing[1], geometry.spacing[0]])
        assert ds.file_meta.TransferSyntaxUID.is_implicit_VR is implicit
        assert (ds.Modality, ds.PatientPosition) == (modality, "HFS")
    assert len({ds.SOPInstanceUID for ds in datasets}) == len(datasets)
    assert len({(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID) for ds in datasets}) == 1


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed")
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_passes_dciodvfy(small: dict[str, Phantom], modality: str, turned: bool, tmp_path: Path) -> None:
    phantom = small[modality].oblique(OBLIQUE) if turned else small[modality]
    files = write_series(phantom, tmp_path, seed=1)
    for path in (files[0], files[-1]):
        done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        assert "Error" not in done.stdout + done.stderr


def test_writing_again_gives_the_same_bytes_and_another_seed_other_uids(tmp_path: Path) -> None:
    phantom = letter_f()
    first = write_series(phantom, tmp_path / "a", seed=4)
    again = write_series(phantom, tmp_path / "b", seed=4)
    other = write_series(phantom, tmp_path / "c", seed=5)
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in again]
    uids = [
        {pydicom.dcmread(p).SOPInstanceUID for p in files} | {pydicom.dcmread(files[0]).SeriesInstanceUID}
        for files in (first, other)
    ]
    assert not uids[0] & uids[1]


def test_refuses_values_that_do_not_fit(tmp_path: Path) -> None:
    from dataclasses import replace

    phantom = letter_f()
    volume = replace(phantom.volume, array=phantom.volume.array.astype(np.int32) - 500)
    with pytest.raises(ValueError, match="12 bits"):
        write_series(replace(phantom, volume=volume), tmp_path)
    with pytest.raises(ValueError, match="modality"):
        write_series(replace(phantom, volume=replace(phantom.volume, modality="US")), tmp_path)


def test_demo_study_has_its_truth_beside_it(tmp_path: Path) -> None:
    seen: list[float] = []
    study = write_demo_study(tmp_path / "demo", "thorax", (40, 40, 36), 2, lambda f, _t: seen.append(f))
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert len(study.files) == 36
    assert all(path.parent == tmp_path / "demo" / "DICOM" for path in study.files)
    ds = pydicom.dcmread(study.files[0])
    assert (str(ds.PatientName), ds.BodyPartExamined) == ("Demo^Thorax", "CHEST")
    assert ds.SeriesInstanceUID == study.series_instance_uid
    truth = json.loads(study.truth_json.read_text(encoding="utf-8"))
    assert truth["series_instance_uid"] == study.series_instance_uid
    image = nibabel.load(study.labels_nifti)
    labels = np.asarray(image.dataobj)
    assert np.array_equal(labels.transpose(2, 1, 0), study.phantom.labels)
    with study.nodules_csv.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(study.phantom.nodules)
    for row in rows:
        x, y, z = (float(row[f"{axis}_lps_mm"]) for axis in "xyz")
        i, j, k = np.linalg.inv(image.affine) @ (-x, -y, z, 1) @ np.eye(4)[:, :3]
        assert np.allclose((i, j, k), study.phantom.volume.geometry.lps_to_index((x, y, z)), atol=1e-3)
        assert 5 <= float(row["diameter_mm"]) <= 25


def test_a_smaller_study_leaves_no_slice_of_a_larger_one(tmp_path: Path) -> None:
    write_demo_study(tmp_path, "brain", (20, 20, 24), 0)
    study = write_demo_study(tmp_path, "brain", (20, 20, 18), 0)
    assert sorted((tmp_path / "DICOM").iterdir()) == sorted(study.files)


def test_refuses_an_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kind must be"):
        write_demo_study(tmp_path, "knee")  # type: ignore[arg-type]  # the refusal is the test
