"""Drawings laid over an image (overlays), which are not shown: only what is wrong with them is told.

References
----------
DICOM PS3.3 C.9.2 (Overlay Plane).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from medviewer.core.dicom_ref import SeriesWarning
from medviewer.io.dicom_header import Header
from medviewer.io.dicom_tags import Tag


def overlay_warnings(headers: Sequence[Header]) -> list[SeriesWarning]:
    """Return ``W_OVERLAY`` when the first overlay of an image reaches beyond it."""
    outside = [header for header in headers if Tag.OVERLAY_ROWS in header.values and not _is_inside(header)]
    if not outside:
        return []
    text = f"The overlay of {outside[0].path.name} reaches beyond its image; it is left out."
    return [SeriesWarning("W_OVERLAY", text)]


def _is_inside(header: Header) -> bool:
    order: Literal["big", "little"] = "big" if header.big_endian else "little"
    origin = header.values.get(Tag.OVERLAY_ORIGIN, b"")
    # The pixel of the image, counted from 1, under the overlay's first: (row, column).
    starts = [int.from_bytes(origin[n : n + 2], order, signed=True) for n in (0, 2)] if len(origin) == 4 else [1, 1]
    sizes = header.integer(Tag.OVERLAY_ROWS) or 0, header.integer(Tag.OVERLAY_COLUMNS) or 0
    limits = header.integer(Tag.ROWS) or 0, header.integer(Tag.COLUMNS) or 0
    return all(
        start >= 1 and start - 1 + size <= limit for start, size, limit in zip(starts, sizes, limits, strict=True)
    )
