"""What part of the body an image looks like: right on phantoms and real images, open where it is not plain."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.ai.body_check import BodyLook, contradiction, look_at
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.io.dicom_scan import scan_paths
from medviewer.io.reader import open_series
from medviewer.jobs.job import NullContext
from medviewer.phantoms import make_brain, make_thorax, spheres_volume

CTX = NullContext()
CHEST_TASK, HEAD_TASK = ("CHEST", "LUNG", "WHOLEBODY"), ("BRAIN", "HEAD")


@pytest.fixture(scope="module")
def thorax() -> Volume:
    return make_thorax((72, 72, 48)).volume


@pytest.fixture(scope="module")
def brain() -> Volume:
    return make_brain((56, 64, 50)).volume


def skull(width_mm: float = 150.0, length_mm: float = 160.0) -> Volume:
    """Return a CT of brain in a closed shell of bone, in air, with a table below."""
    size, mm = (80, 64, 64), 4.0
    k, j, i = (np.arange(n) * mm - n * mm / 2 for n in size)
    at = np.hypot(np.hypot(i / (width_mm / 2), j[:, None] / (width_mm / 1.7)), k[:, None, None] / (length_mm / 2))
    hu = np.where(at < 0.9, 35, np.where(at < 1.0, 900, -1000)).astype(np.int16)
    hu[:, -6:-5, 8:-8] = 200
    return Volume(hu, Geometry(size[::-1], (mm, mm, mm)), modality="CT", unit="HU")


def test_phantoms_look_like_what_they_are(thorax: Volume, brain: Volume) -> None:
    assert "thorax" in look_at(thorax).parts
    assert "head" not in look_at(thorax).parts
    look = look_at(brain)
    assert look == BodyLook(frozenset({"head"}), "a head", look.why, look.contrast)
    assert look_at(skull()).parts == {"head"}


def test_a_task_is_kept_from_the_wrong_part_only(thorax: Volume, brain: Volume) -> None:
    assert contradiction(look_at(thorax), CHEST_TASK) == contradiction(look_at(brain), HEAD_TASK) == ""
    assert contradiction(look_at(brain), CHEST_TASK) == "the image looks like a head, not a thorax"
    assert contradiction(look_at(thorax), HEAD_TASK).startswith("the image looks like a thorax")
    assert contradiction(look_at(brain), ("NECK",)) == "", "may be in the same image"
    assert contradiction(look_at(brain), ("LUNG", "A WORD OF ITS OWN")) == "", "what is not known is not judged"
    assert contradiction(look_at(brain), ()) == contradiction(look_at(brain), ("WHOLEBODY",)) == ""


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_the_order_of_the_array_does_not_matter(axes: tuple[int, int, int], thorax: Volume, brain: Volume) -> None:
    for volume in (thorax, brain):
        geometry = volume.geometry
        columns = [2 - axis for axis in axes[::-1]]
        matrix = geometry.direction_matrix[:, columns]
        turned = Geometry(
            tuple(geometry.size[c] for c in columns),  # type: ignore[arg-type]
            tuple(geometry.spacing[c] for c in columns),  # type: ignore[arg-type]
            geometry.origin,
            tuple(matrix.ravel()),
        )
        same = replace(volume, array=volume.array.transpose(axes), geometry=turned, padding=None)
        assert look_at(same).parts == look_at(volume).parts


@given(st.integers(8, 30), st.integers(0, 5), st.sampled_from(["CT", "MR"]))
def test_noise_and_small_crops_stay_open(n: int, seed: int, modality: str) -> None:
    values = np.random.default_rng(seed).integers(-1000, 2000, (n, n, n)).astype(np.int16)
    volume = Volume(values, Geometry((n, n, n), (4.0, 4.0, 4.0)), modality=modality)
    assert not look_at(volume).parts


def test_what_is_not_plain_stays_open(thorax: Volume, brain: Volume) -> None:
    assert not look_at(spheres_volume().volume).parts
    assert not look_at(replace(thorax, modality="PT")).parts
    assert not look_at(replace(thorax, modality="")).parts
    assert not look_at(replace(brain, array=np.zeros_like(brain.array))).parts
    middle = brain.array.shape[0] // 2
    few = replace(brain, array=brain.array[middle : middle + 9], geometry=replace(brain.geometry, size=(56, 64, 9)))
    assert not look_at(few).parts, "without the top of the head it may be a knee"


@pytest.mark.parametrize(
    ("name", "looks_like"),
    [
        ("chest_ct_LIDC-IDRI-0001", "a thorax"),
        ("abdomen_ct_CRLM-CT-1004", "an abdomen"),
        ("brain_mr_4series_PGBM-003", "a head"),
        ("head_ct_tilt18_variable_spacing_GE", "a head"),
        ("sts002_ct_mr_pet_rtstruct", ""),
    ],
)
def test_real_images(name: str, looks_like: str, shared_data: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(shared_data / "dicom" / f"{name}.zip") as archive:
        archive.extractall(tmp_path)
    found = []
    for study in scan_paths(CTX, [tmp_path]):
        for series in study.series:
            if series.volume and series.modality in ("CT", "MR") and (series.size or (0, 0, 0))[2] >= 15:
                found.append(look_at(open_series(CTX, series)))
    assert found
    assert all(look.looks_like.startswith(looks_like) or not look.parts for look in found)
    assert any(look.looks_like.startswith(looks_like) for look in found)
    assert looks_like or not any(look.parts for look in found)
