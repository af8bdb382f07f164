"""Colours: pictures against what pydicom makes of them, and against each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from medviewer.core.volume import Volume
from medviewer.io.reader import open_series
from tools.bar.bar import CTX, Bench, Figure, row
from tools.bar.intensity import LOSSY

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

#: Decoders of lossy codecs round differently.
_LOSSY_STEPS: Final = 3
#: The same picture in several codecs without loss.
_TWINS: Final = ("US1_UNCR", "US1_J2KR", "US1_RLE")


@row("R-03b", "colours are right")
def colours_are_those_of_pydicom(bench: Bench) -> Figure:
    """Every colour equals pydicom's: exactly without loss, within a few steps with it; and twins equal each other."""
    exact = lossless = near = lossy = 0
    worst = 0
    twins: dict[str, npt.NDArray[Any]] = {}
    for path, found in bench.opened.items():
        for outcome in found:
            if outcome.series is None or outcome.state == "REFUSED" or not outcome.series.kind.startswith("dicom"):
                continue
            volume = open_series(CTX, outcome.series, bench.worker)
            if volume.colors is None:
                continue
            off = int(np.abs(volume.colors.astype(int) - _wanted(path, outcome.series.transfer_syntax_uid)).max())
            if outcome.series.transfer_syntax_uid in LOSSY:
                lossy += 1
                near += off <= _LOSSY_STEPS
                worst = max(worst, off)
            else:
                lossless += 1
                exact += off == 0
            twins |= _twin(path, volume)
    same = sum(np.array_equal(colors, next(iter(twins.values()))) for colors in twins.values())
    figure = (
        f"{exact}/{lossless} lossless equal pydicom, {near}/{lossy} lossy within {_LOSSY_STEPS} (worst {worst}); "
        f"{same}/{len(twins)} twins equal"
    )
    return Figure(figure, lossless > 0 and exact == lossless and near == lossy and same == len(twins))


def _twin(path: Path, volume: Volume) -> dict[str, npt.NDArray[Any]]:
    if path.stem not in _TWINS or volume.colors is None:
        return {}
    return {f"{path.parent}/{path.stem}": volume.colors}


def _wanted(path: Path, syntax: str) -> npt.NDArray[Any]:
    """Return the colours of a file by pydicom, of a slide by highdicom: (frames, rows, columns, 3), 8 bits."""
    from pydicom import dcmread
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array
    from pydicom.uid import UID

    dataset: Dataset = dcmread(path, force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
    if dataset.get("DimensionOrganizationType") in ("TILED_FULL", "TILED_SPARSE"):
        from highdicom import imread

        slide: npt.NDArray[Any] = imread(path).get_total_pixel_matrix().astype(int)
        return slide[None]
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        colors = apply_color_lut(dataset.pixel_array, dataset)
        bits = 8 * colors.itemsize if int(colors.max()) > 255 else 8
    else:
        colors = pixel_array(dataset)
        bits = int(dataset.BitsStored)
    eight = (colors >> (bits - 8)).astype(int)
    return eight if eight.ndim == 4 else eight[None]
