"""Label maps: whole values only, names from beside, laid by place and never by index."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from medviewer.core.errors import MedViewerError
from medviewer.core.geometry import Geometry
from medviewer.core.terminology import CodedConcept
from medviewer.imaging.sitk_image import from_sitk, to_sitk
from medviewer.io.derived import MISFIT, Target
from medviewer.io.dicom_scan import scan
from medviewer.io.label_fit import axes_between, fits
from medviewer.io.load_segments import SegmentRequest, read, reference
from medviewer.jobs.job import NullContext

CTX = NullContext()
GRID = Geometry((7, 6, 5), (0.7, 0.8, 2.5), (-10.5, 20.25, -300.0), (0.6, -0.8, 0, 0.8, 0.6, 0, 0, 0, 1))


def labels(seed: int = 0, values=(0, 1, 5, 900)) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array(values, dtype=np.int32), GRID.shape)


def save(path: Path, array: np.ndarray, geometry: Geometry = GRID) -> Path:
    sitk.WriteImage(to_sitk(array, geometry), path, useCompression=True)
    return path


def load(path: Path, grid: Geometry = GRID, *accepted: str):
    return read(CTX, SegmentRequest(path, Target(grid, accepted=accepted)))


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.nrrd", "a.mha", "a.mhd", "a.nhdr"])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64])
def test_l01_l03_values_and_gaps_are_kept(tmp_path, name, dtype):
    path = save(tmp_path / name, labels().astype(dtype))
    found = load(path)
    (layer,) = found.layers
    np.testing.assert_array_equal(layer, labels())
    assert layer.dtype == np.uint16
    assert [(s.value, s.name) for s in found.segments] == [(1, "Label 1"), (5, "Label 5"), (900, "Label 900")]
    assert fits(reference(CTX, path).geometry, GRID)


@pytest.mark.parametrize("name", ["aseg.mgz", "mask.mgh", "mask.img"])
def test_l03_label_maps_of_freesurfer_and_analyze(tmp_path, name):
    array = labels().astype(np.int16).transpose(2, 1, 0)
    affine = np.diag([-1, -1, 1, 1]) @ GRID.index_to_lps_matrix
    if name.endswith(".img"):
        image = nib.AnalyzeImage(array, None)
        image.header.set_zooms(GRID.spacing)
        nib.save(image, tmp_path / name)
        path, grid = tmp_path / "mask.hdr", Geometry(GRID.size, GRID.spacing)
    else:
        path, grid = tmp_path / name, GRID
        nib.save(nib.MGHImage(array.astype(np.int32), affine), path)
    found = load(path, grid)
    np.testing.assert_array_equal(found.layers[0], labels())
    assert [s.value for s in found.segments] == [1, 5, 900]
    (study,) = scan(CTX, [path]).studies
    assert study.series[0].modality == "SEG"


@pytest.mark.parametrize(
    ("values", "dtype", "code"),
    [
        ((0, 1, 0.4), np.float32, "E_FRACTIONAL"),
        ((0, 1, np.nan), np.float64, "E_FRACTIONAL"),
        ((0, 1.5, 7), np.float32, "E_NOT_LABELS"),
        ((np.nan,), np.float32, "E_NOT_LABELS"),
        ((0, -1), np.int16, "E_LABEL_RANGE"),
        ((0, 70_000), np.int32, "E_LABEL_RANGE"),
        ((0, 2**31), np.float64, "E_LABEL_RANGE"),
        ((0,), np.uint8, "E_EMPTY"),
    ],
)
def test_l01_l02_l08_what_is_no_label_map_is_refused_by_name(tmp_path, values, dtype, code):
    array = np.resize(np.array(values, dtype=dtype), GRID.shape)
    with pytest.raises(MedViewerError) as refusal:
        load(save(tmp_path / "a.mha", array))
    assert refusal.value.code == code
    assert "a.mha" in refusal.value.text
    assert refusal.value.hint


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_l01_fractions_are_taken_from_the_threshold_on_that_was_asked_for(tmp_path, name):
    fractions = np.random.default_rng(5).random(GRID.shape).astype(np.float32)
    path = save(tmp_path / name, fractions)
    target = Target(GRID, threshold=0.8)
    found = read(CTX, SegmentRequest(path, target))
    np.testing.assert_array_equal(found.layers[0], fractions >= np.float32(0.8))
    assert any("80%" in warning for warning in found.warnings)


@pytest.mark.parametrize("values", [(1,), tuple(range(256)), (0, 1, 5, 900), (65535, 0)])
def test_l02_l03_l08_full_many_and_gapped_labels_are_kept(tmp_path, values):
    array = np.resize(np.array(values, np.uint16), GRID.shape)
    found = load(save(tmp_path / "a.nrrd", array))
    np.testing.assert_array_equal(found.layers[0], array)
    assert [s.value for s in found.segments] == sorted(set(np.unique(array).tolist()) - {0})


def test_l08_ten_thousand_components_are_one_segment(tmp_path):
    grid = Geometry((60, 50, 40), (1, 1, 1))
    array = np.zeros(grid.shape, np.uint8)
    array[::2, ::2, ::2] = 3
    found = load(save(tmp_path / "a.nii.gz", array, grid), grid)
    np.testing.assert_array_equal(found.layers[0], array)
    assert [s.value for s in found.segments] == [3]


def test_an_image_is_not_taken_for_labels(tmp_path):
    grid = Geometry((60, 60, 3), (1, 1, 1))
    array = np.arange(60 * 60 * 3, dtype=np.int16).reshape(grid.shape)
    with pytest.raises(MedViewerError) as refusal:
        load(save(tmp_path / "a.nrrd", array, grid), grid)
    assert refusal.value.code == "E_NOT_LABELS"


@pytest.mark.parametrize(
    "other",
    [
        Geometry((7, 6, 4), GRID.spacing, GRID.origin, GRID.direction),
        Geometry(GRID.size, (0.7, 0.8, 2.6), GRID.origin, GRID.direction),
        Geometry(GRID.size, GRID.spacing, tuple(GRID.index_to_lps((1, 0, 0))), GRID.direction),
        Geometry(GRID.size, GRID.spacing, GRID.origin, (-0.6, -0.8, 0, -0.8, 0.6, 0, 0, 0, 1)),
        Geometry(GRID.size, GRID.spacing, (-10.4, 20.25, -300.0), GRID.direction),
    ],
    ids=["size", "spacing", "one voxel", "flipped", "a tenth of a millimetre"],
)
def test_l04_another_grid_is_refused_in_numbers_and_resampled_when_wanted(tmp_path, other):
    array = np.resize(np.array([1, 0, 2], dtype=np.uint8), other.shape)
    path = save(tmp_path / "a.nrrd", array, other)
    with pytest.raises(MedViewerError) as refusal:
        load(path)
    assert refusal.value.code == "E_GEOMETRY"
    assert "7 × 6 × 5" in refusal.value.text
    assert "mm" in refusal.value.text
    if not fits(other, GRID) and other.direction == GRID.direction:
        wanted = sitk.Resample(to_sitk(array, other), to_sitk(np.zeros(GRID.shape, np.uint8), GRID), sitk.Transform(),
                               sitk.sitkNearestNeighbor, 0)  # fmt: skip
        (layer,) = load(path, GRID, MISFIT).layers
        assert (layer != from_sitk(wanted)[0]).mean() < 0.01


@given(st.permutations([0, 1, 2]), st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_the_same_voxels_along_other_axes_land_where_they_lie(order, flips):
    """A file may store its axes in any order and direction: every voxel keeps its place in the patient."""
    signs = np.where(flips, -1.0, 1.0)
    columns = GRID.direction_matrix[:, order] * signs
    size = np.array(GRID.size)[list(order)]
    corner = np.zeros(3)
    for n, axis in enumerate(order):
        corner[axis] = GRID.size[axis] - 1 if flips[n] else 0
    other = Geometry(
        tuple(size),
        tuple(np.array(GRID.spacing)[list(order)]),
        tuple(GRID.index_to_lps(corner)),
        tuple(columns.ravel()),
    )
    axes = axes_between(other, GRID)
    assert axes is not None
    array = np.arange(np.prod(size)).reshape(other.shape)
    turned = array.transpose(axes[0])[tuple(slice(None, None, -1 if f else 1) for f in axes[1])]
    assert turned.shape == GRID.shape
    for kji in [(0, 0, 0), (4, 5, 6), (1, 2, 3)]:
        i, j, k = np.rint(other.lps_to_index(GRID.index_to_lps(kji[::-1]))).astype(int)
        assert turned[kji] == array[k, j, i]


def test_a_nifti_that_runs_the_other_way_lands_right(tmp_path):
    image = sitk.DICOMOrient(to_sitk(labels().astype(np.uint16), Geometry(GRID.size, GRID.spacing)), "LAS")
    sitk.WriteImage(image, tmp_path / "a.nii.gz")
    (layer,) = load(tmp_path / "a.nii.gz", Geometry(GRID.size, GRID.spacing)).layers
    np.testing.assert_array_equal(layer, labels())


@pytest.mark.parametrize(
    ("place", "content"),
    [
        ("dataset.json", {"labels": {"background": 0, "liver": 1, "spleen": 5, "all": [1, 5]}, "numTraining": 900}),
        ("../dataset.json", {"labels": {"0": "background", "1": "liver", "5": "spleen"}}),
        ("labels.json", {"1": "liver", "5": "spleen"}),
        ("case.json", {"liver": 1, "spleen": 5}),
    ],
)
def test_names_from_beside(tmp_path, place, content):
    folder = tmp_path / "labelsTr"
    folder.mkdir()
    (folder / place).write_text(json.dumps(content))
    found = load(save(folder / "case.nii.gz", labels().astype(np.uint16)))
    assert [s.name for s in found.segments] == ["liver", "spleen", "Label 900"]


@pytest.mark.parametrize("content", ["", "[1,", "[]", '{"name": "x", "numTraining": 1}', '{"labels": 3}', "[" * 99_999])
def test_a_broken_names_file_is_no_obstacle(tmp_path, content):
    (tmp_path / "dataset.json").write_text(content)
    found = load(save(tmp_path / "tumour.nii.gz", labels(values=(0, 1)).astype(np.uint8)))
    assert [s.name for s in found.segments] == ["tumour"]


SLICER = """NRRD0004
type: unsigned char
dimension: 4
space: left-posterior-superior
sizes: 2 4 3 2
space directions: none (1,0,0) (0,1,0) (0,0,2)
kinds: list domain domain domain
encoding: raw
space origin: (0,0,0)
Segment0_ID:=Segment_1
Segment0_Name:=Liver
Segment0_Color:=0.5 1 0
Segment0_LabelValue:=1
Segment0_Layer:=0
Segment0_Tags:=Segmentation.Status:inprogress|TerminologyEntry:Slicer~SCT^85756007^Tissue~SCT^10200004^Liver~^^~x|
Segment1_ID:=Segment_2
Segment1_Name:=Vessels
Segment1_Color:=0 0 1
Segment1_LabelValue:=1
Segment1_Layer:=1
Segment2_ID:=Segment_3
Segment2_Name:=Tumour
Segment2_LabelValue:=2
Segment2_Layer:=1
Segment2_Tags:=TerminologyEntry:S~SCT^1^a~SCT^2^b~SCT^7771000^Left~A~SCT^64033007^Kidney~SCT^24028007^Right|

