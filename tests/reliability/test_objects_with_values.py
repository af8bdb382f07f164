"""G21, G26: spoiled PET, doses and parametric maps have an outcome like any file; none raises, none hangs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from tests.dicom_makers import pixels, write_dose, write_enhanced, write_slice
from tests.dicom_mutators import mutants, planted

PARAMETRIC_MAP = "1.2.840.10008.5.1.4.1.1.30"


def pet(path: Path) -> Path:
    tracer = Dataset()
    tracer.RadionuclideTotalDose, tracer.RadionuclideHalfLife = 3.7e8, 6586.2
    tracer.RadiopharmaceuticalStartTime = "100000"
    return write_slice(
        path, pixels(1, np.uint16), Modality="PT", SOPClassUID="1.2.840.10008.5.1.4.1.1.128", Units="BQML",
        DecayCorrection="START", CorrectedImage=["DECY", "ATTN"], PatientWeight=80, PatientSize=1.8, PatientSex="F",
        SeriesDate="20260102", SeriesTime="110000", AcquisitionDate="20260102", AcquisitionTime="110000",
        RadiopharmaceuticalInformationSequence=DicomSequence([tracer]), FrameReferenceTime=1000,
        ActualFrameDuration=2000,
    )  # fmt: skip


def parametric_map(path: Path) -> Path:
    unit = {"CodeValue": "mm2/s", "CodingSchemeDesignator": "UCUM", "CodeMeaning": "mm2/s"}
    mapping: dict[str, Any] = {
        "RealWorldValueMappingSequence": {
            "RealWorldValueSlope": 0.5, "RealWorldValueIntercept": 1.0, "MeasurementUnitsCodeSequence": unit
        }
    }  # fmt: skip
    stored = np.arange(3 * 5 * 7, dtype=np.uint16).reshape(3, 5, 7)
    return write_enhanced(
        path, stored, [(0.0, 0.0, 2.0 * n) for n in range(3)], shared=mapping, SOPClassUID=PARAMETRIC_MAP, Modality="OT"
    )


@pytest.mark.parametrize("write", [pet, write_dose, parametric_map])
def test_G26_every_spoiled_object_has_an_outcome(all_outcomes, tmp_path, write):
    good = write(tmp_path / "good.dcm")
    (found,) = all_outcomes(good)
    assert found.state != "REFUSED", str(found)
    for n, spoiled in enumerate(mutants(good.read_bytes(), 100, seed=99)):
        codes = {
            code for part in all_outcomes(planted(tmp_path / str(n), "spoiled.dcm", spoiled)) for code in part.codes
        }
        # That would be an error of ours, and no reason to fetch the file again.
        assert not codes & {"E_TASK", "E_ERROR", "E_WORKER_DIED"}
