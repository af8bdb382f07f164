"""DICOM SEG: every kind and coding gives the same masks; what cannot be laid over a volume is refused by name."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.errors import MedViewerError
from medviewer.core.geometry import Geometry
from medviewer.imaging.sitk_image import from_sitk
from medviewer.io.derived import MISFIT, OTHER_SERIES, Target
from medviewer.io.dicom_frames import slice_headers
from medviewer.io.dicom_geometry import frames_and_positions
from medviewer.io.dicom_resample import regular_grid
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.load_segments import SegmentRequest, read, reference
from medviewer.io.seg_planes import own_grid, read_planes
from medviewer.jobs.job import NullContext
from tests.dicom_makers import pixels, write_slice
from tests.seg_makers import (
    CODINGS,
    EXPLICIT,
    GRID,
    HALF,
    TARGET,
    base,
    binary,
    found_masks,
    frame_item,
    item,
    masks,
    packed,
    save,
    stored_frames,
)

CTX = NullContext()


def load(path: Path, target: Target = TARGET):
    return read(CTX, SegmentRequest(path, target))


@pytest.mark.parametrize(("syntax", "vr"), CODINGS)
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


def test_l01_fractions_ask_for_a_threshold_and_say_which_was_taken(tmp_path):
    fractions = np.random.default_rng(0).integers(0, 201, GRID.shape).astype(np.uint8)
    made = base("FRACTIONAL", EXPLICIT, [frame_item(k, 1, GRID) for k in range(6)], 8, MaximumFractionalValue=200,
                SegmentationFractionalType="PROBABILITY")  # fmt: skip
    path = save(made, tmp_path / "a.dcm", fractions.tobytes())
    with pytest.raises(MedViewerError) as refusal:
        load(path)
    assert refusal.value.code == "E_FRACTIONAL"
    assert "probability" in refusal.value.text
    for threshold, least in ((0.5, 100), (0.8, 160)):
        found = load(path, replace(TARGET, threshold=threshold))
        np.testing.assert_array_equal(found.layers[0] == 1, fractions >= least)
        assert any(f"{threshold:.0%}" in warning for warning in found.warnings)


SLIDE = Geometry((11, 7, 1), (0.002, 0.003, 1.0), (20.0, 30.0, 0.0), (0, -1, 0, -1, 0, 0, 0, 0, -1))


def tiles(path: Path, full: bool) -> tuple[Path, np.ndarray]:
    """Write two overlapping segments of a slide of 11 x 7 in tiles of 4 x 3, padded at its edges."""
    which = np.random.default_rng(3).random((2, 7, 11)) < 0.5
    padded = np.pad(which, ((0, 0), (0, 2), (0, 1)), constant_values=True)
    starts = [(j, i) for j in range(0, 7, 3) for i in range(0, 11, 4)]
    frames = []
    for n in range(2):
        for j, i in starts:
            frame = Dataset()
            frame.SegmentIdentificationSequence = item(ReferencedSegmentNumber=n + 1)
            frame.PlanePositionSlideSequence = item(
                ColumnPositionInTotalImagePixelMatrix=i + 1, RowPositionInTotalImagePixelMatrix=j + 1
            )
            frames.append(frame)
    shared = Dataset()
    shared.PixelMeasuresSequence = item(PixelSpacing=[0.003, 0.002], SliceThickness=1.0)
    origin = item(XOffsetInSlideCoordinateSystem=20, YOffsetInSlideCoordinateSystem=30)
    made = base("BINARY", EXPLICIT, frames, 1, Rows=3, Columns=4, TotalPixelMatrixColumns=11, TotalPixelMatrixRows=7,
                SharedFunctionalGroupsSequence=Sequence([shared]), ImageOrientationSlide=[0.0, -1, 0, -1, 0, 0],
                TotalPixelMatrixOriginSequence=origin,
                DimensionOrganizationType="TILED_FULL" if full else "TILED_SPARSE")  # fmt: skip
    if full:
        del made.PerFrameFunctionalGroupsSequence
    bits = np.concatenate([padded[n, j : j + 3, i : i + 4].ravel() for n in range(2) for j, i in starts])
    data = packed(bits)
    return save(made, path, data + b"\0" * (len(data) % 2)), which


@pytest.mark.parametrize("full", [True, False])
def test_l06_tiles_land_on_their_slide_and_on_nothing_else(tmp_path, full):
    path, which = tiles(tmp_path / "tiles.dcm", full)
    found = load(path, replace(TARGET, geometry=SLIDE))
    for value, mask in found_masks(found).items():
        np.testing.assert_array_equal(mask[0], which[value - 1])
    assert own_grid(read_planes(pydicom.dcmread(path), 18, "tiles.dcm"), "tiles.dcm").size == SLIDE.size
    with pytest.raises(MedViewerError) as refusal:
        load(path, replace(TARGET, accepted=(MISFIT,)))
    assert refusal.value.code == "E_TILED"


def test_l06_frames_that_only_name_their_images_land_on_these(tmp_path):
    """Radiographs have no place in the patient; each frame goes to the image it was drawn on, whatever the order."""
    frames, uids = [], ["1.2.3.77", "1.2.3.78", "1.2.3.79"]
    for uid in ("1.2.3.79", "1.2.3.77"):
        frame = Dataset()
        frame.SegmentIdentificationSequence = item(ReferencedSegmentNumber=1)
        frame.DerivationImageSequence = item(SourceImageSequence=item(ReferencedSOPInstanceUID=uid))
        frames.append(frame)
    which = np.random.default_rng(4).random((2, 5, 7)) < 0.5
    made = base("BINARY", EXPLICIT, frames, 1, SharedFunctionalGroupsSequence=Sequence([Dataset()]))
    data = packed(which)
    path = save(made, tmp_path / "a.dcm", data + b"\0" * (len(data) % 2))
    files = tuple(write_slice(tmp_path / f"{n}.dcm", pixels(n), SOPInstanceUID=uid) for n, uid in enumerate(uids))
    flat = Geometry((7, 5, 3), (1, 1, 1))
    series = SeriesRef(key="1.2.3.4.5", series_instance_uid="1.2.3.4.5", files=files)
    found = load(path, Target(flat, "1.2.3.4.5", "", "0815", series=series))
    np.testing.assert_array_equal(found.layers[0] == 1, [which[1], np.zeros((5, 7), bool), which[0]])
    with pytest.raises(MedViewerError) as refusal:
        load(path, Target(flat, "1.2.3.4.5", "", "0815", series=replace(series, files=files[:2])))
    assert refusal.value.code == "E_NO_POSITION"
    assert "drawn on" in refusal.value.text


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


def test_g07_frames_beyond_the_ends_of_a_part_are_left_out_and_told(tmp_path):
    """A series that had to be split: its segmentation covers all parts."""
    path = binary(tmp_path / "a.dcm")
    part = Geometry((7, 5, 2), GRID.spacing, tuple(GRID.index_to_lps((0, 0, 2))), GRID.direction)
    found = load(path, replace(TARGET, geometry=part))
    for value, mask in found_masks(found).items():
        np.testing.assert_array_equal(mask, masks()[value][2:4])
    assert "5 of 8 frames lie outside" in " ".join(found.warnings)
    beyond = Geometry((7, 5, 2), GRID.spacing, tuple(GRID.index_to_lps((0, 0, 20))), GRID.direction)
    with pytest.raises(MedViewerError) as refusal:
        load(path, replace(TARGET, geometry=beyond))
    assert refusal.value.code == "E_GEOMETRY"


def test_g07_on_a_computed_grid_segments_lie_on_true_slices_and_go_on_between(tmp_path):
    depths = (0.0, 2.0, 4.0, 7.0, 8.0)
    for n, z in enumerate(depths):
        write_slice(tmp_path / "ct" / f"{n}.dcm", pixels(n), (0, 0, z))
    (study,) = scan_paths(CTX, [tmp_path / "ct"])
    series = next(s for s in study.series if s.interpolation == "nearest")
    grid = regular_grid(*frames_and_positions(slice_headers(series))).geometry
    random = np.random.default_rng(1)
    which = random.random((len(depths), 32, 40)) < 0.3
    frames = []
    for z in depths:
        frame = Dataset()
        frame.PlanePositionSequence = item(ImagePositionPatient=[0.0, 0.0, z])
        frame.SegmentIdentificationSequence = item(ReferencedSegmentNumber=1)
        frames.append(frame)
    path = save(base("BINARY", EXPLICIT, frames, 1, replace_in_plane(grid)), tmp_path / "a.dcm", packed(which))
    found = load(path, Target(grid, "1.2.3.4.5", "1.2.3.4.6", "0815", series=series))
    heights = grid.index_to_lps([(0, 0, k) for k in range(grid.size[2])])[:, 2]
    for k, z in enumerate(heights):
        apart = np.abs(np.subtract(depths, z))
        nearest = [n for n in range(len(depths)) if apart[n] - apart.min() < 1e-3]
        assert any(np.array_equal(found.layers[0][k] == 1, which[n]) for n in nearest)
    assert "repeat the nearest" in " ".join(found.warnings)


def replace_in_plane(grid: Geometry) -> Geometry:
    """Return a grid with the frames of another; only its planes count."""
    return Geometry((*grid.size[:2], 1), grid.spacing, grid.origin, grid.direction)


def test_what_cannot_be_laid_over_a_volume_is_refused_by_name(tmp_path):
    cut = binary(tmp_path / "cut.dcm", NumberOfFrames=len(stored_frames(masks())))
    dataset = pydicom.dcmread(cut)
    dataset.PixelData = dataset.PixelData[:-8]
    dataset.save_as(cut)
    lost = binary(tmp_path / "lost.dcm", SharedFunctionalGroupsSequence=Sequence([Dataset()]))
    no_tiles = binary(tmp_path / "tiles.dcm", DimensionOrganizationType="TILED_FULL")
    other = binary(tmp_path / "other.dcm", SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    junk = tmp_path / "junk.dcm"
    junk.write_bytes(b"no DICOM at all" * 20)
    codes = []
    for path in (cut, lost, no_tiles, other, junk):
        with pytest.raises(MedViewerError) as refusal:
            load(path)
        assert path.name in refusal.value.text
        codes.append(refusal.value.code)
    assert codes == ["E_PIXEL_LENGTH", "E_NO_POSITION", "E_NO_POSITION", "E_NOT_SEGMENTS", "E_NOT_DICOM"]


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
            load(path, replace(HALF, series_instance_uid=ref.series_uids[0], patient_id=ref.patient_id))
        codes[path.stem.removeprefix("seg_image_")] = refusal.value.code
    assert {name for name, code in codes.items() if code == "E_GEOMETRY"} == {
        "ct_binary", "ct_binary_fractional", "ct_binary_overlap", "ct_binary_single_frame", "ct_true_fractional"
    }  # fmt: skip
    assert codes.pop("cr_binary") == "E_NO_POSITION"
    assert {code for name, code in codes.items() if name.startswith("sm_")} == {"E_TILED"}


@pytest.mark.parametrize(
    "name", ["control", "control_labelmap", "control_labelmap_palette_color", "dots", "dots_tiled_full", "numbers"]
)
def test_highdicoms_slides_are_what_highdicom_reads(shared_data, tmp_path, name):
    import highdicom

    with zipfile.ZipFile(shared_data / "dicom" / "highdicom_small.zip") as archive:
        path = Path(archive.extract(f"data/test_files/seg_image_sm_{name}.dcm", tmp_path))
    seg = highdicom.seg.segread(path)
    wanted = seg.get_total_pixel_matrix(combine_segments=False, rescale_fractional=False)
    grid = own_grid(read_planes(seg, seg.NumberOfFrames, name), name)
    ref = reference(CTX, path)
    found = load(path, Target(grid, ref.series_uids[0], "", ref.patient_id))
    numbers = list(seg.segment_numbers)
    got = found_masks(found)
    assert grid.size == (50, 50, 1)
    assert got
    for n, number in enumerate(numbers):
        mask = got.get(number, np.zeros(grid.shape, bool))
        # Segment 0 of a label map is its background.
        np.testing.assert_array_equal(mask[0], wanted[..., n] > 0)


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
    found = load(path, Target(grid, ref.series_uids[0], "", ref.patient_id, threshold=0.5))
    threshold = 128 if "fractional" in name else 1
    for n, mask in found_masks(found).items():
        np.testing.assert_array_equal(mask, volume.array[..., n - 1] >= threshold)
