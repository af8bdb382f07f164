from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import skimage.filters
from hypothesis import given, settings
from hypothesis import strategies as st

from medviewer.core.errors import InputError
from medviewer.imaging.thresholds import METHODS, automatic_threshold, sampled

images = st.integers(0, 2**32 - 1).map(
    lambda seed: np.concatenate(
        [np.random.default_rng(seed).normal(50, 12, 300), np.random.default_rng(seed + 1).normal(150, 15, 200)]
    ).astype(np.int16)
)


@given(images)
@settings(max_examples=20)
def test_thresholds_are_those_of_scikit_image_and_itk(values: np.ndarray) -> None:
    for method, peer in (
        ("Otsu", skimage.filters.threshold_otsu), ("Li", skimage.filters.threshold_li),
        ("Yen", skimage.filters.threshold_yen), ("Triangle", skimage.filters.threshold_triangle),
        ("IsoData", skimage.filters.threshold_isodata),
    ):  # fmt: skip
        assert automatic_threshold(values, method) == peer(values)
    image = sitk.GetImageFromArray(values.astype(np.float32)[None])
    for method, filter_ in (("Huang", sitk.HuangThresholdImageFilter()),
                            ("Maximum entropy", sitk.MaximumEntropyThresholdImageFilter())):  # fmt: skip
        filter_.Execute(image)
        assert automatic_threshold(values, method) == filter_.GetThreshold()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_parts_two_heaps(method: str) -> None:
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.normal(0, 10, 6000), rng.normal(200, 10, 4000)]).astype(np.float32)
    found = automatic_threshold(values, method)
    assert -45 < found < 245
    if method in ("Otsu", "Li", "IsoData", "Minimum", "Mean", "Intermodes"):
        assert 30 < found < 170


@pytest.mark.parametrize("values", [np.zeros(0), np.full((3, 3), 7), np.array([np.nan, 2.0, np.inf])])
def test_what_has_one_value_has_no_threshold(values: np.ndarray) -> None:
    with pytest.raises(InputError, match="same"):
        automatic_threshold(values, "Otsu")


def test_a_method_that_finds_nothing_says_so() -> None:
    with pytest.raises(InputError, match="Minimum finds no threshold"):
        automatic_threshold(np.arange(1000), "Minimum")


@given(st.tuples(*[st.integers(1, 40)] * 3), st.integers(1, 5000))
def test_a_sample_is_of_the_array_and_not_larger_than_asked(shape: tuple[int, ...], most: int) -> None:
    array = np.arange(np.prod(shape)).reshape(shape)
    taken = sampled(array, most)
    assert np.isin(taken, array).all()
    assert array.size <= most or taken.size < array.size or max(shape) == 1
    if array.size <= most:
        assert np.array_equal(taken, array.ravel())
