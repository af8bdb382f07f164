from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from medviewer.ai.formats import format_of
from medviewer.ai.formats.nnunet import read_card
from medviewer.ai.nnunet import NnunetOptions, nnunet_weight, nnunet_windows, open_nnunet, predict_nnunet
from medviewer.ai.nnunet_case import Axes, Case, apart, logits_on_image, nearest, places, prepare
from medviewer.ai.sliding_window import Slab
from medviewer.ai.torch_file import load_torch_file
from medviewer.core.errors import TaskError
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.jobs.job import NullContext
from tests.model_makers import nnunet_dataset, nnunet_plans, write_nnunet

SHAPE, SPACING = (14, 20, 22), (2.0, 1.25, 1.25)
REGIONS: dict[str, Any] = {
    "channel_names": {"0": "T1", "1": "FLAIR"},
    "labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3},
    "regions_class_order": [1, 2],
}
MR = {"normalization_schemes": ["ZScoreNormalization"] * 2, "use_mask_for_norm": [True, False]}


def picture(seed: int = 0) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    array = rng.normal(scale=200, size=SHAPE).astype(np.float32)
    array[:2] = 0
    array[:, :, -3:] = 0
    return array


def volume(array: npt.NDArray[Any], **changes: Any) -> Volume:
    geometry = Geometry(array.shape[::-1], SPACING[::-1], (0.0, 0.0, 0.0), **changes)
    return Volume(array=array, geometry=geometry, name="case")


def run(root: Path, *arrays: npt.NDArray[Any], **options: Any) -> npt.NDArray[np.uint16]:
    found = predict_nnunet(NullContext(), open_nnunet(root), [volume(a) for a in arrays], NnunetOptions(**options))
    return found.labels


def test_the_plans_become_a_card(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path)
    card = read_card(root)
    assert format_of(root) == format_of(root.parent) == "nnunet"
    assert (card.id, card.title) == ("nnunet_made_3d_fullres", "Made (nnU-Net 3d_fullres)")
    assert (card.modalities, card.channels, card.license) == (("CT",), ("CT",), "CC-BY 4.0")
    assert [(label.value, label.name) for label in card.labels] == [(1, "head"), (2, "tail")]
    assert (card.spacing_mm, card.window) == ((1.5, 1.25, 1.25), (16, 16, 16))
    assert (card.runner, card.network) == ("nnunet", "dynamic_unet")


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("old", [False, True])
def test_every_kind_of_plan_and_network_runs(tmp_path: Path, dims: int, residual: bool, old: bool) -> None:
    root = write_nnunet(tmp_path, nnunet_plans(dims, residual=residual, old=old), mirror=tuple(range(dims)))
    labels = run(root, picture())
    assert labels.shape == SHAPE
    assert len(np.unique(labels)) > 1
    assert not labels[:2].any(), "what nnU-Net crops away is background"
    assert not labels[:, :, -3:].any()


def test_regions_are_drawn_one_over_the_other_and_what_is_ignored_is_no_label(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path, nnunet_plans(**MR), nnunet_dataset(**REGIONS))
    card = read_card(root)
    assert card.output == "sigmoid"
    assert [(label.name, label.value) for label in card.labels] == [("whole", 1), ("core", 2)]
    assert card.modalities == ("MR",)
    labels = run(root, picture(), picture(1))
    assert len(np.unique(labels)) > 1


def test_folds_are_averaged(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path, folds=("0", "1"))
    image = [volume(picture())]
    chances = []
    for fold in ("0", "1"):
        alone = write_nnunet(tmp_path / fold, folds=("0", "1") if fold == "1" else ("0",))
        if fold == "1":
            (alone / "fold_0" / "checkpoint_final.pth").unlink()
        found = predict_nnunet(NullContext(), open_nnunet(alone), image, NnunetOptions(probability=True))
        chances.append(found.probability)
    both = predict_nnunet(NullContext(), open_nnunet(root), image, NnunetOptions(probability=True))
    first = predict_nnunet(NullContext(), open_nnunet(root, first_fold=True), image, NnunetOptions(probability=True))
    assert both.record["folds"] == 2
    assert np.array_equal(first.probability, chances[0])
    assert not np.array_equal(both.probability, chances[0])
    assert not np.array_equal(both.probability, chances[1])


