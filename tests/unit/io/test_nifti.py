"""NIfTI: LPS at the door, voxels where nibabel puts them, hostile headers refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medviewer.core.errors import InputError
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext

CTX = NullContext()
OBLIQUE = np.array([[-0.9, 0.1, 0.3, 10], [0.2, 0.8, -0.4, -20], [0.1, 0.3, 2.0, 30], [0, 0, 0, 1.0]])


def save(path: Path, array: np.ndarray, affine: np.ndarray = OBLIQUE, kind=nib.Nifti1Image, **scaling: float) -> Path:
    image = kind(array, affine)
    image.header.set_data_dtype(array.dtype)
    if scaling:
        image.header.set_slope_inter(scaling["slope"], scaling["inter"])
    nib.save(image, path)
    return path


def load(path: Path, worker):
    (study,) = scan_paths(CTX, [path])
    (series,) = study.series
    return open_series(CTX, series, worker)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize(
    ("dtype", "result"), [(np.int16, np.int16), (np.uint8, np.int16), (np.uint16, np.int32), (np.float32, np.float32)]
)
def test_voxels_and_places_equal_nibabel(tmp_path, decode_worker, name, kind, dtype, result):
    random = np.random.default_rng(1)
    array = (random.random((5, 6, 7)) * (60_000 if dtype is np.uint16 else 250)).astype(dtype)
    if dtype is np.uint16:
        array[0, 0, 0] = 65_535
    volume = load(save(tmp_path / name, array, kind=kind), decode_worker)
    np.testing.assert_array_equal(volume.array, array.transpose(2, 1, 0))
    assert volume.array.dtype == result
    assert volume.array.flags.c_contiguous
    for ijk in [(0, 0, 0), (4, 0, 2), (1, 5, 6)]:
        ras = OBLIQUE @ [*ijk, 1]
        assert volume.geometry.index_to_lps(ijk) == pytest.approx([-ras[0], -ras[1], ras[2]], abs=1e-4)
    assert (volume.name, volume.series.kind) == ("a", "nifti")


def test_scaling_is_applied_once(tmp_path, decode_worker):
    path = tmp_path / "a.nii"
    image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    nib.save(image, path)
    data = bytearray(path.read_bytes())
    data[112:120] = np.array([0.5, -3.0], "<f4").tobytes()
    path.write_bytes(data)
    wanted = nib.load(path).get_fdata().transpose(2, 1, 0)
    np.testing.assert_allclose(load(path, decode_worker).array, wanted)


@pytest.mark.parametrize("code", [7, 0x80, 0x42])
def test_an_unknown_unit_spoils_neither_the_image_nor_the_scan(tmp_path, code):
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5, 2), np.int16), np.eye(4)), path)
    data = bytearray(path.read_bytes())
    data[123] = code
    path.write_bytes(data)
    (study,) = scan_paths(NullContext(), [tmp_path])
    assert study.series[0].time_labels == ("volume 1", "volume 2")


def test_a_mask_with_trailing_dimensions_of_one(tmp_path, decode_worker):
    path = save(tmp_path / "a.nii.gz", np.ones((3, 4, 5, 1), np.uint8))
    assert load(path, decode_worker).array.shape == (5, 4, 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_an_affine_that_is_no_grid_is_refused(tmp_path, value):
    path = save(tmp_path / "a.nii", np.zeros((3, 4, 5), np.int16))
    data = bytearray(path.read_bytes())
    data[280:296] = np.full(4, value, "<f4").tobytes()
    path.write_bytes(data)
    (study,) = scan_paths(CTX, [path])
    assert not study.series[0].volume


def test_a_header_that_promises_too_much_is_refused(tmp_path, decode_worker):
    path = save(tmp_path / "a.nii", np.zeros((3, 4, 5), np.int16))
    data = bytearray(path.read_bytes())
    data[40:48] = np.array([3, 32000, 32000, 32000], "<i2").tobytes()
    path.write_bytes(data)
    with pytest.raises(InputError) as refusal:
        load(path, decode_worker)
    assert refusal.value.code == "E_TRUNCATED"


@pytest.mark.parametrize("cut", [100, 400])
def test_a_cut_file_is_refused(tmp_path, decode_worker, cut):
    path = save(tmp_path / "a.nii", np.zeros((3, 4, 5), np.int16))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError):
        load(path, decode_worker)


def test_a_cut_gzip_is_refused(tmp_path, decode_worker):
    path = save(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 99, (20, 20, 20)).astype(np.int16))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError):
        load(path, decode_worker)


@pytest.mark.parametrize("data", [b"", b"no nifti at all", gzip.compress(b"nothing")])
def test_what_is_no_nifti_is_named(tmp_path, data):
    path = tmp_path / ("a.nii.gz" if data[:2] == b"\x1f\x8b" else "a.nii")
    path.write_bytes(data)
    with pytest.raises(InputError) as refusal:
        scan_paths(CTX, [path])
    assert refusal.value.code == "E_NIFTI"


def test_a_broken_nifti_does_not_stop_a_folder(tmp_path, decode_worker):
    save(tmp_path / "good.nii", np.zeros((3, 4, 5), np.int16))
    (tmp_path / "bad.nii").write_bytes(b"x")
    (study,) = scan_paths(CTX, [tmp_path])
    assert study.series[0].title == "good"
    assert [w.code for w in study.warnings] == ["W_UNREADABLE"]


def test_real_masks_lie_on_their_image(shared_data, decode_worker):
    folder = shared_data / "nifti" / "sts002"
    image = load(folder / "CT_image.nii.gz", decode_worker)
    mask = load(folder / "CT_mask.nii.gz", decode_worker)
    assert image.geometry.is_close(mask.geometry, 0.01)
    assert mask.array.any()
