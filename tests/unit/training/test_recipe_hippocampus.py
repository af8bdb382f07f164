"""The recipe of the hippocampus model, on made crops: patients apart, a few steps, a whole card, figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from medviewer.ai.card import read_card
from medviewer.core.errors import InputError
from medviewer.jobs.job import NullContext
from medviewer.training.evaluate import evaluate_model
from medviewer.training.recipe import open_recipe
from medviewer.training.recipes.hippocampus import Recipe, held_out_names
from medviewer.training.train import Trainer


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten crops in the axes of the real ones: i to the right, j to the front."""
    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (tmp_path / "hippocampus_msd" / part).mkdir(parents=True)
    for number in range(1, 11):
        shape = tuple(int(n) for n in rng.integers((26, 40, 31), (36, 50, 36)))
        label = np.zeros(shape, np.uint8)
        label[8:16, 24:34, 10:18] = 1
        label[8:16, 8:24, 10:18] = 2
        values = {"images": rng.normal(100, 10, shape).astype(np.float32) + 80 * (label > 0), "labels": label}
        for part, array in values.items():
            image = sitk.GetImageFromArray(array)
            image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
            sitk.WriteImage(image, str(tmp_path / "hippocampus_msd" / part / f"hippocampus_{number:03d}.nii.gz"))
    return tmp_path


def recipe(data: Path, work: Path) -> Recipe:
    made = open_recipe("hippocampus", data, work)
    made.prepare(NullContext())
    assert isinstance(made, Recipe)
    return made


def test_the_parts_have_no_crop_in_common(data: Path, tmp_path: Path) -> None:
    made = recipe(data, tmp_path / "work")
    assert not set(made.train) & set(made.held_out)
    assert sorted(made.train + made.held_out) == list(range(10))
    names = [f"hippocampus_{n:03d}.nii.gz" for n in range(400)]
    assert len(held_out_names(names)) == 40
    assert held_out_names(names[::-1]) == held_out_names(names)


def test_the_front_part_lies_in_front_for_the_network(data: Path, tmp_path: Path) -> None:
    made = recipe(data, tmp_path / "work")
    front, back = (np.argwhere(made.labels[0] == part)[:, 1].mean() for part in (1, 2))
    assert front < back


def test_labels_move_with_the_image(data: Path, tmp_path: Path) -> None:
    made = recipe(data, tmp_path / "work")
    for seed in range(2):
        batch = made.batch(np.random.default_rng(seed))
        for image, label in zip(batch["image"][:, 0], batch["label"], strict=True):
            inside, outside = image[label > 0], image[(label == 0) & (image != 0)]
            assert len(inside) > 500
            assert inside.mean() > outside.mean() + 1


def test_a_few_steps_make_a_model_with_a_whole_card(data: Path, tmp_path: Path) -> None:
    made = recipe(data, tmp_path / "work")
    made.held_out = made.held_out[:1]
    trainer = Trainer(made, tmp_path / "model")
    first = made.loss(trainer.network, made.batch(np.random.default_rng(0))).item()
    trainer.run(NullContext(), 60, max_steps=4)
    assert made.loss(trainer.network, made.batch(np.random.default_rng(0))).item() < first
    table = evaluate_model(NullContext(), made, tmp_path / "model")
    card = read_card(tmp_path / "model")
    assert [row["what"] for row in card.metrics] == ["Dice, anterior", "Dice, posterior", "Dice, both parts"]
    assert all(row["cases"] == 1 and 0 <= row["mean"] <= 1 for row in table)
    assert (card.runner, card.license) == ("hippocampus", "CC-BY-SA-4.0")
    for text in (card.credit, card.data, card.description, card.intended_use, *card.failures):
        assert text
    assert card.weights_sha256


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        recipe(tmp_path, tmp_path / "work")
    assert refused.value.code == "E_TRAINING_DATA"
