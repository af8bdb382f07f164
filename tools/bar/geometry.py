"""Places: every slice corner against its position and orientation."""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np

from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.geometry import Geometry
from medviewer.io.dicom_frames import slice_headers
from medviewer.io.dicom_geometry import corner_error_mm, slice_frame, slice_position
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
    from medviewer.io.dicom_geometry import stack_geometry

    headers = slice_headers(series)
    geometry: Geometry = stack_geometry(headers)
    positions = np.array([slice_position(header) for header in headers])
    return corner_error_mm(geometry, [slice_frame(header) for header in headers], positions)