"""


def test_l05_slicers_segmentation_keeps_names_colours_and_overlap(tmp_path):
    stored = np.random.default_rng(1).integers(0, [[[[2, 3]]]], (2, 3, 4, 2)).astype(np.uint8)
    path = tmp_path / "a.seg.nrrd"
    path.write_bytes(SLICER.encode() + stored.tobytes())
    found = load(path, Geometry((4, 3, 2), (1, 1, 2)))
    assert [(s.name, s.value, s.layer, s.color) for s in found.segments] == [
        ("Liver", 1, 0, (128, 255, 0)), ("Vessels", 1, 1, (0, 0, 255)), ("Tumour", 2, 1, None)
    ]  # fmt: skip
    assert found.segments[0].type == CodedConcept("10200004", "SCT", "Liver")
    assert found.segments[0].region is None
    tumour = found.segments[2]
    assert [c.code_meaning for c in (tumour.type_modifier, tumour.region, tumour.region_modifier)] == [
        "Left", "Kidney", "Right"
    ]  # fmt: skip
    for layer in range(2):
        np.testing.assert_array_equal(found.layers[layer], stored[..., layer])


@pytest.mark.parametrize("modality", ["CT", "MR_T1", "PET"])
def test_real_masks_fit_their_series(shared_data, modality):
    folder = shared_data / "nifti" / "sts002"
    grid = reference(CTX, folder / f"{modality}_image.nii.gz").geometry
    found = load(folder / f"{modality}_mask.nii.gz", grid)
    wanted = np.asarray(nib.load(folder / f"{modality}_mask.nii.gz").dataobj).transpose(2, 1, 0)
    np.testing.assert_array_equal(found.layers[0], wanted)


def test_a_hundred_and_seventeen_labels(shared_data):
    path = shared_data / "nifti" / "totalseg_example_auto_seg_117_3mm.nii.gz"
    found = load(path, reference(CTX, shared_data / "nifti" / "totalseg_example_ct_3mm.nii.gz").geometry)
    values = np.unique(np.asarray(nib.load(path).dataobj))
    assert [s.value for s in found.segments] == [v for v in values if v]
