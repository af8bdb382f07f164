from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medviewer.ai.masks import (
    bounding_slices,
    closed,
    components,
    dilated,
    eroded,
    grown_within,
    holes,
    largest_component,
    opened,
    slice_holes,
    touching,
)
from medviewer.jobs.job import JobCancelled, NullContext

CTX = NullContext()
masks = hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7))
spacings = st.tuples(*(st.sampled_from([0.5, 0.7, 1.0, 2.5]),) * 3)
radii = st.sampled_from([0.4, 1.0, 1.6, 3.0])


@settings(deadline=None, max_examples=40)
@given(masks, radii, spacings)
def test_dilation_is_by_an_exact_ball(
    mask: npt.NDArray[np.bool_], radius: float, spacing: tuple[float, float, float]
) -> None:
    places = np.argwhere(np.ones(mask.shape, bool)) * spacing
    seeds = np.argwhere(mask) * spacing
    expected = np.zeros(mask.size, bool)
    if len(seeds):
        expected = (np.linalg.norm(places[:, None] - seeds[None], axis=2) <= radius + 1e-4).any(axis=1)
    np.testing.assert_array_equal(dilated(CTX, mask, radius, spacing).ravel(), expected)


@settings(deadline=None, max_examples=40)
@given(masks, radii, spacings)
def test_morphology_is_ordered_and_idempotent(
    mask: npt.NDArray[np.bool_], radius: float, spacing: tuple[float, float, float]
) -> None:
    small, large = opened(CTX, mask, radius, spacing), closed(CTX, mask, radius, spacing)
    assert not (eroded(CTX, mask, radius, spacing) & ~small).any()
    assert not (small & ~mask).any()
    assert not (mask & ~large).any()
    np.testing.assert_array_equal(opened(CTX, small, radius, spacing), small)


def test_closing_keeps_a_mask_that_ends_at_the_border() -> None:
    mask = np.zeros((5, 20, 20), bool)
    mask[:, :, :10] = True
    mask[2, 10, 5] = False
    filled = closed(CTX, mask, 2.0, (1.0, 1.0, 1.0))
    assert filled[2, 10, 5]
    assert not filled[:, :, 10:].any()


def test_components_are_connected_over_faces_only() -> None:
    mask = np.zeros((1, 2, 4), bool)
    mask[0, 0, 0] = mask[0, 1, 1] = mask[0, 1, 2] = True
    labels, sizes = components(mask)
    assert sorted(sizes[1:]) == [1, 2]
    assert largest_component(mask).sum() == 2
    np.testing.assert_array_equal(touching(mask, labels == labels[0, 0, 0]), labels == 1)
    assert not largest_component(np.zeros((2, 2, 2), bool)).any()


def test_holes_are_what_is_enclosed() -> None:
    mask = np.zeros((5, 5, 5), bool)
    mask[1:4, 1:4, 1:4] = True
    mask[2, 2, 2] = False
    assert np.argwhere(holes(mask)).tolist() == [[2, 2, 2]]
    mask[3, 2, 2] = mask[4, 2, 2] = False
    assert not holes(mask).any()
    # A tunnel is no hole in space, but one in each slice it crosses.
    assert np.argwhere(slice_holes(CTX, mask, 1.0, (1.0, 1.0, 1.0))).tolist() == [[2, 2, 2], [3, 2, 2]]
    assert not slice_holes(CTX, mask, 0.5, (1.0, 1.0, 1.0)).any()


def test_growth_stays_in_the_area_and_crosses_thick_slices() -> None:
    area = np.zeros((4, 3, 9), bool)
    area[:, 1, :] = True
    seeds = np.zeros_like(area)
    seeds[0, 1, 0] = True
    grown = grown_within(CTX, seeds, area, 5.0, 1.0, (5.0, 1.0, 1.0))
    assert grown[1, 1, 0]
    assert not grown[2].any()
    assert not (grown & ~area).any()


def test_bounding_slices_have_a_margin_in_mm() -> None:
    mask = np.zeros((10, 10, 10), bool)
    assert bounding_slices(mask, 1.0, (1.0, 1.0, 1.0)) is None
    mask[5, 5, 9] = True
    assert bounding_slices(mask, 2.0, (2.0, 1.0, 0.5)) == (slice(4, 7), slice(3, 8), slice(5, 10))


def test_a_cancel_is_noticed_inside() -> None:
    class Cancelled(NullContext):
        def check_cancelled(self) -> None:
            raise JobCancelled

    with pytest.raises(JobCancelled):
        dilated(Cancelled(), np.ones((4, 4, 4), bool), 2.0, (1.0, 1.0, 1.0))
