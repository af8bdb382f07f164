"""NRRD and MetaImage: voxels and places as SimpleITK has them; hostile headers refused before anything is allocated."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from medviewer.core.errors import InputError, MedViewerError
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.readers import metaimage, nrrd
from medviewer.jobs.job import NullContext

CTX = NullContext()
TURNED = (0.0, -1.0, 0.0, 0.6, 0.0, -0.8, 0.8, 0.0, 0.6)


def image(dtype: object = np.int16) -> sitk.Image:
    random = np.random.default_rng(3)
    made = sitk.GetImageFromArray((random.random((4, 5, 6)) * 250).astype(dtype))
    made.SetSpacing((0.7, 0.8, 2.5))
    made.SetOrigin((-120.5, 33.25, 700.0))
    made.SetDirection(TURNED)
    return made


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.mhd", "a.nhdr"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("dtype", "result"),
    [(np.uint8, np.int16), (np.int16, np.int16), (np.uint16, np.int16), (np.int32, np.int16), (np.float32, np.float32),
     (np.float64, np.float32), (np.uint64, np.int16)],
)  # fmt: skip
def test_voxels_and_places_are_those_of_simpleitk(tmp_path, load, name, packed, dtype, result):
    path = tmp_path / name
    sitk.WriteImage(image(dtype), path, useCompression=packed)
    volume = load(path)
    wanted = sitk.ReadImage(path)
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(wanted).astype(result))
    assert volume.array.dtype == result
    assert volume.decoder == "native"
    for ijk in [(0, 0, 0), (5, 0, 2), (1, 4, 3)]:
        assert volume.geometry.index_to_lps(ijk) == pytest.approx(wanted.TransformIndexToPhysicalPoint(ijk), abs=1e-6)
    assert (volume.name, volume.warnings) == ("a", ())


@pytest.mark.parametrize("space", ["right-anterior-superior", "RAS", "left-anterior-superior", "LPS"])
def test_every_space_becomes_lps(tmp_path, load, space):
    path = tmp_path / "a.nrrd"
    write_nrrd(path, space=space, directions="(1,0.5,0) (0,2,0) (0,0,3)", origin="(10,20,30)")
    wanted = sitk.ReadImage(path) if space != "RAS" else None
    geometry = load(path).geometry
    signs = {"right": (-1, -1, 1), "RAS": (-1, -1, 1), "left-anterior-superior": (1, -1, 1)}
    sign = next((s for key, s in signs.items() if space.startswith(key)), (1, 1, 1))
    steps = np.array([[1, 0.5, 0], [0, 2, 0], [0, 0, 3.0]])
    point = (np.array([10, 20, 30.0]) + 2 * steps[0] + steps[1] + 3 * steps[2]) * sign
    assert geometry.index_to_lps((2, 1, 3)) == pytest.approx(point)
    if wanted is not None:
        assert geometry.origin == pytest.approx(wanted.GetOrigin())


def write_nrrd(
    path: Path,
    space="left-posterior-superior",
    directions="(1,0,0) (0,1,0) (0,0,1)",
    origin="(0,0,0)",
    sizes="4 3 5",
    data: bytes | None = None,
    encoding="raw",
    more="",
) -> Path:
    text = f"NRRD0004\n# a remark\ntype: uint8\ndimension: {len(sizes.split())}\n"
    text += f"space: {space}\n" if space else ""
    text += f"sizes: {sizes}\nspace directions: {directions}\nspace origin: {origin}\nencoding: {encoding}\n{more}\n"
    path.write_bytes(text.encode() + (bytes(range(60)) if data is None else data))
    return path


def test_an_image_without_a_space_says_so(tmp_path, load):
    volume = load(write_nrrd(tmp_path / "a.nrrd", space=""))
    assert [warning.code for warning in volume.warnings] == ["W_NO_ORIENTATION"]


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "ascii"])
def test_encodings(tmp_path, load, encoding):
    import bz2

    raw = bytes(range(60))
    coded = {
        "raw": raw,
        "gzip": gzip.compress(raw),
        "bzip2": bz2.compress(raw),
        "ascii": b" ".join(b"%d" % n for n in raw),
    }
    volume = load(write_nrrd(tmp_path / "a.nrrd", encoding=encoding, data=coded[encoding]))
    assert volume.array.ravel().tolist() == list(range(60))


HOSTILE_NRRD = {
    "E_TRUNCATED": {"sizes": "4000 4000 4000"},
    "E_BOMB": {"sizes": "30000 30000 200", "encoding": "gzip"},
    "E_DIMENSIONS": {"sizes": "4 0 5"},
    "E_NRRD": {"sizes": "4 3 -5 x"},
}


@pytest.mark.parametrize("code", HOSTILE_NRRD)
def test_hostile_dimensions_are_refused_before_anything_is_allocated(tmp_path, code):
    path = write_nrrd(tmp_path / "a.nrrd", **HOSTILE_NRRD[code])
    tracemalloc.start()
    with pytest.raises(MedViewerError) as refusal:
        nrrd.read_header(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refusal.value.code == code
    assert "a.nrrd" in refusal.value.text
    assert refusal.value.hint
    assert peak < 4_000_000


EXTERNAL = [
    "/etc/passwd",
    "../a.raw",
    "sub/a.raw",
    "C:\\a.raw",
    "LIST",
    "slice%03d.raw 1 5 1",
    "http://x/a.raw",
    "",
    "..",
]


@pytest.mark.parametrize("name", EXTERNAL)
def test_data_outside_the_folder_are_never_read(tmp_path, name):
    (tmp_path / "a.raw").write_bytes(bytes(60))
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.raw").write_bytes(bytes(60))
    path = write_nrrd(folder / "a.nhdr", more=f"data file: {name}\n", data=b"")
    with pytest.raises(InputError) as refusal:
        nrrd.read_header(path)
    assert refusal.value.code == "E_EXTERNAL_DATA"
    mhd = folder / "a.mhd"
    mhd.write_text(f"NDims = 3\nDimSize = 4 3 5\nElementType = MET_UCHAR\nElementDataFile = {name}\n")
    with pytest.raises(InputError) as refusal:
        metaimage.read_header(mhd)
    assert refusal.value.code == "E_EXTERNAL_DATA"


def test_a_link_beside_the_header_is_not_followed_away(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(60))
    folder = tmp_path / "in"
    folder.mkdir()
    try:
        (folder / "a.raw").symlink_to(tmp_path / "secret")
    except OSError:
        pytest.skip("this system lets nobody make links")
    with pytest.raises(InputError) as refusal:
        nrrd.read_header(write_nrrd(folder / "a.nhdr", more="data file: a.raw\n", data=b""))
    assert refusal.value.code == "E_EXTERNAL_DATA"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("NDims = 99", "E_METAIMAGE"),
        ("DimSize = 4000 4000 1000", "E_TRUNCATED"),
        ("DimSize = -4 3 5", "E_DIMENSIONS"),
        ("ElementType = MET_ODD", "E_METAIMAGE"),
        ("TransformMatrix = 1 0 0 0 1 0 0 0 nan", "E_AFFINE"),
        ("ElementSpacing = 1 0 1", "E_AFFINE"),
        ("ElementNumberOfChannels = 3", "E_4D"),
    ],
)
def test_hostile_metaimages_are_refused_by_name(tmp_path, change, code):
    fields = {"NDims": "3", "DimSize": "4 3 5", "ElementType": "MET_UCHAR"}
    key, value = change.split(" = ")
    fields[key] = value
    path = tmp_path / "a.mha"
    lines = "".join(f"{k} = {v}\n" for k, v in fields.items()) + "ElementDataFile = LOCAL\n"
    path.write_bytes(lines.encode() + bytes(60))
    with pytest.raises(MedViewerError) as refusal:
        metaimage.read_header(path)
    assert refusal.value.code == code


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_a_cut_file_is_refused(tmp_path, decode_worker, load, encoding):
    data = np.random.default_rng(0).integers(0, 255, 8000).astype(np.uint8).tobytes()
    coded = gzip.compress(data) if encoding == "gzip" else data
    path = write_nrrd(tmp_path / "a.nrrd", sizes="20 20 20", encoding=encoding, data=coded[: len(coded) // 2])
    with pytest.raises(InputError) as refusal:
        load(path)
    assert refusal.value.code == "E_TRUNCATED"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_mutated_header_opens_or_is_refused_by_name(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("m") / data.draw(st.sampled_from(["a.nrrd", "a.mha"]))
    sitk.WriteImage(image(), path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(len(content), 500) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    module = nrrd if path.suffix == ".nrrd" else metaimage
    try:
        voxels = module.read_voxels(CTX, path)
    except MedViewerError as error:
        named = "a." in error.text
    else:
        named = voxels.array.shape == module.read_header(path).geometry.shape
    assert named


def test_a_name_that_says_mask_is_listed_as_segments(tmp_path):
    for name in ("ct_mask.nrrd", "ct.nrrd"):
        write_nrrd(tmp_path / name)
    (tmp_path / "labelsTr").mkdir()
    sitk.WriteImage(image(np.uint8), tmp_path / "labelsTr" / "case_1.mha")
    found = {series.files[0].name: series.modality for study in scan_paths(CTX, [tmp_path]) for series in study.series}
    assert found == {"ct_mask.nrrd": "SEG", "ct.nrrd": "", "case_1.mha": "SEG"}
