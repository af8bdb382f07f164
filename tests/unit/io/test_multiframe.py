"""Multi-frame files: places from functional groups, order along the normal, split by dimension."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.errors import InputError
from medviewer.core.serial import series_from_json, series_to_json
from medviewer.io.decoders import CHAINS
from medviewer.io.dicom_frames import slice_headers
from medviewer.io.dicom_geometry import slice_position
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from tests.dicom_makers import item, pixels, write_enhanced, write_slice

CTX = NullContext()


def frames(count: int, dtype: str = "<u2", shape: tuple[int, int] = (5, 7)) -> np.ndarray:
    """Return pixels that name their frame: 100 n + something."""
    noise = np.random.default_rng(1).integers(0, 50, (count, *shape))
    return (noise + 100 * np.arange(count)[:, None, None]).astype(dtype)


def series_of(path: Path) -> list[SeriesRef]:
    (study,) = scan_paths(CTX, [path])
    return list(study.series)


def test_frames_are_ordered_by_place_not_by_number(tmp_path):
    pixels = frames(5)
    order = [3, 0, 4, 1, 2]
    path = write_enhanced(tmp_path / "a.dcm", pixels, [(1.0, 2.0, 3.0 * order[n]) for n in range(5)])
    (series,) = series_of(path)
    assert series.volume
    assert series.size == (7, 5, 5)
    assert series.frames == tuple(order.index(k) for k in range(5))
    assert series.files == (path,) * 5
    volume = open_series(CTX, series)
    np.testing.assert_array_equal(volume.array, pixels[list(series.frames)])
    # Spacing comes from the places, never from SliceThickness; rows are 0.5 mm apart.
    assert volume.geometry.spacing == pytest.approx((0.75, 0.5, 3.0))
    assert volume.geometry.origin == (1.0, 2.0, 0.0)
    assert volume.decoder == "native"


def test_every_slice_lies_where_its_frame_says(tmp_path):
    direction = np.array([[0.8, 0.6, 0.0], [0.0, 0.0, -1.0]])
    normal = np.cross(*direction)
    places = [np.array([5.0, -3.0, 11.0]) + 2.5 * n * normal for n in (2, 0, 1, 3)]
    shared = {"PlaneOrientationSequence": {"ImageOrientationPatient": list(map(float, direction.ravel()))}}
    path = write_enhanced(tmp_path / "a.dcm", frames(4), places, shared=shared)
    (series,) = series_of(path)
    volume = open_series(CTX, series)
    for k, header in enumerate(slice_headers(series)):
        np.testing.assert_allclose(volume.geometry.index_to_lps((0, 0, k)), slice_position(header), atol=1e-6)


def test_rescale_of_each_frame_is_its_own(tmp_path):
    pixels = frames(3)
    path = write_enhanced(
        tmp_path / "a.dcm", pixels, [(0, 0, n) for n in range(3)],
        groups=lambda n: {
            "PixelValueTransformationSequence": {
                "RescaleSlope": 0.5 * (n + 1), "RescaleIntercept": -10.0 * n, "RescaleType": "US"
            }
        },
    )  # fmt: skip
    (series,) = series_of(path)
    wanted = [frame * 0.5 * (n + 1) - 10.0 * n for n, frame in enumerate(pixels)]
    np.testing.assert_allclose(open_series(CTX, series).array, wanted)


NO_AXIS = ("stack", "image type", "dimension")


@pytest.mark.parametrize(
    ("label", "groups"),
    [
        ("time point", lambda n: {"FrameContentSequence": {"TemporalPositionIndex": n // 4 + 1}}),
        ("echo time", lambda n: {"MREchoSequence": {"EffectiveEchoTime": 10.0 * (n // 4 + 1)}}),
        ("b-value", lambda n: {"MRDiffusionSequence": {"DiffusionBValue": 1000.0 * (n // 4)}}),
        ("stack", lambda n: {"FrameContentSequence": {"StackID": str(n // 4)}}),
        ("image type", lambda n: {"MRImageFrameTypeSequence": {"FrameType": ["ORIGINAL", "PRIMARY", "MR"[n // 4]]}}),
        ("dimension", lambda n: {"FrameContentSequence": {"DimensionIndexValues": [n // 4 + 1, n % 4 + 1]}}),
        (
            "direction",
            lambda n: {
                "MRDiffusionSequence": {
                    "DiffusionBValue": 1000.0,
                    "DiffusionGradientDirectionSequence": {
                        "DiffusionGradientOrientation": [1.0, 0.0, 0.0] if n < 4 else [0.0, 1.0, 0.0]
                    },
                }
            },
        ),
    ],
)
def test_frames_at_one_place_are_split_by_what_tells_them_apart(tmp_path, label, groups):
    pixels = frames(8)
    pointers = [item(DimensionIndexPointer=0x00189087), item(DimensionIndexPointer=0x00209057)]
    path = write_enhanced(
        tmp_path / "a.dcm", pixels, [(0, 0, 2.0 * (n % 4)) for n in range(8)], groups=groups,
        DimensionIndexSequence=pydicom.Sequence(pointers),
    )  # fmt: skip
    series = series_of(path)
    if label in NO_AXIS:
        assert [s.key for s in series] == ["1.2.3.9.1#1", "1.2.3.9.1#2"]
        arrays = [open_series(CTX, part).array for part in series]
    else:
        assert [s.time_name for s in series] == [label]
        arrays = open_series(CTX, series[0]).time.arrays
    np.testing.assert_array_equal(arrays, [pixels[:4], pixels[4:]])


def test_a_series_of_several_multiframe_files_is_one_tree(tmp_path):
    pixels = frames(6)
    for n in range(2):
        write_enhanced(
            tmp_path / f"{n}.dcm", pixels[3 * n : 3 * n + 3], [(0, 0, 6.0 - 6 * n + 2 * k) for k in range(3)]
        )  # fmt: skip
    (series,) = series_of(tmp_path)
    assert [path.name for path in series.files] == ["1.dcm"] * 3 + ["0.dcm"] * 3
    np.testing.assert_array_equal(open_series(CTX, series).array, np.concatenate([pixels[3:], pixels[:3]]))


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_compressed_frames_equal_their_source(tmp_path, decode_worker, syntax):
    pixels = frames(5, shape=(32, 40))
    path = write_enhanced(tmp_path / "a.dcm", pixels, [(0, 0, float(9 - n)) for n in range(5)])
    dataset = pydicom.dcmread(path)
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path)
    (series,) = series_of(path)
    volume = open_series(CTX, series, decode_worker)
    np.testing.assert_array_equal(volume.array, pixels[::-1])
    assert volume.decoder == CHAINS[syntax][0]


def test_single_bits_are_unpacked_across_frames(tmp_path):
    # 35 bits a frame: only the first begins at a byte.
    pixels = np.random.default_rng(2).integers(0, 2, (4, 5, 7)).astype(np.uint8)
    path = write_enhanced(tmp_path / "a.dcm", pixels, [(0, 0, float(n)) for n in range(4)], bits=1)
    (series,) = series_of(path)
    np.testing.assert_array_equal(open_series(CTX, series).array, pixels)
    np.testing.assert_array_equal(pydicom.dcmread(path).pixel_array, pixels)


def test_deflated_frames_equal_their_source(tmp_path, decode_worker):
    pixels = frames(3)
    path = write_enhanced(
        tmp_path / "a.dcm", pixels, [(0, 0, float(n)) for n in range(3)], syntax="1.2.840.10008.1.2.1.99"
    )
    (series,) = series_of(path)
    volume = open_series(CTX, series, decode_worker)
    np.testing.assert_array_equal(volume.array, pixels)
    assert volume.decoder == "zlib"


def test_frames_without_places_are_a_film(tmp_path):
    path = write_enhanced(tmp_path / "a.dcm", frames(3), [None] * 3)
    (series,) = series_of(path)
    assert (series.kind, series.frames) == ("dicom_pictures", (0, 1, 2))
    volume = open_series(CTX, series)
    np.testing.assert_array_equal(volume.array, frames(3))
    assert (volume.stacking, volume.in_patient, volume.in_mm) == ("number", False, True)
    assert volume.geometry.spacing == (0.75, 0.5, 1.0)


def test_frames_all_at_one_place_are_a_film(tmp_path):
    path = write_enhanced(tmp_path / "a.dcm", frames(3), [(1, 2, 3)] * 3)
    (series,) = series_of(path)
    volume = open_series(CTX, series)
    np.testing.assert_array_equal(volume.array, frames(3))
    assert (volume.stacking, volume.in_patient, volume.in_mm) == ("time", True, True)
    assert volume.geometry.origin == (1.0, 2.0, 3.0)


def test_fewer_pixels_than_frames_are_refused(tmp_path):
    path = write_enhanced(tmp_path / "a.dcm", frames(3), [(0, 0, float(n)) for n in range(3)])
    dataset = pydicom.dcmread(path)
    dataset.PixelData = dataset.PixelData[: 2 * 70]
    dataset.save_as(path)
    (series,) = series_of(path)
    assert series.refusal == "E_PIXEL_LENGTH"


def test_more_frames_than_descriptions_are_refused(tmp_path):
    path = write_enhanced(tmp_path / "a.dcm", frames(3), [(0, 0, float(n)) for n in range(2)])
    (series,) = series_of(path)
    assert series.refusal == "E_DIMENSIONS"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\x28\x00\x10\x91SQ", b"\x28\x00\x10\x91S\xff"),  # PixelMeasuresSequence, shared by all frames
        (b"\x20\x00\x57\x91UL", b"\x20\x00\x57\x91UU"),  # DimensionIndexValues
        (b"\x28\x00\x30\x00DS", b"\x28\x00\x30\x00FD"),  # PixelSpacing, of a length that no FD has
        (b"\x29\x92SQ", b"\x29\x92S\xff"),  # SharedFunctionalGroupsSequence
        (b"\x30\x92SQ", b"\x30\x92UN"),  # PerFrameFunctionalGroupsSequence
    ],
)
def test_a_file_with_broken_groups_spoils_no_other_study(tmp_path, old, new):
    def groups(n: int) -> dict[str, Any]:
        return {"FrameContentSequence": {"DimensionIndexValues": [1, n + 1]}}

    broken = write_enhanced(tmp_path / "b.dcm", frames(3), [(0.0, 0.0, 2.0 * n) for n in range(3)], groups=groups)
    data = broken.read_bytes()
    assert old in data
    broken.write_bytes(data.replace(old, new))
    write_slice(tmp_path / "good.dcm", pixels())
    good = [series for study in scan_paths(CTX, [tmp_path]) for series in study.series if series.modality == "CT"]
    assert [series.volume for series in good] == [True]


def test_a_number_behind_a_separator_of_ascii_is_none(tmp_path):
    path = write_slice(tmp_path / "a.dcm", pixels())
    path.write_bytes(path.read_bytes().replace(b"1.0\\0.0\\0.0\\0.0\\1.0", b"1.0\\\x1e.0\\0.0\\0.0\\1.0"))
    assert [series.stacking for series in series_of(path)] == ["number"]


def test_a_number_of_frames_of_thousands_of_digits_is_refused(tmp_path):
    path = write_slice(tmp_path / "a.dcm", pixels(), NumberOfFrames="1")
    data = path.read_bytes()
    place = data.index(b"\x28\x00\x08\x00IS") + 6
    path.write_bytes(data[:place] + struct.pack("<H", 5000) + b"7" * 5000 + data[place + 2 + 2 :])
    assert [series.volume for series in series_of(path)] == [False]


def test_more_pixels_than_frames_are_named(tmp_path):
    path = write_enhanced(tmp_path / "a.dcm", frames(3), [(0, 0, float(n)) for n in range(3)])
    dataset = pydicom.dcmread(path)
    dataset.PixelData = dataset.PixelData * 2
    dataset.save_as(path)
    (series,) = series_of(path)
    volume = open_series(CTX, series)
    np.testing.assert_array_equal(volume.array, frames(3))
    assert "W_EXTRA_PIXELS" in {w.code for w in volume.warnings}


def test_a_reference_to_frames_survives_json(tmp_path):
    path = write_enhanced(tmp_path / "a.dcm", frames(3), [(0, 0, float(-n)) for n in range(3)])
    (series,) = series_of(path)
    assert series_from_json(series_to_json(series)) == series


def test_a_file_that_lost_frames_since_the_scan_is_refused(tmp_path):
    path = write_enhanced(tmp_path / "a.dcm", frames(3), [(0, 0, float(n)) for n in range(3)])
    (series,) = series_of(path)
    write_enhanced(path, frames(2), [(0, 0, float(n)) for n in range(2)])
    with pytest.raises(InputError) as refusal:
        open_series(CTX, series)
    assert refusal.value.code == "E_CHANGED"


def real_series(shared_data: Path, name: str) -> list[SeriesRef]:
    studies = scan_paths(CTX, [shared_data / "dicom" / f"{name}.zip"])
    return [series for study in studies for series in study.series]


@pytest.mark.parametrize(
    ("archive", "file", "sizes"),
    [
        ("enhanced_mr_multiframe", "IM_0027_fMAP.dcm", [(64, 64, 32)] * 2),
        ("enhanced_mr_multiframe", "6_1.dcm", [(64, 64, 6)]),
        ("odd_and_codecs_pydicom", "eCT_Supplemental.dcm", [(512, 512, 2)]),
        ("seg_sr_paramap_dcmqi", "mf.dcm", [(23, 38, 3), (24, 38, 3)]),
    ],
)
def test_real_files_agree_with_pydicom(shared_data, archive, file, sizes):
    found = [s for s in real_series(shared_data, archive) if s.files and s.files[0].name == file]
    assert [s.size for s in found] == sizes
    for series in found:
        volume = open_series(CTX, series)
        voxels = np.concatenate(volume.time.arrays) if volume.time is not None else volume.array
        for row, (path, n) in enumerate(zip(series.files, series.frames, strict=True)):
            k, dataset = row % len(volume.array), pydicom.dcmread(path)
            groups = dataset.PerFrameFunctionalGroupsSequence[n], dataset.SharedFunctionalGroupsSequence[0]
            position = groups[0].PlanePositionSequence[0].ImagePositionPatient
            np.testing.assert_allclose(volume.geometry.index_to_lps((0, 0, k)), position, atol=0.1)
            rescale = next(
                (g.PixelValueTransformationSequence[0] for g in groups if "PixelValueTransformationSequence" in g),
                item(RescaleSlope=1, RescaleIntercept=0),
            )
            wanted = dataset.pixel_array[n] * float(rescale.RescaleSlope) + float(rescale.RescaleIntercept)
            np.testing.assert_allclose(voxels[row], wanted, rtol=1e-6, atol=1e-6)


def test_real_films_open(shared_data, decode_worker):
    films = [s for s in real_series(shared_data, "multiframe_xa_us_mr_fodicom") if s.stacking == "time"]
    volumes = {s.files[0].name: open_series(CTX, s, decode_worker) for s in films}
    sizes = {name: (v.geometry.size, len(v.frame_times_ms), v.colors is not None) for name, v in volumes.items()}
    assert sizes == {
        "DIRW0007": ((576, 456, 65), 65, True),
        "HasFragmentSequence.dcm": ((512, 512, 96), 96, False),
        "MOVEKNEE.dcm": ((256, 256, 19), 0, False),
    }
