"""Steps that clean labels up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medviewer.ai.postprocess import names, postprocess, suppress_boxes
from medviewer.core.errors import TaskError
from medviewer.jobs.job import NullContext

CTX = NullContext()
MM = (1.0, 1.0, 1.0)
#: Parameters that each step needs.
NEEDED = {"min_size": {"ml": 0.01}, "smooth": {"mm": 2.0}}


def noise(seed: int, values: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(values, 9, 12, 14)), (0, 1, 1, 1))
    return np.where(smooth.max(0) > 0.05, smooth.argmax(0) + 1, 0).astype(np.uint16)


@pytest.mark.parametrize("name", names())
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999))
def test_a_step_leaves_its_input_and_other_labels_alone(name, seed) -> None:
    labels = noise(seed)
    before = labels.copy()
    found = postprocess(CTX, labels, MM, [{"step": name, "values": [2], **NEEDED.get(name, {})}])
    np.testing.assert_array_equal(labels, before)
    assert found.dtype == np.uint16
    assert set(np.unique(found)) <= set(np.unique(before)) | {0}
    for other in (1, 3):
        np.testing.assert_array_equal(found == other, before == other)


@pytest.mark.parametrize("name", [name for name in names() if name != "smooth"])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999))
def test_a_step_twice_is_the_step_once(name, seed) -> None:
    steps = [{"step": name, **NEEDED.get(name, {})}]
    once = postprocess(CTX, noise(seed), MM, steps)
    np.testing.assert_array_equal(postprocess(CTX, once, MM, steps), once)


def cubes() -> np.ndarray:
    labels = np.zeros((12, 20, 20), np.uint16)
    labels[1:11, 1:11, 1:11] = 1
    labels[5, 5, 5] = 0
    labels[2:5, 14:17, 14:17] = 1
    labels[8, 15, 15] = 2
    return labels


def test_the_largest_piece_of_each_label_stays() -> None:
    found = postprocess(CTX, cubes(), MM, [{"step": "largest_component"}])
    assert (found == 1).sum() == 999
    assert (found == 2).sum() == 1
    assert (postprocess(CTX, cubes(), MM, [{"step": "largest_component", "keep": 2}]) == 1).sum() == 999 + 27


def test_holes_are_filled_and_small_pieces_dropped() -> None:
    found = postprocess(CTX, cubes(), MM, [{"step": "fill_holes"}, {"step": "min_size", "ml": 0.028}])
    assert (found == 1).sum() == 1000
    assert not (found == 2).any()
    # 27 mm³ of three times the volume are enough.
    assert (postprocess(CTX, cubes(), (3.0, 1.0, 1.0), [{"step": "min_size", "ml": 0.028}]) == 1).sum() == 999 + 27


def test_smoothing_takes_corners_and_keeps_flat_faces() -> None:
    labels = np.zeros((16, 16, 16), np.uint16)
    labels[4:12, 4:12, 4:8], labels[4:12, 4:12, 8:12] = 1, 2
    found = postprocess(CTX, labels, MM, [{"step": "smooth", "mm": 2.0}])
    assert found[4, 4, 4] == 0
    np.testing.assert_array_equal(found[8, 8], labels[8, 8])
    assert not ((found == 0) & (labels > 0))[6:10, 6:10, 6:10].any()


@pytest.mark.parametrize("entry", [{"step": "paint"}, {"step": "min_size"}, {"step": "fill_holes", "colour": 3}, {}])
def test_an_unknown_step_is_refused(entry) -> None:
    with pytest.raises(TaskError) as refused:
        postprocess(CTX, cubes(), MM, [entry])
    assert refused.value.code == "E_MODEL_FILE"


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 9999), n=st.integers(0, 12), overlap=st.floats(0.0, 0.6))
def test_boxes_that_stay_do_not_overlap_and_cover_the_others(seed, n, overlap) -> None:
    rng = np.random.default_rng(seed)
    lower = rng.uniform(0, 10, (n, 3))
    boxes = np.hstack([lower, lower + rng.uniform(1, 6, (n, 3))])
    scores = rng.random(n)
    kept = suppress_boxes(boxes, scores, overlap)
    assert list(scores[kept]) == sorted(scores[kept], reverse=True)
    for a in range(n):
        better = [b for b in kept if scores[b] > scores[a] and _iou(boxes[a], boxes[b]) > overlap + 1e-9]
        assert (a in kept) == (not better)


def _iou(a, b) -> float:
    common = np.prod(np.maximum(np.minimum(a[3:], b[3:]) - np.maximum(a[:3], b[:3]), 0))
    return float(common / (np.prod(a[3:] - a[:3]) + np.prod(b[3:] - b[:3]) - common))
