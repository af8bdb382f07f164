"""Slices of reconstructed nuclear medicine images: one position for the first, and how the others follow.

This is the one kind of image whose frames lie in the patient without a position of their own, because the standard says
how: the first slice has one in the DetectorInformationSequence, SliceVector numbers the slices, and the sign of
SpacingBetweenSlices says on which side of the first they lie.

References
----------
DICOM PS3.3 C.8.4.8 (NM Multi-frame), C.8.4.11 (NM Detector), C.8.4.15 (NM Reconstruction).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from medviewer.io.dicom_elements import decimal_string, read_elements
from medviewer.io.dicom_header import Header
from medviewer.io.dicom_tags import Tag

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_STORAGE: Final = "1.2.840.10008.5.1.4.1.1.20"
#: What counts the frames besides SliceVector, and the tag of single-frame images with the same meaning.
_VECTORS: Final = (
    ("TimeSlotVector", Tag.TEMPORAL_POSITION_IDENTIFIER),
    ("TimeSliceVector", Tag.TEMPORAL_POSITION_IDENTIFIER),
    ("PhaseVector", Tag.ACQUISITION_NUMBER),
    ("RRIntervalVector", Tag.STACK_ID),
    ("EnergyWindowVector", Tag.DIMENSION_INDEX_VALUES),
)
_WANTED: Final = ["DetectorInformationSequence", "SliceVector", "SpacingBetweenSlices", *(name for name, _ in _VECTORS)]
Values = dict[int, bytes]


def is_nuclear(header: Header) -> bool:
    """Whether a file is a multi-frame nuclear medicine image."""
    return header.sop_class_uid == _STORAGE and (header.frames or 0) > 1


def nuclear_frames(header: Header) -> list[Values] | None:
    """Return where each frame lies and what tells it from others there; None when they do not lie in the patient.

    Raises
    ------
    InputError
        ``E_DICOM`` when its sequences are broken.
    """
    dataset = read_elements(header.path, _WANTED)
    count = header.frames or 0
    numbers = _vector(dataset, "SliceVector", count)
    spacing = dataset.get("SpacingBetweenSlices")
    place = _place(dataset)
    if numbers is None or place is None or not isinstance(spacing, (int, float)) or not spacing:
        return None
    position, orientation = place
    # A positive spacing stacks the slices behind the first one.
    step = np.cross(orientation[:3], orientation[3:]) * float(spacing)
    others = [(tag, vector) for name, tag in _VECTORS if (vector := _vector(dataset, name, count)) is not None]
    frames: list[Values] = []
    for n, number in enumerate(numbers):
        own = {tag: str(vector[n]).encode() for tag, vector in others if len(set(vector)) > 1}
        frames.append(
            own
            | {
                Tag.IMAGE_POSITION_PATIENT: decimal_string(position + step * (number - numbers[0])),
                Tag.IMAGE_ORIENTATION_PATIENT: decimal_string(orientation),
            }
        )
    return frames


def _vector(dataset: Dataset, keyword: str, count: int) -> list[int] | None:
    value: Any = dataset.get(keyword)
    if value is None:
        return None
    numbers = [int(v) for v in (value if hasattr(value, "__len__") else [value])]
    return numbers if len(numbers) == count else None


def _place(dataset: Dataset) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
    """Return position (3,) and orientation (6,) of the first slice, when all detectors agree on them."""
    places = set()
    for detector in dataset.get("DetectorInformationSequence") or ():
        position, orientation = detector.get("ImagePositionPatient"), detector.get("ImageOrientationPatient")
        if not position or not orientation or len(position) != 3 or len(orientation) != 6:
            return None
        places.add((tuple(map(float, position)), tuple(map(float, orientation))))
    if len(places) != 1:
        return None
    ((position, orientation),) = places
    return np.array(position), np.array(orientation)
