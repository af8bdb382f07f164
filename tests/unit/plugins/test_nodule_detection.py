from __future__ import annotations

import numpy as np
import pytest
import torch

from medviewer.api import Box3D, BoxResult, Geometry, InputError, LabelResult, NullContext
from medviewer.phantoms import make_thorax, spheres_volume
from mv_nodule_detection.blobs import _eigenvalues, find_blobs, merged
from mv_nodule_detection.detect import NoduleParams, NoduleTask
from mv_nodule_detection.field import LungField, resampled
from mv_nodule_detection.lesion import LesionParams, LesionTask
from mv_nodule_detection.score import WEIGHTS, score
from mv_nodule_detection.shape import Features

CTX = NullContext()


def _field(hu: np.ndarray[tuple[int, int, int], np.dtype[np.float32]]) -> LungField:
    tensor = torch.from_numpy(hu)
    k, j, i = hu.shape
    return LungField(tensor, tensor, torch.ones(hu.shape, dtype=torch.bool), -850.0, Geometry((i, j, k), (1, 1, 1)))


def _ball(diameter: float, shape: tuple[int, int, int] = (48, 48, 48)) -> LungField:
    k, j, i = np.indices(shape, dtype=np.float32)
    away = np.sqrt((k - 24) ** 2 + (j - 22) ** 2 + (i - 26) ** 2)
    return _field((-850 + 900 * np.clip(diameter / 2 - away + 0.5, 0, 1)).astype(np.float32))


@pytest.mark.parametrize("diameter", [5.0, 8.0, 12.0, 20.0])
def test_a_ball_is_found_in_its_middle_at_its_size(diameter: float) -> None:
    best = merged(find_blobs(CTX, _ball(diameter), 4.0, 36.0, 20.0), 1.0, 10)[0]
    # The scale of the largest is looked for in blocks of 4 mm.
    assert np.linalg.norm(np.array(best.kji) - (24, 22, 26)) < 2.0
    assert best.diameter_mm == pytest.approx(diameter, rel=0.35)
    assert best.ratio > 0.8


def test_a_tube_answers_much_less_than_a_ball() -> None:
    j, i = np.indices((48, 48), dtype=np.float32)
    tube = -850 + 900 * np.clip(4.5 - np.sqrt((j - 24) ** 2 + (i - 24) ** 2), 0, 1)
    field = _field(np.broadcast_to(tube, (48, 48, 48)).astype(np.float32))
    inner = [b for b in find_blobs(CTX, field, 4.0, 36.0, 1.0) if 12 < b.kji[0] < 36]
    ball = find_blobs(CTX, _ball(8.0), 4.0, 36.0, 20.0)[0]
    assert max((b.response for b in inner), default=0.0) < 0.15 * ball.response


def test_eigenvalues_agree_with_a_library() -> None:
    matrices = torch.randn(200, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrices = matrices + matrices.transpose(1, 2)
    packed = torch.stack([matrices[:, a, b] for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))], dim=1)
    expected = torch.linalg.eigvalsh(matrices)
    torch.testing.assert_close(_eigenvalues(packed.float()), expected.float(), atol=1e-4, rtol=1e-4)


def test_resampling_is_linear_and_clamped() -> None:
    source = torch.arange(2 * 3 * 4, dtype=torch.float32).reshape(2, 3, 4)
    places = [np.array([0.0, 0.5]), np.array([-1.0, 1.0, 2.0]), np.array([0.25, 3.0, 9.0])]
    values = resampled(source, places)
    assert values.shape == (2, 3, 3)
    assert values[1, 1, 0].item() == pytest.approx(6.0 + 4.0 + 0.25)
    assert values[0, 0, 2].item() == pytest.approx(3.0)


def test_the_score_rises_with_what_makes_a_nodule() -> None:
    plain = dict.fromkeys(WEIGHTS, 0.5)
    for name in ("response", "compactness", "free_shell"):
        assert score(Features(**{**plain, name: 0.9})) > score(Features(**plain))
    assert score(Features(**{**plain, "bright": 3.0})) < score(Features(**plain))


def test_nodules_of_a_phantom_rank_high() -> None:
    phantom = make_thorax((128, 128, 64), seed=0)
    (result,) = NoduleTask().run(CTX, {"image": phantom.volume}, NoduleParams(most=15))
    assert isinstance(result, BoxResult)
    hit = 0
    for nodule in phantom.nodules:
        away = [np.linalg.norm(np.array(box.center_lps) - nodule.lps) for box in result.boxes]
        hit += min(away) < nodule.diameter_mm / 2
    assert hit >= len(phantom.nodules) - 2
    assert len(result.boxes) <= 15
    assert all(box.label == "Nodule" and box.diameter_mm for box in result.boxes)


def test_without_lungs_there_are_no_candidates() -> None:
    (result,) = NoduleTask().run(CTX, {"image": spheres_volume().volume}, NoduleParams())
    assert isinstance(result, BoxResult)
    assert result.boxes == ()


def test_a_mask_fits_each_ball_on_an_oblique_grid() -> None:
    phantom = spheres_volume(noise=20.0)
    boxes = tuple(
        Box3D(lower=tuple(np.array(n.lps) - n.diameter_mm / 2), upper=tuple(np.array(n.lps) + n.diameter_mm / 2))
        for n in phantom.nodules
    )
    (result,) = LesionTask().run(CTX, {"image": phantom.volume, "boxes": boxes}, LesionParams())
    assert isinstance(result, LabelResult)
    assert [segment.value for segment in result.segments] == [1, 2, 3]
    for value in (1, 2, 3):
        found, truth = result.labels == value, phantom.labels == value
        assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.9


def test_a_vessel_is_cut_off_a_lesion() -> None:
    field = _ball(16.0)
    hu = field.hu.numpy().copy()
    hu[23:26, 21:24, :] = 50.0
    volume = make_thorax((32, 32, 16), seed=0).volume
    image = type(volume)(hu.astype(np.int16), field.geometry, modality="CT")
    box = Box3D(lower=(18.0, 14.0, 16.0), upper=(34.0, 30.0, 32.0), label="Nodule")
    (result,) = LesionTask().run(CTX, {"image": image, "boxes": (box,)}, LesionParams())
    assert isinstance(result, LabelResult)
    assert result.segments[0].name == "Nodule"
    assert result.labels.sum() == pytest.approx(4 / 3 * np.pi * 8**3, rel=0.1)


@pytest.mark.parametrize(
    "boxes", [(), (Box3D(lower=(900.0, 900.0, 900.0), upper=(910.0, 910.0, 910.0)),)], ids=["none", "outside"]
)
def test_a_box_that_cannot_be_used_is_named(boxes: tuple[Box3D, ...]) -> None:
    with pytest.raises(InputError):
        LesionTask().run(CTX, {"image": spheres_volume().volume, "boxes": boxes}, LesionParams())


def test_a_mask_is_never_empty() -> None:
    flat = spheres_volume(spheres=()).volume
    box = Box3D(lower=(-5.0, -5.0, -5.0), upper=(5.0, 5.0, 5.0))
    (result,) = LesionTask().run(CTX, {"image": flat, "boxes": (box,)}, LesionParams())
    assert isinstance(result, LabelResult)
    assert result.labels.any()
