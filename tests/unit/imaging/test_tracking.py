from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medviewer.core.geometry import Geometry
from medviewer.imaging.tracking import track, tube, tubeness

SHEARED = Geometry((40, 36, 20), (0.9, 0.9, 2.0), (3.0, 4.0, 5.0), (1, 0, 0, 0, 1, 0.25, 0, 0, 0.968))
UPRIGHT = Geometry((40, 36, 20), (0.9, 0.9, 2.0))


def vessel(geometry: Geometry, radius_mm: float = 2.5) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int, int]]]:
    """A bright bent vessel: image, its mask, and a point on its middle line in every slice."""
    k, j, i = np.mgrid[: geometry.shape[0], : geometry.shape[1], : geometry.shape[2]]
    lps = geometry.index_to_lps(np.stack([i, j, k], axis=-1))
    middle = [(n, 18 + round(8 * np.sin(n / 4)), 20 + round(6 * np.cos(n / 5))) for n in range(geometry.shape[0])]
    line = geometry.index_to_lps([p[::-1] for p in middle])
    away = np.min([np.linalg.norm(lps - point, axis=-1) for point in line], axis=0)
    mask = away <= radius_mm
    image = np.where(mask, 200.0, 40.0) + np.random.default_rng(0).normal(0, 12, mask.shape)
    return image, mask, middle


@pytest.mark.parametrize("geometry", [UPRIGHT, SHEARED])
@pytest.mark.parametrize("guide", ["values at the points", "bright tubes"])
def test_a_path_stays_in_the_vessel(geometry: Geometry, guide: str) -> None:
    image, mask, middle = vessel(geometry)
    path = track(image, geometry, [middle[0], middle[-1]], guide=guide, radius_mm=3.0)
    assert tuple(path[0]) == middle[0]
    assert tuple(path[-1]) == middle[-1]
    assert np.abs(np.diff(path, axis=0)).max() == 1
    assert mask[tuple(path.T)].mean() > 0.97


def test_a_dark_airway_is_followed() -> None:
    image, mask, middle = vessel(UPRIGHT)
    path = track(-image, UPRIGHT, [middle[0], middle[10], middle[-1]], guide="dark tubes", radius_mm=3.0)
    assert mask[tuple(path.T)].mean() > 0.97
    assert middle[10] in [tuple(p) for p in path]


@pytest.mark.parametrize("geometry", [UPRIGHT, SHEARED])
def test_the_tube_is_the_vessel(geometry: Geometry) -> None:
    image, mask, middle = vessel(geometry)
    path = track(image, geometry, [middle[0], middle[-1]])
    region, found = tube(image, geometry, path, radius_mm=6.0, tolerance=60.0)
    whole = np.zeros(mask.shape, bool)
    whole[region.slices] = found
    assert 2 * (whole & mask).sum() / (whole.sum() + mask.sum()) > 0.93
    assert whole[tuple(path.T)].all()


@given(st.floats(0.5, 9), st.floats(0.5, 9), st.floats(0, 80), st.floats(0, 80))
@settings(max_examples=15)
def test_a_wider_or_more_tolerant_tube_holds_the_other(r1: float, r2: float, t1: float, t2: float) -> None:
    image, _, middle = vessel(UPRIGHT)
    path = np.array(middle)
    masks = []
    for radius, tolerance in zip(sorted((r1, r2)), sorted((t1, t2)), strict=True):
        region, found = tube(image, UPRIGHT, path, radius, tolerance)
        whole = np.zeros(image.shape, bool)
        whole[region.slices] = found
        masks.append(whole)
    assert not (masks[0] & ~masks[1]).any()


@pytest.mark.parametrize("geometry", [UPRIGHT, SHEARED])
def test_a_radius_is_in_mm_on_any_grid(geometry: Geometry) -> None:
    path = np.array([(10, 18, 20)])
    region, found = tube(np.zeros(geometry.shape), geometry, path, radius_mm=6.0)
    k, j, i = np.nonzero(found)
    index = np.stack([i, j, k], axis=-1) + region.lower[::-1]
    away = np.linalg.norm(geometry.index_to_lps(index) - geometry.index_to_lps((20, 18, 10)), axis=1)
    assert away.max() <= 6.0
    assert found.sum() * geometry.voxel_volume_mm3 == pytest.approx(4 / 3 * np.pi * 6.0**3, rel=0.08)


def test_tubes_stand_out_and_sheets_do_not() -> None:
    part = np.zeros((24, 24, 24), np.float32)
    part[:, 11:13, 11:13] = 100
    sheet = np.zeros((24, 24, 24), np.float32)
    sheet[:, :, 11:13] = 100
    assert tubeness(part, (1, 1, 1), 2.0)[12, 12, 12] > 5 * abs(tubeness(sheet, (1, 1, 1), 2.0)[12, 12, 12])
