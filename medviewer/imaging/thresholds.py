"""Thresholds that a histogram gives by itself."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from medviewer.core.errors import InputError
from medviewer.core.volume import VoxelArray

Method = Literal[
    "Otsu", "Li", "Yen", "Triangle", "IsoData", "Minimum", "Mean",
    "Huang", "Maximum entropy", "Moments", "Renyi entropy", "Kittler-Illingworth", "Shanbhag", "Intermodes",
]  # fmt: skip

METHODS: tuple[Method, ...] = get_args(Method)

#: From scikit-image; the others are SimpleITK's.
_SKIMAGE = {
    "Otsu": "threshold_otsu", "Li": "threshold_li", "Yen": "threshold_yen", "Triangle": "threshold_triangle",
    "IsoData": "threshold_isodata", "Minimum": "threshold_minimum", "Mean": "threshold_mean",
}  # fmt: skip
_ITK = {
    "Huang": "HuangThreshold", "Maximum entropy": "MaximumEntropyThreshold", "Moments": "MomentsThreshold",
    "Renyi entropy": "RenyiEntropyThreshold", "Kittler-Illingworth": "KittlerIllingworthThreshold",
    "Shanbhag": "ShanbhagThreshold", "Intermodes": "IntermodesThreshold",
}  # fmt: skip

#: Bins that scikit-image takes for values that are no whole numbers.
_COARSE = 256
#: Enough values for a threshold that does not move any more.
SAMPLES = 1_000_000


def sampled(values: VoxelArray, most: int = SAMPLES) -> VoxelArray:
    """Return the values of an array (k, j, i) as a line, on a regular grid of at most about `most` of them."""
    step = max(1, int(np.ceil((values.size / most) ** (1 / values.ndim))))
    return values[(slice(step // 2 if step > 1 else 0, None, step),) * values.ndim].ravel()


def bin_edges(values: VoxelArray, low: float, high: float, most: int) -> npt.NDArray[np.float64]:
    """Return the rising borders of at most about `most` bins from `low` to `high`.

    Bins of whole numbers hold equally many of them, with no number on a border.
    """
    if values.dtype.kind not in "iub":
        return np.linspace(low, high, most + 1)
    width = max(1.0, np.ceil((high - low) / most))
    first = np.floor(low) - 0.5
    return np.asarray(first + width * np.arange(np.ceil((high - first) / width) + 1))


def automatic_threshold(values: npt.ArrayLike, method: Method) -> float:
    """Return the value that parts dark from bright.

    Parameters
    ----------
    values : array
        Of any shape; what is not finite is left out.
    method : Method

    Returns
    -------
    float
        In the unit of the values; bright is what lies above it.

    Raises
    ------
    InputError
        ``E_THRESHOLD`` when there are no two different values, or the method finds no threshold in them.

    References
    ----------
    Sezgin and Sankur, Survey over image thresholding techniques, 2004. The methods are those of scikit-image and ITK.
    """
    line = np.asarray(values).ravel()
    if line.dtype.kind == "f":
        line = line[np.isfinite(line)]
    if line.size == 0 or line.min() == line.max():
        raise InputError("All values here are the same; there is nothing to part.", code="E_THRESHOLD")
    try:
        found = _skimage(line, method) if method in _SKIMAGE else _itk(line, method)
    except RuntimeError as error:
        raise InputError(
            f"{method} finds no threshold in these values.", hint="Choose another method.", code="E_THRESHOLD"
        ) from error
    if not np.isfinite(found):
        raise InputError(
            f"{method} finds no threshold in these values.", hint="Choose another method.", code="E_THRESHOLD"
        )
    return found


def _skimage(line: VoxelArray, method: Method) -> float:
    import skimage.filters

    finder = getattr(skimage.filters, _SKIMAGE[method])
    if method == "Minimum":
        # It smooths until two peaks are left: with a bin for every whole number that takes seconds.
        counts, edges = np.histogram(line, bin_edges(line, float(line.min()), float(line.max()), _COARSE))
        return float(finder(hist=(counts, (edges[:-1] + edges[1:]) / 2)))
    return float(finder(line))


def _itk(line: VoxelArray, method: Method) -> float:
    import SimpleITK as sitk

    finder = getattr(sitk, f"{_ITK[method]}ImageFilter")()
    finder.Execute(sitk.GetImageFromArray(line.astype(np.float32)[None]))
    return float(finder.GetThreshold())
