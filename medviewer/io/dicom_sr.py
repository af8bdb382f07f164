"""Structured reports and key object selections as lines of text, with the images and places they refer to.

Any document is read, whatever its template: TID 1500 measurement reports, basic text, CAD, key objects. Runs in the
decode worker.

References
----------
DICOM PS3.3 C.17.3 (SR document content), C.18 (content macros), PS3.16 TID 1500, TID 2010.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from medviewer.core.shown_text import person_name, shown
from medviewer.io.report import ImageRef, Mark, Report, ReportItem

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_DEEPEST: Final = 40
_LONGEST_LINE: Final = 20_000
_MOST_ITEMS: Final = 20_000
_TRACKING: Final = "112039"
_FINDING: Final = "121071"
_FLAGS: Final = ("CompletionFlag", "VerificationFlag", "PreliminaryFlag")


def read_report(dataset: Dataset, name: str) -> Report:
    """Return an SR document or a key object selection as text."""
    reader = _Reader(_series_of_images(dataset))
    reader.walk(dataset, 0, "")
    warnings: tuple[str, ...] = ()
    if reader.left_out:
        warnings = (f"{name} is not shown whole: it has more than {_MOST_ITEMS} lines or {_DEEPEST} levels.",)
    facts = [dicom_time(dataset, "ContentDate", "ContentTime")]
    facts += [text_of(dataset, keyword).capitalize() for keyword in _FLAGS]
    observers = items_of(dataset, "VerifyingObserverSequence")
    facts += [f"Verified by {person_name(text_of(observer, 'VerifyingObserverName'))}" for observer in observers]
    title = meaning(dataset, "ConceptNameCodeSequence") or text_of(dataset, "SeriesDescription") or name
    return Report(
        name,
        title,
        tuple(fact for fact in facts if fact),
        tuple(reader.items),
        tuple(reader.marks),
        warnings,
        text_of(dataset, "PatientID"),
    )


def items_of(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; none when it is absent or no sequence."""
    try:
        value = dataset.get(keyword)
        return [item for item in value or () if hasattr(item, "get")]
    # A broken element breaks pydicom in its own way; it is then not shown.
    except Exception:  # noqa: BLE001
        return []


def text_of(dataset: Dataset, keyword: str) -> str:
    """Return the value of an element as text that can be shown; empty when absent or broken."""
    from pydicom.multival import MultiValue

    try:
        value = dataset.get(keyword)
        if value is None or isinstance(value, bytes):
            return ""
        several = isinstance(value, MultiValue | list)
        text = ", ".join(str(part) for part in value) if several else str(value)
    except Exception:  # noqa: BLE001
        return ""
    return "\n".join(shown(line, _LONGEST_LINE) for line in text.strip(" \0\r\n\t").splitlines())


def meaning(dataset: Dataset, keyword: str) -> str:
    """Return the meaning of a code, or the code where it has none."""
    for code in items_of(dataset, keyword):
        for part in ("CodeMeaning", "CodeValue", "LongCodeValue", "URNCodeValue"):
            if text := text_of(code, part):
                return text
    return ""


def dicom_time(dataset: Dataset, date: str, time: str) -> str:
    """Return a date and time as people write it."""
    day, clock = text_of(dataset, date), text_of(dataset, time)
    if len(day) != 8 or not day.isdigit():
        return day
    written = f"{day[:4]}-{day[4:6]}-{day[6:]}"
    return f"{written} {clock[:2]}:{clock[2:4]}" if len(clock) >= 4 and clock[:4].isdigit() else written


def _series_of_images(dataset: Dataset) -> dict[str, str]:
    """Return SOPInstanceUID -> SeriesInstanceUID as the evidence sequences say."""
    found: dict[str, str] = {}
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in items_of(dataset, keyword):
            for series in items_of(study, "ReferencedSeriesSequence"):
                uid = text_of(series, "SeriesInstanceUID")
                images = items_of(series, "ReferencedSOPSequence")
                found |= {text_of(image, "ReferencedSOPInstanceUID"): uid for image in images}
    return found


