"""A stack of DICOM images, files of their own or frames of a multi-frame file, as a volume."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from medviewer.core.dicom_ref import SeriesRef, SeriesWarning
from medviewer.core.errors import DecodeError
from medviewer.core.geometry import Geometry
from medviewer.core.region import Region
from medviewer.core.volume import ColorArray, TimeAxis, Volume, VoxelArray
from medviewer.io.decode_worker import DecodeSource, decode_worker
from medviewer.io.dicom_frames import frame_headers, slice_headers
from medviewer.io.dicom_geometry import stack_geometry
from medviewer.io.dicom_header import Header, read_header
from medviewer.io.dicom_overlay import overlay_warnings
from medviewer.io.dicom_resample import RegularGrid, grid_through, resample_between
from medviewer.io.dicom_slide import put_together
from medviewer.io.dicom_tags import Tag
from medviewer.io.dicom_text import decoded_text
from medviewer.io.dicom_window import display_window
from medviewer.io.image_file import finite_voxels
from medviewer.io.mosaic_source import MosaicSource
from medviewer.io.native_pixels import NativeSource, load_stack
from medviewer.io.pet_suv import PetScale, pet_scale
from medviewer.io.pixel_format import PixelFormat, check_native_length, padding_value, pixel_format
from medviewer.io.reader import SKIP, OpenRequest, Skip, reader
from medviewer.jobs.job import JobContext

log = logging.getLogger(__name__)


@reader("dicom_series", kinds=["dicom"])
def read(ctx: JobContext, request: OpenRequest) -> Volume | Skip:
    """Read a series whose files are in the order of its slices."""
    if not request.series.files:
        return SKIP
    headers = slice_headers(request.series)
    in_patient = Tag.IMAGE_POSITION_VOLUME not in headers[0].values
    if request.series.interpolation:
        grid = grid_through(headers)
        return read_headers(ctx, request, headers, grid.geometry, grid=grid, in_patient=in_patient)
    geometry = stack_geometry(headers[: _slices_of_a_point(request.series, headers)])
    return read_headers(ctx, request, headers, geometry, in_patient=in_patient)


def read_headers(
    ctx: JobContext,
    request: OpenRequest,
    headers: Sequence[Header],
    geometry: Geometry,
    *,
    warnings: Sequence[SeriesWarning] = (),
    grid: RegularGrid | None = None,
    tiled: bool = False,
    **fields: Any,
) -> Volume:
    """Read slices onto a grid.

    Parameters
    ----------
    headers : sequence of Header
        One for each k (point after point where the series has a time axis), or for each true slice of `grid`.
    geometry : Geometry
    warnings : sequence of SeriesWarning
        What has been found so far, besides those of the series.
    grid : RegularGrid or None
        For unevenly spaced slices: where they are on a regular grid through them.
    tiled : bool
        Whether they are the tiles of one picture.
    **fields
        Of the `Volume`, for what is not a stack of slices in the patient.
    """
    formats = [pixel_format(header) for header in headers]
    about_files = [w for w in map(check_length, headers, formats) if w is not None]
    found = [*warnings, *_summed(about_files), *_length_of_files(request.series)]
    found += _flat_slices(formats) + _color_depth(formats[0]) + overlay_warnings(headers)
    pet = pet_scale(headers) if request.series.modality == "PT" else None
    if pet is not None:
        # One path: the first picture is in the unit of the volume already.
        formats = [form.scaled(pet.factor) for form in formats]
    opening = _Opening(request, headers, formats, geometry, found, pet, fields)
    if grid is not None:
        _read_onto_grid(ctx, request, opening, headers, formats, grid)
    elif tiled:
        _read_tiles(ctx, request, opening, headers, formats)
    elif any(form.is_float for form in formats):
        _read_floats(ctx, request, opening, headers, formats)
    else:
        _read_slices(ctx, request, opening, headers, formats, opening.first, opening.filled)
    ctx.progress(1.0, "Series read")
    return opening.volume


def _read_slices(
    ctx: JobContext,
    request: OpenRequest,
    opening: _Opening,
    headers: Sequence[Header],
    formats: Sequence[PixelFormat],
    on_first: Callable[[VoxelArray, ColorArray | None], None],
    on_filled: Callable[[Region], None],
) -> VoxelArray:
    """Return the voxels of the slices, shape (n, j, i); see `load_stack` for the callbacks."""
    shown = _slices_of_a_point(request.series, headers)
    if all(header.is_native for header in headers):
        with ThreadPoolExecutor(1, thread_name_prefix="read") as helper:
            return load_stack(ctx, formats, NativeSource(headers, helper), on_first, on_filled, shown)
    with decode_worker(request.decode) as worker:
        source = (DecodeSource if headers[0].tile is None else MosaicSource)(worker, headers)
        opening.decoders = source.decoders
        array = load_stack(ctx, formats, source, on_first, on_filled, shown)
    log.info("%d slices decoded by %s.", len(headers), ", ".join(sorted(source.decoders)))
    opening.decoded(source.warnings)
    return array


def _read_onto_grid(
    ctx: JobContext,
    request: OpenRequest,
    opening: _Opening,
    headers: Sequence[Header],
    formats: Sequence[PixelFormat],
    grid: RegularGrid,
) -> None:
    """Read unevenly spaced slices, then compute what lies between them; nothing is shown before that."""
    interpolation = request.series.interpolation
    assert interpolation
    array = _read_slices(ctx, request, opening, headers, formats, lambda *_: None, lambda _: None)
    opening.first(resample_between(ctx, array, grid, interpolation, opening.padding), None)
    request.on_filled(opening.volume.geometry.region)


def _read_floats(
    ctx: JobContext,
    request: OpenRequest,
    opening: _Opening,
    headers: Sequence[Header],
    formats: Sequence[PixelFormat],
) -> None:
    """Read floating-point slices; they are shown when all are there, as some of their numbers may be none."""
    array = _read_slices(ctx, request, opening, headers, formats, lambda *_: None, lambda _: None)
    finite, padding, notes = finite_voxels(array)
    opening.padding = padding
    opening.decoded(notes)
    opening.first(finite, None)
    request.on_filled(opening.volume.geometry.region)


def _read_tiles(
    ctx: JobContext,
    request: OpenRequest,
    opening: _Opening,
    headers: Sequence[Header],
    formats: Sequence[PixelFormat],
) -> None:
    """Read the tiles of a slide, then put them together; nothing is shown before that."""
    found: list[ColorArray | None] = []
    array = _read_slices(
        ctx, request, opening, headers, formats, lambda _, colors: found.append(colors), lambda _: None
    )
    colors = found[-1]
    columns, rows, _ = opening.size
    whole = None if colors is None else put_together(colors, columns, rows)
    opening.first(put_together(array, columns, rows), whole)
    request.on_filled(opening.volume.geometry.region)


def check_length(header: Header, form: PixelFormat) -> SeriesWarning | None:
    """Check the length of uncompressed pixels; compressed ones are checked by the decode worker."""
    if header.is_native:
        return check_native_length(header, form)
    if not header.has_pixels:
        raise DecodeError(f"{header.path.name} has no pixel data.", code="E_NO_PIXELS")
    return None


def _length_of_files(series: SeriesRef) -> list[SeriesWarning]:
    """Return what is to be said about the length of multi-frame files; too short ones have been refused."""
    warnings = []
    for path in dict.fromkeys(series.files) if series.frames else ():
        header = read_header(path)
        if header.is_native and header.frames:
            frame = frame_headers(header)[0]
            form = pixel_format(header if frame.tile is not None else frame)
            warning = check_native_length(header, form, frames=header.frames)
            warnings += [] if warning is None else [warning]
    return warnings


class _Opening:
    """Makes the volume around the array when the first slice is there."""

    def __init__(
        self,
        request: OpenRequest,
        headers: Sequence[Header],
        formats: Sequence[PixelFormat],
        geometry: Geometry,
        warnings: Sequence[SeriesWarning],
        pet: PetScale | None,
        fields: Mapping[str, Any],
    ) -> None:
        self._request = request
        self._header = headers[0]
        self._geometry = geometry
        self._fields = fields
        self.padding = padding_value(headers[0], formats[0])
        self._window, about_display = display_window(headers[0], formats[0], pet.factor if pet else 1.0)
        self._warnings = (*request.series.warnings, *warnings, *about_display, *(pet.warnings if pet else ()))
        self._unit = pet.unit if pet else _unit(headers[0], formats[0], request.series.modality)
        self._suv = pet.suv if pet else None
        self._volume: Volume | None = None
        #: Names of the decoders used so far; filled by the source.
        self.decoders: Collection[str] = ("native",)

    def decoded(self, warnings: Sequence[SeriesWarning]) -> None:
        """Write what decoding brought to light into the volume, whose identity must not change while it fills."""
        self._warnings = (*self._warnings, *_summed(warnings))
        if self._volume is not None:
            object.__setattr__(self._volume, "decoder", ", ".join(sorted(self.decoders)))
            object.__setattr__(self._volume, "warnings", self._warnings)

    @property
    def size(self) -> tuple[int, int, int]:
        """Voxels of the volume along (i, j, k)."""
        return self._geometry.size

    @property
    def volume(self) -> Volume:
        """The volume; there once the first slice is."""
        assert self._volume is not None
        return self._volume

    def filled(self, region: Region) -> None:
        """Tell of slices that have been read, as far as they are shown."""
        stop = min(region.upper[0], self._geometry.size[2])
        if region.lower[0] < stop:
            self._request.on_filled(Region(region.lower, (stop, *region.upper[1:])))

    def first(self, array: VoxelArray, colors: ColorArray | None) -> None:
        """Make the volume and show it."""
        header, series = self._header, self._request.series
        self._volume = Volume(
            array=array[: self._geometry.size[2]],
            time=_time_axis(array, series),
            geometry=self._geometry,
            name=series.title,
            modality=series.modality,
            unit=self._unit,
            series=series,
            window=self._window,
            inverted=header.text(Tag.PHOTOMETRIC_INTERPRETATION) == "MONOCHROME1",
            padding=self.padding,
            body_part_examined=series.body_part_examined,
            patient_name=decoded_text(header, Tag.PATIENT_NAME),
            patient_id=decoded_text(header, Tag.PATIENT_ID),
            study_date=header.text(Tag.STUDY_DATE),
            warnings=self._warnings,
            decoder=", ".join(sorted(self.decoders)),
            suv=self._suv,
            colors=colors,
            **self._fields,
        )
        self._request.on_first(self._volume)


def _slices_of_a_point(series: SeriesRef, headers: Sequence[Header]) -> int:
    count, points = len(headers), len(series.time_labels) or 1
    if count % points:
        text = f"Series “{series.title}” has {count} slices at {points} points, which do not go together."
        raise DecodeError(text, hint="Open its folder again.", code="E_CHANGED")
    return count // points


def _time_axis(array: VoxelArray, series: SeriesRef) -> TimeAxis | None:
    """Return the points of an array that holds one after the other along k; None for a series without a time axis."""
    if not series.time_labels:
        return None
    arrays = np.split(array, len(series.time_labels))
    for points in arrays:
        points.flags.writeable = False
    return TimeAxis(series.time_name, series.time_labels, tuple(arrays))


def _unit(header: Header, form: PixelFormat, modality: str) -> str:
    """Return HU for CT (unless it says otherwise), else the RescaleType or ModalityLUTType that names a unit."""
    rescale_type = form.lut.unit if form.lut else header.text(Tag.RESCALE_TYPE)
    if modality == "CT":
        return rescale_type if rescale_type not in ("", "US") else "HU"
    return "" if rescale_type == "US" else rescale_type


def _flat_slices(formats: Sequence[PixelFormat]) -> list[SeriesWarning]:
    """Say which slices have one value only, because their RescaleSlope is 0."""
    flat = [form for form in formats if form.slope == 0.0 and form.lut is None]
    if not flat:
        return []
    value = ", ".join(f"{value:g}" for value in sorted({form.intercept for form in flat}))
    text = f"RescaleSlope is 0 in {len(flat)} of {len(formats)} slices: every value there is {value}."
    return [SeriesWarning("W_SLOPE_ZERO", text)]


def _color_depth(form: PixelFormat) -> list[SeriesWarning]:
    if not form.is_color or form.palette is not None or form.bits_stored <= 8:
        return []
    text = f"Colours of {form.bits_stored} bits are kept with their highest 8."
    return [SeriesWarning("W_COLOUR_DEPTH", text)]


def _summed(warnings: Sequence[SeriesWarning]) -> list[SeriesWarning]:
    """Return one warning for many files."""
    if len(warnings) < 2:
        return list(warnings)
    return [SeriesWarning(warnings[0].code, f"{warnings[0].text} The same in {len(warnings) - 1} more files.")]
