"""The window that a file asks for, or why another one is taken.

References
----------
DICOM PS3.3 C.11.2 (VOI LUT): WindowCenter, WindowWidth, VOI LUT Sequence.
"""

from __future__ import annotations

from typing import Final

from medviewer.core.dicom_ref import SeriesWarning
from medviewer.core.errors import InputError
from medviewer.io.colors import FULL_WINDOW
from medviewer.io.dicom_elements import read_elements, refused
from medviewer.io.dicom_header import Header
from medviewer.io.dicom_tags import Tag
from medviewer.io.pixel_format import PixelFormat

#: No image has values beyond; INT_MIN and the like stand for "not set".
_LARGEST: Final = 2.0**31 - 1


def display_window(
    header: Header, form: PixelFormat, factor: float = 1.0
) -> tuple[tuple[float, float] | None, list[SeriesWarning]]:
    """Return (center, width) in real units, None for an automatic one, and what is to be said about it.

    Of several windows the first is taken. `factor` turns the unit of the file into that of the volume.
    """
    if form.is_color:
        return FULL_WINDOW, []
    center, width = header.number(Tag.WINDOW_CENTER), header.number(Tag.WINDOW_WIDTH)
    if center is not None and width is not None and 1 < width <= 2 * _LARGEST and abs(center) < _LARGEST:
        return (center * factor, width * factor), []
    told = header.text(Tag.WINDOW_CENTER), header.text(Tag.WINDOW_WIDTH)
    if any(told):
        text = f"The window {told[0][:16]!r}, {told[1][:16]!r} cannot be used; one is chosen by the values."
        return None, [SeriesWarning("W_WINDOW", text)]
    table = _table_window(header, form) if Tag.VOI_LUT_SEQUENCE in header.values else None
    if table is None:
        return None, []
    text = "The display table (VOI LUT) of the file is shown as a window over the same values."
    return table, [SeriesWarning("W_WINDOW", text)]


def _table_window(header: Header, form: PixelFormat) -> tuple[float, float] | None:
    """Return the window over the values that the first table maps; None when it has none that can be used."""
    try:
        with refused(header.path):
            dataset = read_elements(header.path, ["VOILUTSequence"])
            count, first, _ = (int(value) for value in dataset.VOILUTSequence[0]["LUTDescriptor"].value)
    # The table is for display only: without it there is an automatic window.
    except InputError:
        return None
    count = count % 65536 or 65536
    if first >= 1 << 15 and _may_be_negative(form):
        # Its sign is that of the values it maps (C.11.2.1.1), which a file without VRs does not repeat.
        first -= 1 << 16
    return (first + count / 2, float(count)) if count > 1 else None


def _may_be_negative(form: PixelFormat) -> bool:
    """Whether there are real values below 0."""
    return form.lut is None and min(stored * form.slope for stored in form.stored_range) + form.intercept < 0
