"""RT Dose on its own grid, in Gy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from medviewer.core.errors import InputError
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from tests.dicom_makers import write_slice

CTX = NullContext()
FIRST = (-50.0, 30.0, -120.0)
OFFSETS = [0.0, 2.5, 5.0, 7.5]


def doses(dtype: Any = np.uint32) -> np.ndarray:
    return np.random.default_rng(5).integers(0, np.iinfo(dtype).max, (4, 5, 7), dtype=dtype)


@pytest.fixture
def dose(tmp_path, decode_worker):
    """Write a dose and open it; keywords are elements, None removes one."""

    def make(stored=None, *, edit=None, **elements: Any):
        stored = doses() if stored is None else stored
        values = {
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.2", "Modality": "RTDOSE", "NumberOfFrames": len(stored),
            "Rows": stored.shape[1], "Columns": stored.shape[2], "PixelSpacing": [3.0, 2.0], "DoseUnits": "GY",
            "DoseGridScaling": "1.7e-8", "GridFrameOffsetVector": OFFSETS[: len(stored)], "RescaleSlope": None,
            "RescaleIntercept": None, "FrameOfReferenceUID": "1.2.3.4.6", "SliceThickness": None,
        }  # fmt: skip
        path = write_slice(tmp_path / "dose.dcm", stored, FIRST, **(values | elements))
        if edit is not None:
            dataset = pydicom.dcmread(path)
            edit(dataset)
            dataset.save_as(path)
        (study,) = scan_paths(CTX, [path])
        (series,) = study.series
        assert series.kind == "rtdose"
        assert series.volume
        return open_series(CTX, series, decode_worker)

    return make


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_G26_doses_are_in_gray_on_their_own_grid(dose, dtype, syntax) -> None:
    stored = doses(dtype)
    volume = dose(stored, syntax=syntax)
    assert (volume.unit, volume.modality, volume.array.dtype) == ("Gy", "RTDOSE", np.float32)
    assert not volume.warnings
    np.testing.assert_allclose(volume.array, stored * 1.7e-8, rtol=1e-6)
    assert volume.geometry.size == (7, 5, 4)
    assert volume.geometry.spacing == pytest.approx((2.0, 3.0, 2.5))
    np.testing.assert_allclose(volume.geometry.index_to_lps((6, 4, 3)), (-38.0, 42.0, -112.5))
    assert volume.series.frame_of_reference_uid == "1.2.3.4.6"
    highest = float(volume.array.max())
    assert volume.window == (highest / 2, highest)


def test_G26_compressed_doses_equal_their_source(dose) -> None:
    stored = doses(np.uint16)
    volume = dose(stored, edit=lambda dataset: dataset.compress(RLELossless, generate_instance_uid=False))
    np.testing.assert_allclose(volume.array, stored * 1.7e-8, rtol=1e-6)


def test_G26_offsets_may_be_places_in_the_patient(dose) -> None:
    twin = dose()
    volume = dose(GridFrameOffsetVector=[FIRST[2] + offset for offset in OFFSETS])
    assert volume.geometry == twin.geometry
    np.testing.assert_array_equal(volume.array, twin.array)


def test_G26_planes_go_by_their_places(dose) -> None:
    """Offsets that fall, and planes whose normal points to the feet."""
    stored = doses()
    volume = dose(stored, GridFrameOffsetVector=[-offset for offset in OFFSETS])
    np.testing.assert_allclose(volume.array, stored[::-1] * 1.7e-8, rtol=1e-6)
    np.testing.assert_allclose(volume.geometry.index_to_lps((0, 0, 3)), FIRST)
    down = {"ImageOrientationPatient": [1.0, 0, 0, 0, -1.0, 0]}
    relative = dose(stored, **down)
    np.testing.assert_allclose(relative.geometry.index_to_lps((0, 0, 3)), (FIRST[0], FIRST[1], FIRST[2] - 7.5))
    absolute = dose(stored, GridFrameOffsetVector=[FIRST[2] - offset for offset in OFFSETS], **down)
    assert absolute.geometry == relative.geometry
    np.testing.assert_array_equal(absolute.array, relative.array)


def test_G26_oblique_planes_follow_their_normal(dose) -> None:
    volume = dose(ImageOrientationPatient=[0.0, 1.0, 0, 0, 0, 1.0])
    np.testing.assert_allclose(volume.geometry.index_to_lps((0, 0, 3)), (FIRST[0] + 7.5, FIRST[1], FIRST[2]))


def test_G26_a_single_plane(dose) -> None:
    volume = dose(doses()[:1], NumberOfFrames=None, GridFrameOffsetVector=None)
    assert [w.code for w in volume.warnings] == ["W_SINGLE_SLICE"]
    assert volume.geometry.size == (7, 5, 1)


def test_G26_relative_doses_are_told(dose) -> None:
    volume = dose(DoseUnits="RELATIVE")
    assert volume.unit == ""
    assert [w.code for w in volume.warnings] == ["W_DOSE_UNIT"]


@pytest.mark.parametrize(
    ("elements", "code"),
    [
        ({"GridFrameOffsetVector": None}, "E_GEOMETRY"),
        ({"GridFrameOffsetVector": [0.0, 2.5, 5.0]}, "E_GEOMETRY"),
        ({"GridFrameOffsetVector": [1.0, 3.5, 6.0, 8.5]}, "E_GEOMETRY"),
        ({"GridFrameOffsetVector": [0.0, 2.5, 5.0, 9.5]}, "E_UNEVEN_SPACING"),
        ({"GridFrameOffsetVector": [0.0, 2.5, 2.5, 5.0]}, "E_UNEVEN_SPACING"),
        ({"DoseGridScaling": None}, "E_RESCALE"),
        ({"DoseGridScaling": "0"}, "E_RESCALE"),
        ({"ImageOrientationPatient": None}, "E_NO_POSITION"),
        ({"PixelSpacing": None}, "E_NO_SPACING"),
        ({"NumberOfFrames": 5, "GridFrameOffsetVector": [0.0, 1, 2, 3, 4]}, "E_PIXEL_LENGTH"),
    ],
)
def test_G26_what_is_no_grid_of_doses_is_refused(dose, elements, code) -> None:
    with pytest.raises(InputError) as refused:
        dose(**elements)
    assert refused.value.code == code
    assert refused.value.hint


def test_real_doses_equal_pydicom(shared_data, decode_worker) -> None:
    """Native in both byte orders and as RLE, one plane and several; one file with a broken number of frames."""
    studies = scan_paths(CTX, [shared_data / "dicom" / "odd_and_codecs_pydicom.zip"])
    found = {s.files[0].name: s for study in studies for s in study.series if s.kind == "rtdose"}
    with pytest.raises(InputError) as refused:
        open_series(CTX, found.pop("badVR.dcm"), decode_worker)
    assert refused.value.code == "E_DIMENSIONS"
    assert len(found) == 6
    for series in found.values():
        dataset = pydicom.dcmread(series.files[0])
        volume = open_series(CTX, series, decode_worker)
        wanted = dataset.pixel_array * float(dataset.DoseGridScaling)
        np.testing.assert_allclose(volume.array, wanted.reshape(volume.array.shape), rtol=1e-6)
        assert volume.geometry.spacing[:2] == (10.0, 10.0)
        np.testing.assert_allclose(volume.geometry.origin, dataset.ImagePositionPatient)
        last = volume.geometry.index_to_lps((0, 0, volume.geometry.size[2] - 1))
        assert last[2] == pytest.approx(-761.87 + (70.0 if volume.geometry.size[2] > 1 else 0.0))
