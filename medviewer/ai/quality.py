"""Reasons to look at a result twice, found by looking at the result itself; what is usual stands in the model's card.

A card's setting ``quality`` may say::

    {"border": false,                          # labels may end where the image ends
     "volume_ml": {"left_lung": [500, 5000]},  # usual volumes by the label's name
     "entropy": 0.3,                           # largest usual mean uncertainty of what was found
     "intensity": {"50": [-1000, -300]}}       # usual range of percentiles of the image's values
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from medviewer.ai.card import ModelCard
from medviewer.core.finding import QualityFlag
from medviewer.core.geometry import Geometry
from medviewer.core.segmentation import LabelArray
from medviewer.core.volume import VoxelArray

#: Fewer voxels on the border of the image are chance.
_ON_BORDER = 4


def quality_flags(
    card: ModelCard, labels: LabelArray, geometry: Geometry, image: VoxelArray, entropy: float | None = None
) -> tuple[QualityFlag, ...]:
    """Return what looks wrong.

    Parameters
    ----------
    labels, image : shape (k, j, i) of `geometry`
    entropy : float, optional
        Mean uncertainty of what was found, 0 .. 1.
    """
    usual: Mapping[str, Any] = card.settings.get("quality", {})
    flags = _unusual_image(usual, image)
    most = usual.get("entropy")
    if entropy is not None and most is not None and entropy > float(most):
        text = f"The model was unsure of what it found ({entropy:.0%}, usually below {float(most):.0%})."
        flags.append(QualityFlag("Q_UNSURE", text))
    counts = np.bincount(labels.ravel(), minlength=1)
    edges = _border_counts(labels, len(counts)) if usual.get("border", True) else np.zeros(len(counts), int)
    ml = counts * geometry.voxel_volume_mm3 / 1000
    for label in card.labels:
        if label.value >= len(counts) or not counts[label.value]:
            continue
        if edges[label.value] >= _ON_BORDER:
            text = "Reaches the border of the image: part of it may be missing."
            flags.append(QualityFlag("Q_BORDER", text, label.value))
        low, high = usual.get("volume_ml", {}).get(label.name, (0.0, np.inf))
        if not low <= ml[label.value] <= high:
            text = f"Has {ml[label.value]:.3g} ml; {low:g} to {high:g} ml are usual."
            flags.append(QualityFlag("Q_VOLUME", text, label.value))
    return tuple(flags)


def _unusual_image(usual: Mapping[str, Any], image: VoxelArray) -> list[QualityFlag]:
    """Compare percentiles of an image's values with what the model was trained on."""
    ranges: Mapping[str, Any] = usual.get("intensity", {})
    if not ranges:
        return []
    sample = image.ravel()[:: max(1, image.size // 200_000)]
    for percentile, (low, high) in ranges.items():
        value = float(np.percentile(sample, float(percentile)))
        if not low <= value <= high:
            text = f"The image is unlike those the model was trained on: its values are about {value:.4g}, usually "
            return [QualityFlag("Q_UNLIKE", f"{text}{low:g} to {high:g}.")]
    return []


def _border_counts(labels: LabelArray, n: int) -> Any:
    """Return how many voxels of each value lie on the faces of the array; a face of a single slice is no border."""
    total = np.zeros(n, int)
    for axis, size in enumerate(labels.shape):
        if size > 2:
            for end in (0, -1):
                total += np.bincount(labels.take(end, axis=axis).ravel(), minlength=n)
    return total
