"""Reading a DICOM SEG back: once frame by frame from its bytes, once with highdicom."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medviewer.core.geometry import Points
from medviewer.core.segmentation import Mask, Segment
from medviewer.core.terminology import TERMS
from medviewer.export.case import Case
from medviewer.export.exporter import Check
from medviewer.export.seg_frames import frame_facts

if TYPE_CHECKING:
    import highdicom
    from pydicom import Dataset

_TOLERANCE_MM = 0.01
_WHERE = ["SOPInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"]

Expected = Sequence[tuple[str, Segment, Mask]]


def check_seg(path: Path, case: Case, expected: Expected) -> list[Check]:
    """Compare a file with what should be in it.

    Parameters
    ----------
    expected : sequence of (label, segment, mask)
        Of segment number 1, 2, …; the mask (n, j, i) has one slice for each original file of the case's series.
    """
    import highdicom

    sources = _sources(case)

    seg = highdicom.seg.segread(path)
    names = [str(item.SegmentLabel) for item in seg.SegmentSequence]
    same = names == [name for name, _, _ in expected] and all(
        _codes(item) == _wanted(segment) for item, (_, segment, _) in zip(seg.SegmentSequence, expected, strict=True)
    )
    checks = [Check(f"{path.name}: names", same, f"{len(names)} segments")]
    found, error_mm = _frames(seg, sources, len(expected))
    again = _by_source(seg, sources, case, len(expected))
    for n, (name, _, mask) in enumerate(expected):
        different = max(int(np.count_nonzero(found[n] != mask)), int(np.count_nonzero(again[n] != mask)))
        detail = f"{different} of {mask.size} voxels differ, slices within {error_mm:.6f} mm"
        checks.append(Check(f"{path.name}: {name}", different == 0 and error_mm <= _TOLERANCE_MM, detail))
    return checks


def _codes(item: Dataset) -> tuple[str, ...]:
    """Return the values of all codes of a segment in the order of `TERMS`, empty where there is none."""

    def inside(outer: Dataset | None, keyword: str) -> Dataset | None:
        items = outer.get(f"{keyword}Sequence") if outer is not None else None
        return items[0] if items else None

    kind, region = inside(item, "SegmentedPropertyTypeCode"), inside(item, "AnatomicRegion")
    modifier, place = inside(kind, "SegmentedPropertyTypeModifierCode"), inside(region, "AnatomicRegionModifier")
    found = (inside(item, "SegmentedPropertyCategoryCode"), kind, modifier, region, place)
    values = ("CodeValue", "LongCodeValue", "URNCodeValue")
    return tuple("" if code is None else next(str(code[v].value) for v in values if v in code) for code in found)


def _wanted(segment: Segment) -> tuple[str, ...]:
    terms = {name: getattr(segment, name) for name in TERMS}
    if segment.region is None:
        terms["region_modifier"] = None
    return tuple("" if term is None else term.code_value for term in terms.values())


def _sources(case: Case) -> list[Dataset]:
    """Return what the original files, or the frames of the one file, say about themselves."""
    import pydicom

    series = case.series
    assert series is not None
    if series.frames:
        dataset = pydicom.dcmread(series.files[0], stop_before_pixels=True, force=True)
        return [frame_facts(dataset, frame) for frame in series.frames]
    return [pydicom.dcmread(path, specific_tags=_WHERE, force=True) for path in series.files]


def _frames(seg: Dataset, sources: Sequence[Dataset], count: int) -> tuple[list[Mask], float]:
    """Return the masks put together from the frames' own positions, and how far a frame lies off its slice (mm)."""
    rows, columns = int(seg.Rows), int(seg.Columns)
    masks = [np.zeros((len(sources), rows, columns), dtype=np.bool_) for _ in range(count)]
    places = np.array([_ends(s, s, s, rows, columns) for s in sources])
    frames = int(seg.NumberOfFrames)
    bits = np.unpackbits(np.frombuffer(seg.PixelData, dtype=np.uint8), bitorder="little")
    pixels = bits[: frames * rows * columns].reshape(frames, rows, columns).astype(np.bool_)
    error_mm = 0.0
    for pixel, own in zip(pixels, seg.PerFrameFunctionalGroupsSequence, strict=True):
        macro = partial(_macro, seg.SharedFunctionalGroupsSequence[0], own)
        ends = _ends(macro("PlanePosition"), macro("PlaneOrientation"), macro("PixelMeasures"), rows, columns)
        apart = np.abs(places - ends).max(axis=(1, 2))
        nearest = int(apart.argmin())
        error_mm = max(error_mm, float(apart[nearest]))
        number = int(macro("SegmentIdentification").ReferencedSegmentNumber)
        masks[number - 1][nearest] |= pixel
    return masks, error_mm


def _ends(position: Dataset, orientation: Dataset, measures: Dataset, rows: int, columns: int) -> Points:
    """Return LPS mm of the first and the last pixel of a slice, shape (2, 3)."""
    first = np.array(position.ImagePositionPatient, dtype=np.float64)
    row, column = np.array(orientation.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    row_mm, column_mm = (float(v) for v in measures.PixelSpacing)
    return np.array([first, first + row * column_mm * (columns - 1) + column * row_mm * (rows - 1)])


def _macro(shared: Dataset, own: Dataset, name: str) -> Dataset:
    """Return a functional group of a frame; what is the same for all frames is stored once."""
    keyword = f"{name}Sequence"
    item: Dataset = (own if keyword in own else shared)[keyword].value[0]
    return item


def _by_source(seg: highdicom.seg.Segmentation, sources: Sequence[Dataset], case: Case, count: int) -> list[Mask]:
    """Return the masks as highdicom finds them by the source images, or frames of one, that they refer to."""
    uids = [str(source.SOPInstanceUID) for source in sources]
    frames = [frame + 1 for frame in case.series.frames] if case.series is not None else []
    masks: list[Mask] = []
    for number in range(1, count + 1):
        how: dict[str, Any] = {
            "segment_numbers": [number],
            "ignore_spatial_locations": False,
            "assert_missing_frames_are_empty": True,
        }
        if frames:
            pixels = seg.get_pixels_by_source_frame(uids[0], frames, **how)
        else:
            pixels = seg.get_pixels_by_source_instance(uids, **how)
        masks.append(pixels[..., 0].astype(np.bool_))
    return masks
