"""Bad and odd NIfTI, NRRD, MetaImage, Analyze and MGH files, N01 to N12 (N05, time axes, has a place of its own)."""

from __future__ import annotations

import gzip
import os
import struct
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import pytest
import SimpleITK as sitk

from medviewer.app.windows import auto_window
from medviewer.core.serial import series_from_json, series_to_json
from medviewer.export.formats.nifti import write_mask_nifti
from medviewer.io.dicom_scan import scan
from medviewer.io.raw_voxels import volume_values
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from tests.dicom_mutators import planted
from tests.outcomes import Outcome

CTX = NullContext()
PLAIN = np.diag([2.0, 3.0, 4.0, 1.0])
OBLIQUE = np.array([[-0.8, 0.6, 0, 10], [0.36, 0.48, 0.8, -20], [0.48, 0.64, -0.6, 30], [0, 0, 0, 1.0]])
VOXELS = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


def written(path: Path, voxels=VOXELS, sform=PLAIN, qform=None, codes=(1, 1), kind=nib.Nifti1Image, **fields) -> Path:
    """Write a NIfTI file with an sform and a qform (the same unless told otherwise), and header fields set by hand."""
    image = kind(voxels, sform)
    image.set_sform(sform, codes[0])
    image.set_qform(sform if qform is None else qform, codes[1], strip_shears=True)
    nib.save(image, path)
    if fields:
        packed = path.suffix == ".gz"
        data = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
        header = np.frombuffer(data[:348], nib.nifti1.header_dtype).copy()
        for field, value in fields.items():
            header[field] = value
        data = header.tobytes() + data[348:]
        path.write_bytes(gzip.compress(data) if packed else data)
    return path


def loaded(found: Outcome, *codes: str) -> Outcome:
    assert found.state != "REFUSED", str(found)
    assert found.codes == set(codes), str(found)
    return found


def refused(found: Outcome, *codes: str) -> Outcome:
    assert found.state == "REFUSED", str(found)
    assert found.codes <= set(codes), str(found)
    return found


@pytest.mark.parametrize("qform", [
    np.diag([-2.0, 3.0, 4.0, 1.0]), np.diag([2.0, -3.0, 4.0, 1.0]), OBLIQUE @ PLAIN,
    PLAIN + np.array([[0, 0, 0, 1.5], [0] * 4, [0] * 4, [0] * 4]),
])  # fmt: skip
def test_N01_sform_and_qform_disagree(all_outcomes, tmp_path, qform):
    found = loaded(all_outcomes(written(tmp_path / "a.nii", qform=qform))[0], "W_AFFINE_MISMATCH")
    assert found.text.count("mm from (") == 2
    np.testing.assert_allclose(found.volume.geometry.index_to_lps((1, 1, 1)), [-2, -3, 4])
    # SimpleITK and nibabel follow the sform too.
    np.testing.assert_allclose(
        sitk.ReadImage(tmp_path / "a.nii").TransformIndexToPhysicalPoint((1, 1, 1)), [-2, -3, 4], atol=1e-5
    )


def test_N01_the_qform_can_be_chosen_and_the_choice_is_kept(all_outcomes, tmp_path):
    qform = OBLIQUE @ PLAIN
    path = written(tmp_path / "a.nii", qform=qform)
    first, second = all_outcomes(path)
    assert first.series.affine == ""
    again = open_series(CTX, series_from_json(series_to_json(second.series)))
    wanted = np.diag([-1.0, -1.0, 1.0, 1.0]) @ qform
    np.testing.assert_allclose(again.geometry.index_to_lps_matrix, wanted, atol=1e-4)
    assert "The qform is followed" in again.warnings[0].text
    np.testing.assert_array_equal(again.array, first.volume.array)


