"""Images that are in a series twice: the same UID, or the same place and the same pixels."""

from __future__ import annotations

from collections.abc import Sequence

from medviewer.core.dicom_ref import SeriesWarning
from medviewer.io.dicom_header import Header
from medviewer.io.dicom_slices import Slices
from medviewer.io.dicom_tags import Tag


def without_repeated_uids(headers: Sequence[Header]) -> tuple[list[Header], list[SeriesWarning]]:
    """Drop files that repeat a SOPInstanceUID with the same pixels; name those that repeat it with others.

    Returns
    -------
    headers : list of Header
        What is left, in the given order.
    warnings : list of SeriesWarning
        ``W_DUPLICATE``, ``W_UID_COLLISION``.
    """
    kept: list[Header] = []
    by_uid: dict[str, list[Header]] = {}
    dropped: list[str] = []
    collisions: list[str] = []
    for header in headers:
        uid = header.text(Tag.SOP_INSTANCE_UID)
        same = by_uid.setdefault(uid, []) if uid else []
        if any(same_pixels(header, other) for other in same):
            dropped.append(header.path.name)
            continue
        if same:
            collisions.append(header.path.name)
        same.append(header)
        kept.append(header)
    warnings = []
    if dropped:
        warnings.append(SeriesWarning("W_DUPLICATE", f"{_files(dropped)} left out: copies of other files."))
    if collisions:
        text = f"{_files(collisions)} with the identifier of another file, but other pixel data."
        warnings.append(SeriesWarning("W_UID_COLLISION", text))
    return kept, warnings


def without_copies(slices: Slices) -> tuple[Slices, list[SeriesWarning]]:
    """Drop slices that have the pixels of another one at the same place."""
    kept: list[int] = []
    dropped: list[str] = []
    for n, place in enumerate(slices.place_numbers):
        here = [m for m in kept if slices.place_numbers[m] == place]
        if any(same_pixels(slices.headers[n], slices.headers[m]) for m in here):
            dropped.append(slices.headers[n].path.name)
        else:
            kept.append(n)
    if not dropped:
        return slices, []
    text = f"{_files(dropped)} left out: the same picture at the same place as another."
    return slices.take(kept), [SeriesWarning("W_DUPLICATE", text)]


def same_pixels(one: Header, other: Header) -> bool:
    """Whether two files have pixel data of the same bytes, however they are encoded."""
    if one.frame is not None and not (one.is_native and other.is_native):
        # Frames of one compressed file lie in one element; they are taken to differ.
        return False
    if one.pixel_offset is None or other.pixel_offset is None or one.pixel_length != other.pixel_length:
        return False
    if one.transfer_syntax_uid != other.transfer_syntax_uid and one.big_endian != other.big_endian:
        return False
    return _pixel_bytes(one) == _pixel_bytes(other)


def _pixel_bytes(header: Header) -> bytes:
    """Return the bytes of the pixel data element; to the end of the file when it is encapsulated."""
    with header.path.open("rb") as file:
        if header.transfer_syntax_uid.endswith(".1.99"):
            # Deflated: offsets count in the inflated stream; equal files are equal all the same.
            return file.read()
        file.seek(header.pixel_offset or 0)
        return file.read(-1 if header.pixel_length is None else header.pixel_length)


def _files(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"1 file ({names[0]})"
    return f"{len(names)} files ({names[0]}, …)"
