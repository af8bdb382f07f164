"""Multi-frame objects that say their place in ways of their own: NM, tomosynthesis, ultrasound volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.sequence import Sequence
from pydicom.uid import BreastTomosynthesisImageStorage, EnhancedUSVolumeStorage, NuclearMedicineImageStorage

from medviewer.core.dicom_ref import SeriesRef
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from tests.dicom_makers import item, write_enhanced, write_slice

CTX = NullContext()
FRAMES = np.random.default_rng(4).integers(0, 900, (6, 8, 10)).astype(np.uint16)
FIRST = (-50.0, 20.0, 100.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


def write_nuclear(
    path: Path, *, places: int = 1, numbers: Any = range(1, 7), spacing: Any = 4.0, **elements: Any
) -> Path:
    """Write a reconstructed NM image: `places` detectors, of which the second lies elsewhere."""
    values = {
        "SOPClassUID": NuclearMedicineImageStorage, "Modality": "NM", "NumberOfFrames": len(FRAMES),
        "ImageType": ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"], "ImagePositionPatient": None,
        "ImageOrientationPatient": None, "RescaleIntercept": None, "RescaleSlope": None,
        "SpacingBetweenSlices": spacing,
    }  # fmt: skip
    write_slice(path, FRAMES[0], **(values | elements))
    dataset = pydicom.dcmread(path)
    dataset.PixelData = FRAMES.tobytes()
    dataset.DetectorInformationSequence = Sequence(
        item(ImagePositionPatient=[FIRST[0] + 9.0 * n, *FIRST[1:]], ImageOrientationPatient=list(CORONAL))
        for n in range(places)
    )
    if numbers is not None:
        dataset.SliceVector = list(numbers)
    dataset.save_as(path)
    return path


def only(path: Path) -> SeriesRef:
    (study,) = scan_paths(CTX, [path])
    (series,) = study.series
    return series


@pytest.mark.parametrize("spacing", [4.0, -4.0])
@pytest.mark.parametrize("numbers", [[1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1], [2, 1, 4, 3, 6, 5]])
def test_nuclear_slices_follow_the_first_by_number_and_sign(tmp_path: Path, spacing: float, numbers: list[int]) -> None:
    series = only(write_nuclear(tmp_path / "nm.dcm", spacing=spacing, numbers=numbers))
    volume = open_series(CTX, series)
    assert not volume.warnings
    normal = np.cross(CORONAL[:3], CORONAL[3:])
    for k, n in enumerate(series.frames):
        np.testing.assert_array_equal(volume.array[k], FRAMES[n])
        place = np.array(FIRST) + spacing * (numbers[n] - numbers[0]) * normal
        np.testing.assert_allclose(volume.geometry.index_to_lps((0, 0, k)), place, atol=1e-9)


def test_time_slots_of_a_gated_reconstruction_are_apart(tmp_path: Path) -> None:
    path = write_nuclear(tmp_path / "nm.dcm", numbers=[1, 2, 3, 1, 2, 3], TimeSlotVector=[1, 1, 1, 2, 2, 2])
    (study,) = scan_paths(CTX, [path])
    assert all(series.size == (10, 8, 3) for series in study.series)
    np.testing.assert_array_equal(open_series(CTX, study.series[0]).array, FRAMES[list(study.series[0].frames[:3])])


@pytest.mark.parametrize("changes", [
    {"spacing": None}, {"spacing": 0.0}, {"numbers": None}, {"numbers": [1, 2, 3]}, {"places": 0}, {"places": 2},
])  # fmt: skip
def test_nuclear_frames_that_do_not_say_enough_are_no_volume(tmp_path: Path, changes: dict[str, Any]) -> None:
    series = only(write_nuclear(tmp_path / "nm.dcm", **changes))
    assert series.stacking != "place" or not series.volume


def test_tomosynthesis_slices_lie_where_they_say(tmp_path: Path) -> None:
    orientation = {"PlaneOrientationSequence": {"ImageOrientationPatient": [0.0, -1.0, 0.0, 0.0, 0.0, -1.0]}}
    places = [(30.0 - n, 40.0, 50.0) for n in range(6)]
    path = write_enhanced(
        tmp_path / "dbt.dcm", FRAMES, places, SOPClassUID=BreastTomosynthesisImageStorage, Modality="MG",
        shared=orientation | {"XRay3DFrameTypeSequence": {"FrameType": ["DERIVED", "PRIMARY", "TOMOSYNTHESIS"]}},
    )  # fmt: skip
    series = only(path)
    volume = open_series(CTX, series)
    for k, n in enumerate(series.frames):
        np.testing.assert_allclose(volume.geometry.index_to_lps((0, 0, k)), places[n], atol=1e-9)
        np.testing.assert_array_equal(volume.array[k], FRAMES[n])


def in_the_probe(n: int) -> dict[str, Any]:
    return {"PlanePositionVolumeSequence": {"ImagePositionVolume": [1.0, 2.0, 1.5 * n]}}


PROBE = {"PlaneOrientationVolumeSequence": {"ImageOrientationVolume": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]}}


def test_an_ultrasound_volume_is_measured_but_has_no_sides(tmp_path: Path) -> None:
    path = write_enhanced(
        tmp_path / "us.dcm", FRAMES, [None] * 6, groups=in_the_probe, SOPClassUID=EnhancedUSVolumeStorage,
        Modality="US", shared={**PROBE, "PlaneOrientationSequence": None},
    )  # fmt: skip
    series = only(path)
    assert [w.code for w in series.warnings] == ["W_NOT_IN_PATIENT"]
    assert series.frame_of_reference_uid == ""
    volume = open_series(CTX, series)
    assert not volume.in_patient
    assert volume.in_mm
    assert volume.geometry.spacing == pytest.approx((0.75, 0.5, 1.5))
    assert volume.geometry.origin == (1.0, 2.0, 0.0)


def test_an_ultrasound_volume_with_a_place_in_the_patient_lies_there(tmp_path: Path) -> None:
    places = [(7.0, 8.0, 2.5 * n) for n in range(6)]
    path = write_enhanced(
        tmp_path / "us.dcm", FRAMES, places, groups=in_the_probe, SOPClassUID=EnhancedUSVolumeStorage, Modality="US",
        shared=PROBE,
    )  # fmt: skip
    volume = open_series(CTX, only(path))
    assert volume.in_patient
    assert not volume.warnings
    assert volume.geometry.origin == (7.0, 8.0, 0.0)
    assert volume.geometry.spacing[2] == pytest.approx(2.5)


@pytest.mark.parametrize("own", [False, True])
def test_G18_spacing_of_all_frames_or_of_each(tmp_path: Path, own: bool) -> None:
    """Spacing in the functional groups of the frames comes before the shared one."""
    measures = {"PixelMeasuresSequence": {"PixelSpacing": [1.25, 1.75], "SliceThickness": 1.0}}
    path = write_enhanced(
        tmp_path / "a.dcm", FRAMES, [(0.0, 0.0, 2.0 * n) for n in range(6)],
        groups=(lambda n: measures) if own else None, shared=None if own else measures,
    )  # fmt: skip
    assert open_series(CTX, only(path)).geometry.spacing == pytest.approx((1.75, 1.25, 2.0))


def test_G18_frames_of_two_spacings_are_two_stacks(tmp_path: Path) -> None:
    path = write_enhanced(
        tmp_path / "a.dcm", FRAMES, [(0.0, 0.0, 2.0 * n) for n in range(6)],
        groups=lambda n: {"PixelMeasuresSequence": {"PixelSpacing": [1.0 + n // 3, 1.0], "SliceThickness": 1.0}},
    )  # fmt: skip
    (study,) = scan_paths(CTX, [path])
    assert sorted(series.spacing[1] for series in study.series) == [1.0, 2.0]
    assert all({w.code for w in series.warnings} == {"W_SPLIT"} for series in study.series)


def test_G18_what_the_dimension_organisation_says_tells_frames_apart(tmp_path: Path) -> None:
    """Frames at one place that only differ in a dimension are apart; dimensions of place alone tell nothing apart."""
    dimensions = Sequence([
        item(DimensionIndexPointer=0x00209057, FunctionalGroupPointer=0x00209111),
        item(DimensionIndexPointer=0x00189087, FunctionalGroupPointer=0x00189117),
    ])  # fmt: skip
    path = write_enhanced(
        tmp_path / "a.dcm", FRAMES, [(0.0, 0.0, 2.0 * (n % 3)) for n in range(6)],
        groups=lambda n: {"FrameContentSequence": {"DimensionIndexValues": [n % 3 + 1, n // 3 + 1]}},
        DimensionIndexSequence=dimensions,
    )  # fmt: skip
    (study,) = scan_paths(CTX, [path])
    codes = {w.code for series in study.series for w in series.warnings}
    assert "W_AMBIGUOUS" not in codes
    assert all(series.size == (10, 8, 3) for series in study.series)
    np.testing.assert_array_equal(open_series(CTX, study.series[0]).array, FRAMES[:3])
