"""Mosaics are taken apart exactly, or refused; two other programs find the same slices in the same places."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from nibabel.nicom.dicomwrappers import wrapper_from_file

from medviewer.core.errors import InputError
from medviewer.core.volume import Volume
from medviewer.export.nifti_file import ras_affine
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from tests.mosaic_makers import write_mosaic

CTX = NullContext()
# Each value is there once, so that every voxel can be found again.
SLICES = np.random.default_rng(3).permutation(7 * 12 * 10).reshape(7, 12, 10).astype(np.uint16)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
OBLIQUE = (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)
FIRST = (10.0, -20.0, 30.0)


def opened(path: Path) -> Volume:
    (study,) = scan_paths(CTX, [path])
    (series,) = study.series
    return open_series(CTX, series)


@pytest.mark.parametrize("downward", [False, True])
@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE])
def test_G17_slices_come_out_where_they_were(tmp_path: Path, orientation: tuple[float, ...], downward: bool) -> None:
    volume = opened(write_mosaic(tmp_path / "m.dcm", SLICES, FIRST, orientation, downward=downward))
    assert [w.code for w in volume.warnings] == ["W_MOSAIC"]
    assert volume.geometry.size == (10, 12, 7)
    assert volume.geometry.spacing == pytest.approx((2.5, 2.0, 3.0))
    normal = np.cross(orientation[:3], orientation[3:]) * (-1 if downward else 1)
    # k follows the right-handed normal, as in every series.
    for k, n in enumerate(range(7)[:: -1 if downward else 1]):
        np.testing.assert_array_equal(volume.array[k], SLICES[n])
        place = np.array(FIRST) + 3.0 * n * normal
        np.testing.assert_allclose(volume.geometry.index_to_lps((0, 0, k)), place, atol=1e-6)


@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE])
def test_G17_nibabel_finds_the_same(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    path = write_mosaic(tmp_path / "m.dcm", SLICES, FIRST, orientation)
    volume, other = opened(path), wrapper_from_file(path)
    assert other.is_mosaic
    np.testing.assert_array_equal(np.asarray(other.get_data()).transpose(2, 0, 1), volume.array)
    # Its first two axes are (row, column), in LPS.
    np.testing.assert_allclose(other.affine[:, [1, 0, 2, 3]], volume.geometry.index_to_lps_matrix, atol=1e-5)


@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")
@pytest.mark.parametrize("downward", [False, True])
def test_G17_dcm2niix_finds_the_same(tmp_path: Path, downward: bool) -> None:
    path = write_mosaic(tmp_path / "in" / "m.dcm", SLICES, FIRST, OBLIQUE, downward=downward)
    volume = opened(path)
    command = ["dcm2niix", "-b", "n", "-f", "out", "-o", str(tmp_path), str(path.parent)]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    image = nibabel.load(tmp_path / "out.nii")
    # It may turn axes round; a voxel lies where it lies all the same.
    theirs, ours = np.asarray(image.dataobj), volume.array.T
    for affine_of, array in ((image.affine, theirs), (ras_affine(volume.geometry), ours)):
        order = np.argsort(array, axis=None)
        indices = np.stack(np.unravel_index(order, array.shape), axis=-1)
        places = indices @ affine_of[:3, :3].T + affine_of[:3, 3]
        if array is theirs:
            wanted = places
    np.testing.assert_array_equal(np.sort(theirs, axis=None), np.sort(ours, axis=None))
    np.testing.assert_allclose(places, wanted, atol=0.01)


@pytest.mark.parametrize("changes", [
    {"csa": {}}, {"csa": {"NumberOfImagesInMosaic": []}}, {"csa": {"NumberOfImagesInMosaic": ["0"]}},
    {"csa": {"NumberOfImagesInMosaic": ["50"]}}, {"csa": {"SliceNormalVector": ["1", "0", "0"]}},
    {"csa": {"SliceNormalVector": ["nan", "0", "1"]}}, {"csa": {"SliceNormalVector": ["x"]}}, {"spacing": None},
])  # fmt: skip
def test_G17_what_does_not_say_how_it_is_tiled_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    path = write_mosaic(tmp_path / "m.dcm", SLICES, FIRST, **changes)
    with pytest.raises(InputError, match="mosaic") as refusal:
        opened(path)
    assert refusal.value.code == "E_MOSAIC"
    assert refusal.value.hint


@pytest.mark.parametrize("cut", [0, 1, 8, 30, 100, 200])
def test_G17_a_broken_csa_header_is_refused(tmp_path: Path, cut: int) -> None:
    path = write_mosaic(tmp_path / "m.dcm", SLICES, FIRST)
    dataset = pydicom.dcmread(path)
    element = dataset.private_block(0x0029, "SIEMENS CSA HEADER")[0x10]
    element.value = element.value[:cut] + (b"\xff" * 60 if cut > 8 else b"")
    dataset.save_as(path)
    with pytest.raises(InputError) as refusal:
        opened(path)
    assert refusal.value.code == "E_MOSAIC"


def test_G17_a_mosaic_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = write_mosaic(tmp_path / "m.dcm", SLICES, FIRST)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError) as refusal:
        opened(path)
    assert refusal.value.code in ("E_TRUNCATED", "E_PIXEL_LENGTH")


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2"])
def test_G17_byte_orders_and_signs(tmp_path: Path, syntax: str) -> None:
    signed = (SLICES.astype(np.int32) - 400).astype(np.int16)
    write_mosaic(tmp_path / "m.dcm", signed, FIRST, syntax=syntax)
    np.testing.assert_array_equal(opened(tmp_path / "m.dcm").array, signed)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.1.99"])
def test_G17_compressed_mosaics(tmp_path: Path, syntax: str) -> None:
    for n in range(3):
        path = write_mosaic(tmp_path / f"{n}.dcm", SLICES + n, FIRST, AcquisitionNumber=n + 1, InstanceNumber=n + 1)
        dataset = pydicom.dcmread(path)
        if syntax.endswith(".99"):
            dataset.file_meta.TransferSyntaxUID = syntax
        else:
            dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(path)
    (study,) = scan_paths(CTX, [tmp_path])
    (series,) = study.series
    volume = open_series(CTX, series)
    for n in range(3):
        np.testing.assert_array_equal(volume.at_time(n).array, SLICES + n)


def test_G17_mosaics_of_several_time_points(tmp_path: Path) -> None:
    for n in range(3):
        write_mosaic(tmp_path / f"{n}.dcm", SLICES + n, FIRST, AcquisitionNumber=n + 1, InstanceNumber=n + 1)
    (study,) = scan_paths(CTX, [tmp_path])
    assert all(series.size == (10, 12, 7) for series in study.series)
    assert sum(len(series.files) for series in study.series) == 3 * 7
    np.testing.assert_array_equal(open_series(CTX, study.series[0]).array, SLICES)


def test_G17_a_mosaic_of_a_million_slices_is_refused_before_they_are_listed(tmp_path: Path) -> None:
    picture = np.zeros((1, 1024, 1024), np.uint16)
    path = write_mosaic(tmp_path / "m.dcm", picture, (0.0, 0.0, 0.0), csa={"NumberOfImagesInMosaic": ["1048576"]})
    (study,) = scan_paths(NullContext(), [path])
    assert [series.refusal for series in study.series] == ["E_MOSAIC"]
