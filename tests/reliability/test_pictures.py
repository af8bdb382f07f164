"""Pictures, films and colours that are odd: opened right, opened with a warning, or refused by name."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    EnhancedUSVolumeStorage,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    XRayAngiographicImageStorage,
)

from tests.dicom_makers import SHAPE, item, pixels, write_slice
from tests.dicom_mutators import element, with_element
from tests.outcomes import Outcome

PIXELS = 0x7FE00010
NOWHERE: dict[str, Any] = {
    "SOPClassUID": SecondaryCaptureImageStorage, "Modality": "OT", "ImagePositionPatient": None,
    "ImageOrientationPatient": None, "PixelSpacing": None, "FrameOfReferenceUID": None, "RescaleSlope": None,
    "RescaleIntercept": None,
}  # fmt: skip
RGB: dict[str, Any] = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}


def colors(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    return np.random.default_rng(len(shape)).integers(0, np.iinfo(dtype).max, (*shape, *SHAPE, 3), dtype=dtype)


def write(path: Path, picture: np.ndarray, **elements: Any) -> Path:
    shape = picture.shape[-3:-1] if elements.get("SamplesPerPixel") == 3 else picture.shape[-2:]
    return write_slice(path, picture, **({"Rows": shape[0], "Columns": shape[1]} | NOWHERE | elements))


def refused(found: Outcome, code: str) -> Outcome:
    assert (found.state, found.codes) == ("REFUSED", {code}), str(found)
    return found


def test_D03_a_film_with_more_pixels_than_frames(outcome, tmp_path):
    path = write(tmp_path / "a.dcm", colors(3), **RGB, NumberOfFrames=2)
    found = outcome(path)
    assert "W_EXTRA_PIXELS" in found.codes
    np.testing.assert_array_equal(found.volume.colors, colors(3)[:2])


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("frames", [0, 3])
def test_D13_colours_without_loss_equal_their_source(outcome, tmp_path, syntax, frames):
    picture = colors(frames) if frames else colors()
    path = write(tmp_path / "a.dcm", picture, **RGB, **({"NumberOfFrames": frames} if frames else {}))
    twin = outcome(path)
    dataset = pydicom.dcmread(path)
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path)
    found = outcome(path)
    np.testing.assert_array_equal(found.volume.colors, twin.volume.colors)
    assert found.digest == twin.digest


@pytest.mark.parametrize(("declared", "subsampling"), [("YBR_FULL", 0), ("YBR_FULL_422", 1), ("RGB", 1)])
def test_D13_colours_of_jpeg_equal_pydicom(outcome, tmp_path, declared, subsampling):
    path = write(tmp_path / "a.dcm", colors(), **RGB)
    stream = io.BytesIO()
    # JFIF: its colours are YCbCr, whatever the file declares.
    Image.fromarray(colors()).save(stream, "JPEG", quality=90, subsampling=subsampling)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([stream.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    dataset.PhotometricInterpretation = declared
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.save_as(path)
    found = outcome(path)
    assert found.volume.decoder == "imagecodecs"
    np.testing.assert_allclose(found.volume.colors[0].astype(int), pixel_array(path).astype(int), atol=1)


@pytest.mark.parametrize("frames", [4, 999_999, 100_000_000])
@pytest.mark.parametrize("compressed", [False, True])
def test_D21_more_frames_than_the_film_has(outcome, tmp_path, frames, compressed):
    path = write(tmp_path / "a.dcm", colors(3), **RGB, NumberOfFrames=3)
    dataset = pydicom.dcmread(path)
    if compressed:
        dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.NumberOfFrames = frames
    dataset.save_as(path)
    found = outcome(path, within=2.0)
    assert found.state == "REFUSED"
    assert found.codes <= {"E_PIXEL_LENGTH", "E_DIMENSIONS", "E_CODEC"}


@pytest.mark.parametrize(
    ("elements", "code"),
    [
        ({"BitsAllocated": 32, "BitsStored": 33, "HighBit": 32}, "E_BITS"),
        ({"BitsStored": 0, "HighBit": 0}, "E_BITS"),
        ({"PixelRepresentation": 1}, "E_BITS"),
        ({"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PhotometricInterpretation": "YBR_FULL"}, "E_BITS"),
        ({"SamplesPerPixel": 4}, "E_PHOTOMETRIC"),
        ({"SamplesPerPixel": 1}, "E_PHOTOMETRIC"),
        ({"PhotometricInterpretation": "MONOCHROME2"}, "E_PHOTOMETRIC"),
        ({"PhotometricInterpretation": "CMYK"}, "E_PHOTOMETRIC"),
        ({"PhotometricInterpretation": "YBR_RCT"}, "E_PHOTOMETRIC"),
        ({"PhotometricInterpretation": ""}, "E_PHOTOMETRIC"),
        ({"SamplesPerPixel": 1, "PhotometricInterpretation": "PALETTE COLOR"}, "E_PALETTE"),
    ],
)
def test_D22_D23_colours_are_never_guessed(outcome, tmp_path, elements, code):
    path = write(tmp_path / "a.dcm", colors(), **(RGB | {"Rows": SHAPE[0], "Columns": SHAPE[1]} | elements))
    refused(outcome(path), code)


@pytest.mark.parametrize(
    ("origin", "warned"), [((1, 1), False), ((0, 1), True), ((5, 1), True), ((-3, 9), True), ((1, 30000), True)]
)
def test_D28_an_overlay_out_of_bounds(outcome, tmp_path, origin, warned):
    path = write(tmp_path / "a.dcm", pixels(), PixelSpacing=[1, 1])
    twin = outcome(path)
    rows, columns = (value.to_bytes(2, "little") for value in SHAPE)
    start = b"".join(value.to_bytes(2, "little", signed=True) for value in origin)
    overlay = (
        element(0x60000010, b"US", rows) + element(0x60000011, b"US", columns) + element(0x60000050, b"SS", start)
        + element(0x60003000, b"OW", b"\xff" * (SHAPE[0] * SHAPE[1] // 8))
    )  # fmt: skip
    path.write_bytes(with_element(path.read_bytes(), PIXELS, overlay))
    found = outcome(path)
    assert ("W_OVERLAY" in found.codes) == warned
    assert found.digest == twin.digest


def test_G01_where_the_size_of_a_pixel_is_found(outcome, tmp_path):
    cases = [
        ({"PixelSpacing": [0.3, 0.2]}, (0.2, 0.3, 1.0), set()),
        ({"ImagerPixelSpacing": [0.3, 0.2]}, (0.2, 0.3, 1.0), {"W_DETECTOR_SPACING"}),
        ({"PixelSpacing": [0.1, 0.1], "ImagerPixelSpacing": [0.3, 0.2]}, (0.1, 0.1, 1.0), set()),
        ({"PixelSpacing": [0.3, 0.2], "ImagerPixelSpacing": [0.3, 0.2]}, (0.2, 0.3, 1.0), {"W_DETECTOR_SPACING"}),
        ({"NominalScannedPixelSpacing": [0.3, 0.2]}, (0.2, 0.3, 1.0), set()),
        ({"PixelSpacing": [0.0, 0.2]}, (1.0, 1.0, 1.0), {"W_NO_SPACING"}),
        ({}, (1.0, 1.0, 1.0), {"W_NO_SPACING"}),
    ]
    for n, (elements, spacing, codes) in enumerate(cases):
        values = NOWHERE | {"SOPClassUID": DigitalXRayImageStorageForPresentation, "Modality": "DX"}
        path = write(tmp_path / f"{n}" / "a.dcm", pixels(), **(values | elements))
        found = outcome(path)
        assert (found.volume.geometry.spacing, found.codes) == (spacing, codes), elements
        assert found.volume.in_mm == ("W_NO_SPACING" not in codes)
        assert found.series.spacing == (spacing if found.volume.in_mm else None)


def region(**changes: Any) -> pydicom.Dataset:
    values = {
        "RegionSpatialFormat": 1, "RegionDataType": 1, "PhysicalUnitsXDirection": 3, "PhysicalUnitsYDirection": 3,
        "PhysicalDeltaX": -0.05, "PhysicalDeltaY": 0.04,
    }  # fmt: skip
    return item(**(values | changes))


@pytest.mark.parametrize(
    ("regions", "spacing", "code"),
    [
        ([region()], (0.5, 0.4, 1.0), "W_SCANNED_REGION"),
        ([region(), region()], (0.5, 0.4, 1.0), "W_SCANNED_REGION"),
        ([region(), region(RegionSpatialFormat=3, PhysicalUnitsXDirection=4)], (0.5, 0.4, 1.0), "W_SCANNED_REGION"),
        ([region(), region(PhysicalDeltaX=0.06)], (1.0, 1.0, 1.0), "W_NO_SPACING"),
        ([region(PhysicalUnitsXDirection=4)], (1.0, 1.0, 1.0), "W_NO_SPACING"),
        ([region(PhysicalDeltaX=0.0)], (1.0, 1.0, 1.0), "W_NO_SPACING"),
    ],
)
def test_G01_ultrasound_is_measured_in_its_region(outcome, tmp_path, regions, spacing, code):
    values = {"SOPClassUID": UltrasoundImageStorage, "Modality": "US", "SequenceOfUltrasoundRegions": regions}
    found = outcome(write(tmp_path / "a.dcm", colors(), **(RGB | values)))
    assert found.codes == {code}
    assert found.volume.geometry.spacing == spacing
    assert found.volume.in_mm == (code == "W_SCANNED_REGION")


def test_G01_ultrasound_pictures_of_two_scales_have_none(outcome, tmp_path):
    for n, step in enumerate((0.05, 0.07)):
        values = {"SOPClassUID": UltrasoundImageStorage, "SequenceOfUltrasoundRegions": [region(PhysicalDeltaX=step)]}
        write(tmp_path / f"{n}.dcm", colors(), **(RGB | values), InstanceNumber=n)
    assert outcome(tmp_path).codes == {"W_NO_SPACING"}


def test_G12_pictures_of_another_size_are_a_part_of_their_own(all_outcomes, tmp_path):
    for n, shape in enumerate([(20, 30), (20, 30), (25, 30)]):
        write(tmp_path / f"{n}.dcm", np.full(shape, n, np.uint8), InstanceNumber=n, PixelSpacing=[1, 1])
    found = all_outcomes(tmp_path)
    assert sorted(o.volume.array.shape for o in found) == [(1, 25, 30), (2, 20, 30)]
    assert all(o.codes == {"W_SPLIT"} for o in found)


def test_G14_radiographs_of_one_series_lie_behind_each_other(outcome, tmp_path):
    for n in range(2):
        values = {"SOPClassUID": ComputedRadiographyImageStorage, "Modality": "CR", "ImagerPixelSpacing": [0.1, 0.1]}
        write(tmp_path / f"{n}.dcm", pixels(n), **values, InstanceNumber=2 - n)
    found = outcome(tmp_path)
    assert found.codes == {"W_DETECTOR_SPACING"}
    assert (found.volume.stacking, found.volume.in_patient) == ("number", False)
    np.testing.assert_array_equal(found.volume.array, [pixels(1), pixels(0)])


@pytest.mark.parametrize(
    ("ratio", "spacing"), [([4, 3], (1.0, 4 / 3, 1.0)), ([1, 2], (1.0, 0.5, 1.0)), ([0, 1], (1.0, 1.0, 1.0))]
)
def test_G19_pixel_aspect_ratio(outcome, tmp_path, ratio, spacing):
    found = outcome(write(tmp_path / "a.dcm", pixels(), PixelAspectRatio=ratio))
    assert found.volume.geometry.spacing == pytest.approx(spacing)
    assert (found.volume.in_mm, found.codes) == (False, {"W_NO_SPACING"})


def test_G22_a_radiograph_in_monochrome1_keeps_its_values(outcome, tmp_path):
    twin = outcome(write(tmp_path / "a.dcm", pixels(), PixelSpacing=[1, 1]))
    found = outcome(write(tmp_path / "a.dcm", pixels(), PixelSpacing=[1, 1], PhotometricInterpretation="MONOCHROME1"))
    assert found.volume.inverted
    assert found.digest == twin.digest


def test_G23_slices_in_colour_with_places_are_a_volume_in_colour(outcome, tmp_path):
    for n in range(4):
        write(
            tmp_path / f"{n}.dcm", colors() + n, **RGB, PixelSpacing=[0.5, 0.5], InstanceNumber=n,
            ImagePositionPatient=[0, 0, 3.0 * n], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        )  # fmt: skip
    found = outcome(tmp_path)
    assert found.state == "LOADED"
    assert (found.volume.stacking, found.volume.in_patient) == ("place", True)
    assert found.volume.geometry.spacing == (0.5, 0.5, 3.0)
    np.testing.assert_array_equal(found.volume.colors[3], colors() + 3)


def test_G23_colours_and_greys_of_one_series_are_apart(all_outcomes, tmp_path):
    write(tmp_path / "a.dcm", colors(), **RGB, PixelSpacing=[1, 1])
    write(tmp_path / "b.dcm", pixels(), PixelSpacing=[1, 1])
    assert sorted(o.volume.colors is not None for o in all_outcomes(tmp_path)) == [False, True]


def test_G24_a_display_table_is_shown_as_a_window(outcome, tmp_path):
    table = pydicom.Dataset()
    table.add_new("LUTDescriptor", "US", [512, 100, 16])
    table.add_new("LUTData", "OW", np.arange(512, dtype=np.uint16).tobytes())
    found = outcome(write(tmp_path / "a.dcm", pixels(0, np.uint16), PixelSpacing=[1, 1], VOILUTSequence=[table]))
    assert found.codes == {"W_WINDOW"}
    assert found.volume.window == (356.0, 512.0)
    np.testing.assert_array_equal(found.volume.array[0], pixels(0, np.uint16))


@pytest.mark.parametrize("value", [["40", "50"], ["40"]])
def test_G24_the_first_of_several_windows_is_taken(outcome, tmp_path, value):
    found = outcome(
        write(tmp_path / "a.dcm", pixels(), PixelSpacing=[1, 1], WindowCenter=value, WindowWidth=["400", "80"])
    )  # fmt: skip
    assert (found.volume.window, found.codes) == ((40.0, 400.0), set())


def test_G25_padding_of_a_picture_is_known(outcome, tmp_path):
    path = write(tmp_path / "a.dcm", pixels(), PixelSpacing=[1, 1])
    dataset = pydicom.dcmread(path)
    dataset.add_new("PixelPaddingValue", "SS", -2000)
    dataset.save_as(path)
    assert outcome(path).volume.padding == -2000


@pytest.mark.parametrize(("keyword", "dtype"), [("FloatPixelData", np.float32), ("DoubleFloatPixelData", np.float64)])
def test_floating_point_pixels_open_as_they_are(outcome, tmp_path, keyword, dtype):
    wanted = np.random.default_rng(0).normal(size=SHAPE).astype(dtype)
    path = write(tmp_path / "a.dcm", pixels(), PixelSpacing=[1, 1])
    dataset = pydicom.dcmread(path)
    del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
    dataset.BitsAllocated = wanted.itemsize * 8
    setattr(dataset, keyword, wanted.tobytes())
    dataset.save_as(path)
    found = outcome(path)
    assert found.volume.array.dtype == np.float32
    np.testing.assert_array_equal(found.volume.array[0], wanted.astype(np.float32))
    wanted[3, 4], wanted[5, 6] = np.nan, np.inf
    setattr(dataset, keyword, wanted.tobytes())
    dataset.save_as(path)
    found = outcome(path)
    assert found.codes == {"W_NOT_FINITE"}
    assert np.isfinite(found.volume.array).all()
    assert found.volume.array[0, 3, 4] == found.volume.padding < np.nanmin(wanted)
    path.write_bytes(path.read_bytes()[:-8])
    assert outcome(path).state == "REFUSED"


def test_a_film_at_a_known_place_keeps_it(outcome, tmp_path):
    place = {"ImagePositionPatient": [1, 2, 3], "ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}
    values = {"SOPClassUID": XRayAngiographicImageStorage, "Modality": "XA", "NumberOfFrames": 3, "FrameTime": 66}
    film = np.stack([pixels(n, np.uint8, 200) for n in range(3)])
    found = outcome(write(tmp_path / "a.dcm", film, PixelSpacing=[0.5, 0.5], **place, **values))
    assert found.state == "LOADED"
    volume = found.volume
    assert (volume.stacking, volume.in_patient, volume.frame_times_ms) == ("time", True, (0.0, 66.0, 132.0))
    np.testing.assert_allclose(volume.geometry.index_to_lps((2, 4, 0)), [1, 3, 1])


def test_several_films_of_one_series_are_parts_of_their_own(all_outcomes, tmp_path):
    for n in range(3):
        film = np.stack([pixels(n, np.uint8, 200)] * (n + 2))
        values = {"SOPClassUID": EnhancedUSVolumeStorage, "Modality": "US", "NumberOfFrames": n + 2}
        write(tmp_path / f"{n}.dcm", film, PixelSpacing=[1, 1], InstanceNumber=n + 1, **values)
    found = all_outcomes(tmp_path)
    assert sorted(o.volume.array.shape[0] for o in found) == [2, 3, 4]
    assert {o.series.description for o in found} == {f"Test [film {n}]" for n in (1, 2, 3)}
