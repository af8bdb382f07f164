"""Values of what has a unit of its own or several points: PET, doses, time axes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.errors import MedViewerError
from medviewer.core.volume import Volume
from medviewer.io.dicom_scan import scan
from medviewer.io.reader import open_series
from tools.bar.bar import CTX, Bench, Figure, row


@row("R-08a", "PET in SUV, doses in Gy and every time point are right")
def values_in_units_are_those_of_pydicom(bench: Bench) -> Figure:
    """Every slice equals pydicom's values: of PET after undoing the factor, of doses times DoseGridScaling."""
    equal: Counter[str] = Counter()
    compared: Counter[str] = Counter()
    folders = {bench.folder / p.relative_to(bench.folder).parts[0] for p in bench.corpora}
    for folder in sorted(folders):
        for study in scan(CTX, [folder]).studies:
            for series in study.series:
                what = _what(series)
                if not what:
                    continue
                try:
                    volume = open_series(CTX, series, bench.worker)
                except MedViewerError:
                    continue
                compared[what] += 1
                equal[what] += _is_right(series, volume)
    figure = ", ".join(f"{what} {equal[what]}/{compared[what]}" for what in sorted(compared))
    return Figure(figure or "none at hand", bool(compared) and equal == compared)


def _what(series: SeriesRef) -> str:
    if not series.volume:
        return ""
    if series.kind == "rtdose":
        return "doses"
    if series.kind != "dicom":
        return ""
    return "PET" if series.modality == "PT" else "time axes" if series.time_labels else ""


def _is_right(series: SeriesRef, volume: Volume) -> bool:
    wanted = np.concatenate([_stored(series.at_time(n)) for n in range(len(series.time_labels) or 1)])
    arrays = volume.time.arrays if volume.time is not None else (volume.array,)
    factor = volume.suv.factors.get(volume.unit, 1.0) if volume.suv is not None else 1.0
    found = np.concatenate(arrays) / np.float64(factor)
    return found.shape == wanted.shape and bool(np.allclose(found, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max()))


def _stored(series: SeriesRef) -> npt.NDArray[Any]:
    """Return the slices of a series as pydicom has them, in its order."""
    from pydicom import dcmread
    from pydicom.pixels.processing import apply_modality_lut

    if series.kind == "rtdose":
        dataset = dcmread(series.files[0])
        doses: npt.NDArray[Any] = dataset.pixel_array * float(dataset.DoseGridScaling)
        doses = doses.reshape(-1, *doses.shape[-2:])
        offsets = [float(v) for v in dataset.GridFrameOffsetVector][: len(doses)]
        return doses[np.argsort(offsets, kind="stable")]
    slices = []
    for path, frame in zip(series.files, series.frames or (None,) * len(series.files), strict=True):
        dataset = dcmread(path)
        pixels = dataset.pixel_array if frame is None or dataset.pixel_array.ndim == 2 else dataset.pixel_array[frame]
        if frame is not None:
            groups = (dataset.PerFrameFunctionalGroupsSequence[frame], *dataset.SharedFunctionalGroupsSequence)
            found = [g.PixelValueTransformationSequence[0] for g in groups if "PixelValueTransformationSequence" in g]
            slope, intercept = (float(found[0].RescaleSlope), float(found[0].RescaleIntercept)) if found else (1.0, 0.0)
            slices.append(pixels * slope + intercept)
        else:
            slices.append(apply_modality_lut(pixels, dataset))
    return np.array(slices)
