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
    if kind == "steps":
        return apply_steps(values, scheme["steps"])
    raise TaskError(
        f"The model asks for intensities by {kind!r}, which this version does not know.",
        hint="Update MedViewer, or get an older version of the model.",
        code="E_MODEL_FILE",
    )


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
