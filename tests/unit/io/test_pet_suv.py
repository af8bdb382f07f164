"""PET values as uptake values: every case against a computation of its own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_rescale
from pydicom.sequence import Sequence as DicomSequence

from medviewer.app.documents import load_workspace, save_workspace
from medviewer.core.suv import BQML, SUV_BSA, SUV_BW, SUV_LBM
from medviewer.core.workspace import Workspace
from medviewer.imaging.units import volume_in_unit
from medviewer.io.decode_worker import new_decode_worker
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from tests.dicom_makers import item

CTX = NullContext()
F18_S = 6586.2
DOSE_BQ = 3.7e8
WEIGHT_KG, SIZE_M = 80.0, 1.8


def tracer(**values: Any) -> DicomSequence:
    known = {
        "RadionuclideTotalDose": DOSE_BQ, "RadionuclideHalfLife": F18_S, "RadiopharmaceuticalStartTime": "100000.00",
    }  # fmt: skip
    return DicomSequence([item(**{k: v for k, v in (known | values).items() if v is not None})])


@pytest.fixture
def pet(make_series, tmp_path):
    """Write a PET series of 3 slices and open it; keywords are elements, None removes one."""

    def make(**elements: Any):
        values = {
            "Modality": "PT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.128", "Units": "BQML", "DecayCorrection": "START",
            "CorrectedImage": ["DECY", "ATTN", "SCAT"], "PatientWeight": WEIGHT_KG, "PatientSize": SIZE_M,
            "PatientSex": "F", "SeriesDate": "20260102", "SeriesTime": "110000", "AcquisitionDate": "20260102",
            "AcquisitionTime": "110000", "RescaleIntercept": 0, "RescaleSlope": 2.5,
            "RadiopharmaceuticalInformationSequence": tracer(),
        }  # fmt: skip
        make_series(3, dtype=np.uint16, high=30000, **(values | elements))
        (study,) = scan_paths(CTX, [tmp_path / "series"])
        return open_series(CTX, study.series[0])

    return make


def stored(volume, unit_value: float = 1.0) -> np.ndarray:
    """Return what pydicom reads, in the order of the slices, times a factor."""
    datasets = [pydicom.dcmread(path) for path in volume.series.files]
    return np.array([apply_rescale(d.pixel_array, d) * unit_value for d in datasets])


def bw_factor(seconds: float, dose: float = DOSE_BQ) -> float:
    return WEIGHT_KG * 1000 / (dose * math.exp(-math.log(2) * seconds / F18_S))


def close(volume, factor: float) -> None:
    assert volume.unit == SUV_BW
    np.testing.assert_allclose(volume.array, stored(volume, factor), rtol=2e-7)


def test_G21_bqml_corrected_to_the_start_of_the_scan(pet) -> None:
    volume = pet(WindowCenter=5000, WindowWidth=10000)
    close(volume, bw_factor(3600))
    assert not volume.warnings
    assert volume.window == pytest.approx((5000 * bw_factor(3600), 10000 * bw_factor(3600)))


def test_G21_every_slice_keeps_its_own_slope(pet, make_series, tmp_path) -> None:
    pet()
    for n, path in enumerate(sorted((tmp_path / "series").iterdir())):
        dataset = pydicom.dcmread(path)
        dataset.RescaleSlope = 0.5 + n
        dataset.save_as(path)
    (study,) = scan_paths(CTX, [tmp_path / "series"])
    firsts = []
    volume = open_series(CTX, study.series[0], on_first=lambda v: firsts.append((v.unit, v.array[1].copy())))
    close(volume, bw_factor(3600))
    assert firsts[0][0] == SUV_BW
    np.testing.assert_array_equal(firsts[0][1], volume.array[1])


def test_G21_the_other_units(pet) -> None:
    volume = pet()
    assert volume.suv.units == (SUV_BW, SUV_LBM, SUV_BSA, BQML)
    np.testing.assert_allclose(volume_in_unit(volume, BQML).array, stored(volume), rtol=1e-6)
    bmi = 80 / 1.8**2
    lean_kg = 9270 * 80 / (8780 + 244 * bmi)
    np.testing.assert_allclose(
        volume_in_unit(volume, SUV_LBM).array, volume.array * lean_kg / WEIGHT_KG, rtol=1e-6, atol=1e-9
    )
    surface_cm2 = 71.84 * 80**0.425 * 180**0.725
    np.testing.assert_allclose(
        volume_in_unit(volume, SUV_BSA).array, volume.array * surface_cm2 / 80_000, rtol=1e-5, atol=1e-9
    )


def test_G21_corrected_to_the_injection(pet) -> None:
    volume = pet(DecayCorrection="ADMIN", RadiopharmaceuticalInformationSequence=tracer(RadionuclideHalfLife=None))
    close(volume, WEIGHT_KG * 1000 / DOSE_BQ)


def test_G21_injected_before_midnight(pet) -> None:
    late = tracer(RadiopharmaceuticalStartTime="233000")
    volume = pet(RadiopharmaceuticalInformationSequence=late, SeriesTime="003000.5", AcquisitionTime="003000.5")
    close(volume, bw_factor(3600.5))


@pytest.mark.parametrize("text", ["20260102101500.000000", "20260102101500+0100"])
def test_G21_the_date_and_time_of_injection_come_first(pet, text) -> None:
    dated = tracer(RadiopharmaceuticalStartDateTime=text, RadiopharmaceuticalStartTime="080000")
    close(pet(RadiopharmaceuticalInformationSequence=dated), bw_factor(2700))


def test_G21_a_date_after_the_scan_is_told(pet) -> None:
    dated = tracer(RadiopharmaceuticalStartDateTime="20260103101500", RadiopharmaceuticalStartTime="101500")
    volume = pet(RadiopharmaceuticalInformationSequence=dated)
    close(volume, bw_factor(2700))
    assert [w.code for w in volume.warnings] == ["W_SUV_TIME"]


def test_G21_a_series_written_after_the_scan(pet) -> None:
    """SeriesTime is no time of a scan then: the first acquisition is, or what the frame reference time says."""
    close(pet(SeriesTime="150000"), bw_factor(3600))
    decay = math.log(2) / F18_S
    during = decay * 240
    mean_s = math.log(during / (1 - math.exp(-during))) / decay
    volume = pet(SeriesTime="150000", FrameReferenceTime=600_000, ActualFrameDuration=240_000)
    close(volume, bw_factor(3600 - 600 + mean_s))


def test_G21_the_scan_time_of_ge(pet, tmp_path) -> None:
    def with_ge(dataset: Dataset) -> None:
        dataset.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", "20260102104500.00")

    volume = _edited(pet, tmp_path, with_ge, SeriesTime="150000")
    close(volume, bw_factor(2700))


def _edited(pet, tmp_path, edit, **elements: Any):
    pet(**elements)
    for path in (tmp_path / "series").iterdir():
        dataset = pydicom.dcmread(path)
        edit(dataset)
        dataset.save_as(path)
    (study,) = scan_paths(CTX, [tmp_path / "series"])
    return open_series(CTX, study.series[0])


def test_G21_philips_counts(pet, tmp_path) -> None:
    def philips(**factors: str):
        def edit(dataset: Dataset) -> None:
            block = dataset.private_block(0x7053, "Philips PET Private Group", create=True)
            for element, value in factors.items():
                block.add_new(int(element[1:], 16), "DS", value)

        return edit

    volume = _edited(pet, tmp_path, philips(x00="0.00042", x09="1.5"), Units="CNTS")
    close(volume, 0.00042)
    np.testing.assert_allclose(volume_in_unit(volume, BQML).array, stored(volume, 1.5), rtol=1e-6)
    close(_edited(pet, tmp_path, philips(x00="0", x09="1.5"), Units="CNTS"), 1.5 * bw_factor(3600))
    volume = pet(Units="CNTS")
    assert volume.unit == "counts"
    assert "counts without a factor" in volume.warnings[0].text


def test_G21_values_that_are_suv_already(pet) -> None:
    close(pet(Units="GML", SUVType="BW"), 1.0)
    volume = pet(Units="GML", SUVType=None, RadiopharmaceuticalInformationSequence=None)
    close(volume, 1.0)
    assert volume.suv.units == (SUV_BW, SUV_LBM, SUV_BSA)
    assert volume.suv.missing == {BQML: "the dose is missing"}
    lean_kg = 9270 * 80 / (8780 + 244 * 80 / 1.8**2)
    close(pet(Units="GML", SUVType="LBMJANMA"), WEIGHT_KG / lean_kg)
    volume = pet(Units="GML", SUVType="LBM")
    assert volume.unit == "SUV (LBM)"
    assert [w.code for w in volume.warnings] == ["W_NO_SUV"]


@pytest.mark.parametrize(
    ("elements", "named"),
    [
        ({"PatientWeight": None}, "PatientWeight is missing"),
        ({"PatientWeight": 8000}, "PatientWeight is 8000"),
        ({"CorrectedImage": ["DECY"]}, "attenuation"),
        ({"DecayCorrection": "NONE"}, "DecayCorrection is NONE"),
        ({"DecayCorrection": None}, "DecayCorrection is missing"),
        ({"RadiopharmaceuticalInformationSequence": None}, "the dose is missing"),
        ({"RadiopharmaceuticalInformationSequence": tracer(RadionuclideTotalDose=None)}, "RadionuclideTotalDose is m"),
        ({"RadiopharmaceuticalInformationSequence": tracer(RadionuclideTotalDose=370)}, "370 Bq"),
        ({"RadiopharmaceuticalInformationSequence": tracer(RadionuclideHalfLife=None)}, "RadionuclideHalfLife"),
        ({"RadiopharmaceuticalInformationSequence": tracer(RadiopharmaceuticalStartTime=None)}, "time of the injec"),
        ({"RadiopharmaceuticalInformationSequence": tracer(RadionuclideHalfLife=282_000)}, "day of the injection"),
        ({"RadiopharmaceuticalInformationSequence": DicomSequence([*tracer(), *tracer()])}, "2 radiopharm"),
        ({"SeriesTime": None, "AcquisitionTime": None}, "time of the scan"),
        ({"Units": None}, "Units is missing"),
    ],
)
def test_G21_what_is_missing_is_named(pet, elements, named) -> None:
    volume = pet(**elements)
    (warning,) = volume.warnings
    assert warning.code == "W_NO_SUV"
    assert named in warning.text
    assert volume.unit == (BQML if "Units" not in elements else "")
    np.testing.assert_allclose(volume.array, stored(volume), rtol=1e-6)


def test_G21_a_broken_value_is_none(pet, tmp_path) -> None:
    def broken(dataset: Dataset) -> None:
        dataset.add_new("PatientWeight", "LO", "heavy")
        dataset.add_new("RadiopharmaceuticalInformationSequence", "LO", "none")

    volume = _edited(pet, tmp_path, broken)
    assert volume.suv.missing[SUV_BW] == "PatientWeight is missing"
    volume = pet(SeriesTime="150000", FrameReferenceTime=1e300, ActualFrameDuration=1e12)
    assert "FrameReferenceTime" in volume.suv.missing[SUV_BW]


def test_G21_lean_and_surface_name_what_they_lack(pet) -> None:
    missing = pet(PatientSize=None, PatientSex="O").suv.missing
    assert missing == {SUV_LBM: "PatientSize is missing", SUV_BSA: "PatientSize is missing"}
    assert pet(PatientSex="O").suv.missing == {SUV_LBM: "PatientSex is O"}
    assert "174 m" in pet(PatientSize=174).suv.missing[SUV_BSA]


def test_G21_slices_in_different_units_are_refused(pet, tmp_path) -> None:
    pet()
    path = sorted((tmp_path / "series").iterdir())[1]
    dataset = pydicom.dcmread(path)
    dataset.Units = "GML"
    dataset.save_as(path)
    (study,) = scan_paths(CTX, [tmp_path / "series"])
    with pytest.raises(Exception, match="different units") as refused:
        open_series(CTX, study.series[0])
    assert refused.value.code == "E_PET_UNITS"


def test_a_saved_workspace_opens_in_its_unit(pet, tmp_path) -> None:
    workspace = Workspace()
    workspace.add_volume(volume_in_unit(pet(), SUV_LBM))
    save_workspace(tmp_path / "a.mvw", workspace, {})
    (volume,) = load_workspace(CTX, tmp_path / "a.mvw").volumes
    assert volume.unit == SUV_LBM
    np.testing.assert_array_equal(volume.array, workspace.volumes[0].array)


def test_a_real_pet_equals_its_nifti_and_pydicom(shared_data) -> None:
    """IBSI's STS_002: stored as SUVbw, every slice with a slope of its own."""
    sitk = pytest.importorskip("SimpleITK")
    studies = scan_paths(CTX, [shared_data / "dicom" / "sts002_ct_mr_pet_rtstruct.zip"])
    (series,) = [s for study in studies for s in study.series if s.modality == "PT"]
    worker = new_decode_worker()
    volume = open_series(CTX, series, worker)
    worker.close()
    close(volume, 1.0)
    reference = sitk.GetArrayFromImage(sitk.ReadImage(str(shared_data / "nifti" / "sts002" / "PET_image.nii.gz")))
    np.testing.assert_allclose(volume.array, reference, atol=1e-5)
    assert 20 < volume.array.max() < 25
    # The dose, 433 MBq into 99 kg; DecayCorrection is ADMIN.
    np.testing.assert_allclose(volume_in_unit(volume, BQML).array, reference * 433_344_096 / 99_000, rtol=1e-5)
