"""A part of a series that is too large for the memory: every n-th slice, or a run of slices.

A part is a series like any other, with fewer files: its geometry comes from the slices that are in it, and it says that
it is a part wherever it goes.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from medviewer.core.dicom_ref import SeriesRef, SeriesWarning
from medviewer.io import native_pixels
from medviewer.io.dicom_frames import slice_headers
from medviewer.io.pixel_format import pixel_format


def part_of(series: SeriesRef, slices: slice) -> SeriesRef:
    """Return the series of some slices k of a DICOM series without a time axis."""
    count = len(series.files)
    chosen = range(count)[slices]
    step = chosen.step
    which = f"slices {chosen[0] + 1} to {chosen[-1] + 1}" if step == 1 else f"1 slice of {step}"
    columns, rows, _ = series.size or (0, 0, 0)
    spacing = (*series.spacing[:2], series.spacing[2] * step) if series.spacing else None
    text = f"This is a part of the series: {which}, {len(chosen)} of {count}."
    return replace(
        series,
        key=f"{series.key}:{chosen.start}:{chosen.stop}:{step}",
        description=f"{series.description} [{which}]".strip(),
        files=series.files[slices],
        frames=series.frames[slices],
        size=(columns, rows, len(chosen)),
        spacing=spacing,
        warnings=(*series.warnings, SeriesWarning("W_PART", text)),
    )


def parts_that_fit(series: SeriesRef) -> tuple[SeriesRef, ...]:
    """Return what can be offered of a series that needs more memory than it may take; empty for none.

    The whole extent in fewer slices comes first, then the middle, the first and the last run of slices.

    Raises
    ------
    InputError
        When its files cannot be read any more.
    """
    if series.kind != "dicom" or series.stacking != "place" or series.time_labels or series.interpolation:
        return ()
    count = len(series.files)
    most = native_pixels.memory_budget() // _bytes_of_a_slice(series)
    step = math.ceil(count / max(most, 1))
    if step < 2 or count // step < 2:
        return ()
    most = count // step
    start = (count - most) // 2
    runs = (slice(start, start + most), slice(most), slice(count - most, count))
    return tuple(part_of(series, chosen) for chosen in (slice(None, None, step), *runs))


def _bytes_of_a_slice(series: SeriesRef) -> int:
    """Return what one slice takes in memory."""
    one = replace(series, files=series.files[:1], frames=series.frames[:1])
    form = pixel_format(slice_headers(one)[0])
    voxel = np.dtype(native_pixels.candidate_types([form])[0]).itemsize + 3 * form.is_color
    return form.rows * form.columns * voxel
