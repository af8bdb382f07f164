"""DICOM pictures and films: what has pixels and is no volume."""

from __future__ import annotations

from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.volume import Volume
from medviewer.io.dicom_frames import frame_headers, slice_headers
from medviewer.io.dicom_header import Header, read_header
from medviewer.io.dicom_pictures import NO_SPACING, entered_grid, flat_grid, frame_times_ms, opened_grid
from medviewer.io.dicom_slide import SLIDES, slide_size, slide_spacing
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
    slide = _slide(request.series)
    if slide is not None:
        return _read_slide(ctx, request, *slide)
    if request.series.entered_spacing is not None:
        headers, grid = entered_grid(headers, request.series.entered_spacing)
        notes = list(grid.warnings)
    else:
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


def _slide(series: SeriesRef) -> tuple[list[Header], tuple[int, int]] | None:
    """Return the tiles and the size of a slide that is listed as one picture."""
    if series.sop_class_uid != SLIDES or len(series.files) != 1 or series.size is None:
        return None
    tiles = frame_headers(read_header(series.files[0]))
    size = slide_size(tiles[0], len(tiles))
    return (tiles, size) if size is not None and series.size == (*size, 1) else None


def _read_slide(ctx: JobContext, request: OpenRequest, tiles: list[Header], size: tuple[int, int]) -> Volume:
    spacing = slide_spacing(tiles[0])
    geometry = flat_grid((*size, 1), spacing or (1.0, 1.0))
    return read_headers(
        ctx,
        request,
        tiles,
        geometry,
        warnings=[] if spacing else [NO_SPACING],
        tiled=True,
        stacking="number",
        in_patient=False,
        in_mm=spacing is not None,
    )