def test_a_mirrored_run_knows_no_left_and_right(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path, mirror=(0, 1, 2))
    array = picture()

    def agreement(mirror: bool) -> float:
        return float(
            np.mean(np.flip(run(root, np.flip(array, 2), mirror=mirror), 2) == run(root, array, mirror=mirror))
        )

    assert agreement(True) > max(0.95, agreement(False))


def test_axes_turn_the_image_for_a_model_that_wants_it(tmp_path: Path) -> None:
    plans = nnunet_plans() | {"image_reader_writer": "NibabelIOWithReorient"}
    root = write_nnunet(tmp_path, plans, mirror=None)
    array = picture()
    turned = volume(np.ascontiguousarray(array[:, ::-1]), direction=(1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))
    model = open_nnunet(root)
    upright = predict_nnunet(NullContext(), model, [volume(array)]).labels
    assert np.array_equal(predict_nnunet(NullContext(), model, [turned]).labels[:, ::-1], upright)
    stored = NnunetOptions(axes="stored")
    assert not np.array_equal(predict_nnunet(NullContext(), model, [turned], stored).labels[:, ::-1], upright)


def test_the_weights_are_nnunets_under_all_their_names(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path)
    names = load_torch_file(root / "fold_0" / "checkpoint_final.pth")["network_weights"]
    assert "encoder.stages.0.0.convs.0.conv.weight" in names
    assert "encoder.stages.0.0.convs.0.all_modules.1.bias" in names
    assert "decoder.encoder.stages.2.0.convs.1.norm.weight" in names
    assert "decoder.seg_layers.0.weight" in names


def test_windows_are_spread_evenly() -> None:
    windows = nnunet_windows((110, 64, 10), (64, 64, 64))
    assert sorted({start[0] for start in windows.starts}) == [0, 23, 46]
    assert windows.pad == ((0, 0), (0, 0), (27, 27))
    flat = nnunet_windows((3, 20, 20), (16, 16))
    assert [start[0] for start in flat.starts] == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.parametrize(("old", "new"), [(40, 10), (10, 40), (12, 10), (7, 7)])
@pytest.mark.parametrize("parts", [1, 3, 8])
@pytest.mark.parametrize("coarse", [True, False])
def test_logits_come_back_the_same_in_slabs_of_any_size(old: int, new: int, parts: int, coarse: bool) -> None:
    rule: dict[str, Any] = {"kind": "spline", "order": 1, "order_apart": 0, "apart": coarse}
    whole = torch.randn(2, old, 5, 4)
    case = Case(
        image=np.zeros((1, old, 5, 4), np.float32), axes=Axes(None, (0, 1, 2)), whole=(new, 5, 4),
        crop=(slice(0, new), slice(0, 5), slice(0, 4)), spacing=(6.0, 1.0, 1.0), target=(5.0, 1.0, 1.0),
    )  # fmt: skip

    def drawn(size: int) -> torch.Tensor:
        ks = range(0, old, size)
        slabs = (Slab(k, 0, 0, whole[:, k : k + size], k + size >= old) for k in ks)
        return torch.cat([logits for _, logits in logits_on_image(case, slabs, rule)], dim=1)

    assert torch.allclose(drawn(parts), drawn(old), atol=1e-6)
    if coarse:
        assert torch.equal(drawn(old), whole[:, nearest(old, new)])


def test_the_weight_is_largest_in_the_middle_and_never_nothing() -> None:
    weight = nnunet_weight((128, 96, 64))
    assert weight[64, 48, 32] == weight.max()
    assert weight.min() > 1e-9


