"""Reading a DICOM SEG back: once frame by frame from its bytes, once with highdicom."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medviewer.core.segmentation import Mask, Segment
from medviewer.export.case import Case
from medviewer.export.exporter import Check

if TYPE_CHECKING:
    from pydicom import Dataset

_TOLERANCE_MM = 0.01

Expected = Sequence[tuple[str, Segment, Mask]]


def check_seg(path: Path, case: Case, expected: Expected) -> list[Check]:
    """Compare a file with what should be in it: label, segment and mask (k, j, i) of segment number 1, 2, …"""
    import highdicom

    seg = highdicom.seg.segread(path)
    names = [str(item.SegmentLabel) for item in seg.SegmentSequence]
    codes = [
        (item.SegmentedPropertyCategoryCodeSequence[0].CodeValue, item.SegmentedPropertyTypeCodeSequence[0].CodeValue)
        for item in seg.SegmentSequence
    ]
    wanted = [(segment.category.code_value, segment.type.code_value) for _, segment, _ in expected]
    same = names == [name for name, _, _ in expected] and codes == wanted
    checks = [Check(f"{path.name}: names", same, f"{len(names)} segments")]
    found, error_mm = _frames(seg, case, len(expected))
    again = _by_source(seg, case, len(expected))
    for n, (name, _, mask) in enumerate(expected):
        different = max(int(np.count_nonzero(found[n] != mask)), int(np.count_nonzero(again[n] != mask)))
        detail = f"{different} of {mask.size} voxels differ, slices within {error_mm:.6f} mm"
        checks.append(Check(f"{path.name}: {name}", different == 0 and error_mm <= _TOLERANCE_MM, detail))
    return checks


def _frames(seg: Dataset, case: Case, count: int) -> tuple[list[Mask], float]:
    """Return the masks put together from the frames' own positions, and how far a slice lies off its place (mm)."""
    geometry = case.geometry
    masks = [np.zeros(geometry.shape, dtype=np.bool_) for _ in range(count)]
    rows, columns = int(seg.Rows), int(seg.Columns)
    frames = int(seg.NumberOfFrames)
    bits = np.unpackbits(np.frombuffer(seg.PixelData, dtype=np.uint8), bitorder="little")
    pixels = bits[: frames * rows * columns].reshape(frames, rows, columns).astype(np.bool_)
    error_mm = 0.0
    for pixel, own in zip(pixels, seg.PerFrameFunctionalGroupsSequence, strict=True):
        macro = partial(_macro, seg.SharedFunctionalGroupsSequence[0], own)
        orientation = np.array(macro("PlaneOrientation").ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
        row_mm, column_mm = (float(v) for v in macro("PixelMeasures").PixelSpacing)
        position = np.array(macro("PlanePosition").ImagePositionPatient, dtype=np.float64)
        corner = position + orientation[0] * column_mm * (columns - 1) + orientation[1] * row_mm * (rows - 1)
        k = int(np.floor(geometry.lps_to_index(position)[2] + 0.5))
        place = geometry.index_to_lps([(0, 0, k), (columns - 1, rows - 1, k)])
        error_mm = max(error_mm, float(np.abs(np.array([position, corner]) - place).max()))
        number = int(macro("SegmentIdentification").ReferencedSegmentNumber)
        masks[number - 1][k] |= pixel
    return masks, error_mm


def _macro(shared: Dataset, own: Dataset, name: str) -> Dataset:
    """Return a functional group of a frame; what is the same for all frames is stored once."""
    keyword = f"{name}Sequence"
    item: Dataset = (own if keyword in own else shared)[keyword].value[0]
    return item


def _by_source(seg: Dataset, case: Case, count: int) -> list[Mask]:
    """Return the masks as highdicom finds them by the source images they refer to."""
    import pydicom

    assert case.volume.series is not None
    uids = [
        str(pydicom.dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID) for path in case.volume.series.files
    ]
    masks: list[Mask] = []
    for number in range(1, count + 1):
        pixels = seg.get_pixels_by_source_instance(
            uids, segment_numbers=[number], ignore_spatial_locations=False, assert_missing_frames_are_empty=True
        )
        masks.append(pixels[..., 0].astype(np.bool_))
    return masks
