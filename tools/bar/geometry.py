"""Places: every slice corner against its position and orientation, and every volume against that of dcm2niix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from medviewer.core.dicom_ref import SeriesRef
from medviewer.io.dicom_frames import slice_headers
from medviewer.io.dicom_geometry import corner_error_mm, frames_and_positions, stack_geometry
from medviewer.io.dicom_resample import grid_through
from medviewer.io.dicom_scan import scan
from medviewer.io.reader import open_series
from tests.dicom_makers import pixels, write_slice
from tools.bar import dcm2niix
from tools.bar.bar import CTX, Bench, Figure, row


@row("R-06", "geometry is exact")
def geometry_is_exact(bench: Bench) -> Figure:
    """No slice corner lies off its file's word; NIfTI files lie where dcm2niix has them; odd series are named."""
    worst, count, warned = 0.0, 0, Counter[str]()
    compared, apart_mm, different = 0, 0.0, 0
    folders = {bench.folder / p.relative_to(bench.folder).parts[0] for p in bench.corpora}
    for series in _series(folders):
        warned.update({w.code for w in series.warnings} & _PLACE_CODES)
        if not series.volume or series.kind != "dicom":
            continue
        worst = max(worst, _place_error(series))
        count += 1
        if not dcm2niix.is_there() or series.interpolation or series.size is None or series.size[2] < 2:
            continue
        apart = dcm2niix.compare(open_series(CTX, series, bench.worker), series.files)
        if apart is not None:
            compared, apart_mm, different = compared + 1, max(apart_mm, apart.mm), different + apart.voxels
    odd = list(_odd_series(bench.folder / "odd"))
    named = sum(_is_named(folder, codes) for folder, codes in odd)
    figure = (
        f"{count} series, worst corner {worst:.4f} mm off; {compared} compared with dcm2niix: {apart_mm:.4f} mm apart, "
        f"{different} voxels differ; {named}/{len(odd)} odd series named; warned {dict(warned)}"
    )
    right = count > 0 and worst <= 0.1 and apart_mm <= 0.01 and different == 0 and named == len(odd)
    return Figure(figure, right and (compared > 0 or not dcm2niix.is_there()))


_PLACE_CODES: Final = frozenset({
    "W_TILT", "W_UNEVEN_SPACING", "W_MISSING_SLICE", "W_LOCALIZER", "W_NO_POSITION", "W_RESAMPLED", "W_MOSAIC",
})  # fmt: skip


def _series(folders: set[Path]) -> Iterator[SeriesRef]:
    for folder in sorted(folders):
        for study in scan(CTX, [folder]).studies:
            yield from study.series


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


def _tilted(degrees: float) -> list[float]:
    angle = np.radians(degrees)
    return [1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(-np.sin(angle))]


_PLANES: Final = ([1.0, 0, 0, 0, 1, 0], [0.0, 1, 0, 0, 0, -1], [1.0, 0, 0, 0, 0, -1])


def _odd_series(folder: Path) -> Iterator[tuple[Path, set[str]]]:
    """Write the nine kinds that stack wrongly elsewhere: (folder, codes that every part must carry)."""
    even = [2.0 * n for n in range(8)]
    cases: list[tuple[str, set[str], list[tuple[float, float, float]], list[dict[str, Any]]]] = []

    def case(name: str, codes: set[str], depths: list[float], *elements: dict[str, Any]) -> None:
        own = [elements[n * len(elements) // len(depths)] if elements else {} for n in range(len(depths))]
        cases.append((name, codes, [(0.0, 0.0, z) for z in depths], own))

    for degrees in (14.0, 16.5, 18.5):
        case(f"tilt {degrees}", {"W_TILT"}, even, {"ImageOrientationPatient": _tilted(degrees)})
    case("missing", {"W_MISSING_SLICE"}, [0, 2, 4, 8, 10])
    case("tilt, missing", {"W_MISSING_SLICE", "W_TILT"}, [0, 2, 4, 8, 10], {"ImageOrientationPatient": _tilted(16.5)})
    case("uneven", {"W_UNEVEN_SPACING"}, [0, 1.1, 2.9, 7.3, 8.0, 15.1, 16.2, 20.0, 27.3, 31.0])
    case("twice", {"W_AMBIGUOUS"}, even[:4] * 2)
    planes = [{"ImageOrientationPatient": plane} for plane in _PLANES]
    case(
        "localizer",
        {"W_LOCALIZER"},
        [0.0, 1.0, 2.0] * 3,
        *({**p, "ImageType": ["ORIGINAL", "LOCALIZER"]} for p in planes),
    )
    case("mixed", {"W_SPLIT"}, even, *planes[:2])
    for name, codes, places, own in cases:
        for n, (place, elements) in enumerate(zip(places, own, strict=True)):
            write_slice(folder / name / f"{n}.dcm", pixels(n), place, InstanceNumber=n + 1, **elements)
        yield folder / name, codes


def _is_named(folder: Path, codes: set[str]) -> bool:
    """Whether every part of a series says what is odd about it, and what is opened lies where it should."""
    parts = list(_series({folder}))
    told = all(codes <= {warning.code for warning in part.warnings} for part in parts)
    return bool(parts) and told and all(_place_error(part) <= 0.1 for part in parts if part.volume)
