"""The recipe of the chest X-ray model, on made pictures: patients apart, a few steps, calibrated, a whole card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medviewer.ai.card import read_card
from medviewer.ai.networks import build_network
from medviewer.core.errors import InputError
from medviewer.jobs.job import NullContext
from medviewer.training.evaluate import evaluate_model
from medviewer.training.recipes import chest_xray
from medviewer.training.recipes._pictures import changed, shifted
from medviewer.training.recipes.chest_xray import Recipe, part_of
from medviewer.training.train import Trainer


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures of eighty patients, two of each; the sick ones have a bright half."""
    monkeypatch.setattr(chest_xray, "SIZE", (32, 32))
    monkeypatch.setattr(chest_xray, "BATCH", 4)
    rng = np.random.default_rng(0)
    for name, file in (("NORMAL", "IM-{:04d}-{:04d}.jpeg"), ("PNEUMONIA", "person{}_virus_{}.jpeg")):
        folder = tmp_path / "chest_xray_kermany" / name
        folder.mkdir(parents=True)
        for patient in range(40):
            for n in range(2):
                picture = rng.integers(0, 120, (40, 40)).astype(np.uint8)
                if name == "PNEUMONIA":
                    picture[20:] += 120
                Image.fromarray(picture).save(folder / file.format(patient, n))
    return tmp_path


def recipe(data: Path, work: Path) -> Recipe:
    made = Recipe(data, work, pretrained=False)
    made.prepare(NullContext())
    return made


def test_no_patient_is_in_two_parts(data: Path, tmp_path: Path) -> None:
    made = recipe(data, tmp_path / "work")
    for stem in {path.name.rsplit("-" if path.name.startswith("IM") else "_", 1)[0] for path in made.files}:
        parts = {part for path, part in zip(made.files, made.part, strict=True) if path.name.startswith(f"{stem}-")}
        assert len(parts) <= 1
    assert set(made.part) == {"train", "calibrate", "test"}
    folder = Path("PNEUMONIA")
    assert part_of(folder / "person7_virus_1.jpeg") == part_of(folder / "person7_bacteria_99.jpeg")
    assert part_of(Path("NORMAL/IM-0115-0001.jpeg")) == part_of(Path("NORMAL/NORMAL2-IM-0115-0001-0002.jpeg"))


def test_pictures_are_kept_for_the_next_slice(data: Path, tmp_path: Path) -> None:
    first = recipe(data, tmp_path / "work")
    (kept,) = (tmp_path / "work").glob("*.npy")
    before = kept.stat().st_mtime_ns
    np.testing.assert_array_equal(recipe(data, tmp_path / "work").pictures, first.pictures)
    assert kept.stat().st_mtime_ns == before


def test_changes_keep_shape_and_range() -> None:
    images = torch.rand(10, 1, 32, 32) * 2 - 1
    for change in (changed, shifted):
        out = change(images, np.random.default_rng(0))
        assert out.shape == images.shape
        assert -1 <= out.min() <= out.max() <= 1
        assert torch.equal(out, change(images, np.random.default_rng(0)))
        assert (out != images).flatten(1).any(1).all()


def test_a_few_steps_make_a_calibrated_model_with_a_whole_card(data: Path, tmp_path: Path) -> None:
    made = recipe(data, tmp_path / "work")
    Trainer(made, tmp_path / "model").run(NullContext(), 60, max_steps=6)
    table = evaluate_model(NullContext(), made, tmp_path / "model")
    card = read_card(tmp_path / "model")
    assert {row["what"] for row in table} >= {"AUC", "expected calibration error"}
    assert all(row["cases"] == (made.part == "test").sum() for row in card.metrics)
    assert card.settings["calibration"]["temperature"] > 0
    assert len(card.settings["usual"]["mean"]) == 144
    assert (card.runner, card.license, card.task["kind"]) == ("classification", "CC-BY-4.0", "classification")
    assert [label.code and label.code[0] for label in card.labels] == ["17621005", "233604007"]
    for text in (card.credit, card.data, card.description, card.intended_use, *card.failures):
        assert text


def test_the_first_layers_stay_as_they_were(data: Path, tmp_path: Path) -> None:
    made = recipe(data, tmp_path / "work")
    trainer = Trainer(made, tmp_path / "model")
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    trainer.run(NullContext(), 60, max_steps=2)
    after = trainer.network.state_dict()
    first = ("_conv_stem", "_bn0", "_blocks.0.", "_blocks.1.", "_blocks.2.")
    for name, value in before.items():
        if name.startswith(first):
            assert torch.equal(value, after[name]), name
    assert not torch.equal(before["_fc.weight"], after["_fc.weight"])


def test_without_the_weights_to_start_from_it_says_what_to_install(data: Path, tmp_path: Path) -> None:
    made = Recipe(data, tmp_path / "work")
    made.prepare(NullContext())
    monkey = pytest.MonkeyPatch()
    monkey.setattr(chest_xray, "START_PACKAGE", "a_package_that_is_not_there")
    with pytest.raises(InputError, match="ImageNet") as refused:
        made.initialise(build_network("efficientnet_lite", {"in_channels": 1, "out_channels": 2}))
    monkey.undo()
    assert refused.value.code == "E_TRAINING_DATA"
