"""How often values occur, and where automatic thresholds part them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medviewer.core.errors import InputError
from medviewer.core.volume import VoxelArray
from medviewer.imaging.thresholds import METHODS, automatic_threshold, bin_edges, sampled

_BINS = 512
#: Percentiles between which values are counted; what lies far beyond is few, and would squeeze the rest.
_MOST = (0.01, 99.99)


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Counts of values.

    Attributes
    ----------
    edges : float array (n + 1,)
        Borders of the bins, rising, in the unit of the values.
    counts : int array (n,)
    """

    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]


def histogram(values: VoxelArray) -> Histogram | None:
    """Count a sample of an array (k, j, i); None where there are no two different finite values.

    Values beyond the percentiles 0.01 and 99.99 are left out. Bins of whole numbers hold equally many of them.
    """
    line = _finite(values)
    if line.size == 0:
        return None
    low, high = (float(n) for n in np.percentile(line, _MOST))
    if low == high:
        low, high = float(line.min()), float(line.max())
    if low == high:
        return None
    edges = bin_edges(line, low, high, _BINS)
    counts, _ = np.histogram(line, edges)
    return Histogram(edges, counts)


def thresholds(values: VoxelArray, check: Callable[[], None] = lambda: None) -> dict[str, float]:
    """Return what every automatic method finds in a sample of an array (k, j, i); one that finds nothing is left out.

    `check` is called between the methods, and may raise to end it.
    """
    line = _finite(values)
    found: dict[str, float] = {}
    for method in METHODS:
        check()
        try:
            found[method] = automatic_threshold(line, method)
        except InputError:
            continue
    return found


def _finite(values: VoxelArray) -> VoxelArray:
    line = sampled(values)
    return line[np.isfinite(line)] if line.dtype.kind == "f" else line
