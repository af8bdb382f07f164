"""Made heads follow their label map; the two brain recipes train on them, and their cards say all that they must."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medviewer.ai.card import ModelCard
from medviewer.ai.networks import build_network
from medviewer.core.errors import InputError
from medviewer.jobs.job import NullContext
from medviewer.training.recipes import _brain as brain
from medviewer.training.recipes import brain_anatomy, brain_lesions
from medviewer.training.recipes._brain_lesions import LESION, MASS, add_lesions
from medviewer.training.train import Trainer

SEEDS = st.integers(0, 2**32 - 1)
SHAPE = (48, 56, 48)


def head(shape: tuple[int, int, int] = SHAPE) -> npt.NDArray[np.int32]:
    """Return FreeSurfer labels (k, j, i) of a head of nested shells: i runs to the left."""
    k, j, i = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    radius = np.sqrt(k**2 + j**2 + i**2)
    left = np.broadcast_to(i > 0, shape)
    labels = np.zeros(shape, np.int32)
    for edge, one, other in (
        (0.95, 511, 511), (0.88, 515, 515), (0.8, 24, 24), (0.72, 3, 42), (0.58, 2, 41), (0.25, 4, 43), (0.1, 136, 163),
    ):  # fmt: skip
        labels[radius < edge] = np.where(left, one, other)[radius < edge]
    for center, one, other in ((0.42, 12, 51), (0.52, 25, 57)):
        near = (np.abs(np.abs(i) - center) < 0.08) & (np.abs(j) < 0.15) & (np.abs(k) < 0.15)
        labels[near] = np.where(left, one, other)[near]
    return labels


def codes() -> brain.Codes:
    return np.vectorize(brain.CODE.get, otypes=[np.uint8])(head())


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a folder of training data whose heads, pools and patches are small."""
    folder = tmp_path / "data" / "brain_label_maps_synthseg"
    folder.mkdir(parents=True)
    for n in range(3):
        image = sitk.GetImageFromArray(np.roll(head(), n, axis=0))
        sitk.WriteImage(image, str(folder / f"map_{n}.nii.gz"))
    monkeypatch.setattr(brain, "POOL", 2)
    monkeypatch.setattr(brain, "BOX", (64, 64, 64))
    for name in ("SMALL", "LARGE"):
        monkeypatch.setattr(brain_anatomy, name, (32, 32, 32))
    monkeypatch.setattr(brain_anatomy, "FINE", (8, 8, 8))
    monkeypatch.setattr(brain_lesions, "PATCH", (32, 32, 32))
    monkeypatch.setattr(brain_lesions, "FINE", (32, 32, 32))
    return tmp_path / "data"


@given(SEEDS)
@settings(max_examples=6, deadline=None)
def test_a_deformed_map_has_labels_of_its_map_and_is_the_same_for_the_same_seed(seed: int) -> None:
    source = codes()
    one, two = (brain.deform(source, np.random.default_rng(seed), (40, 44, 40)) for _ in range(2))
    assert set(np.unique(one)) <= set(np.unique(source))
    np.testing.assert_array_equal(one, two)
    assert brain.BRAIN_OF_CODE[one].any()


def test_a_deformed_map_keeps_left_left() -> None:
    for seed in range(5):
        found = brain.OUTPUT_OF_CODE[brain.deform(codes(), np.random.default_rng(seed), (48, 56, 48))]
        sides = [np.argwhere(found == brain.OUTPUTS[label])[:, 2].mean() for label in (3, 42)]
        assert sides[0] > sides[1]


def test_mirroring_swaps_sides_and_twice_is_nothing() -> None:
    every = np.arange(len(brain.LABELS))
    mirrored = brain.MIRROR_OF_CODE[every]
    np.testing.assert_array_equal(brain.MIRROR_OF_CODE[mirrored], every)
    np.testing.assert_array_equal(brain.OUTPUT_OF_CODE[mirrored], brain.MIRROR_OF_OUTPUT[brain.OUTPUT_OF_CODE[every]])
    np.testing.assert_array_equal(brain.TISSUE_OF_CODE[mirrored], brain.TISSUE_OF_CODE[every])
    assert brain.MIRROR_OF_CODE[brain.CODE[17]] == brain.CODE[53]
    assert brain.MIRROR_OF_CODE[brain.CODE[16]] == brain.CODE[16]


