"""Stacks on one grid that differ by time point, echo, b-value and the like: one volume with a time axis.

What is another kind of picture (image type, kernel, unit) is never a point of an axis; it stays a volume of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from medviewer.io.dicom_header import Header
from medviewer.io.dicom_slices import Apart, Part
from medviewer.io.dicom_tags import Tag

#: Points whose corners differ by less than this, mm, lie on one grid.
_SAME_MM: Final = 0.01
#: What makes another kind of picture.
_CONTENT: Final = (Tag.IMAGE_TYPE, Tag.CONVOLUTION_KERNEL, Tag.RESCALE_TYPE, Tag.UNITS, Tag.MODALITY)


def _plain(name: str, unit: str = "") -> Callable[[str], str]:
    return lambda value: f"{name} {_short_number(value)}{unit}"


def _short_number(value: str) -> str:
    try:
        return f"{float(value):.7g}"
    except ValueError:
        return value


def _seconds(value: str) -> str:
    try:
        return f"t = {float(value) / 1000.0:.4g} s"
    except ValueError:
        return f"t = {value}"


def _direction(value: str) -> str:
    try:
        parts = [f"{float(part):.2f}" for part in value.split("/")]
    except ValueError:
        parts = []
    return f"direction ({', '.join(parts)})" if len(parts) == 3 else f"direction {value}"


#: In place of a tag: which image at each place it is, in the order of time.
TURN: Final = 0
#: Tag -> name of the axis, and how one value is written.
_AXES: Final[dict[int, tuple[str, Callable[[str], str]]]] = {
    TURN: ("phase", _plain("phase")),
    Tag.TEMPORAL_POSITION_IDENTIFIER: ("time point", _plain("time point")),
    Tag.ECHO_NUMBERS: ("echo", _plain("echo")),
    Tag.ECHO_TIME: ("echo time", _plain("TE", " ms")),
    Tag.DIFFUSION_B_VALUE: ("b-value", _plain("b =", " s/mm²")),
    Tag.DIFFUSION_GRADIENT_ORIENTATION: ("direction", _direction),
    Tag.INVERSION_TIME: ("inversion time", _plain("TI", " ms")),
    Tag.FLIP_ANGLE: ("flip angle", _plain("flip angle", "°")),
    Tag.REPETITION_TIME: ("repetition time", _plain("TR", " ms")),
    Tag.ACQUISITION_NUMBER: ("acquisition", _plain("acquisition")),
    Tag.TRIGGER_TIME: ("trigger time", _plain("trigger", " ms")),
    Tag.FRAME_REFERENCE_TIME: ("time", _seconds),
    Tag.ACQUISITION_TIME: ("acquisition time", _plain("acquired at")),
    Tag.CONTENT_TIME: ("time", _plain("made at")),
}
#: Axes along which the time of acquisition says more than a number.
_IN_TIME: Final = frozenset({
    Tag.TEMPORAL_POSITION_IDENTIFIER, Tag.ACQUISITION_NUMBER, Tag.ACQUISITION_TIME, Tag.CONTENT_TIME,
})  # fmt: skip
_CLOCKS: Final = frozenset({Tag.ACQUISITION_TIME, Tag.CONTENT_TIME})


def label_of(apart: Apart) -> str:
    """Return in words what tells a stack from the others at its place."""
    return ", ".join(_value_label(tag, name, value) for tag, name, value in apart)


def _value_label(tag: int, name: str, value: str) -> str:
    if tag == Tag.IMAGE_TYPE:
        # Nearly all images are this; a list that is cut short would show nothing else.
        value = value.removeprefix("ORIGINAL\\PRIMARY\\")
    short = value.replace("\\", "/")[:32]
    if not short:
        return f"{name} none"
    return _AXES[tag][1](short) if tag in _AXES else f"{name} {short}"


def joined_in_time(parts: Sequence[Part]) -> list[Part]:
    """Return parts with those on one grid joined, point by point, where only an axis of time tells them apart."""
    groups: dict[object, list[Part]] = {}
    for n, part in enumerate(parts):
        groups.setdefault(_kind(part) or n, []).append(part)
    return [part for group in groups.values() for part in (_joined(group) if len(group) > 1 else group)]


def _kind(part: Part) -> tuple[object, ...] | None:
    """Return what points of one axis have in common; None for a part that is no point."""
    if part.geometry is None or not any(tag in _AXES for tag, _, _ in part.apart):
        return None
    first = part.headers[0]
    if (first.integer(Tag.SAMPLES_PER_PIXEL) or 1) > 1 or first.text(Tag.PHOTOMETRIC_INTERPRETATION) == "PALETTE COLOR":
        return None
    others = tuple(item for item in part.apart if item[0] not in _AXES)
    return (part.geometry.size, others, *(first.text(tag) for tag in _CONTENT))


def _joined(points: list[Part]) -> list[Part]:
    """Return one part for all points on the grid of the first; the others as they are."""
    grid = points[0].geometry
    assert grid is not None
    same = [p for p in points if p.geometry is not None and grid.is_close(p.geometry, _SAME_MM)]
    if len(same) < 2:
        return points
    same.sort(key=_order)
    others = tuple(item for item in same[0].apart if item[0] not in _AXES)
    axes = dict.fromkeys(tag for point in same for tag, _, _ in point.apart if tag in _AXES)
    # An axis along which nothing differs between these points is not told.
    differ = [tag for tag in axes if len({_value(point, tag) for point in same}) > 1]
    part = replace(
        same[0],
        headers=tuple(header for point in same for header in point.headers),
        warnings=tuple(dict.fromkeys(warning for point in same for warning in point.warnings)),
        label=label_of(others),
        time_labels=tuple(_labels(same, differ)),
        time_name=" and ".join(_AXES[tag][0] for tag in differ),
        apart=others,
    )
    return [part, *(p for p in points if all(p is not point for point in same))]


def _value(part: Part, tag: int) -> str:
    return next((value for known, _, value in part.apart if known == tag), "")


def _order(part: Part) -> tuple[tuple[int, float], ...]:
    """Return what sorts points: numbers by size, anything else behind them as it is."""
    return tuple(_sortable(part, tag, value) for tag, _, value in part.apart if tag in _AXES)


def _sortable(part: Part, tag: int, value: str) -> tuple[int, float]:
    seconds = clock_s(part.headers[0], tag) if tag == Tag.ACQUISITION_TIME else None
    if seconds is not None:
        return (0, seconds)
    try:
        return (0, float(value or "-inf"))
    except ValueError:
        return (1, 0.0)


def clock_s(header: Header, tag: int) -> float | None:
    """Return a time that sorts, s; that of the acquisition with its day, so that midnight is no end."""
    if tag != Tag.ACQUISITION_TIME:
        return header.number(tag)
    taken = moment_of(header)
    return (taken - datetime.min).total_seconds() if taken is not None else None


def _labels(points: Sequence[Part], tags: Sequence[int]) -> list[str]:
    """Return a label for each point; with the seconds since the first where the points follow each other in time."""
    seconds = _since_first(points) if _IN_TIME & set(tags) else None
    labels = []
    for n, point in enumerate(points):
        told = [item for item in point.apart if item[0] in tags and not (seconds and item[0] in _CLOCKS)]
        parts = [_value_label(*item) for item in told]
        if Tag.ECHO_NUMBERS in tags and Tag.ECHO_TIME not in tags and point.headers[0].text(Tag.ECHO_TIME):
            parts.append(_value_label(Tag.ECHO_TIME, "", point.headers[0].text(Tag.ECHO_TIME)))
        if seconds:
            parts.append(f"t = {seconds[n]:.4g} s")
        labels.append(", ".join(parts))
    return labels


def _since_first(points: Sequence[Part]) -> list[float] | None:
    """Return seconds from the first point to each, when all say when they were taken and each is later."""
    times = [_taken(point.headers) for point in points]
    known = [time for time in times if time is not None]
    if len(known) < len(points) or any(a >= b for a, b in pairwise(known)):
        return None
    return [(time - known[0]).total_seconds() for time in known]


def _taken(headers: Sequence[Header]) -> datetime | None:
    times = [moment_of(header) for header in headers]
    return min((time for time in times if time is not None), default=None)


def moment_of(header: Header) -> datetime | None:
    """Return when an image was acquired; None when it does not say so."""
    date, time = header.text(Tag.ACQUISITION_DATE), header.text(Tag.ACQUISITION_TIME)
    # A frame of a multi-frame file has both in one.
    return moment(time[:8], time[8:]) if len(time.partition(".")[0]) > 8 else moment(date, time)


def moment(date: str, time: str) -> datetime | None:
    """Return the moment of a DA and a TM, its offset from UTC left out; None when either is missing or broken."""
    time = time.partition("+")[0].partition("-")[0].replace(":", "")
    whole, _, fraction = time.partition(".")
    if len(whole) < 2:
        return None
    try:
        found = datetime.strptime(f"{date.replace('.', '')}{whole:0<6}", "%Y%m%d%H%M%S")
        return found + timedelta(seconds=float(f"0.{fraction}")) if fraction else found
    except ValueError:
        return None
