"""nnInteractive: its folders, the channels that its network sees, its looks, and whole sessions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from medviewer.ai.formats import format_of, read_any_card
from medviewer.ai.formats.nninteractive import read_card
from medviewer.ai.model_import import import_models
from medviewer.ai.nninteractive import NninteractiveSession, covering, nninteractive_session, usual_values
from medviewer.ai.nninteractive_input import Mark, Window, channels_of, marks_of
from medviewer.ai.weights import ModelStore
from medviewer.core.errors import InputError, TaskError
from medviewer.core.geometry import Geometry, Vec3, vec3
from medviewer.core.prompt import Prompt
from medviewer.core.region import Region
from medviewer.core.volume import Volume
from medviewer.jobs.job import NullContext
from tests.hostile_models import Calls
from tests.nninteractive_makers import nninteractive_plans, write_nninteractive

OBLIQUE = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, -1.0)


def volume_of(array: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 2.0)) -> Volume:
    k, j, i = array.shape
    return Volume(array.astype(np.float32), Geometry((i, j, k), spacing, (5.0, -40.0, 12.0), OBLIQUE))


def bright_ball(shape: tuple[int, int, int], centre: tuple[int, int, int], radius: float) -> tuple[Volume, np.ndarray]:
    grid = np.indices(shape)
    mask = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2
    return volume_of(np.random.default_rng(0).normal(50, 0.5, shape) + 100 * mask), mask


def at(volume: Volume, *kji: float) -> Vec3:
    return vec3(volume.geometry.index_to_lps(kji[::-1]))


def point(volume: Volume, *kji: float, positive: bool = True) -> Prompt:
    return Prompt(kind="point", positive=positive, points=(at(volume, *kji),))


def published() -> dict[str, Any]:
    return {
        "count": 7, "object": 0, "radius": 4, "thickness": [2, 2, 2], "decay": 0.98,
        "channels": {"bbox2d": [1, 2], "bbox3d": [1, 2], "lasso": [1, 2], "points": [3, 4], "scribble": [5, 6]},
        "supported": ["bbox2d", "lasso", "points", "scribble"],
    }  # fmt: skip


# ---- folders


def test_the_published_layout_is_a_task_of_the_kind_interactive_with_its_licence(tmp_path: Path) -> None:
    root = write_nninteractive(tmp_path / "hub")
    card = read_any_card(root)
    assert format_of(root) == "nninteractive"
    assert {**published(), "configuration": "3d_fullres_ps192_bs24"} == card.settings
    assert (card.id, card.version, card.window, card.runner) == ("nninteractive", "1.0", (32, 32, 32), "nninteractive")
    assert card.task["kind"] == "interactive"
    assert (card.arguments["in_channels"], card.arguments["out_channels"]) == (8, 2)
    assert card.license == "CC-BY-NC-SA-4.0", "the first published folder does not name it"

    store = ModelStore(shipped=tmp_path / "none", own=tmp_path / "own")
    (model,) = import_models(NullContext(), store, root)
    assert (model.id, model.version, model.format) == ("nninteractive", "1.0", "nninteractive")
    assert {Path(name).name for name in model.files} == {
        "plans.json", "dataset.json", "inference_session_class.json", "checkpoint_final.pth",
    }  # fmt: skip


def test_newer_folders_say_what_they_take_and_where(tmp_path: Path) -> None:
    info = {
        "supported_interactions": {"bbox3d": True, "lasso": False},
        "channel_mapping": {"prev_seg": -1, "bbox2d": [0, 1], "bbox3d": [0, 1], "points": [2, 3], "scribble": [4, 5],
                            "lasso": [0, 1]},
        "interaction_channels": 6, "interaction_decay": 0.9, "point_radius": 2,
    }  # fmt: skip
    root = write_nninteractive(
        tmp_path, info=info, info_name="inference_info.json", license_text="\n My own licence\nmore"
    )
    card = read_card(root)
    assert (card.settings["object"], card.settings["decay"], card.settings["radius"]) == (6, 0.9, 2)
    assert card.settings["supported"] == ["bbox2d", "bbox3d", "points", "scribble"]
    assert card.license == "My own licence"
    volume = volume_of(np.random.default_rng(0).normal(size=(20, 20, 20)))
    session, _ = nninteractive_session(NullContext(), root, volume)
    assert session.prompts == {"point", "box", "scribble"}


def test_the_oldest_folders_hold_a_mere_name(tmp_path: Path) -> None:
    assert read_card(write_nninteractive(tmp_path, info="nnInteractiveInferenceSession")).settings["decay"] == 0.9


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        ({"pad_mode_image": "reflect"}, "pads images"),
        ({"supported_interactions": {"gaze": True}}, "gaze"),
        ({"channel_mapping": {"points": [3, 9]}, "interaction_channels": 6}, "no channels"),
        ({"channel_mapping": {"points": 3}}, "TypeError"),
        ({"interaction_decay": 0}, "fade"),
    ],
)
def test_what_this_version_would_do_otherwise_is_refused(tmp_path: Path, info: Any, reason: str) -> None:
    with pytest.raises(TaskError, match=reason) as caught:
        write_nninteractive(tmp_path, info=info)
    assert caught.value.code == "E_MODEL_FILE"


def test_a_checkpoint_of_another_configuration_or_with_code_is_refused(tmp_path: Path) -> None:
    volume = volume_of(np.random.default_rng(0).normal(size=(20, 20, 20)))
    other = write_nninteractive(tmp_path / "a", init_args={"configuration": "3d_fullres"})
    with pytest.raises(TaskError, match="trained as '3d_fullres'"):
        nninteractive_session(NullContext(), other, volume)
    bad = write_nninteractive(tmp_path / "b", extra=Calls(print, "run"))
    with pytest.raises(TaskError) as caught:
        nninteractive_session(NullContext(), bad, volume)
    assert caught.value.code == "E_MODEL_CODE"


# ---- what the network sees


def test_a_point_is_a_ball_that_fades_and_older_prompts_fade_as_a_whole() -> None:
    volume = volume_of(np.zeros((40, 40, 40)))
    first, second = (marks_of(point(volume, *kji), volume, published()) for kji in ((20, 20, 20), (20, 20, 23)))
    away = marks_of(point(volume, 5, 5, 5, positive=False), volume, published())
    window = Window.around((20, 20, 20), (40, 40, 40), 1.0)
    seen = channels_of([first, second, away], np.zeros((40,) * 3, bool), window, published(), 1.0)
    assert seen.shape == (7, 40, 40, 40)
    assert seen[3, 20, 20, 20] == pytest.approx(max(0.98**2, 0.98 * second[0].values[4, 4, 1]))
    assert seen[3, 20, 20, 23] == pytest.approx(0.98)
    assert seen[4, 5, 5, 5] == 1
    # A ball of radius 4: voxels up to 4 from its middle, falling to its surface.
    squares = sum((grid - 4) ** 2 for grid in np.indices((9, 9, 9)))
    assert np.array_equal(first[0].values > 0, squares <= 16)
    assert np.all(np.diff(first[0].values[4, 4, 4:]) < 0)
    assert not seen[[0, 1, 2, 5, 6]].any()


def test_boxes_lassos_and_scribbles_go_to_their_channels() -> None:
    volume = volume_of(np.zeros((30, 40, 50)))
    flat = Prompt(kind="box", positive=True, points=(at(volume, 10, 5, 6), at(volume, 10, 15, 26)))
    (mark,) = marks_of(flat, volume, published())
    assert (mark.channel, mark.region) == (1, Region((10, 5, 6), (11, 16, 27)))
    assert mark.values.all()

    deep = Prompt(kind="box", positive=False, points=(at(volume, 4, 5, 6), at(volume, 14, 15, 26)))
    (mark,) = marks_of(deep, volume, published())
    assert (mark.channel, mark.region) == (2, Region((9, 5, 6), (10, 16, 27))), "its middle slice, of the coarsest axis"
    whole = {**published(), "supported": ["bbox2d", "bbox3d"]}
    assert marks_of(deep, volume, whole)[0].region == Region((4, 5, 6), (15, 16, 27))

    corners = [(12, 10, 10), (12, 10, 20), (12, 20, 20), (12, 20, 10)]
    lasso = Prompt(kind="lasso", positive=True, points=tuple(at(volume, *c) for c in corners))
    (mark,) = marks_of(lasso, volume, published())
    drawn = np.zeros((30, 40, 50))
    drawn[mark.region.slices] = mark.values
    assert mark.channel == 1
    assert drawn[12, 11:20, 11:20].all()
    assert drawn.sum() == drawn[12].sum() == pytest.approx(100, abs=21)

    line = Prompt(kind="scribble", positive=False, points=(at(volume, 7, 10, 10), at(volume, 7, 20, 25)))
    (mark,) = marks_of(line, volume, published())
    drawn = np.zeros((30, 40, 50))
    drawn[mark.region.slices] = mark.values
    assert mark.channel == 6
    assert mark.thin
    assert drawn[7, 10, 10] == drawn[7, 15, 17] == drawn[7, 20, 25] == 1
    assert drawn.sum() == drawn[7].sum(), "no thicker than the slice that it was drawn in"

    area = np.zeros((1, 4, 4), bool)
    area[0, 1:3, 1:3] = True
    crop = Prompt(kind="scribble", positive=True, crop=(Region((3, 2, 2), (4, 6, 6)), area))
    (mark,) = marks_of(crop, volume, published())
    assert (mark.channel, float(mark.values.sum())) == (5, 4)


def test_a_prompt_outside_or_of_no_kind_is_refused() -> None:
    volume = volume_of(np.zeros((10, 10, 10)))
    line = Prompt(kind="lasso", positive=True, points=(at(volume, 1, 1, 1), at(volume, 5, 5, 5), at(volume, 2, 8, 3)))
    for prompt in (
        point(volume, 20, 5, 5),
        Prompt(kind="box", positive=True, points=(at(volume, 12, 1, 1), at(volume, 12, 5, 5))),
        Prompt(kind="box", positive=True, points=(at(volume, 1, 1, 1),)),
        line,
    ):
        with pytest.raises(InputError) as caught:
            marks_of(prompt, volume, published())
        assert caught.value.code == "E_PROMPT"
    with pytest.raises(InputError, match="no prompt of the kind point"):
        marks_of(point(volume, 5, 5, 5), volume, {**published(), "supported": ["lasso"]})


#: Shape of an image, patch, where the window is, how much wider.
CASES = [
    ((30, 26, 22), 16, (15, 13, 11), 1.0),
    ((30, 26, 22), 16, (2, 25, 11), 1.5),
    ((20, 20, 20), 12, (3, 3, 19), 3.3),
    ((40, 9, 30), 16, (20, 4, 15), 2.25),
    ((50, 50, 50), 16, (25, 20, 30), 4.0),
]


@pytest.mark.parametrize(("shape", "patch", "centre", "zoom"), CASES)
def test_a_window_is_seen_as_its_padded_crop_resampled_by_torch(
    shape: tuple[int, int, int], patch: int, centre: tuple[int, int, int], zoom: float
) -> None:
    rng = np.random.default_rng(1)
    image, found = rng.normal(size=shape).astype(np.float32), rng.random(shape) > 0.7
    volume = volume_of(image)
    prompts = [
        marks_of(point(volume, *np.minimum(np.add(centre, n), np.array(shape) - 1), positive=p), volume, published())
        for n, p in ((0, True), (2, False), (3, True))
    ]
    window = Window.around(centre, (patch,) * 3, zoom)
    inside = window.region.clip(Region.whole(shape))

    def padded(array: np.ndarray) -> torch.Tensor:
        whole = np.zeros(window.size, np.float32)
        whole[window.within(inside)] = array[inside.slices]
        return torch.from_numpy(whole)[None, None]

    def resampled(tensor: torch.Tensor, mode: str) -> np.ndarray:
        if window.size == window.patch:
            return tensor[0, 0].numpy()
        return functional.interpolate(tensor, (patch,) * 3, mode=mode)[0, 0].numpy()

    seen = window.seen(image[inside.slices], inside, "linear")
    assert np.allclose(seen, resampled(padded(image), "trilinear"), atol=1e-5)
    assert np.array_equal(window.seen(found[inside.slices], inside, "nearest"), resampled(padded(found), "nearest"))
    channels = channels_of(prompts, found, window, published(), zoom)
    assert np.allclose(channels[0], resampled(padded(found), "area"), atol=1e-5)
    wide = 2 * int((2 * zoom - 1) // 2) + 1
    for channel in range(1, 7):
        whole = np.zeros(shape, np.float32)
        for age, marks in enumerate(reversed(prompts)):
            for mark in marks:
                if mark.channel == channel:
                    part = whole[mark.region.slices]
                    np.maximum(part, mark.values * np.float32(0.98**age), out=part)
        tensor = padded(whole)
        if wide > 1 and channel > 2:
            tensor = functional.max_pool3d(functional.pad(tensor, [wide // 2] * 6, mode="replicate"), wide, 1)
        assert np.allclose(channels[channel], resampled(tensor, "area"), atol=1e-5), channel


def test_the_image_is_normalised_inside_what_is_not_zero() -> None:
    array = np.zeros((12, 12, 12))
    array[3:9, 2:10, 4:11] = np.random.default_rng(0).normal(100, 20, (6, 8, 7))
    mean, std = usual_values(volume_of(array))
    part = torch.from_numpy(array[3:9, 2:10, 4:11].astype(np.float32))
    assert (mean, std) == pytest.approx((float(part.mean()), float(part.std())), rel=1e-5)
    with pytest.raises(InputError):
        usual_values(volume_of(np.zeros((4, 4, 4))))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.tuples(*[st.integers(3, 14)] * 3), st.tuples(*[st.integers(1, 9)] * 3))
def test_boxes_that_cover_a_mask_hold_all_of_it(seed: int, shape: tuple[int, ...], size: tuple[int, ...]) -> None:
    mask = np.random.default_rng(seed).random(shape) > 0.8
    centres = covering(mask, size)
    held = np.zeros(shape, bool)
    for centre in centres:
        assert mask[centre]
        held[tuple(slice(max(0, c - n // 2), max(0, c + n - n // 2)) for c, n in zip(centre, size, strict=True))] = True
    assert held[mask].all()
    assert len(centres) <= mask.sum()


# ---- sessions


class Bright(nn.Module):
    """The object is what is bright; keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[np.ndarray] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.given.append(x[0].numpy().copy())
        logit = x[:, :1] - 1 - 10 * x[:, 5:6]
        return torch.cat([torch.zeros_like(logit), logit], dim=1)


