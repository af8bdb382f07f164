"""Windows over a volume."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medviewer.ai.sliding_window import gaussian, plan_windows, slide, sliding_window
from medviewer.jobs.job import JobCancelled, NullContext

CTX = NullContext()
shapes = st.tuples(*[st.integers(3, 22)] * 3)
windows = st.tuples(*[st.integers(3, 12)] * 3)


def pointwise(x: torch.Tensor) -> torch.Tensor:
    """What a network gives that looks at single voxels."""
    return torch.cat([x * 2 + 1, -x, x.abs()], dim=1)


def blurring(x: torch.Tensor) -> torch.Tensor:
    """What depends on the window: its mean, and a small neighbourhood."""
    smooth = torch.nn.functional.avg_pool3d(x, 3, 1, 1)
    return torch.cat([smooth + x.mean(dim=(2, 3, 4), keepdim=True), x], dim=1)


def image_of(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(shape=shapes, window=windows, overlap=st.floats(0, 0.8), batch=st.integers(1, 3))
def test_a_pointwise_network_is_the_same_in_windows(shape, window, overlap, batch) -> None:
    image = image_of(shape)
    found = sliding_window(CTX, pointwise, image, window, overlap=overlap, batch=batch)
    expected = pointwise(torch.from_numpy(image)[None])[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(shape=shapes, window=windows, overlap=st.floats(0, 0.8), seed=st.integers(0, 999))
def test_what_is_left_out_changes_no_voxel_inside(shape, window, overlap, seed) -> None:
    rng = np.random.default_rng(seed)
    image, inside = image_of(shape, seed), rng.random(shape) < 0.02
    inside[tuple(rng.integers(0, n) for n in shape)] = True
    whole = sliding_window(CTX, blurring, image, window, overlap=overlap)
    part = sliding_window(CTX, blurring, image, window, overlap=overlap, inside=inside)
    np.testing.assert_array_equal(part[:, inside], whole[:, inside])


@settings(max_examples=60, deadline=None)
@given(shape=shapes, window=windows, seed=st.integers(0, 999))
def test_slabs_come_in_order_and_say_where_runs_end(shape, window, seed) -> None:
    rng = np.random.default_rng(seed)
    inside = rng.random(shape) < 0.01
    inside[tuple(rng.integers(0, n) for n in shape)] = True
    plan = plan_windows(shape, window, 0.5, inside)
    covered = np.zeros(shape[0], bool)
    for k, _, _ in plan.starts:
        first = k - plan.pad[0][0]
        covered[max(0, first) : first + window[0]] = True
    seen, after, ended = np.zeros(shape[0], bool), 0, True
    for slab in slide(CTX, pointwise, image_of(shape), plan):
        n = slab.logits.shape[1]
        assert slab.k >= after
        assert ended or slab.k == after
        seen[slab.k : slab.k + n] = True
        after, ended = slab.k + n, slab.ends
        assert slab.ends == (after == shape[0] or not covered[after])
    np.testing.assert_array_equal(seen, covered)
    assert ended


def test_where_no_window_was_stands_what_was_asked_for() -> None:
    inside = np.zeros((4, 20, 20), bool)
    inside[:, 2, 2] = inside[:, 17, 17] = True
    found = sliding_window(CTX, pointwise, image_of((4, 20, 20)), (4, 4, 4), overlap=0.0, inside=inside, outside=-7.0)
    assert (found[:, :, 2, 17] == -7.0).all()
    assert (found[:, inside] != -7.0).all()


def test_windows_lie_where_those_of_monai_do() -> None:
    inferers = pytest.importorskip("monai.inferers")
    image = image_of((21, 30, 17))
    peer = inferers.SlidingWindowInferer((16, 16, 16), 1, 0.25, mode="gaussian", progress=False)
    expected = peer(torch.from_numpy(image)[None], blurring)[0].numpy()
    np.testing.assert_allclose(sliding_window(CTX, blurring, image, (16, 16, 16)), expected, rtol=1e-4, atol=1e-4)


def test_the_middle_of_a_window_weighs_most() -> None:
    weight = gaussian((8, 9, 10))
    assert weight.shape == (8, 9, 10)
    assert weight.max() == weight[4, 4, 5] > 0.8
    assert weight.min() >= 1e-3


def test_cancel_is_noticed_between_windows() -> None:
    class Cancelled(NullContext):
        runs = 0

        def progress(self, fraction: float | None, text: str = "") -> None:
            if self.runs == 2:
                raise JobCancelled

    ctx = Cancelled()

    def counted(x: torch.Tensor) -> torch.Tensor:
        ctx.runs += 1
        return x

    with pytest.raises(JobCancelled):
        sliding_window(ctx, counted, image_of((20, 20, 20)), (8, 8, 8))
    assert ctx.runs == 2