def test_a_coarse_axis_is_resampled_apart() -> None:
    rule: dict[str, Any] = {"apart": None}
    assert apart(rule, (5.0, 1.0, 1.0), (1.0, 1.0, 1.0)) == 0
    assert apart(rule, (1.0, 1.0, 1.0), (1.0, 1.0, 4.0)) == 2
    assert apart(rule, (2.0, 1.0, 1.0), (1.0, 1.0, 1.0)) is None
    assert apart(rule, (5.0, 5.0, 1.0), (1.0, 1.0, 1.0)) is None
    assert apart({"apart": False}, (5.0, 1.0, 1.0), (1.0, 1.0, 1.0)) is None
    assert places(4, 2).tolist() == [0.5, 2.5]
    assert nearest(2, 5).tolist() == [0, 0, 1, 1, 1]


@pytest.mark.parametrize(("scheme", "expected"), [
    ("none", [-1000, 0, 1000]), ("ct", [-350 / 120, -50 / 120, 350 / 120]), ("rescale", [0, 0.5, 1]),
])  # fmt: skip
def test_intensities(scheme: str, expected: list[float]) -> None:
    array = np.zeros((1, 1, 3), np.float32)
    array[0, 0] = -1000, 0, 1000
    statistics = {"mean": 50.0, "std": 120.0, "percentile_00_5": -300.0, "percentile_99_5": 400.0}
    settings = {
        "axes": "stored", "transpose": (0, 1, 2), "inside_only": [False], "schemes": [scheme],
        "intensities": [statistics], "resample_image": {"kind": "none"},
    }  # fmt: skip
    case = prepare([array], Geometry((3, 1, 1), (1.0, 1.0, 1.0)), (1.0, 1.0, 1.0), settings)
    assert case.image.ravel() == pytest.approx(expected)


@pytest.mark.parametrize(("change", "word"), [
    ({"previous_stage": "3d_lowres"}, "cascade"),
    ({"normalization_schemes": ["MyOwnNormalization"]}, "MyOwnNormalization"),
    ({"resampling_fn_data": "os.system"}, "os.system"),
    ({"architecture": {"network_class_name": "os.system", "arch_kwargs": {}}}, "system"),
    ({"architecture": {"network_class_name": "x.Primus", "arch_kwargs": {"n_stages": 2}}}, "Primus"),
    ({"patch_size": None}, "plans are not"),
    ({"inherits_from": "3d_fullres"}, "plans are not"),
])  # fmt: skip
def test_M11_what_plans_ask_for_is_looked_up_and_never_imported(tmp_path: Path, change: Any, word: str) -> None:
    root = write_nnunet(tmp_path)
    plans = nnunet_plans(**change)
    (root / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    with pytest.raises(TaskError, match=word) as refused:
        read_card(root)
    assert refused.value.code == "E_MODEL_FILE"


def test_M03_a_real_kind_of_checkpoint_with_numbers_of_numpy_loads(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path)
    checkpoint = load_torch_file(root / "fold_0" / "checkpoint_final.pth")
    assert float(checkpoint["_best_ema"]) == 0.75
    assert [float(v) for v in checkpoint["logging"]["mean_fg_dice"]] == [0.5, 0.75]


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path)
    plans = nnunet_plans()
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["features_per_stage"] = [4, 8, 16]
    (root / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    with pytest.raises(TaskError, match="do not fit") as refused:
        open_nnunet(root)
    assert refused.value.code == "E_MODEL_FILE"


def test_M05_an_output_that_is_no_number_is_refused(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path)
    model = open_nnunet(root)
    with torch.no_grad():
        next(model.networks[0].parameters()).fill_(float("nan"))
    with pytest.raises(TaskError) as refused:
        predict_nnunet(NullContext(), model, [volume(picture())])
    assert refused.value.code == "E_MODEL_OUTPUT"


def test_M04_a_model_of_two_channels_is_not_run_on_one(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path, nnunet_plans(**MR), nnunet_dataset(**REGIONS))
    with pytest.raises(TaskError, match=r"needs 2 channels \(T1, FLAIR\), have 1") as refused:
        run(root, picture())
    assert refused.value.code == "E_MODEL_INPUT"
