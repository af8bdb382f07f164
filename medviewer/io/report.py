"""What a report, a list of key images or a presentation state says, as plain values for the window."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ImageRef:
    """An image, or a segment of a segmentation, that something refers to.

    Attributes
    ----------
    frame : int
        Counted from 1.
    series_instance_uid : str
        Empty where the object does not say it.
    """

    sop_instance_uid: str
    frame: int = 1
    series_instance_uid: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place that something points at: the corners of the smallest box around it.

    Attributes
    ----------
    lower, upper : (float, float) or (float, float, float)
        Continuous index (i, j) of `image`, or LPS mm in `frame_of_reference_uid`.
    """

    label: str
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    image: ImageRef | None = None
    frame_of_reference_uid: str = ""


@dataclass(frozen=True, slots=True)
class ReportItem:
    """A line of a report: its depth in the tree, a name, a value, and the image it refers to."""

    depth: int
    name: str
    value: str = ""
    image: ImageRef | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A document as lines in order.

    Attributes
    ----------
    title : str
    facts : tuple of str
        When, by whom, how final.
    items : tuple of ReportItem
    marks : tuple of Mark
    """

    file_name: str
    title: str
    facts: tuple[str, ...] = ()
    items: tuple[ReportItem, ...] = ()
    marks: tuple[Mark, ...] = ()
    warnings: tuple[str, ...] = ()
    patient_id: str = field(default="", repr=False)