def test_N01_rounding_and_one_form_alone_are_no_mismatch(outcome, tmp_path):
    nearly = PLAIN.copy()
    nearly[0, 3] = 0.4
    loaded(outcome(written(tmp_path / "a.nii", qform=nearly)))
    loaded(outcome(written(tmp_path / "b.nii", qform=OBLIQUE, codes=(1, 0))))
    found = loaded(outcome(written(tmp_path / "c.nii", qform=OBLIQUE, codes=(0, 1))))
    np.testing.assert_allclose(found.volume.geometry.origin, [-10, 20, 30], atol=1e-5)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_N02_no_orientation(outcome, tmp_path, name):
    found = loaded(outcome(written(tmp_path / name, codes=(0, 0))), "W_NO_ORIENTATION")
    assert found.volume.geometry.spacing == (2.0, 3.0, 4.0)
    assert not found.volume.in_patient
    assert found.volume.in_mm


@pytest.mark.parametrize("name", ["a.nii", "a.nrrd", "a.mha"])
def test_N03_sheared_grid_is_kept_and_told(outcome, tmp_path, name):
    sheared = PLAIN.copy()
    sheared[0, 1] = 1.5
    if name == "a.nii":
        path = written(tmp_path / name, sform=sheared, codes=(1, 0))
    elif name == "a.nrrd":
        text = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 3 4 5\nendian: little\nencoding: raw\nspace: RAS\n"
        vectors = b"space directions: (2,0,0) (1.5,3,0) (0,0,4)\nspace origin: (0,0,0)\n\n"
        path = planted(tmp_path, name, text + vectors + VOXELS.tobytes())
    else:
        text = "NDims = 3\nDimSize = 3 4 5\nElementType = MET_SHORT\nElementSpacing = 1 1 1\n"
        matrix = "TransformMatrix = -2 0 0 -1.5 -3 0 0 0 4\nElementDataFile = LOCAL\n"
        path = planted(tmp_path, name, (text + matrix).encode() + VOXELS.tobytes())
    found = loaded(outcome(path), "W_SHEAR")
    np.testing.assert_allclose(found.volume.geometry.index_to_lps((0, 2, 1)), [-3, -6, 4], atol=1e-6)


@pytest.mark.parametrize("row", [(0, 0, 0, 0), (0, 6, 0, 0), (4e-9, 0, 0, 0)])
def test_N03_singular_affine(outcome, tmp_path, row):
    path = written(tmp_path / "a.nii", codes=(1, 0), srow_x=row, srow_y=(0, 3, 0, 0))
    found = outcome(path)
    if row[0]:
        loaded(found)
    else:
        assert "affine" in refused(found, "E_AFFINE").text


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["srow_x", "srow_z"])
def test_N04_affine_is_not_finite(outcome, tmp_path, field, value):
    for place in (0, 3):
        row = [0.0, 0.0, 4.0, 0.0]
        row[place] = value
        refused(outcome(written(tmp_path / "a.nii", codes=(1, 0), **{field: row})), "E_AFFINE")


def test_N04_qform_is_not_finite(outcome, tmp_path):
    refused(outcome(written(tmp_path / "a.nii", codes=(0, 1), qoffset_x=np.nan)), "E_AFFINE", "E_NIFTI")
    refused(outcome(written(tmp_path / "b.nii", codes=(0, 1), quatern_b=np.nan)), "E_AFFINE", "E_NIFTI")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
def test_N06_voxels_that_are_not_numbers(outcome, tmp_path, name):
    voxels = np.linspace(-5, 5, 60, dtype=np.float32).reshape(3, 4, 5)
    voxels[0, 0, 0], voxels[1, 1, 1], voxels[2, 2, 2] = np.nan, np.inf, -np.inf
    if name.startswith("a.nii"):
        path = written(tmp_path / name, voxels)
    else:
        image = sitk.GetImageFromArray(voxels.transpose(2, 1, 0))
        path = tmp_path / name
        sitk.WriteImage(image, path)
    volume = loaded(outcome(path), "W_NOT_FINITE").volume
    assert np.isfinite(volume.array).all()
    kept = np.isfinite(voxels.transpose(2, 1, 0))
    np.testing.assert_array_equal(volume.array[kept], voxels.transpose(2, 1, 0)[kept])
    assert set(volume.array[~kept]) == {volume.padding}
    assert volume.padding < np.nanmin(voxels[np.isfinite(voxels)])
    assert auto_window(volume).width < 10.1


