"""Sides: an asymmetric phantom in four positions and three planes, on the screen and as NIfTI."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pydicom

from medviewer.core.geometry import Geometry, Points, vec3
from medviewer.core.view_state import PLANES, Plane
from medviewer.core.volume import Volume
from medviewer.io.dicom_scan import scan
from medviewer.io.reader import open_series
from medviewer.render.plane import PlaneFrame, PlaneGrid
from medviewer.render.sampler import PlaneSampler
from tests.f_phantom import ORIGIN, SIZE, SPACING, make_series
from tools.bar import dcm2niix
from tools.bar.bar import CTX, Bench, Figure, row

#: Turn of the patient about the long axis, in quarter turns: supine, prone, on the left and on the right side.
_POSITIONS: Final = {"HFS": 0, "HFP": 2, "HFDL": 1, "HFDR": 3}
_PLANES: Final = {
    "axial": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "coronal": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "sagittal": ((0, 1, 0), (0, 0, -1), (-1, 0, 0)),
}
#: Letters at the left, right, top and bottom of a view, as radiologists read it.
_LETTERS: Final[dict[Plane, str]] = {"axial": "RLAP", "coronal": "RLHF", "sagittal": "APHF"}
_TOWARDS: Final = {"L": (1, 0, 0), "P": (0, 1, 0), "F": (0, 0, -1)}


@row("R-07", "sides are right")
def sides_are_right(bench: Bench) -> Figure:
    """Letters and cursor of the three views agree with the files themselves; the NIfTI lies where dcm2niix has it."""
    letters = cursors = compared = total = 0
    apart_mm, different = 0.0, 0
    for n, geometry in enumerate(_grids()):
        folder = bench.folder / f"sides {n}"
        make_series(folder, geometry)
        (study,) = scan(CTX, [folder]).studies
        (series,) = study.series
        volume = open_series(CTX, series, bench.worker)
        total += 1
        letters += all(_letters_are_right(volume, plane) for plane in PLANES)
        cursors += _cursor_is_right(volume)
        apart = dcm2niix.compare(volume, series.files) if dcm2niix.is_there() else None
        if apart is not None:
            compared, apart_mm, different = compared + 1, max(apart_mm, apart.mm), different + apart.voxels
    figure = (
        f"letters {letters}/{total}, three-axis cursor {cursors}/{total}; {compared} compared with dcm2niix: "
        f"{apart_mm:.5f} mm apart, {different} voxels differ"
    )
    told = compared == total or not dcm2niix.is_there()
    return Figure(figure, letters == cursors == total == 12 and told and apart_mm <= 0.01 and different == 0)


def _grids() -> Iterator[Geometry]:
    for quarters in _POSITIONS.values():
        angle = quarters * np.pi / 2
        turn = np.rint([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        for axes in _PLANES.values():
            yield Geometry(SIZE, SPACING, ORIGIN, tuple((turn @ np.array(axes).T).ravel()))


def _frame(volume: Volume, plane: Plane, lps: Points) -> PlaneFrame:
    grid = PlaneGrid.of(volume.geometry, plane)
    return PlaneFrame.fit(grid, grid.slice_of(vec3(lps)), 230, 210)


def _letters_are_right(volume: Volume, plane: Plane) -> bool:
    """Whether a view is the right way round, and a step on the screen goes where its letter says."""
    frame = _frame(volume, plane, np.array(volume.geometry.center_lps))
    right, down = (np.subtract(frame.display_to_lps(*p), frame.display_to_lps(0, 0)) for p in ((1, 0), (0, 1)))
    _, right_letter, _, down_letter = frame.grid.letters
    towards = right @ _TOWARDS[right_letter] > 0 and down @ _TOWARDS[down_letter] > 0
    return bool(towards) and "".join(frame.grid.letters) == _LETTERS[plane]


def _cursor_is_right(volume: Volume) -> bool:
    """Whether every pixel of every file is under the cursor, in all three views, at the place its file gives it."""
    assert volume.series is not None
    samplers = {plane: PlaneSampler(volume.array, "nearest") for plane in PLANES}
    rng = np.random.default_rng(0)
    for path in volume.series.files:
        dataset = pydicom.dcmread(path)
        for j, i in rng.integers(0, dataset.pixel_array.shape, (12, 2)):
            lps = _place(dataset, i, j)
            for plane, sampler in samplers.items():
                frame = _frame(volume, plane, lps)
                x, y = frame.lps_to_display(vec3(lps))
                column, line = int(x), int(y)
                shown: npt.NDArray[Any] = sampler.sample(
                    frame.pixel_to_index, (column, line, column + 1, line + 1)
                )  # fmt: skip
                if shown[0, 0] != dataset.pixel_array[j, i]:
                    return False
    return True


def _place(dataset: pydicom.Dataset, i: int, j: int) -> Points:
    """Return LPS mm of a pixel by its file alone (PS3.3 C.7.6.2.1.1)."""
    across, down = np.array(dataset.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    row_mm, column_mm = (float(v) for v in dataset.PixelSpacing)
    place: Points = (
        np.array(dataset.ImagePositionPatient, dtype=np.float64) + across * column_mm * i + down * row_mm * j
    )
    return place
