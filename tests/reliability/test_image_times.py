"""N05: 4-D NIfTI, NRRD, MetaImage, MGH and Analyze files have a time axis; what is no plain number is named."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from medviewer.app.headless import open_at
from medviewer.core.errors import InputError
from medviewer.io.dicom_scan import scan
from medviewer.io.label_file import read_label_map
from medviewer.io.thumbnail import series_thumbnail
from medviewer.jobs.job import NullContext

CTX = NullContext()
#: In the order of an array: (point, k, j, i).
SHAPE = (3, 4, 5, 6)


def voxels(dtype=np.int16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, SHAPE).astype(dtype)


def save_nifti(path: Path, array: np.ndarray, unit: str = "sec", step: float = 2.5) -> Path:
    image = nib.Nifti1Image(array.transpose(3, 2, 1, 0), np.diag([2.0, 3.0, 4.0, 1.0]))
    image.header.set_xyzt_units("mm", unit)
    image.header["pixdim"][4] = step
    nib.save(image, path)
    return path


def save_itk(path: Path, array: np.ndarray) -> Path:
    image = sitk.JoinSeries([sitk.GetImageFromArray(point) for point in array], 0.0, 1.5)
    image.SetSpacing((2.0, 3.0, 4.0, 1.5))
    image.SetOrigin((7.0, 8.0, 9.0, 10.0))
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha", "a.nrrd", "a.mgz", "a.hdr"])
def test_N05_four_dimensions_are_a_time_axis(tmp_path, worker, name):
    array = voxels()
    path = tmp_path / name
    if ".nii" in name:
        save_nifti(path, array)
    elif name.endswith("mgz"):
        nib.save(nib.MGHImage(array.transpose(3, 2, 1, 0).astype(np.int32), np.diag([2.0, 3.0, 4.0, 1.0])), path)
    elif name.endswith("hdr"):
        nib.save(nib.Spm2AnalyzeImage(array.transpose(3, 2, 1, 0), np.diag([2.0, 3.0, 4.0, 1.0])), path)
    else:
        save_itk(path, array)
    (study,) = scan(CTX, [path]).studies
    (series,) = study.series
    labels = [f"t = {2.5 * n:g} s" if ".nii" in name else f"volume {n + 1}" for n in range(3)]
    assert list(series.time_labels) == labels
    assert series.size == (6, 5, 4)
    volume = open_at(CTX, series, 1, worker)
    np.testing.assert_array_equal(volume.time.arrays, array)
    np.testing.assert_array_equal(volume.array, array[1])
    assert volume.geometry.spacing == pytest.approx((2.0, 3.0, 4.0))
    if name.endswith(("mha", "nrrd")):
        assert volume.geometry.origin == (7.0, 8.0, 9.0)
    assert not volume.time.arrays[0].flags.writeable
    assert series_thumbnail(CTX, series, worker)


@pytest.mark.parametrize(("unit", "step", "first"), [
    ("msec", 500.0, "t = 0.5 s"), ("unknown", 2.0, "volume 2"), ("hz", 2.0, "volume 2"), ("sec", 0.0, "volume 2"),
    ("sec", float("nan"), "volume 2"),
])  # fmt: skip
def test_N05_seconds_only_where_the_file_has_them(tmp_path, unit, step, first):
    (study,) = scan(CTX, [save_nifti(tmp_path / "a.nii", voxels(), unit, step)]).studies
    assert study.series[0].time_labels[1] == first


def test_N05_the_axis_of_an_nrrd_may_be_any(tmp_path, worker):
    """The fastest axis counts the volumes, as in what Slicer writes."""
    array = voxels()
    head = (
        "NRRD0005\ntype: short\ndimension: 4\nspace: left-posterior-superior\nsizes: 3 6 5 4\nkinds: list domain domain"
        " domain\nspace directions: none (2,0,0) (0,3,0) (0,0,4)\nendian: little\nencoding: raw\n\n"
    )
    path = tmp_path / "a.nrrd"
    path.write_bytes(head.encode() + np.ascontiguousarray(np.moveaxis(array, 0, -1)).tobytes())
    (study,) = scan(CTX, [path]).studies
    volume = open_at(CTX, study.series[0], 2, worker)
    np.testing.assert_array_equal(volume.time.arrays, array)


@pytest.mark.parametrize("kind", ["RGB-color", "3-vector", "3-color", "vector"])
def test_N05_parts_of_one_value_are_named(tmp_path, outcome, kind):
    head = (
        f"NRRD0005\ntype: uchar\ndimension: 4\nspace: left-posterior-superior\nsizes: 3 6 5 4\nkinds: {kind} domain"
        " domain domain\nspace directions: none (2,0,0) (0,3,0) (0,0,4)\nencoding: raw\n\n"
    )
    path = tmp_path / "a.nrrd"
    path.write_bytes(head.encode() + bytes(360))
    found = outcome(path)
    assert found.codes == {"E_PIXEL_FORMAT"}
    assert kind in found.text


@pytest.mark.parametrize(("dtype", "named"), [
    (np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")]), "RGB"), (np.complex64, "complex64"),
    (np.complex128, "complex128"),
])  # fmt: skip
def test_N05_no_plain_numbers_are_named(tmp_path, outcome, dtype, named):
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5), dtype), np.eye(4)), path)
    found = outcome(path)
    assert found.codes == {"E_PIXEL_FORMAT"}
    assert named in found.text


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.float64])
def test_N05_wide_numbers_open(tmp_path, outcome, dtype):
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(np.arange(60).reshape(3, 4, 5).astype(dtype), np.eye(4), dtype=dtype), path)
    np.testing.assert_array_equal(outcome(path).volume.array, np.arange(60).reshape(3, 4, 5).transpose(2, 1, 0))


def test_N05_five_dimensions_are_named(tmp_path, outcome):
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5, 1, 3), np.float32), np.eye(4)), path)
    found = outcome(path)
    assert found.codes == {"E_4D"}
    assert "3 x 4 x 5 x 1 x 3" in found.text


def test_N05_a_metaimage_whose_fourth_axis_turns_is_refused(tmp_path, outcome):
    lines = (
        "NDims = 4\nDimSize = 6 5 4 3\nElementType = MET_UCHAR\n"
        "TransformMatrix = 1 0 0 0 0 1 0 0 0 0 0.8 0.6 0 0 -0.6 0.8\nElementDataFile = LOCAL\n"
    )
    path = tmp_path / "a.mha"
    path.write_bytes(lines.encode() + bytes(360))
    assert outcome(path).codes == {"E_4D"}


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.nrrd", "mask.mha"])
def test_N05_a_label_map_has_three_dimensions(tmp_path, name):
    path = tmp_path / name
    array = (voxels() > 50).astype(np.uint8)
    save_nifti(path, array) if "nii" in name else save_itk(path, array)
    with pytest.raises(InputError, match="3 volumes") as refused:
        read_label_map(CTX, path)
    assert refused.value.code == "E_4D"


def test_N05_values_that_are_no_numbers_at_any_point(tmp_path, outcome):
    array = voxels(np.float32)
    array[2, 1, 1, 1] = np.nan
    found = outcome(save_nifti(tmp_path / "a.nii", array))
    assert found.codes == {"W_NOT_FINITE"}
    assert all(np.isfinite(point).all() for point in found.volume.time.arrays)
    assert found.volume.padding == found.volume.time.arrays[2][1, 1, 1]
