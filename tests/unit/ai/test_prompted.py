"""Promptable sessions: prompts as places, what an answer says, undo, and the cubes that the network looks at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from medviewer.ai.card import ModelCard
from medviewer.ai.click_input import CHANNELS, encode, sample_cube
from medviewer.ai.click_segmenter import ClickSegmenter
from medviewer.ai.prompted import Found, Marks, PromptedSession, click_session, settled, with_prompt
from medviewer.core.errors import InputError
from medviewer.core.geometry import Geometry, vec3
from medviewer.core.prompt import Prompt
from medviewer.core.region import Region
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobContext, NullContext

SHIPPED = Path(__file__).resolve().parents[3] / "resources" / "models" / "click_segment"
OBLIQUE = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, -1.0)


class Likeness(nn.Module):
    """Stands in for a network: what looks like the click is the object, unless a click says no."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        likeness, outside = given[:, 2:3], given[:, 4:5]
        return (likeness - 0.5 - outside) * 20


def segmenter() -> ClickSegmenter:
    return ClickSegmenter(Likeness(), ModelCard(id="m", version="1", title="M", network="unet", arguments={}))


def ball(radius_mm: float, spacing: tuple[float, float, float], size_mm: float = 90.0) -> tuple[Volume, np.ndarray]:
    """A bright ball off the middle of a dark cube; spacing (i, j, k), on an oblique left-handed grid."""
    size = tuple(round(size_mm / s) for s in spacing)
    geometry = Geometry(size, spacing, (5.0, -40.0, 12.0), OBLIQUE)
    k, j, i = np.indices(geometry.shape)
    centre = (size_mm * 0.45, size_mm * 0.5, size_mm * 0.55)
    squares = sum((n * s - c) ** 2 for n, s, c in zip((i, j, k), spacing, centre, strict=True))
    mask = squares <= radius_mm**2
    array = np.random.default_rng(0).normal(0, 2, geometry.shape).astype(np.float32) + 100 * mask
    return Volume(array, geometry), mask


def middle(volume: Volume, mask: np.ndarray) -> tuple[float, float, float]:
    return vec3(volume.geometry.index_to_lps(np.argwhere(mask).mean(axis=0)[::-1]))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 2.5), (3.0, 3.0, 3.0)])
@pytest.mark.parametrize("radius_mm", [5.0, 12.0, 30.0])
def test_the_model_that_ships_finds_an_object_of_any_size_from_one_click_on_any_grid(
    spacing: tuple[float, float, float], radius_mm: float
) -> None:
    volume, mask = ball(radius_mm, spacing)
    session = click_session(NullContext(), SHIPPED, volume)
    prompt = Prompt(kind="point", positive=True, points=(middle(volume, mask),))
    region, part = session.add(NullContext(), prompt)
    found = np.zeros(mask.shape, bool)
    found[region.slices] = part
    overlap = 2 * (found & mask).sum() / (found.sum() + mask.sum())
    # At three millimetres a ball of ten is some thirty voxels.
    assert overlap > (0.5 if radius_mm <= 2 * max(spacing) else 0.8)


def test_the_answer_does_not_depend_on_how_the_grid_lies_in_the_patient() -> None:
    volume, mask = ball(10.0, (1.0, 1.0, 2.0))
    flipped = Volume(volume.array, Geometry(volume.geometry.size, volume.geometry.spacing))
    parts = []
    for one in (volume, flipped):
        prompt = Prompt(kind="point", positive=True, points=(middle(one, mask),))
        parts.append(PromptedSession(one, segmenter()).add(NullContext(), prompt))
    assert parts[0][0] == parts[1][0]
    assert np.array_equal(parts[0][1], parts[1][1])


