from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.training.measures import auc, dice, expected_calibration_error, fit_calibration


@given(st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=40))
def test_auc_is_the_share_of_pairs_in_the_right_order(cases: list[tuple[int, bool]]) -> None:
    scores, truth = np.array([c[0] for c in cases]), np.array([c[1] for c in cases])
    if truth.all() or not truth.any():
        with pytest.raises(ValueError, match="both"):
            auc(scores, truth)
        return
    pairs = scores[truth][:, None] - scores[~truth][None]
    assert auc(scores, truth) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    assert auc(-scores, truth) == pytest.approx(1 - auc(scores, truth))


def test_a_calibration_that_was_spoilt_is_found_again() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 20000)
    truth = rng.random(20000) < 1 / (1 + np.exp(-logits))
    temperature, bias = fit_calibration(3 * logits - 1.5, truth)
    assert temperature == pytest.approx(3, rel=0.05)
    assert bias == pytest.approx(0.5, abs=0.06)
    assert fit_calibration(logits / 3, truth)[0] == 1


def test_calibration_error_is_the_distance_from_what_happens() -> None:
    rng = np.random.default_rng(0)
    stated = rng.random(50000)
    assert expected_calibration_error(stated, rng.random(50000) < stated) < 0.01
    assert expected_calibration_error(np.full(1000, 0.9), rng.random(1000) < 0.6) == pytest.approx(0.3, abs=0.05)
    assert expected_calibration_error(np.ones(4), np.ones(4, bool)) == 0


def test_dice_of_masks() -> None:
    one, two = np.array([1, 1, 0, 0], bool), np.array([1, 0, 0, 0], bool)
    assert dice(one, one) == 1
    assert dice(one, two) == pytest.approx(2 / 3)
    assert dice(two & ~one, one & ~one) == 1
