from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from medviewer.imaging.compare import agreement

SPACING = (2.5, 0.8, 0.7)
masks = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).random((6, 7, 8)) < 0.3)


@given(masks, masks)
def test_agreement_is_symmetric_and_bounded(one: np.ndarray, two: np.ndarray) -> None:
    ab, ba = agreement(one, two, SPACING), agreement(two, one, SPACING)
    assert (ab.dice, ab.hd95_mm, ab.voxels) == (ba.dice, ba.hd95_mm, ba.voxels[::-1])
    assert 0.0 <= ab.dice <= 1.0
    assert agreement(one, one, SPACING).dice == 1.0
    if one.any():
        assert agreement(one, one, SPACING).hd95_mm == 0.0


@given(masks, masks)
def test_dice_is_that_of_simpleitk(one: np.ndarray, two: np.ndarray) -> None:
    if not (one.any() and two.any()):
        return
    filter_ = sitk.LabelOverlapMeasuresImageFilter()
    filter_.Execute(*(sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (one, two)))
    assert agreement(one, two, SPACING).dice == pytest.approx(filter_.GetDiceCoefficient(1))


def test_a_shift_is_its_distance() -> None:
    one = np.zeros((12, 20, 20), bool)
    one[2:8, 5:15, 5:15] = True
    moved = np.roll(one, 2, axis=0)
    found = agreement(one, moved, SPACING)
    assert found.dice == pytest.approx(4 / 6)
    assert found.hd95_mm == pytest.approx(5.0)


def test_what_is_empty_has_no_surface() -> None:
    one, empty = np.ones((3, 3, 3), bool), np.zeros((3, 3, 3), bool)
    assert agreement(one, empty, SPACING).hd95_mm is None
    assert agreement(one, empty, SPACING).dice == 0.0
    assert agreement(empty, empty, SPACING).dice == 1.0
