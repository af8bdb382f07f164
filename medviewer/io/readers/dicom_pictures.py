"""DICOM pictures and films: what has pixels and is no volume."""

from __future__ import annotations

from medviewer.core.volume import Volume
from medviewer.io.dicom_frames import slice_headers
from medviewer.io.dicom_pictures import frame_times_ms, opened_grid
from medviewer.io.reader import SKIP, OpenRequest, Skip, reader
from medviewer.io.readers.dicom_series import read_headers
from medviewer.io.study_tree import PICTURES
from medviewer.jobs.job import JobContext


@reader("dicom_pictures", kinds=[PICTURES])
def read(ctx: JobContext, request: OpenRequest) -> Volume | Skip:
    """Read pictures in the order in which they were listed."""
    if not request.series.files:
        return SKIP
    headers = slice_headers(request.series)
    grid, notes = opened_grid(headers)
    return read_headers(
        ctx,
        request,
        headers,
        grid.geometry,
        warnings=notes,
        stacking=request.series.stacking,
        in_patient=grid.in_patient,
        in_mm=grid.in_mm,
        frame_times_ms=frame_times_ms(headers),
    )