class _Reader:
    """Goes through a content tree once."""

    def __init__(self, series: Mapping[str, str]) -> None:
        self._series = series
        self.items: list[ReportItem] = []
        self.marks: list[Mark] = []
        self.left_out = False

    def walk(self, parent: Dataset, depth: int, label: str) -> None:
        """Add the content of an item; `label` is what a place below it is called."""
        content = items_of(parent, "ContentSequence")
        own = _group_label(content)
        for item in content:
            if depth >= _DEEPEST or len(self.items) >= _MOST_ITEMS:
                self.left_out = True
                return
            kind = text_of(item, "ValueType")
            value = _value(item, kind)
            name = meaning(item, "ConceptNameCodeSequence") or kind.lower().replace("_", " ").capitalize()
            image = self._image(item)
            if kind in ("SCOORD", "SCOORD3D"):
                image = self._add_mark(item, kind, own or label or name) or image
            self.items.append(ReportItem(depth, name, value, image))
            below = f"{name} {value}" if kind == "NUM" else value if kind == "CODE" else ""
            self.walk(item, depth + 1, below or own or label)

    def _image(self, item: Dataset) -> ImageRef | None:
        for reference in items_of(item, "ReferencedSOPSequence"):
            uid = text_of(reference, "ReferencedSOPInstanceUID")
            frame = text_of(reference, "ReferencedFrameNumber").partition(",")[0]
            return ImageRef(uid, int(frame) if frame.isdigit() else 1, self._series.get(uid, "")) if uid else None
        return None

    def _add_mark(self, item: Dataset, kind: str, label: str) -> ImageRef | None:
        """Note a place; return the image that it lies on."""
        images = (self._image(other) for other in items_of(item, "ContentSequence"))
        image = next((found for found in images if found is not None), None)
        size = 2 if kind == "SCOORD" else 3
        box = extent(text_of(item, "GraphicType"), item.get("GraphicData"), size)
        frame = text_of(item, "ReferencedFrameOfReferenceUID")
        if box is not None and (frame if size == 3 else image):
            # Pixels are counted from the corner of the first one, indices from its centre (C.18.6.1.1).
            shift = 0.5 if size == 2 else 0.0
            lower, upper = (tuple(float(v) - shift for v in corner) for corner in box)
            self.marks.append(Mark(label, lower, upper, image if size == 2 else None, frame if size == 3 else ""))
        return image


def extent(kind: str, data: Any, size: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
    """Return the opposite corners of the box around a graphic; None when it is broken.

    Parameters
    ----------
    kind : str
        GraphicType of SCOORD (C.18.6.1.2), SCOORD3D (C.18.9.1.2) or of a presentation state (C.10.5.1.2).
    data : sequence of float
        Its points, one after the other.
    size : int
        2 or 3 coordinates a point.
    """
    try:
        points = np.array([float(v) for v in data], dtype=np.float64).reshape(-1, size)
    except (TypeError, ValueError):
        return None
    if not len(points) or not np.isfinite(points).all():
        return None
    reach = None
    if kind == "CIRCLE" and len(points) == 2:
        center, reach = points[0], np.full(size, np.linalg.norm(points[1] - points[0]))
    elif kind in ("ELLIPSE", "ELLIPSOID") and len(points) in (4, 6):
        center, halves = points.mean(axis=0), (points[1::2] - points[::2]) / 2
        reach = np.sqrt((halves**2).sum(axis=0))
    if reach is not None:
        return center - reach, center + reach
    return points.min(axis=0), points.max(axis=0)


def _group_label(content: list[Dataset]) -> str:
    """Return what a measurement group is about: its finding and its tracking identifier."""
    found: dict[str, str] = {}
    for item in content:
        for code in items_of(item, "ConceptNameCodeSequence"):
            found.setdefault(text_of(code, "CodeValue"), _value(item, text_of(item, "ValueType")))
    return " ".join(text for text in (found.get(_FINDING, ""), found.get(_TRACKING, "")) if text)


def _value(item: Dataset, kind: str) -> str:
    """Return what a content item says."""
    if reference := text_of(item, "ReferencedContentItemIdentifier"):
        return f"see item {reference.replace(', ', '.')}"
    if kind == "NUM":
        return _number(item)
    if kind == "CODE":
        return meaning(item, "ConceptCodeSequence")
    if kind in ("IMAGE", "COMPOSITE", "WAVEFORM"):
        return _referenced(item)
    if kind in ("SCOORD", "SCOORD3D"):
        points = len(item.get("GraphicData") or ()) // (2 if kind == "SCOORD" else 3)
        return f"{text_of(item, 'GraphicType').lower()}, {points} point{'' if points == 1 else 's'}"
    if kind == "PNAME":
        return person_name(text_of(item, "PersonName"))
    plain = {"TEXT": "TextValue", "DATE": "Date", "TIME": "Time", "DATETIME": "DateTime",
             "UIDREF": "UID", "TCOORD": "TemporalRangeType"}  # fmt: skip
    return text_of(item, plain[kind]) if kind in plain else ""


def _number(item: Dataset) -> str:
    for measured in items_of(item, "MeasuredValueSequence"):
        number = text_of(measured, "NumericValue")
        units = items_of(measured, "MeasurementUnitsCodeSequence")
        code = text_of(units[0], "CodeValue") if units else ""
        # UCUM's "1", annotations in braces and arbitrary units in brackets are nothing that people write.
        unit = meaning(measured, "MeasurementUnitsCodeSequence") if code.startswith(("{", "[")) else code
        return f"{number} {unit if unit != '1' else ''}".strip()
    return meaning(item, "NumericValueQualifierCodeSequence") or "no value"


def _referenced(item: Dataset) -> str:
    from pydicom.uid import UID

    for reference in items_of(item, "ReferencedSOPSequence"):
        kind = UID(text_of(reference, "ReferencedSOPClassUID")).name.removesuffix(" Storage")
        frames = text_of(reference, "ReferencedFrameNumber")
        segments = text_of(reference, "ReferencedSegmentNumber")
        parts = [kind, f"frame {frames}" if frames else "", f"segment {segments}" if segments else ""]
        return ", ".join(part for part in parts if part)
    return ""
