"""DICOM SEG: every kind and coding gives the same masks; what cannot be laid over a volume is refused by name."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from medviewer.core.errors import MedViewerError
from medviewer.core.geometry import Geometry
from medviewer.imaging.sitk_image import from_sitk
from medviewer.io.derived import MISFIT, OTHER_SERIES, Target
from medviewer.io.load_segments import SegmentRequest, read, reference
from medviewer.jobs.job import NullContext

CTX = NullContext()
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
LABELMAP = "1.2.840.10008.5.1.4.1.1.66.7"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
RLE = "1.2.840.10008.1.2.5"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
#: 7 columns and 5 rows: frames do not end on bytes.
GRID = Geometry((7, 5, 6), (0.7, 0.8, 2.5), (-10.0, 20.0, -300.0), (0.6, -0.8, 0, 0.8, 0.6, 0, 0, 0, 1))
TARGET = Target(GRID, "1.2.3.4.5", "1.2.3.4.6", "0815")


def masks(overlap: bool = True) -> dict[int, np.ndarray]:
    random = np.random.default_rng(2)
    first = random.random(GRID.shape) < 0.4
    second = random.random(GRID.shape) < 0.3
    first[0] = second[0] = first[3] = second[4] = False
    return {1: first, 2: second if overlap else second & ~first}


def item(**values: object) -> Sequence:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return Sequence([made])


def frame_item(k: int, segment: int | None, geometry: Geometry) -> Dataset:
    made = Dataset()
    position = [float(v) for v in np.round(geometry.index_to_lps((0, 0, k)), 6)]
    made.PlanePositionSequence = item(ImagePositionPatient=position)
    if segment is not None:
        made.SegmentIdentificationSequence = item(ReferencedSegmentNumber=segment)
    return made


def segment_item(number: int) -> Dataset:
    made = Dataset()
    made.SegmentNumber = number
    made.SegmentLabel = f"Größe {number}"
    code = {"CodeValue": "10200004", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Liver"}
    made.SegmentedPropertyTypeCodeSequence = item(**code)
    return made


def base(
    kind: str, syntax: str, frames: list[Dataset], bits: int, geometry: Geometry = GRID, **more: object
) -> Dataset:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = LABELMAP if kind == "LABELMAP" else SEG
    made.file_meta.MediaStorageSOPInstanceUID = "1.2.3.9"
    made.file_meta.TransferSyntaxUID = syntax
    made.SpecificCharacterSet = "ISO_IR 100"
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID
    made.SOPInstanceUID = "1.2.3.9"
    made.Modality = "SEG"
    made.PatientID = "0815"
    made.SeriesInstanceUID = "1.2.3.10"
    made.StudyInstanceUID = "1.2.3.4"
    made.FrameOfReferenceUID = "1.2.3.4.6"
    made.ReferencedSeriesSequence = item(SeriesInstanceUID="1.2.3.4.5")
    made.SegmentationType = kind
    made.NumberOfFrames = len(frames)
    made.Columns, made.Rows = geometry.size[:2]
    made.BitsAllocated, made.BitsStored, made.HighBit = bits, bits, bits - 1
    made.PixelRepresentation, made.SamplesPerPixel, made.PhotometricInterpretation = 0, 1, "MONOCHROME2"
    made.SegmentSequence = Sequence([segment_item(1), segment_item(2)])
    shared = Dataset()
    cosines = geometry.direction_matrix[:, :2].T.ravel()
    shared.PlaneOrientationSequence = item(ImageOrientationPatient=[float(v) for v in cosines])
    i, j, _ = geometry.spacing
    shared.PixelMeasuresSequence = item(PixelSpacing=[j, i], SliceThickness=geometry.spacing[2])
    made.SharedFunctionalGroupsSequence = Sequence([shared])
    made.PerFrameFunctionalGroupsSequence = Sequence(frames)
    for keyword, value in more.items():
        setattr(made, keyword, value)
    return made


def save(dataset: Dataset, path: Path, pixels: bytes, vr: str = "OB") -> Path:
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    dataset.add_new(0x7FE00010, vr, pixels)
    if syntax in (RLE, DEFLATED_FRAMES):
        dataset["PixelData"].is_undefined_length = True
    if syntax == DEFLATED_FRAMES:
        # pydicom does not know it: written under another name of the same length.
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.70"
    dataset.save_as(path, enforce_file_format=True, little_endian=syntax != BIG, implicit_vr=False)
    if syntax == DEFLATED_FRAMES:
        path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.4.70", DEFLATED_FRAMES.encode() + b"\0"))
    return path


def stored_frames(which: dict[int, np.ndarray]) -> list[tuple[int, int, np.ndarray]]:
    return [(k, n, mask[k]) for n, mask in which.items() for k in range(GRID.size[2]) if mask[k].any()]


def packed(mask: np.ndarray) -> bytes:
    return np.packbits(mask.ravel(), bitorder="little").tobytes()


def run_lengths(data: bytes) -> bytes:
    """RLE with one literal run: one segment behind its 64-byte head."""
    assert len(data) <= 128
    body = bytes([len(data) - 1]) + data
    return np.array([1, 64, *[0] * 14], "<u4").tobytes() + body + b"\0" * (len(body) % 2)


def binary(path: Path, syntax: str = EXPLICIT, which: dict[int, np.ndarray] | None = None, vr: str = "OB",
           geometry: Geometry = GRID, **more: object) -> Path:  # fmt: skip
    frames = stored_frames(masks() if which is None else which)
    made = base("BINARY", syntax, [frame_item(k, n, geometry) for k, n, _ in frames], 1, geometry, **more)
    if syntax == RLE:
        pixels = encapsulate([run_lengths(packed(mask)) for _, _, mask in frames])
    elif syntax == DEFLATED_FRAMES:
        deflated = []
        for _, _, mask in frames:
            stream = zlib.compressobj(wbits=-15)
            deflated.append(stream.compress(packed(mask)) + stream.flush())
        pixels = encapsulate(deflated)
    else:
        pixels = packed(np.concatenate([mask.ravel() for _, _, mask in frames]))
        pixels += b"\0" * (len(pixels) % 2)
        if vr == "OW" and syntax == BIG:
            pixels = np.frombuffer(pixels, "<u2").astype(">u2").tobytes()
    return save(made, path, pixels, vr)


def load(path: Path, target: Target = TARGET):
    return read(CTX, SegmentRequest(path, target))


def found_masks(found) -> dict[int, np.ndarray]:
    return {s.value: found.layers[s.layer] == s.value for s in found.segments}


@pytest.mark.parametrize(
    ("syntax", "vr"), [(EXPLICIT, "OB"), (EXPLICIT, "OW"), (BIG, "OB"), (BIG, "OW"), (DEFLATED, "OB"), (RLE, "OB"),
                       (DEFLATED_FRAMES, "OB")]
)  # fmt: skip
def test_l06_every_coding_gives_the_same_masks(tmp_path, syntax, vr):
    found = load(binary(tmp_path / "a.dcm", syntax, vr=vr))
    for value, mask in masks().items():
        np.testing.assert_array_equal(found_masks(found)[value], mask)
    assert [s.name for s in found.segments] == ["Größe 1", "Größe 2"]
    assert found.segments[0].type.code_meaning == "Liver"
    assert len(found.layers) == 2
    assert found.warnings == ()


def test_l05_segments_that_exclude_each_other_share_a_layer(tmp_path):
    assert len(load(binary(tmp_path / "a.dcm", which=masks(overlap=False))).layers) == 1


@pytest.mark.parametrize("bits", [8, 16])
def test_a_labelmap_without_its_background(tmp_path, bits):
    labels = np.zeros(GRID.shape, dtype=f"<u{bits // 8}")
    for value, mask in masks(overlap=False).items():
        labels[mask] = value
    labels[5] = 9
    made = base("LABELMAP", EXPLICIT, [frame_item(k, None, GRID) for k in range(6)], bits, PixelPaddingValue=9)
    found = load(save(made, tmp_path / "a.dcm", labels.tobytes(), "OW" if bits == 16 else "OB"))
    np.testing.assert_array_equal(found.layers[0], np.where(labels == 9, 0, labels))
    assert [s.value for s in found.segments] == [1, 2]


def test_fractions_are_taken_from_a_half_and_say_so(tmp_path):
    fractions = np.random.default_rng(0).integers(0, 201, GRID.shape).astype(np.uint8)
    made = base("FRACTIONAL", EXPLICIT, [frame_item(k, 1, GRID) for k in range(6)], 8, MaximumFractionalValue=200,
                SegmentationFractionalType="PROBABILITY")  # fmt: skip
    found = load(save(made, tmp_path / "a.dcm", fractions.tobytes()))
    np.testing.assert_array_equal(found.layers[0] == 1, fractions >= 100)
    assert any("50%" in warning for warning in found.warnings)


def test_frames_along_other_axes_land_where_they_lie(tmp_path):
    """The same voxels, stored from the other corner with rows and columns exchanged."""
    columns = GRID.direction_matrix[:, [1, 0, 2]] * [-1, 1, -1]
    other = Geometry((5, 7, 6), (0.8, 0.7, 2.5), tuple(GRID.index_to_lps((0, 4, 5))), tuple(columns.ravel()))
    turned = {n: mask[::-1, ::-1].transpose(0, 2, 1) for n, mask in masks().items()}
    found = load(binary(tmp_path / "a.dcm", which=turned, geometry=other))
    for value, mask in masks().items():
        np.testing.assert_array_equal(found_masks(found)[value], mask)


def test_l04_another_grid_is_refused_and_resampled_when_wanted(tmp_path):
    coarse = Geometry((4, 3, 3), (1.4, 1.6, 5.0), GRID.origin, GRID.direction)
    which = {1: np.ones(coarse.shape, dtype=bool)}
    frames = [frame_item(k, 1, coarse) for k in range(3)]
    path = save(base("BINARY", EXPLICIT, frames, 1, coarse), tmp_path / "a.dcm", packed(which[1]) + b"\0")
    with pytest.raises(MedViewerError) as refusal:
        load(path)
    assert refusal.value.code == "E_GEOMETRY"
    found = load(path, Target(GRID, "1.2.3.4.5", "", "", (MISFIT,)))
    assert found.layers[0].shape == GRID.shape
    # The last slice lies on the edge of the coarse voxels.
    assert found.layers[0][:5].all()


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (Target(GRID, "1.2.3.4.5", "1.2.3.4.6", "4711"), "E_WRONG_PATIENT"),
        (Target(GRID, "1.2.3.4.5", "1.2.3.4.6", "4711", (OTHER_SERIES, MISFIT)), "E_WRONG_PATIENT"),
        (Target(GRID, "9.9", "9.8", "0815"), "E_OTHER_SERIES"),
    ],
)
def test_l07_segments_of_another_patient_or_series_are_refused(tmp_path, target, code):
    with pytest.raises(MedViewerError) as refusal:
        load(binary(tmp_path / "a.dcm"), target)
    assert refusal.value.code == code
    assert "0815" not in str(refusal.value)


def test_another_series_in_the_same_frame_is_told_and_a_foreign_one_when_accepted(tmp_path):
    path = binary(tmp_path / "a.dcm")
    for target in (Target(GRID, "9.9", "1.2.3.4.6", "0815"), Target(GRID, "", "", "", (OTHER_SERIES,))):
        found = load(path, target)
        assert len(found.warnings) == 1
        np.testing.assert_array_equal(found_masks(found)[1], masks()[1])


def test_what_cannot_be_laid_over_a_volume_is_refused_by_name(tmp_path):
    cut = binary(tmp_path / "cut.dcm", NumberOfFrames=len(stored_frames(masks())))
    dataset = pydicom.dcmread(cut)
    dataset.PixelData = dataset.PixelData[:-8]
    dataset.save_as(cut)
    lost = binary(tmp_path / "lost.dcm", SharedFunctionalGroupsSequence=Sequence([Dataset()]))
    tiles = binary(tmp_path / "tiles.dcm", DimensionOrganizationType="TILED_FULL")
    other = binary(tmp_path / "other.dcm", SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    junk = tmp_path / "junk.dcm"
    junk.write_bytes(b"no DICOM at all" * 20)
    codes = []
    for path in (cut, lost, tiles, other, junk):
        with pytest.raises(MedViewerError) as refusal:
            load(path)
        assert path.name in refusal.value.text
        codes.append(refusal.value.code)
    assert codes == ["E_PIXEL_LENGTH", "E_NO_POSITION", "E_TILED", "E_NOT_SEGMENTS", "E_NOT_DICOM"]


# ---- files of other programs


@pytest.fixture(scope="module")
def dcmqi(shared_data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dcmqi")
    with zipfile.ZipFile(shared_data / "dicom" / "seg_sr_paramap_dcmqi.zip") as archive:
        archive.extractall(folder)
    return folder / "data" / "segmentations"


def beside_nrrd(dcmqi: Path, seg: str, nrrd: str):
    array, geometry = from_sitk(sitk.ReadImage(str(dcmqi / nrrd)))
    ref = reference(CTX, dcmqi / seg)
    return array, load(dcmqi / seg, Target(geometry, ref.series_uids[0], "", ref.patient_id))


@pytest.mark.parametrize(
    ("seg", "nrrd"),
    [
        ("liver.dcm", "liver_seg.nrrd"),
        ("sparse-labelmap-noppv.dcm", "sparse_labelmap_noppv_seg.nrrd"),
        ("sparse-labelmap-ppv5.dcm", "sparse_labelmap_ppv5_seg.nrrd"),
        ("23x38x3/seg/label.seg", "23x38x3/nrrd/label.nrrd"),
        ("24x38x3/seg/label.seg", "24x38x3/nrrd/label.nrrd"),
    ],
)
def test_dcmqis_samples_equal_their_source(dcmqi, seg, nrrd):
    array, found = beside_nrrd(dcmqi, seg, nrrd)
    # Where the sparse label map has no slice, dcmqi writes its padding value, which is background here.
    np.testing.assert_array_equal(found.layers[0], np.where(array == 5, 0, array))
    assert [s.name for s in found.segments] == ["Liver"]


def test_dcmqis_overlapping_segments_equal_their_sources(dcmqi):
    names = {1: {1: "GREEN", 4: "LIGHT_BLUE", 5: "DARK_BLUE"}, 2: {2: "ORANGE"}, 3: {3: "PURPLE"}}
    for number, values in names.items():
        array, found = beside_nrrd(dcmqi, "partial_overlaps.dcm", f"partial_overlaps-{number}.nrrd")
        by_name = {s.name: found.layers[s.layer] == s.value for s in found.segments}
        assert len(by_name) == 5
        for value, name in values.items():
            np.testing.assert_array_equal(by_name[name], array == value)


def test_a_big_endian_twin_reads_the_same(shared_data, dcmqi, tmp_path):
    with zipfile.ZipFile(shared_data / "dicom" / "odd_and_codecs_pydicom.zip") as archive:
        twin = Path(archive.extract("pydicom/liver_expb.dcm", tmp_path))
    array, found = beside_nrrd(dcmqi, str(twin), "liver_seg.nrrd")
    np.testing.assert_array_equal(found.layers[0], array)


def test_highdicoms_samples_load_or_are_refused_by_name(shared_data, tmp_path):
    with zipfile.ZipFile(shared_data / "dicom" / "highdicom_small.zip") as archive:
        archive.extractall(tmp_path)
    codes = {}
    for path in sorted((tmp_path / "data" / "test_files").glob("seg_*.dcm")):
        ref = reference(CTX, path)
        with pytest.raises(MedViewerError) as refusal:
            load(path, Target(GRID, ref.series_uids[0], "", ref.patient_id))
        codes[path.stem.removeprefix("seg_image_")] = refusal.value.code
    assert {name for name, code in codes.items() if code == "E_GEOMETRY"} == {
        "ct_binary", "ct_binary_fractional", "ct_binary_overlap", "ct_binary_single_frame", "ct_true_fractional"
    }  # fmt: skip
    assert codes.pop("cr_binary") == "E_NO_POSITION"
    assert {code for name, code in codes.items() if name.startswith("sm_")} == {"E_TILED"}


@pytest.mark.parametrize("name", ["ct_binary", "ct_binary_overlap", "ct_true_fractional", "ct_binary_single_frame"])
def test_highdicoms_samples_are_what_highdicom_reads(shared_data, tmp_path, name):
    import highdicom

    with zipfile.ZipFile(shared_data / "dicom" / "highdicom_small.zip") as archive:
        path = Path(archive.extract(f"data/test_files/seg_image_{name}.dcm", tmp_path))
    volume = highdicom.seg.segread(path).get_volume(combine_segments=False, rescale_fractional=False)
    steps = volume.affine[:3, [2, 1, 0]]
    spacing = np.linalg.norm(steps, axis=0)
    k, j, i = volume.array.shape[:3]
    grid = Geometry((i, j, k), tuple(spacing), tuple(volume.affine[:3, 3]), tuple((steps / spacing).ravel()))
    ref = reference(CTX, path)
    found = load(path, Target(grid, ref.series_uids[0], "", ref.patient_id))
    threshold = 128 if "fractional" in name else 1
    for n, mask in found_masks(found).items():
        np.testing.assert_array_equal(mask, volume.array[..., n - 1] >= threshold)
