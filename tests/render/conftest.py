"""Phantoms in the patient, and pictures compared with their baselines."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from medviewer.core.volume import Volume
from medviewer.core.workspace import Workspace
from tests.render_phantoms import f_volume, grid_around_zero, show, signed_direction

BASELINES = Path(__file__).parent / "baselines"
Rgb = npt.NDArray[np.uint8]


@pytest.fixture(scope="session")
def letter() -> Volume:
    return f_volume(grid_around_zero(signed_direction((0, 1, 2), (1, 1, 1))))


@pytest.fixture
def workspace(letter: Volume) -> Workspace:
    return show(letter)


@pytest.fixture
def matches_baseline() -> Callable[..., None]:
    """Compare a picture with its baseline: mean difference at most `mean` of 255, at most `share` of pixels over 40.

    MEDVIEWER_UPDATE_BASELINES=1 writes the baselines anew.
    """

    def check(picture: Rgb, name: str, *, mean: float, share: float) -> None:
        path = BASELINES / f"{name}.png"
        if os.environ.get("MEDVIEWER_UPDATE_BASELINES") == "1":
            Image.fromarray(picture).save(path, optimize=True)
        wanted = np.asarray(Image.open(path).convert("RGB")).astype(int)
        assert picture.shape == wanted.shape
        difference = np.abs(picture.astype(int) - wanted)
        assert difference.mean() <= mean, f"{name}: mean difference {difference.mean():.2f}"
        far = float((difference.max(axis=-1) > 40).mean())
        assert far <= share, f"{name}: {far:.2%} of the pixels differ"

    return check
