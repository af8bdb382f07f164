"""Intensity transforms of MONAI, as plain functions; a card lists them in order.

References
----------
MONAI documentation, "Transforms", section Intensity: what each one computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


def apply_steps(values: FloatArray, steps: Sequence[Mapping[str, Any]]) -> FloatArray:
    """Return the values of one channel after all steps, each ``{"step": name, **parameters}``.

    Raises
    ------
    ValueError
        An unknown step.
    """
    for entry in steps:
        parameters = {name: value for name, value in entry.items() if name != "step"}
        function = STEPS.get(entry["step"])
        if function is None:
            raise ValueError(f"unknown step {entry['step']!r}")
        values = function(values, **parameters).astype(np.float32, copy=False)
    return values


def _between(
    values: FloatArray, low: float, high: float, to_low: float | None, to_high: float | None, clip: bool
) -> FloatArray:
    if high == low:
        return values - low if to_low is None else values - low + to_low
    scaled = (values - low) / (high - low)
    if to_low is not None and to_high is not None:
        scaled = scaled * (to_high - to_low) + to_low
        if clip:
            scaled = np.clip(scaled, to_low, to_high)
    return scaled


def scale_range(
    values: FloatArray,
    a_min: float,
    a_max: float,
    b_min: float | None = None,
    b_max: float | None = None,
    clip: bool = False,
) -> FloatArray:
    """``ScaleIntensityRange``: a_min → b_min, a_max → b_max."""
    return _between(values, a_min, a_max, b_min, b_max, clip)


def scale(values: FloatArray, minv: float | None = 0.0, maxv: float | None = 1.0) -> FloatArray:
    """``ScaleIntensity``: smallest → minv, largest → maxv."""
    return _between(values, float(values.min()), float(values.max()), minv, maxv, False)


def scale_percentiles(
    values: FloatArray, lower: float, upper: float, b_min: float | None, b_max: float | None, clip: bool = False
) -> FloatArray:
    """``ScaleIntensityRangePercentiles``."""
    low, high = np.percentile(values, (lower, upper))
    return _between(values, float(low), float(high), b_min, b_max, clip)


def normalize(
    values: FloatArray, subtrahend: float | None = None, divisor: float | None = None, nonzero: bool = False
) -> FloatArray:
    """``NormalizeIntensity`` of one channel: less the mean, over the deviation; of what is not zero, if so asked."""
    inside = values != 0 if nonzero else np.ones(values.shape, bool)
    part = values[inside]
    if not part.size:
        return values
    less = float(part.mean()) if subtrahend is None else subtrahend
    over = float(part.std()) if divisor is None else divisor
    result = values.copy()
    result[inside] = (part - less) / (over or 1.0)
    return result


def clip_range(values: FloatArray, low: float, high: float) -> FloatArray:
    """Clip."""
    return np.clip(values, low, high)


STEPS: Mapping[str, Callable[..., FloatArray]] = {
    "scale_range": scale_range,
    "scale": scale,
    "scale_percentiles": scale_percentiles,
    "normalize": normalize,
    "clip": clip_range,
}