def session_on(volume: Volume, tmp_path: Path, network: nn.Module | None = None) -> NninteractiveSession:
    card = read_card(write_nninteractive(tmp_path))
    return NninteractiveSession(volume, network or Bright(), card)


def whole(session: NninteractiveSession, shape: tuple[int, ...], prompts: list[Prompt]) -> np.ndarray:
    found = np.zeros(shape, bool)
    for prompt in prompts:
        region, mask = session.add(NullContext(), prompt)
        found[region.slices] = mask
    return found


def test_a_small_object_takes_one_look_and_a_large_one_is_looked_at_wider_and_drawn_finely(tmp_path: Path) -> None:
    network = Bright()
    volume, mask = bright_ball((60, 60, 60), (30, 30, 30), 6)
    found = whole(session_on(volume, tmp_path / "a", network), mask.shape, [point(volume, 30, 30, 30)])
    assert len(network.given) == 1
    assert np.array_equal(found, mask)

    network = Bright()
    volume, mask = bright_ball((90, 90, 90), (45, 40, 50), 32)
    found = whole(session_on(volume, tmp_path / "b", network), mask.shape, [point(volume, 45, 40, 50)])
    assert len(network.given) > 4, "1, 1.5, 2.25 times … and the fine looks"
    assert 2 * (found & mask).sum() / (found.sum() + mask.sum()) > 0.999, "the surface is as fine as the image"
    assert any(given[1].any() for given in network.given), "fine looks see the coarse object"


