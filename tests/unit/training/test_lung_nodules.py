"""The recipe for lung nodules on cubes that the tests make: its samples are what they say, and it learns from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from medviewer.ai.card import read_card
from medviewer.ai.nodule_outline import SIZE
from medviewer.ai.predictor import open_model
from medviewer.ai.weights import ModelStore
from medviewer.core.errors import InputError
from medviewer.jobs.job import NullContext
from medviewer.training.evaluate import evaluate_model
from medviewer.training.recipes import _lung_samples, lung_nodule_outlines, lung_nodules
from medviewer.training.recipes._lung_measure import Hit, Tally
from medviewer.training.recipes._lung_samples import draw_matrix, gathered, put_nodule
from medviewer.training.recipes._lung_scenes import SCAN_PATIENT, TESTED, TUNED, parts, read_cubes
from medviewer.training.train import Trainer

N = 51


def write_cubes(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    k, j, i = np.indices((N, N, N)) - N // 2
    away = np.sqrt(k**2 + j**2 + i**2)
    hu = rng.normal(-850, 20, (count, N, N, N))
    radius = rng.uniform(3.0, 8.0, count)
    inside = away[None] < radius[:, None, None, None]
    hu[inside] += 880
    hu[:, :, :5, :] = 40  # the chest wall
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / "lung_nodule_cubes_lidc.npz",
        hu=hu.astype(np.int16),
        mask=inside.astype(np.uint8),
        patient=np.array([SCAN_PATIENT, *(f"patient {n}" for n in range(1, count))]),
        ratings=np.full((count, 2), 5.0, np.float32),
        rating_names=np.array(["texture", "malignancy"]),
    )


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from medviewer.training.recipes import _lung_scenes

    monkeypatch.setattr(_lung_scenes, "TESTED", 2)
    monkeypatch.setattr(_lung_scenes, "TUNED", 1)
    write_cubes(tmp_path / "training", 6)
    return tmp_path / "training"


def test_patients_are_held_out_the_same_in_every_order() -> None:
    names = [SCAN_PATIENT, *(f"p{n}" for n in range(60))]
    belongs = parts(names)
    assert belongs == parts(names[::-1])
    assert belongs[SCAN_PATIENT] == "test"
    counts = [list(belongs.values()).count(part) for part in ("test", "tune", "train")]
    assert counts == [TESTED, TUNED, 61 - TESTED - TUNED]


def test_right_angles_and_interpolation_give_the_same_crop() -> None:
    array = np.random.default_rng(0).normal(size=(31, 33, 35)).astype(np.float32)
    for seed in range(30):
        matrix = draw_matrix(np.random.default_rng(seed), 1.0)
        if not np.isin(matrix, (-1, 0, 1)).all():
            continue
        picked, inside = gathered((array,), np.array([15.0, 16.0, 17.0]), matrix, 15)
        turned, _ = gathered((array,), np.array([15.0, 16.0, 17.0]), matrix + 1e-9, 15)
        assert inside.all()
        torch.testing.assert_close(picked, turned, atol=1e-4, rtol=0)


def test_a_nodule_is_put_where_it_is_told_at_its_size(data: Path) -> None:
    donor = next(scene for _, scene in read_cubes(data))
    hu = torch.full((48, 48, 48), -850.0)
    label = torch.zeros_like(hu)
    put_nodule(np.random.default_rng(3), hu, label, donor, 10.0, np.array([20.0, 26.0, 30.0]))
    places = torch.nonzero(label).float()
    assert torch.linalg.norm(places.mean(0) - torch.tensor([20.0, 26.0, 30.0])) < 1.0
    assert (6 * len(places) / np.pi) ** (1 / 3) == pytest.approx(10.0, rel=0.2)
    assert hu[label > 0].mean() > -300
    assert hu[label == 0].mean() < -800


def test_two_steps_make_a_model_that_can_be_measured(data: Path, tmp_path: Path) -> None:
    recipe = lung_nodules.Recipe(data, tmp_path / "work")
    recipe.prepare(NullContext())
    batch = recipe.batch(np.random.default_rng(0))
    assert batch["image"].shape == batch["label"].shape == batch["weight"].shape
    assert batch["image"].abs().max() <= 1
    assert batch["truth"].mean() == 0.5
    assert batch["label"].sum() > 0
    log = Trainer(recipe, tmp_path / "work" / "model").run(NullContext(), 60, max_steps=2)
    assert np.isfinite(list(log.metrics[-1][1].values())).all()
    again = lung_nodules.Recipe(data, tmp_path / "work")
    again.prepare(NullContext())
    again.batch(np.random.default_rng(0))
    assert again.mined is not None
    assert set(again.mined) == {scene.name for scene in again.cubes["train"]}
    table = evaluate_model(NullContext(), again, tmp_path / "work" / "model")
    assert {"mean Dice", "sensitivity", "false findings per cube"} <= {row["what"] for row in table}
    assert read_card(tmp_path / "work" / "model").metrics == table


def test_outlines_are_learnt_beside_the_other_two_networks_which_stay(data: Path, tmp_path: Path) -> None:
    recipe = lung_nodule_outlines.Recipe(data, tmp_path / "work")
    recipe.prepare(NullContext())
    batch = recipe.batch(np.random.default_rng(0))
    assert batch["image"].shape == (lung_nodule_outlines.BATCH, 3, SIZE, SIZE, SIZE)
    # The nodule lies in the middle, and so does what the first network took for it.
    middle = slice(SIZE // 2 - 2, SIZE // 2 + 2)
    assert batch["label"][..., middle, middle, middle].mean() > 0.5
    Trainer(recipe, tmp_path / "work" / "model").run(NullContext(), 60, max_steps=2)
    shipped, made = (
        open_model(folder).network for folder in (ModelStore().find("lung_nodules").folder, tmp_path / "work" / "model")
    )
    for name, value in shipped.state_dict().items():
        if not name.startswith("outline"):
            torch.testing.assert_close(made.state_dict()[name], value, atol=1e-3, rtol=1e-3)


def test_sensitivity_is_read_where_so_many_are_wrong() -> None:
    scene = None
    hits = [Hit(scene, value, 0.5) for value in (0.9, 0.6, 0.0)]  # type: ignore[arg-type]
    tally = Tally(hits, [0.95, 0.7, 0.5], 1.0)
    assert tally.sensitivity(0.5) == pytest.approx(2 / 3)
    assert tally.wrong_per_image(0.6) == 2
    assert tally.at_wrong(0) == 0
    assert tally.at_wrong(1) == pytest.approx(1 / 3)
    assert tally.at_wrong(3) == pytest.approx(2 / 3)


def test_without_the_cubes_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        lung_nodules.Recipe(tmp_path, tmp_path).prepare(NullContext())
    assert refused.value.code == "E_TRAINING_DATA"


def test_sides_are_repeated_and_the_middle_is_kept() -> None:
    crop = torch.arange(32.0).view(32, 1, 1).expand(32, 32, 32).clone()
    for seed in range(10):
        repeated = _lung_samples.edges_repeated(np.random.default_rng(seed), crop, 6)
        assert repeated.shape == crop.shape
        torch.testing.assert_close(repeated[10:22, 10:22, 10:22], crop[10:22, 10:22, 10:22])