@pytest.mark.parametrize("voxels", [
    np.full((3, 4, 5), np.nan, np.float32), np.zeros((3, 4, 5), np.float32), np.full((3, 4, 5), -3.0, np.float32),
    np.full((3, 4, 5), np.finfo(np.float32).min, np.float32), np.full((3, 4, 5), 1e300),
])  # fmt: skip
def test_N06_constant_voxels_have_a_window(outcome, tmp_path, voxels):
    volume = outcome(written(tmp_path / "a.nii", voxels)).volume
    assert np.isfinite(volume.array).all()
    window = auto_window(volume)
    assert np.isfinite([window.center, window.width]).all()
    assert window.width > 0


@pytest.mark.parametrize(("slope", "inter", "values"), [
    (0.0, 7.0, VOXELS), (np.nan, 7.0, VOXELS), (0.5, -3.0, VOXELS * 0.5 - 3), (1.0, -1024.0, VOXELS - 1024),
    (-1.0, 0.0, -VOXELS), (1e30, 0.0, VOXELS * 1e30),
])  # fmt: skip
def test_N06_scaling(outcome, tmp_path, slope, inter, values):
    volume = loaded(outcome(written(tmp_path / "a.nii", scl_slope=slope, scl_inter=inter))).volume
    np.testing.assert_allclose(volume.array, values.transpose(2, 1, 0), rtol=1e-6)


def test_N06_intercept_that_is_no_number(outcome, tmp_path):
    refused(outcome(written(tmp_path / "a.nii", scl_slope=1.0, scl_inter=np.inf)), "E_NIFTI")


def test_N07_oblique_mask_comes_back_in_place(outcome, tmp_path):
    volume = loaded(outcome(written(tmp_path / "a.nii", sform=OBLIQUE))).volume
    mask = np.random.default_rng(7).random(volume.geometry.shape) < 0.3
    write_mask_nifti(mask, volume.geometry, tmp_path / "mask.nii.gz")
    again = loaded(outcome(tmp_path / "mask.nii.gz")).volume
    np.testing.assert_array_equal(again.array, mask)
    assert np.abs(again.geometry.corners_lps - volume.geometry.corners_lps).max() <= 0.01


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image, nib.Nifti1Pair, nib.Nifti2Pair])
@pytest.mark.parametrize("big", [False, True])
def test_N08_nifti_of_every_kind(outcome, tmp_path, kind, big):
    path = tmp_path / ("a.hdr" if "Pair" in kind.__name__ else "a.nii")
    image = kind(VOXELS, OBLIQUE)
    if big:
        image = kind(VOXELS.astype(">i2"), OBLIQUE, image.header.as_byteswapped(">"))
    nib.save(image, path)
    volume = loaded(outcome(path)).volume
    np.testing.assert_array_equal(volume.array, VOXELS.transpose(2, 1, 0))
    np.testing.assert_allclose(volume.geometry.origin, [-10, 20, 30], atol=1e-5)
    if path.suffix == ".hdr":
        # The pair is one study, whichever of its files is named; in a folder it is found once.
        assert outcome(tmp_path / "a.img").digest == outcome(path).digest
        assert outcome(tmp_path).digest == outcome(path).digest


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("kind", [nib.AnalyzeImage, nib.Spm2AnalyzeImage])
def test_N08_analyze(outcome, tmp_path, kind, big):
    image = kind(VOXELS, None)
    image.header.set_zooms((2, 3, 4))
    if big:
        image = kind(VOXELS.astype(">i2"), None, image.header.as_byteswapped(">"))
    nib.save(image, tmp_path / "a.img")
    volume = loaded(outcome(tmp_path / "a.hdr"), "W_NO_ORIENTATION").volume
    np.testing.assert_array_equal(volume.array, VOXELS.transpose(2, 1, 0))
    assert volume.geometry.spacing == (2.0, 3.0, 4.0)
    assert not volume.in_patient
    # SPM writes where it lies into a file that only MATLAB's format could say; it is not read.
    planted(tmp_path, "a.mat", b"MATLAB 5.0 MAT-file" + b"\xff" * 400)
    assert outcome(tmp_path / "a.hdr").state == "LOADED+W"


