"""From an image's values to what a network was trained on. Training and inference call the same function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.ai.intensity_steps import apply_steps
from medviewer.core.errors import TaskError

FloatArray = npt.NDArray[np.float32]

#: A value that the corner of an image shares with more than this part of it is background, even if it is not the
#: smallest one.
_BACKGROUND = 0.05


def normalise(array: npt.NDArray[Any], scheme: Mapping[str, Any], modality: str = "") -> FloatArray:
    """Return values as a network wants them.

    Parameters
    ----------
    array : array of any shape
        Values in the volume's unit.
    scheme : mapping
        ``{"kind": "window", "low": a, "high": b}``: a → -1, b → 1, clipped.
        ``{"kind": "percentile", "low": p, "high": q}``: the same between two percentiles of the values that are not
        background (padding, air), so that the field of view does not matter.
        ``{"kind": "zscore"}``: mean 0 and deviation 1 over the values that are not background.
        ``{"kind": "peak", "unit": u, "low": a, "high": b}``: 0 at the commonest value of the middle of the image (in a
        head: of the brain), 1 at (1 + u) times that value, clipped.
        ``{"kind": "zscore", "mean": m, "std": s, "low": a, "high": b}``: clipped, then with a fixed mean and deviation
        (nnU-Net's scheme for CT).
        ``{"kind": "steps", "steps": [{"step": "scale_range", …}, …]}``: MONAI's transforms, one after the other.
        Any of them with ``"by_modality": {"CT": {…}}``: another scheme for images of that modality.
    modality : str
        DICOM Modality of the image, where it is known.

    Raises
    ------
    TaskError
        ``E_MODEL_FILE``: a scheme this version does not know.
    """
    scheme = scheme.get("by_modality", {}).get(modality, scheme)
    kind = scheme.get("kind")
    values = array.astype(np.float32)
    if kind == "window":
        return _between(values, float(scheme["low"]), float(scheme["high"]))
    if kind == "percentile":
        low, high = np.percentile(_inside(values), (float(scheme["low"]), float(scheme["high"])))
        return _between(values, float(low), float(high))
    if kind == "zscore":
        if "mean" in scheme:
            np.clip(values, float(scheme["low"]), float(scheme["high"]), out=values)
            mean, std = float(scheme["mean"]), float(scheme["std"])
        else:
            inside = _inside(values)
            mean, std = float(inside.mean()), float(inside.std())
        values -= mean
        values /= max(std, 1e-6)
        return values
    if kind == "peak":
        values /= peak_of(values)
        values -= 1
        values /= float(scheme["unit"])
        np.clip(values, float(scheme["low"]), float(scheme["high"]), out=values)
        return values
    if kind == "steps":
        return apply_steps(values, scheme["steps"])
    raise TaskError(
        f"The model asks for intensities by {kind!r}, which this version does not know.",
        hint="Update MedViewer, or get an older version of the model.",
        code="E_MODEL_FILE",
    )


def peak_of(values: FloatArray) -> float:
    """Return the commonest of the brighter values in the middle of an image; in a head that is about white matter.

    The middle is half of each axis of what is not air, so that neither skull and scalp nor the field of view matter.
    """
    bright = values > float(_inside(values).mean())
    low, high = [], []
    for axis in range(values.ndim):
        there = np.flatnonzero(bright.any(tuple(other for other in range(values.ndim) if other != axis)))
        first, stop = (int(there[0]), int(there[-1]) + 1) if there.size else (0, values.shape[axis])
        low.append(first + (stop - first) // 4)
        high.append(stop - (stop - first) // 4)
    middle = values[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    top = max(float(np.percentile(middle, 90)), 1e-6)
    counts, edges = np.histogram(middle, bins=64, range=(0.4 * top, 1.4 * top))
    at = int(np.convolve(counts, np.ones(5), "same").argmax())
    return float(edges[at] + edges[at + 1]) / 2


def _inside(values: FloatArray) -> FloatArray:
    """Return the values that are not background: padding and air, or what a skull stripping left, ringing around it."""
    there = values > values.min()
    outside = values == values.flat[0]
    if np.count_nonzero(outside) > _BACKGROUND * values.size:
        there &= ~outside
    inside: FloatArray = values[there]
    return inside if inside.size else values.ravel()


def _between(values: FloatArray, low: float, high: float) -> FloatArray:
    values -= (low + high) / 2
    values *= 2 / max(high - low, 1e-6)
    np.clip(values, -1.0, 1.0, out=values)
    return values
