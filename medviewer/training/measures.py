"""Figures of classifiers and masks: ranking, calibration, overlap.

References
----------
Hanley and McNeil, The meaning and use of the area under a ROC curve, Radiology 1982. Guo et al., On Calibration of
Modern Neural Networks, ICML 2017.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def dice(found: Bools, truth: Bools) -> float:
    """Return the Dice coefficient; 1 where both are empty."""
    total = int(found.sum()) + int(truth.sum())
    return 2 * int((found & truth).sum()) / total if total else 1.0


def auc(scores: npt.NDArray[Any], truth: Bools) -> float:
    """Return how often a positive case scores above a negative one; a tie counts one half."""
    order, counts = np.unique(scores, return_inverse=True, return_counts=True)[1:]
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[order]
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        raise ValueError("both classes are needed")
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def expected_calibration_error(probabilities: npt.NDArray[Any], truth: Bools, bins: int = 10) -> float:
    """Return the mean distance between stated probability and observed frequency, over equally wide bins."""
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    counts = np.bincount(place, minlength=bins)
    stated = np.bincount(place, probabilities, bins)
    seen = np.bincount(place, truth.astype(float), bins)
    return float(np.abs(stated - seen).sum() / counts.sum())


def fit_calibration(logits: npt.NDArray[Any], truth: Bools) -> tuple[float, float]:
    """Return temperature t and bias b for which ``sigmoid(logit / t + b)`` is most likely, with a weak pull to (1, 0).

    The temperature is at least 1: other pictures than these are never easier, so nothing is made surer than it was.

    Parameters
    ----------
    logits : array (n,)
        Log odds of the positive class.
    truth : array (n,), bool
    """
    from scipy.optimize import minimize

    x, y = logits.astype(float), truth.astype(float)

    def cost(values: FloatArray) -> float:
        z = x * np.exp(-max(values[0], 0.0)) + values[1]
        pull = 0.5 * (values[0] ** 2 + values[1] ** 2)
        return float((np.logaddexp(0.0, z) - y * z).sum() + pull)

    log_temperature, bias = minimize(cost, np.zeros(2), method="Nelder-Mead").x
    return float(np.exp(max(log_temperature, 0.0))), float(bias)
