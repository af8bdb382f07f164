"""Reasons to look twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from medviewer.ai.card import Label, ModelCard
from medviewer.ai.quality import quality_flags
from medviewer.core.geometry import Geometry

GEOMETRY = Geometry((20, 20, 20), (2.0, 2.0, 2.0))
LABELS = (Label(value=1, name="organ", title="Organ"), Label(value=2, name="other", title="Other"))
CARD = ModelCard(id="m", version="1", title="M", network="unet", arguments={}, labels=LABELS)


def card(**quality: object) -> ModelCard:
    return replace(CARD, settings={"quality": quality})


def middle() -> np.ndarray:
    labels = np.zeros(GEOMETRY.shape, np.uint16)
    labels[5:10, 5:10, 5:10] = 1
    return labels


def codes(made_for: ModelCard, labels: np.ndarray, entropy: float | None = None) -> list[tuple[str, int]]:
    image = np.full(GEOMETRY.shape, 40, np.int16)
    return [(flag.code, flag.segment) for flag in quality_flags(made_for, labels, GEOMETRY, image, entropy)]


def test_nothing_is_said_of_what_is_usual() -> None:
    usual = card(volume_ml={"organ": [0.5, 2.0]}, entropy=0.4, intensity={"50": [0, 100]})
    assert codes(usual, middle(), 0.1) == []


def test_what_reaches_the_border_is_named() -> None:
    labels = middle()
    labels[0, 3:6, 3:6] = 2
    assert codes(CARD, labels) == [("Q_BORDER", 2)]
    assert codes(card(border=False), labels) == []


def test_a_single_slice_has_no_border_above() -> None:
    flat = Geometry((20, 20, 1), (1.0, 1.0, 1.0))
    labels = np.zeros(flat.shape, np.uint16)
    labels[0, 5:9, 5:9] = 1
    assert quality_flags(CARD, labels, flat, labels) == ()


def test_a_volume_out_of_range_is_named_with_both() -> None:
    (flag,) = quality_flags(card(volume_ml={"organ": [3, 9]}), middle(), GEOMETRY, middle())
    assert flag.code == "Q_VOLUME"
    assert flag.text == "Has 1 ml; 3 to 9 ml are usual."


def test_an_image_unlike_the_others_and_a_model_that_is_unsure() -> None:
    assert codes(card(intensity={"50": [100, 200]}), middle()) == [("Q_UNLIKE", 0)]
    assert codes(card(entropy=0.4), middle(), 0.6) == [("Q_UNSURE", 0)]
