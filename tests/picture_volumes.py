"""Pictures and films as the readers make them: no depth, nowhere in the patient, with or without colours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume

Colors = npt.NDArray[np.uint8]
#: An F that is longer than wide: it shows whether a picture is upright and not mirrored.
F_ROWS = ("####", "#...", "###.", "#...", "#...")


def luminance(rgb: Colors) -> npt.NDArray[np.uint8]:
    """ITU-R BT.601."""
    return np.round(rgb @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)


def photo(width: int = 60, height: int = 40, *, in_mm: bool = False) -> Volume:
    """A colour picture: an orange F on blue, red growing to the right and green downwards."""
    rgb = np.zeros((1, height, width, 3), np.uint8)
    rgb[0, :, :, 0] = np.linspace(0, 80, width)
    rgb[0, :, :, 1] = np.linspace(0, 80, height)[:, np.newaxis]
    rgb[0, :, :, 2] = 120
    cell = height // 8
    for row, line in enumerate(F_ROWS):
        for column, sign in enumerate(line):
            if sign == "#":
                y, x = (row + 1) * cell, (column + 2) * cell
                rgb[0, y : y + cell, x : x + cell] = (255, 140, 20)
    return Volume(
        luminance(rgb), Geometry((width, height, 1), (1.0, 1.0, 1.0)), name="Skin", modality="XC", colors=rgb,
        stacking="number", in_patient=False, in_mm=in_mm,
    )  # fmt: skip


def film(frames: int = 12, *, in_mm: bool = False, frame_ms: float = 40.0) -> Volume:
    """A film of 8 bits: a bright square that goes to the right by four pixels a frame."""
    array = np.full((frames, 48, 64), 30, np.uint8)
    for k in range(frames):
        array[k, 20:28, 4 * k : 4 * k + 8] = 220
    return Volume(
        array, Geometry((64, 48, frames), (0.5, 0.5, 1.0) if in_mm else (1.0, 1.0, 1.0)), name="Run 1", modality="XA",
        stacking="time", in_patient=False, in_mm=in_mm, frame_times_ms=tuple(k * frame_ms for k in range(frames)),
    )  # fmt: skip
