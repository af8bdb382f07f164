"""Softcopy presentation states: window, polarity, shutter and annotations for images. Runs in the decode worker.

References
----------
DICOM PS3.3 A.33, C.10.5 (Graphic Annotation), C.11.6 (Softcopy Presentation LUT), C.11.8 (Softcopy VOI LUT),
C.7.6.11 (Display Shutter).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from medviewer.imaging.shutter import Shutter
from medviewer.io.dicom_sr import dicom_time, extent, items_of, text_of
from medviewer.io.report import ImageRef, Mark, Report, ReportItem

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

#: Element -> what is told when a state has it, because it is not applied.
_NOT_APPLIED: Final = {
    "DisplayedAreaSelectionSequence": "the displayed area",
    "ModalityLUTSequence": "a modality LUT",
    "PresentationLUTSequence": "a presentation LUT",
    "PaletteColorLookupTableUID": "a palette",
    "RedPaletteColorLookupTableData": "a palette",
    "BlendingSequence": "a blend of two series",
    "MaskSubtractionSequence": "a mask subtraction",
}


@dataclass(frozen=True, slots=True)
class Presentation:
    """How images are to be shown.

    Attributes
    ----------
    images : tuple of ImageRef
        Which images.
    window : (center, width) or None
        Of the first VOI LUT item.
    inverted : bool
        PresentationLUTShape is INVERSE: low values are bright.
    shutter : Shutter or None
    report : Report
        The same in words, with the annotations as marks.
    """

    images: tuple[ImageRef, ...]
    window: tuple[float, float] | None
    inverted: bool
    shutter: Shutter | None
    report: Report


def read_presentation(dataset: Dataset, name: str) -> Presentation:
    """Return what a presentation state sets."""
    images = _images(dataset)
    window, several = _window(dataset)
    shutter = _shutter(dataset)
    inverted = text_of(dataset, "PresentationLUTShape") == "INVERSE"
    left_out = [what for keyword, what in _NOT_APPLIED.items() if _is_set(dataset, keyword)]
    left_out += ["several windows (the first was taken)"] if several else []
    left_out += _turned(dataset)
    warnings = (f"{name}: not applied: {', '.join(dict.fromkeys(left_out))}.",) if left_out else ()
    items = [ReportItem(0, "Images", str(len(images)), images[0] if images else None)]
    if window is not None:
        items.append(ReportItem(0, "Window", f"center {window[0]:g}, width {window[1]:g}"))
    items.append(ReportItem(0, "Polarity", "low values bright" if inverted else "low values dark"))
    items += [ReportItem(0, "Shutter", text_of(dataset, "ShutterShape").lower())] if shutter else []
    texts, marks = _annotations(dataset)
    title = text_of(dataset, "ContentDescription") or text_of(dataset, "ContentLabel") or name
    facts = tuple(
        fact
        for fact in (
            dicom_time(dataset, "PresentationCreationDate", "PresentationCreationTime"),
            text_of(dataset, "ContentCreatorName"),
        )
        if fact
    )
    report = Report(name, title, facts, (*items, *texts), marks, warnings, text_of(dataset, "PatientID"))
    return Presentation(images, window, inverted, shutter, report)


def _is_set(dataset: Dataset, keyword: str) -> bool:
    if keyword == "DisplayedAreaSelectionSequence":
        return any(_is_zoomed(item) for item in items_of(dataset, keyword))
    return keyword in dataset and dataset[keyword].value not in (None, "", [])


def _is_zoomed(area: Dataset) -> bool:
    """Whether a displayed area is more than "fit the whole image"."""
    return text_of(area, "PresentationSizeMode") != "SCALE TO FIT" or text_of(
        area, "DisplayedAreaTopLeftHandCorner"
    ) not in ("1, 1", "")


def _turned(dataset: Dataset) -> list[str]:
    turned = text_of(dataset, "ImageRotation") not in ("", "0")
    flipped = text_of(dataset, "ImageHorizontalFlip") == "Y"
    return ["a rotation or flip"] if turned or flipped else []


def _images(dataset: Dataset) -> tuple[ImageRef, ...]:
    found: list[ImageRef] = []
    for series in items_of(dataset, "ReferencedSeriesSequence"):
        uid = text_of(series, "SeriesInstanceUID")
        found += [reference for item in items_of(series, "ReferencedImageSequence") for reference in _refs(item, uid)]
    return tuple(found)


def _refs(item: Dataset, series_uid: str) -> list[ImageRef]:
    frames = [int(frame) for frame in text_of(item, "ReferencedFrameNumber").split(", ") if frame.isdigit()]
    uid = text_of(item, "ReferencedSOPInstanceUID")
    return [ImageRef(uid, frame, series_uid) for frame in frames or [1]] if uid else []


def _window(dataset: Dataset) -> tuple[tuple[float, float] | None, bool]:
    """Return the first window, and whether there are others."""
    found: list[tuple[float, float]] = []
    for item in items_of(dataset, "SoftcopyVOILUTSequence"):
        center = text_of(item, "WindowCenter").partition(",")[0]
        width = text_of(item, "WindowWidth").partition(",")[0]
        try:
            found.append((float(center), float(width)))
        except ValueError:
            continue
    found = [window for window in found if 0 < window[1] < 1e9 and abs(window[0]) < 1e9]
    return (found[0] if found else None), len(set(found)) > 1


def _numbers(dataset: Dataset, *keywords: str) -> list[float] | None:
    """Return the numbers of elements one after the other; None when one is absent or broken."""
    try:
        return [float(part) for keyword in keywords for part in text_of(dataset, keyword).split(",")]
    except ValueError:
        return None


def _shutter(dataset: Dataset) -> Shutter | None:
    """Return the shutter; its rows and columns are counted from 1."""
    shapes = text_of(dataset, "ShutterShape").split(", ")
    edges = _numbers(
        dataset, "ShutterLeftVerticalEdge", "ShutterRightVerticalEdge", "ShutterUpperHorizontalEdge",
        "ShutterLowerHorizontalEdge",
    )  # fmt: skip
    disc = _numbers(dataset, "CenterOfCircularShutter", "RadiusOfCircularShutter")
    corners = _numbers(dataset, "VerticesOfThePolygonalShutter")
    rectangle = circle = None
    polygon: tuple[tuple[float, float], ...] = ()
    if "RECTANGULAR" in shapes and edges is not None and len(edges) == 4:
        rectangle = (edges[0] - 1, edges[1] - 1, edges[2] - 1, edges[3] - 1)
    if "CIRCULAR" in shapes and disc is not None and len(disc) == 3:
        circle = (disc[1] - 1, disc[0] - 1, disc[2])
    if "POLYGONAL" in shapes and corners is not None and len(corners) >= 6:
        polygon = tuple((column - 1, row - 1) for row, column in zip(corners[::2], corners[1::2], strict=False))
    return Shutter(rectangle, circle, polygon) if rectangle or circle or polygon else None


def _annotations(dataset: Dataset) -> tuple[tuple[ReportItem, ...], tuple[Mark, ...]]:
    items: list[ReportItem] = []
    marks: list[Mark] = []
    whole = _images(dataset)
    for annotation in items_of(dataset, "GraphicAnnotationSequence"):
        own = [ref for item in items_of(annotation, "ReferencedImageSequence") for ref in _refs(item, "")]
        series = {ref.sop_instance_uid: ref.series_instance_uid for ref in whole}
        images = [ImageRef(r.sop_instance_uid, r.frame, series.get(r.sop_instance_uid, "")) for r in own] or whole
        for text in items_of(annotation, "TextObjectSequence"):
            words = text_of(text, "UnformattedTextValue")
            items.append(ReportItem(0, "Text", words, images[0] if images else None))
            marks += _marks(words, _text_place(text), images)
        for graphic in items_of(annotation, "GraphicObjectSequence"):
            kind = text_of(graphic, "GraphicType")
            items.append(ReportItem(0, "Drawing", kind.lower(), images[0] if images else None))
            if text_of(graphic, "GraphicAnnotationUnits") == "PIXEL":
                marks += _marks(kind.capitalize(), extent(kind, graphic.get("GraphicData"), 2), images)
    return tuple(items), tuple(marks)


def _text_place(text: Dataset) -> Any:
    """Return the box, or the anchor, of a text in pixels of the image."""
    if text_of(text, "BoundingBoxAnnotationUnits") == "PIXEL":
        corners = _numbers(text, "BoundingBoxTopLeftHandCorner", "BoundingBoxBottomRightHandCorner")
        return extent("POLYLINE", corners, 2)
    if text_of(text, "AnchorPointAnnotationUnits") == "PIXEL":
        return extent("POINT", _numbers(text, "AnchorPoint"), 2)
    return None


def _marks(label: str, box: Any, images: Any) -> list[Mark]:
    if box is None:
        return []
    # Pixels are counted from the corner of the first one, indices from its centre (C.10.5.1.2).
    lower, upper = (tuple(float(v) - 0.5 for v in corner) for corner in box)
    return [Mark(label, lower, upper, image) for image in images]