@pytest.mark.parametrize("degrees", [5.0, 20.0, 45.0])
def test_a_box_or_lasso_in_a_turned_view_is_as_deep_as_it_is_wide(degrees: float) -> None:
    volume, mask = ball(12.0, (1.0, 1.0, 2.0))
    center, (i, down, k) = np.array(middle(volume, mask)), volume.geometry.direction_matrix.T
    right = np.cos(np.radians(degrees)) * i + np.sin(np.radians(degrees)) * k
    corners = tuple(vec3(center + 12 * (a * right + b * down)) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1)))
    inside = np.argwhere(mask)
    for kind in ("box", "lasso"):
        crop = (Region((10, 10, 10), (12, 12, 12)), np.ones((2, 2, 2), np.bool_)) if kind == "lasso" else None
        marks = with_prompt(Marks(), Prompt(kind=kind, positive=True, points=corners, crop=crop), volume)  # type: ignore[arg-type]
        assert marks.box is not None
        lower, upper = np.array(marks.box)
        assert (inside.min(axis=0) >= lower - 0.5).all()
        assert (inside.max(axis=0) <= upper + 0.5).all()
        assert ((upper - lower) * (2, 1, 1)).max() < 24 * 1.45


class Nothing(nn.Module):
    """Stands in for a network that finds everything or nothing as soon as a click took something away."""

    def __init__(self, logit: float) -> None:
        super().__init__()
        self.logit = logit

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        first = Likeness()(given)
        return torch.where(
            given[:, 4:5].amax((1, 2, 3, 4), keepdim=True) > 0, torch.full_like(first, self.logit), first
        )


@pytest.mark.parametrize("logit", [-9.0, 9.0])
def test_a_further_click_is_obeyed_and_does_not_change_what_is_far_from_it(logit: float) -> None:
    volume, mask = ball(20.0, (1.0, 1.0, 2.0))
    card = ModelCard(id="m", version="1", title="M", network="unet", arguments={})
    session = PromptedSession(volume, ClickSegmenter(Nothing(logit), card))
    shown = np.zeros(mask.shape, bool)
    index = np.argwhere(mask)
    k, j, i = (int(n) for n in index[index[:, 2].argmax()])
    middle = [round(float(n)) for n in index.mean(axis=0)]
    for place, positive in ((middle, True), ((k, j, i - 2), False), ((k, j, i + 2), True)):
        point = vec3(volume.geometry.index_to_lps(place[::-1]))
        region, part = session.add(NullContext(), Prompt(kind="point", positive=positive, points=(point,)))
        shown[region.slices] = part
        assert shown[tuple(place)] == positive
    # The network finds the whole image, or nothing.
    assert 2 * (shown & mask).sum() / (shown.sum() + mask.sum()) > 0.4


@given(st.integers(2, 9), st.floats(0.4, 3.0), st.integers(0, 2))
def test_a_cube_of_a_ramp_is_that_ramp(size: int, step: float, axis: int) -> None:
    ramp = np.moveaxis(np.broadcast_to(np.arange(40, dtype=np.float32), (40, 40, 40)), 2, axis)
    cube = sample_cube(ramp, (20.0, 20.0, 20.0), (step,) * 3, size)[0, 0].numpy()
    expected = 20.0 + (np.arange(size) - (size - 1) / 2) * step
    assert np.allclose(np.moveaxis(cube, axis, 2), expected, atol=1e-3)


@given(st.floats(0.1, 50.0), st.floats(-1000.0, 1000.0))
def test_what_the_network_sees_does_not_depend_on_the_unit(scale: float, offset: float) -> None:
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 1, 16, 16, 16)).astype(np.float32))
    points = torch.tensor([[[8.0, 7.0, 6.0], [2.0, 3.0, 4.0]]])
    inside, none = torch.tensor([[1.0, 0.0]]), torch.zeros(1, 6)
    seen = [
        encode(values, points, inside, 1 - inside, none, torch.zeros_like(image))
        for values in (image, image * scale + offset)
    ]
    assert seen[0].shape == (1, CHANNELS, 16, 16, 16)
    assert torch.allclose(seen[0], seen[1], atol=2e-2)