def test_a_second_prompt_sees_the_first_ones_object_and_clicks_away_take_away(tmp_path: Path) -> None:
    network = Bright()
    volume, mask = bright_ball((60, 60, 60), (30, 30, 30), 8)
    session = session_on(volume, tmp_path, network)
    first = whole(session, mask.shape, [point(volume, 30, 30, 30)])
    region, _ = session.add(NullContext(), point(volume, 30, 30, 36, positive=False))
    found = network.given[-1][1]
    # The window is around the second click: what it sees is shifted by six voxels.
    assert np.array_equal(found[16 - 8 : 16 + 8, 16 - 8 : 16 + 8, 10 - 8 : 10 + 8], first[22:38, 22:38, 22:38])
    assert session._mask.sum() < first.sum()
    assert not session._mask[30, 30, 36]
    assert region == region.clip(Region.whole(mask.shape))


def test_undo_goes_back_one_prompt_at_a_time(tmp_path: Path) -> None:
    volume, mask = bright_ball((70, 60, 50), (30, 30, 25), 20)
    session = session_on(volume, tmp_path)
    prompts = [point(volume, 30, 30, 25), point(volume, 30, 36, 25, positive=False), point(volume, 20, 30, 25)]
    found = np.zeros(mask.shape, bool)
    states = []
    for prompt in prompts:
        states.append(found.copy())
        region, part = session.add(NullContext(), prompt)
        found[region.slices] = part
    for state in reversed(states):
        undone = session.undo()
        assert undone is not None
        found[undone[0].slices] = undone[1]
        assert np.array_equal(found, state)
    assert session.undo() is None
    with pytest.raises(InputError, match="nothing yet"):
        session.add(NullContext(), point(volume, 30, 30, 25, positive=False))


