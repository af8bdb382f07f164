"""Modality LUT: applied once, each slice with its own, as pydicom does it."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut

from medviewer.io.dicom_header import read_header
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.modality_lut import modality_lut
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext

CTX = NullContext()


def lut(first: int, values: list[int], bits: int = 16, kind: str = "HU") -> Dataset:
    table = Dataset()
    table.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(values), first, bits])
    table.add_new("LUTData", "US", values)
    table.ModalityLUTType = kind
    return table


def applied(path) -> np.ndarray:
    dataset = pydicom.dcmread(path)
    return apply_modality_lut(dataset.pixel_array, dataset)


@pytest.mark.parametrize(("dtype", "first"), [(np.uint16, 3), (np.uint16, 0), (np.int16, -5), (np.uint8, 2)])
def test_values_equal_pydicom_per_slice(tmp_path, make_series, dtype, first):
    paths = make_series(
        3, dtype=dtype, low=max(first, 0), high=40, RescaleSlope=None, RescaleIntercept=None,
        each=lambda n: {"ModalityLUTSequence": [lut(first, [7 * v * (n + 1) for v in range(30)])]},
    )  # fmt: skip
    (study,) = scan_paths(CTX, [tmp_path])
    volume = open_series(CTX, study.series[0])
    np.testing.assert_array_equal(volume.array, [applied(path) for path in paths])
    assert volume.unit == "HU"


def test_the_lut_takes_the_place_of_the_rescale(tmp_path, make_series):
    paths = make_series(2, dtype=np.uint16, high=20, ModalityLUTSequence=[lut(0, list(range(100, 120)))])
    (study,) = scan_paths(CTX, [tmp_path])
    np.testing.assert_array_equal(open_series(CTX, study.series[0]).array, [applied(path) for path in paths])


def test_an_empty_lut_sequence_is_none(tmp_path, make_series):
    (path,) = make_series(1, ModalityLUTSequence=[])
    assert modality_lut(read_header(path)) is None


def test_a_table_that_is_too_short_is_refused(tmp_path, make_series):
    table = lut(0, [1, 2, 3])
    table.LUTDescriptor = [30, 0, 16]
    make_series(2, dtype=np.uint16, ModalityLUTSequence=[table])
    (study,) = scan_paths(CTX, [tmp_path])
    (series,) = study.series
    assert series.refusal == "E_RESCALE"
    assert "Modality LUT" in series.warnings[0].text


def test_the_real_table_equals_pydicom(shared_data):
    studies = scan_paths(CTX, [shared_data / "dicom" / "odd_and_codecs_pydicom.zip"])
    paths = [p for study in studies for s in study.series for p in s.files if p.name == "mlut_18.dcm"]
    dataset = pydicom.dcmread(paths[0])
    table = modality_lut(read_header(paths[0]))
    assert table is not None
    np.testing.assert_array_equal(table(dataset.pixel_array), apply_modality_lut(dataset.pixel_array, dataset))
