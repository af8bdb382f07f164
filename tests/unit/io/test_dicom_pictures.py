"""Images that are no volume: pictures, films and colours, compared with what pydicom makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.pixels.processing import apply_color_lut, convert_color_space
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    UltrasoundMultiFrameImageStorage,
)

from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.serial import series_from_json, series_to_json
from medviewer.core.volume import Volume
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from tests.dicom_makers import SHAPE, write_slice
from tests.dicom_mutators import deflated

CTX = NullContext()
NOWHERE: dict[str, Any] = {
    "SOPClassUID": SecondaryCaptureImageStorage,
    "Modality": "OT",
    "ImagePositionPatient": None,
    "ImageOrientationPatient": None,
    "PixelSpacing": None,
    "FrameOfReferenceUID": None,
    "RescaleIntercept": None,
    "RescaleSlope": None,
}


def colored(n: int = 0, dtype: Any = np.uint8) -> np.ndarray:
    """Return random colours of shape (rows, columns, 3)."""
    limits = np.iinfo(dtype)
    return np.random.default_rng(n).integers(0, limits.max, (*SHAPE, 3), dtype=dtype, endpoint=True)


def write(path: Path, picture: np.ndarray, **elements: Any) -> Path:
    """Write a picture without a place; three samples are RGB unless said otherwise."""
    values = dict(NOWHERE)
    if picture.shape[-1] == 3:
        values |= {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    return write_slice(path, picture, **(values | elements))


def parts(path: Path) -> list[SeriesRef]:
    return [series for study in scan_paths(CTX, [path]) for series in study.series]


def opened(path: Path, worker: Any = None) -> Volume:
    (series,) = parts(path)
    assert series_from_json(series_to_json(series)) == series
    return open_series(CTX, series, worker)


def test_a_grey_picture_without_a_place(tmp_path):
    grey = colored()[..., 0]
    volume = opened(write(tmp_path / "a.dcm", grey))
    np.testing.assert_array_equal(volume.array[0], grey)
    assert (volume.colors, volume.stacking, volume.in_patient, volume.in_mm) == (None, "number", False, False)
    assert [w.code for w in volume.warnings] == ["W_NO_SPACING"]
    assert volume.geometry.spacing == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, "deflated"])
@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_G23_rgb_is_kept(tmp_path, decode_worker, syntax, planar, dtype):
    picture = colored(1, dtype)
    lain = np.moveaxis(picture, -1, 0) if planar else picture
    written = syntax if syntax != "deflated" else ExplicitVRLittleEndian
    path = write(
        tmp_path / "a.dcm", lain, syntax=written, PlanarConfiguration=planar, Rows=SHAPE[0], Columns=SHAPE[1],
        SamplesPerPixel=3, PhotometricInterpretation="RGB",
    )  # fmt: skip
    if syntax == "deflated":
        path.write_bytes(deflated(path.read_bytes()))
    volume = opened(path, decode_worker)
    wanted = (picture >> (8 * picture.itemsize - 8)).astype(np.uint8)
    np.testing.assert_array_equal(volume.colors[0], wanted)
    weights = np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(volume.array[0], wanted @ weights, atol=0.51)
    assert ("W_COLOUR_DEPTH" in {w.code for w in volume.warnings}) == (dtype is not np.uint8)
    assert volume.window == (128.0, 256.0)


def test_G23_ybr_full_equals_pydicom(tmp_path):
    picture = colored(2)
    volume = opened(write(tmp_path / "a.dcm", picture, PhotometricInterpretation="YBR_FULL"))
    np.testing.assert_array_equal(volume.colors[0], convert_color_space(picture, "YBR_FULL", "RGB"))


def test_G23_ybr_full_422_equals_pydicom(tmp_path):
    halved = colored(3)[..., :2]
    path = write(
        tmp_path / "a.dcm", halved, SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL_422", PlanarConfiguration=0
    )
    volume = opened(path)
    np.testing.assert_array_equal(volume.colors[0], pydicom.dcmread(path).pixel_array)


def with_palette(path: Path, entries: np.ndarray, first: int, bits: int = 16) -> Path:
    dataset = pydicom.dcmread(path)
    for n, color in enumerate(("Red", "Green", "Blue")):
        dataset.add_new(f"{color}PaletteColorLookupTableDescriptor", "US", [len(entries) % 65536, first, bits])
        setattr(dataset, f"{color}PaletteColorLookupTableData", entries[:, n].tobytes())
    dataset.save_as(path)
    return path


@pytest.mark.parametrize(("first", "dtype", "bits"), [(0, np.uint16, 16), (20, np.uint16, 16), (3, np.uint8, 8)])
def test_G23_palette_equals_pydicom(tmp_path, first, dtype, bits):
    stored = colored(4)[..., 0]
    entries = np.random.default_rng(5).integers(0, np.iinfo(dtype).max, (200, 3), dtype=dtype, endpoint=True)
    path = write(tmp_path / "a.dcm", stored, PhotometricInterpretation="PALETTE COLOR")
    volume = opened(with_palette(path, entries, first, bits))
    wanted = apply_color_lut(stored, pydicom.dcmread(path))
    np.testing.assert_array_equal(volume.colors[0], wanted >> (bits - 8))


def test_G23_segmented_palette_equals_pydicom(tmp_path):
    stored = colored(6)[..., 0]
    path = write(tmp_path / "a.dcm", stored, PhotometricInterpretation="PALETTE COLOR")
    dataset = pydicom.dcmread(path)
    values, ramp = [0, 10, *range(0, 5000, 500)], [1, 100, 60000]
    # The second ramp is a reference to the first, at byte 24; pydicom gets it in full, as it reads that place in words.
    referring = [*values, *ramp, 2, 1, 24, 0, 1, 46, 100]
    plain = [*values, *ramp, *ramp, 1, 46, 100]
    for color in ("Red", "Green", "Blue"):
        dataset.add_new(f"{color}PaletteColorLookupTableDescriptor", "US", [256, 0, 16])
        setattr(dataset, f"Segmented{color}PaletteColorLookupTableData", np.array(referring, np.uint16).tobytes())
    dataset.save_as(path)
    for color in ("Red", "Green", "Blue"):
        setattr(dataset, f"Segmented{color}PaletteColorLookupTableData", np.array(plain, np.uint16).tobytes())
    np.testing.assert_array_equal(opened(path).colors[0], apply_color_lut(stored, dataset) >> 8)


def test_pictures_of_one_format_lie_behind_each_other_by_their_number(tmp_path):
    for n, number in enumerate((3, 1, 2)):
        write(tmp_path / f"{n}.dcm", colored(n), InstanceNumber=number)
    write(tmp_path / "grey.dcm", colored(9)[..., 0], InstanceNumber=4)
    pictures, grey = parts(tmp_path)
    assert [path.stem for path in pictures.files] == ["1", "2", "0"]
    assert grey.size == (SHAPE[1], SHAPE[0], 1)
    assert {"W_SPLIT"} < {w.code for w in grey.warnings}
    np.testing.assert_array_equal(open_series(CTX, pictures).colors[2], colored(0))


@pytest.mark.parametrize(
    ("elements", "times"),
    [
        ({"FrameTime": 40.0}, (0.0, 40.0, 80.0)),
        ({"FrameTimeVector": [0.0, 30.0, 50.0]}, (0.0, 30.0, 80.0)),
        ({"CineRate": 20}, (0.0, 50.0, 100.0)),
        ({"RecommendedDisplayFrameRate": 10}, (0.0, 100.0, 200.0)),
        ({"FrameTime": 0.0}, ()),
        ({}, ()),
    ],
)
@pytest.mark.parametrize("color", [False, True])
def test_a_film(tmp_path, elements, times, color):
    film = np.stack([colored(n) for n in range(3)])
    samples = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0} if color else {}
    path = write(
        tmp_path / "a.dcm", film if color else film[..., 0], Rows=SHAPE[0], Columns=SHAPE[1], NumberOfFrames=3,
        SOPClassUID=UltrasoundMultiFrameImageStorage, Modality="US", **({"SamplesPerPixel": 1} | samples | elements),
    )  # fmt: skip
    volume = opened(path)
    assert (volume.stacking, volume.frame_times_ms) == ("time", times)
    np.testing.assert_array_equal(volume.colors if color else volume.array, film if color else film[..., 0])


def test_odd_frames_in_big_endian_words(tmp_path):
    film = np.random.default_rng(0).integers(0, 255, (3, 5, 7), dtype=np.uint8)
    path = write(tmp_path / "a.dcm", film, Rows=5, Columns=7, NumberOfFrames=3, syntax=ExplicitVRBigEndian)
    data = path.read_bytes()
    pixels = film.tobytes() + b"\0"
    swapped = np.frombuffer(pixels, np.uint16).byteswap().tobytes()
    at = data.rindex(b"\x7f\xe0\x00\x10OB")
    path.write_bytes(data[: at + 4] + b"OW" + data[at + 6 : at + 8] + len(pixels).to_bytes(4, "big") + swapped)
    np.testing.assert_array_equal(opened(path).array, film)
    np.testing.assert_array_equal(pydicom.dcmread(path).pixel_array, film)


def test_G02_pictures_become_a_volume_with_the_spacing_that_is_entered(tmp_path):
    pictures = [np.full(SHAPE, n, np.int16) for n in range(4)]
    for n, picture in enumerate(pictures):
        write(tmp_path / f"{n}.dcm", picture, InstanceNumber=n + 1)
    (series,) = parts(tmp_path)
    spaced = series_from_json(series_to_json(series.spaced((0.5, 0.7, 3.0))))
    volume = open_series(CTX, spaced)
    assert (volume.stacking, volume.in_mm, volume.in_patient) == ("place", True, False)
    assert volume.geometry.spacing == (0.5, 0.7, 3.0)
    np.testing.assert_array_equal(volume.array, pictures)
    assert "W_ENTERED_SPACING" in {warning.code for warning in volume.warnings}
    assert "W_NO_SPACING" not in {warning.code for warning in volume.warnings}


def test_G01_slices_that_only_lack_their_pixel_size_lie_where_they_say(tmp_path):
    for n in range(4):
        values = {"ImagePositionPatient": [1, 2, 2.5 * (3 - n)], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
        write(tmp_path / f"{n}.dcm", np.full(SHAPE, n, np.int16), InstanceNumber=n + 1, **values)
    (series,) = parts(tmp_path)
    volume = open_series(CTX, series.spaced((0.5, 0.7, 9.0)))
    assert volume.in_patient
    assert volume.geometry.spacing == (0.5, 0.7, 2.5)
    assert volume.geometry.origin == (1, 2, 0)
    assert volume.array[:, 0, 0].tolist() == [3, 2, 1, 0]
    assert "W_ENTERED_SPACING" in {warning.code for warning in volume.warnings}