def test_a_cancelled_prompt_leaves_the_session_as_it_was(tmp_path: Path) -> None:
    class Stop(NullContext):
        def progress(self, fraction: float | None, text: str = "") -> None:
            if text.startswith("Drawing"):
                raise InterruptedError

    volume, _ = bright_ball((90, 90, 90), (45, 40, 50), 32)
    session = session_on(volume, tmp_path)
    with pytest.raises(InterruptedError):
        session.add(Stop(), point(volume, 45, 40, 50))
    assert not session._mask.any()
    assert session.undo() is None


def test_a_box_is_looked_at_with_a_third_of_a_window_around_it(tmp_path: Path) -> None:
    network = Bright()
    volume, mask = bright_ball((60, 90, 90), (30, 45, 45), 20)
    session = session_on(volume, tmp_path, network)
    box = Prompt(kind="box", positive=True, points=(at(volume, 30, 24, 24), at(volume, 30, 66, 66)))
    found = whole(session, mask.shape, [box])
    # 43 voxels and a third of 32: 53 of 32.
    assert network.given[0][2].sum() == pytest.approx(43 * 43 / (53 / 32) ** 3, rel=0.1)
    assert 2 * (found & mask).sum() / (found.sum() + mask.sum()) > 0.999


def test_a_folder_in_the_true_layout_answers_clicks(tmp_path: Path) -> None:
    root = write_nninteractive(tmp_path, like_the_click=True)
    volume, mask = bright_ball((50, 50, 50), (25, 25, 25), 8)
    session, digest = nninteractive_session(NullContext(), root, volume)
    found = whole(session, mask.shape, [point(volume, 25, 25, 25)])
    assert 2 * (found & mask).sum() / (found.sum() + mask.sum()) > 0.95
    assert len(digest) == 64


def test_what_it_says_of_its_files_is_json_alone(tmp_path: Path) -> None:
    root = write_nninteractive(tmp_path, plans=nninteractive_plans())
    (root / "fold_0" / "checkpoint_final.pth").write_bytes(b"nothing")
    assert read_card(root).id == "nninteractive"
    (root / "plans.json").write_text(json.dumps({"configurations": {}}), encoding="utf-8")
    with pytest.raises(TaskError):
        read_card(root)


def test_marks_are_cut_to_the_image() -> None:
    volume = volume_of(np.zeros((10, 10, 10)))
    (mark,) = marks_of(point(volume, 0, 5, 9), volume, published())
    assert isinstance(mark, Mark)
    assert mark.region == Region((0, 1, 5), (5, 10, 10))
    assert mark.values[0, 4, 4] == 1