def test_N08_analyze_scaling_and_broken_pairs(outcome, tmp_path):
    image = nib.Spm2AnalyzeImage(VOXELS, None)
    nib.save(image, tmp_path / "a.img")
    data = bytearray((tmp_path / "a.hdr").read_bytes())
    data[112:116] = struct.pack("<f", 0.5)
    (tmp_path / "a.hdr").write_bytes(data)
    np.testing.assert_allclose(outcome(tmp_path / "a.hdr").volume.array, VOXELS.transpose(2, 1, 0) * 0.5)
    (tmp_path / "a.img").write_bytes((tmp_path / "a.img").read_bytes()[:-1])
    refused(outcome(tmp_path / "a.hdr"), "E_TRUNCATED")
    (tmp_path / "a.img").unlink()
    assert "a.img" in refused(outcome(tmp_path / "a.hdr"), "E_NO_FILE").text
    refused(outcome(planted(tmp_path, "envi.hdr", b"ENVI\nsamples = 4\n")), "E_NOT_DICOM")


@pytest.mark.parametrize("suffix", [".mgh", ".mgz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
def test_N08_mgh(outcome, tmp_path, suffix, dtype):
    path = tmp_path / f"a{suffix}"
    nib.save(nib.MGHImage(VOXELS.astype(dtype), OBLIQUE), path)
    volume = loaded(outcome(path)).volume
    np.testing.assert_array_equal(volume.array, VOXELS.transpose(2, 1, 0))
    wanted = nib.load(path).affine @ [1, 2, 3, 1]
    np.testing.assert_allclose(volume.geometry.index_to_lps((1, 2, 3)), wanted[:3] * [-1, -1, 1], atol=1e-4)
    data = bytearray(gzip.decompress(path.read_bytes()) if suffix == ".mgz" else path.read_bytes())
    data[28:30] = b"\0\0"
    path.write_bytes(gzip.compress(data) if suffix == ".mgz" else data)
    assert not loaded(outcome(path), "W_NO_ORIENTATION").volume.in_patient


@pytest.mark.parametrize("change", [
    (0, b"\0\0\0\2"), (4, b"\x7f\xff\xff\xff"), (4, b"\xff\xff\xff\xff"), (16, b"\0\0\0\2"), (20, b"\0\0\0\7"),
    (30, b"\x7f\xc0\0\0"),
])  # fmt: skip
def test_N08_broken_mgh(outcome, tmp_path, change):
    path = tmp_path / "a.mgh"
    nib.save(nib.MGHImage(VOXELS, OBLIQUE), path)
    data = path.read_bytes()
    path.write_bytes(data[: change[0]] + change[1] + data[change[0] + len(change[1]) :])
    refused(outcome(path), "E_MGH", "E_4D", "E_DIMENSIONS", "E_PIXEL_FORMAT", "E_TRUNCATED", "E_AFFINE")
    path.write_bytes(data[:100])
    refused(outcome(path), "E_MGH", "E_TRUNCATED")
    path.write_bytes(data[:60])
    refused(outcome(path), "E_MGH")


@pytest.mark.parametrize("name", ["a.nii.gz", "a.mgz"])
@pytest.mark.parametrize("keep", [0.2, 0.6, 0.98])
def test_N08_cut_gzip(outcome, tmp_path, name, keep):
    voxels = np.random.default_rng(8).integers(0, 9999, (20, 20, 20)).astype(np.int16)
    path = tmp_path / name
    nib.save((nib.MGHImage if "mgz" in name else nib.Nifti1Image)(voxels, PLAIN), path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    refused(outcome(path), "E_TRUNCATED")


def test_N08_gzip_by_content_not_by_name(outcome, tmp_path):
    path = written(tmp_path / "a.nii.gz")
    twin = outcome(path)
    path.rename(tmp_path / "b.nii")
    assert outcome(tmp_path / "b.nii").digest == twin.digest
    planted(tmp_path, "c.nii.gz", gzip.decompress((tmp_path / "b.nii").read_bytes()))
    assert outcome(tmp_path / "c.nii.gz").digest == twin.digest


def rgb(*names):
    return np.dtype([(name, "u1") for name in names])


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [(np.dtype(np.complex64), (3, 4, 5)), (rgb(*"RGBA"), (3, 4, 5)), (rgb(*"RGB"), (3, 4, 5, 2))],
)
def test_N08_types_that_are_not_plain_numbers(outcome, tmp_path, dtype, shape):
    nib.save(nib.Nifti1Image(np.zeros(shape, dtype), PLAIN), tmp_path / "a.nii")
    refused(outcome(tmp_path / "a.nii"), "E_PIXEL_FORMAT")


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 3, 3)])
def test_N08_colours(outcome, tmp_path, shape):
    colors = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    nib.save(nib.Nifti1Image(colors.view(rgb(*"RGB"))[..., 0], PLAIN), tmp_path / "a.nii.gz")
    found = outcome(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(found.volume.colors, colors.transpose(2, 1, 0, 3))


@pytest.mark.parametrize("dims", [
    (3, 30000, 30000, 200), (3, 32767, 32767, 32767), (3, -5, 10, 10), (3, 0, 10, 10), (0, 1, 1, 1), (99, 4, 4, 4),
    (-1, 4, 4, 4), (3, -1, 1, 1), (7, 4, 4, 4),
])  # fmt: skip
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_N09_header_bombs(outcome, tmp_path, dims, name):
    field = np.ones(8, np.int16)
    field[: len(dims)] = dims
    path = written(tmp_path / name, dim=field, glmin=2**31 - 1)
    before = psutil.Process().memory_info().rss
    found = outcome(path, within=2.0)
    refused(found, "E_TRUNCATED", "E_BOMB", "E_DIMENSIONS", "E_NIFTI", "E_OOM")
    assert psutil.Process().memory_info().rss - before < 100 * 2**20


@pytest.mark.parametrize("field", [{"vox_offset": 1e30}, {"vox_offset": np.nan}, {"vox_offset": -8}, {"datatype": 999}])
def test_N09_header_fields_out_of_range(outcome, tmp_path, field):
    refused(outcome(written(tmp_path / "a.nii", **field)), "E_TRUNCATED", "E_NIFTI", "E_PIXEL_FORMAT")
    refused(outcome(written(tmp_path / "a.nii.gz", **field)), "E_TRUNCATED", "E_BOMB", "E_NIFTI", "E_PIXEL_FORMAT")


def test_N10_gzip_bomb(outcome, tmp_path):
    """A megabyte that promises, and holds, more than a gigabyte."""
    head = gzip.decompress(written(tmp_path / "small.nii.gz", dim=[3, 1024, 1024, 600, 1, 1, 1, 1]).read_bytes())[:352]
    packed = gzip.compress(head, 9) + gzip.compress(bytes(64 * 2**20), 9) * 19
    path = planted(tmp_path, "a.nii.gz", packed)
    assert path.stat().st_size < 1.5 * 2**20
    before, started = psutil.Process().memory_info().rss, time.perf_counter()
    refused(outcome(path, within=2.0), "E_BOMB")
    assert psutil.Process().memory_info().rss - before < 300 * 2**20
    assert time.perf_counter() - started < 2.0


@pytest.mark.parametrize("data", [
    "/etc/passwd", "../x.raw", "sub/x.raw", "..\\x.raw", "C:\\x.raw", "http://localhost/x.raw", "file:///etc/passwd",
    "LIST", "x%03d.raw 1 5 1", "~/x.raw", ".", "..", "",
])  # fmt: skip
@pytest.mark.parametrize("name", ["a.mhd", "a.mha", "a.nhdr", "a.nrrd"])
def test_N11_S07_detached_data_anywhere_else(outcome, tmp_path, data, name):
    for place in ("x.raw", "sub/x.raw", "sub/sub/x.raw"):
        planted(tmp_path, place, bytes(1000))
    if name.startswith("a.m"):
        text = f"NDims = 3\nDimSize = 3 4 5\nElementType = MET_UCHAR\nElementDataFile = {data}\n"
    else:
        text = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 3 4 5\nencoding: raw\ndata file: {data}\n\n"
    path = planted(tmp_path, f"sub/{name}", text.encode())
    refused(outcome(path), "E_EXTERNAL_DATA", *(("E_NO_FILE", "E_TRUNCATED") if data == "~/x.raw" else ()))


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
@pytest.mark.parametrize("name", ["a.mhd", "a.nhdr", "a.hdr"])
def test_N11_S07_a_link_out_of_the_folder(outcome, tmp_path, name):
    secret = planted(tmp_path, "secret/data", bytes(1000))
    (tmp_path / "open").mkdir()
    os.symlink(secret, tmp_path / "open" / ("a.img" if name == "a.hdr" else "a.raw"))
    if name == "a.hdr":
        nib.save(nib.Nifti1Pair(VOXELS, PLAIN), tmp_path / "a.hdr")
        (tmp_path / "a.hdr").rename(tmp_path / "open" / "a.hdr")
    elif name == "a.mhd":
        text = "NDims = 3\nDimSize = 3 4 5\nElementType = MET_UCHAR\nElementDataFile = a.raw\n"
        planted(tmp_path, "open/a.mhd", text.encode())
    else:
        text = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 3 4 5\nencoding: raw\ndata file: a.raw\n\n"
        planted(tmp_path, "open/a.nhdr", text.encode())
    refused(outcome(tmp_path / "open" / name), "E_EXTERNAL_DATA")


@pytest.mark.parametrize("text", [
    "NDims = 99\nDimSize = 3 4 5\nElementType = MET_UCHAR\n",
    "NDims = 3\nDimSize = 2147483647 4 2\nElementType = MET_DOUBLE\n",
    "NDims = 3\nDimSize = 99999999999999 99999999999999 9999999999\nElementType = MET_UCHAR\n",
    "NDims = -3\nDimSize = 3 4 5\nElementType = MET_UCHAR\n",
    "NDims = 3\nDimSize = 1e9 4 5\nElementType = MET_UCHAR\n",
    "NDims = 3\nDimSize = 3 4 5\nElementNumberOfChannels = 999999999\nElementType = MET_UCHAR\n",
    "NDims = 3\nDimSize = 3 4 5\nHeaderSize = 99999999999\nElementType = MET_UCHAR\n",
    "NDims = 3\nDimSize = 3 4 5\nHeaderSize = -99\nElementType = MET_UCHAR\n",
    "NDims = 3\nDimSize = 3000 3000 5000\nCompressedData = True\nElementType = MET_UCHAR\n",
])  # fmt: skip
def test_N12_metaimage_headers_that_promise_too_much(outcome, tmp_path, text):
    path = planted(tmp_path, "a.mha", text.encode() + b"ElementDataFile = LOCAL\n" + bytes(20))
    assert path.stat().st_size < 200
    before = psutil.Process().memory_info().rss
    codes = ("E_METAIMAGE", "E_TRUNCATED", "E_BOMB", "E_DIMENSIONS", "E_4D", "E_OOM")
    refused(outcome(path, within=2.0), *codes)
    assert psutil.Process().memory_info().rss - before < 100 * 2**20


def test_N12_a_header_without_end(outcome, tmp_path):
    refused(outcome(planted(tmp_path, "a.mha", b"NDims = 3\nComment = " + b"x" * 5_000_000)), "E_METAIMAGE")
    refused(outcome(planted(tmp_path, "a.nrrd", b"NRRD0004\n" + b"# x\n" * 1_000_000)), "E_NRRD")


def test_a_broken_image_does_not_stop_a_folder(outcome, all_outcomes, tmp_path):
    twin = outcome(written(tmp_path / "good.nii"))
    planted(tmp_path, "a.mha", b"NDims = 99\nDimSize = 1\nElementDataFile = LOCAL\n")
    planted(tmp_path, "b.nrrd", b"NRRD0004\ntype: odd\n\n")
    planted(tmp_path, "c.mgz", gzip.compress(b"x"))
    planted(tmp_path, "d.hdr", b"x" * 400)
    (found,) = all_outcomes(tmp_path)
    assert found.digest == twin.digest
    assert scan(CTX, [tmp_path]).skipped == {"broken files": 3, "other files": 1}


def test_values_too_large_become_no_number_without_a_fuss():
    assert np.isinf(volume_values(np.array([[[1e300]]]))).all()
