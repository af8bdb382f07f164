from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medviewer.imaging.histogram import histogram, thresholds
from medviewer.imaging.thresholds import METHODS, automatic_threshold

_shapes = hnp.array_shapes(min_dims=3, max_dims=3, max_side=12)
whole = hnp.arrays(np.int16, _shapes, elements=st.integers(-3000, 3000))
real = hnp.arrays(np.float32, _shapes, elements=st.floats(-1.0, 1.0, width=32))


@given(st.one_of(whole, real))
@settings(max_examples=60)
def test_nearly_all_values_are_counted_in_rising_bins(values: np.ndarray) -> None:
    found = histogram(values)
    if found is None:
        assert values.min() == values.max()
        return
    assert (np.diff(found.edges) > 0).all()
    assert len(found.edges) == len(found.counts) + 1
    assert found.counts.sum() >= 0.99 * values.size - 2
    # Whole numbers are never on a border, and each bin holds as many of them as the next.
    if values.dtype.kind == "i":
        assert np.allclose(np.diff(found.edges), np.diff(found.edges)[0])
        assert np.allclose(found.edges % 1, 0.5)


def test_a_few_wild_values_do_not_squeeze_the_rest() -> None:
    values = np.random.default_rng(1).normal(0, 50, (40, 40, 40)).astype(np.float32)
    values[0, 0, :2] = (1e6, np.nan)
    found = histogram(values)
    assert found is not None
    assert found.edges[-1] < 1000


@pytest.mark.parametrize("values", [np.full((2, 2, 2), 3), np.full((2, 2, 2), np.nan)])
def test_one_value_has_no_histogram(values: np.ndarray) -> None:
    assert histogram(values) is None
    assert thresholds(values) == {}


def test_lines_are_where_the_methods_part_the_values_and_can_be_cancelled() -> None:
    rng = np.random.default_rng(5)
    values = np.concatenate([rng.normal(40, 9, 1000), rng.normal(160, 9, 728)]).astype(np.int16).reshape(12, 12, 12)
    found = thresholds(values)
    assert set(found) <= set(METHODS)
    assert len(found) > 10
    assert all(found[method] == automatic_threshold(values, method) for method in found)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        thresholds(values, stop)
