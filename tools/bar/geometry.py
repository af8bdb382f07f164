"""Places: every slice corner against its position and orientation."""

from __future__ import annotations

from collections import Counter
from typing import Final

from medviewer.core.dicom_ref import SeriesRef
from medviewer.io.dicom_frames import slice_headers
from medviewer.io.dicom_geometry import corner_error_mm, frames_and_positions, stack_geometry
from medviewer.io.dicom_resample import grid_through
from tools.bar.bar import CTX, Bench, Figure, row


@row("R-06", "geometry is exact")
def geometry_is_exact(bench: Bench) -> Figure:
    """No slice corner of any opened series lies off its position and orientation."""
    from medviewer.io.dicom_scan import scan

    worst, series_count, warned = 0.0, 0, Counter[str]()
    folders = {bench.folder / p.relative_to(bench.folder).parts[0] for p in bench.corpora}
    for folder in sorted(folders):
        for study in scan(CTX, [folder]).studies:
            for series in study.series:
                warned.update({w.code for w in series.warnings} & _PLACE_CODES)
                if series.volume and series.kind == "dicom":
                    worst = max(worst, _place_error(series))
                    series_count += 1
    figure = f"{series_count} series, worst corner {worst:.4f} mm off; warned {dict(warned)}"
    return Figure(figure, series_count > 0 and worst <= 0.1)


_PLACE_CODES: Final = frozenset({"W_TILT", "W_UNEVEN_SPACING", "W_MISSING_SLICE", "W_LOCALIZER", "W_NO_POSITION"})


def _place_error(series: SeriesRef) -> float:
    """Return the largest error over all points of a time axis, against the grid of the first."""
    if series.time_labels:
        grid = stack_geometry(slice_headers(series.at_time(0)))
        points = [slice_headers(series.at_time(n)) for n in range(len(series.time_labels))]
        return max(corner_error_mm(grid, *frames_and_positions(headers)) for headers in points)
    headers = slice_headers(series)
    frames, positions = frames_and_positions(headers)
    if series.interpolation:
        through = grid_through(headers)
        return corner_error_mm(through.geometry, frames, positions, through.planes)
    return corner_error_mm(stack_geometry(headers), frames, positions)
