"""One image, one scheme; another for another modality where the card says so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.ai.intensity import normalise


def test_a_modality_has_its_own_scheme() -> None:
    scheme = {"kind": "zscore", "by_modality": {"CT": {"kind": "window", "low": 0.0, "high": 80.0}}}
    head = np.array([-1000, 0, 40, 80, 1500], np.int16)
    np.testing.assert_allclose(normalise(head, scheme, "CT"), [-1, -1, 0, 1, 1])
    for modality in ("MR", ""):
        np.testing.assert_array_equal(normalise(head, scheme, modality), normalise(head, {"kind": "zscore"}))


@given(st.floats(0.01, 1e4), st.floats(0.0, 5.0))
def test_the_peak_of_a_head_is_its_brain_whatever_the_scale_and_the_scalp(scale: float, scalp: float) -> None:
    rng = np.random.default_rng(0)
    head = np.zeros((30, 30, 30), np.float32)
    head[3:27, 3:27, 3:27] = scalp
    head[5:25, 5:25, 5:25] = rng.normal(1.0, 0.05, (20, 20, 20))
    head[5:10, 5:25, 5:25] *= 1.4
    ready = normalise(head * scale, {"kind": "peak", "unit": 0.5, "low": -1.5, "high": 4.0})
    assert abs(np.median(ready[10:25, 5:25, 5:25])) < 0.1
    assert np.median(ready[5:10, 5:25, 5:25]) == pytest.approx(0.8, abs=0.1)
    assert ready.min() == -1.5


@pytest.mark.parametrize("scheme", [{"kind": "zscore"}, {"kind": "percentile", "low": 1.0, "high": 99.0}])
def test_what_lies_around_a_stripped_brain_does_not_count(scheme: dict[str, object]) -> None:
    rng = np.random.default_rng(0)
    brain = rng.normal(100, 10, (10, 10, 10))
    whole = np.zeros((20, 20, 20))
    whole[5:15, 5:15, 5:15] = brain
    # Resampling by splines leaves values below the background beside the edge.
    whole[4, 4, 4] = -7.0
    wanted = normalise(brain, scheme)
    # Alone, the smallest value of the brain does not count either: one in a thousand.
    np.testing.assert_allclose(normalise(whole, scheme)[5:15, 5:15, 5:15], wanted, atol=0.05)
