"""The brain phantom."""

from __future__ import annotations

import numpy as np
import pytest

from medviewer.phantoms import Phantom, make_brain
from medviewer.phantoms.brain import EXTENT_MM


@pytest.fixture(scope="module")
def brain() -> Phantom:
    return make_brain((96, 112, 88), seed=2)


def test_is_an_mr_with_the_contrast_of_t1(brain: Phantom) -> None:
    signal = brain.volume.array
    assert (brain.volume.modality, signal.dtype) == ("MR", np.int16)
    csf, grey, white = (float(np.median(signal[brain.mask(n)])) for n in ("ventricles", "grey_matter", "white_matter"))
    assert csf * 1.8 < grey < white * 0.8
    assert 0 < np.mean(signal[:, :6, :6]) < 40  # Rician: background is small and never zero on average


def test_volumes_are_those_of_an_adult(brain: Phantom) -> None:
    ml = brain.volume.geometry.voxel_volume_mm3 / 1000
    assert 450 < brain.mask("grey_matter").sum() * ml < 850
    assert 400 < brain.mask("white_matter").sum() * ml < 750
    assert 10 < brain.mask("ventricles").sum() * ml < 60
    assert 9 < brain.mask("eyes").sum() * ml < 20


def test_eyes_are_in_front_and_cerebellum_is_low_and_behind(brain: Phantom) -> None:
    geometry = brain.volume.geometry
    centers = {}
    for name in ("eyes", "cerebellum", "white_matter"):
        k, j, i = (float(np.mean(v)) for v in np.nonzero(brain.mask(name)))
        centers[name] = geometry.index_to_lps((i, j, k))
    assert centers["eyes"][1] < centers["white_matter"][1] - 50
    assert centers["cerebellum"][1] > centers["white_matter"][1] + 20
    assert centers["cerebellum"][2] < centers["white_matter"][2] - 25


def test_is_deterministic_and_keeps_its_field_of_view(brain: Phantom) -> None:
    assert np.array_equal(make_brain((96, 112, 88), seed=2).volume.array, brain.volume.array)
    small = make_brain((32, 40, 36), seed=3)
    assert np.multiply(small.volume.geometry.size, small.volume.geometry.spacing) == pytest.approx(EXTENT_MM)


def test_refuses_a_tiny_matrix() -> None:
    with pytest.raises(ValueError, match="size must be"):
        make_brain((8, 32, 32))