@given(SEEDS)
@settings(max_examples=6, deadline=None)
def test_a_made_image_is_finite_repeatable_and_no_label_lies_outside_its_map(seed: int) -> None:
    source = codes()
    (image, label), (again, _) = (brain_anatomy.paint(source, np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(image, again)
    assert image.shape == label.shape == tuple(n // 2 for n in SHAPE)
    assert np.isfinite(image).all()
    assert np.abs(image).max() <= 1
    assert set(np.unique(label)) <= {0, *brain.OUTPUT_OF_CODE[source].ravel()}


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_lesions_lie_inside_the_brain(seed: int) -> None:
    source = codes()
    lesions = add_lesions(source, np.random.default_rng(seed), masses=0.5)
    solid = brain.BRAIN_OF_CODE[source] & ~np.isin(source, [brain.CODE[v] for v in (4, 43, 136, 163)])
    assert not (lesions.label > 0)[~solid].any()
    assert set(np.unique(lesions.label)) <= {0, LESION, MASS}
    for share in (lesions.lesion, lesions.mass, lesions.core):
        assert share.min() >= 0
        assert share.max() <= 1
    assert not ((lesions.lesion > 0.5) & (lesions.mass > 0.5)).any()


def test_lesions_are_common() -> None:
    found = [add_lesions(codes(), np.random.default_rng(seed), masses=0.5).label for seed in range(20)]
    assert sum((label == LESION).any() for label in found) > 10
    assert sum((label == MASS).any() for label in found) > 4


@pytest.mark.parametrize("module", [brain_anatomy, brain_lesions])
def test_a_recipe_trains_on_made_maps(module: object, small: Path, tmp_path: Path) -> None:
    recipe = module.Recipe(small, tmp_path / "work" / "model")  # type: ignore[attr-defined]
    recipe.prepare(NullContext())
    batch = recipe.batch(np.random.default_rng(0))
    assert batch["image"].shape[2:] == batch["label"].shape[1:]
    log = Trainer(recipe, tmp_path / "model").run(NullContext(), 60, max_steps=2)
    assert log.steps == 2
    assert all(np.isfinite(value) for value in log.metrics[-1][1].values())


def test_a_cut_pool_is_finished_and_the_same(small: Path, tmp_path: Path) -> None:
    maps = sorted((small / "brain_label_maps_synthseg").glob("*"))
    shape = (16, 16, 16)
    whole = brain.make_pool(NullContext(), tmp_path / "whole", maps, 3, shape, 5)
    brain.make_pool(NullContext(), tmp_path / "cut", maps, 3, shape, 5)
    (tmp_path / "cut" / "pool.done").write_text("1")
    np.lib.format.open_memmap(tmp_path / "cut" / "pool.npy", mode="r+")[1:] = 0
    np.testing.assert_array_equal(brain.make_pool(NullContext(), tmp_path / "cut", maps, 3, shape, 5), whole)


def test_too_few_maps_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        brain_anatomy.Recipe(tmp_path, tmp_path / "work").prepare(NullContext())
    assert refused.value.code == "E_TRAINING_DATA"


@pytest.mark.parametrize("module", [brain_anatomy, brain_lesions])
def test_the_card_is_complete_and_fits_its_network(module: object, tmp_path: Path) -> None:
    card: ModelCard = module.Recipe(tmp_path, tmp_path).card()  # type: ignore[attr-defined]
    assert all((card.title, card.description, card.license, card.credit, card.data, card.intended_use, card.failures))
    assert "BRAIN" in card.body_parts
    assert "MR" in card.modalities
    assert card.task["auto"] is True
    values = [label.value for label in card.labels]
    assert values == list(range(1, len(values) + 1))
    assert len({label.name for label in card.labels}) == len(values)
    assert all(label.code and label.code[1] == "SCT" and label.color for label in card.labels)
    network = build_network(card.network, card.arguments)
    with torch.inference_mode():
        assert network(torch.zeros(1, 1, 32, 32, 32)).shape == (1, len(values) + 1, 32, 32, 32)
    assert all(n % 16 == 0 for n in card.window)


def test_both_sides_of_the_anatomy_share_code_colour_and_volume(tmp_path: Path) -> None:
    card = brain_anatomy.Recipe(tmp_path, tmp_path).card()
    named = {label.name: label for label in card.labels}
    assert set(card.settings["quality"]["volume_ml"]) == set(named)
    lefts = [name for name in named if name.startswith("left_")]
    assert len(lefts) == 14
    assert len(named) == 32
    for name in lefts:
        left, right = named[name], named[name.replace("left_", "right_")]
        assert (left.laterality, right.laterality) == ("left", "right")
        assert (left.code, left.color) == (right.code, right.color)
        assert brain.MIRROR_OF_OUTPUT[left.value] == right.value
        assert card.settings["quality"]["volume_ml"][left.name] == card.settings["quality"]["volume_ml"][right.name]
