"""RT Dose: its planes as the slices of a volume in Gy, on a grid of its own in the frame of reference of the images.

References
----------
DICOM PS3.3 C.8.8.3 (RT Dose), C.8.8.3.2 (Grid Frame Offset Vector).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from medviewer.core.dicom_ref import SeriesWarning
from medviewer.core.errors import DecodeError, GeometryError
from medviewer.core.geometry import Points
from medviewer.core.region import Region
from medviewer.core.volume import Volume
from medviewer.io.dicom_frames import frame_headers
from medviewer.io.dicom_geometry import slice_frame, slice_position, stack_geometry
from medviewer.io.dicom_header import Header, read_header
from medviewer.io.dicom_tags import Tag
from medviewer.io.reader import OpenRequest, reader
from medviewer.io.readers.dicom_series import read_headers
from medviewer.jobs.job import JobContext

#: The first offset is 0 or the z of the first plane, mm, to this.
_SAME_MM: Final = 0.01


@reader("rtdose", kinds=["rtdose"])
def read(ctx: JobContext, request: OpenRequest) -> Volume:
    """Read a dose distribution; its planes are put in the order of their places.

    Raises
    ------
    InputError
        ``E_GEOMETRY``, ``E_UNEVEN_SPACING`` when its planes are no grid; ``E_RESCALE`` without DoseGridScaling.
    """
    header = read_header(request.series.files[0])
    positions = _positions(header)
    scaled, warnings = _scaling(header)
    frames = frame_headers(header)
    planes = [
        replace(frame, film=False, values={**frame.values, **scaled, Tag.IMAGE_POSITION_PATIENT: _text(position)})
        for frame, position in zip(frames, positions, strict=True)
    ]
    along = positions @ slice_frame(header).normal
    ordered = [planes[n] for n in np.argsort(along, kind="stable")]
    if len(ordered) == 1:
        warnings.append(SeriesWarning("W_SINGLE_SLICE", "A single plane of doses: it has no depth."))
    # Doses are small: shown when all are there, as only then the window is known, from none to the highest.
    quiet = OpenRequest(series=request.series, decode=request.decode)
    volume = read_headers(ctx, quiet, ordered, stack_geometry(ordered), warnings=warnings)
    highest = float(volume.array.max())
    if highest > 0:
        volume = replace(volume, window=(highest / 2, highest))
    request.on_first(volume)
    request.on_filled(Region.whole(volume.array.shape))
    return volume


def _text(numbers: Sequence[float] | Points) -> bytes:
    return "\\".join(repr(float(number)) for number in numbers).encode()


def _positions(header: Header) -> Points:
    """Return where each plane begins, LPS mm (n, 3)."""
    name = header.path.name
    if header.frames is None:
        frames = header.text(Tag.NUMBER_OF_FRAMES)[:12]
        raise DecodeError(f"{name} declares {frames!r} frames.", code="E_DIMENSIONS")
    first, normal = np.array(slice_position(header)), slice_frame(header).normal
    offsets = header.numbers(Tag.GRID_FRAME_OFFSET_VECTOR)
    if header.frames == 1:
        return first[None]
    if offsets is None or len(offsets) != header.frames:
        count = "no" if offsets is None else str(len(offsets))
        raise GeometryError(f"{name} has {header.frames} planes and {count} places for them.", code="E_GEOMETRY")
    vector = np.array(offsets)
    if abs(vector[0]) > _SAME_MM:
        # The other form: z of every plane, for planes across the patient only.
        if abs(vector[0] - first[2]) > _SAME_MM or abs(abs(normal[2]) - 1.0) > 1e-4:
            text = f"{name} begins its planes at {vector[0]:g} mm, which is neither 0 nor where its first plane lies"
            raise GeometryError(f"{text} ({first[2]:g} mm).", code="E_GEOMETRY")
        vector = (vector - vector[0]) * np.sign(normal[2])
    return np.asarray(first + vector[:, None] * normal)


def _scaling(header: Header) -> tuple[dict[int, bytes], list[SeriesWarning]]:
    """Return the elements that make the planes images in Gy, and what is to be said about their unit."""
    scaling = header.number(Tag.DOSE_GRID_SCALING)
    if scaling is None or scaling <= 0:
        raise DecodeError(f"{header.path.name} has no usable DoseGridScaling.", code="E_RESCALE")
    units = header.text(Tag.DOSE_UNITS).upper()
    values = {
        Tag.RESCALE_SLOPE: _text([scaling]),
        Tag.RESCALE_INTERCEPT: b"0",
        Tag.RESCALE_TYPE: b"Gy" if units == "GY" else b"",
    }
    if units == "GY":
        return values, []
    said = "relative to a reference that it does not name" if units == "RELATIVE" else "in a unit that it does not name"
    return values, [SeriesWarning("W_DOSE_UNIT", f"The doses are {said}, not in Gy.")]
