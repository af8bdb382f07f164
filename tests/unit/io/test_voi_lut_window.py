"""The window over the values that a VOI LUT maps."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medviewer.io.dicom_header import read_header
from medviewer.io.dicom_window import display_window
from medviewer.io.pixel_format import pixel_format
from tests.dicom_makers import SHAPE, write_slice


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize(("dtype", "first", "center"), [(np.int16, -1024, -896.0), (np.uint16, 64000, 64128.0)])
def test_the_first_value_has_the_sign_of_what_is_mapped(tmp_path, syntax, dtype, first, center):
    table = Dataset()
    table.add_new("LUTDescriptor", "SS" if first < 0 else "US", [256, first, 16])
    table.add_new("LUTData", "US", list(range(256)))
    path = write_slice(
        tmp_path / "a.dcm", np.zeros(SHAPE, dtype), syntax=syntax, RescaleIntercept=0, VOILUTSequence=Sequence([table])
    )
    header = read_header(path)
    window, (warning,) = display_window(header, pixel_format(header))
    assert window == (center, 256.0)
    assert warning.code == "W_WINDOW"
