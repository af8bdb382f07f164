"""Contrasts of MR: by name, and by brightness on made heads and real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medviewer.ai.body_check import look_at
from medviewer.ai.mr_contrast import contrast_named, contrast_seen
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext

#: Brightness of white matter, cortex, fluid and scalp.
HEADS = {"T1": (80, 56, 16, 90), "T2": (40, 52, 110, 60), "FLAIR": (60, 74, 8, 150)}


def head(white: float, grey: float, fluid: float, scalp: float, noise: float = 2.0) -> np.ndarray:
    k, j, i = np.ogrid[tuple(slice(-1, 1, 48j) for _ in range(3))]
    away = np.sqrt(k**2 + j**2 + i**2)
    image = np.zeros(away.shape, np.float32)
    # Folds of cortex reach into the white matter.
    folded = away + 0.08 * np.sin(12 * np.arctan2(j, i)) * np.cos(9 * k)
    for edge, value in ((0.95, scalp), (0.88, 0.0), (0.82, fluid)):
        image[away < edge] = value
    for edge, value in ((0.8, grey), (0.58, white), (0.3, fluid)):
        image[folded < edge] = value
    return np.abs(image + np.random.default_rng(0).normal(0, noise, image.shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "contrast"),
    [
        ("AX T2 FLAIR", "FLAIR"),
        ("t2_tirm_tra_dark-fluid", "FLAIR"),
        ("T1post", "T1"),
        ("MPRAGE sag", "T1"),
        ("T2_reg", "T2"),
        ("ax T2* GRE", ""),
        ("ep2d_diff_trace", ""),
        ("Brain", ""),
        ("CT1234", ""),
    ],
)
def test_names(name: str, contrast: str) -> None:
    assert contrast_named(name) == contrast


@pytest.mark.parametrize("contrast", HEADS)
@pytest.mark.parametrize("scale", [1.0, 37.0])
def test_made_heads(contrast: str, scale: float) -> None:
    assert contrast_seen(head(*HEADS[contrast]) * scale) == contrast


def test_what_holds_nothing_stays_open() -> None:
    assert contrast_seen(np.zeros((24, 24, 24), np.int16)) == ""
    assert contrast_seen(np.zeros((3, 8, 8), np.uint8)) == ""


def test_real_heads(shared_data: Path) -> None:
    folder = shared_data / "dicom" / "brain_mr_4series_PGBM-003.zip"
    for study in scan_paths(NullContext(), [folder]):
        for series in study.series:
            volume = open_series(NullContext(), series)
            if named := contrast_named(volume.name):
                assert look_at(volume).contrast == named, volume.name
