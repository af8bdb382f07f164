"""The shipped nodule model through its runner: findings, outlines, and what is said where no lung is."""

from __future__ import annotations

import numpy as np
import pytest

from medviewer.ai.weights import ModelStore
from medviewer.api import BoxResult, Geometry, LabelResult, NullContext, Volume
from mv_models.runners.nodules import NoduleParams, Runner

CTX = NullContext()
MIDDLE, DIAMETER = np.array([30.0, 28.0, 31.0]), 14.0


@pytest.fixture(scope="module")
def runner() -> Runner:
    return Runner(ModelStore().find("lung_nodules").folder)


@pytest.fixture(scope="module")
def lung() -> tuple[Volume, np.ndarray]:
    """A piece of lung with one solid ball of 14 mm."""
    geometry = Geometry((60, 58, 56), (1.0, 1.0, 1.0))
    k, j, i = np.indices(geometry.shape)
    away = np.linalg.norm(np.stack([i, j, k], axis=-1) - MIDDLE, axis=-1)
    hu = np.random.default_rng(0).normal(-860, 25, geometry.shape) + 890 * np.clip(DIAMETER / 2 - away + 0.5, 0, 1)
    volume = Volume(id="v", name="v", array=hu.astype(np.int16), geometry=geometry, modality="CT")
    return volume, away <= DIAMETER / 2


def test_a_ball_in_a_lung_is_a_finding_with_its_segment(runner: Runner, lung: tuple[Volume, np.ndarray]) -> None:
    volume, truth = lung
    labels, boxes = runner.run(CTX, {"image": volume}, NoduleParams(min_score=0.05))
    assert isinstance(labels, LabelResult)
    assert isinstance(boxes, BoxResult)
    best = boxes.boxes[0]
    assert np.linalg.norm(np.array(best.center_lps) - MIDDLE) < 4.0
    assert best.diameter_mm == pytest.approx(DIAMETER, rel=0.35)
    assert [box.segment for box in boxes.boxes] == [segment.value for segment in labels.segments]
    found = labels.labels == best.segment
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.7


def test_without_outlines_there_are_findings_only(runner: Runner, lung: tuple[Volume, np.ndarray]) -> None:
    (boxes,) = runner.run(CTX, {"image": lung[0]}, NoduleParams(min_score=0.05, outlines=False))
    assert isinstance(boxes, BoxResult)
    assert all(box.segment is None for box in boxes.boxes)


def test_an_image_without_lungs_says_so(runner: Runner) -> None:
    volume = Volume(
        id="v", name="v", array=np.full((24, 40, 40), 40, np.int16), geometry=Geometry((40, 40, 24), (1.0, 1.0, 1.0))
    )
    (boxes,) = runner.run(CTX, {"image": volume}, NoduleParams())
    assert isinstance(boxes, BoxResult)
    assert boxes.boxes == ()
    assert boxes.flags[0].code == "Q_NO_LUNGS"
