"""One DICOM series -> the parts that are listed: regular stacks, pictures, and what is not opened with its reason.

A series is split by size, spacing, orientation, frame of reference and pixel format; then `medviewer.io.dicom_stacks`
splits each group into evenly spaced stacks. What has no place becomes pictures (`medviewer.io.dicom_pictures`).

References
----------
DICOM PS3.3 C.7.6.2 (Image Plane), C.7.6.16.2.2 (Frame Content), C.8.3.1 (MR Image).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from medviewer.core.dicom_ref import SeriesWarning
from medviewer.core.errors import DecodeError, GeometryError, InputError
from medviewer.core.shown_text import counted
from medviewer.io.decoders import CHAINS
from medviewer.io.dicom_duplicates import without_repeated_uids
from medviewer.io.dicom_frames import frame_headers
from medviewer.io.dicom_geometry import FrameKey, SliceFrame, frame_key, slice_frame, slice_position
from medviewer.io.dicom_header import Header
from medviewer.io.dicom_pictures import picture_parts
from medviewer.io.dicom_slices import Part, Slices
from medviewer.io.dicom_stacks import stacks
from medviewer.io.dicom_tags import DEFLATED_LITTLE_ENDIAN, NATIVE_SYNTAXES, Tag
from medviewer.io.pixel_format import check_native_length, pixel_format

_READABLE: Final = frozenset({*NATIVE_SYNTAXES, *CHAINS, DEFLATED_LITTLE_ENDIAN})
#: Code of an error about one file -> code of the warning about the series.
_WARNINGS: Final = {
    "E_MOSAIC": "W_MOSAIC",
    "E_NO_POSITION": "W_NO_POSITION",
    "E_BAD_IOP": "W_NO_POSITION",
    "E_NO_SPACING": "W_NO_SPACING",
}
#: Name of slices whose normal lies mostly along x, y or z (LPS).
_PLANES: Final = ("sagittal", "coronal", "axial")
_FILM: Final = SeriesWarning("W_MULTIFRAME", "Its frames do not each say where they lie.")


def split_series(headers: Sequence[Header]) -> list[Part]:
    """Return the parts of one series of images: volumes before pictures, the largest first.

    Parameters
    ----------
    headers : sequence of Header
        All files of the series, in any order.
    """
    headers, notes = without_repeated_uids(headers)
    usable: list[Header] = []
    broken: list[_Unfit] = []
    parts: list[Part] = []
    apart: dict[str, list[_Unfit]] = {}
    for header in headers:
        found = _frames(header)
        if isinstance(found, list):
            usable += found
        elif found.warning.code == "W_UNREADABLE":
            broken.append(found)
        else:
            apart.setdefault(found.warning.code, []).append(found)
    placed, unplaced = _with_places(usable)
    for slices in placed:
        offered = stacks(slices, may_be_mixed=_may_be_mixed(slices.headers[0]))
        parts += [_with_localizer(_with_origin(part)) for part in offered]
    parts += picture_parts(unplaced)
    parts += [_not_a_volume(unfits) for unfits in apart.values()]
    parts.sort(key=_rank)
    if broken:
        parts = _with_broken(parts, broken)
    notes += _about_encoding(headers)
    count = sum(not part.interpolation for part in parts)
    split = SeriesWarning("W_SPLIT", f"The series is not one stack: it was split into {count} parts.")
    return [
        replace(part, warnings=(*part.warnings, *notes, *([split] if count > 1 and not part.interpolation else [])))
        for part in parts
    ]


def _about_encoding(headers: Sequence[Header]) -> list[SeriesWarning]:
    """Return what is to be said about how the files are encoded, once for all of them."""
    found = Counter(note for header in headers for note in header.notes)
    return [replace(note, text=f"{note.text} ({count} of {len(headers)} files)") for note, count in found.items()]


@dataclass(frozen=True, slots=True)
class _Unfit:
    """A file that is not opened, why, and with which code it is refused."""

    header: Header
    warning: SeriesWarning
    refusal: str


def _frames(header: Header) -> list[Header] | _Unfit:
    """Return the slices in a file, or why they are not opened."""
    try:
        frames = frame_headers(header)
        obstacle = _obstacle(frames[0])
        if obstacle is not None:
            return _Unfit(header, obstacle, f"E_{obstacle.code[2:]}")
        for frame in frames:
            form = pixel_format(frame)
            if frame.is_native:
                check_native_length(frame, form)
    except InputError as error:
        text = error.text or f"{header.path.name} cannot be read."
        return _Unfit(header, SeriesWarning(_WARNINGS.get(error.code, "W_UNREADABLE"), text), error.code)
    return frames


def _obstacle(header: Header) -> SeriesWarning | None:
    """Return why an image is not opened, whatever its place; None when it is."""
    if not header.has_pixels:
        return SeriesWarning("W_NO_PIXELS", "The object has no pixel data.")
    if header.frames is None:
        frames = header.text(Tag.NUMBER_OF_FRAMES)[:12]
        raise DecodeError(f"{header.path.name} declares {frames!r} frames.", code="E_DIMENSIONS")
    if header.transfer_syntax_uid not in _READABLE:
        return SeriesWarning("W_CODEC", f"Compressed as {_syntax_name(header)}, which cannot be read.")
    return None


def _syntax_name(header: Header) -> str:
    from pydicom.uid import UID

    return UID(header.transfer_syntax_uid).name


_GroupKey = tuple[int, str, int | None, str, bool, bool]


def _with_places(headers: Sequence[Header]) -> tuple[list[Slices], list[tuple[Header, SeriesWarning]]]:
    """Group images into parallel slices of one format; return those without a place apart, and why."""
    frames: dict[FrameKey, SliceFrame] = {}
    distinct: list[SliceFrame] = []
    groups: dict[_GroupKey, list[tuple[Header, SliceFrame, tuple[float, ...]]]] = {}
    unplaced: list[tuple[Header, SeriesWarning]] = []
    for header in headers:
        if header.film:
            unplaced.append((header, _FILM))
            continue
        try:
            position = slice_position(header)
            key = frame_key(header)
            frame = frames.get(key)
            if frame is None:
                frame = frames[key] = slice_frame(header)
                if not any(frame.is_parallel(other) for other in distinct):
                    distinct.append(frame)
        except GeometryError as error:
            code = _WARNINGS.get(error.code, "W_NO_POSITION")
            unplaced.append((header, SeriesWarning(code, error.text)))
            continue
        which = next(n for n, other in enumerate(distinct) if frame is other or frame.is_parallel(other))
        groups.setdefault(_group_key(which, header), []).append((header, frame, position))
    placed = []
    for members in groups.values():
        group_headers, group_frames, positions = zip(*members, strict=True)
        placed.append(Slices.sorted(group_headers, group_frames, np.array(positions)))
    return placed, unplaced


def _group_key(frame_number: int, header: Header) -> _GroupKey:
    """Return what slices of one volume have in common."""
    return (
        frame_number,
        header.text(Tag.FRAME_OF_REFERENCE_UID),
        header.integer(Tag.BITS_ALLOCATED),
        header.text(Tag.PHOTOMETRIC_INTERPRETATION),
        _is_localizer(header),
        header.is_native,
    )


def _rank(part: Part) -> tuple[bool, bool, bool, int]:
    """Return the place of a part in the list: volumes first, then pictures, then what is not opened."""
    return part.geometry is None, part.stacking != "place", bool(part.interpolation), -len(part.headers)


def _may_be_mixed(header: Header) -> bool:
    """Whether values of slices may be mixed: not those for planning only, and no colours."""
    return not _is_localizer(header) and not pixel_format(header).is_color


def _is_localizer(header: Header) -> bool:
    return "LOCALIZER" in header.image_type


def _with_origin(part: Part) -> Part:
    """Say what the slices were before: tiles of a mosaic, or frames that lie in the space of an ultrasound probe."""
    first = part.headers[0]
    if first.tile is not None:
        text = "Mosaics, many slices tiled into one picture, were taken apart by their private CSA headers."
        return replace(part, warnings=(*part.warnings, SeriesWarning("W_MOSAIC", text)))
    if Tag.IMAGE_POSITION_VOLUME in first.values:
        text = "The slices lie in the space of the ultrasound probe, not in that of the patient: sides are not named."
        return replace(part, warnings=(*part.warnings, SeriesWarning("W_NOT_IN_PATIENT", text)))
    return part


def _with_localizer(part: Part) -> Part:
    """Name a localizer."""
    if not _is_localizer(part.headers[0]):
        return part
    images = counted(len(part.headers), "image")
    warning = SeriesWarning("W_LOCALIZER", f"A localizer ({images}), made for planning only.")
    label = part.label or "localizer"
    if part.geometry is not None:
        # Those of one series look alike in a list otherwise.
        normal = np.abs(np.cross(*part.geometry.direction_matrix.T[:2]))
        label = f"{label}, {_PLANES[int(normal.argmax())]}"
    return replace(part, warnings=(warning, *part.warnings), label=label)


def _not_a_volume(found: Sequence[_Unfit]) -> Part:
    """Return images that cannot be a volume, all for one reason, in the order of their InstanceNumber."""
    ordered = sorted(found, key=lambda unfit: unfit.header.number(Tag.INSTANCE_NUMBER) or 0.0)
    warning = ordered[0].warning
    if len(ordered) > 1:
        texts = Counter(unfit.warning.text for unfit in ordered)
        others = "" if len(texts) == 1 else f" The same in {len(ordered) - 1} more files."
        warning = replace(warning, text=f"{warning.text}{others}")
    return Part(tuple(unfit.header for unfit in ordered), None, (warning,), refusal=ordered[0].refusal)


def _with_broken(parts: list[Part], broken: Sequence[_Unfit]) -> list[Part]:
    """Tell every part which files of the series were left out; list them when nothing else is there."""
    first = broken[0].warning.text
    more = f" and {len(broken) - 1} more files" if len(broken) > 1 else ""
    if not parts:
        warning = SeriesWarning("W_UNREADABLE", f"{first}{more}")
        return [Part(tuple(unfit.header for unfit in broken), None, (warning,), refusal=broken[0].refusal)]
    warning = SeriesWarning("W_UNREADABLE", f"Left out as unreadable: {first}{more}")
    return [replace(part, warnings=(*part.warnings, warning)) for part in parts]
