"""Images that are no slices of a volume: loose pictures one behind the other, and the frames of films.

They have no depth. Lengths are known where the file says how large a pixel is; otherwise everything counts in pixels.

References
----------
DICOM PS3.3 10.7.1 (Pixel Spacing and its calibration), C.7.6.3.1.7 (Pixel Aspect Ratio), C.7.6.5 (Cine), C.8.5.5
(Ultrasound Region Calibration), C.8.6.2 (SC Multi-frame).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final

import numpy as np

from medviewer.core.dicom_ref import SeriesWarning, Stacking
from medviewer.core.errors import GeometryError
from medviewer.core.geometry import Geometry, Vec3, vec3
from medviewer.io.dicom_elements import decimal_string
from medviewer.io.dicom_geometry import slice_frame, slice_position, stack_geometry
from medviewer.io.dicom_header import Header
from medviewer.io.dicom_slices import Part, Slices
from medviewer.io.dicom_slide import SLIDES, slide_size
from medviewer.io.dicom_tags import Tag
from medviewer.io.us_regions import region_spacing

_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
#: Classes whose images lie in the patient: one without a place has lost it.
_OF_SLICES: Final = tuple(_STORAGE + n for n in ("2", "2.1", "2.2", "4", "4.1", "4.3", "4.4", "128", "128.1", "130"))
_TOMOSYNTHESIS: Final = _STORAGE + "13.1.3"
_TIMES: Final = (Tag.FRAME_TIME, Tag.FRAME_TIME_VECTOR, Tag.CINE_RATE, Tag.RECOMMENDED_DISPLAY_FRAME_RATE)
#: Where the size of a pixel is looked for, the best first.
_SPACINGS: Final = (Tag.PIXEL_SPACING, Tag.IMAGER_PIXEL_SPACING, Tag.NOMINAL_SCANNED_PIXEL_SPACING)
_FORMAT: Final = (
    Tag.ROWS, Tag.COLUMNS, Tag.SAMPLES_PER_PIXEL, Tag.PHOTOMETRIC_INTERPRETATION, Tag.BITS_ALLOCATED, Tag.BITS_STORED,
    Tag.PIXEL_REPRESENTATION, *_SPACINGS, Tag.PIXEL_ASPECT_RATIO,
)  # fmt: skip
NO_SPACING: Final = SeriesWarning(
    "W_NO_SPACING", "No file says how large a pixel is: lengths are counted in pixels, not in mm."
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PictureGrid:
    """How the pixels of pictures lie to each other.

    Attributes
    ----------
    geometry : Geometry
        (i, j, k); k only counts. Millimetres, or pixels when `in_mm` is False; LPS only when `in_patient`.
    """

    geometry: Geometry
    in_mm: bool
    in_patient: bool
    warnings: tuple[SeriesWarning, ...] = ()


def picture_parts(pictures: Sequence[tuple[Header, SeriesWarning]]) -> list[Part]:
    """Return pictures sorted into parts of one format each; every multi-frame file is a part of its own.

    Parameters
    ----------
    pictures : sequence of (Header, SeriesWarning)
        Frames of one series, and why each is no slice of a volume.
    """
    groups: dict[tuple[object, ...], list[tuple[Header, SeriesWarning]]] = {}
    for header, reason in pictures:
        key = (
            header.path if header.film else None, header.is_native, header.pixel_tag, header.big_endian,
            *(header.values.get(tag) for tag in _FORMAT),
        )  # fmt: skip
        groups.setdefault(key, []).append((header, reason))
    parts = []
    for number, members in enumerate(groups.values(), 1):
        ordered = sorted(members, key=lambda member: _order(member[0]))
        headers = tuple(header for header, _ in ordered)
        label = _label(headers, number) if len(groups) > 1 else ""
        slide = slide_size(headers[0], len(headers))
        if slide is not None:
            # How large its pixels are is read when it is opened.
            geometry = flat_grid((*slide, 1), (1.0, 1.0))
            parts.append(Part(headers[:1], geometry, label=label, stacking="number", in_mm=False))
            continue
        grid = picture_grid(headers)
        lost = _lost_places(ordered)
        about_grid = [warning for warning in grid.warnings if warning.code not in {w.code for w in lost}]
        warnings = (*lost, *_tiles(headers), *about_grid)
        parts.append(Part(headers, grid.geometry, warnings, label, stacking=stacking(headers), in_mm=grid.in_mm))
    return parts


def _order(header: Header) -> tuple[float, int, str]:
    return header.number(Tag.INSTANCE_NUMBER) or 0.0, header.frame or 0, header.path.name


def _label(headers: Sequence[Header], number: int) -> str:
    first = headers[0]
    which = f"{first.number(Tag.INSTANCE_NUMBER) or number:.12g}"
    if first.film:
        return f"film {which}"
    return f"picture {which}" if len(headers) == 1 else f"{len(headers)} pictures from {which}"


def _lost_places(pictures: Sequence[tuple[Header, SeriesWarning]]) -> list[SeriesWarning]:
    """Say why images that ought to lie in the patient do not."""
    first, reason = pictures[0]
    placed = Tag.IMAGE_POSITION_PATIENT in first.values or Tag.IMAGE_ORIENTATION_PATIENT in first.values
    if first.film or not (placed or first.sop_class_uid in _OF_SLICES):
        return []
    text = f"{reason.text} Shown as pictures in the order of InstanceNumber, not as a volume."
    return [SeriesWarning(reason.code, text)]


def _tiles(headers: Sequence[Header]) -> list[SeriesWarning]:
    if headers[0].sop_class_uid != SLIDES or len(headers) < 2:
        return []
    text = f"{len(headers)} tiles of a slide, shown one behind the other; they are not put together."
    return [SeriesWarning("W_TILES", text)]


def stacking(headers: Sequence[Header]) -> Stacking:
    """Return what the pictures of one part count: the time for films, else their number."""
    first = headers[0]
    if not first.film or len(headers) < 2 or first.sop_class_uid == SLIDES:
        return "number"
    of_slices = first.sop_class_uid in (*_OF_SLICES, _TOMOSYNTHESIS)
    timed = any(tag in first.values for tag in _TIMES)
    return "number" if of_slices and not timed and Tag.IMAGE_POSITION_PATIENT not in first.values else "time"


def frame_times_ms(headers: Sequence[Header]) -> tuple[float, ...]:
    """Return when each frame of a film was taken, ms from the first; empty when the file does not say."""
    first, count = headers[0], len(headers)
    if stacking(headers) != "time":
        return ()
    steps = first.numbers(Tag.FRAME_TIME_VECTOR)
    if steps is not None and len(steps) == count and min(steps) >= 0:
        return tuple(accumulate((0.0, *steps[1:])))
    step = first.number(Tag.FRAME_TIME)
    if step is None or step <= 0:
        rates = (first.number(tag) for tag in (Tag.CINE_RATE, Tag.RECOMMENDED_DISPLAY_FRAME_RATE))
        rate = next((rate for rate in rates if rate is not None and rate > 0), None)
        step = 1000.0 / rate if rate else None
    return tuple(n * step for n in range(count)) if step else ()


def picture_grid(headers: Sequence[Header]) -> PictureGrid:
    """Return the grid of pictures of one format, as far as their elements say it."""
    first, count = headers[0], len(headers)
    if first.film:
        placed = _placed_grid(headers)
        if placed is not None:
            return placed
    columns, rows = first.integer(Tag.COLUMNS) or 0, first.integer(Tag.ROWS) or 0
    for tag in _SPACINGS:
        spacing = first.numbers(tag)
        if spacing is not None and len(spacing) == 2 and min(spacing) > 0:
            grid = flat_grid((columns, rows, count), (spacing[1], spacing[0]))
            return PictureGrid(grid, True, False, tuple(_magnified(first, tag)))
    pixels = flat_grid((columns, rows, count), (1.0, pixel_aspect(first)))
    # What the regions say is read when the pictures are opened.
    known_later = Tag.SEQUENCE_OF_ULTRASOUND_REGIONS in first.values
    return PictureGrid(pixels, False, False, () if known_later else (NO_SPACING,))


def opened_grid(headers: Sequence[Header]) -> tuple[PictureGrid, list[SeriesWarning]]:
    """Return the grid of pictures that are being opened, and what was not said when they were listed."""
    grid = picture_grid(headers)
    if grid.in_mm or Tag.SEQUENCE_OF_ULTRASOUND_REGIONS not in headers[0].values:
        return grid, []
    spacing = region_spacing(headers)
    if spacing is None:
        return grid, [NO_SPACING]
    text = "Lengths are right inside the scanned region only, not in the margins of the picture."
    in_mm = replace(grid, geometry=flat_grid(grid.geometry.size, spacing), in_mm=True)
    return in_mm, [SeriesWarning("W_SCANNED_REGION", text)]


def entered_grid(headers: Sequence[Header], spacing: Vec3) -> tuple[list[Header], PictureGrid]:
    """Return pictures as the slices of a volume whose spacing the user entered, in the order of k, and their grid.

    Where they say their places, only the spacing within a slice is needed; else they lie in no patient, in the order of
    their numbers.

    Parameters
    ----------
    spacing : (float, float, float)
        mm along (i, j, k).
    """
    try:
        spaced = [
            replace(h, values={**h.values, Tag.PIXEL_SPACING: decimal_string((spacing[1], spacing[0]))})
            for h in headers
        ]  # fmt: skip
        frames = [slice_frame(header) for header in spaced]
        positions = np.array([slice_position(header) for header in spaced])
        slices = list(Slices.sorted(spaced, frames, positions).headers)
        geometry = stack_geometry(slices)
        said = headers[0].numbers(Tag.PIXEL_SPACING)
        files = f"the files say {said[1]:g} x {said[0]:g} mm" if said and len(said) == 2 else "the files do not say it"
        text = f"The pixel size, {spacing[0]:g} x {spacing[1]:g} mm, was entered by hand; {files}."
        return slices, PictureGrid(geometry, True, True, (SeriesWarning("W_ENTERED_SPACING", text),))
    except GeometryError:
        size = picture_grid(headers).geometry.size
        text = (
            f"The spacing, {spacing[0]:g} x {spacing[1]:g} x {spacing[2]:g} mm, was entered by hand, and the pictures "
            "stand in the order of their numbers: nothing says where they lie in the patient."
        )
        geometry = replace(flat_grid(size, (spacing[0], spacing[1])), spacing=spacing)
        return list(headers), PictureGrid(geometry, True, False, (SeriesWarning("W_ENTERED_SPACING", text),))


def flat_grid(size: tuple[int, int, int], spacing: tuple[float, float]) -> Geometry:
    """Return a grid of pictures that lie nowhere: `spacing` along (i, j), and k counts."""
    return Geometry(size, (*spacing, 1.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


def pixel_aspect(header: Header) -> float:
    """Return the height of a pixel over its width (PixelAspectRatio); 1 where nothing usable is said."""
    ratio = header.numbers(Tag.PIXEL_ASPECT_RATIO)
    if ratio is None or len(ratio) != 2 or min(ratio) <= 0 or not 0.01 <= ratio[0] / ratio[1] <= 100:
        return 1.0
    return ratio[0] / ratio[1]


def _placed_grid(headers: Sequence[Header]) -> PictureGrid | None:
    """Return the grid in the patient of a film whose frames all lie at one known place."""
    first = headers[0]
    tags = (Tag.IMAGE_POSITION_PATIENT, Tag.IMAGE_ORIENTATION_PATIENT, Tag.PIXEL_SPACING)
    if any(header.values.get(tag) != first.values.get(tag) for header in headers for tag in tags):
        return None
    try:
        frame, position = slice_frame(first), slice_position(first)
    except GeometryError:
        return None
    direction = tuple(np.column_stack([frame.row, frame.column, frame.normal]).ravel())
    geometry = Geometry((*frame.size, len(headers)), (*frame.spacing, 1.0), vec3(position), direction)
    return PictureGrid(geometry, True, True)


def _magnified(header: Header, tag: int) -> Iterable[SeriesWarning]:
    """Warn where the spacing is that of a detector, not of what lies in the patient."""
    at_detector = header.numbers(Tag.IMAGER_PIXEL_SPACING)
    if at_detector is not None and header.numbers(tag) == at_detector:
        text = "The spacing is that at the detector: what lies in the patient is smaller than measured."
        yield SeriesWarning("W_DETECTOR_SPACING", text)