class Growing:
    """A segmenter that finds a cube of as many voxels as there are clicks."""

    def find(self, ctx: JobContext, volume: Volume, marks: Marks, before: Found) -> Found:
        n = len(marks.inside) + len(marks.outside)
        return Found(Region((n, 0, 0), (2 * n, n, n)), np.ones((n, n, n), bool))

    def forget(self) -> None:
        return


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_regions_hold_every_change_and_undo_goes_back_exactly(steps: list[bool]) -> None:
    volume = Volume(np.zeros((30, 30, 30), np.float32), Geometry((30, 30, 30), (1, 1, 1)))
    session, shown = PromptedSession(volume, Growing()), np.zeros((30, 30, 30), bool)
    states: list[Any] = [shown.copy()]
    for forward in steps:
        if forward:
            region, part = session.add(NullContext(), Prompt(kind="point", positive=True, points=((3, 3, 3),)))
            shown[region.slices] = part
            n = len(states)
            expected = np.zeros_like(shown)
            expected[n : 2 * n, :n, :n] = True
            assert np.array_equal(shown, expected)
            states.append(shown.copy())
        else:
            answer = session.undo()
            assert (answer is None) == (len(states) == 1)
            if answer is not None:
                shown[answer[0].slices] = answer[1]
                states.pop()
            assert np.array_equal(shown, states[-1])


def test_a_box_in_one_slice_gets_depth_and_one_outside_is_refused() -> None:
    volume, _ = ball(10.0, (1.0, 1.0, 2.0))
    corners = [vec3(volume.geometry.index_to_lps(ijk)) for ijk in ((10, 20, 15), (30, 40, 15))]
    marks = with_prompt(Marks(), Prompt(kind="box", positive=True, points=tuple(corners)), volume)
    assert marks.box is not None
    lower, upper = np.array(marks.box)
    assert np.allclose(lower, (10, 20, 10), atol=1e-6)
    assert np.allclose(upper, (20, 40, 30), atol=1e-6)
    with pytest.raises(InputError):
        with_prompt(Marks(), Prompt(kind="box", positive=True, points=((900.0, 0, 0), (950.0, 20, 0))), volume)
    with pytest.raises(InputError):
        with_prompt(Marks(), Prompt(kind="box", positive=True, points=(corners[0],)), volume)


@given(st.integers(1, 200), st.booleans())
def test_a_scribble_becomes_a_few_clicks_of_its_own(count: int, positive: bool) -> None:
    volume, _ = ball(10.0, (1.0, 1.0, 2.0))
    line = tuple(vec3(volume.geometry.index_to_lps((5 + n * 0.2, 30, 10))) for n in range(count))
    marks = with_prompt(Marks(), Prompt(kind="scribble", positive=positive, points=line), volume)
    chosen = marks.inside if positive else marks.outside
    assert 1 <= len(chosen) <= 8
    assert not (marks.outside if positive else marks.inside)


def test_only_the_part_that_was_clicked_is_kept() -> None:
    mask = np.zeros((10, 10, 10), bool)
    mask[1:3, 1:3, 1:3] = mask[6:9, 6:9, 6:9] = True
    region = Region((5, 5, 5), (15, 15, 15))
    found = settled(mask, region, Marks(inside=((6.2, 6.0, 7.4),)))
    assert found.region == Region((6, 6, 6), (8, 8, 8))
    # A click that misses takes the largest part.
    found = settled(mask, region, Marks(inside=((5.0, 14.0, 5.0),)))
    assert found.region == Region((11, 11, 11), (14, 14, 14))


def test_a_box_alone_is_enough() -> None:
    volume, mask = ball(12.0, (1.0, 1.0, 1.0))
    session = click_session(NullContext(), SHIPPED, volume)
    places = np.argwhere(mask)
    corners = tuple(vec3(volume.geometry.index_to_lps(place[::-1])) for place in (places.min(0), places.max(0)))
    region, part = session.add(NullContext(), Prompt(kind="box", positive=True, points=corners))
    found = np.zeros(mask.shape, bool)
    found[region.slices] = part
    assert 2 * (found & mask).sum() / (found.sum() + mask.sum()) > 0.8
