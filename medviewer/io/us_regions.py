"""How large a pixel is inside the calibrated regions of an ultrasound picture.

References
----------
DICOM PS3.3 C.8.5.5 (US Region Calibration).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from medviewer.core.errors import InputError
from medviewer.io.dicom_elements import read_elements, refused
from medviewer.io.dicom_header import Header

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SEQUENCE: Final = "SequenceOfUltrasoundRegions"
#: RegionSpatialFormat of a 2-D picture, and PhysicalUnits of centimetres.
_2D: Final = 1
_CM: Final = 3


def region_spacing(headers: Sequence[Header]) -> tuple[float, float] | None:
    """Return mm along (i, j) where all 2-D regions in centimetres of all pictures have one; None where they differ."""
    found = [spacing for path in dict.fromkeys(header.path for header in headers) for spacing in _spacings(path)]
    if not found or not np.allclose(found, found[0], rtol=1e-3, atol=0):
        return None
    return found[0]


def _spacings(path: Path) -> list[tuple[float, float]]:
    """Return the pixel sizes, mm, of the 2-D regions of a file; empty when there is none that can be used."""
    try:
        with refused(path):
            dataset = read_elements(path, [_SEQUENCE])
            regions = [region for region in dataset.get(_SEQUENCE) or () if region.get("RegionSpatialFormat") == _2D]
            return [spacing for region in regions if (spacing := _spacing(region)) is not None]
    # Without a scale lengths are counted in pixels; the picture itself is not at stake.
    except InputError:
        return []


def _spacing(region: Dataset) -> tuple[float, float] | None:
    units = region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection")
    # A negative step only says in which direction a coordinate grows.
    steps = abs(float(region.get("PhysicalDeltaX") or 0)), abs(float(region.get("PhysicalDeltaY") or 0))
    if units != (_CM, _CM) or not all(np.isfinite(steps)) or min(steps) <= 0:
        return None
    return steps[0] * 10, steps[1] * 10
